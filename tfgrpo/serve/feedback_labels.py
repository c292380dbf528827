"""Labels in feedback, what would have been right: which may be one, and what reward one means for the answer given."""

from dataclasses import replace

from ..errors import InputError
from ..hashing import canonical
from ..records import JSON, Rollout, Task
from ..store import Feedback, Inference, Store
from ..surfaces.http import NO_PRIOR
from ..tasks.traffic import recorded_answer

LONGEST_LABEL = 10_000
"""Characters."""
_DEEPEST = 100
"""Brackets in a label that is no text."""


def is_label(label: object, most: int = LONGEST_LABEL) -> bool:
    """Whether a label says something, in bounds: whoever reads it later goes as deep as it does."""
    try:
        text = label if isinstance(label, str) else canonical(label)
    except (TypeError, ValueError, RecursionError):
        return False
    deep = not isinstance(label, str) and text.count("[") + text.count("{") > _DEEPEST
    return bool(text.strip('" []{}\0')) and len(text) <= most and not deep


def feedback_worth(store: Store, given: Feedback) -> Feedback:
    """Feedback with the reward that its label means, where the answer was kept: 1 for that answer, by `exact`."""
    if given.reward is not None or given.label is None:
        return given
    call = store.inference(given.inference)
    return replace(given, reward=_worth(call, given.label)) if call else given


def _worth(call: Inference, label: JSON) -> float | None:
    """None for an answer that was not kept or cannot be read, and for a label that no text can be compared with."""
    from ..rollouts.rewards.matchers import AnswerReward, exact

    if not (said := recorded_answer(call.surface, call.response)):
        return None
    try:
        return AnswerReward("exact", exact)(Rollout(Task("feedback", label), 0, 0, NO_PRIOR, text=said))
    except (InputError, ValueError, TypeError):
        return None
