"""`chat`: one call with the live prior."""

from pathlib import Path

from tests.cli.shell import SMALL, learn_routing, tfgrpo, works, write_tasks
from tfgrpo.records import Prior
from tfgrpo.store import Store
from tfgrpo.testing import ScriptedModel


def test_chat_sends_the_prior_unless_told_not_to(folder: Path, url: str, model: ScriptedModel) -> None:
    learn_routing(folder, url)
    tfgrpo("chat", "about an invoice", "--base-url", url)
    assert model.requests[-1]["logit_bias"]
    tfgrpo("chat", "about an invoice", "--base-url", url, "--no-prior")
    assert "logit_bias" not in model.requests[-1]
    other = tfgrpo("chat", "about an invoice", "--base-url", url, "--model", "another")
    assert "logit_bias" not in model.requests[-1]
    assert "token prior left out" in other.stderr


def test_another_model_is_warned_of_once_and_how_to_validate_is_said(priors: tuple[Prior, Prior], url: str) -> None:
    tasks = write_tasks(Path("train.jsonl"))
    there = ("--model", "n", "--base-url", url)
    for arguments in (("chat", "hello", *there), ("learn", tasks, *there, *SMALL)):
        said = works(*arguments).stderr
        assert said.count("namespace default was learned on m, and this is n") == 1
        assert "tfgrpo eval TASKS --namespace default --model n" in said
    with Store("tfgrpo.db") as store:
        assert store.namespaces()[0].model == "m"
