"""What `tfgrpo.learn` and `tfgrpo.evaluate` may be told, and what is made of it. `docs/python-api.md` explains each."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

from .errors import InputError
from .evaluation.wanted import WantedEvaluation
from .learning.wanted import WantedLearning
from .model.budget import Spending
from .model.endpoints import Endpoint, Endpoints
from .model.tokenizer import file_tokenizer
from .observer import Observer
from .plugins import is_named
from .records import JSON, Prior, Task
from .rollouts.agents import Agent, load_agent
from .rollouts.executor import request_frame
from .rollouts.rewards.reward import Reward
from .settings import ExactGroups, Recipe, Settings
from .store import StorePath
from .tasks.fields import Fields
from .tasks.read import TaskSource
from .tasks.split import Sides
from .trials import Claim

AgentSource: TypeAlias = str | Callable[[Any, Task], JSON]
"""A function from a client and a task to an answer, its name as `module:function`, or a program as `prog {input}`."""


class SettingOptions(TypedDict, total=False):
    """Every setting of a run, under its name in `Settings`, which says what it is."""

    seed: int
    steps: int
    group_size: int
    divide_by_std: bool
    rest_tasks: bool
    bounded: str | None
    amplify: int
    overlong: str | None
    exact_groups: ExactGroups
    race: bool
    race_rounds: int
    experiences: bool
    only_what_applies: bool
    recipe: Recipe
    proposals: int
    distilled_groups: int | None
    experience_words: int
    embedding_near: float
    summary_chars: int
    distiller_retries: int
    distiller_tokens: int
    trial_experiences: int
    demonstrations: bool
    ground_truth: bool
    review: bool
    prior_tokens: int
    trial_inclusion: float
    kept_exclusion: float
    effect_scale: float
    effect_window: int
    retire_below: float
    keep_above: float
    keep_joint_above: float
    token_prior: bool
    top_logprobs: int
    learning_rate: float
    shrinkage: float
    kl_limit: float
    bias_cap: float
    bias_entries: int
    bias_z: float
    clip_rewards: bool
    gate_alpha: float
    gate_passes: int
    gate_claim: Claim
    allow_collapse: bool
    production_temperature: float | None
    stop_hopeless: bool
    stop_when_flat: bool
    keep_going: bool
    concurrency: int
    hedge: float | None
    several: bool
    call_retries: int
    call_timeout: float
    agent_timeout: float


class RunOptions(SettingOptions, total=False):
    """What both may be told: the reward, the models, what may be spent, and who watches."""

    reward: str | Reward | None
    input_field: str | None
    answer_field: str | None
    template: str | None
    model: str | None
    base_url: str | None
    api_key: str | None
    tokenizer: str | Path | None
    agent: AgentSource | None
    executor: str
    distiller_model: str | None
    distiller_base_url: str | None
    distiller_api_key: str | None
    max_calls: int | None
    max_tokens: int | None
    max_usd: float | None
    max_minutes: float | None
    price: str | None
    store: str | StorePath | None
    namespace: str | None
    temperature: float | None
    observer: Observer | None


class LearnOptions(RunOptions, total=False):
    """What `learn` may be told."""

    system: str | None
    request: Mapping[str, JSON] | None
    top_p: float | None
    labels: Sequence[str]
    gate: bool
    validation: TaskSource | None
    test: TaskSource | None
    validation_share: float | None
    test_share: float | None
    embedding_model: str | None
    embedding_base_url: str | None
    embedding_api_key: str | None
    prompts: str | Path | None
    fresh: bool


class EvaluateOptions(RunOptions, total=False):
    """What `evaluate` may be told."""

    prior: str | Prior | None
    repeat: int
    written: bool
    few_shot: bool
    moments: bool


DEFAULTS: Mapping[str, JSON] = {
    "fresh": False,
    "gate": True,
    "repeat": 4,
    "written": True,
    "few_shot": True,
    "moments": False,
    "executor": "asyncio",
}
"""Of the options that are not None unless they are given; those of settings depend on the recipe."""


def wanted_learning(tasks: TaskSource, given: LearnOptions) -> WantedLearning:
    """What is to be learned; raises InputError for options that there are not, and for what cannot be used."""
    _check_names(given, LearnOptions)
    endpoints = _endpoints(given, embedding=_endpoint(given, "embedding_"))
    frame = request_frame(
        endpoints.own.name,
        _system(given.get("system")),
        given.get("request"),
        temperature=given.get("temperature"),
        top_p=given.get("top_p"),
        labels=given.get("labels", ()),
    )
    prompts = given.get("prompts")
    return WantedLearning(
        tasks,
        endpoints,
        frame,
        given.get("reward"),
        Sides(
            given.get("gate", DEFAULTS["gate"]),
            given.get("validation"),
            given.get("test"),
            given.get("validation_share"),
            given.get("test_share"),
        ),
        _settings(given, endpoints.defaults),
        _namespace(given),
        _agent(given.get("agent")),
        None if prompts is None else Path(prompts),
        _fields(given),
        given.get("executor", DEFAULTS["executor"]),
    )


def wanted_evaluation(tasks: TaskSource, given: EvaluateOptions) -> WantedEvaluation:
    """What is to be measured; raises InputError for options that there are not, and for what cannot be used."""
    _check_names(given, EvaluateOptions)
    prior = given.get("prior")
    return WantedEvaluation(
        tasks,
        _endpoints(given),
        given.get("reward"),
        _namespace(given),
        prior.id if isinstance(prior, Prior) else prior,
        given.get("repeat", DEFAULTS["repeat"]),
        given.get("temperature"),
        given.get("seed", 0),
        given.get("written", DEFAULTS["written"]),
        _agent(given.get("agent")),
        _settings(given),
        given.get("few_shot", DEFAULTS["few_shot"]),
        _fields(given),
        given.get("executor", DEFAULTS["executor"]),
        given.get("moments", DEFAULTS["moments"]),
    )


def _fields(given: RunOptions) -> Fields:
    return Fields(given.get("input_field"), given.get("answer_field"), given.get("template"))


def _check_names(given: Iterable[str], kind: type) -> None:
    """Raise InputError for an option that there is not."""
    known = list(kind.__annotations__)
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            guess = f"did you mean {near[0]}?" if near else "docs/python-api.md lists what there is"
            raise InputError(f"there is no option or setting {name!r}; {guess}")


def _settings(given: Mapping[str, JSON], here: Mapping[str, JSON] | None = None) -> Settings:
    names = {field.name for field in fields(Settings)}
    explicit = {name: value for name, value in given.items() if name in names}
    return Settings.for_recipe(explicit.pop("recipe", "measured"), here, **explicit)


def _endpoints(given: RunOptions, embedding: Endpoint | None = None) -> Endpoints:
    tokenizer = given.get("tokenizer")
    own = Endpoint(
        given.get("base_url") or os.environ.get("TFGRPO_BASE_URL"),
        given.get("model") or os.environ.get("TFGRPO_MODEL"),
        given.get("api_key"),
    )
    return Endpoints(
        own,
        _endpoint(given, "distiller_"),
        embedding or Endpoint(),
        file_tokenizer(tokenizer) if tokenizer else None,
        _spending(given),
    )


def _spending(given: Mapping[str, JSON]) -> Spending:
    return Spending(*(given.get(field.name) for field in fields(Spending)))


def _endpoint(given: Mapping[str, JSON], prefix: str) -> Endpoint:
    return Endpoint(*(given.get(prefix + name) for name in ("base_url", "model", "api_key")))


def _system(text: str | None) -> str | None:
    """The system prompt; InputError for the path of a file, as the command line takes it, in place of what is in it."""
    try:
        is_path = isinstance(text, str) and Path(text).is_file()
    except (OSError, ValueError):  # too long for a name, or a zero byte
        is_path = False
    if is_path:
        raise InputError(f"system: {text!r} is a file here; give the text that is in it: Path({text!r}).read_text()")
    return text


def _namespace(given: RunOptions) -> str:
    name = given.get("namespace") or os.environ.get("TFGRPO_NAMESPACE") or "default"
    if not (name.strip() and name.isprintable()):
        raise InputError(f"--namespace {name!r}: give a name of visible characters")
    return name


def _agent(given: AgentSource | None) -> Agent | None:
    if isinstance(given, str) and not is_named(given):
        return load_agent(None, given)
    return load_agent(given, None)
