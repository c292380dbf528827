"""Settings that make no sense are refused by name."""

import math
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import pytest

from tfgrpo.errors import InputError
from tfgrpo.records import JSON
from tfgrpo.settings import Settings

WHOLE = (
    "steps", "group_size", "proposals", "experience_words", "summary_chars", "distiller_tokens", "trial_experiences",
    "prior_tokens", "race_rounds", "top_logprobs", "concurrency", "bias_entries", "gate_passes",
)  # fmt: skip
FROM_ZERO = ("distiller_retries", "call_retries", "distilled_groups", "effect_window", "amplify")
SHARES = (
    "embedding_near", "trial_inclusion", "kept_exclusion", "retire_below", "keep_above",
    "keep_joint_above",
)  # fmt: skip
AMOUNTS = ("effect_scale", "learning_rate", "shrinkage", "kl_limit", "bias_cap", "call_timeout", "agent_timeout")
BAD = [
    *((name, value) for name in WHOLE for value in (0, -1, 2.5, "8", None)),
    *((name, value) for name in FROM_ZERO for value in (-1, 0.5)),
    *((name, value) for name in SHARES for value in (-0.1, 1.1, math.nan, "half")),
    *((name, value) for name in AMOUNTS for value in (0, -1.0, math.nan, math.inf, "1")),
    *(("bias_z", value) for value in (-0.5, math.nan)),
    *(("gate_alpha", value) for value in (0.0, 1.0, -0.1, math.nan, "0.05")),
    ("bias_entries", 301),
    ("bias_cap", 101),
    ("call_retries", None),
    *(("hedge", value) for value in (-1.0, math.nan, "2")),
    *(("bounded", value) for value in (8, "", "8:4", "8:8:1", "8:0:1", "8:4:0", "8:4:1:1", "a:4:1", "8:4:1.5")),
    *(("overlong", value) for value in (8, "", "8", "8:0", "8:9", "8:-1", "8:1:1", "a:b", "8:1.5")),
    ("recipe", "guess"),
]


def test_a_bad_value_names_its_setting_and_what_it_must_be() -> None:
    for name, value in BAD:
        told = f"^setting {name} is {re.escape(repr(value))}; it must be [^\\n]+$"
        with pytest.raises(InputError, match=told):
            replace(Settings(), **dict[str, Any]({name: value}))


def test_bounds_are_allowed_themselves() -> None:
    bounds: list[tuple[str, JSON]] = [
        *((name, 1) for name in WHOLE),
        *((name, 0) for name in FROM_ZERO),
        *((name, value) for name in SHARES for value in (0, 1)),
        *((name, 1e-9) for name in AMOUNTS),
        ("bias_entries", 300),
        ("bias_cap", 100),
        ("bias_z", 0),
        ("gate_alpha", 0.5),
        ("recipe", "paper"),
        ("distilled_groups", None),
        *(("bounded", value) for value in (None, "8:7:1", "256:128:8")),
        *(("overlong", value) for value in (None, "8:8", "8:1")),
    ]
    for name, value in bounds:
        assert getattr(replace(Settings(), **{name: value}), name) == value, name


def test_every_number_has_bounds() -> None:
    free = {"seed"}
    numbers = {field.name for field in fields(Settings) if field.type in (int, float, int | None)}
    assert numbers - free == {*WHOLE, *FROM_ZERO, *SHARES, *AMOUNTS, "bias_z", "gate_alpha"}


def test_what_only_decides_how_fast_is_no_part_of_a_runs_identity() -> None:
    fast = Settings(stop_hopeless=False, stop_when_flat=True, keep_going=True)
    fast = replace(fast, concurrency=1, hedge=2.0, several=True, call_retries=0, call_timeout=1.0, agent_timeout=1.0)
    assert fast.as_json() == Settings().as_json()
    assert Settings(seed=1).as_json() != Settings().as_json()
    assert Settings().as_json().keys() == {field.name for field in fields(Settings)} - {
        "stop_hopeless",
        "stop_when_flat",
        "keep_going",
        "bounded",
        "amplify",
        "only_what_applies",
        "exact_groups",
        "gate_claim",
        "allow_collapse",
        "production_temperature",
        "concurrency",
        "hedge",
        "several",
        "call_retries",
        "call_timeout",
        "agent_timeout",
    }


def test_younger_settings_at_their_defaults_leave_the_ids_of_runs_as_they_were() -> None:
    """And are part of a run's identity where they say something else."""
    young: Mapping[str, JSON] = {"gate_claim": "these-tasks", "allow_collapse": True, "production_temperature": 0.0}
    young = {**young, "bounded": "8:4:2", "amplify": 2, "only_what_applies": True}
    for name, value in young.items():
        assert name not in Settings().as_json()
        assert Settings(**{name: value}).as_json()[name] == value
    with pytest.raises(InputError, match="gate_claim is 'all'; it must be tasks-like-these or these-tasks"):
        Settings(gate_claim="all")  # pyrefly: ignore[bad-argument-type]  # a wrong value
    with pytest.raises(InputError, match="production_temperature is -1; it must be a number of at least 0"):
        Settings(production_temperature=-1)
