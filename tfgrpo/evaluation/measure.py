"""One evaluation, begun as a run of the store and ended there; the same one goes on where it was interrupted."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..errors import BudgetEnded, TfgrpoError
from ..experiences.distil import Distiller
from ..experiences.write import written_template
from ..model.budget import Budget
from ..model.upstream import Upstream
from ..observer import Observer
from ..probe.backend import fitted, probe, usable, with_alternatives
from ..prompts import template
from ..records import JSON, Backend, Frame, Prior, Run, Task
from ..rollouts.executor import SAMPLERS_OFF, is_short
from ..rollouts.group import executors, told_of_chunks
from ..rollouts.rewards.reward import Reward, asking
from ..settings import Settings
from ..store import Store
from ..surfaces.chat import token_count
from ..text import counted
from .arms import Evaluation, compare_arms
from .few_shot_arm import few_shot_prior
from .moment_arms import moment_arms, with_moments
from .written_arm import write_from_tasks

if TYPE_CHECKING:
    from ..rollouts.agents import Agent
    from .exact import ExactArms


@dataclass(frozen=True, slots=True)
class Measurement:
    """What is to be measured, and how."""

    tasks: tuple[Task, ...]
    reward: Reward
    reward_name: str
    frame: Frame
    prior: Prior
    namespace: str = "default"
    repeats: int = 4
    seed: int = 0
    agent: "Agent | None" = None
    """What makes the rollouts; None: one chat call each."""
    settings: Settings = field(default_factory=Settings)
    """How many agents run at once, and for how long; the distiller's limits; whether rewards are clipped."""
    sources: tuple[Task, ...] = ()
    """Tasks from which the distiller writes experiences directly, for an arm of their own; none: no such arm."""
    shown: tuple[Task, ...] = ()
    """Tasks of which some are shown as examples, for an arm of their own; none: no such arm."""
    distiller: str | None = None
    """Name of the model that writes them; None: the model itself."""
    moments: Mapping[str, float] = field(default_factory=dict)
    """Texts that wait for a moment, and at which share of turns it comes, for arms of their own; none: no such arms."""
    opened: Mapping[str, int] = field(default_factory=dict)
    """Test splits that this opens, by id: how many of their tasks are measured."""


async def measure(
    wanted: Measurement,
    store: Store,
    upstream: Upstream,
    observer: Observer,
    *,
    distiller: Upstream | None = None,
    budget: Budget | None = None,
) -> Evaluation:
    """The arms under the settings of learning; goes on where the same measurement was interrupted.

    `upstream` journals to `store` under `budget`, and so does `distiller`, where experiences are written elsewhere.
    Raises as `compare_arms` does, UpstreamError when no call can succeed, and BudgetEnded: a larger one goes on.
    """
    store.add_tasks(wanted.tasks)
    store.add_prior(wanted.prior)
    run, _ = store.begin(_run_of(wanted))
    if budget:
        _carry(wanted, run, store, budget)
    for split, tasks in wanted.opened.items():
        _open(store, run, split, tasks, observer)
    reward = asking(wanted.reward, distiller or upstream, wanted.distiller or wanted.frame.model, run.id)
    with ended_in_store(run, store, "before all rollouts were made, so nothing was compared"):
        result = await _compared(replace(wanted, reward=reward), run, store, upstream, observer, distiller=distiller)
    for note in upstream.adapted.notes:
        observer.note(note)
    store.end(run.id, "finished", store.spent(run.id), result.as_json())
    return result


async def _compared(
    wanted: Measurement, run: Run, store: Store, upstream: Upstream, observer: Observer, *, distiller: Upstream | None
) -> Evaluation:
    """The arms that this upstream can honour, rolled out and compared."""
    backend = await probe(upstream, wanted.frame.model, run=run.id)
    if wanted.settings.bounded:
        from ..probe.goes_on import with_way_on

        backend = await with_way_on(upstream, backend, wanted.frame, run=run.id)
    store.add_probe(upstream.key, wanted.frame.model, backend)
    prior, moved = await fitted(wanted.prior, upstream, backend, wanted.frame.model, run=run.id)
    if moved:
        observer.note(moved)
    if told := told_of_chunks(wanted.settings, backend, upstream.name):
        observer.note(told)
    own = distiller is None and wanted.distiller in (None, wanted.frame.model)
    writer = _distiller(wanted, run, distiller or upstream, backend if own else None)
    learned = usable(prior, backend, upstream, observer, wanted.frame.labels)
    count = token_count(upstream.tokenizer)
    beside = {**await _written(wanted, writer, observer), **await _few_shot(wanted, learned, count, observer)}
    priors = {"frozen": Prior(), **beside, **moment_arms(learned, wanted.moments), "learned": learned}
    async with executors(wanted.agent, upstream, wanted.settings, store) as make:
        arms = {arm: make(wanted.frame, backend, run=run.id, stage=f"eval {arm}", seed=wanted.seed) for arm in priors}
        exact = await _exact(wanted, run, store, upstream, backend, observer=observer)
        found = await compare_arms(
            {arm: exact.executor(arm, sampled) for arm, sampled in arms.items()} if exact else arms,
            priors,
            wanted.tasks,
            wanted.reward,
            repeats=wanted.repeats,
            observer=observer,
            clip=wanted.settings.clip_rewards,
            known=exact.known if exact else None,
        )
    if not wanted.moments:
        return found
    return with_moments(found, store, run.id, priors, wanted.moments)


async def _exact(
    wanted: Measurement, run: Run, store: Store, upstream: Upstream, backend: Backend, *, observer: Observer
) -> "ExactArms | None":
    """What lists the answers of arms, and says so; None where they are sampled."""
    settings, begun = wanted.settings, store.spent_by_stage(run.id)
    if settings.exact_groups == "off" or wanted.agent or settings.bounded or not is_short(wanted.frame):
        return None
    from ..token_prior.exact import COVERED
    from ..token_prior.listing import Listing, unlistable
    from .exact import LISTING_STAGE, ExactArms

    sampled = any(stage.startswith("eval ") for stage in begun) and not any(
        one.startswith(LISTING_STAGE) for one in begun
    )
    unheeded = "temperature" in upstream.dropped  # what is listed tells nothing of how such a one samples
    if sampled or unheeded or unlistable(wanted.frame, backend, wanted.reward):  # a run goes on as it began
        return None
    backend = await with_alternatives(upstream, backend, wanted.frame.model, run=run.id)
    listing = Listing(upstream, wanted.frame, backend, wanted.reward)
    exact = ExactArms(listing, run.id, wanted.frame.temperature, repeats=wanted.repeats, seed=wanted.seed)
    least = await exact.look(wanted.tasks)
    if least < COVERED:
        observer.note(f"answers are sampled: only {least:.0%} of some could be listed ({COVERED:.0%} are needed)")
        return None
    observer.note(f"exact: {least:.1%} or more of all answers to a task are listed by a call, in place of sampling")
    return exact


@contextmanager
def ended_in_store(run: Run, store: Store, lost: str) -> Iterator[None]:
    """Write down how a run ended that did not finish; `lost` says what a budget that ended it took from it."""
    try:
        yield
    except asyncio.CancelledError:
        store.end(run.id, "interrupted", store.spent(run.id), {})
        raise
    except BudgetEnded as ended:
        told = f"{ended} {lost}"
        store.end(run.id, "out of budget", store.spent(run.id), {"error": told})
        raise BudgetEnded(told) from ended
    except TfgrpoError as error:
        store.end(run.id, "failed", store.spent(run.id), {"error": str(error)})
        raise


def _carry(wanted: Measurement, run: Run, store: Store, budget: Budget) -> None:
    """Count what earlier starts of the run have spent, by the model that it was spent on."""
    name, spent = wanted.frame.model, store.spent_by_stage(run.id).items()
    budget.carry((wanted.distiller or name if stage == "written" else name, usage) for stage, usage in spent)


def _run_of(wanted: Measurement) -> Run:
    settings: dict[str, JSON] = {"repeats": wanted.repeats, "seed": wanted.seed}
    settings |= {"agent": wanted.agent.name} if wanted.agent else {}
    settings |= {"clip_rewards": True} if wanted.settings.clip_rewards else {}
    settings |= {"bounded": wanted.settings.bounded} if wanted.settings.bounded else {}
    if wanted.sources:
        sources = [task.id for task in wanted.sources]
        settings["written"] = [written_template().version, wanted.distiller, wanted.settings.ground_truth, sources]
    if wanted.shown:
        settings["few_shot"] = [task.id for task in wanted.shown]
    settings |= {"moments": dict(wanted.moments)} if wanted.moments else {}
    ids = tuple(task.id for task in wanted.tasks)
    return Run("eval", wanted.namespace, wanted.frame, settings, ids, wanted.reward_name, wanted.prior.id)


def _open(store: Store, run: Run, split: str, tasks: int, observer: Observer) -> None:
    """Write down that a test split is opened, and say how often it was before."""
    before = sum(entry.task_set == split and entry.run != run.id for entry in store.openings(run.namespace))
    store.open_test(run.id, split, tasks)
    often = f"; it was opened {counted(before, 'time')} before" if before else ""
    observer.note(f"measuring {counted(tasks, 'task')} of the test split {split}{often}")


def _distiller(wanted: Measurement, run: Run, model: Upstream, backend: Backend | None) -> Distiller:
    """What writes; `backend` is what was seen of its model, if it is the one that is measured."""
    return Distiller(
        model,
        wanted.distiller or wanted.frame.model,
        run.id,
        wanted.settings,
        request=SAMPLERS_OFF.get(backend.kind, {}) if backend else {},
        system_role=backend is None or backend.system_role != "rejected",
    )


async def _written(wanted: Measurement, distiller: Distiller, observer: Observer) -> dict[str, Prior]:
    """The arm whose prior is written from the tasks alone; none, and said so, where nothing usable is written."""
    if not wanted.sources:
        return {}
    found = await write_from_tasks(distiller, wanted.sources, wanted.prior)
    for line in found.refused:
        observer.note(f"written, and not admitted: {line}")
    if found.failure:
        observer.note(f"the arm `written` is left out: {found.failure}")
        return {}
    return {"written": Prior(found.experiences, template=template("prior").version)}


async def _few_shot(
    wanted: Measurement, learned: Prior, count: Callable[[str], int], observer: Observer
) -> dict[str, Prior]:
    """The arm of training examples at the length of the learned prior; none, and said so, where none can be shown."""
    if not wanted.shown:
        return {}
    found = await few_shot_prior(wanted.shown, learned, wanted.reward, wanted.settings, seed=wanted.seed, count=count)
    if isinstance(found, str):
        observer.note(f"the arm `few-shot` is left out: {found}")
        return {}
    return {"few-shot": found}
