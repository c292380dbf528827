"""The benchmark of amplification in small, on its SIMULATED model."""

import asyncio

import pytest

from benchmarks.amplification import compared, simulated, sums
from tfgrpo.records import Backend, Frame
from tfgrpo.settings import Settings
from tfgrpo.testing import ScriptedModel


def test_verified_answers_are_amplified_and_the_control_is_told_beside(capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(compared(ScriptedModel(simulated), Frame("simulated"), Backend(), sums(20), Settings(group_size=4)))
    told = capsys.readouterr().out
    rows = [
        line.split("|") for line in told.splitlines() if line.startswith("| verified") or line.startswith("| control")
    ]
    assert [row[1].strip() for row in rows] == ["verified"] * 4 + ["control"] * 4
    assert "verified, right in round 4 over round 1: +" in told
    assert "control, right in round 4 over round 1: " in told
