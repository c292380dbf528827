"""A run against a service under load, on a small scale."""

import asyncio
from pathlib import Path

from benchmarks.scheduling import barriered, chain, learned, made, strained
from tfgrpo.settings import Settings
from tfgrpo.testing import serving


def test_every_place_is_used_and_no_call_is_lost(tmp_path: Path) -> None:
    service = strained(0.01, seed=1)
    settings = Settings(steps=1, group_size=4, concurrency=6, token_prior=False, hedge=0.1)
    with serving(service.app) as url:
        asyncio.run(learned(url, tmp_path / "t.db", 8, settings))
    stages = {stage: count for _, stage, count in made(tmp_path / "t.db")}
    assert stages["rollout"] == 32
    assert stages["distil"] > 0
    assert service.refused > 0
    assert 3 <= service.most_in_flight <= 12, "those that were made twice are still answered"
    assert chain([("before", 1.0), ("rollout", 2.0), ("rollout", 3.0), ("distilling", 9.0)], 1) == 4.0


def test_the_same_calls_are_made_with_barriers() -> None:
    service = strained(0.01, seed=1)
    with serving(service.app) as url:
        asyncio.run(barriered(url, [(0, "rollout", 12), (0, "distil", 3)], 6))
    assert len(service.served) == 15
