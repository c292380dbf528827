"""A prior on another model: what helps there goes live there, what hurts does not, for few calls."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.shell import one_line, tfgrpo, works
from tests.routing import ADVICE, TOPICS, WORDS, served, talkative
from tfgrpo.experiences.variants import as_prior
from tfgrpo.learning.port import WantedPort
from tfgrpo.learning.transfer import Brought, Ported, brought_over, learned_transfer, portions
from tfgrpo.model.endpoints import Endpoint, Endpoints
from tfgrpo.records import (
    JSON,
    ChatBody,
    Demonstration,
    Experience,
    Frame,
    OptionOffset,
    Prior,
    QuestionOffsets,
    Run,
    Snapshot,
    Task,
    TokenBias,
    Usage,
    Variant,
    message_text,
)
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel, SimulatedPolicy
from tfgrpo.trials import GateTrial, TrialOutcome, task_set_id

ROUTING = Frame("old", "Route it.", {"max_tokens": 1})
EFFECTS = {"kin": 0.4, "stranger": -0.3}
"""What the advice is worth on each of two models."""
WHOLE = Prior(
    (Experience(ADVICE),),
    (TokenBias(7, b"a", 1.0, 3.0, 9),),
    "tokenizer",
    instruction="Be brief.",
    demonstrations=(Demonstration("x", "y"),),
)


def answer(body: ChatBody) -> str:
    texts = "\n".join(message_text(message) for message in body["messages"])
    chance = 0.4 + EFFECTS[body["model"]] * (ADVICE in texts)
    right = next((label for topic, label in TOPICS.items() if topic in texts), "billing")
    return right if body["seed"] % 1000 < 1000 * chance else "The message"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(ScriptedModel(answer).app) as url:
        yield url


@pytest.fixture
def learned(folder: Path) -> Prior:
    """A prior that is live in the namespace `default`, with the tasks that it was learned from."""
    return live_with_tasks(Prior((Experience(ADVICE),), template="t"), Frame("old"))


def live_with_tasks(prior: Prior, frame: Frame, taught: int = 18, **said: JSON) -> Prior:
    """The prior, live on evidence in the namespace `default` of the folder's store, learned from so many tasks."""
    tasks = [Task(f"message {n} about {topic}", label) for n, (topic, label) in enumerate(list(TOPICS.items()) * 12)]
    train, validation = tasks[:taught], tasks[18:]
    with Store("tfgrpo.db") as store:
        store.add_tasks(tasks)
        held = [task.id for task in validation]
        settings = {"validation": task_set_id(held), **said}
        run = Run("learn", "default", frame, settings, tuple(t.id for t in train), "exact")
        run, _ = store.begin(run)
        store.hold_out(run.id, "validation", held)
        store.end(run.id, "finished", Usage(), {})
        store.add_prior(prior)
        store.set_state("default", prior.id, "candidate", frame=frame, run=run.id)
        trial = store.begin_trial(GateTrial("default", tuple(sorted(held)), run.id, prior.id, None, 0.05, 32, 0))
        store.end_trial(trial, TrialOutcome("promoted", "better", 4, 99.0, 0.4, 0.2, 0.6))
        store.set_state("default", prior.id, "live", frame=frame, run=run.id)
    return prior


def test_what_helps_on_the_new_model_goes_live_there(learned: Prior, url: str) -> None:
    found = json.loads(works("port", "default", "--to", "kin", "--base-url", url, "--json").stdout)
    assert (found["namespace"], found["chosen"], found["state"]) == ("default@kin", "ported", "live")
    assert found["effects"]["ported"] > 0.1
    with Store("tfgrpo.db") as store:
        live = store.live("default@kin")
        assert live is not None
        assert (live.prior.experiences, live.frame.model) == (learned.experiences, "kin")
        assert store.live("default") is not None
        assert learned_transfer(store) != 0.5


def test_what_is_live_there_already_is_said_to_be_so(learned: Prior, url: str) -> None:
    first, again = [works("port", "default", "--to", "kin", "--base-url", url).stdout for _ in range(2)]
    assert "(ported) is live in namespace default@kin" in first
    assert "(ported) is live already in namespace default@kin" in again and "was made live" not in again


def test_a_ceiling_that_ends_it_says_nothing_of_what_helps_and_a_larger_one_goes_on(learned: Prior, url: str) -> None:
    said: list[JSON] = []
    for ceiling, code in (("20", 3), ("100", 3), ("400", 0)):
        found = tfgrpo("port", "default", "--to", "kin", "--base-url", url, "--max-calls", ceiling)
        assert found.exit_code == code, found.output
        assert "is expected to help" not in found.stdout
        assert ("goes on from there" in found.stdout) is (code == 3)
        with Store("tfgrpo.db") as store:
            run = store.runs("default@kin")[-1].run
            said.append((run.id, store.spent(run.id).calls <= int(ceiling)))
    assert len(set(said)) == 1 and said[0][1]


@pytest.mark.parametrize("taught", [1, 2])
def test_a_prior_of_one_or_two_tasks_is_tried_on_these(folder: Path, url: str, taught: int) -> None:
    live_with_tasks(Prior((Experience(ADVICE),), template="t"), Frame("old"), taught)
    found = json.loads(works("port", "default", "--to", "kin", "--base-url", url, "--json").stdout)
    assert len(found["steps"]) == taught and found["means"].keys() >= {"frozen", "ported"}


def test_what_hurts_there_does_not(learned: Prior, url: str) -> None:
    found = works("port", "default", "--to", "stranger", "--base-url", url)
    assert "nothing is expected to help there" in found.stdout or "was rejected" in found.stdout
    harm = next(line for line in found.stdout.splitlines() if line.split()[0] == "ported")
    assert float(harm.split()[2]) < -10
    with Store("tfgrpo.db") as store:
        assert store.live("default@stranger") is None


def asked(prompt: str) -> list[float]:
    """Logits of the talkative policy for the last message alone, whatever examples are shown."""
    return talkative(prompt[prompt.rfind("message ") :])


def test_what_is_best_there_may_be_what_the_old_model_did_not_use(learned: Prior) -> None:
    """A SIMULATED model that takes no advice, and is right once it is shown four examples or more."""

    def follows_examples(body: ChatBody) -> str:
        right = TOPICS[message_text(body["messages"][-1]).split()[-1]]
        return right if len(body["messages"]) > 8 or body["seed"] % 10 == 0 else "The message"

    def script(body: ChatBody) -> str:
        return follows_examples(body) if " about " in message_text(body["messages"][-1]) else "Hello"

    with served(ScriptedModel(script).app) as url:
        found = json.loads(works("port", "default", "--to", "kin", "--base-url", url, "--json").stdout)
    assert "example" in found["chosen"] or "nearest" in found["chosen"]
    assert found["state"] == "live" and found["effects"]["ported"] < 0.2
    assert found["usage"]["calls"] < 72 + 2 * 36 + 25


def test_a_port_that_was_interrupted_deals_the_same_and_asks_for_nothing_twice(learned: Prior) -> None:
    asked_for: list[str] = []

    def broken(after: int) -> ScriptedModel:
        def script(body: ChatBody) -> str | Answer:
            if len(asked_for) >= after:
                return Answer("no such key", status=401)
            asked_for.append(json.dumps([body["messages"], body["seed"]]))
            return answer(body)

        return ScriptedModel(script)

    with served(broken(60).app) as url:
        tfgrpo("port", "default", "--to", "kin", "--base-url", url)
    with served(broken(10_000).app) as url:
        resumed = json.loads(works("port", "default", "--to", "kin", "--base-url", url, "--json").stdout)
    assert resumed["resumed"] and len(asked_for) == resumed["usage"]["calls"]


def test_where_answers_can_be_listed_tokens_are_fitted_anew(folder: Path) -> None:
    """What the old model needed raised does not come over, though it is all; what is listed tells what does."""
    wrong = (TokenBias(WORDS.index("billing"), b"billing", 3.0, 3.0, 9),)
    live_with_tasks(Prior((Experience(ADVICE),), wrong, "t", template="t"), ROUTING)
    with served(ScriptedModel(SimulatedPolicy(WORDS, asked)).app) as url:
        found = json.loads(works("port", "default", "--to", "kin", "--base-url", url, "--json").stdout)
    assert found["chosen"].endswith("tokens fitted anew") and found["state"] == "live"
    assert found["means"]["frozen"] > 0.6, "with tokens of its own"
    assert found["gate"]["statistic"] == "exact"
    assert found["usage"]["calls"] < 72 + 2 * 18 + 25  # the race, one look of the gate at what is listed, and a probe
    with Store("tfgrpo.db") as store:
        live = store.live("default@kin")
    assert live is not None
    assert {one.piece.decode() for one in live.prior.biases if one.bias > 1} == set(TOPICS.values())


MANY_WORDS = SimulatedPolicy((*WORDS, *(f"word{n}" for n in range(40))), lambda prompt: [*asked(prompt), *[-1.0] * 40])
"""Whose first words are too many to be listed: a quarter of them lies outside the twenty likeliest."""


@pytest.mark.parametrize("temperature", [0.7, 0.0])
def test_where_answers_are_sampled_tokens_are_fitted_to_the_alternatives_that_come_along(
    folder: Path, temperature: float
) -> None:
    live_with_tasks(Prior((Experience(ADVICE),), template="t"), replace(ROUTING, temperature=temperature))
    with served(ScriptedModel(MANY_WORDS).app) as url:
        found = json.loads(works("port", "default", "--to", "kin", "--base-url", url, "--json").stdout)
    assert found["chosen"].endswith("tokens fitted anew") and found["state"] == "live"
    assert found["usage"]["calls"] < 72 + 2 * 36 + 25  # the race, two passes of the gate, and a probe
    with Store("tfgrpo.db") as store:
        live = store.live("default@kin")
    assert live is not None and live.frame.temperature == temperature
    assert {one.piece.decode() for one in live.prior.biases if one.bias > 0} == set(TOPICS.values())


def test_where_no_temperature_is_taken_nothing_is_told_of_another(folder: Path) -> None:
    """At .2 nearly all that is fitted would be right, at the 1 that such a model is sampled at two thirds are."""

    def at_one(body: ChatBody) -> str | Answer:
        if "temperature" in body:
            return Answer("temperature is not supported", status=400, param="temperature")
        return SimulatedPolicy(WORDS, asked)({**body, "temperature": 1.0})

    live_with_tasks(Prior((Experience(ADVICE),), template="t"), replace(ROUTING, temperature=0.2))
    with served(ScriptedModel(at_one).app) as url:
        found = json.loads(works("port", "default", "--to", "kin", "--base-url", url, "--json").stdout)
    assert max(found["means"].values()) < 0.85
    assert found["gate"]["statistic"] == "rewards", "what is listed tells nothing of how answers are sampled"


def test_a_model_that_refuses_biases_gets_tokens_of_its_own_where_labels_are_decided_again(folder: Path) -> None:
    def refusing(body: ChatBody) -> Answer:
        if "logit_bias" in body:
            return Answer("logit_bias is not supported", status=400, param="logit_bias")
        return policy(body)

    policy = SimulatedPolicy(WORDS, asked)
    wrong = (TokenBias(WORDS.index("billing"), b"billing", 3.0, 3.0, 9),)
    frame = Frame("old", "Route it.", {"max_tokens": 1}, labels=tuple(dict.fromkeys(TOPICS.values())))
    live_with_tasks(Prior(biases=wrong, tokenizer="t", template="t"), frame)
    with served(ScriptedModel(refusing).app) as url:
        found = json.loads(works("port", "default", "--to", "kin", "--base-url", url, "--json").stdout)
    assert found["chosen"].endswith("tokens fitted anew") and found["state"] == "live"


def test_on_a_model_that_refuses_biases_the_tokens_are_said_in_words(learned: Prior) -> None:
    """The new model says billing too often until it is told so; it gives no log-probabilities either."""

    def leaning(body: ChatBody) -> str | Answer:
        if "logit_bias" in body:
            return Answer("logit_bias is not supported", status=400, param="logit_bias")
        texts = [message_text(message) for message in body["messages"]]
        right = next((label for topic, label in TOPICS.items() if topic in texts[-1]), "billing")
        return right if any("billing is rarer than it seems" in text for text in texts) else "billing"

    tokens = Prior(biases=(TokenBias(7, b"bill", -2.0, -3.0, 9),), tokenizer="t", template="t")
    frame = Frame("old", labels=("billing", "technical", "sales"))
    with Store("tfgrpo.db") as store:
        run = store.runs("default")[-1].run.id
        store.add_prior(tokens)
        store.set_state("default", tokens.id, "live", frame=frame, run=run)
    with served(ScriptedModel(leaning).app) as url:
        found = json.loads(works("port", "default", "--to", "kin", "--base-url", url, "--json").stdout)
    assert any("said in words" in note for note in found["notes"])
    with Store("tfgrpo.db") as store:
        live = store.live("default@kin")
    assert live is not None
    assert (live.prior.biases, live.frame.labels) == ((), frame.labels)
    assert live.prior.experiences[-1].text.startswith("Answer with one of: billing, technical, sales;")


def test_a_port_without_a_gate_and_one_of_nothing(learned: Prior, url: str) -> None:
    found = works("port", "default", "--to", "kin", "--base-url", url, "--into", "mine", "--gate", "none")
    assert "is live, ungated in namespace mine" in found.stdout
    one_line(tfgrpo("port", "nobody", "--to", "kin", "--base-url", url), "no prior is live in namespace nobody")
    one_line(tfgrpo("port", "default", "--base-url", url), "Name it with --to")
    offsets = Prior(questions=(QuestionOffsets("choice", "Which?", (OptionOffset("a", 1.0, 2.0, 9),)),))
    with Store("tfgrpo.db") as store:
        store.add_prior(offsets)
        store.set_state("asked", offsets.id, "ungated", frame=Frame("old"))
        store.add_prior(Prior())
        store.set_state("bare", Prior().id, "ungated", frame=Frame("old"))
    one_line(tfgrpo("port", "asked", "--to", "kin", "--base-url", url), "offsets of decisions alone")
    one_line(tfgrpo("port", "bare", "--to", "kin", "--base-url", url), "is empty")
    one_line(tfgrpo("port", "mine", "--to", "kin", "--base-url", url), "kept no tasks", "--gate none")


def brought(prior: Prior, effect: float = 0.0, race: Sequence[JSON] = ()) -> Brought:
    run = Run("learn", "default@new", Frame("new"), {}, (), "exact")
    learned = replace(run, result={"race": list(race)})
    with Store("tfgrpo.db") as store:
        return brought_over(
            Ported(Snapshot("d", prior, "live", Frame("old")), learned, effect), store, run, in_words=False
        )


def test_the_parts_of_a_prior_race_each_once(folder: Path) -> None:
    found = brought(WHOLE)
    sources = [one.source.removeprefix("ported, ") for one in found.variants]
    assert sources == ["ported", "without experiences", "examples alone", "instruction alone"]
    assert [one.source for one in brought(Prior((Experience(ADVICE),))).variants] == ["ported"]
    assert brought(Prior(biases=WHOLE.biases, tokenizer="t")).variants == ()
    whole = found.variants[0]
    assert as_prior(whole, Prior(), found.texts) == replace(WHOLE, biases=(), tokenizer=None)


def test_what_was_known_on_the_old_model_comes_over_by_half(folder: Path) -> None:
    rows: list[JSON] = [{"arm": Variant().id, "reward": 0.3, "source": "frozen"}, {"arm": "few", "reward": 0.7}]
    found = brought(WHOLE, 0.4, [{"arms": rows}])
    assert [found.expected[one.id] for one in found.variants] == pytest.approx([0.2, 0.1, 0.1, 0.1])
    assert found.expected["few"] == pytest.approx(0.2)


def test_of_several_draws_the_one_races_that_did_best_on_the_old_model(folder: Path) -> None:
    shown = [Demonstration(f"input {number}", "a") for number in range(4)]
    draws = [Variant(None, tuple(shown[:2])), Variant(None, tuple(shown[2:])), Variant(None, tuple(shown), 2)]
    rows: list[JSON] = [{"arm": Variant().id, "reward": 0.3}, {"arm": draws[1].id, "reward": 0.5}]
    assert brought(WHOLE, 0.4, [{"arms": rows}]).likeliest(draws) == draws[1:]


def test_tasks_are_visited_in_portions_that_hold_all_answers() -> None:
    tasks = [Task(f"message {n} about {topic}", label) for n, (topic, label) in enumerate(list(TOPICS.items()) * 5)]
    found = portions(tasks, 7)
    assert sorted(task.id for part in found for task in part) == sorted(task.id for task in tasks)
    assert [len({task.answer for task in part}) for part in found] == [3, 3]
    assert [len(part) for part in found] == [10, 5]
    assert [len(part) for part in portions(tasks[:1], 7)] == [1]


def test_the_short_run_has_answers_and_rewards_as_learning_had_them(folder: Path) -> None:
    live_with_tasks(Prior((Experience(ADVICE),), template="t"), Frame("old"), clip_rewards=True, prior_tokens=9_000)
    with Store("tfgrpo.db") as store:
        plan = WantedPort("default", Endpoints(Endpoint(None, "kin"))).prepared(store).plan
    assert (plan.settings.clip_rewards, plan.settings.prior_tokens, plan.settings.bounded) == (True, 9_000, None)


def test_what_was_learned_by_an_agent_is_not_tried_by_single_calls(folder: Path) -> None:
    live_with_tasks(Prior((Experience(ADVICE),), template="t"), ROUTING, agent="bot:play")
    found = tfgrpo("port", "default", "--to", "kin", "--base-url", "http://127.0.0.1:1")
    one_line(found, "was learned by the agent bot:play")
