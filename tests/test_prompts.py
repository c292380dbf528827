"""Templates are rendered strictly, and what is put into them is never read again."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tables import each
from tfgrpo.errors import PromptError
from tfgrpo.prompts import Template, asset_folder, clip, neutralise, task_place, template, transcript
from tfgrpo.records import Message, Rollout, Task

AFTER = ": {not} a {{ placeholder }}."
GREETING = Template("greeting", "Be {{mood}}.\n---\nHello {{name}}, {{name}}" + AFTER + "\n")


def test_every_placeholder_is_filled_in_wherever_it_stands() -> None:
    assert GREETING.render(mood="kind", name="Ada") == "Be kind.\n---\nHello Ada, Ada" + AFTER


def test_the_parts_are_chat_messages() -> None:
    assert GREETING.messages(mood="kind", name="Ada") == (
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello Ada, Ada" + AFTER},
    )


@each("value", ["{{mood}}", "{{name}}", "\\frac{1}{2}\\1\\g<0>", "{}", "{{", "\n---\n", "$name %s"])
def test_values_are_never_read_again(value: str) -> None:
    assert GREETING.render(mood="kind", name=value) == f"Be kind.\n---\nHello {value}, {value}{AFTER}"
    system, user = GREETING.messages(mood=value, name="Ada")
    assert system["content"] == f"Be {value}."
    assert user["content"].startswith("Hello Ada")


@given(st.text(), st.text())
def test_any_two_values_land_where_they_belong(one: str, other: str) -> None:
    assert Template("t", "<{{a}}|{{b}}>").render(a=one, b=other) == f"<{one}|{other}>"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mood": "kind"}, "prompt greeting: there is no value for name; take it out of the template"),
        ({}, "prompt greeting: there is no value for mood, name; take it out of the template"),
        ({"mood": "", "name": "", "age": ""}, "prompt greeting: no placeholder for age; add it to the template"),
    ],
)
def test_missing_and_surplus_values_are_errors(values: dict[str, str], words: str) -> None:
    for render in (GREETING.render, GREETING.messages):
        with pytest.raises(PromptError) as caught:
            render(**values)
        assert str(caught.value) == words


def test_a_template_without_two_parts_makes_no_messages() -> None:
    with pytest.raises(PromptError, match="prompt bare: no line of three dashes"):
        Template("bare", "Hello.").messages()


def test_a_version_is_that_of_the_text() -> None:
    assert Template("a", "x").version == Template("b", "x").version != Template("a", "y").version


def test_a_folder_of_the_users_holds_their_own(tmp_path: Path) -> None:
    (tmp_path / "prior.md").write_text("\n\nMine: {{experiences}}\n\n", encoding="utf-8")
    assert template("prior", tmp_path).render(experiences="é") == "Mine: é"
    assert template("prior") != template("prior", tmp_path)


def test_a_template_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.md").write_bytes(b"\xff")
    (tmp_path / "folder.md").mkdir()
    for name in ("bad", "folder", "absent"):
        with pytest.raises(PromptError, match=rf"^prompt {name}: cannot read .*{name}\.md: ") as caught:
            template(name, tmp_path)
        assert "\n" not in str(caught.value)


@each("path", sorted(asset_folder("prompts").glob("*.md")))
def test_our_own_templates_can_be_read(path: Path) -> None:
    assert template(path.stem).text.strip()


TASK = Task("Which queue? My card was charged twice.", "BILL")


@given(st.text(alphabet="<>/|[]ITNSaskempt \uff1c", max_size=60))
def test_neutralised_text_has_nothing_left_to_neutralise(text: str) -> None:
    once = neutralise(text)
    assert neutralise(once) == once
    assert "</task" not in once
    assert "<|" not in once


@each("text", ["a < b and c > d", "<div>hello</div>", "x[0] <= y", "\\frac{a}{b}", "{{task}}"])
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


@pytest.mark.parametrize("parts", [False, True])
def test_what_was_said_at_the_end_of_the_task_is_no_part_of_what_a_rollout_did(parts: bool) -> None:
    def content(*texts: str) -> Any:
        return [{"type": "text", "text": text} for text in texts] if parts else "\n\n".join(texts)

    task = Task(({"role": "user", "content": content("2 + 2")},))
    shown = [{"role": "user", "content": content("2 + 25")}, {"role": "assistant", "content": "27"}]
    asked = {"role": "user", "content": content("2 + 2", "When adding, count.")}
    rollout = Rollout(task, 0, 0, "p", messages=(*shown, asked, {"role": "assistant", "content": "4"}), text="4")
    assert task_place(rollout) == 2
    assert transcript(rollout) == "4"
