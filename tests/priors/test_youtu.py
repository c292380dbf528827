"""Files of youtu-agent are read for their experiences, and for nothing else."""

import json

import pytest

from tests.tables import each
from tfgrpo.errors import InputError
from tfgrpo.priors.parse import parse_prior
from tfgrpo.priors.youtu import MOST_READ, YAML_CHARS, Texts, agent_yaml
from tfgrpo.records import Experience, Frame, Prior

AGENT = r"""# @package _global_
defaults:
  - _self_

type: simple
model:
  model_provider:
    type: chat.completions
    model: deepseek-chat  # by way of an API
  model_settings:
    temperature: 0.3
agent:
  name: math_agent
  instructions: "Solve it step by step.\n\nBefore you start, read what others found out:\n\
    [G0]. Counting: enumerate small cases first.\n[G1]. Checking: verify\
    \ each result in two ways.\n  [G10]. Units: keep them [1] in every line."
toolkits: {}
"""
FOUND = ("Counting: enumerate small cases first.", "Checking: verify each result in two ways.",
         "Units: keep them [1] in every line.")  # fmt: skip


def test_an_agent_is_read_for_its_experiences_and_its_model() -> None:
    assert parse_prior("agent.yaml", AGENT) == Texts(FOUND, "deepseek-chat")


@pytest.mark.parametrize(
    "value",
    [
        {"G0": "one", "G1": "two"},
        {"experiences": {"0": "one", "1": "two"}, "step": 3},
        ["one", "two"],
        ["one ", "two", "one"],
    ],
    ids=["as saved", "as cached", "a list", "repeated"],
)
def test_experiences_are_read_as_json(value: object) -> None:
    assert parse_prior("experiences.json", json.dumps(value)) == Texts(("one", "two"))


def test_what_is_exported_is_read_back() -> None:
    prior = Prior(tuple(Experience(text) for text in FOUND))
    text = agent_yaml(prior, Frame("m", "Be brief: [G] stays."))
    assert parse_prior("agent.yaml", text) == Texts(FOUND, "m")
    assert text.startswith("# @package _global_\ndefaults:\n- _self_\n")


BOMB = "a: &a {x: 1}\n" + "".join(
    f"{new}: &{new} {{{', '.join(f'<<: *{old}' for _ in range(9))}}}\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@each(
    ("text", "words"),
    [
        ("", "agent.instructions"),
        ("just words", "agent.instructions"),
        ("agent: {name: x}", "agent.instructions"),
        ("agent:\n  instructions: [a, b]", "agent.instructions"),
        ("agent: {instructions: Be brief.}", "no experiences in it"),
        ("agent: {instructions: 2026-99-99}", "no experiences in it"),
        ("a: b: c", "neither JSON nor YAML"),
        ("a: !!python/object/apply:os.system [ls]", "agent.instructions"),
        ("- " * 5_000, "neither JSON nor YAML"),
        ("x" * (YAML_CHARS + 1), f"at most {YAML_CHARS:,}"),
        (BOMB, "agent.instructions"),
        ("{}", "no experiences in it"),
        ("[]", "no experiences in it"),
        ('{"G0": 5}', "neither a prior"),
        ('{"G0": "fine", "G1": "half \\ud83d"}', "experience 1 holds half a surrogate pair"),
        ('agent: {instructions: "[G0]. half \\ud83d"}', "experience 0 holds half a surrogate pair"),
        ('{"experiences": "G0"}', "neither a prior"),
        (json.dumps([str(number) for number in range(MOST_READ + 1)]), "301 experiences"),
    ],
)
def test_what_holds_no_experiences_is_one_line(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        parse_prior("file", text)
    assert str(caught.value).startswith("file")
    assert "\n" not in str(caught.value)
