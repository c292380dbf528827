"""The arms that say whether the moment matters: the texts of a prior always on, and at random turns as often.

A text that waits for its moment may help by what it says, or by when it says it. *Always on* says it in every request;
*random timing* says it at turns that a coin draws, at the rate at which its trigger fired in the run that learned it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..errors import InputError
from ..experiences.moments import HeardRollouts
from ..priors.versions import run_behind
from ..records import CallKey, Experience, Prior
from ..store import Store
from ..surfaces.triggers import said_text
from .arms import Evaluation, MomentShares
from .fire_rates import fired, share_fired, waiting_texts

ALWAYS_ON, RANDOM_TIMING = "always on", "random timing"
"""Names of the arms."""


def moment_rates(store: Store, namespace: str, prior: Prior) -> tuple[Mapping[str, float], tuple[str, ...]]:
    """At which share of turns each text's moment came in the run that learned the prior, and that for people.

    Raises InputError where nothing waits for a moment, or where it is not known how often one comes, or none came.
    """
    if not (waiting := waiting_texts(prior.experiences)):
        raise InputError(f"{prior.id} holds no text that waits for its moment; leave --moments out")
    run = run_behind([event for event in store.lineage(namespace) if event.prior == prior.id])
    if run not in {entry.run.id for entry in store.runs()}:
        raise InputError(f"--moments: no run of this store learned {prior.id}, to tell how often a moment comes")
    rates, told = dict[str, float](), list[str]()
    for text, rate, line in fired(store, run, waiting):
        if not rate.fired:
            raise InputError(f"--moments: there is no random timing at the rate of what never came; {line} in {run}")
        rates[text] = rate.fired / rate.turns
        told.append(f"{line} in {run}")
    return rates, tuple(told)


def moment_arms(prior: Prior, rates: Mapping[str, float]) -> dict[str, Prior]:
    """The arms beside a prior, of which these texts wait for moments that come at these rates; none without any."""
    if not rates:
        return {}
    always = {text: said_text(text) for text in rates}
    by_chance = {text: f"[on chance {max(rate, 0.0001):.4f}] {said_text(text)}" for text, rate in rates.items()}
    return {ALWAYS_ON: _saying(prior, always), RANDOM_TIMING: _saying(prior, by_chance)}


def moment_shares(
    store: Store, run_id: str, priors: Mapping[str, Prior], rates: Mapping[str, float], found: Evaluation
) -> dict[str, MomentShares]:
    """Of each arm of an evaluation, at which share of its turns a moment came, and at which the texts were said."""
    heard = {arm: HeardRollouts() for arm in priors}

    def see(key: CallKey, response: str) -> None:
        if (arm := key.stage.removeprefix("eval ")) in heard:
            heard[arm].see(key, response)

    store.each_response(run_id, see)
    shares = dict[str, MomentShares]()
    for arm, prior in priors.items():
        turns = heard[arm].turns(found.rollouts[arm])
        came, said = (share_fired(texts, turns) for texts in (list(rates), waiting_texts(prior.experiences)))
        shares[arm] = MomentShares(len(turns), came, 1.0 if arm == ALWAYS_ON else said)
    return shares


def _saying(prior: Prior, texts: Mapping[str, str]) -> Prior:
    entries: Sequence[Experience] = [replace(one, text=texts.get(one.text, one.text)) for one in prior.experiences]
    return replace(prior, experiences=tuple(entries))
