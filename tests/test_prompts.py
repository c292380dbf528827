"""Templates are rendered strictly, and what is put into them is never read again."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo.assets import asset_folder
from tfgrpo.errors import PromptError
from tfgrpo.prompts import Template, template

AFTER = ": {not} a {{ placeholder }}."
GREETING = Template("greeting", "Be {{mood}}.\n---\nHello {{name}}, {{name}}" + AFTER + "\n")


def test_every_placeholder_is_filled_in_wherever_it_stands() -> None:
    assert GREETING.render(mood="kind", name="Ada") == "Be kind.\n---\nHello Ada, Ada" + AFTER


def test_the_parts_are_chat_messages() -> None:
    assert GREETING.messages(mood="kind", name="Ada") == (
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello Ada, Ada" + AFTER},
    )


@pytest.mark.parametrize("value", ["{{mood}}", "{{name}}", "\\frac{1}{2}\\1\\g<0>", "{}", "{{", "\n---\n", "$name %s"])
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


@pytest.mark.parametrize("path", sorted(asset_folder("prompts").glob("*.md")), ids=lambda path: path.stem)
def test_our_own_templates_can_be_read(path: Path) -> None:
    assert template(path.stem).text.strip()
