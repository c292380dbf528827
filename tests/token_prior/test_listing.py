"""How all answers to a request are asked for, by a small language that goes on from what it is given."""

import asyncio
import math
import random
from collections import Counter
from pathlib import Path

import pytest

from tfgrpo.model import local
from tfgrpo.model.local.server import ONE_AFTER_THE_OTHER
from tfgrpo.model.upstream import Upstream
from tfgrpo.probe.backend import probe
from tfgrpo.records import JSON, Backend, CallKey, ChatBody, Frame, Message, Prior, Run, Task, TokenBias, message_text
from tfgrpo.rollouts.executor import ChatExecutor
from tfgrpo.rollouts.group import concurrently
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.rollouts.rewards.reward import Reward
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel
from tfgrpo.token_prior.listing import ListedAnswers, Listing, unlistable

FROZEN, STRICT = Prior(), load_reward("exact-strict")
TASK, KEY = Task("Is it?", "yes it is"), CallKey("run", "listed", task="t")
WORDS = ("", "yes", "no", " it", " is", "maybe")
AFTER = {
    "": {"yes": 0.7, "no": 0.25, "maybe": 0.05},
    "yes": {"": 0.4, " it": 0.6},
    "yes it": {" is": 0.9, "": 0.1},
    "yes it is": {"": 1.0},
    "no": {"": 0.97, " it": 0.03},
    "no it": {" is": 1.0},
    "no it is": {"": 1.0},
    "maybe": {"": 1.0},
}
"""Chances of the next token after each text."""
LLAMA = Backend("llama.cpp", "honoured", token_ids=True, logprobs=True)


def language(body: ChatBody) -> Answer:
    """The likeliest answer, or a sampled one, from the assistant's words on."""
    last = body["messages"][-1]
    text = message_text(last) if last["role"] == "assistant" else ""
    heat, draw, entries = float(body["temperature"]), random.Random(body["seed"]), list[JSON]()
    for _ in range(int(body["max_tokens"])):
        chances = AFTER[text]
        weights = [chance ** (1 / heat) for chance in chances.values()] if heat else []
        word = draw.choices(list(chances), weights)[0] if heat else max(chances, key=lambda one: chances[one])
        listed = [_entry(one, chance) for one, chance in chances.items()]
        entries.append(_entry(word, chances[word]) | {"top_logprobs": listed})
        text += word
        if not word:
            return Answer(text, "stop", entries)
    return Answer(text, "length", entries)


def _entry(word: str, chance: float) -> dict[str, JSON]:
    return {"token": word, "id": WORDS.index(word), "bytes": list(word.encode()), "logprob": math.log(chance)}


def asked(
    longest: int, calls: int, prior: Prior = FROZEN, backend: Backend = LLAMA, heat: float = 1.0
) -> tuple[ListedAnswers | None, ScriptedModel]:
    model = ScriptedModel(language)
    listing = Listing(model, Frame("m", None, {"max_tokens": longest}), backend, load_reward("exact"))
    return asyncio.run(listing.answers(TASK, prior, heat, KEY, calls=calls)), model


def test_answers_of_one_token_are_all_listed_by_one_call() -> None:
    found, model = asked(1, 8, backend=Backend(logprobs=True))
    assert found is not None
    assert found.is_known
    assert len(model.requests) == 1
    assert sorted(found.tree.texts.values()) == ["maybe", "no", "yes"]


@pytest.mark.parametrize(("heat", "bias"), [(1.0, 0.0), (0.7, 0.0), (0.7, 1.5)])
def test_longer_answers_are_gone_on_from_until_nearly_all_are_listed(heat: float, bias: float) -> None:
    prior = Prior((), (TokenBias(WORDS.index(" it"), b" it", bias, 3.0, 9),) if bias else ())
    found, model = asked(4, 8, prior, heat=heat)
    assert found is not None
    assert found.is_known
    assert len(model.requests) == found.calls <= 4
    assert all("logit_bias" not in body for body in model.requests)
    rng, right = random.Random(3), 0
    for _ in range(4_000):  # the same, sampled
        text = ""
        while True:
            odds = [(chance * math.exp(bias * (one == " it"))) ** (1 / heat) for one, chance in AFTER[text].items()]
            word = rng.choices(list(AFTER[text]), odds)[0]
            if not word:
                break
            text += word
        right += text == "yes it is"
    assert found.now.low - 0.03 <= right / 4_000 <= found.now.high + 0.03


def test_no_more_calls_are_made_than_allowed_and_none_that_could_not_get_there() -> None:
    for longest, calls, backend, made in [(4, 1, LLAMA, 1), (4, 0, LLAMA, 0), (4, 8, Backend(logprobs=True), 1)]:
        found, model = asked(longest, calls, backend=backend)
        assert len(model.requests) == made
        assert found is None or not found.is_known


def test_what_is_listed_serves_other_biases_without_a_call() -> None:
    model = ScriptedModel(language)
    listing = Listing(model, Frame("m", None, {"max_tokens": 4}), LLAMA, load_reward("exact"))

    async def both() -> list[ListedAnswers | None]:
        priors = Prior(), Prior((), (TokenBias(WORDS.index("yes"), b"yes", 2.0, 3.0, 9),))
        return [await listing.answers(TASK, prior, 0.7, KEY, calls=8) for prior in priors]

    before, after = asyncio.run(both())
    assert before is not None and after is not None
    assert len(model.requests) == before.calls == after.calls
    assert after.now.mean > before.now.mean


@pytest.mark.parametrize(
    "spoilt", ["no probabilities", "other words", "an error"], ids=lambda spoilt: spoilt.replace(" ", "-")
)
def test_an_upstream_that_lists_something_else_is_not_believed(spoilt: str) -> None:
    def script(body: ChatBody) -> Answer:
        answer = language(body)
        if spoilt == "an error":
            return Answer("bad request", status=400)
        return (
            Answer(answer.text, logprobs=None)
            if spoilt == "no probabilities"
            else Answer("Hm.", "stop", answer.logprobs)
        )

    model = ScriptedModel(script)
    listing = Listing(model, Frame("m", None, {"max_tokens": 1}), LLAMA, load_reward("exact"))
    assert asyncio.run(listing.answers(TASK, Prior(), 0.7, KEY, calls=8)) is None
    assert len(model.requests) == 1


def test_it_is_said_beforehand_where_answers_cannot_be_listed() -> None:
    frame, exact = Frame("m", None, {"max_tokens": 1}), load_reward("exact")
    asked: list[tuple[Frame, Backend, Reward, bool]] = [
        (frame, LLAMA, exact, True),
        (frame, LLAMA, load_reward("0.5*exact + 0.5*contains"), True),
        (frame, LLAMA, load_reward("math"), False),
        (frame, LLAMA, lambda rollout: 1.0, False),
        (frame, Backend(), exact, False),
        (Frame("m", None, {"max_tokens": 1, "stop": ["\n"]}), LLAMA, exact, False),
        (Frame("m", None, {"max_tokens": 1}, temperature=0.0), LLAMA, exact, False),
        (Frame("m", None, {"max_tokens": 1}, top_p=0.9), LLAMA, exact, False),
        (Frame("m"), LLAMA, exact, False),
    ]
    assert [unlistable(*one[:3]) is None for one in asked] == [one[3] for one in asked]


@pytest.mark.model
async def test_on_the_embedded_model_what_is_listed_agrees_with_what_is_sampled(tmp_path: Path) -> None:
    """Labels of one token, and answers of up to three, which it is asked to go on from.

    On one slot, as in a run, it reads at once and says token by token by the same computation. Shares may miss by 3.5
    deviations, as one in two thousand does by luck; each is drawn under seeds of its own, the same ones every time.
    """
    label, quote, drawn = "Answer with one word: login, payment or delivery.", "Put the word in double quotes.", 24
    example: tuple[Message, ...] = ({"role": "user", "content": "table"}, {"role": "assistant", "content": '"table"'})
    cases = [
        (label, Task("My parcel has not arrived.", "delivery"), 1, 0.7),
        (label, Task("I cannot sign in to my account.", "login"), 1, 0.3),
        (quote, Task((*example, {"role": "user", "content": "button"}), 'button"'), 4, 0.3),
    ]
    with Store(tmp_path / "t.db") as store, local.upstream("local", ONE_AFTER_THE_OTHER) as (url, model):
        async with Upstream(url, settings=Settings(concurrency=4), journal=store) as calls:
            run, _ = store.begin(Run("eval", "default", Frame(model), {}, (), "exact"))
            backend = await probe(calls, model, run=run.id)
            for system, task, longest, heat in cases:
                store.add_tasks([task])
                frame = Frame(model, system, {"max_tokens": longest}, temperature=heat)
                listing = Listing(calls, frame, backend, STRICT)
                key = CallKey(run.id, "listed", task=task.id)
                found = await listing.answers(task, FROZEN, heat, key, calls=12)
                assert found is not None
                assert found.is_known
                call = ChatExecutor(calls, frame, backend, run=run.id, stage="sampled", seed=1)
                made = await concurrently(call(task, FROZEN, 0, sample) for sample in range(drawn))
                assert {one.text for one in made} & set(found.tree.texts.values())
                chances = Counter[str]()
                for (row, column), text in found.tree.texts.items():
                    chances[text] += found.now.reached[row] * found.now.chances[row, column]
                for text, chance in chances.most_common(3):
                    share = sum(one.text == text for one in made) / drawn
                    noise = 3.5 * (chance * (1 - chance) / drawn) ** 0.5
                    assert abs(share - chance) < noise + found.now.missing, text
