"""Identity: what makes two nouns the same, and what does not."""

from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tables import each
from tfgrpo.records import (
    JSON,
    Demonstration,
    Experience,
    Frame,
    Group,
    Message,
    Origin,
    Prior,
    Rollout,
    Run,
    Task,
    TokenBias,
    Usage,
    Variant,
    backend_key,
    message_text,
)

TASK = Task("Where is my invoice?", "billing", {"id": "7", "topic": "money"})
RUN = Run("learn", "default", Frame("fake"), {"seed": 0}, (TASK.id,), "exact")


def bias(token: int, amount: float, z: float = 3.0) -> TokenBias:
    return TokenBias(token, b"x", amount, z, 4)


# Tasks


@pytest.mark.parametrize(
    "same", [{"count": 3}, {"metadata": {"id": "8", "topic": "money"}}, {"metadata": {"topic": "money"}}]
)
def test_a_task_is_the_same_whatever_it_is_called_and_however_often_it_comes(same: dict[str, JSON]) -> None:
    assert replace(TASK, **same).id == TASK.id


@each(
    "other",
    [
        {"input": "Where?"},
        {"answer": "sales"},
        {"answer": None},
        {"metadata": {}},
        {"input": ({"role": "user", "content": TASK.input},)},
    ],
)
def test_a_task_of_other_content_is_another(other: dict[str, JSON]) -> None:
    assert replace(TASK, **other).id != TASK.id


def test_a_text_is_one_message_of_the_user() -> None:
    assert TASK.messages == ({"role": "user", "content": TASK.input},)
    chat = Task(({"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "u"}]}))
    assert (TASK.prompt, chat.prompt, len(chat.messages)) == (TASK.input, "s\nu", 2)


@each(
    ("message", "text"),
    [
        ({"content": "a"}, "a"),
        ({"content": None}, ""),
        ({}, ""),
        ({"content": 5}, "5"),
        ({"content": []}, ""),
        ({"content": [{"text": "a"}, {"type": "image_url"}, "loose", {"text": None}, {"text": "b"}]}, "a\n\n\nb"),
    ],
)
def test_a_messages_text_is_found_in_every_form(message: Message, text: str) -> None:
    assert message_text(message) == text


# Rollouts and groups


def test_a_group_scores_only_what_has_a_reward() -> None:
    rollouts = tuple(Rollout(TASK, 0, place, "", reward=reward) for place, reward in enumerate([1.0, None, 0.0]))
    group = Group(TASK, 0, rollouts)
    assert [rollout.sample for rollout in group.scored] == [0, 2]
    np.testing.assert_array_equal(group.rewards, [1.0, 0.0])
    assert Group(TASK, 0, rollouts[1:2]).rewards.shape == (0,)


def test_costs_add_up() -> None:
    total = Usage(1, 10, 3) + Usage(2, 5, 4)
    assert (total, total.tokens) == (Usage(3, 15, 7), 22)


# Demonstrations and variants


SHOWN = (
    Demonstration("한 단어로?", "네", "task_1"),
    Demonstration(({"role": "user", "content": "x = 1\nprint(x)"},), "1"),
)


def test_a_demonstration_is_its_words_whichever_task_they_come_from() -> None:
    one, other = SHOWN[0], Demonstration("한 단어로?", "네", "task_2")
    assert (one.id, one, hash(one)) == (other.id, other, hash(other))
    assert len({entry.id for entry in (*SHOWN, Demonstration("한 단어로?", "아니요"))}) == 3
    assert [entry.messages[0]["role"] for entry in SHOWN] == ["user", "user"]


def test_a_variant_is_how_it_prompts_whatever_it_is_called() -> None:
    variant = Variant("Count.", SHOWN, 1, "16 examples, draw 2")
    assert replace(variant, source="live") == variant
    others: list[dict[str, Any]] = [
        {"instruction": None}, {"instruction": "Count!"}, {"demonstrations": SHOWN[::-1]}, {"demonstrations": ()},
        {"nearest": 0},
    ]  # fmt: skip
    assert len({variant.id, *(replace(variant, **other).id for other in others)}) == 6
    assert Variant() == Variant(source="frozen")


# Experiences, biases, priors


def test_the_same_text_is_the_same_experience_wherever_it_came_from() -> None:
    one, other = Experience("Be brief."), Experience("Be brief.", origin=Origin("run_1", 2, (TASK.id,)))
    assert (one.id, one) == (other.id, other)
    assert len({one.id, Experience("Be brief", "strategy").id, Experience("Be brief.", "demonstration").id}) == 3


@given(st.floats(-100, 100))
def test_a_bias_is_rounded_as_it_is_sent(amount: float) -> None:
    kept = bias(1, amount).bias
    assert kept == round(amount, 4)
    assert str(kept) != "-0.0"
    assert bias(1, kept) == bias(1, amount)


PRIOR = Prior((Experience("a"), Experience("b")), (bias(2, 1.0), bias(1, -1.0)), "tokenizer_1", "template_1")


@pytest.mark.parametrize(
    "same",
    [
        {"biases": PRIOR.biases[::-1]},
        {"biases": (bias(1, -1.00001, z=-9.0), bias(2, 0.99999, z=9.0))},
        {"parent": "prior_0"},
        {"experiences": (Experience("a", origin=Origin("run_1")), Experience("b"))},
    ],
)
def test_a_prior_is_the_same_version_whatever_its_evidence_and_history(same: dict[str, JSON]) -> None:
    assert replace(PRIOR, **same).id == PRIOR.id


@each(
    "other",
    [
        {"experiences": PRIOR.experiences[::-1]},
        {"experiences": PRIOR.experiences[:1]},
        {"biases": (bias(1, -1.0001), bias(2, 1.0))},
        {"biases": ()},
        {"tokenizer": "tokenizer_2"},
        {"template": "template_2"},
        {"instruction": "Count."},
        {"demonstrations": SHOWN},
        {"demonstrations": SHOWN[::-1]},
        {"nearest": 2},
    ],
)
def test_a_prior_that_is_sent_otherwise_is_another_version(other: dict[str, JSON]) -> None:
    assert replace(PRIOR, **other).id != PRIOR.id


def test_a_prior_without_a_way_to_prompt_keeps_the_id_that_it_had_before_there_was_any() -> None:
    assert (PRIOR.id, Prior().id) == ("prior_7b9a8eb0a0fabd8e", "prior_c410125280488d1f")


@each(
    ("prior", "text"),
    [
        (Prior(), False),
        (Prior(biases=PRIOR.biases), False),
        (PRIOR, True),
        (Prior(instruction="Count."), True),
        (Prior(demonstrations=SHOWN), True),
    ],
)
def test_a_prior_knows_whether_a_model_has_anything_to_read(prior: Prior, text: bool) -> None:
    assert prior.has_text is text


def test_a_prior_has_its_biases_as_the_api_takes_them() -> None:
    assert [entry.token for entry in PRIOR.biases] == [1, 2]
    assert PRIOR.logit_bias == {"1": -1.0, "2": 1.0}
    assert replace(PRIOR, biases=()).logit_bias == {}
    assert "logit_bias" not in repr(PRIOR)


def test_what_is_made_stays_as_it_is() -> None:
    with pytest.raises(FrozenInstanceError):
        PRIOR.template = "other"  # pyrefly: ignore[read-only]  # the point of the test


# Runs


@pytest.mark.parametrize("same", [{"status": "finished"}, {"usage": Usage(1, 2, 3)}, {"result": {"a": 1}}])
def test_a_run_is_the_same_however_it_goes(same: dict[str, JSON]) -> None:
    assert replace(RUN, **same).id == RUN.id


@each(
    "other",
    [
        {"kind": "eval"},
        {"namespace": "other"},
        {"frame": Frame("fake", "system")},
        {"frame": Frame("fake", temperature=0.8)},
        {"frame": Frame("fake", top_p=0.9)},
        {"frame": Frame("fake", request={"max_tokens": 8})},
        {"settings": {"seed": 1}},
        {"tasks": ()},
        {"reward": "contains"},
        {"parent": "prior_1"},
        {"attempt": 1},
    ],
)
def test_a_run_of_anything_else_is_another(other: dict[str, JSON]) -> None:
    assert replace(RUN, **other).id != RUN.id


@each(
    ("url", "key"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
        ("https://API.openai.com:443/v1/chat/completions", "https://api.openai.com/v1"),
        ("http://127.0.0.1:8080/v1/chat/completions?key=secret", "http://127.0.0.1:8080/v1"),
        ("http://user:secret@host/a/v1/chat/completions/", "http://host/a/v1"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1"),
        ("http://host:80", "http://host"),
    ],
)
def test_a_request_and_its_base_url_have_one_key_without_secrets(url: str, key: str) -> None:
    assert backend_key(url) == key
