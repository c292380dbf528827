"""What a learning run came to, step by step and as a whole; and why no rollout of a first step earned anything.

Whoever sees rewards of 0 alone cannot tell a model that does not know from an answer in another form.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from ..errors import InputError, RewardError
from ..gate.promote import Promotion
from ..hashing import canonical
from ..observer import StepSummary
from ..records import JSON, Group, Prior, Rollout, Run, Usage
from ..rollouts.rewards.built_in import BUILT_IN
from ..rollouts.rewards.matchers import normalised
from ..rollouts.rewards.reward import OUT_OF_RANGE
from ..text import counted, shortened


@dataclass(frozen=True, slots=True)
class LearningResult:
    """What a run came to."""

    run: Run
    resumed: bool
    prior: Prior
    """What is live now; the prior that was live before when nothing new went live."""
    changed: bool
    """Something new went live."""
    steps: tuple[StepSummary, ...]
    """Those that were completed."""
    fates: Mapping[str, int]
    """How many experiences are kept, on trial, retired, refused."""
    usage: Usage
    notes: tuple[str, ...]
    """What a person should know about this run: what was dropped, left out, or failed."""
    candidate: Prior | None = None
    """What was learned; None where it is nothing new."""
    promotion: Promotion | None = None
    """What became of it; None where there is none, or where it was live already."""
    ended: str | None = None
    """Why the budget ended the run, and what was not done; None where all of it was done."""
    token_prior: Mapping[str, JSON] | None = None
    """How the token prior was estimated, on what figures it was kept or not; None where none was tried."""
    race: tuple[Mapping[str, JSON], ...] = ()
    """How the ways to prompt stood after each step; empty where nothing raced."""
    tokens_a_call: int = 0
    """Prompt tokens that the candidate, or without one the live prior, adds to a call."""

    @property
    def promoted(self) -> bool:
        """The gate has promoted what was learned, and it is live."""
        return self.promotion is not None and self.promotion.state == "live"

    @property
    def why(self) -> str:
        """What became of what was learned, and for what reason, in a sentence."""
        if self.promotion:
            return self.promotion.why
        if self.candidate:
            return "what was learned is live already"
        if not self.steps:
            return f"nothing was learned yet: {self.ended}" if self.ended else "nothing was learned yet"
        return "nothing was learned that evidence supports"

    def as_json(self) -> dict[str, JSON]:
        """The figures of the run."""
        return {
            "run": self.run.id,
            "resumed": self.resumed,
            "prior": self.prior.id,
            "changed": self.changed,
            "candidate": self.candidate.id if self.candidate else None,
            "state": self.promotion.state if self.promotion else None,
            "gate": self.promotion.as_json() if self.promotion and self.promotion.trial else None,
            "ended": self.ended,
            "experiences": len(self.prior.experiences),
            "biases": len(self.prior.biases),
            "race": [dict(lap) for lap in self.race],
            "tokens_a_call": self.tokens_a_call,
            "token_prior": None if self.token_prior is None else dict(self.token_prior),
            "steps": [_step_as_json(step) for step in self.steps],
            "fates": dict(self.fates),
            "usage": asdict(self.usage),
            "notes": list(self.notes),
        }


def _step_as_json(step: StepSummary) -> dict[str, JSON]:
    """A step in figures; where no group was exact, nothing is said of that."""
    return {name: value for name, value in asdict(step).items() if name != "exact" or value}


COMPARED_TEXTS = 3
"""Rollouts that are shown beside their answers."""
MANY = 0.5
"""The share of rollouts from which what is wrong with them is the cause."""
_NOTHING = 1e-4
"""A mean reward below this is none: where answers are listed, some chance of a right one is always left."""
FITTING = 0.1
"""The share of rollouts that another reward must match to be named before anything that is wrong with the answers."""
_LOOSER = ("exact", "choice", "numeric", "contains", "regex")
"""Built-in rewards, the one that says most of a match first."""
_REFUSING = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable|not able)|i can(?:'t|not| not)|i won't|as an ai)\b", re.IGNORECASE
)
_FORM = "tell the model the form with --system"


def earned_nothing(groups: Sequence[Group]) -> bool:
    """Whether there are rewards, and all of them are zero."""
    scored = [group for group in groups if group.scored]
    return bool(scored) and all(group.mean < _NOTHING for group in scored)


def hopeless(groups: Sequence[Group], reward: str, *, examples: bool, bounded: bool = False) -> str:
    """What to say of a step in which no rollout earned anything under the reward of this name.

    `examples` says that training examples were in the prompt of some, `bounded` that answers were written in chunks.
    """
    shown = "; ".join(map(_beside, _first(groups)))
    cause = likeliest_cause(groups, reward, examples=examples, bounded=bounded)
    return (
        f"no rollout of the first step earned anything. {shown}. Likeliest cause: {cause}. What was done is kept; the"
        " same command with --no-stop-hopeless goes on from there"
    )


def likeliest_cause(groups: Sequence[Group], reward: str, *, examples: bool, bounded: bool = False) -> str:
    """Why no rollout earned anything, and what to do about it."""
    made = [rollout for group in groups for rollout in group.rollouts]
    errors = [one.error for one in made if one.error]
    strange = [error for error in errors if OUT_OF_RANGE in error]
    if strange or _most(made, lambda rollout: rollout.error is not None):
        told = strange or errors
        share = f"{len(told):,} of {counted(len(made), 'rollout')}"
        return f"{share} failed, the first one: {shortened(told[0], 300)}"
    scored = [rollout for rollout in made if rollout.error is None]
    cut = _most(scored, lambda rollout: rollout.finish_reason == "length")
    where = "max_tokens: raise it in --request"
    where = "the end of the last chunk: raise CHUNKS in --bounded, or max_tokens in --request" if bounded else where
    cut_off = f"{cut} were cut off at {where}, or ask for shorter answers with --system"
    if empty := _most(scored, lambda rollout: not rollout.text.strip()):
        return cut_off if cut else f"{empty} are empty: ask the model directly, with tfgrpo chat, what it answers"
    if refused := _most(scored, lambda one: bool(_REFUSING.search(one.text)) or one.finish_reason == "content_filter"):
        return f"{refused} refuse to answer: say with --system what the model may do"
    fitting, matched = _fitting(scored, reward)
    if matched >= FITTING * len(scored):
        return _form_of(fitting, matched, scored, reward)
    if cut:
        return cut_off
    return _form_of(fitting, matched, scored, reward) if matched else _unknown(scored, reward, examples=examples)


def _unknown(scored: Sequence[Rollout], reward: str, *, examples: bool) -> str:
    """What is left where the answers are whole, and hold nothing of what is wanted."""
    if all(rollout.task.answer is None for rollout in scored):
        return f"reward {reward} may ask for another form; the tasks have no answer to compare with, so look at it"
    if examples:
        return "the model does not know: the race had examples in it, and they did not help either"
    return "the model does not know, and no examples were shown: the race shows the tasks' own answers, if it may"


def _form_of(fitting: str, matched: int, scored: Sequence[Rollout], reward: str) -> str:
    """That the answers are right, in another form than the reward wants."""
    share = f"{fitting} would have rewarded {matched:,} of {counted(len(scored), 'rollout')}"
    if fitting in ("contains", "choice") and reward in ("exact", "exact-strict"):
        wants = f"the answer is in the text, but reward {reward} wants nothing else ({share})"
        return f"{wants}: --reward contains or choice, or {_FORM}"
    return f"reward {reward} does not fit the answers ({share}): --reward {fitting}, or {_FORM}"


def _fitting(scored: Sequence[Rollout], reward: str) -> tuple[str, int]:
    """The built-in reward, other than this, that matches most rollouts (nearly: the one that says most), and how many.

    No number is looked for where answers are words, and a text that names several labels holds none of them.
    """
    labels = _labels(scored)

    def fits(name: str, rollout: Rollout) -> bool:
        if name == "numeric" and not _has_number(rollout):
            return False
        return not (name in ("contains", "regex") and _names_others(rollout, labels)) and _matches(name, rollout)

    counts = {name: sum(fits(name, one) for one in scored) for name in _LOOSER if name != reward}
    most = max(counts.values())
    return next((name, count) for name, count in counts.items() if count >= 0.8 * most)


def _labels(rollouts: Sequence[Rollout]) -> list[str]:
    """The answers that more than one task has."""
    tasks = {rollout.task.id: rollout for rollout in rollouts}
    counts = Counter(normalised(text) for one in tasks.values() for text in _texts(one))
    return [text for text, count in counts.items() if text and count > 1]


def _names_others(rollout: Rollout, labels: Sequence[str]) -> bool:
    """Whether a text holds a label that is no answer of its task, nor a part of one."""
    text, own = normalised(rollout.text), [normalised(answer) for answer in _texts(rollout)]
    return any(label in text for label in labels if not any(label in answer for answer in own))


def _matches(name: str, rollout: Rollout) -> bool:
    """Whether a built-in reward would give anything; one that cannot score the task gives nothing."""
    try:
        return bool(rollout.text.strip()) and BUILT_IN[name](rollout) > 0
    except (InputError, RewardError):
        return False


def _has_number(rollout: Rollout) -> bool:
    """Whether an answer is a number, whatever signs are around it, or ends with one in a line of its own."""
    return any(re.search(r"(?:^|\n)[^\w\n]*_*\d[\d., ]*[^\w\n]*$", text.strip()) for text in _texts(rollout))


def _texts(rollout: Rollout) -> list[str]:
    answer = rollout.task.answer
    listed = answer if isinstance(answer, list) else [answer]
    return [one if isinstance(one, str) else canonical(one) for one in listed if one is not None]


def _most(rollouts: Sequence[Rollout], wrong: Callable[[Rollout], bool]) -> str:
    """How many of them something is wrong with, where it is many; else empty."""
    found = sum(map(wrong, rollouts))
    return f"{found:,} of {counted(len(rollouts), 'rollout')}" if rollouts and found >= MANY * len(rollouts) else ""


def _first(groups: Sequence[Group]) -> list[Rollout]:
    """One rollout of each of the first tasks that have one."""
    return [group.scored[0] for group in groups if group.scored][:COMPARED_TEXTS]


def _beside(rollout: Rollout) -> str:
    """A rollout beside its answer."""
    said, wanted = shortened(rollout.text), " or ".join(_texts(rollout)[:COMPARED_TEXTS])
    beside = f", where the answer is {shortened(wanted)!r}" if wanted else ""
    return f"Asked {shortened(rollout.task.prompt)!r}, it said {said!r}{beside}"
