"""The benchmark of the client, in small."""

from pathlib import Path

import pytest

from benchmarks.client import compare, live_store, loops, memory, threads
from tfgrpo.serve import call_info


def test_every_figure_of_it_comes_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = live_store(tmp_path / "s.db")
    compare(20, 1, store)
    assert "difference" in capsys.readouterr().out
    assert threads(store, 8, 20)[0] == 160
    assert loops(store, 2, 10) == 40
    monkeypatch.setattr(call_info, "KEPT", 10)
    assert memory(store, 60) < 500
