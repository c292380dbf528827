"""What was seen of an action, shown as turns, and kept where a model (SIMULATED) says better what follows with it."""

from tfgrpo.experiences.credit import to_keep
from tfgrpo.experiences.foreseen import as_shown, effects, prediction, predictions, what_helps
from tfgrpo.experiences.seen_actions import SEEN_SHOWN, behind, of_action, seen_actions, seen_variant, with_seen
from tfgrpo.experiences.transitions import Transition, what_follows
from tfgrpo.records import Backend, ChatBody, Experience, Frame, Task, message_text
from tfgrpo.rollouts.executor import ChatExecutor
from tfgrpo.settings import Settings
from tfgrpo.surfaces.chat import with_prior
from tfgrpo.testing import ScriptedModel

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
    held = [seen(lamp(9).before, kind, lamp(9).after) for kind in kinds]
    groups = await predictions(predicting(), held, [], settings, actions=actions)
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
    found = effects(groups, [RULE], settings, actions)
    assert [effect.experience for effect in found] == [RULE.id, *(one.dealt.id for one in actions)]
    assert found[1].mean > 0.5
    assert abs(found[2].mean) < 0.05
    assert [effect.experience for effect in to_keep(found, settings)] == [actions[0].dealt.id]
