"""Every number that a run depends on, under one name, with the default of the method."""

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias, get_args

from .errors import InputError
from .records import JSON
from .trials import Claim

FLAT = 1e-9
"""A group whose rewards spread less than this teaches nothing (`np.array([0.1] * 7).std() > 0` is true)."""
BIAS_LIMIT = 100.0
"""The API's bound on one logit bias."""
BIAS_ENTRIES = 300
"""Entries that the OpenAI API was seen to accept in one `logit_bias` map."""
MOST_LABELS = 255
"""That an answer may be one of: as many as a question of the decisions API has choices."""
LABEL_CHARS = 200
"""Characters."""
LISTED_FOR_LABELS = 20
"""Alternatives asked for at each token, to decide labels by, where no more are known to come: all that OpenAI gives."""
MOST_LISTED = 100
"""Asked for where an upstream lists as many: with so many nearly all labels are among them, and no more are gained."""
RESERVED_FIELDS = ("model", "messages", "stream", "n", "logprobs", "top_logprobs", "seed")
"""Body fields that a request frame may not set: they are ours, or would change what a call is."""

Recipe: TypeAlias = Literal["measured", "paper"]
ExactGroups: TypeAlias = Literal["auto", "off"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The knobs of one learning run; `repr` and the store show all of them."""

    seed: int = 0
    """Of sampling and of every choice by hash; another seed is another run."""
    steps: int = 4
    """Visits to the training tasks."""
    group_size: int = 8
    """Rollouts of each task in a step."""
    divide_by_std: bool = True
    """Divide advantages by their standard deviation, which all groups of a token prior's step share; off: Dr. GRPO."""
    rest_tasks: bool = True
    """Visit a task whose pass rate was 0 or 1 twice in a row only every other step (`paper`: every step)."""
    bounded: str | None = None
    """`CHUNK:CARRY:CHUNKS` in tokens: an answer is written in chunks, each from the question and what was last."""
    amplify: int = 0
    """Rounds, before the race, in which answers that were long and right become demonstrations; 0: none."""
    overlong: str | None = None
    """`MAX:CACHE` in completion tokens: over the last CACHE of MAX a rollout loses up to 1; None: length is free."""

    exact_groups: ExactGroups = "auto"
    """`auto`: where one call or a few list all answers to a request, they stand for its rollouts; `off`: never."""

    race: bool = True
    """Let what a user has for nothing race: no prompt, examples in it, an instruction (`paper`: never)."""
    race_rounds: int = 2
    """Looks at the race in a step, each over a part of its tasks: those that lead get more of the next rollouts."""
    experiences: bool = True
    """Learn experiences; off: the way to prompt and the token prior alone."""
    only_what_applies: bool = False
    """Experiences wait for the moment that their condition speaks of (`[on tool error]`), or for its words that tell
    tasks apart (`[on asks ...]`), and are said to no other request."""
    recipe: Recipe = "measured"
    """`measured` tries experiences before it keeps them; `paper` is Training-Free GRPO as published."""
    proposals: int = 2
    """Edits that one group may propose."""
    distilled_groups: int | None = None
    """Tasks a step, drawn by hash, whose groups are distilled if they can teach; None: all."""
    experience_words: int = 32
    """Cap on one experience, in words."""
    embedding_near: float = 0.9
    """Cosine of two strategies' vectors from which they are the same in other words, where there is an embedding model
    (measured with all-MiniLM-L6-v2: `benchmarks/near_duplicates.py`)."""
    summary_chars: int = 2_000
    """A rollout longer than this is summarised before groups are contrasted."""
    distiller_retries: int = 2
    """Further tries where an answer of the distiller cannot be used."""
    distiller_tokens: int = 1_024
    """Cap on one answer of the distiller; one that reasons before it answers needs more."""
    trial_experiences: int = 8
    """Experiences on trial at once: a few hundred rollouts cannot measure more (`paper` knows no such limit)."""
    demonstrations: bool = True
    """Let training tasks, shown as examples, into the race."""
    ground_truth: bool = True
    """Show the distiller the tasks' answers; off, what all rollouts failed at teaches it nothing."""
    review: bool = False
    """What is admitted waits for a person instead of going on trial."""
    prior_tokens: int = 4_000
    """Cap on what a prior says in a prompt, in tokens; of ways that do equally well the cheapest wins, so most say
    less. At 1,000 sixteen examples of 60 words did not fit, which everybody can paste into a prompt."""
    trial_inclusion: float = 0.5
    """Share of rollouts that are shown an experience on trial."""
    kept_exclusion: float = 0.1
    """Share of rollouts in which a kept experience is left out, so that its effect stays measured (epsilon)."""
    effect_scale: float = 0.15
    """Standard deviation of the normal prior on one experience's effect, in reward units (tau)."""
    effect_window: int = 3
    """Earlier runs of the namespace, under the same frame and reward, whose rollouts count for effects too."""
    retire_below: float = 0.1
    """An experience leaves as soon as P(it helps) is below this."""
    keep_above: float = 0.96
    """At 0.95 the share of useless experiences that are kept could not be shown to be below 6%; at 0.96 it can."""
    keep_joint_above: float = 0.999
    """The same for experiences judged as one: a mistake there lets in all of them at once."""

    token_prior: bool = True
    """Learn a token prior."""
    top_logprobs: int = 20
    """Alternatives to each token that are asked for with their log-probabilities."""
    learning_rate: float = 1.0
    """Of the token prior's steps (eta)."""
    shrinkage: float = 5.0
    """Curvature added to each token's own (lambda)."""
    kl_limit: float = 0.2
    """Nats a step, averaged over the positions where an updated token competes."""
    bias_cap: float = 4.0
    """Cap on one bias, in nats."""
    bias_entries: int = 100
    """Cap on the number of biases."""
    bias_z: float = 0.5
    """A bias is dropped whose z is below this."""

    clip_rewards: bool = False
    """Take a reward outside [0, 1] for the nearer bound, instead of failing the rollout."""
    gate_alpha: float = 0.05
    """Chance of ever promoting a prior that is no better, over all trials on one validation set."""
    gate_passes: int = 32
    """Passes of the gate at most; at a production temperature of 0 there is one."""
    gate_claim: Claim = "tasks-like-these"
    """What a promotion has to show: a gain over tasks like the validation tasks, or (`these-tasks`) over just them."""
    allow_collapse: bool = False
    """Let go live what is no better than the best constant answer, or has lost a label or too many training tasks."""
    production_temperature: float | None = None
    """Temperature of the gate, of `eval` and of what is served; None: that of learning."""

    stop_hopeless: bool = True
    """Stop after the first step where no rollout earned anything, and say why that may be."""
    stop_when_flat: bool = False
    """Stop after the step from which twice the rollouts are unlikely to gain two points (`tfgrpo forecast`)."""
    keep_going: bool = False
    """Make all steps, also where the mean reward is above 0.97 for sure or the race, if it is all, is decided."""
    concurrency: int = 16
    """Calls in flight at once; fewer while the upstream says that it is busy."""
    hedge: float | None = None
    """Seconds after which a call without an answer is made once more beside it, and the first answer counts; 0: never;
    None: five medians of its kind, and for 3% of the calls at most. Never in the gate and in `eval`, a judge's calls
    there included, nor over routes other than chat completions."""
    several: bool = False
    """Ask for rollouts that are asked alike in one request (`n`), where the probe sees that this works."""
    call_retries: int = 5
    """Of one call."""
    call_timeout: float = 600.0
    """Seconds."""
    agent_timeout: float = 600.0
    """Seconds that one rollout of an agent may take."""

    def __post_init__(self) -> None:
        """Raises InputError for a value out of range."""
        for names, allowed, words in _RULES:
            for name in names:
                if not allowed(getattr(self, name)):
                    raise InputError(f"setting {name} is {getattr(self, name)!r}; it must be {words}")

    @classmethod
    def for_recipe(cls, recipe: Recipe, here: Mapping[str, JSON] | None = None, /, **explicit: JSON) -> "Settings":
        """The defaults of a recipe under explicit settings; raises InputError as the constructor does.

        `here` are other defaults of where the calls go; `paper` is as published everywhere.
        """
        given: dict[str, JSON] = {**(_PAPER if recipe == "paper" else here or {}), **explicit, "recipe": recipe}
        return cls(**given)

    def as_json(self) -> Mapping[str, JSON]:
        """The settings that decide what is learned; those that only decide how fast, or when to stop, are left out."""
        told = {name: value for name, value in asdict(self).items() if name not in _SPEED}
        return {name: value for name, value in told.items() if name not in _LATER or value != _LATER[name]}


_SPEED = (
    "stop_hopeless", "stop_when_flat", "keep_going", "concurrency", "hedge", "several", "call_retries", "call_timeout",
    "agent_timeout",
)  # fmt: skip


_LATER: Mapping[str, JSON] = {
    "bounded": None,
    "amplify": 0,
    "only_what_applies": False,
    "gate_claim": "tasks-like-these",
    "allow_collapse": False,
    "production_temperature": None,
    "exact_groups": "auto",
}
"""Settings younger than the first stores, with their defaults: left out there, so that runs keep their ids."""
_PAPER: Mapping[str, JSON] = {
    "group_size": 5,
    "steps": 3,
    "proposals": 1,
    "rest_tasks": False,
    "token_prior": False,
    "race": False,
    "keep_going": True,
}
"""Training-Free GRPO as published (arXiv 2510.08191): every experience always in, nothing measured, no token prior."""


ROLLS_SLOWLY: Mapping[str, JSON] = {"steps": 2, "trial_experiences": 2, "gate_passes": 16, "hedge": 0.0}
"""Defaults where the embedded model makes the rollouts, which reads a few hundred tokens a second. Two steps end near
the best way to prompt (`benchmarks/race.py`); what is on trial stands at the beginning of prompts, and each set of it
is another beginning to be read."""
PROPOSES_SLOWLY: Mapping[str, JSON] = {"distilled_groups": 1, "distiller_retries": 0, "distiller_tokens": 128}
"""Defaults where the embedded model proposes: with up to 1,024 tokens for each group, that took most of the time."""


def _whole(low: int, high: float = math.inf) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int) and low <= value <= high


def _above_zero(high: float = sys.float_info.max) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int | float) and 0 < value <= high


def _share(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


def _is_overlong(value: object) -> bool:
    """Whether a text has the form MAX:CACHE."""
    parts = value.split(":") if isinstance(value, str) else []
    whole = [int(part) for part in parts if part.isascii() and part.isdecimal()]
    return len(parts) == len(whole) == 2 and 1 <= whole[1] <= whole[0]


def _is_bounded(value: object) -> bool:
    """Whether a text has the form CHUNK:CARRY:CHUNKS, and a chunk room for more than what is carried over."""
    parts = value.split(":") if isinstance(value, str) else []
    whole = [int(part) for part in parts if part.isascii() and part.isdecimal()]
    return len(parts) == len(whole) == 3 and 1 <= whole[1] < whole[0] and whole[2] >= 1


_COUNTS = (
    "steps", "group_size", "race_rounds", "proposals", "experience_words", "summary_chars", "distiller_tokens",
    "trial_experiences", "prior_tokens", "top_logprobs", "gate_passes", "concurrency",
)  # fmt: skip
_SHARES = (
    "embedding_near", "trial_inclusion", "kept_exclusion", "retire_below", "keep_above",
    "keep_joint_above",
)  # fmt: skip
_AMOUNTS = ("effect_scale", "learning_rate", "shrinkage", "kl_limit", "call_timeout", "agent_timeout")
_RULES: tuple[tuple[tuple[str, ...], Callable[[object], bool], str], ...] = (
    (_COUNTS, _whole(1), "a whole number of at least 1"),
    (("distiller_retries", "call_retries", "effect_window", "amplify"), _whole(0), "a whole number of at least 0"),
    (
        ("bounded",),
        lambda value: value is None or _is_bounded(value),
        "CHUNK:CARRY:CHUNKS in tokens, as 256:128:8, CARRY from 1 to below CHUNK",
    ),
    (("overlong",), lambda value: value is None or _is_overlong(value), "MAX:CACHE in tokens, CACHE from 1 to MAX"),
    (
        ("hedge",),
        lambda value: value in (None, 0) or _above_zero()(value),
        "a number of seconds, 0 for never, or None",
    ),
    (("distilled_groups",), lambda value: value is None or _whole(0)(value), "a whole number, or None for all"),
    (("bias_entries",), _whole(1, BIAS_ENTRIES), f"a whole number from 1 to {BIAS_ENTRIES}"),
    (_SHARES, _share, "between 0 and 1"),
    (("bias_cap",), _above_zero(BIAS_LIMIT), f"above 0 and at most {BIAS_LIMIT:g}"),
    (_AMOUNTS, _above_zero(), "a number above 0"),
    (("gate_alpha",), lambda value: isinstance(value, float) and 0 < value < 1, "above 0 and below 1"),
    (("gate_claim",), lambda value: value in get_args(Claim), " or ".join(get_args(Claim))),
    (
        ("production_temperature",),
        lambda value: value is None or value == 0 or _above_zero()(value),
        "a number of at least 0, or None for that of learning",
    ),
    (("bias_z",), lambda value: value == 0 or _above_zero()(value), "a number of at least 0"),
    (("recipe",), lambda value: value in get_args(Recipe), " or ".join(get_args(Recipe))),
    (("exact_groups",), lambda value: value in get_args(ExactGroups), " or ".join(get_args(ExactGroups))),
)
