"""The autopilot on simulated traffic: what helps goes live, what hurts is rolled back, what fails changes nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.deployment.worlds import World, candidate_in, days
from tests.live import MODEL, OTHER, PRIOR, go_live
from tfgrpo.deployment.autopilot import Autopilot, LearnedInUse, approve, do_in_store
from tfgrpo.deployment.facts import _of_live, deployed_state, facts_of
from tfgrpo.deployment.history import happened
from tfgrpo.deployment.lock import alone_at
from tfgrpo.deployment.step import Action, AutopilotTerms
from tfgrpo.errors import ModelError, StoreError
from tfgrpo.priors.serving import roll_back, use, went_back
from tfgrpo.records import CallKey, Experience, Frame, Prior, Run, Task, Usage
from tfgrpo.serve.drawing import DrawShares
from tfgrpo.store import AUTOPILOT, HistoryEntry, Store, StorePath
from tfgrpo.trials import GateTrial, Reached, TrialOutcome

THREE = Prior(experiences=tuple(Experience(f"When it is {n}, say so.") for n in range(3)), template=PRIOR.template)


def pilot_of(path: StorePath, terms: AutopilotTerms | None = None, **given: Any) -> Autopilot:
    return Autopilot(lambda: Store(path, create=False), "default", terms or AutopilotTerms(), **given)


def test_a_candidate_that_helps_becomes_the_canary_and_then_live_by_a_new_process_each_time(tmp_path: Path) -> None:
    world = World(candidate_in(tmp_path / "s.db"), lambda prior: 0.75 if prior == OTHER else 0.5)
    assert [line.partition(":")[0] for line in pilot_of(world.path).look()] == ["canary"]
    while world.states()[OTHER.id] == "canary" and world.made < 5_000:
        world.calls(400)
        pilot_of(world.path).look()
    assert world.states() == {OTHER.id: "live", PRIOR.id: "superseded"}
    assert [row.action for row in world.history()] == ["learned", "canary", "promoted"]
    promoted = world.history()[-1]
    assert promoted.prior == OTHER.id
    assert float(str(promoted.figures["difference"])) > 0.1
    with Store(world.path) as store:
        told = [one.what for one in happened(store, "default")]
        assert store.verify() == ()
    assert told == ["live", "candidate", "learned", "canary", "superseded", "promoted"]


@pytest.mark.parametrize(("verdict", "live", "model", "said"), [
    ("promoted", PRIOR.id, MODEL, ["canary"]), ("promoted", PRIOR.id, "another", []), ("rejected", PRIOR.id, MODEL, []),
    ("promoted", None, MODEL, []), (None, PRIOR.id, MODEL, []),
])  # fmt: skip
def test_what_a_person_learned_as_a_candidate_is_tried_where_the_gate_has_passed_it_against_what_is_live(
    tmp_path: Path, verdict: Reached | None, live: str | None, model: str, said: list[str]
) -> None:
    task = Task("message", "x")
    with Store(go_live(tmp_path / "s.db")) as store:
        store.add_tasks([task])
        run, _ = store.begin(Run("learn", "default", Frame(model), {}, (task.id,), "exact"))
        store.add_prior(OTHER)
        store.set_state("default", OTHER.id, "candidate", frame=Frame(model), run=run.id)
        trial = store.begin_trial(GateTrial("default", (task.id,), run.id, OTHER.id, live, 0.05, 32, 0))
        if verdict:
            store.end_trial(trial, TrialOutcome(verdict, "as it was seen", 2, 41.5, 0.3, 0.1, 0.5))
    assert [line.partition(":")[0] for line in pilot_of(tmp_path / "s.db").look()] == said
    if said:
        with Store(tmp_path / "s.db") as store:
            store.add_prior(THREE)
            store.set_state("default", THREE.id, "live", frame=Frame(MODEL))
        looks = [pilot_of(tmp_path / "s.db").look()[0].partition(":")[0] for _ in range(2)]
        assert looks == ["withdrawn", "canary"], "as one of its own"
        with Store(tmp_path / "s.db") as store:
            do_in_store(store, "default", Action("roll back", "no", OTHER.id), by="anna")
        assert not pilot_of(tmp_path / "s.db").look(), "a person's word holds"


def test_a_candidate_that_hurts_is_rolled_back_and_not_tried_again(tmp_path: Path) -> None:
    world = World(candidate_in(tmp_path / "s.db"), lambda prior: 0.2 if prior == OTHER else 0.5)
    said = days(world, pilot_of(world.path), 6)
    assert [line.partition(":")[0] for line in said] == ["canary", "rolled back"]
    assert world.states() == {OTHER.id: "rolled back", PRIOR.id: "live"}


def test_without_a_live_prior_a_canary_is_tried_against_none(tmp_path: Path) -> None:
    world = World(candidate_in(tmp_path / "s.db", live=None), lambda prior: 0.9 if prior else 0.5)
    days(world, pilot_of(world.path), 6)
    assert world.states() == {OTHER.id: "live"}


def test_a_person_is_asked_once_before_each_step_and_can_say_yes(tmp_path: Path) -> None:
    world = World(candidate_in(tmp_path / "s.db"), lambda prior: 0.9 if prior == OTHER else 0.5)
    pilot = pilot_of(world.path, AutopilotTerms(ask=True))
    assert len(days(world, pilot, 2)) == 1
    assert world.states()[OTHER.id] == "candidate"
    for state in ("canary", "live"):
        with Store(world.path) as store:
            assert approve(store, "default", by="anna") == OTHER.id
        days(world, pilot, 3, 250)
        assert world.states()[OTHER.id] == state
    assert [(row.actor, row.action) for row in world.history()][1:] == [
        ("autopilot", "told"), ("person", "approved"), ("autopilot", "canary"),
        ("autopilot", "told"), ("person", "approved"), ("autopilot", "promoted"),
    ]  # fmt: skip


def test_a_canary_whose_calls_were_forgotten_is_not_promoted_by_the_rest_but_tried_anew(tmp_path: Path) -> None:
    world = World(candidate_in(tmp_path / "s.db"), lambda prior: 0.9 if prior == OTHER else 0.4)
    world.calls(100)
    pilot = pilot_of(world.path)
    pilot.look()
    with Store(world.path) as store:
        begun = store.call_numbers()[1]
        world.calls(800)
        store.forget_calls(megabytes=0.3)
        assert store.call_numbers()[0] > begun + 1
    assert [pilot.look()[0].partition(":")[0] for _ in range(2)] == ["withdrawn", "canary"]
    assert [row.figures.get("canary") for row in world.history() if row.action == "canary"] == [1, 2]
    world.calls(800)
    assert pilot.look()[0].startswith("promoted: ")


def test_a_live_prior_that_stops_beating_none_is_rolled_back(tmp_path: Path) -> None:
    worth = {"live": 0.8}
    path = go_live(tmp_path / "s.db")
    world = World(path, lambda prior: worth["live"] if prior else 0.6, shares=DrawShares(0.2), fed_back=1.0)
    pilot = pilot_of(path)
    assert days(world, pilot, 4) == []
    worth["live"] = 0.2
    (said,) = days(world, pilot, 4)
    assert said.startswith("went back: ")
    assert "calls go out without a prior" in said
    assert world.states() == {PRIOR.id: "rolled back"}


def test_an_experience_that_has_come_to_hurt_is_retired_in_a_candidate_and_that_is_tried_once(tmp_path: Path) -> None:
    path, hurting = go_live(tmp_path / "s.db", THREE), THREE.experiences[1]

    def worth(prior: Prior | None) -> float:
        return 0.35 if prior and hurting in prior.experiences else 0.75

    world = World(path, worth, shares=DrawShares(leave_out=0.5), fed_back=1.0)
    said = days(world, pilot_of(path), 5)
    assert [line.partition(":")[0] for line in said] == ["retired", "canary", "promoted"]
    with Store(path) as store:
        live = store.live("default")
        retired = store.history("default", hurting.id).decisions
    assert live is not None
    assert live.prior.experiences == (THREE.experiences[0], THREE.experiences[2])
    assert live.prior.parent == THREE.id
    assert [(one.verdict, one.by) for _, one in retired] == [("retired", "autopilot")]


def test_a_prior_that_a_person_has_rolled_back_is_not_brought_back_by_what_is_left_without_what_hurts(
    tmp_path: Path,
) -> None:
    path, hurting = go_live(tmp_path / "s.db", THREE), THREE.experiences[1]
    left = replace(THREE, experiences=(THREE.experiences[0], THREE.experiences[2]))
    with Store(path) as store:
        store.add_prior(left)
        store.set_state("default", left.id, "candidate", frame=Frame(MODEL))
        use(store, "default", left.id, by="anna", why="shorter")
        roll_back(store, "default", by="anna", why="it is rude")
    world = World(
        path,
        lambda prior: 0.35 if prior and hurting in prior.experiences else 0.75,
        shares=DrawShares(leave_out=0.5),
        fed_back=1.0,
    )
    (said,) = days(world, pilot_of(path), 4)
    assert said.startswith(f"retired: {left.id}: {hurting.id} has come to hurt")
    stands = "anna has rolled back what is left without it, which stands (it is rude)"
    assert said.endswith(f"{stands}: tfgrpo prior use {left.id} serves it")
    assert world.states() == {THREE.id: "live", left.id: "rejected"}
    with Store(path) as store:
        assert deployed_state(store, "default").candidate is None
        assert store.history("default", hurting.id).decisions[-1][1].verdict == "retired"
        use(store, "default", left.id, by="anna", why="it is not, after all")
    assert world.states()[left.id] == "ungated"


def test_it_learns_when_enough_was_fed_back_within_the_days_budget(tmp_path: Path) -> None:
    path = go_live(tmp_path / "s.db")
    asked = []

    def learn(store: Store, calls: int) -> LearnedInUse:
        asked.append(calls)
        if len(asked) < 3:
            raise ModelError("the model is out of reach")
        store.add_prior(OTHER)
        store.set_state("default", OTHER.id, "candidate", frame=Frame(MODEL))
        return LearnedInUse(OTHER.id, True, 7, "the gate passed it")

    world = World(path, lambda prior: 0.5)
    pilot = pilot_of(path, AutopilotTerms(daily_calls=50), learn=learn)
    said = list[str]()
    for feedback in (250, 250, 500, 1_000):  # as much as was needed, then twice, then four times as much
        said += days(world, pilot, 1, 2 * feedback)
    assert [line.partition(":")[0] for line in said] == [*["learning came to nothing"] * 2, "learned"]
    assert said[0].endswith("the model is out of reach; it is tried again after 400 more feedback, or tomorrow")
    assert said[1].endswith("800 more feedback, or tomorrow")
    assert asked == [50, 50, 50]
    assert pilot.look()[0].startswith("canary: ")
    assert [row.action for row in world.history()] == [
        *["learning", "learning failed"] * 2, "learning", "learned", "canary"
    ]  # fmt: skip


def test_a_learning_that_failed_is_tried_again_the_next_day_though_nothing_new_was_fed_back(tmp_path: Path) -> None:
    world, asked = World(go_live(tmp_path / "s.db"), lambda prior: 0.5), list[int]()

    def learn(store: Store, calls: int) -> NoReturn:
        asked.append(calls)
        raise ModelError("the model is out of reach")

    world.calls(500)
    for days_on, tries in ((0, 1), (0, 1), (1, 2)):
        now = datetime.now(UTC) + timedelta(days=days_on)
        pilot_of(world.path, learn=learn, clock=lambda now=now: now).look()
        assert len(asked) == tries


def test_a_clock_that_jumps_neither_promotes_nor_ends_a_trial(tmp_path: Path) -> None:
    world = World(candidate_in(tmp_path / "s.db"), lambda prior: 0.5)
    now = [datetime.now(UTC)]
    pilot = pilot_of(world.path, clock=lambda: now[0])
    pilot.look()
    world.calls(200)
    for jump in (timedelta(days=-400), timedelta(days=9_000)):
        now[0] = datetime.now(UTC) + jump
        pilot.look()
    assert world.states()[OTHER.id] == "canary"
    assert [row.action for row in world.history()] == ["learned", "canary", "told"]
    assert "without feedback on the canary" in world.history()[-1].said


def test_a_fault_of_our_own_is_told_once_and_does_not_end_it(tmp_path: Path) -> None:
    world = World(candidate_in(tmp_path / "s.db"), lambda prior: 0.5)
    faults = [ValueError("no such thing"), ValueError("no such thing")]

    def opened() -> Store:
        if faults:
            raise faults.pop()
        return Store(world.path, create=False)

    pilot = Autopilot(opened, "default", AutopilotTerms())
    assert [len(pilot.look()) for _ in range(3)] == [1, 0, 1]
    assert world.states()[OTHER.id] == "canary"


def test_feedback_counts_for_a_prior_that_went_live_by_a_clock_that_was_ahead(tmp_path: Path) -> None:
    path = go_live(tmp_path / "s.db")
    world = World(path, lambda prior: 0.5, shares=DrawShares(0.2), fed_back=1.0)
    world.calls(50)
    with Store(path) as store:
        lineage = store.lineage("default")
        for days_on, counted in ((0, 50), (1, 50), (-1, 50)):
            now = datetime.now(UTC) + timedelta(days=days_on)
            assert len(_of_live(store, "default", PRIOR.id, lineage, now)) == counted
            ahead = [replace(event, at=f"{now + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}.000Z") for event in lineage]
            assert len(_of_live(store, "default", PRIOR.id, ahead, now)) == 50


def test_a_prior_that_a_person_made_live_again_is_not_judged_by_what_it_was_worth_before(tmp_path: Path) -> None:
    """Though the store's clock, which is a server's, is a little ahead of the autopilot's."""
    path = go_live(tmp_path / "s.db")
    World(path, lambda prior: 0.5, shares=DrawShares(0.2), fed_back=1.0).calls(50)
    with Store(path) as store:
        went_back(store, "default", by=AUTOPILOT, why="it gains nothing")
        now = datetime.now(UTC)
        use(store, "default", PRIOR.id, by="anna", why="it does")
        *before, again = store.lineage("default")
        lineage = [*before, replace(again, at=f"{now + timedelta(seconds=5):%Y-%m-%dT%H:%M:%S}.000Z")]
        assert _of_live(store, "default", PRIOR.id, lineage, now + timedelta(seconds=2)) == ()


async def test_a_run_that_goes_on_the_next_day_is_paid_for_by_that_day(tmp_path: Path) -> None:
    with Store(go_live(tmp_path / "s.db")) as store:
        run, _ = store.begin(Run("learn", "default", Frame(MODEL), {}, (), "exact"))
        for number in range(3):
            await store.record(CallKey(run.id, "rollout", 1, "", number), "req", "{}", Usage(1))
        state, now = deployed_state(store, "default"), datetime.now(UTC)

        def left(days_on: int) -> int:
            return facts_of(store, "default", state, AutopilotTerms(), now + timedelta(days=days_on)).calls_left

        assert [left(0), left(1)] == [1_997, 2_000]
        yesterday = f"{now - timedelta(days=1):%Y-%m-%d}T23:00:00.000Z"
        store._write("as if", lambda db: db.change("runs", {"started": yesterday}, "id = :id", {"id": run.id}))
        assert [left(0), left(1)] == [1_997, 2_000]
        store.end(run.id, "finished", store.spent(run.id), {})
        assert [left(0), left(1)] == [1_997, 2_000]


def test_a_clock_put_back_gives_no_budget_back_and_one_that_was_years_ahead_stops_no_learning(tmp_path: Path) -> None:
    with Store(candidate_in(tmp_path / "s.db")) as store:  # a row of today is in its history
        now, state = datetime.now(UTC), deployed_state(store, "default")
        for back, counted in ((0, 0), (1, 0), (3_000, 3_000)):
            day = facts_of(store, "default", state, AutopilotTerms(), now - timedelta(days=back)).day
            assert day == f"{now - timedelta(days=counted):%Y-%m-%d}"


def test_a_person_who_makes_another_prior_live_ends_the_trial_and_it_is_begun_anew(tmp_path: Path) -> None:
    world = World(candidate_in(tmp_path / "s.db"), lambda prior: 0.5)
    go_live(tmp_path / "s.db", THREE)
    pilot = pilot_of(world.path)
    pilot.look()
    with Store(world.path) as store:
        use(store, "default", PRIOR.id, by="anna", why="as before")
    said = [*pilot.look(), *pilot.look()]
    assert [line.partition(":")[0] for line in said] == ["withdrawn", "canary"]
    assert world.history()[-1].figures["canary"] == 2


def test_a_store_that_is_named_by_a_link_is_the_same_one(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(candidate_in(tmp_path / "s.db"))
    with alone_at(tmp_path / "s.db", "default") as first, alone_at(tmp_path / "link.db", "default") as second:
        assert (first, second) == (True, False)


class Overtaken(Store):
    """Between a look and what it leads to somebody else goes back to the prior before."""

    def history_of(self, namespace: str, limit: int = 1_000) -> tuple[HistoryEntry, ...]:
        if self.live(namespace):
            with Store(self.path) as other:
                roll_back(other, namespace, by="anna", why="it is wrong")
        return super().history_of(namespace, limit)


def test_what_somebody_changes_while_it_looks_is_not_overruled(place: StorePath) -> None:
    with Store(place) as store:
        for prior, state in ((PRIOR, "live"), (OTHER, "candidate")):
            store.add_prior(prior)
            store.set_state("default", prior.id, state, frame=Frame(MODEL))
        store.add_history(HistoryEntry("default", "autopilot", "learned", OTHER.id, "learned", {"passed": True}))
    pilot = Autopilot(lambda: Overtaken(place, create=False), "default", AutopilotTerms())
    (said,) = pilot.look()
    assert "somebody else has changed what namespace default serves meanwhile" in said
    with Store(place) as store:
        assert [(event.prior, event.state) for event in store.lineage("default")][1:] == [
            (OTHER.id, "candidate"), (PRIOR.id, "rolled back")
        ]  # fmt: skip
        assert store.canary("default") is None
    assert pilot.look()[0].startswith("canary: ")
    with Store(place) as store:
        assert store.history_of("default")[-1].figures["live"] is None
        retire, seen = Action("retire", "it hurts", PRIOR.id, {"experience": PRIOR.experiences[0].id}), 1
        with pytest.raises(StoreError, match="somebody else has changed"):
            do_in_store(store, "default", retire, seen=seen)
        assert not store.history("default", PRIOR.experiences[0].id).decisions


class ReadOnly(Store):
    """A store on a disk that cannot be written: for root no other is to be had."""

    def _write(self, what: str, work: object, **_: object) -> NoReturn:
        raise StoreError(f"{what}: it cannot be written")


def test_a_store_that_cannot_be_written_is_told_once_and_nothing_is_spent(tmp_path: Path) -> None:
    asked = []

    def learn(store: Store, calls: int) -> LearnedInUse:
        asked.append(calls)
        return LearnedInUse(None, False, calls, "learned")

    for path in (go_live(tmp_path / "live.db"), candidate_in(tmp_path / "s.db")):
        World(path, lambda prior: 0.5).calls(500)
        pilot = Autopilot(partial(ReadOnly, path), "default", AutopilotTerms(min_feedback=1), learn)
        assert ["it cannot be written" in line for line in (*pilot.look(), *pilot.look())] == [True]
    assert asked == []
    with Store(path) as store:
        assert store.canary("default") is None


def test_a_store_that_is_not_there_is_told_once(tmp_path: Path) -> None:
    pilot = pilot_of(tmp_path / "none.db")
    (said,) = (*pilot.look(), *pilot.look())
    assert "nothing was done" in said


def test_the_loop_is_the_same_on_every_store_and_a_namespace_has_one_autopilot(place: StorePath) -> None:
    with Store(place) as store:
        for prior, state in ((PRIOR, "live"), (OTHER, "candidate")):
            store.add_prior(prior)
            store.set_state("default", prior.id, state, frame=Frame(MODEL))
        store.add_history(HistoryEntry("default", "autopilot", "learned", OTHER.id, "learned", {"passed": True}))
    world = World(place, lambda prior: 0.95 if prior == OTHER else 0.3, fed_back=1.0)
    with alone_at(place, "default") as first, alone_at(place, "other") as other, alone_at(place, "default") as second:
        assert (first, other, second) == (True, True, False)
        said = days(world, Autopilot(lambda: Store(place, create=False), "default", AutopilotTerms()), 1, 400)
    assert [line.partition(":")[0] for line in said] == ["canary", "promoted"]
    with alone_at(place, "default") as again:
        assert again
