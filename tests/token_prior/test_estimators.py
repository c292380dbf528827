"""The state of the token prior between steps."""

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import tiktoken
import tokenizers
from click.testing import CliRunner

from tests import toy
from tests.inprocess import upstream
from tests.live import go_live
from tests.routing import TASKS, TOPICS, WORDS, talkative
from tests.tables import each
from tfgrpo.cli import main
from tfgrpo.errors import UpstreamError
from tfgrpo.learning.plan import Plan
from tfgrpo.learning.result import LearningResult
from tfgrpo.learning.run import carry_out
from tfgrpo.model.tokenizer import Tokenizer
from tfgrpo.observer import Silent
from tfgrpo.probe.backend import SHORT
from tfgrpo.records import JSON, Backend, ChatBody, Frame, Group, Prior, Rollout, Task, TokenBias
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.testing import Answer, Script, ScriptedModel, SimulatedPolicy, serving
from tfgrpo.token_prior.estimators import TokenLearning, obstacle, strongest


def group(task: Task, answers: Sequence[tuple[str, float]]) -> Group:
    rollouts = (Rollout(task, 0, n, "", text=text, reward=reward) for n, (text, reward) in enumerate(answers))
    return Group(task, 0, tuple(rollouts))


def test_the_strongest_biases_are_sent_rounded() -> None:
    assert strongest({1: 0.123456, 2: -2.0, 3: 0.00001, 4: 1.0}, 2) == {2: -2.0, 4: 1.0}
    assert strongest({1: 0.123456}, 5) == {1: 0.1235}


def test_a_run_starts_from_the_biases_that_it_inherits() -> None:
    entry = TokenBias(7, b"yes", 1.5, 4.0, 9)
    learning = TokenLearning((entry,), Frame("m"), Backend(), Settings())
    assert [(bias.token, bias.piece, bias.bias) for bias in learning.working] == [(7, b"yes", 1.5)]
    assert learning.result() == (entry,)


def test_what_a_winner_wants_is_added_to_what_is_inherited_within_the_bounds_of_the_settings() -> None:
    inherited = TokenBias(7, b"yes", 1.5, 4.0, 9), TokenBias(8, b"Hm", -2.0, 4.0, 9)
    more = TokenBias(7, b"yes", 1.2, 3.0, 12), TokenBias(9, b"no", -0.4, 2.0, 12)
    for backend, settings, wanted in [
        (Backend(), Settings(), {7: 2.7, 8: -2.0, 9: -0.4}),
        (Backend(), Settings(bias_cap=2.0), {7: 2.0, 8: -2.0, 9: -0.4}),
        (Backend(), Settings(bias_entries=1), {7: 2.7}),
        (Backend(fractional=False), Settings(), {7: 3.0, 8: -2.0}),
    ]:
        learning = TokenLearning(inherited, Frame("m"), backend, settings)
        assert {entry.token: round(entry.bias, 6) for entry in learning.on_top(more)} == wanted


def test_without_log_probabilities_a_tokenizer_makes_do() -> None:
    tokenizer = toy.tokenizer(("yes", "no"))
    learning = TokenLearning((), Frame("m"), Backend(), Settings(), tokenizer)
    assert learning.estimator == "log-odds"
    assert TokenLearning((), Frame("m"), Backend(logprobs=True), Settings(), tokenizer).estimator == "policy gradient"
    tasks = [Task(str(number)) for number in range(8)]
    answers = (("yes<br>", 1.0), ("no", 0.0)) * 3
    learning.learn([group(task, answers) for task in tasks], 0.7)
    assert {entry.piece for entry in learning.working} == {b"yes", b"no", b"<", b"b", b"r", b">"}
    assert {entry.piece: entry.bias > 0 for entry in learning.result()}[b"yes"]


def test_control_tokens_never_enter_the_log_odds() -> None:
    tokenizer = replace(toy.tokenizer(("yes", "no")), encode=lambda text: [5, 0] if text == "yes" else [1])
    pieces = {5: b"<|im_end|>", 0: b"yes", 1: b"no"}
    learning = TokenLearning((), Frame("m"), Backend(), Settings(), replace(tokenizer, piece_of=pieces.__getitem__))
    learning.learn([group(Task(str(number)), (("yes", 1.0), ("no", 0.0))) for number in range(8)], 1.0)
    assert {entry.token for entry in learning.working} == {0, 1}


@each(
    ("backend", "local", "words"),
    [
        (Backend(logit_bias="honoured", logprobs=True, token_ids=True), False, ()),
        (Backend(logit_bias="honoured"), True, ()),
        (Backend(logit_bias="honoured"), False, ("gives no log-probabilities with token ids", "--tokenizer FILE")),
        (Backend(logit_bias="honoured", lacking="set X"), False, ("with token ids (set X)",)),
        (Backend(logit_bias="rejected"), False, ("log-probabilities", "and does not honour logit_bias (rejected)")),
        (Backend(logit_bias="inert", logprobs=True), True, ("does not honour logit_bias (inert)",)),
        (Backend(logit_bias="unknown"), True, ("could not be seen to honour logit_bias",)),
    ],
)
def test_what_an_upstream_lacks_is_named(backend: Backend, local: bool, words: tuple[str, ...]) -> None:
    said = obstacle(backend, toy.tokenizer(()) if local else None)
    assert (said is None) == (not words)
    assert [word for word in words if word not in (said or "")] == []


# Whole runs, on a policy with known effects

POLICY = SimulatedPolicy(WORDS, talkative)
NAMELESS = replace(POLICY, ids=False)
SILENT = replace(POLICY, logprobs=False)
SETTINGS = Settings(steps=2, group_size=4, race=False, experiences=False, concurrency=8)


async def run(
    script: Script, path: Path, tokenizer: Tokenizer | None, model: str = "fake", settings: Settings = SETTINGS
) -> tuple[LearningResult, str]:
    """What was learned, and why the store says that it is served."""
    wanted = Plan(TASKS, load_reward("exact"), "exact", Frame(model, "Route it."), settings=settings)
    with Store(path) as store:
        async with upstream(ScriptedModel(script).app, journal=store, settings=settings, tokenizer=tokenizer) as calls:
            learned = await carry_out(wanted, store, calls, Silent())
        return learned, "".join(entry.why for entry in store.lineage("default"))


async def test_tokens_named_by_their_bytes_teach_exactly_what_ids_do(tmp_path: Path) -> None:
    local = toy.tokenizer(WORDS)
    told, _ = await run(POLICY, tmp_path / "ids.db", None)
    bytes_only, why = await run(NAMELESS, tmp_path / "bytes.db", local)
    assert bytes_only.prior.biases == told.prior.biases
    assert told.prior.biases
    assert bytes_only.prior.tokenizer == local.fingerprint
    assert "log-odds" not in why


async def test_without_log_probabilities_log_odds_learn_and_are_marked_as_the_weaker_estimator(tmp_path: Path) -> None:
    learned, why = await run(SILENT, tmp_path / "t.db", toy.tokenizer(WORDS), settings=replace(SETTINGS, steps=3))
    biases = {entry.piece.decode(): entry.bias for entry in learned.prior.biases}
    assert biases["The"] < -0.5
    assert min(biases[label] for label in ("billing", "technical", "sales")) > 0.5
    assert learned.steps[-1].mean_reward > learned.steps[0].mean_reward + 0.3
    assert "by log-odds, the weaker estimator" in why
    assert "by log-odds, the weaker estimator" in "".join(learned.notes)


def refusing_fractions(body: ChatBody) -> Answer:
    """As the schema of OpenAI has it."""
    biases = (body.get("logit_bias") or {}).values()
    words = "Invalid type for 'logit_bias.1': expected an integer, but got a decimal number instead."
    whole = all(isinstance(bias, int) for bias in biases)
    return POLICY(body) if whole else Answer(words, status=400, param="logit_bias.1")


async def test_where_biases_must_be_whole_whole_ones_are_sampled_under_chosen_and_gated(tmp_path: Path) -> None:
    learned, _ = await run(refusing_fractions, tmp_path / "t.db", None)
    assert learned.prior.biases
    assert "without log-probabilities" not in "".join(learned.notes)
    assert all(entry.bias == round(entry.bias) != 0 for entry in learned.prior.biases)
    refused = [note for note in learned.notes if "whole numbers" in note]
    assert len(refused) == 1, "in the probe, and never again"


@pytest.mark.parametrize("script", [NAMELESS, SILENT], ids=["no ids", "no logprobs"])
async def test_a_resumed_run_reads_its_journal_as_the_first_one_did(tmp_path: Path, script: SimulatedPolicy) -> None:
    whole, _ = await run(script, tmp_path / "whole.db", toy.tokenizer(WORDS))
    count = itertools.count()

    def cut(body: ChatBody) -> Answer:
        return script(body) if next(count) < 75 else Answer("no", status=401)

    with pytest.raises(UpstreamError):
        await run(cut, tmp_path / "cut.db", toy.tokenizer(WORDS))
    resumed, _ = await run(script, tmp_path / "cut.db", toy.tokenizer(WORDS))
    assert resumed.resumed
    assert (resumed.prior.id, resumed.steps) == (whole.prior.id, whole.steps)


def spoiled(entry: dict[str, JSON], defect: int) -> list[JSON]:
    """The log-probabilities of a one-token answer with one thing wrong with them."""
    others: list[JSON] = entry["top_logprobs"]
    return (
        [],
        [{**entry, "logprob": math.nan}],
        [{**entry, "logprob": -math.inf}],
        [{**entry, "top_logprobs": [{**other, "logprob": math.nan} for other in others]}],
        [{**entry, "top_logprobs": [*others, *others, {**others[0], "logprob": -1.0}]}],
        [{**entry, "top_logprobs": [{**other, "id": None} for other in others]}],
        [{**entry, "top_logprobs": [*others, {"id": 77, "token": "?", "bytes": [0xF0, 0x9F], "logprob": -9.0}]}],
        [{**entry, "top_logprobs": None}],
        [None],
        ["text"],
    )[defect]


async def test_log_probabilities_that_are_wrong_in_every_way_lose_no_rollout(tmp_path: Path) -> None:
    """Half of the rollouts come with a defect; the others teach what they would have taught."""

    def script(body: ChatBody) -> Answer:
        answer = POLICY(body)
        defect = int(body["seed"]) % 20
        (entry,) = answer.logprobs or ({},)
        return (
            answer
            if defect >= 10 or body["max_tokens"] == SHORT
            else replace(answer, logprobs=spoiled(dict(entry), defect))
        )

    settings, frame = replace(SETTINGS, steps=3), Frame("fake", "Route it.", {"max_tokens": 2})
    wanted = Plan(TASKS, load_reward("exact"), "exact", frame, settings=settings)
    with Store(tmp_path / "t.db") as store:
        async with upstream(ScriptedModel(script).app, journal=store, settings=settings) as calls:
            learned = await carry_out(wanted, store, calls, Silent())
    assert [step.failed for step in learned.steps] == [0] * settings.steps
    kept = {entry.piece.decode(errors="replace"): entry.bias for entry in learned.prior.biases}
    assert kept["The"] < min(kept[label] for label in TOPICS.values()) - 1
    assert 77 not in {entry.token for entry in learned.prior.biases}
    told = [note for note in learned.notes if "came without log-probabilities" in note]
    assert len(told) == settings.steps
    assert "teach the token prior nothing" in told[0]


async def test_a_run_in_which_all_rollouts_fail_at_their_tasks_ends_without_a_token_prior(tmp_path: Path) -> None:
    hopeless = tuple(replace(task, answer="nothing that is ever said") for task in TASKS)
    settings = replace(SETTINGS, stop_hopeless=False)
    wanted = Plan(hopeless, load_reward("exact"), "exact", Frame("fake", "Route it."), settings=settings)
    with Store(tmp_path / "t.db") as store:
        async with upstream(ScriptedModel(POLICY).app, journal=store, settings=SETTINGS) as calls:
            learned = await carry_out(wanted, store, calls, Silent())
    assert (learned.prior.biases, learned.changed) == ((), False)
    assert "no token was moved" in "".join(learned.notes)


async def test_what_learning_measured_is_remembered_for_clients(tmp_path: Path) -> None:
    await run(POLICY, tmp_path / "t.db", None)
    with Store(tmp_path / "t.db") as store:
        found = store.probes()["http://fake/v1"]["fake"]
    assert (found.logit_bias, found.logprobs, found.token_ids) == ("honoured", True, True)


async def test_a_token_prior_of_another_tokenizer_is_resolved_anew_or_left_behind(tmp_path: Path) -> None:
    """The policy's ids are the places of its words; the prior before was learned where they had others."""
    for pieces, note in (((b"The", b"I"), "resolved anew"), ((b"The", b"unheard of"), "is left out")):
        biases = tuple(TokenBias(50 + place, piece, -1.0, -3.0, 9) for place, piece in enumerate(pieces))
        path = tmp_path / f"{note}.db"
        go_live(path, Prior((), biases, "elsewhere"), model="fake")
        model = ScriptedModel(POLICY)
        wanted = Plan(TASKS, load_reward("exact"), "exact", Frame("fake", "Route it."), settings=SETTINGS)
        with Store(path) as store:
            async with upstream(model.app, journal=store, settings=SETTINGS, tokenizer=toy.tokenizer(WORDS)) as calls:
                learned = await carry_out(wanted, store, calls, Silent())
        assert [line for line in learned.notes if note in line]
        first = next(body for body in model.requests if body.get("top_logprobs") == SETTINGS.top_logprobs)
        inherited = {str(WORDS.index(piece.decode())): -1.0 for piece in pieces} if note == "resolved anew" else None
        assert first.get("logit_bias") == inherited


async def test_offline_experiences_are_learned_all_the_same_and_the_note_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(name: str) -> tiktoken.Encoding:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(tiktoken, "get_encoding", unreachable)
    learned, _ = await run(NAMELESS, tmp_path / "t.db", None, model="gpt-4.1-mini")
    assert learned.prior.biases == ()
    (note,) = [note for note in learned.notes if "token prior" in note]
    assert "TIKTOKEN_CACHE_DIR" in note
    assert "inert" not in note


async def test_an_upstream_that_refuses_logit_bias_in_the_middle_loses_no_rollout(tmp_path: Path) -> None:
    count = itertools.count()

    def turns(body: ChatBody) -> Answer:
        if "logit_bias" in body and next(count) > 40:
            return Answer("logit_bias is not supported", status=400)
        return SILENT(body)

    learned, _ = await run(turns, tmp_path / "t.db", toy.tokenizer(WORDS))
    assert learned.prior.biases == ()
    assert [step.failed for step in learned.steps] == [0] * SETTINGS.steps
    assert "no longer takes logit_bias" in "".join(learned.notes)
    with Store(tmp_path / "t.db") as store:
        assert store.probes()["http://fake/v1"]["fake"].logit_bias == "rejected", "clients are told"


def word_level(path: Path) -> str:
    """A tokenizer.json whose tokens are the policy's words."""
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: n for n, word in enumerate((*WORDS, "?"))}, "?"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(path))
    return str(path)


def test_the_command_line_learns_with_a_tokenizer_and_prior_show_names_the_weaker_estimator(tmp_path: Path) -> None:
    tasks, file, store = tmp_path / "tasks.jsonl", word_level(tmp_path / "tokenizer.json"), str(tmp_path / "t.db")
    tasks.write_text("\n".join(json.dumps({"input": task.prompt, "answer": task.answer}) for task in TASKS))
    with serving(ScriptedModel(SILENT).app) as url:
        named = ("--model", "fake", "--base-url", url, "--tokenizer", file)
        probed = CliRunner().invoke(main, ["probe", *named, "--json"])
        learned = CliRunner().invoke(
            main, ["learn", str(tasks), *named, "--store", store, "--no-race", "--no-experiences", "--gate", "none"]
        )
    told = json.loads(probed.stdout)
    assert (told["logit_bias"], told["logprobs"], learned.exit_code) == ("honoured", False, 0)
    shown = CliRunner().invoke(main, ["prior", "show", "--store", store])
    assert "token prior by log-odds, the weaker estimator" in shown.stdout
    as_json = json.loads(CliRunner().invoke(main, ["prior", "show", "--store", store, "--json"]).stdout)
    assert "the weaker estimator" in as_json["why"]
    assert as_json["tokenizer"] == told["tokenizer"]


def test_a_tokenizer_file_that_cannot_be_read_costs_no_call(tmp_path: Path) -> None:
    model = ScriptedModel(SILENT)
    with serving(model.app) as url:
        arguments = ["probe", "--model", "fake", "--base-url", url, "--tokenizer", str(tmp_path / "none.json")]
        said = CliRunner().invoke(main, arguments)
    assert said.exit_code == 1
    assert "none.json" in said.stderr
    assert model.requests == []
