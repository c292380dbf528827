"""What people are told about the store is what it is."""

import re
from pathlib import Path

from tests.help import commands, tables
from tests.tables import each
from tfgrpo.cli import main

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs" / "store.md").read_text(encoding="utf-8")


def test_the_tables_in_the_document_are_those_of_the_schema() -> None:
    assert tables() in TEXT


def test_the_schema_of_the_portable_form_is_in_the_document() -> None:
    assert (ROOT / "store" / "prior.schema.json").read_text(encoding="utf-8").strip() in TEXT


@each("command", sorted(set(re.findall(r"`tfgrpo ((?:prior|experience|store|runs) \w+)", TEXT))))
def test_every_command_in_the_document_exists(command: str) -> None:
    assert f"tfgrpo {command}" in {name for name, _ in commands(main, "tfgrpo")}
