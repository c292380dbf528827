"""How often triggers fire in rollouts, and the thresholds that are learned from these."""

import json
import math

import pytest

from tests.surfaces.test_sureness import listed
from tests.surfaces.test_triggers import AGAIN, ASKED, CALL, DONE, ERROR, OTHER
from tests.tables import each
from tfgrpo.errors import InputError
from tfgrpo.experiences.moments import HeardRollouts, Rate, Turn, fire_rate, learned_trigger, rate_told
from tfgrpo.records import CallKey, Message, Rollout, Task
from tfgrpo.surfaces.surface import Sureness
from tfgrpo.surfaces.triggers import Trigger, trigger_of

TASK = Task("Book the room.")


def trigger(told: str) -> Trigger:
    """The trigger that is written so."""
    found = trigger_of(f"[on {told}] Stop.")
    assert found is not None
    return found[0]


def turns(*conversations: list[Message]) -> list[Turn]:
    """Turns of which no log-probabilities are known."""
    made = (Rollout(TASK, 0, number, "p", messages=tuple(said)) for number, said in enumerate(conversations))
    return HeardRollouts().turns(made)


def test_a_rate_counts_the_answers_of_the_model_and_is_told_in_words() -> None:
    assert fire_rate(trigger("tool error"), turns([ASKED, CALL, ERROR, AGAIN, DONE, OTHER], [ASKED, OTHER])) == (
        1,
        4,
        0,
    )
    assert rate_told(Rate(1, 4, 0)) == "it fires at 1 of 4 turns (25%)"
    assert "never fires" in rate_told(Rate(0, 4, 0))
    assert "always-on experience" in rate_told(Rate(3, 4, 0))
    assert rate_told(Rate(0, 0, 0)) == "no turn was taken"
    assert rate_told(Rate(1, 4, 2)).endswith("; of 2 turns more no log-probabilities are known")


def test_turns_of_demonstrations_are_none_of_the_rollout() -> None:
    shown = [{"role": "system", "content": "s"}, {"role": "user", "content": "Book a car."}, CALL, ERROR, OTHER]
    assert fire_rate(trigger("tool error"), turns([*shown, ASKED, AGAIN, DONE, OTHER])) == (0, 2, 0)
    assert fire_rate(trigger("turn 1"), turns([*shown, ASKED, AGAIN, DONE, OTHER])) == (1, 2, 0)


def test_how_sure_it_was_comes_from_the_journal() -> None:
    choice = {"message": CALL, "logprobs": {"content": [listed(0.4, 0.4)]}}
    heard = HeardRollouts()
    heard.see(CallKey("run", "rollout", 0, TASK.id, 1), json.dumps({"choices": [choice]}))
    heard.see(CallKey("run", "distil", 0), "no JSON")
    said = (ASKED, CALL, ERROR, OTHER)
    found = heard.turns([Rollout(TASK, 0, sample, "p", messages=said) for sample in (0, 1)])
    assert [one.sureness is None for one in found] == [True, True, True, False]
    assert fire_rate(trigger("entropy above .5"), found) == (1, 3, 1)
    assert fire_rate(trigger("margin below .5"), found) == (1, 3, 1)


def test_a_threshold_is_learned_as_a_quantile() -> None:
    found = [Turn([ASKED, CALL, ERROR], Sureness(number / 100, number / 200)) for number in range(100)]
    assert learned_trigger("entropy", 0.9, found) == "entropy above 0.8900"
    assert fire_rate(trigger("entropy above 0.8900"), found) == (10, 100, 0)
    assert learned_trigger("Margin", 0.9, found) == "margin below 0.0500"
    assert fire_rate(trigger("margin below 0.0500"), found) == (10, 100, 0)
    asked = [Turn([{"role": "user", "content": f"{'where is it ' * (place % 5)}please"}]) for place in range(40)]
    like = learned_trigger("like where is it", 0.75, asked)
    rate = fire_rate(trigger(like), asked)
    assert like.endswith(" where is it")
    assert 0 < rate.fired <= math.ceil(0.25 * 40)


@each(
    ("told", "quantile", "why"),
    [
        ("entropy", 1.0, "the quantile is 1; it must be between 0 and 1"),
        ("entropy", -0.5, "the quantile is -0.5; it must be between 0 and 1"),
        ("entropy", math.nan, "the quantile is nan; it must be between 0 and 1"),
        ("entropy", 0.9, "0 turns of the run came with log-probabilities before, and a threshold takes 20"),
        ("margin", 0.9, r"0 turns of the run .* \[on margin below .2\] has its own"),
        ("like Book the room.", 0.9, "too many turns are just that text"),
        ("entropy above .5", 0.9, "has no threshold to learn"),
        ("like", 0.9, "has no threshold to learn"),
        ("tool error", 0.9, "has no threshold to learn"),
    ],
)
def test_what_cannot_be_learned_says_why(told: str, quantile: float, why: str) -> None:
    made: list[Message] = [ASKED, OTHER]
    with pytest.raises(InputError, match=why):
        learned_trigger(told, quantile, turns(*(made for _ in range(30))))


def test_a_threshold_that_nothing_passes_is_refused() -> None:
    failed: list[Message] = [ASKED, CALL, {"role": "tool", "content": "no such room"}, OTHER]
    plain: list[Message] = [ASKED, OTHER]
    made = turns(*([failed] * 5), *([plain] * 20))
    with pytest.raises(
        InputError, match=r"5 of 30 turns have the highest value of like, .* --quantile below 0\.83 has"
    ):
        learned_trigger("like such rooms", 0.9, made)
    assert fire_rate(trigger(learned_trigger("like such rooms", 0.82, made)), made).fired == 5
    with pytest.raises(InputError, match="all of 25 turns are alike in like"):
        learned_trigger("like xyz", 0.9, turns(*([plain] * 25)))


def test_a_likeness_takes_turns_too() -> None:
    with pytest.raises(InputError, match="the run has 1 turn, and a threshold takes 20"):
        learned_trigger("like this", 0.5, turns([ASKED, OTHER]))
