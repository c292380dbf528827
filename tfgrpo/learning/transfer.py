"""What of a prior may come over to another model, and what it is expected to be worth there."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..records import Prior, Snapshot
from ..store import Store

TRANSFER = 0.5
"""What of an effect is expected to come over, before any port has shown how much does."""
PRIOR_SD = 0.15
"""Uncertainty of that expectation, in reward units."""


def parts(prior: Prior) -> dict[str, Prior]:
    """What of a prior may come over, by name; equal ones once, the whole first."""
    no_text = replace(prior, experiences=(), instruction=None, demonstrations=(), nearest=0)
    no_tokens = replace(prior, biases=(), tokenizer=None)
    found = {
        "whole": prior,
        "text": no_tokens,
        "no experiences": replace(prior, experiences=()),
        "prompt": replace(no_tokens, experiences=()),
        "tokens": no_text,
    }
    kept: dict[str, Prior] = {}
    for name, part in found.items():
        if (part.has_text or part.biases) and part.id not in {one.id for one in kept.values()}:
            kept[name] = part
    return kept


def expected_effect(differences: Sequence[float], known: float) -> float:
    """An effect on the new model, from differences by task there and what is expected of it."""
    found = np.asarray(differences, dtype=np.float64)
    variance = max(float(found.var(ddof=1)) / len(found), 1.0 / (4 * len(found) ** 2)) if len(found) > 1 else 1.0
    weight, own = 1 / PRIOR_SD**2, 1 / variance
    return (float(found.mean()) * own + known * weight) / (own + weight)


def learned_transfer(store: Store) -> float:
    """What of their effect earlier ports have kept, TRANSFER counted as one of them."""
    kept = [TRANSFER]
    for entry in store.runs():
        known, found = entry.run.settings.get("known_effect"), entry.run.result.get("measured")
        if isinstance(known, float) and known > PRIOR_SD / 3 and isinstance(found, float):
            kept.append(min(1.5, max(-0.5, found / known)))
    return float(np.mean(kept))


def known_effect(store: Store, snapshot: Snapshot) -> float:
    """What the live prior is worth on its own model, by the last trial that it passed; 0 where none is known."""
    trials = store.trials(snapshot.namespace)
    passed = [one.outcome.estimate for one in trials if one.candidate == snapshot.prior.id and one.outcome]
    return passed[-1] if passed else 0.0
