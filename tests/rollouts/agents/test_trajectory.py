"""An agent's calls taken together."""

from collections.abc import Sequence

import numpy as np

from tests.rollouts.agents.made import said
from tfgrpo.records import (
    Demonstration,
    Message,
    Prior,
    Reply,
    TokenTrace,
    Usage,
    message_text,
)
from tfgrpo.rollouts.agents.session import Call
from tfgrpo.rollouts.agents.trajectory import joined, trajectory
from tfgrpo.surfaces.surface import Manner


def call(messages: Sequence[Message], text: str, trace: TokenTrace | None = None, **more: object) -> Call:
    said = {"role": "assistant", "content": text, **more}
    return Call(0, "", tuple(messages), Reply(text, said, "stop", Usage(1, 1, 1), trace))


def test_conversations_are_told_apart_and_each_message_stands_once() -> None:
    one, two = [said("user", "plan")], [said("user", "search")]
    calls = [
        call(one, "a plan", refusal=None),
        call(two, "a result"),
        call([*one, said("assistant", "a plan"), said("user", "go on")], "the end"),
    ]
    told_once = [message_text(message) for message in trajectory(calls, Prior(), "the end")]
    assert told_once == ["plan", "a plan", "go on", "the end", "search", "a result", "the end"]
    assert [message_text(message) for message in trajectory(calls[:1], Prior(), "a plan ")] == ["plan", "a plan"]
    assert trajectory([], Prior(), None) == ()


def test_a_conversation_shows_what_its_last_request_was_given_and_a_task_never_its_own_example() -> None:
    pool = (
        Demonstration("영수증을 다시 보내 주세요", "BILL", "task_1"),
        Demonstration("비밀번호를 잊어버렸어요", "TECH", "task_2"),
    )
    prior = Prior(demonstrations=pool, nearest=1)
    asked = [said("user", "영수증을 보내 줘"), said("assistant", "which?"), said("user", "비밀번호를 바꿔 줘")]
    calls = [call(asked[:1], "which?"), call(asked, "done")]
    texts = [message_text(message) for message in trajectory(calls, prior, "done")]
    assert texts == ["비밀번호를 잊어버렸어요", "TECH", "영수증을 보내 줘", "which?", "비밀번호를 바꿔 줘", "done"]
    own = [message_text(message) for message in trajectory(calls, prior, "done", Manner(exclude="task_2"))]
    assert own[:2] == ["영수증을 다시 보내 주세요", "BILL"]


def test_traces_of_unequal_width_are_joined_as_one() -> None:
    narrow = TokenTrace(np.array([[1, 2]]), np.array([[-0.1, -2.0]]), {1: b"a", 2: b"b"})
    wide = TokenTrace(np.array([[3, 4, 5]]), np.array([[-0.2, -1.0, -3.0]]), {3: b"c", 4: b"d", 5: b"e"})
    both = joined([narrow, None, wide])
    assert both is not None
    assert both.ids.tolist() == [[1, 2, -1], [3, 4, 5]]
    assert both.logprobs.tolist() == [[-0.1, -2.0, -np.inf], [-0.2, -1.0, -3.0]]
    assert sorted(both.pieces) == [1, 2, 3, 4, 5]
    assert joined([None]) is None
