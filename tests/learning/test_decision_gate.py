"""The gate of a question: a trial is held once, however often its run is taken up."""

from pathlib import Path

from tfgrpo.learning.decision_gate import DecisionGate
from tfgrpo.records import Experience, Frame, Prior, Run, Task
from tfgrpo.settings import Settings
from tfgrpo.store import Store

TASKS = tuple(Task(f"{number} apples", "yes") for number in range(12))


async def test_a_trial_that_has_ended_is_not_held_again_where_its_run_is_taken_up(tmp_path: Path) -> None:
    candidate, held = Prior((Experience("Count."),)), list[str]()

    async def decided(prior: Prior, won: float = 1.0) -> dict[str, tuple[float, float]]:
        held.append(prior.id)
        return {task.id: (won, 0.0) for task in TASKS}

    async def otherwise(prior: Prior) -> dict[str, tuple[float, float]]:
        return await decided(prior, 0.0)

    with Store(tmp_path / "s.db") as store:
        store.add_tasks(TASKS)
        run, _ = store.begin(Run("learn", "default", Frame("m"), {}, (TASKS[0].id,), "exact", None))
        gate = DecisionGate(store, run, Prior(), TASKS, Settings())
        first = await gate.promotion(candidate, decided)
        again = await gate.promotion(candidate, otherwise)
        (trial,) = store.trials(run=run.id)
    assert again.trial is not None
    assert trial.outcome == again.trial.outcome
    assert (first.state, again.state, held) == ("live", "live", [candidate.id])
