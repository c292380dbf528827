"""Calls in use, feedback, and canaries with their share."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.live import MODEL, OTHER, PRIOR, go_live
from tfgrpo.errors import InputError
from tfgrpo.records import Frame, PriorState, Run, Snapshot, Task
from tfgrpo.store import Feedback, HistoryEntry, Inference, Store, StorePath

CALL = Inference("inf_1", "default", PRIOR.id, "live", "chat", MODEL, 200, 0.5, '{"model": "\ud83d"}', "{}")
WORTH = Feedback("inf_1", "default", PRIOR.id, "live", 0.5, "half right")


def test_calls_and_feedback_come_back_as_they_were_and_a_call_is_kept_once(place: StorePath) -> None:
    later = replace(CALL, id="inf_2", prior=None, variant="none", request="", response="")
    shadow = replace(
        CALL, id="inf_3", shadow_of="inf_1", added=0.001, draw={"left_out": ["exp_1"], "probability": 0.05}
    )
    worse = replace(WORTH, reward=None, label={"answer": ["\ud83d", 1]}, comment="")
    with Store(place) as store:
        store.add_calls_in_use([CALL], [WORTH])
        store.add_calls_in_use([CALL, later, shadow], [worse, replace(WORTH, inference="inf_2")])
        store.add_calls_in_use([])
        assert store.inferences("default") == (CALL, later, shadow)
        assert store.inferences("default", 1) == (shadow,)
        assert store.feedback("default") == (worse, replace(WORTH, inference="inf_2"))  # the later of two counts
        assert (store.inference("inf_3"), store.inference("inf_4"), store.shadows("inf_1")) == (shadow, None, (shadow,))
        assert store.calls_by_id(["inf_1", "inf_4", "inf_1"]) == (replace(CALL, request="", response=""),)
        assert (store.count_shadows("2020"), store.count_shadows("9")) == (1, 0)
        assert (store.inferences("other"), store.feedback("other")) == ((), ())
        without = store.calls_in_use("default")
        assert without == tuple(replace(one, request="", response="") for one in (CALL, later, shadow))
        assert store.calls_in_use("default", after=without[0].number, limit=1) == without[1:2]
        assert store.calls_in_use("default", until=without[0].at) == ()
        assert store.calls_in_use("default", since=without[0].at) == without
        assert [(one.variant, one.calls, one.failed, one.added) for one in store.call_counts("default")] == [
            ("live", 1, 0, None), ("none", 1, 0, None),
        ]  # fmt: skip
        first, second = store.feedback_since("default")
        assert store.feedback_since("default", first.id) == (second,)
        assert (store.calls_fed_back("default"), store.calls_fed_back("default", first.id)) == (2, 1)
        assert (store.last_feedback("default"), store.last_feedback("other")) == (second.id, 0)
        assert store.verify() == ()


def test_a_call_that_cannot_be_kept_is_named_and_takes_no_other_with_it(place: StorePath) -> None:
    calls = [replace(CALL, id=f"inf_{number}") for number in range(40)]
    calls[7], calls[30] = replace(calls[7], status=2**70), replace(calls[30], variant=None)  # pyrefly: ignore[bad-argument-type]
    with Store(place) as store:
        large, lacking, said = store.add_calls_in_use(calls, [WORTH, replace(WORTH, namespace=None)])  # pyrefly: ignore[bad-argument-type]
        assert large.startswith(f"inf_7 cannot be kept: store {place}, recording calls: a whole number in it has more")
        assert lacking.startswith("inf_30 cannot be kept: ")
        assert said.startswith("feedback on inf_1 cannot be kept: ")
        assert not any("\n" in told for told in (large, lacking, said))
        kept = [one.id for one in store.calls_in_use("default")]
        assert kept == [one.id for one in calls if one not in (calls[7], calls[30])]
        assert store.feedback("default") == (WORTH,)


def test_calls_and_further_rollouts_are_read_in_parts_and_each_once_by_their_times(place: StorePath) -> None:
    times = [f"2026-01-0{day}T00:00:00.000Z" for day in (1, 1, 1, 2, 1)]  # the last by a clock that was put back
    further = [replace(CALL, id=f"inf_s{n}", shadow_of="inf_c0", at=at) for n, at in enumerate(times)]
    calls = [replace(CALL, id=f"inf_c{n}", at=at) for n, at in enumerate(times)]
    with Store(place) as store:
        store.add_calls_in_use([*calls, *further, *(replace(one, id=f"{one.id}_", namespace="other") for one in calls)])
        for at_once in (1, 2, 5, 9):
            ids = [one.id for one in store.further_rollouts("default", times[0], at_once=at_once)]
            assert ids == ["inf_s0", "inf_s1", "inf_s2", "inf_s4", "inf_s3"]
            assert [one.id for one in store.further_rollouts("default", times[3], at_once=at_once)] == ["inf_s3"]
            found = list(store.latest_calls("default", 4, at_once=at_once))
            assert [one.id for one in found] == ["inf_c3", "inf_c4", "inf_c2", "inf_c1"]
            assert found[0] == calls[3]


def test_old_calls_are_forgotten_with_what_was_said_of_them_and_the_latest_stays(place: StorePath) -> None:
    times = ["1970-01-01T00:00:00.000Z", "2999-01-01T00:00:00.000Z", "2026-01-01T00:00:00.000Z", ""]
    calls = [replace(CALL, id=f"inf_{place}", at=at) for place, at in enumerate(times)]
    with Store(place) as store:
        store.add_calls_in_use(calls, [replace(WORTH, inference=call.id, at=call.at) for call in calls])
        assert store.forget_calls() == 0
        assert store.forget_calls(megabytes=1) == 0
        assert store.forget_calls(days=7) == 9
        assert [call.id for call in store.inferences("default")] == ["inf_3"]
        assert [one.inference for one in store.feedback("default")] == ["inf_3"]
        store.add_calls_in_use([replace(CALL, id="inf_5"), replace(CALL, id="inf_6")])
        store.forget_calls(megabytes=0.0012)
        assert [call.id for call in store.inferences("default")] == ["inf_5", "inf_6"]
        store.add_calls_in_use([], [replace(WORTH, inference="inf_5", comment="x" * 3_000)])  # which takes room, too
        store.forget_calls(megabytes=0.003)
        assert [call.id for call in store.inferences("default")] == ["inf_6"]
        store.forget_calls(days=0, megabytes=0)
        assert [call.id for call in store.inferences("default")] == ["inf_6"]
        assert store.verify() == ()


def test_feedback_on_calls_that_were_not_recorded_is_kept_as_long_as_there_is_room(place: StorePath) -> None:
    """As what a proxy took before it recorded: older than any call that the store knows."""
    said = [replace(WORTH, inference=f"inf_{number}", at=f"2026-01-01T00:00:0{number}.000Z") for number in range(9)]
    with Store(place) as store:
        store.add_calls_in_use((), said)
        assert store.forget_calls(megabytes=1) == 0
        store.add_calls_in_use([replace(CALL, id="inf_a"), replace(CALL, id="inf_b")])
        assert store.forget_calls(megabytes=1) == 0
        assert store.forget_calls(megabytes=0.0022) == 6
        assert [one.inference for one in store.feedback("default")] == ["inf_6", "inf_7", "inf_8"]
        assert len(store.inferences("default")) == 2


def test_the_answers_of_tasks_are_labels_where_they_are_few(place: StorePath) -> None:
    labelled = [Task(f"Which queue, {number}?", ("sales", "billing")[number % 2]) for number in range(6)]
    others = [Task(f"What is {number} + 1?", number + 1) for number in range(6)]
    with Store(place) as store:
        for namespace, tasks in (("default", labelled), ("math", others)):
            store.add_tasks(tasks)
            store.begin(Run("learn", namespace, Frame(MODEL), {}, tuple(task.id for task in tasks), "exact"))
        assert sorted(store.few_answers("default")) == ["billing", "sales"]
        assert (store.few_answers("math"), store.few_answers("other")) == ((), ())


def test_what_is_served_does_not_move_with_calls_but_with_all_else(place: StorePath) -> None:
    with Store(go_live(place)) as store:
        before = store.served()
        store.add_calls_in_use([CALL], [WORTH])
        assert store.served() == before
        store.add_prior(OTHER)
        store.set_state("default", OTHER.id, "canary", frame=Frame(MODEL))
        canary = store.served()
        store.add_share("default", OTHER.id, 0.5)
        assert len({before, canary, store.served()}) == 3


def test_a_day_of_calls_with_feedback_takes_little_room(tmp_path: Path) -> None:
    draw = {"arm": "live", "p": 0.88, "of": PRIOR.id, "left_out": ["exp_0123456789abcdef"], "p_left_out": 0.05}
    ids = [f"inf_{number:032x}" for number in range(2_000)]
    calls = [replace(CALL, id=one, added=0.0003, draw=draw, request="", response="") for one in ids]
    with Store(tmp_path / "s.db") as store:
        before = store.info().bytes
        store.add_calls_in_use(calls, [replace(WORTH, inference=one) for one in ids])
    with Store(tmp_path / "s.db") as store:
        assert (store.info().bytes - before) / len(ids) * 100_000 < 100e6


def test_what_was_done_is_told_in_order(place: StorePath) -> None:
    entries = [HistoryEntry("default", "autopilot", what, PRIOR.id, "why", {"e": 2.5}) for what in ("canary", "live")]
    with Store(place) as store:
        for entry in (*entries, HistoryEntry("other", "person", "rolled back", None, "I said so")):
            store.add_history(entry)
        assert store.history_of("default") == tuple(entries)
        assert store.history_of("default", 1) == (entries[1],)


@pytest.mark.parametrize("ended", ["live", "rejected", "rolled back"])
def test_a_canary_has_the_share_that_it_was_given_last_until_its_state_is_another(
    ended: PriorState, place: StorePath
) -> None:
    with Store(go_live(place)) as store:
        store.add_prior(OTHER)
        store.add_share("default", OTHER.id, 0.5)
        assert store.canary("default") is None
        store.set_state("default", OTHER.id, "canary", frame=Frame(MODEL))
        store.add_share("default", OTHER.id, 0.25)
        assert store.canary("default") == (Snapshot("default", OTHER, "canary", Frame(MODEL)), 0.25)
        live = store.live("default")
        assert live is not None
        assert live.prior == PRIOR
        with pytest.raises(InputError, match="share of a canary"):
            store.add_share("default", OTHER.id, 1.5)
        store.set_state("default", OTHER.id, ended, frame=Frame(MODEL), by="anna")
        assert store.canary("default") is None
