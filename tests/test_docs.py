"""Documents name files that exist, and the glossary stays small enough to be read."""

import re
from pathlib import Path
from typing import get_args

from tests.tables import each
from tfgrpo.surfaces.http import Reason
from tfgrpo.surfaces.routes import SURFACES

ROOT = Path(__file__).parent.parent
FOUND = (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md"))
DOCUMENTS = sorted(path for path in FOUND if path.name != "agents.md")
"""Those of ours; docs/agents.md names files that a user would write."""
HOUSES = ("", "tfgrpo/", "tests/", "benchmarks/")


def named_files(text: str) -> set[str]:
    """The Python files, with their folders where those are told, that a document names."""
    return set(re.findall(r"`([\w/]+\.py)`", text))


@each("document", DOCUMENTS)
def test_a_document_names_no_file_that_is_not_there(document: Path) -> None:
    known = {file.name for file in (ROOT / "tfgrpo").rglob("*.py")}
    for name in named_files(document.read_text(encoding="utf-8")):
        assert name in known or any((ROOT / house / name).is_file() for house in HOUSES), name


def test_a_document_links_to_what_is_there() -> None:
    for document in DOCUMENTS:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_the_page_of_surfaces_knows_every_surface_and_every_reason() -> None:
    page = (ROOT / "docs/surfaces.md").read_text(encoding="utf-8")
    reasons = [name for part in get_args(Reason) for name in (get_args(part) or (part,))]
    lacking = [name for name in reasons if f"`{name}`" not in page]
    lacking += [surface.route for surface in SURFACES if f"`POST ...{surface.route}`" not in page]
    assert lacking == []


def test_the_glossary_has_at_most_forty_terms() -> None:
    glossary = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    named = "".join(re.findall(r"^\| (\*\*.*?) \|", glossary, re.MULTILINE))
    assert 30 < named.count("**") / 2 <= 40
