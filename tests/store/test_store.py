"""The store keeps every noun as it was given, once, and says what became of it."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.by_hand import file_engine, found
from tfgrpo.errors import StoreError
from tfgrpo.model.upstream import Journal
from tfgrpo.records import (
    Backend,
    CallKey,
    Decision,
    Demonstration,
    Effect,
    Experience,
    Frame,
    Group,
    Origin,
    Prior,
    PriorState,
    Rollout,
    Run,
    RunStatus,
    Task,
    TokenBias,
    Usage,
    Variant,
)
from tfgrpo.store import ExperienceStatus, Namespace, Store, StorePath

FRAME = Frame("m", "Be brief.", {"tools": [{"type": "function"}], "max_tokens": 5}, temperature=1)
TASK = Task("What is 2 + 2?", "4")
RUN = Run("learn", "math", FRAME, {"seed": 0}, (TASK.id,), "exact")
EXPERIENCE = Experience("When adding, count.", origin=Origin("run_a", 1, (TASK.id,), "exp_b"))
PRIOR = Prior((EXPERIENCE,), (TokenBias(7, b"\xff", 0.5, 3.0, 4),), "tokenizer", "template_1", "prior_0")
OTHER = Prior((Experience("When in doubt, ask."),))

texts = st.text(st.characters(codec="utf-8"), max_size=30)
numbers = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(texts, values, max_size=3)
usages = st.builds(Usage, *[st.integers(0, 2**60)] * 3)
messages = st.lists(objects, max_size=3).map(tuple)
tasks = st.builds(Task, texts | messages, values, objects, st.integers(1, 9))
positive = st.floats(0.0, 1.0, exclude_min=True, allow_subnormal=False)
frames = st.builds(Frame, texts, st.none() | texts, objects, st.floats(0, 1e9) | st.integers(0, 2), positive)
experiences = st.builds(Experience, texts, st.sampled_from(["strategy", "demonstration"]))
entries = st.builds(  # of priors with one id the first stays: what the id leaves out follows from what is in it
    lambda token, bias: TokenBias(token, token.to_bytes(3), bias, round(bias, 4) * 2, token + 1),
    st.integers(0, 200_000),
    numbers,
)
biases = st.lists(entries, unique_by=lambda entry: entry.token, max_size=4).map(tuple)
demonstrations = st.builds(  # the same words are the same demonstration, of which the first stays
    lambda asked, answer: Demonstration(asked, answer, Task(asked, answer).id), texts | messages, texts
)
shown = st.lists(demonstrations, max_size=3).map(tuple)
variants = st.builds(Variant, st.none() | texts, shown, st.integers(0, 9))
priors = st.builds(
    Prior,
    st.lists(experiences, unique=True, max_size=4).map(tuple),
    biases,
    st.none() | texts,
    texts,
    st.none() | texts,
    st.none() | texts.filter(bool),
    shown,
    st.integers(0, 9),
)
properties = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def store(place: StorePath) -> Iterator[Store]:
    with Store(place) as opened:
        yield opened


@pytest.fixture
def run(store: Store) -> Run:
    store.add_tasks([TASK])
    return store.begin(RUN)[0]


def group(*rewards: float | None, step: int = 0, task: Task = TASK, prior: str = "prior_0") -> Group:
    rollouts = (Rollout(task, step, sample, prior, reward=reward) for sample, reward in enumerate(rewards))
    return Group(task, step, tuple(rollouts))


def as_journal(store: Journal) -> Journal:
    """The type checker sees here that a store is one."""
    return store


# Tasks and runs


@given(st.lists(tasks, max_size=4))
@properties
def test_tasks_come_back_as_they_were_in_the_order_asked(store: Store, given: list[Task]) -> None:
    kept = {task.id: task for task in given}
    store.add_tasks(kept.values())
    assert store.tasks(reversed(kept)) == tuple(reversed(kept.values()))


def test_a_task_takes_the_count_of_the_last_file(store: Store) -> None:
    store.add_tasks([TASK])
    store.add_tasks([replace(TASK, count=3)])
    assert store.tasks([TASK.id])[0].count == 3


def test_an_unknown_task_is_named(store: Store) -> None:
    with pytest.raises(StoreError, match="no task task_nowhere"):
        store.tasks(["task_nowhere"])


@given(frames, objects, texts, st.none() | texts, texts)
@properties
def test_a_run_comes_back_as_it_was(
    store: Store, frame: Frame, knobs: dict[str, object], reward: str, parent: str | None, namespace: str
) -> None:
    store.add_tasks([TASK])
    given = Run("eval", namespace, frame, knobs, (TASK.id, TASK.id), reward, parent)
    begun, _ = store.begin(given)
    found = store.run(begun.id)
    assert (found, found.id) == (given, given.id)


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_a_run_that_did_not_finish_is_resumed(store: Store, run: Run, status: RunStatus) -> None:
    store.end(run.id, status, Usage(1), {})
    again, resumed = store.begin(RUN)
    assert (again.id, again.status, again.usage, resumed) == (run.id, "running", Usage(1), True)


def test_a_finished_run_is_followed_by_a_repeat(store: Store, run: Run) -> None:
    store.end(run.id, "finished", Usage(3, 20, 10), {"prior": "prior_1"})
    again, resumed = store.begin(RUN)
    assert (again.attempt, again.usage, again.result, resumed) == (1, Usage(), {}, False)
    first = store.run(run.id)
    assert (first.status, first.usage, first.result) == ("finished", Usage(3, 20, 10), {"prior": "prior_1"})


def test_a_fresh_run_hides_the_unfinished_one_before_it(store: Store, run: Run) -> None:
    fresh, resumed = store.begin(RUN, fresh=True)
    assert (fresh.attempt, resumed) == (1, False)
    store.end(fresh.id, "finished", Usage(), {})
    assert store.begin(RUN)[0].attempt == 2


def test_other_settings_are_another_run(store: Store, run: Run) -> None:
    other, resumed = store.begin(replace(RUN, settings={"seed": 1}))
    assert other.id != run.id
    assert (other.attempt, resumed) == (0, False)


def test_runs_are_listed_by_namespace_with_their_times(store: Store, run: Run) -> None:
    other, _ = store.begin(replace(RUN, namespace="support"))
    store.end(other.id, "finished", Usage(), {})
    assert [entry.run for entry in store.runs()] == [run, other]
    (entry,) = store.runs("support")
    assert entry.ended is not None
    assert entry.ended >= entry.started
    assert store.runs("math")[0].ended is None


def test_a_run_is_found_by_the_start_of_its_id(store: Store, run: Run) -> None:
    assert store.run(run.id[:10]) == run
    assert store.run(run.id.removeprefix("run_")[:6]) == run


def test_an_id_that_fits_none_or_several_is_refused(store: Store, run: Run) -> None:
    with pytest.raises(StoreError, match="no run zzz"):
        store.run("zzz")
    store.begin(RUN, fresh=True)
    with pytest.raises(StoreError, match="several runs"):
        store.run("run_")


def test_a_run_whose_tasks_were_not_added_is_refused_whole(store: Store) -> None:
    with pytest.raises(StoreError, match="not added before"):
        store.begin(RUN)
    assert store.runs() == ()
    assert store.namespaces() == ()


def test_a_run_that_never_began_cannot_end(store: Store) -> None:
    with pytest.raises(StoreError, match="no run run_x"):
        store.end("run_x", "finished", Usage(), {})


# The journal


@given(texts, st.binary().map(bytes.hex), usages)
@properties
async def test_a_recorded_call_is_replied(store: Store, response: str, request: str, usage: Usage) -> None:
    store.add_tasks([TASK])
    run, _ = store.begin(RUN, fresh=True)
    key, journal = CallKey(run.id, "rollout", 1, TASK.id, 2, 3), as_journal(store)
    assert await journal.reply(key, request) is None
    await journal.record(key, request, response, usage)
    assert await journal.reply(key, request) == response
    assert store.spent(run.id) == usage


@pytest.mark.parametrize("change", [{"stage": "x"}, {"step": 1}, {"task": "x"}, {"sample": 1}, {"retry": 1}])
async def test_each_part_of_the_key_tells_calls_apart(store: Store, run: Run, change: dict[str, Any]) -> None:
    key = CallKey(run.id, "rollout")
    await store.record(key, "hash", "{}", Usage(1))
    assert await store.reply(replace(key, **change), "hash") is None


async def test_what_another_process_has_committed_is_there_when_a_run_goes_on(store: Store, run: Run) -> None:
    key = CallKey(run.id, "rollout")
    assert await store.reply(key, "hash") is None
    with Store(store.path, create=False) as other:
        await other.record(key, "hash", "{}", Usage(1))
    store.begin(RUN)
    assert await store.reply(key, "hash") == "{}"


async def test_a_call_made_with_another_request_is_not_replied(store: Store, run: Run) -> None:
    key = CallKey(run.id, "rollout", task=TASK.id)
    await store.record(key, "hash", "{}", Usage(1))
    with pytest.raises(StoreError, match=f"rollout call .*{TASK.id}.*--fresh"):
        await store.reply(key, "another hash")


def test_how_many_alternatives_come_stays_known_where_a_run_did_not_look(store: Store) -> None:
    told = Backend(logit_bias="honoured", logprobs=True, alternatives=100)
    for seen, known in [
        (told, 100),
        (replace(told, alternatives=0, fractional=True), 100),
        (replace(told, alternatives=20), 20),
        (replace(told, logprobs=False, alternatives=0), 0),
    ]:
        store.add_probe("http://fake/v1", "m", seen)
        assert store.probes()["http://fake/v1"]["m"] == replace(seen, alternatives=known)


async def test_the_same_call_twice_is_one_and_another_response_is_refused(store: Store, run: Run) -> None:
    key = CallKey(run.id, "rollout")
    await store.record(key, "hash", "{}", Usage(1))
    await store.record(key, "hash", "{}", Usage(1))
    assert store.spent(run.id) == Usage(1)
    with pytest.raises(StoreError, match="another process"):
        await store.record(key, "hash", "[]", Usage(1))
    assert await store.reply(key, "hash") == "{}"


async def test_one_bad_record_takes_no_other_with_it(store: Store, run: Run) -> None:
    keys = [CallKey(run.id if sample % 5 else "run_nowhere", "rollout", sample=sample) for sample in range(40)]
    done = await asyncio.gather(
        *(store.record(key, "hash", str(key.sample), Usage(1)) for key in keys), return_exceptions=True
    )
    assert [isinstance(result, StoreError) for result in done[:6]] == [True, *[False] * 4, True]
    replies = [await store.reply(key, "hash") for key in keys]
    assert replies == [str(key.sample) if key.run == run.id else None for key in keys]


async def test_a_record_whose_caller_was_cancelled_is_committed(store: Store, run: Run) -> None:
    key = CallKey(run.id, "rollout")
    task = asyncio.ensure_future(store.record(key, "hash", "{}", Usage(1)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    store.add_tasks([])  # the writer works in order
    assert await store.reply(key, "hash") == "{}"


# Groups of rollouts


@given(st.data())
@properties
def test_a_group_comes_back_as_it_was(store: Store, data: st.DataObject) -> None:
    task = data.draw(tasks)
    store.add_tasks([task])
    run, _ = store.begin(replace(RUN, tasks=(task.id,)), fresh=True)
    step = data.draw(st.integers(0, 9))
    rollout = st.builds(
        Rollout,
        task=st.just(task),
        step=st.just(step),
        sample=st.integers(0, 99),
        prior=st.just("prior_0"),
        included=st.lists(texts, max_size=3).map(tuple),
        messages=messages,
        text=texts,
        reward=st.none() | st.floats(0, 1),
        error=st.none() | texts,
        finish_reason=texts,
        usage=usages,
        variant=texts,
        feedback=texts,
    )
    rollouts = data.draw(st.lists(rollout, unique_by=lambda rollout: rollout.sample, min_size=1, max_size=4))
    given = Group(task, step, tuple(sorted(rollouts, key=lambda rollout: rollout.sample)))
    store.add_group(run.id, given)
    assert store.groups(run.id) == (given,)


def test_a_resumed_run_replaces_its_group(store: Store, run: Run) -> None:
    store.add_group(run.id, group(None, 0.0, 1.0))
    store.add_group(run.id, group(1.0, 0.0))
    assert store.groups(run.id) == (group(1.0, 0.0),)


def test_groups_come_in_the_order_of_the_tasks_not_of_completion(store: Store) -> None:
    many = [Task(str(number)) for number in range(5)]
    store.add_tasks(many)
    run, _ = store.begin(replace(RUN, tasks=tuple(task.id for task in many)))
    expected = [group(1.0, step=step, task=task) for step in (0, 1) for task in many]
    for entry in sorted(expected, key=lambda entry: entry.task.id):
        store.add_group(run.id, entry)
    assert store.groups(run.id) == tuple(expected)


def test_the_arms_of_an_evaluation_are_told_apart_by_their_prior(store: Store, run: Run) -> None:
    arms = group(0.0, prior="prior_0"), group(1.0, prior="prior_1")
    for arm in arms:
        store.add_group(run.id, arm)
    assert store.groups(run.id) == arms


@pytest.mark.parametrize("bad", [group(), Group(TASK, 0, group(1.0).rollouts + group(1.0, prior="x").rollouts)])
def test_a_group_without_one_prior_is_refused(store: Store, run: Run, bad: Group) -> None:
    with pytest.raises(StoreError, match="must share one"):
        store.add_group(run.id, bad)


@pytest.mark.parametrize("rollouts", [1, 8])
def test_a_number_that_no_column_holds_is_told_in_one_line(store: Store, run: Run, rollouts: int) -> None:
    made = tuple(Rollout(TASK, 0, 2**70 + sample, "prior_0") for sample in range(rollouts))
    with pytest.raises(StoreError, match=r"adding the group of .*: a whole number in it has more than 64 bits"):
        store.add_group(run.id, Group(TASK, 0, made))


def test_half_a_surrogate_pair_from_a_model_loses_no_rollout(store: Store, run: Run) -> None:
    cut = Rollout(TASK, 0, 0, "prior_0", messages=({"content": "\ud83d"},), text="so \ud83d", error="\ud83d")
    store.add_group(run.id, Group(TASK, 0, (cut,)))
    assert store.groups(run.id)[0].rollouts == (replace(cut, text="so ?", error="?"),)


@pytest.mark.parametrize("length", [0, 2_000, 2_001, 100_000])
def test_a_long_answer_is_compressed_and_comes_back_whole(store: Store, run: Run, length: int) -> None:
    text = ("naïve 你好 " * 10_000)[:length]
    rollout = Rollout(TASK, 0, 0, "prior_0", messages=({"content": text},), text=text)
    store.add_group(run.id, Group(TASK, 0, (rollout,)))
    assert store.groups(run.id)[0].rollouts == (rollout,)
    ((shown, whole),) = found(store, "SELECT text, whole FROM rollouts")
    assert (shown == text) is (whole is None) is (length <= 2_000)
    assert len(shown) <= 2_001
    assert store.verify() == ()


# Experiences and priors


def test_an_experience_carries_the_latest_of_each_kind(store: Store) -> None:
    store.add_experiences("math", [EXPERIENCE])
    assert store.experiences("math") == (ExperienceStatus(EXPERIENCE, None, None),)
    effects = [Effect(EXPERIENCE.id, "run_a", step, step / 10, 0.1, 8) for step in (1, 2)]
    decisions = [Decision(EXPERIENCE.id, "on trial", "new", run="run_a"), Decision(EXPERIENCE.id, "kept", "it helps")]
    store.add_effects("math", effects)
    store.add_decisions("math", decisions)
    (status,) = store.experiences("math")
    assert (status.effect, status.decision) == (effects[-1], decisions[-1])
    assert status.experience.origin == EXPERIENCE.origin


def test_what_was_measured_here_comes_before_what_was_imported(store: Store, run: Run) -> None:
    own, foreign = Effect(EXPERIENCE.id, run.id, 1, 0.2, 0.1, 8), Effect(EXPERIENCE.id, "run_z", 3, 0.9, 0.1, 99)
    store.add_experiences("math", [EXPERIENCE])
    store.add_effects("math", [foreign])
    assert [(status.effect, status.imported) for status in store.experiences("math")] == [(foreign, True)]
    store.add_effects("math", [own])
    store.add_effects("math", [replace(foreign, step=4)])
    assert [(status.effect, status.imported) for status in store.experiences("math")] == [(own, False)]
    store.add_experiences("other", [EXPERIENCE])
    store.add_effects("other", [own])  # a run of this store, but of another namespace
    assert [status.imported for status in store.experiences("other")] == [True]
    shown = found(store, "SELECT namespace, mean, effect_imported FROM experience_list ORDER BY 1")
    assert shown == [("math", 0.2, 0), ("other", 0.2, 1)]


def test_each_namespace_has_its_own_view_of_an_experience(store: Store) -> None:
    elsewhere = replace(EXPERIENCE, origin=Origin("run_z", 0, ("task_z",)))
    store.add_experiences("math", [EXPERIENCE])
    store.add_experiences("support", [elsewhere])
    store.add_decisions("support", [Decision(EXPERIENCE.id, "refused", "a secret")])
    (here,), (there,) = store.experiences("math"), store.experiences("support")
    assert (here.experience.origin, here.decision) == (EXPERIENCE.origin, None)
    assert there.experience.origin == elsewhere.origin


def test_what_a_resumed_run_repeats_is_not_doubled(store: Store) -> None:
    trial = Decision(EXPERIENCE.id, "on trial", "new", run="run_a", step=1)
    retired = Decision(EXPERIENCE.id, "retired", "it harms", run="run_a", step=2)
    effect = Effect(EXPERIENCE.id, "run_a", 1, -0.1, 0.1, 8)
    for _ in range(2):
        store.add_experiences("math", [EXPERIENCE])
        for decision in (trial, retired):
            store.add_decisions("math", [decision])
        store.add_effects("math", [effect])
    (status,) = store.experiences("math")
    assert status.decision == retired
    rows = store.info().rows
    assert (rows["origins"], rows["decisions"], rows["effects"]) == (1, 2, 1)


def test_a_person_may_decide_the_same_again(store: Store) -> None:
    store.add_experiences("math", [EXPERIENCE])
    for verdict in ("refused", "on trial", "refused"):
        store.add_decisions("math", [Decision(EXPERIENCE.id, verdict, "second thoughts", by="ann")])
    (status,) = store.experiences("math")
    assert status.decision is not None
    assert status.decision.verdict == "refused"


def test_experiences_come_in_the_order_they_were_added(store: Store) -> None:
    many = [Experience(str(number)) for number in range(20)]
    for start in (0, 10, 5):
        store.add_experiences("math", many[start : start + 10])
    assert [status.experience for status in store.experiences("math")] == many


@pytest.mark.parametrize("noun", ["effects", "decisions"])
def test_evidence_for_an_unknown_experience_is_refused(store: Store, noun: str) -> None:
    with pytest.raises(StoreError, match="not added before"):
        if noun == "effects":
            store.add_effects("math", [Effect("exp_x", "run_a", 0, 0.0, 0.1, 1)])
        else:
            store.add_decisions("math", [Decision("exp_x", "kept", "")])


def test_loading_the_live_prior_takes_as_many_steps_however_many_rollouts_there_are(store: Store, run: Run) -> None:
    store.add_experiences("math", [EXPERIENCE])
    store.add_prior(PRIOR)
    store.set_state("math", PRIOR.id, "live", frame=FRAME)
    before = steps(store)
    for step in range(100):
        store.add_group(run.id, Group(TASK, step, tuple(Rollout(TASK, step, n, PRIOR.id) for n in range(8))))
    assert steps(store) == before


def steps(store: Store) -> int:
    """Instructions that SQLite's machine takes to load the live prior."""
    taken = []
    connection = file_engine(store)._db.conn
    connection.set_progress_handler(lambda: taken.append(1), 1)
    assert store.live("math") is not None
    connection.set_progress_handler(None, 1)
    return len(taken)


def test_an_effect_that_is_no_number_is_refused(store: Store) -> None:
    store.add_experiences("math", [EXPERIENCE])
    with pytest.raises(StoreError, match=r"effects\.mean"):
        store.add_effects("math", [Effect(EXPERIENCE.id, "run_a", 0, float("nan"), 0.1, 1)])


@given(priors)
@properties
def test_a_prior_comes_back_as_it_was(store: Store, prior: Prior) -> None:
    store.add_prior(prior)
    found = store.prior(prior.id)
    assert (found, found.id) == (prior, prior.id)
    assert [entry.task for entry in found.demonstrations] == [entry.task for entry in prior.demonstrations]


def test_a_prior_is_never_overwritten(store: Store) -> None:
    store.add_prior(PRIOR)
    store.add_prior(replace(PRIOR, parent="prior_z", biases=(TokenBias(7, b"x", 0.5, -3.0, 1),)))
    found = store.prior(PRIOR.id)
    assert (found, found.parent) == (PRIOR, "prior_0")


def test_a_prior_knows_where_its_experiences_came_from(store: Store) -> None:
    store.add_experiences("math", [EXPERIENCE])
    store.add_prior(PRIOR)
    assert store.prior(PRIOR.id).experiences[0].origin == EXPERIENCE.origin


# Ways to prompt


@given(st.lists(st.tuples(variants, st.integers(0, 2**40)), unique_by=lambda entry: entry[0].id, max_size=4))
@properties
def test_variants_come_back_as_they_were_in_the_order_they_came(store: Store, raced: list[tuple[Variant, int]]) -> None:
    store.add_tasks([TASK])
    run, _ = store.begin(RUN, fresh=True)
    store.add_variants(run.id, raced)
    found = store.variants(run.id)
    assert found == tuple(raced)
    tasks_of = [[entry.task for entry in variant.demonstrations] for variant, _ in found]
    assert tasks_of == [[entry.task for entry in variant.demonstrations] for variant, _ in raced]


@pytest.mark.parametrize("asked", ["영수증을 다시 보내 주세요", "أين فاتورتي؟", "def f(x):\n\treturn x ** 2  # '\"%s"])
def test_a_demonstration_in_any_language_comes_back_as_it_was(store: Store, run: Run, asked: str) -> None:
    raced = Variant(asked, (Demonstration(asked, f"{asked}!", "task_1"),), source=asked)
    store.add_variants(run.id, [(raced, 7)])
    store.add_prior(Prior(instruction=asked, demonstrations=raced.demonstrations))
    ((found, tokens),) = store.variants(run.id)
    assert (found, found.source, found.demonstrations[0].task, tokens) == (raced, asked, "task_1", 7)
    assert store.verify() == ()


def test_a_resumed_run_adds_its_variants_once(store: Store, run: Run) -> None:
    raced = [(Variant(source="frozen"), 0), (Variant("Count.", source="written 1"), 5)]
    for _ in range(2):
        store.add_variants(run.id, raced)
    store.add_variants(run.id, [(Variant("Think."), 6)])
    assert [variant.source for variant, _ in store.variants(run.id)] == ["frozen", "written 1", ""]
    assert store.variants("run_other") == ()


def test_what_an_exploration_added_races_in_the_runs_of_its_namespace_that_begin_later(store: Store, run: Run) -> None:
    store.add_variants(run.id, [(Variant("Count.", source="written 1"), 5)])
    assert store.explored_variants(run.id) == ()
    explored = replace(RUN, kind="explore", settings={"environment": "rooms"})
    for place, one in enumerate(("first", "last")):
        other, _ = store.begin(replace(explored, attempt=0, settings={"seed": place}), fresh=True)
        store.add_variants(other.id, [(Variant(demonstrations=(Demonstration(one, "b", "task_1"),)), 5)])
        time.sleep(0.002)
    later, _ = store.begin(replace(RUN, settings={"seed": 7}), fresh=True)
    elsewhere, _ = store.begin(replace(RUN, namespace="other"), fresh=True)
    (found,) = store.explored_variants(later.id)
    assert found.demonstrations == (Demonstration("last", "b", "task_1"),)
    assert store.explored_variants(run.id) == (), "a resumed run does the same again"
    assert store.explored_variants(elsewhere.id) == ()
    again, _ = store.begin(replace(explored, settings={"seed": 2}), fresh=True)
    store.add_variants(again.id, [(Variant("Count."), 5), (Variant("Think."), 5)])
    time.sleep(0.002)
    last, _ = store.begin(replace(RUN, settings={"seed": 8}), fresh=True)
    assert len(store.explored_variants(last.id)) == 2, "all that one exploration has added"


def test_variants_of_a_run_that_was_not_begun_are_refused_whole(store: Store) -> None:
    with pytest.raises(StoreError, match="not added before"):
        store.add_variants("run_x", [(Variant(demonstrations=(Demonstration("a", "b"),)), 5)])
    assert store.info().rows["demonstrations"] == 0


def test_rollouts_are_seen_under_their_variant(store: Store, run: Run) -> None:
    raced = Variant("Count.", source="written 1")
    store.add_variants(run.id, [(raced, 5)])
    rollouts = [Rollout(TASK, 0, n, "prior_0", reward=float(n), variant=raced.id if n else "") for n in range(2)]
    store.add_group(run.id, Group(TASK, 0, tuple(rollouts)))
    assert found(store, "SELECT sample, variant_source FROM rollout_list ORDER BY 1") == [(0, None), (1, "written 1")]
    assert found(store, "SELECT source, rollouts, mean FROM variant_list") == [("written 1", 1, 1.0)]


# The lineage of a namespace


def test_nothing_is_live_before_something_was_learned(store: Store) -> None:
    assert store.live("math") is None
    assert store.namespaces() == ()


@pytest.mark.parametrize("state", ["live", "ungated"])
def test_a_live_prior_is_served_with_its_frame(store: Store, state: PriorState) -> None:
    store.add_prior(PRIOR)
    store.set_state("math", PRIOR.id, state, frame=FRAME)
    snapshot = store.live("math")
    assert snapshot is not None
    assert (snapshot.namespace, snapshot.prior, snapshot.state, snapshot.frame) == ("math", PRIOR, state, FRAME)
    assert store.namespaces() == (Namespace("math", "m"),)


def test_a_prior_that_goes_live_supersedes_the_one_before(store: Store) -> None:
    for prior in (PRIOR, OTHER):
        store.add_prior(prior)
        store.set_state("math", prior.id, "ungated", frame=FRAME, run=f"run of {prior.id}")
    events = [(entry.prior, entry.state) for entry in store.lineage("math")]
    assert events == [(PRIOR.id, "ungated"), (OTHER.id, "ungated"), (PRIOR.id, "superseded")]
    assert store.lineage("math")[-1].why == f"{OTHER.id} is ungated"


def test_a_resumed_run_repeats_no_event_and_undoes_no_later_one(store: Store) -> None:
    for prior in (PRIOR, OTHER):
        store.add_prior(prior)
        store.set_state("math", prior.id, "live", frame=FRAME, run=f"run of {prior.id}")
    before = store.lineage("math")
    store.set_state("math", PRIOR.id, "live", frame=FRAME, run=f"run of {PRIOR.id}")
    assert store.lineage("math") == before


def test_a_rollback_is_a_new_event(store: Store) -> None:
    for prior in (PRIOR, OTHER):
        store.add_prior(prior)
        store.set_state("math", prior.id, "live", frame=FRAME)
    store.set_state("math", OTHER.id, "rolled back", frame=FRAME, by="ann", why="worse on Mondays")
    assert store.live("math") is None
    store.set_state("math", PRIOR.id, "live", frame=FRAME, by="ann")
    snapshot = store.live("math")
    assert snapshot is not None
    assert snapshot.prior == PRIOR
    assert len(store.lineage("math")) == 5


def test_learning_the_live_prior_again_keeps_it_live(store: Store) -> None:
    store.add_prior(PRIOR)
    store.set_state("math", PRIOR.id, "live", frame=FRAME, run="run_a")
    for state in ("candidate", "canary", "rejected"):
        store.set_state("math", PRIOR.id, state, frame=FRAME, run="run_b")
    store.set_state("math", PRIOR.id, "live", frame=FRAME, run="run_c")
    assert store.live("math") is not None
    assert [entry.state for entry in store.lineage("math")].count("superseded") == 0


def test_namespaces_do_not_touch_each_other_and_keep_their_first_model(store: Store) -> None:
    store.add_prior(PRIOR)
    store.set_state("math", PRIOR.id, "live", frame=FRAME)
    store.set_state("math", PRIOR.id, "live", frame=replace(FRAME, model="another"))
    store.add_experiences("support", [EXPERIENCE])
    assert store.live("support") is None
    assert store.namespaces() == (Namespace("math", "m"), Namespace("support", None))


def test_a_prior_that_was_not_added_cannot_go_live(store: Store) -> None:
    with pytest.raises(StoreError, match="not added before"):
        store.set_state("math", "prior_x", "live", frame=FRAME)
    assert store.lineage("math") == ()
