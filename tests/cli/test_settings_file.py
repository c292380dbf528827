"""`tfgrpo.toml`: options that need not be typed again."""

from pathlib import Path

import pytest

from tests.cli.shell import one_line, tfgrpo, works


def test_the_command_line_comes_before_the_environment_and_that_before_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("tfgrpo.toml").write_text('store = "a.db"\nnamespace = "math"\n[keys.add]\nnamespace = "bot"\nmax-calls = 5\n')
    works("keys", "add", "anna")
    works("keys", "add", "ben", "--max-calls", "7", "--namespace", "math")
    listed = works("keys", "list").stdout
    assert Path("a.db").exists()
    assert [word in listed for word in ("0 of 5", "0 of 7", "bot", "math")] == [True] * 4
    works("store", "info")
    monkeypatch.setenv("TFGRPO_STORE", "b.db")
    assert "no store at b.db" in tfgrpo("store", "info").stderr
    monkeypatch.delenv("TFGRPO_STORE")
    monkeypatch.setenv("TFGRPO_NAMESPACE", "other")
    assert "other" in tfgrpo("prior", "show").stderr
    monkeypatch.delenv("TFGRPO_NAMESPACE")
    assert "math" in tfgrpo("prior", "show").stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stoer = 'a.db'", ("tfgrpo.toml: stoer is unknown", "did you mean store?")),
        ("[serv]\nport = 1", ("serv is unknown", "did you mean serve?")),
        ("[serve]\nprot = 1", ("[serve] prot is unknown", "did you mean port?")),
        ("[serve", ("tfgrpo.toml cannot be read",)),
    ],
)
def test_what_the_file_cannot_mean_is_one_clear_line(text: str, words: tuple[str, ...], folder: Path) -> None:
    Path("tfgrpo.toml").write_text(text)
    one_line(tfgrpo("serve", "--upstream", "http://127.0.0.1:9/v1"), *words)
    assert tfgrpo("--help").exit_code == 0


def test_the_proxy_has_all_of_its_options_there(folder: Path) -> None:
    Path("tfgrpo.toml").write_text('[serve]\nupstream = ["http://127.0.0.1:9/v1"]\nworkers = 0\nlog-requests = true\n')
    one_line(tfgrpo("serve"), "--workers 0")


def test_the_keys_that_are_trusted_may_stand_there_for_all_commands(folder: Path) -> None:
    Path("tfgrpo.toml").write_text('trust = "ours"\n')
    Path("p.json").write_text("{}")
    for command in (("prior", "trust"), ("serve", "--upstream", "http://127.0.0.1:9/v1", "--prior-from", "p.json")):
        one_line(tfgrpo(*command), "the trust file ours cannot be read")


def test_no_error_shows_the_password_of_a_url_wherever_it_was_given(folder: Path) -> None:
    url, model = "postgresql://u:hunter2@127.0.0.1:9/db", ("--model", "m", "--base-url", "http://127.0.0.1:9/v1")
    Path("t.jsonl").write_text('{"input": "a", "answer": "b"}\n')
    for option in (
        "--system",
        "--request",
        "--tokenizer",
        "--prompts",
        "--agent",
        "--command",
        "--reward",
        "--executor",
    ):
        told = tfgrpo("learn", "t.jsonl", "--gate", "none", option, url, *model)
        assert (told.exit_code, "hunter2" in told.output) == (1, False), told.output
    assert "hunter2" not in tfgrpo("tasks", "from", url).output
