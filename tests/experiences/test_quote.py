import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo.experiences.quote import clip, neutralise, transcript
from tfgrpo.records import Message, Rollout, Task

TASK = Task("Which queue? My card was charged twice.", "BILL")


@given(st.text(alphabet="<>/|[]ITNSaskempt \uff1c", max_size=60))
def test_neutralised_text_has_nothing_left_to_neutralise(text: str) -> None:
    once = neutralise(text)
    assert neutralise(once) == once
    assert "</task" not in once
    assert "<|" not in once


@pytest.mark.parametrize("text", ["a < b and c > d", "<div>hello</div>", "x[0] <= y", "\\frac{a}{b}", "{{task}}"])
def test_harmless_text_stays_as_it_is(text: str) -> None:
    assert neutralise(text) == text


def test_clipped_text_says_what_is_left_out() -> None:
    assert clip("a" * 10, 10) == "a" * 10
    assert clip("a" * 7 + "b" * 7, 10) == "aaaaa\n[4 characters left out]\nbbbbb"


def test_a_trajectory_with_tools_is_told_whole_without_the_prompt() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "search", "arguments": '{"q": "x"}'}}
    messages: list[Message] = [
        {"role": "system", "content": "Be kind."},
        *TASK.messages,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "found"},
        {"role": "assistant", "content": "BILL"},
    ]
    attempt = Rollout(TASK, 0, 0, "p", messages=tuple(messages), text="BILL", reward=1.0)
    assert transcript(attempt) == '[assistant] calls search({"q": "x"})\n[tool] found\n[assistant] BILL'
    plain = Rollout(TASK, 0, 0, "p", messages=(*TASK.messages, messages[-1]), text="BILL", reward=1.0)
    assert transcript(plain) == "BILL"


def test_demonstrations_before_the_task_are_no_part_of_what_a_rollout_did() -> None:
    task = Task("Which queue?", "BILL")
    shown = ({"role": "user", "content": "Another one?"}, {"role": "assistant", "content": "TECH"})
    said = {"role": "assistant", "content": "SALES"}
    rollout = Rollout(task, 0, 0, "", messages=(*shown, *task.messages, said), text="SALES")
    assert transcript(rollout) == "SALES"
    more = ({"role": "assistant", "content": "Let me see."}, {"role": "user", "content": "Go on."}, said)
    longer = Rollout(task, 0, 0, "", messages=(*shown, *task.messages, *more), text="SALES")
    assert "TECH" not in transcript(longer)
    assert "Let me see." in transcript(longer)
