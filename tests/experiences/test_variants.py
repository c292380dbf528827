"""What a user has for nothing, as variants: sets of examples, the nearest of them, what the first step adds."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.tables import each
from tfgrpo.experiences.variants import (
    RaceSoFar,
    as_prior,
    combined,
    example,
    few_shot,
    field_of,
    frozen,
    in_turns,
    nearest_shots,
    shared_messages,
    tokens_of,
    variant_of,
    verified_rollouts,
)
from tfgrpo.records import JSON, Demonstration, Group, Prior, Rollout, Task, Variant
from tfgrpo.settings import Settings
from tfgrpo.surfaces.chat import token_estimate

SETTINGS = Settings()
TASKS = tuple(Task(f"message {number}", ("billing", "sales", "tech")[number % 3]) for number in range(24))
EXAMPLES = tuple(entry for task in TASKS if (entry := example(task)))


def test_sets_of_one_draw_are_beginnings_of_one_order_and_hold_answers_alike() -> None:
    sets = list(few_shot(RaceSoFar(EXAMPLES, SETTINGS)))
    assert [entry.source for entry in sets[:4]] == [
        "4 examples, draw 1",
        "8 examples, draw 1",
        "16 examples, draw 1",
        "23 examples, draw 1",
    ]
    for smaller, larger in pairwise(sets[:4]):
        assert larger.demonstrations[: len(smaller.demonstrations)] == smaller.demonstrations
    for entry in sets:
        counts = Counter(shown.answer for shown in entry.demonstrations)
        assert max(counts.values()) - min(counts.values()) <= 1
    assert sets[0].demonstrations != sets[4].demonstrations


def test_the_order_of_tasks_changes_no_draw() -> None:
    assert in_turns(EXAMPLES, 0, 0) == in_turns(EXAMPLES[::-1], 0, 0)


@pytest.mark.parametrize("size", [0, 1, 2, 4])
def test_fewer_tasks_than_a_set_needs_give_the_sets_there_can_be(size: int) -> None:
    few = EXAMPLES[:size]
    shown = [len(entry.demonstrations) for entry in few_shot(RaceSoFar(few, SETTINGS))]
    assert shown == [size - 1] * (2 if size > 1 else 0)
    assert list(nearest_shots(RaceSoFar(few, SETTINGS))) == []
    assert list(frozen(RaceSoFar(few, SETTINGS))) == [Variant()]


def test_a_set_is_cut_to_the_priors_tokens_and_a_pool_left_out_if_too_long() -> None:
    variants = [*few_shot(RaceSoFar(EXAMPLES, SETTINGS)), *nearest_shots(RaceSoFar(EXAMPLES, SETTINGS))]
    found = field_of(variants, EXAMPLES, replace(SETTINGS, prior_tokens=120), token_estimate)
    assert all(arm.tokens <= 120 for arm in found.arms)
    assert len({arm.variant.id for arm in found.arms}) == len(found.arms)
    assert any("16 nearest" in note for note in found.notes)
    nothing = field_of(variants, EXAMPLES, replace(SETTINGS, prior_tokens=1), token_estimate)
    assert nothing.arms == ()


def test_a_pool_holds_only_what_fits_whichever_are_nearest_to_a_request() -> None:
    long = replace(EXAMPLES[0], input="a long message " * 60)
    examples = (long, *EXAMPLES[1:])
    pools = list(nearest_shots(RaceSoFar(examples, SETTINGS)))
    longest = tokens_of(Variant(None, (long,)), token_estimate)
    (four, eight, *_) = field_of(pools, examples, replace(SETTINGS, prior_tokens=4 * longest), token_estimate).arms
    assert long in four.variant.demonstrations
    assert long not in eight.variant.demonstrations
    assert eight.variant.source == f"8 nearest of {len(EXAMPLES) - 1}"


def test_no_reserve_exceeds_the_priors_tokens() -> None:
    long = replace(EXAMPLES[0], input="a long message " * 60, answer="other")
    whole = Variant(None, EXAMPLES[1:5])
    tight = replace(SETTINGS, prior_tokens=tokens_of(whole, token_estimate) + 20)
    (arm,) = field_of([whole], (long, *EXAMPLES[1:]), tight, token_estimate).arms
    assert arm.reserve is not None
    assert arm.reserve != long


def test_a_task_is_shown_another_example_in_the_place_of_its_own() -> None:
    field = field_of(list(few_shot(RaceSoFar(EXAMPLES, SETTINGS))), EXAMPLES, SETTINGS, token_estimate)
    arm = field.arms[0]
    own = next(task for task in TASKS if task.id == arm.variant.demonstrations[1].task)
    shown = arm.shown_on(own)
    assert len(shown.demonstrations) == len(arm.variant.demonstrations)
    assert own.id not in {entry.task for entry in shown.demonstrations}
    other = next(task for task in TASKS if task.id not in {entry.task for entry in arm.variant.demonstrations})
    assert arm.shown_on(other) == arm.variant


@each(
    ("answer", "text"),
    [("BILL", "BILL"), (["a", "b"], "a"), (7, "7"), (True, "true"), ({"b": 1}, '{"b":1}'), ("한국어", "한국어")],
)
def test_an_answer_is_shown_as_the_assistant_would_say_it(answer: JSON, text: str) -> None:
    shown = example(Task("q", answer))
    assert shown is not None
    assert shown.answer == text


@each("answer", [None, "", "  ", [], [None]])
def test_a_task_without_an_answer_is_no_example(answer: JSON) -> None:
    assert example(Task("q", answer)) is None


def test_what_all_tasks_begin_with_is_no_part_of_an_example() -> None:
    start = (
        {"role": "system", "content": "Route."},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
    )
    tasks = [Task((*start, {"role": "user", "content": f"message {number}"}), "x") for number in range(3)]
    assert shared_messages(tasks) == 3
    assert example(tasks[0], 3) == Demonstration("message 0", "x", tasks[0].id)
    assert shared_messages(tasks[:1]) == 0
    assert shared_messages([*tasks, Task("plain", "x")]) == 0


def rollouts(task: Task, *texts: tuple[str, float]) -> Group:
    made = (Rollout(task, 0, place, "", text=text, reward=reward) for place, (text, reward) in enumerate(texts))
    return Group(task, 0, tuple(made))


def test_verified_rollouts_are_shown_with_their_reasoning() -> None:
    groups = [rollouts(task, ("wrong", 0.0), (f"It says {task.prompt}, so: {task.answer}", 1.0)) for task in TASKS[:5]]
    (found,) = verified_rollouts(RaceSoFar((), SETTINGS, groups))
    assert found.source == "5 verified rollouts"
    assert all("so: " in entry.answer for entry in found.demonstrations)
    assert not list(verified_rollouts(RaceSoFar((), SETTINGS, groups[:3])))
    bare = [rollouts(task, (str(task.answer), 1.0)) for task in TASKS]
    assert not list(verified_rollouts(RaceSoFar((), SETTINGS, bare))), "an answer alone is an example already"


def test_the_leader_of_one_kind_enters_with_that_of_the_other() -> None:
    told, shown = Variant("Answer with a label.", source="written 1"), Variant(None, EXAMPLES[:4], source="4 examples")
    both = Variant("Answer with a label.", EXAMPLES[:4])
    assert list(combined(RaceSoFar((), SETTINGS, best_first=[Variant(), shown, told]))) == [both]
    assert list(combined(RaceSoFar((), SETTINGS, best_first=[Variant(), shown]))) == []


def test_a_prior_and_its_variant_are_two_ways_to_say_one_thing() -> None:
    variant = Variant("Be brief.", EXAMPLES[:4], 2, "live")
    prior = as_prior(variant, Prior(template="t"))
    assert variant_of(prior, "live") == variant
    assert tokens_of(variant, token_estimate) > 0
    assert tokens_of(Variant(), token_estimate) == 0


def test_the_reserve_is_of_a_task_that_the_set_shows_in_no_words() -> None:
    spoken = tuple(replace(entry, answer=f"It is {entry.answer}.") for entry in EXAMPLES[:6])
    (arm,) = field_of([Variant(None, spoken, source="6 verified rollouts")], EXAMPLES, SETTINGS, token_estimate).arms
    assert arm.reserve is not None
    assert arm.reserve.task not in {entry.task for entry in spoken}


def test_what_is_cut_says_what_it_was_cut_from() -> None:
    whole = Variant(None, EXAMPLES[:8], source="live")
    tight = replace(SETTINGS, prior_tokens=tokens_of(replace(whole, demonstrations=EXAMPLES[:5]), token_estimate))
    (arm,) = field_of([whole], EXAMPLES, tight, token_estimate).arms
    assert (len(arm.variant.demonstrations), arm.variant.source) == (5, "5 of live")
