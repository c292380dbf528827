"""The house as docs/architecture.md lists it: each folder and each module of the top level, by their own docstrings."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.test_architecture import FLOW, PACKAGE


def first_sentence(file: Path) -> str:
    """The first paragraph of a module's docstring, as one line."""
    told = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(told.partition("\n\n")[0].split())


def folders(under: Path = PACKAGE) -> Iterator[Path]:
    """Every folder of the package in the order of the flow, each before those within it."""
    found = [file.parent for file in under.glob("*/__init__.py")]
    for folder in sorted(found, key=lambda one: (FLOW.index(one.name) if under == PACKAGE else 0, one.name)):
        yield folder
        yield from folders(folder)


def folder_table() -> str:
    """The folders as a table, stage by stage."""
    return _table("folder", ((f"{one.relative_to(PACKAGE)}/", one / "__init__.py") for one in folders()))


def module_table() -> str:
    """The modules of the top level as a table, in the order of the flow."""
    present = ((f"{name}.py", PACKAGE / f"{name}.py") for name in FLOW)
    return _table("module", ((name, file) for name, file in present if file.is_file()))


def _table(noun: str, rows: Iterator[tuple[str, Path]]) -> str:
    lines = (f"| `{name}` | {first_sentence(file)} |" for name, file in rows)
    return "\n".join((f"| {noun} | what it is |", "|---|---|", *lines))
