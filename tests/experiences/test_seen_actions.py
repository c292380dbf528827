"""What was seen of an action, shown as turns, and kept where a model (SIMULATED) says better what follows with it."""

import re
from dataclasses import replace

from tfgrpo.experiences.credit import to_keep
from tfgrpo.experiences.foreseen import as_shown, at_their_tasks, effects, prediction, predictions, what_helps
from tfgrpo.experiences.seen_actions import SEEN_SHOWN, behind, of_action, seen_actions, seen_variant, with_seen
from tfgrpo.experiences.transitions import Transition, what_follows
from tfgrpo.learning.explore import agreement_gained
from tfgrpo.records import Backend, ChatBody, Experience, Frame, Task, message_text
from tfgrpo.rollouts.executor import ChatExecutor
from tfgrpo.settings import Settings
from tfgrpo.surfaces.chat import with_prior
from tfgrpo.testing import Answer, ScriptedModel

RULE = Experience("When you look, doing look leads to nothing.")


def seen(before: str, action: str, after: str) -> Transition:
    return Transition(Task(f"of {before}"), 0, before, action, after, own=True)


def lamp(number: int, action: str = "press") -> Transition:
    """Press changes the lamp of a room, look nothing."""
    before = f"The lamp of room {number} is red."
    return seen(before, action, before.replace("red", "green") if action == "press" else before)


PRESSED = [lamp(number) for number in range(5)]
LOOKED = [lamp(number, "look") for number in range(4)]
RARE = [seen("The door is shut.", "knock", "The door is open."), seen("The tap is shut.", "", "The tap is shut.")]


def test_an_action_that_was_seen_often_stands_alone_and_the_rest_together() -> None:
    press, look, others = seen_actions([*PRESSED, *RARE, *LOOKED])
    assert [len(one.seen) for one in (press, look, others)] == [5, 4, 2]
    assert press.told == "what was seen to follow on 'press' (5 transitions)"
    assert others.told == "what was seen to follow on other actions (2 transitions)"
    assert of_action([press, look, others], "look") is look
    assert of_action([press, look, others], "sing") is others
    assert of_action([press, others], "look") is None, "what was not kept is not shown in its place"
    assert seen_actions(PRESSED)[0].id == press.id
    assert seen_actions([]) == ()


def test_the_nearest_states_are_shown_right_before_the_question() -> None:
    (press,) = seen_actions(PRESSED)
    near = press.nearest_to("The lamp of room 3 is red, I think.", "press")
    assert len(near) == SEEN_SHOWN
    assert near[-1] == PRESSED[3]
    asked = prediction(lamp(9))
    told = behind(asked, near).messages
    assert told[:4] == asked.messages[:4]
    assert [turn["role"] for turn in told[4:]] == ["user", "assistant"] * SEEN_SHOWN + ["user"]
    assert told[-3]["content"] == what_follows(PRESSED[3].before, "press")
    assert told[-2]["content"] == PRESSED[3].after
    assert told[-1] == asked.messages[-1]


def test_in_a_prior_they_are_demonstrations_and_none_is_shown_on_its_own_task() -> None:
    prior = with_seen(as_shown([RULE]), seen_actions([*PRESSED, *LOOKED]))
    assert (len(prior.demonstrations), prior.nearest, prior.experiences) == (9, 2 * SEEN_SHOWN, (RULE,))
    assert prior.demonstrations[0].task == PRESSED[0].task.id
    shown = with_prior({"messages": [{"role": "user", "content": PRESSED[1].before}]}, prior)["messages"]
    assert len(shown) == 1 + 2 * 2 * SEEN_SHOWN + 1
    assert with_seen(as_shown([RULE]), ()) == as_shown([RULE])
    assert seen_variant(()) is None
    few = seen_variant(seen_actions(RARE))
    assert few is not None
    assert (few.nearest, few.source) == (2, "2 nearest of 2 transitions seen")


def imitating(body: ChatBody) -> str:
    """Repeats the state, but where the turn before has shown that the lamp changes."""
    last, *before = [message_text(one) for one in reversed(body["messages"])]
    state = last.split("\n")[1]
    return state.replace("red", "green") if "room" in before[0] and "green" in before[0] else state


def predicting() -> ChatExecutor:
    return ChatExecutor(ScriptedModel(imitating), Frame("fake"), Backend(), run="", stage="predict", seed=0)


async def test_actions_that_show_too_little_one_by_one_are_kept_for_what_they_do_together() -> None:
    settings, kinds = Settings(group_size=4), [f"press {number} times" for number in range(6)]
    lit = [lamp(number) for number in range(3)]
    actions = seen_actions([seen(one.before, kind, one.after) for kind in kinds for one in lit])
    rooms = [lamp(9 + number) for number in range(6)]
    held = [seen(room.before, kind, room.after) for room, kind in zip(rooms, kinds, strict=True)]
    groups = at_their_tasks(await predictions(predicting(), held, [], settings, actions=actions), held)
    found = effects(groups, [], settings, actions)
    assert to_keep(found, settings) == ()
    assert what_helps(groups, found, actions, settings) == {one.dealt.id for one in actions}
    assert what_helps(groups, found[:1], actions[:1], settings) == set()


async def test_what_was_seen_of_an_action_is_kept_where_it_helps_beside_the_texts() -> None:
    settings = Settings(group_size=6)
    actions = seen_actions([*PRESSED, *LOOKED])
    held = [lamp(number, action) for number in range(10, 20) for action in ("press", "look")]
    groups = await predictions(predicting(), held, [RULE], settings, actions=actions)
    assert [group.task for group in groups] == [prediction(one) for one in held]
    shares = [sum(actions[0].dealt.id in one.included for one in group.rollouts) for group in groups]
    assert shares == [3, 0] * 10, "it is dealt where its action is done, to half of the rollouts"
    groups = at_their_tasks(groups, held)
    found = effects(groups, [RULE], settings, actions)
    assert [effect.experience for effect in found] == [RULE.id, *(one.dealt.id for one in actions)]
    assert found[1].mean > 0.5
    assert abs(found[2].mean) < 0.05
    assert [effect.experience for effect in to_keep(found, settings)] == [actions[0].dealt.id]


async def test_what_is_seen_often_at_few_tasks_is_no_evidence_of_many() -> None:
    """Twelve predictions of three rooms tell nothing by themselves, of six they do."""
    settings, actions = Settings(group_size=4), seen_actions(PRESSED)
    held = [lamp(number) for number in range(10, 22)]
    groups = await predictions(predicting(), held, [], settings, actions=actions)
    for rooms, kept in ((3, False), (6, True)):
        few = [replace(one, task=Task(f"room {place % rooms}")) for place, one in enumerate(held)]
        found = effects(at_their_tasks(groups, few), [], settings, actions)
        assert bool(to_keep(found, settings)) is kept
        assert bool(found[0].evidence) is kept


async def test_a_prediction_whose_request_grew_too_long_agrees_with_nothing() -> None:
    def short(body: ChatBody) -> str | Answer:
        number = int(re.findall(r"room (\d+)", message_text(body["messages"][-1]))[0])
        is_long = len(body["messages"]) > 5 and number % 4
        return Answer("it is too long", status=400) if is_long else imitating(body)

    executor = ChatExecutor(ScriptedModel(short), Frame("fake"), Backend(), run="", stage="predict", seed=0)
    held = [lamp(number) for number in range(10, 26)]
    gained = await agreement_gained(executor, held, [], Settings(group_size=4), seen_actions(PRESSED))
    assert (gained.wins, gained.ties) == (4, 12)
    assert gained.mean == 0.25
