"""The public names: what `import tfgrpo` offers, and how little it costs."""

import subprocess
import sys

import pytest

import tfgrpo


def test_the_public_names_are_sorted_and_all_that_is_shown() -> None:
    assert tfgrpo.__all__ == sorted(tfgrpo.__all__)
    assert dir(tfgrpo) == tfgrpo.__all__


def test_every_public_name_imports() -> None:
    for name in tfgrpo.__all__:
        assert getattr(tfgrpo, name) is not None
        assert getattr(tfgrpo, name) is getattr(tfgrpo, name)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="OpenAl"):
        tfgrpo.OpenAl  # noqa: B018


def loaded_by(program: str, after: str = "pass") -> set[str]:
    """The modules that a program loads in a fresh process, less what was loaded after another."""
    lines = ("import sys", after, "before = set(sys.modules)", program, "print(*set(sys.modules) - before)")
    ran = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def test_importing_the_package_loads_next_to_nothing() -> None:
    assert {name for name in loaded_by("import tfgrpo") if name.startswith(("tfgrpo", "typing"))} == {"tfgrpo"}


def test_the_client_loads_no_library_that_the_sdk_does_not() -> None:
    ours = {name.partition(".")[0] for name in loaded_by("from tfgrpo import OpenAI", after="import openai")}
    assert "tfgrpo" in ours
    assert not ours & {"numpy", "sqlite3", "sqlite_utils", "rich", "click", "tiktoken", "jinja2"}
