"""How a run ends by a signal, what files it reads and leaves, and what its programs are shown."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.shell import PATIENCE, learn_routing, one_line, tfgrpo, works, write_tasks
from tfgrpo.errors import StoreError
from tfgrpo.model.connection import Connection
from tfgrpo.model.failures import Failures
from tfgrpo.records import Task
from tfgrpo.rollouts.agents.agent import ModelAddress
from tfgrpo.rollouts.agents.command import environment
from tfgrpo.settings import Settings
from tfgrpo.store import Store


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_as_ctrl_c_does(folder: Path, url: str, number: signal.Signals) -> None:
    program = [sys.executable, "-m", "tfgrpo", "learn", write_tasks(folder / "t.jsonl"), "--model", "fake"]
    program += ["--base-url", url, "--command", "sleep 600 {input}", "--gate", "none", "--no-experiences"]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + PATIENCE
        try:
            while not (folder / "tfgrpo.db").exists() or not _children(running.pid):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            children = _children(running.pid)
            running.send_signal(number)
            _, told = running.communicate(timeout=PATIENCE)
        finally:
            running.kill()
    assert running.returncode == 130
    assert "Interrupted. What was done is kept" in told
    assert "Traceback" not in told
    assert not any(_alive(child) for child in children)
    assert not (folder / "tfgrpo.db-wal").exists()


def test_what_a_shell_started_in_the_background_ends_by_a_signal_too(folder: Path) -> None:
    Store("tfgrpo.db").close()
    program = [sys.executable, "-m", "tfgrpo", "autopilot"]
    deaf = f"import os, signal; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execv({program[0]!r}, {program!r})"
    with subprocess.Popen([sys.executable, "-c", deaf], stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        assert "Ctrl-C stops it" in running.stderr.readline()
        running.send_signal(signal.SIGTERM)
        try:
            assert running.wait(timeout=PATIENCE) == 130
        finally:
            running.kill()


def _children(pid: int) -> list[int]:
    held = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in held.read_text().split()] if held.exists() else []


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z (zombie)" not in Path(f"/proc/{pid}/status").read_text()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"max_tokens": NaN}', "r.json, line 1: a value that JSON cannot carry (NaN)"),
        ('{"max_tokens": 1e999}', "r.json, line 1: a value that JSON cannot carry (1e999)"),
        ('{"a": ' * 60 + "1" + "}" * 60, "r.json, line 1: it is nested more than 50 levels deep"),
        ('{"a": ' * 100_000, "r.json, from line 1: not readable as JSON"),
        ('{"a": ' + "9" * 5000 + "}", "r.json, from line 1: not readable as JSON"),
        ('{"seed": 1, "seed": 2}', "r.json, line 1: an object has two fields named 'seed'"),
        ('{\n"a" 1}', "r.json, line 2: not JSON"),
        ("[1]", "r.json: a request file holds one JSON object"),
    ],
    ids=range(8),
)
def test_a_request_file_that_cannot_be_sent_is_one_line(folder: Path, content: str, words: str) -> None:
    (folder / "r.json").write_text(content)
    one_line(tfgrpo("tasks", "check", write_tasks(folder / "t.jsonl"), "--gate", "none", "--request", "r.json"), words)


def test_a_byte_order_mark_is_no_part_of_a_prompt(folder: Path) -> None:
    (folder / "s.txt").write_text("\ufeffBe brief.", encoding="utf-8")
    (folder / "r.json").write_text('\ufeff{"max_tokens": 8}', encoding="utf-8")
    told = works("tasks", "check", write_tasks(folder / "t.jsonl"), "--system", "s.txt", "--request", "r.json").stdout
    assert '"content": "Be brief."' in told
    assert '"max_tokens": 8' in told


def test_a_finished_run_leaves_one_file_and_a_backup_is_a_store(folder: Path, url: str) -> None:
    assert learn_routing(folder, url).exit_code == 0
    assert sorted(path.name for path in folder.glob("tfgrpo.db*")) == ["tfgrpo.db"]
    with Store("tfgrpo.db") as store:
        assert works("store", "backup", "copy.db").stdout.startswith("copy.db: ")
        runs = [entry.run.id for entry in store.runs()]
    with Store("copy.db", create=False) as copy:
        assert [entry.run.id for entry in copy.runs()] == runs
        assert copy.verify() == ()
    one_line(tfgrpo("store", "backup", "copy.db"), "copy.db exists already; name a new file")
    one_line(tfgrpo("store", "backup", "no/copy.db"), "FILE no/copy.db: there is no such folder")


def test_a_log_that_is_removed_while_a_store_is_written_is_an_error(folder: Path) -> None:
    with Store("tfgrpo.db") as store:
        store.add_tasks((Task("a"),))
        store.add_tasks((Task("b"),))
        Path("tfgrpo.db-wal").unlink()
        with pytest.raises(StoreError, match=r"tfgrpo\.db-wal was removed while in use, and what was written"):
            store.add_tasks((Task("c"),))


def test_a_program_is_shown_no_key_of_ours() -> None:
    key = "sk-proj-0123456789abcdef"
    given = {
        "OPENAI_API_KEY": key, "MY_COPY": f"Bearer {key}", "OPENAI_BASE_URL": "https://user:pass-word@host/v1",
        "PROXY": "http://pass-word@x", "DISTILLER_KEY": "k", "TFGRPO_JUDGE_API_KEY": "k", "HOME": "/me", "LANG": "C",
    }  # fmt: skip
    shown = environment(given, ModelAddress("http://127.0.0.1:1/v1", "m"))
    assert {name for name in shown if name in given} == {"OPENAI_API_KEY", "OPENAI_BASE_URL", "HOME", "LANG"}
    assert not any(key in value or "pass-word" in value for value in shown.values())


def test_a_program_is_shown_no_key_that_a_connection_uses_whatever_its_variable_is_called() -> None:
    key = "sk-dist-0123456789abcdef"
    Connection("http://user:pass-word-2@host/v1", key, Settings())
    given = {"BIG_MODEL": key, "ELSEWHERE": "http://user:pass-word-2@host", "HOME": "/me"}
    shown = environment(given, ModelAddress("http://127.0.0.1:1/v1", "m"))
    assert {name for name in shown if name in given} == {"HOME"}


@pytest.mark.parametrize(
    "quoted",
    [
        "sk-proj-0123456789abcdefghij",
        "Basic dXNlcjpzay1wcm9qLTAxMjM0NTY3ODlhYmNkZWZnaGlq",
        "Basic OnNrLXByb2otMDEyMzQ1Njc4OWFiY2RlZmdoaWo=",
        "c2stcHJvai0wMTIzNDU2Nzg5YWJjZGVmZ2hpag==",
        "sk-proj-********ghij",
        "sk-pr...ghij",
        "ending in 9abcdefghij",
        "sk-proj-01234567",
    ],
)
def test_an_error_quotes_no_form_of_a_secret(quoted: str) -> None:
    failures = Failures("host", "--", 1.0, ("sk-proj-0123456789abcdefghij",))
    told = str(failures.unreadable(f"no such key: {quoted} here", "answer"))
    assert "***" in told
    assert told.endswith(" here")
    assert not any(piece in told for piece in ("01234567", "cdefghij", "MDEyMzQ1", "IzNDU2", "ghij"))
