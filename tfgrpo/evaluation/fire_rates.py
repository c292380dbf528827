"""How often the moments that experiences wait for came in the rollouts of a run."""

from collections.abc import Iterable, Iterator, Sequence

from ..experiences.moments import HeardRollouts, Rate, Turn, fire_rate, rate_told
from ..records import Experience
from ..store import Store
from ..surfaces.triggers import Trigger, awaited_words, is_triggered, trigger_of
from ..text import shortened


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


def share_fired(texts: Sequence[str], turns: Sequence[Turn]) -> float:
    """At which share of turns the moment of any of these texts came."""
    triggers = [_trigger(text) for text in texts]
    return sum(any(one.fires(*turn) for one in triggers) for turn in turns) / max(1, len(turns))


def waiting_texts(experiences: Iterable[Experience]) -> list[str]:
    """Those that wait for a moment, and not for words."""
    return [entry.text for entry in experiences if is_triggered(entry) and not awaited_words(entry.text)]


def _trigger(text: str) -> Trigger:
    found = trigger_of(text)
    assert found is not None
    return found[0]
