"""How a run ends by a signal, what files it reads and leaves, and what its programs are shown."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import PATIENCE, learn_routing, one_line, tfgrpo, works, write_tasks
from tests.rollouts.agents.test_command import SLEEPS, gone
from tests.tables import each
from tfgrpo.cli.streams import interruptible
from tfgrpo.errors import StoreError
from tfgrpo.model.connection import Connection
from tfgrpo.model.failures import Failures
from tfgrpo.records import Task
from tfgrpo.rollouts.agents.agent import ModelAddress
from tfgrpo.rollouts.agents.command import environment
from tfgrpo.settings import Settings
from tfgrpo.store import Store


def test_a_signal_ends_a_run_as_ctrl_c_does_with_its_programs_and_the_calls_are_kept(
    folder: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C itself is in test_root.py."""
    monkeypatch.setenv("PIDS", str(folder / "pids"))
    (folder / "agent.py").write_text(SLEEPS + "print('started', file=open('started', 'w')); time.sleep(600)")
    program = [sys.executable, "-m", "tfgrpo", "learn", write_tasks(folder / "t.jsonl"), "--model", "fake"]
    program += ["--base-url", url, "--command", f"{sys.executable} agent.py {{input}}", "--concurrency", "1"]
    program += ["--gate", "none", "--no-experiences"]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + PATIENCE
        try:
            while not (folder / "started").exists():
                assert running.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            running.send_signal(signal.SIGTERM)
            _, told = running.communicate(timeout=PATIENCE)
        finally:
            running.kill()
    assert running.returncode == 130
    assert told.splitlines()[-1].startswith("Interrupted. What was done is kept")
    assert "Traceback" not in told
    assert gone(folder / "pids")
    assert not (folder / "tfgrpo.db-wal").exists()
    with Store("tfgrpo.db") as store:
        (entry,) = store.runs()
        assert entry.run.status == "interrupted"
        assert store.spent(entry.run.id).calls > 0


@contextmanager
def heeded(number: int, how: Any) -> Iterator[None]:
    """A signal, as a shell has set it for what it starts."""
    before = signal.signal(number, how)
    try:
        yield
    finally:
        signal.signal(number, before)


def test_signals_are_ctrl_c_also_where_a_shell_started_it_in_the_background_and_nohup_is_heeded() -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        for ctrl_c in (signal.default_int_handler, signal.SIG_IGN):
            with heeded(signal.SIGINT, ctrl_c), heeded(number, signal.SIG_DFL):
                with pytest.raises(KeyboardInterrupt), interruptible():
                    assert signal.getsignal(number) != signal.SIG_DFL
                    signal.raise_signal(number)
                assert signal.getsignal(number) == signal.SIG_DFL
    with heeded(signal.SIGHUP, signal.SIG_IGN), interruptible():
        signal.raise_signal(signal.SIGHUP)


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


@each(
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
