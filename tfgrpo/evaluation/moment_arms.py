"""The arms that say whether the moment matters: the texts of a prior always on, and at random turns as often.

A text that waits for its moment may help by what it says, or by when it says it. *Always on* says it in every request;
*random timing* says it at turns that a coin draws, at the rate at which its trigger fired in the run that learned it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ..errors import InputError
from ..experiences.moments import HeardRollouts, Rate, Turn, fire_rate, rate_told
from ..priors.versions import run_behind
from ..records import Experience, Prior
from ..store import Store
from ..surfaces.triggers import Trigger, awaited_words, is_triggered, said_text, trigger_of
from ..text import shortened

ALWAYS_ON, RANDOM_TIMING = "always on", "random timing"
"""Names of the arms."""


def turns_of(store: Store, run_id: str) -> list[Turn]:
    """Every turn of a run's rollouts."""
    heard = HeardRollouts()
    store.each_response(run_id, heard.see)
    return heard.turns(rollout for group in store.groups(run_id) for rollout in group.rollouts)


def fired(store: Store, run_id: str, texts: Iterable[str]) -> Iterator[tuple[str, Rate, str]]:
    """Of texts that wait for a moment, how often it came in a run, and that for people."""
    turns = turns_of(store, run_id)
    for text in texts:
        rate = fire_rate(_trigger(text), turns)
        yield text, rate, f"{shortened(text)}: {rate_told(rate)}"


def waiting_texts(experiences: Iterable[Experience]) -> list[str]:
    """Those that wait for a moment, and not for words."""
    return [entry.text for entry in experiences if is_triggered(entry) and not awaited_words(entry.text)]


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


def _saying(prior: Prior, texts: Mapping[str, str]) -> Prior:
    entries: Sequence[Experience] = [replace(one, text=texts.get(one.text, one.text)) for one in prior.experiences]
    return replace(prior, experiences=tuple(entries))


def _trigger(text: str) -> Trigger:
    found = trigger_of(text)
    assert found is not None
    return found[0]
