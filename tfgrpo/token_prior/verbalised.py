"""A token prior in words, where neither biases nor decided labels can act: what its strongest tokens come to.

Of a closed set of labels it says which there are, which are said too often and which too seldom. How far a label is
off, in nats, is the bias of the tokens that begin it alone; where nothing could be learned of tokens, it is the
log-odds of the answers that were right against those that were given, each with one count more. It enters the race as
any way to prompt does, and numbers decide. Pure.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..records import Experience, Prior, Rollout, Variant
from ..rollouts.rewards.matchers import normalised
from ..surfaces.label_set import label_set

OFF = math.log(1.5)
"""Nats from which a label is off by enough to be said."""
_MOST_NAMED = 20
"""Labels that are listed; of more only those that are off."""
_MOST_OFF = 3
"""Labels that are said to be off, in each direction."""


def weights_of_tokens(labels: Sequence[str], prior: Prior) -> dict[str, float]:
    """How far each label is off, by the mean bias of the tokens that begin it alone; 0 where there is none."""
    known = label_set(tuple(labels))
    found: dict[int, list[float]] = {}
    for entry in prior.biases if known else ():
        place, said = known.seen(entry.piece) if known else (-1, b"")
        if place >= 0 and said:
            found.setdefault(place, []).append(entry.bias)
    return {label: sum(found.get(at, [0.0])) / len(found.get(at, [0.0])) for at, label in enumerate(labels)}


def weights_of_rollouts(labels: Sequence[str], rollouts: Sequence[Rollout]) -> dict[str, float]:
    """How far each label is off, by what was said and what was right; what is no label is not counted."""
    names = {normalised(label): label for label in labels}
    told = [(names.get(normalised(one.text)), names.get(normalised(str(one.task.answer)))) for one in rollouts]
    said, right = Counter(one for one, _ in told if one), Counter(one for _, one in told if one)
    scale = sum(said.values()) / max(1, sum(right.values()))  # answers that are no label make the shares differ
    return {label: math.log((right[label] * scale + 1.0) / (said[label] + 1.0)) for label in labels}


def in_words(labels: Sequence[str], weights: Mapping[str, float]) -> str:
    """What a model is told."""
    ranked = sorted(labels, key=lambda label: (-abs(weights[label]), label))
    rarer = [label for label in ranked if weights[label] <= -OFF][:_MOST_OFF]
    commoner = [label for label in ranked if weights[label] >= OFF][:_MOST_OFF]
    named = f"one of: {', '.join(labels)}" if len(labels) <= _MOST_NAMED else "the label alone"
    lines = [f"Answer with {named}; say nothing else."]
    for found, how in ((rarer, "rarer"), (commoner, "more common")):
        if found:
            verb = "is" if len(found) == 1 else "are each"
            lines.append(f"{', '.join(found)} {verb} {how} than it seems.")
    return " ".join(lines)


def verbalised_arm(labels: Sequence[str], rollouts: Sequence[Rollout]) -> Variant:
    """A way to prompt that says what rollouts of the frozen model have shown of the labels."""
    return Variant(in_words(labels, weights_of_rollouts(labels, rollouts)), source="labels in words")


def with_tokens_in_words(prior: Prior, labels: Sequence[str]) -> Prior:
    """A prior whose token part is one more experience."""
    told = Experience(in_words(labels, weights_of_tokens(labels, prior)))
    return replace(prior, experiences=(*prior.experiences, told), biases=(), tokenizer=None)
