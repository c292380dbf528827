"""Who proposes experiences, and by which recipe: the options of `learn` that say so, and `prompts export`."""

import itertools
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.routing import TASKS, TOPICS, served
from tfgrpo.cli import main
from tfgrpo.experiences.distil import PROMPTS
from tfgrpo.records import ChatBody, message_text
from tfgrpo.store import Store
from tfgrpo.testing import ScriptedModel

ADVICE = "When a message is routed, answer with the label alone."


@pytest.fixture
def folder(folder: Path) -> Path:
    """The current folder, with tasks in it and no settings from the environment."""
    lines = [json.dumps({"input": task.prompt, "answer": task.answer}) for task in TASKS]
    (folder / "train.jsonl").write_text("\n".join(lines))
    return folder


def said(body: ChatBody) -> str:
    return "\n".join(message_text(message) for message in body["messages"])


def is_distilling(body: ChatBody) -> bool:
    return "<attempt" in said(body) or "<proposals>" in said(body)


def answering(body: ChatBody) -> str:
    """Notes, one proposal, or an answer that is right half of the time."""
    if "<attempt>" in said(body):
        return "It named a label."
    if is_distilling(body):
        return json.dumps([{"operation": "ADD", "text": ADVICE, "target": "", "from": ["P1"]}])
    right = next((label for topic, label in TOPICS.items() if topic in message_text(body["messages"][-1])), "billing")
    return right if body["seed"] % 2 else "The message"


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel(answering)


def tfgrpo(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def learn(url: str, *more: str) -> Result:
    ungated = ("--gate", "none", "--no-token-prior", "--json")
    return tfgrpo("learn", "train.jsonl", "--model", "fake", "--base-url", url, *ungated, *more)


def rollouts(model: ScriptedModel) -> list[ChatBody]:
    return [body for body in model.requests if "seed" in body and not is_distilling(body) and "max_tokens" not in body]


def verdicts() -> dict[str, str]:
    with Store("tfgrpo.db") as store:
        found = store.experiences("default")
    return {status.experience.kind: status.decision.verdict for status in found if status.decision}


def test_the_recipe_paper_is_the_published_one(folder: Path, url: str, model: ScriptedModel) -> None:
    result = learn(url, "--recipe", "paper")
    assert result.exit_code == 0, result.output
    sent = rollouts(model)
    assert len(sent) == 3 * 5 * len(TASKS)
    assert {body["temperature"] for body in sent} == {0.7}
    assert [ADVICE in said(body) for body in sent].count(True) == 2 * 5 * len(TASKS), "all in, from the second step on"
    assert verdicts() == {"strategy": "kept"}
    with Store("tfgrpo.db") as store:
        assert [status.effect for status in store.experiences("default")] == [None]
    assert {body["temperature"] for body in model.requests if is_distilling(body)} == {0}


def test_explicit_options_win_over_the_recipe(folder: Path, url: str, model: ScriptedModel) -> None:
    assert learn(url, "--recipe", "paper", "--steps", "1", "--group-size", "2").exit_code == 0
    assert len(rollouts(model)) == 2 * len(TASKS)


@pytest.mark.parametrize(("retries", "tries"), [("0", 1), ("1", 2)])
def test_the_distiller_is_asked_again_as_often_as_is_said(
    folder: Path, url: str, model: ScriptedModel, retries: str, tries: int
) -> None:
    numbers = itertools.count()
    model.script = lambda body: f"No {next(numbers)}." if is_distilling(body) else answering(body)
    options = ("--steps", "1", "--distilled-groups", "1", "--distiller-retries", retries)
    assert learn(url, *options).exit_code == 0
    assert len([body for body in model.requests if is_distilling(body)]) == tries


def test_without_ground_truth_no_answer_is_ever_shown(folder: Path, url: str, model: ScriptedModel) -> None:
    assert learn(url, "--steps", "1", "--no-ground-truth").exit_code == 0
    asked = [said(body) for body in model.requests if "<answer>" in said(body)]
    assert asked
    assert all("<answer>\n(not known)\n</answer>" in text for text in asked)


def test_a_group_of_one_learns_from_failures_alone_and_says_that_nothing_is_measured(
    folder: Path, url: str, model: ScriptedModel
) -> None:
    result = learn(url, "--steps", "2", "--group-size", "1")
    assert result.exit_code == 0, result.output
    assert "a group of one compares nothing" in result.stderr
    assert not any("better ones do" in said(body) for body in model.requests)
    assert any("All attempts failed" in said(body) for body in model.requests)
    assert verdicts() == {"strategy": "on trial"}
    paper = learn(url, "--steps", "2", "--group-size", "1", "--recipe", "paper", "--namespace", "paper")
    assert "compares nothing" not in paper.stderr
    assert json.loads(paper.stdout)["fates"] == {"kept": 1}


def test_review_holds_every_proposal(folder: Path, url: str, model: ScriptedModel) -> None:
    assert learn(url, "--steps", "2", "--review").exit_code == 0
    assert verdicts() == {"strategy": "awaiting review"}
    assert not any(ADVICE in said(body) for body in rollouts(model))


def test_the_distiller_may_live_elsewhere_with_a_key_of_its_own(
    folder: Path, url: str, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_KEY", "sk-other-0123456789")
    other = ScriptedModel(answering)
    options = ("--distiller-model", "wise", "--distiller-key-env", "OTHER_KEY", "--steps", "1")
    with served(other.app) as there:
        first = learn(url, "--distiller-base-url", there, *options)
        assert first.exit_code == 0, first.output
        assert {body["model"] for body in other.requests} == {"wise"}
        assert {body["temperature"] for body in other.requests} == {0, 1}
        assert not any(is_distilling(body) for body in model.requests)
        calls = json.loads(first.stdout)["usage"]["calls"]
        assert calls == len(model.requests) + len(other.requests)
    assert b"sk-other" not in b"".join(path.read_bytes() for path in folder.glob("tfgrpo.db*"))


OTHER_WORDS = "To route some mail, name its category and stop there."


def twice(body: ChatBody) -> str:
    """As `answering`, but the same advice is proposed in two wordings."""
    if not is_distilling(body) or "<attempt>" in said(body):
        return answering(body)
    texts = (ADVICE, OTHER_WORDS)
    return json.dumps([{"operation": "ADD", "text": text, "target": "", "from": ["P1"]} for text in texts])


def test_an_embedding_model_may_live_elsewhere_with_a_key_of_its_own(
    folder: Path, model: ScriptedModel, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEAR_KEY", "sk-near-0123456789")
    model.script = twice
    near = ScriptedModel(lambda body: "", embed=lambda text: (1.0, 0.0))
    with served(near.app) as there:
        options = ("--embedding-model", "near", "--embedding-base-url", there, "--embedding-key-env", "NEAR_KEY")
        result = learn(url, "--steps", "1", "--no-demonstrations", *options)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["fates"] == {"on trial": 1, "refused": 1}
    assert near.embedded[1:] == [[ADVICE, OTHER_WORDS]]
    assert {headers["authorization"] for headers in near.headers} == {"Bearer sk-near-0123456789"}
    assert json.loads(result.stdout)["usage"]["calls"] == len(model.requests) + len(near.embedded)
    assert b"sk-near" not in b"".join(path.read_bytes() for path in folder.glob("tfgrpo.db*"))


def test_the_embedding_model_is_looked_for_beside_the_model_itself(
    folder: Path, model: ScriptedModel, url: str
) -> None:
    options = ("--steps", "1", "--no-demonstrations", "--embedding-model", "near")
    missing = learn(url, *options)
    assert missing.exit_code == 1
    assert "no embeddings by near: 127.0.0.1" in missing.stderr
    assert "--embedding-base-url" in missing.stderr
    assert rollouts(model) == []
    model.script, model.embed = twice, lambda text: (1.0, 0.0)
    assert json.loads(learn(url, *options).stdout)["fates"] == {"on trial": 1, "refused": 1}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--distiller-base-url", "http://127.0.0.1:9/v1"), "--distiller-model"),
        (
            ("--distiller-base-url", "http://127.0.0.1:9/v1", "--distiller-model", "w", "--distiller-key-env", "NOPE"),
            "NOPE is not set",
        ),
        (("--distiller-key-env", "NOPE"), "goes with --distiller-base-url"),
        (("--embedding-base-url", "http://127.0.0.1:9/v1"), "--embedding-base-url goes with --embedding-model"),
        (("--embedding-near", "0.9"), "--embedding-near goes with --embedding-model"),
        (("--embedding-model", "near", "--embedding-key-env", "NOPE"), "--embedding-key-env: the variable NOPE"),
        (("--embedding-model", "near", "--embedding-near", "1.5"), "setting embedding_near is 1.5"),
        (("--embedding-model", "near", "--no-experiences", "--no-race"), "this run has neither; leave it out"),
        (("--prompts", "nowhere"), "prompt summarise: cannot read"),
    ],
)
def test_bad_options_are_one_line_and_spend_nothing(
    folder: Path, url: str, model: ScriptedModel, options: tuple[str, ...], words: str
) -> None:
    result = learn(url, *options)
    assert result.exit_code == 1
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert model.requests == []


def test_exported_prompts_can_be_changed_and_used(folder: Path, url: str, model: ScriptedModel) -> None:
    exported = tfgrpo("prompts", "export", "mine")
    assert exported.exit_code == 0, exported.output
    assert {path.stem for path in (folder / "mine").iterdir()} == set(PROMPTS)
    again = json.loads(tfgrpo("prompts", "export", "mine", "--force", "--json").stdout)
    assert {Path(path).stem for path in again["files"]} == set(PROMPTS)
    contrast = folder / "mine" / "contrast.md"
    contrast.write_text(contrast.read_text().replace("You turn", "Dear friend, you turn"))
    assert learn(url, "--steps", "1", "--prompts", "mine").exit_code == 0
    assert any("Dear friend" in said(body) for body in model.requests)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("contrast", "{{task}}", ""),
        ("merge", "{{limit}}", "{{limits}}"),
        ("answer", "\n---\n", "\n"),
    ],
)
def test_a_prompt_with_a_wrong_blank_spends_nothing(
    folder: Path, url: str, model: ScriptedModel, name: str, old: str, new: str
) -> None:
    tfgrpo("prompts", "export", "mine")
    path = folder / "mine" / f"{name}.md"
    path.write_text(path.read_text().replace(old, new))
    result = learn(url, "--prompts", "mine")
    assert result.exit_code == 1
    assert f"prompt {name}: " in result.stderr
    assert model.requests == []
    assert not (folder / "tfgrpo.db").exists()


def test_a_prior_template_that_would_be_ignored_is_refused(folder: Path, url: str) -> None:
    tfgrpo("prompts", "export", "mine")
    (folder / "mine" / "prior.md").write_text("Mine: {{experiences}}")
    assert "prompt prior: " in learn(url, "--prompts", "mine").stderr


def test_export_overwrites_only_when_told_to(folder: Path) -> None:
    tfgrpo("prompts", "export", "mine")
    (folder / "mine" / "retry.md").write_text("my own")
    refused = tfgrpo("prompts", "export", "mine")
    assert refused.exit_code == 1
    assert "--force" in refused.stderr
    assert (folder / "mine" / "retry.md").read_text() == "my own"
    assert tfgrpo("prompts", "export", "mine", "--force").exit_code == 0
    assert "{{error}}" in (folder / "mine" / "retry.md").read_text()
    (folder / "file").write_text("")
    assert tfgrpo("prompts", "export", "file/mine").stderr.startswith("Error: cannot write to file")
