"""The benchmark of bounded context in small, on its SIMULATED model."""

import asyncio

import pytest

from benchmarks.bounded import compared, counting, made_up
from tfgrpo.records import Backend, Frame
from tfgrpo.testing import ScriptedModel


def test_bounded_context_is_right_where_truncation_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    model = ScriptedModel(counting)
    asyncio.run(compared(model, Frame("simulated"), Backend("llama.cpp"), made_up(6), "exact"))
    _, _, full, truncated, bounded = capsys.readouterr().out.splitlines()
    assert [line.split("|")[2].strip() for line in (full, truncated, bounded)] == ["100%", "17%", "100%"]
