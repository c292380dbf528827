"""The benchmark of whole rollouts in small, on its SIMULATED policy."""

from pathlib import Path

from benchmarks.whole_rollouts import learned_and_measured, tokens_of_each
from tfgrpo.store import Store


def test_whole_rollouts_win_the_race_and_are_shown_no_longer_than_they_were(folder: Path) -> None:
    raced, found = learned_and_measured(8, 2)
    assert raced[0].startswith("8 whole rollouts with tools")
    assert found["means"]["learned"] > found["means"]["frozen"]
    with Store("tfgrpo.db") as store:
        whole, shown = tokens_of_each([one for one in store.groups(store.runs()[0].run.id) if not one.step])
    assert 0 < shown <= whole
