"""The process that runs untrusted code with its tests: told what to do on standard input, it answers on its output.

Loaded by path, so that nothing of the package is in reach of that code. The answer begins with the seal that it was
given, which the code would have to find first to say that its tests passed.
"""

import contextlib
import importlib.util
import io
import json
import os
import sys
from typing import Any

_MOST_SAID = 1_000_000


def _sandbox() -> Any:
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sandbox.py")
    spec = importlib.util.spec_from_file_location("sandbox", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Said(io.StringIO):
    """What is printed, up to a bound."""

    def write(self, text: str) -> int:
        if self.tell() + len(text) > _MOST_SAID:
            raise MemoryError("it prints too much")
        return super().write(text)


def _failure(run: Any) -> str | None:
    """Why something fails, None where it does not; whatever is raised counts as failing."""
    try:
        run()
    except BaseException as error:
        try:
            return f"{type(error).__name__}: {error}"[:300]
        except BaseException:
            return "an error that cannot be shown"
    return None


def _execute(code: str, name: str, space: dict[str, Any]) -> None:
    exec(compile(code, name, "exec", dont_inherit=True), space)


def _tested(program: dict[str, Any], test: str, space: dict[str, Any]) -> None:
    """One test in Python, after the code."""
    _execute(test, "<test>", space)
    entry, check = program.get("entry"), space.get("check")
    if "def check" in test and callable(check) and entry in space:
        check(space[entry])
    for name, found in list(space.items()):
        if name.startswith("test") and callable(found) and f"def {name}" in test:
            found()
    if "unittest" in test:
        _unittest(space)


def _unittest(space: dict[str, Any]) -> None:
    import unittest

    kinds = [found for found in space.values() if isinstance(found, type) and issubclass(found, unittest.TestCase)]
    for kind in kinds:
        result = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(kind).run(result)
        for _, told in (*result.failures, *result.errors):
            raise AssertionError(told.strip().rpartition("\n")[2])


def _printed(code: str, given: str, wanted: str) -> None:
    """One test by what is printed; compared line by line, without white space at their ends."""
    said = _Said()
    sys.stdin = io.StringIO(given)
    with contextlib.redirect_stdout(said):
        try:
            _execute(code, "<code>", {"__name__": "__main__"})
        except SystemExit as ended:
            if ended.code not in (None, 0):
                raise
    found, right = ([line.rstrip() for line in text.strip().splitlines()] for text in (said.getvalue(), wanted))
    if found != right:
        raise AssertionError(f"for input {given[:60]!r} it prints {said.getvalue()[:60]!r}, not {wanted[:60]!r}")


def _results(program: dict[str, Any]) -> list[str | None]:
    """For each test why it fails, None where it passes."""
    tests, code = program["tests"], f"{program['setup']}\n{program['code']}"
    space: dict[str, Any] = {"__name__": "__tested__"}
    with contextlib.redirect_stdout(_Said()), contextlib.redirect_stderr(_Said()):
        broken = None
        if any(isinstance(test, str) for test in tests):
            broken = _failure(lambda: _execute(code, "<code>", space))
        found = list[str | None]()
        for test in tests:
            if isinstance(test, str):
                found.append(broken or _failure(lambda test=test: _tested(program, test, space)))
            else:
                found.append(_failure(lambda test=test: _printed(code, test["input"], test["output"])))
    return found


def _main() -> None:
    """Read, confine, run, answer, and be gone."""
    program = json.load(sys.stdin)
    seal = program.pop("seal")
    answer = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    sandbox = _sandbox()
    import unittest  # noqa: F401  # what tests import is loaded while it can be

    open_to = sandbox.confined(program["folder"], program["seconds"], program["bytes"], program["file_bytes"])
    results = _results(program)
    os.write(answer, f"{seal}{json.dumps({'results': results, 'open': open_to})}\n".encode())
    os._exit(0)


if __name__ == "__main__":
    _main()
