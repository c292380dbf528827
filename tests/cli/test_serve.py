"""`tfgrpo serve` and `tfgrpo keys`: what is refused before anything listens, and who may call."""

import json
import socket
import time
from pathlib import Path

import pytest

from tests.cli.shell import one_line, tfgrpo, works
from tfgrpo.cli.beside import autopilot_beside
from tfgrpo.records import Backend, Experience, Frame, Prior
from tfgrpo.serve.keys import find_key
from tfgrpo.store import Store

HERE = "http://127.0.0.1:9/v1"


def test_a_key_is_shown_once_and_kept_by_its_hash(folder: Path) -> None:
    made = works("keys", "add", "anna", "--namespace", "math", "--max-calls", "5").stdout.splitlines()
    text = made[0]
    assert "every call through a proxy of this store needs a key" in made[2]
    with Store("tfgrpo.db") as store:
        (key,) = store.access_keys()
    assert find_key(text, {key.id: key}) == key
    assert text.encode() not in Path("tfgrpo.db").read_bytes()
    listed = works("keys", "list").stdout
    assert "anna" in listed
    assert "0 of 5" in listed
    assert text not in listed + works("keys", "list", "--json").stdout
    works("keys", "revoke", key.id)
    (found,) = json.loads(works("keys", "list", "--json").stdout)
    assert (found["id"], found["namespace"], bool(found["revoked"])) == (key.id, "math", True)
    assert json.loads(works("keys", "add", "ben", "--json").stdout)["key"].startswith("tfgrpo-")
    one_line(tfgrpo("keys", "revoke", "none"), "no key of that id", "tfgrpo keys list")
    one_line(tfgrpo("keys", "add", "zoe", "--max-tokens", "0"), "--max-tokens 0")
    for option, wrong in (("--max-calls", "9" * 30), ("--namespace", ""), ("--namespace", " ")):  # an unset variable
        assert option in tfgrpo("keys", "add", "zoe", option, wrong).stderr
    assert "zoe" not in works("keys", "list").stdout


def test_an_autopilot_that_ends_is_begun_anew_and_ends_with_the_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    program, begun = tmp_path / "python", tmp_path / "begun"
    program.write_text(f"#!/bin/sh\necho x >> {begun}\n[ $(wc -l < {begun}) = 1 ] && exit 3\ncat > {tmp_path}/ended\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    monkeypatch.setattr("tfgrpo.cli.beside._AGAIN_SECONDS", 0.01)
    with autopilot_beside(None, "default"):
        while not (tmp_path / "ended").exists():
            time.sleep(0.005)
    assert begun.read_text() == "x\nx\n"
    said = "the autopilot ended with status 3, and is begun anew in 0.01 s; calls go on\n"
    assert capfd.readouterr().err == said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ("--upstream",)),
        (("--upstream", "nowhere"), ("must be a URL",)),
        (("--upstream", f"{HERE} weight=0"), ("weight=0",)),
        (("--upstream", HERE, "--upstream", "local"), ("goes alone",)),
        (("--upstream", HERE, "--upstream-key-env", "NOBODY"), ("NOBODY is not set",)),
        (("--upstream", HERE, "--upstream-key-env", "KEY", "--upstream-key-env", "KEY"), ("2 for 1",)),
        (("--upstream", HERE, "--upstream-key-env", "LINES"), ("LINES holds the end of a line",)),
        (("--upstream", HERE, "--upstream-key-env", "KEY", "--host", "0.0.0.0"), ("lend it", "tfgrpo keys add")),
        (("--upstream", "http://b\u00fc..cher.example"), ("names no host",)),
        (("--upstream", "http://api.example"), ("HOST:PORT",)),
        (("--upstream", HERE, "--workers", "0"), ("--workers 0",)),
        (("--upstream", HERE, "--max-in-flight", "0"), ("limit in_flight is 0",)),
        (("--upstream", HERE, "--grace", "-1"), ("--grace -1",)),
        (("--upstream", HERE, "--grace", "inf"), ("--grace inf",)),
        (("--upstream", HERE, "--max-request-mb", "inf"), ("limit request is inf",)),
    ],
)
def test_what_cannot_be_served_is_one_clear_line(
    options: tuple[str, ...], words: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "sk-secret")
    monkeypatch.setenv("http_proxy", "http://me:sk-secret/@proxy:3128")
    monkeypatch.setenv("LINES", "sk-secret\r")
    result = tfgrpo("serve", "--port", "0", *options)
    one_line(result, *words)
    assert "sk-secret" not in result.output


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_proxy_before_itself_is_refused(name: str, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    one_line(tfgrpo("serve", "--port", str(port), "--upstream", f"http://{name}:{port}/v1"), "is this proxy itself")


def test_a_model_that_has_left_its_api_is_told_of_before_anything_listens(folder: Path) -> None:
    with Store("tfgrpo.db") as store:
        prior = Prior((Experience("Answer with one word."),))
        store.add_prior(prior)
        store.set_state("default", prior.id, "ungated", frame=Frame("m"))
        store.add_probe("http://up/v1", "m", Backend(shutdown_date="2020-01-01"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        here = str(taken.getsockname()[1])
    told = tfgrpo("serve", "--port", here, "--upstream", f"http://127.0.0.1:{here}/v1").stderr
    assert "m has left http://up/v1 on 2020-01-01; to take its prior to a successor: tfgrpo port" in told
