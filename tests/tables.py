"""Tables of quick cases."""

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from inspect import signature
from typing import Any, TypeAlias

import pytest

Test: TypeAlias = Callable[..., None]


def each(names: str | Sequence[str], cases: Iterable[Any]) -> Callable[[Test], Test]:
    """A table in one test; the case that fails is told.

    `pytest.mark.parametrize` makes a test of each case, which costs some thousandths of a second: for cases that take
    longer, need something of their own or are run one by one.
    """
    parameters = [name.strip() for name in names.split(",")] if isinstance(names, str) else names
    rows = [[case] if len(parameters) == 1 else [*case] for case in cases]
    assert rows

    def table(test: Test) -> Test:
        @wraps(test)
        def every_case(**given: object) -> None:
            for number, row in enumerate(rows):
                case = dict(zip(parameters, row, strict=True))
                try:
                    test(**given, **case)
                except pytest.skip.Exception as skipped:
                    raise AssertionError(f"case {number} of {test.__name__} would skip all that follow") from skipped
                except (Exception, pytest.fail.Exception) as error:  # the latter is of what does not raise
                    error.add_note(f"case {number} of {test.__name__}: {case!r:.1000}")
                    raise

        left = [one for name, one in signature(test).parameters.items() if name not in parameters]
        every_case.__signature__ = signature(test).replace(parameters=left)  # pyrefly: ignore[missing-attribute]
        return every_case

    return table
