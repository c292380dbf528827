"""Listed beside sampled answers, on a simulated policy."""

from pathlib import Path

from benchmarks.exact_groups import Compared, compared, lettered, told
from tests.routing import upstream
from tfgrpo.probe.backend import probe
from tfgrpo.records import Frame
from tfgrpo.store import Store
from tfgrpo.testing import ScriptedModel, SimulatedPolicy


async def test_what_is_listed_in_one_call_is_what_many_samples_say(tmp_path: Path) -> None:
    system, tasks = lettered("keep-drop", 6)
    assert system.endswith("Answer with one letter alone: A for drop, B for keep.")
    assert {task.answer for task in tasks} <= {"A", "B"}
    model = ScriptedModel(SimulatedPolicy(["A", "B", "Well"], lambda prompt: [0.2 * (len(prompt) % 5), 0.5, 0.0]))
    with Store(tmp_path / "t.db") as store:
        async with upstream(model, store) as calls:
            backend = await probe(calls, "fake", run="")
            frame = Frame("fake", system, {"max_tokens": 1}, temperature=0.7)
            found = [await compared(calls, frame, backend, task, 40) for task in tasks]
    known = [one for one in found if one]
    assert len(known) == 6
    row, agrees = told("keep-drop", 6, known, 40)
    assert agrees
    assert row.startswith("| keep-drop | 6 of 6 | 100.0% | ")
    assert row.endswith("6 and 240 |")
    off = [Compared(1.0, 0.0, 0.9, [0.0] * 40)] * 6
    assert not told("keep-drop", 6, off, 40)[1]
