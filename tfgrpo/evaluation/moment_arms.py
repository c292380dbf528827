"""The arms that say whether the moment matters: the texts of a prior always on, and at random turns as often.

A text that waits for its moment may help by what it says, or by when it says it. *Always on* says it in every request;
*random timing* says it at turns that a coin draws, at the rate at which its trigger fired in the run that learned it.
*Half its moments* says it at each of them by a coin: a micro-randomised trial, which tells what one moment is worth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import sqrt

import numpy as np

from ..errors import InputError
from ..experiences.moments import HeardRollouts
from ..priors.versions import run_behind
from ..records import CallKey, Experience, Prior
from ..store import Store
from ..surfaces.signs import HALF
from ..surfaces.triggers import said_text, trigger_of
from .arms import Evaluation, MomentShares, MomentWorth
from .difference import FEWEST, student_quantile
from .fire_rates import fired, share_fired, waiting_texts

ALWAYS_ON, RANDOM_TIMING, BY_COIN = "always on", "random timing", "half its moments"
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
    by_coin = {text: at_half(text) for text in rates}
    said = {ALWAYS_ON: always, RANDOM_TIMING: by_chance, BY_COIN: by_coin}
    return {arm: _saying(prior, texts) for arm, texts in said.items()}


def at_half(text: str) -> str:
    """A text that waits for a moment, said at half of these moments; raises InputError where that is too long."""
    found = trigger_of(text)
    assert found is not None
    halved = text if found[0].kind == HALF else f"[on {HALF} {text.removeprefix('[on ')}"
    trigger_of(halved)
    return halved


def with_moments(
    found: Evaluation, store: Store, run_id: str, priors: Mapping[str, Prior], rates: Mapping[str, float]
) -> Evaluation:
    """An evaluation of these arms, with how often moments came and texts were said, and what one moment is worth."""
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
    by_task, halved = dict[str, list[tuple[bool, float]]](), [*map(at_half, rates)]
    for one in found.rollouts[BY_COIN]:
        if one.reward is not None:
            turns = [turn for turn in heard[BY_COIN].turns([one]) if share_fired(list(rates), [turn])]
            by_task.setdefault(one.task.id, []).extend((share_fired(halved, [turn]) > 0, one.reward) for turn in turns)
    return replace(found, moments=shares, moment_worth=worth_of_a_moment(by_task))


def worth_of_a_moment(by_task: Mapping[str, Sequence[tuple[bool, float]]]) -> MomentWorth | None:
    """What it does for a rollout's reward that a text is said at one of its moments; None for too few tasks.

    Given are, by task, the moments of its rollouts: whether it was said, by a fair coin, and the reward at the end. The
    estimate is that of centred least squares (Boruvka et al. 2018, doi:10.1080/01621459.2017.1305274),
    b = sum (A - 1/2) (Y - mean Y) / sum (A - 1/2)^2, its interval at 95% Student's t over tasks.
    """
    tasks = [moments for moments in by_task.values() if moments]
    if len(tasks) < FEWEST:
        return None
    mean = float(np.mean([reward for moments in tasks for _, reward in moments]))
    tops = np.array([sum((said - 0.5) * (reward - mean) for said, reward in moments) for moments in tasks])
    sizes = np.array([len(moments) / 4 for moments in tasks])
    effect = float(tops.sum() / sizes.sum())
    spread = float(np.square(tops - effect * sizes).sum()) * len(tasks) / (len(tasks) - 1)
    reach = student_quantile(0.975, len(tasks) - 1) * sqrt(spread) / float(sizes.sum())
    return MomentWorth(sum(map(len, tasks)), len(tasks), effect, effect - reach, effect + reach)


def _saying(prior: Prior, texts: Mapping[str, str]) -> Prior:
    entries: Sequence[Experience] = [replace(one, text=texts.get(one.text, one.text)) for one in prior.experiences]
    return replace(prior, experiences=tuple(entries))
