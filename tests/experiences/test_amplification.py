"""Long answers that are right become demonstrations, by a SIMULATED model whose kinds of answers have known odds."""

from dataclasses import replace

import pytest

from benchmarks.amplification import simulated, sums
from tests.tables import each
from tfgrpo.experiences.amplification import Amplified, amplified
from tfgrpo.experiences.answer_pool import parting_length
from tfgrpo.records import Backend, ChatBody, Frame, Rollout, Usage, message_text
from tfgrpo.rollouts.executor import ChatExecutor
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.settings import Settings
from tfgrpo.testing import Answer, Script, ScriptedModel

TASKS = sums(24)
SETTINGS = Settings(group_size=8)


async def made(
    script: Script, settings: Settings = SETTINGS, *, rounds: int = 3, verified: bool = True
) -> tuple[Amplified, ScriptedModel]:
    model = ScriptedModel(script)
    plain = ChatExecutor(model, Frame("fake"), Backend(), run="", stage="rollout amplify", seed=0)
    reward = load_reward("numeric")
    return await amplified(plain, TASKS, reward, settings, rounds=rounds, verified=verified), model


async def test_the_odds_of_long_answers_grow_as_their_accuracy_says_and_so_does_accuracy() -> None:
    found, _ = await made(simulated)
    first, second, third = found.rounds
    assert first.right_long
    assert first.right_short
    odds = first.long / (1 - first.long) * first.right_long / first.right_short
    assert first.pool == pytest.approx(odds / (1 + odds))
    assert second.long == pytest.approx(first.pool, abs=0.1)
    assert first.long < second.long < third.long
    assert third.right > first.right + 0.2
    assert (first.shown_long, first.obeyed) == (None, None)
    assert second.obeyed
    assert second.obeyed > 0.9
    assert found.variant
    assert found.variant.source == "4 long verified answers"


async def test_without_verification_the_pool_is_what_was_said() -> None:
    found, _ = await made(simulated, verified=False)
    assert all(one.pool == pytest.approx(one.long) for one in found.rounds)
    assert found.rounds[-1].right < (await made(simulated))[0].rounds[-1].right - 0.1


async def test_a_first_round_that_was_lost_parts_no_answers() -> None:
    left = [Answer("", status=400)] * len(TASKS) * SETTINGS.group_size
    found, _ = await made(lambda body: left.pop() if left else simulated(body), rounds=2, verified=False)
    assert 0 < found.rounds[1].long < 1


async def test_no_task_is_shown_its_own_answer_and_the_first_round_shows_nothing() -> None:
    _, model = await made(simulated)
    of_a_round = len(TASKS) * SETTINGS.group_size
    assert {len(body["messages"]) for body in model.requests[:of_a_round]} == {1}
    for body in model.requests[of_a_round:]:
        *shown, asked = map(message_text, body["messages"])
        assert len(shown) == 8
        assert asked not in shown


async def test_length_has_its_price_in_the_pool() -> None:
    free, _ = await made(simulated, rounds=1)
    dear, _ = await made(simulated, replace(SETTINGS, overlong="40:40"), rounds=1)
    assert free.rounds[0].pool
    assert dear.rounds[0].pool
    assert dear.rounds[0].pool < free.rounds[0].pool


@each(
    ("lengths", "bound"),
    [
        ([4] * 6 + [24] * 14 + [55, 75, 81], 39.5),  # of a model of 0.5B; the mean is 24.2
        ([7, 7, 7], 7.0),
        ([3, 9], 6.0),
        ([5], 5.0),
        ([], 0.0),
    ],
)
def test_answers_are_parted_between_their_kinds(lengths: list[int], bound: float) -> None:
    made = [Rollout(TASKS[0], 0, n, "", usage=Usage(1, 1, length)) for n, length in enumerate(lengths)]
    cut = [Rollout(TASKS[0], 0, 99, "", usage=Usage(1, 1, 2_000), finish_reason="length")]
    assert parting_length(made) == bound
    assert parting_length([*made, *(cut if made else [])]) == bound


def only_short_is_right(body: ChatBody) -> str:
    said = simulated(body)
    terms = message_text(body["messages"][-1]).removeprefix("What is ").removesuffix("?").split(" + ")
    return "no idea, however long I look at it" if len(said.text) > 10 else str(sum(map(int, terms)))


def half_as_often(body: ChatBody) -> str:
    terms = message_text(body["messages"][-1]).removeprefix("What is ").removesuffix("?").split(" + ")
    right, long = sum(map(int, terms)), body["seed"] % 2
    return f"one and then the next, and the next: {right + body['seed'] // 2 % 2}" if long else str(right)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (lambda body: "7", "no answer is long"),
        (only_short_is_right, "none of the long answers"),
        (lambda body: Answer("", status=400), "no answer is long"),
        (half_as_often, "long answers earn no more than short ones"),
    ],
)
async def test_where_there_is_nothing_to_amplify_it_ends_after_the_first_round_and_says_why(
    script: Script, why: str
) -> None:
    found, model = await made(script)
    assert (found.variant, len(found.rounds)) == (None, 1)
    assert found.why.startswith(f"nothing to amplify: {why}")
    assert len(model.requests) == len(TASKS) * SETTINGS.group_size


def cut_off(body: ChatBody) -> Answer:
    return replace(said, finish_reason="length") if len((said := simulated(body)).text) > 10 else said


async def test_what_is_cut_off_is_never_shown_though_it_is_right() -> None:
    found, _ = await made(cut_off)
    assert found.rounds[0].right_long
    assert found.rounds[0].pool == 0.0
    assert found.why.startswith("nothing to amplify: long answers earn no more")
