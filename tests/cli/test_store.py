"""`store info` and `store verify`."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from tests.cli.shell import one_line, tfgrpo, works
from tests.store.test_migrations import FROZEN, NEWEST, restore
from tfgrpo.records import Prior


def test_the_store_tells_what_it_holds_and_that_it_is_whole(priors: tuple[Prior, Prior]) -> None:
    text = works("store", "info").stdout
    assert "namespace default: m" in text
    figures = json.loads(works("store", "info", "--json").stdout)
    assert (figures["rows"]["priors"], figures["namespaces"]) == (2, [{"name": "default", "model": "m"}])
    assert "tfgrpo.db is whole" in works("store", "verify").stdout
    assert json.loads(works("store", "verify", "--json").stdout) == []


def test_what_was_changed_behind_its_back_is_found(priors: tuple[Prior, Prior]) -> None:
    with closing(sqlite3.connect("tfgrpo.db")) as db, db:
        db.execute("UPDATE experiences SET text = 'other'")
    result = tfgrpo("store", "verify")
    assert result.exit_code == 1
    assert "its content was changed" in result.stdout
    assert json.loads(tfgrpo("store", "verify", "--json").stdout)


def test_a_store_that_cannot_be_opened_is_not_sent_round_in_a_circle(priors: tuple[Prior, Prior]) -> None:
    content = bytearray(Path("tfgrpo.db").read_bytes())
    content[100] ^= 0xFF  # the kind of the first page
    Path("tfgrpo.db").write_bytes(content)
    one_line(tfgrpo("store", "verify"), "it is damaged beyond opening; restore a copy")
    assert "store verify" not in tfgrpo("store", "verify").stderr


def test_an_upgrade_is_told_with_its_copy(folder: Path) -> None:
    restore(FROZEN / "0001.sql", Path("tfgrpo.db"))
    program = [sys.executable, "-m", "tfgrpo", "store", "info"]
    ran = subprocess.run(program, capture_output=True, text=True, check=True)
    assert ran.stderr.splitlines() == [
        f"store tfgrpo.db was upgraded from schema 1 to {NEWEST}; tfgrpo.db.schema-1.bak is a copy of it as it was"
    ]


def test_a_stores_url_in_place_of_a_file_is_told_without_its_password(priors: tuple[Prior, Prior]) -> None:
    url = "postgresql://anna:geh/e@im@127.0.0.1/x"
    for command in (
        ("store", "backup", url), ("prior", "export", "-o", url), ("prior", "import", url), ("tasks", "check", url),
    ):  # fmt: skip
        result = tfgrpo(*command)
        one_line(result, "postgresql://...@127.0.0.1/x")
        assert "geh" not in result.stderr, "nor a part of it"
