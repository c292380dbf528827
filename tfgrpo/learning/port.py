"""A prior that survives its model: the prior of one namespace tried on another model, part by part, and gated there.

What was learned is known to help on the old model; whether it does on the new one is measured. Its parts (all of it;
without the token prior; without experiences; the way to prompt alone; the token prior alone) are tried beside the
frozen model on tasks that taught (`screening`), and where answers can be listed, so are tokens fitted anew. What is
known of the whole prior on the old model, shrunk by what earlier ports kept of their effect (TRANSFER before there were
any), is the mean that each part's effect starts from: with d the mean difference on the new model, v its variance over
tasks, m = transfer * (effect on the old model) and PRIOR_SD its uncertainty,

    effect = (d / v + m / PRIOR_SD^2) / (1 / v + 1 / PRIOR_SD^2).

The part with the largest effect above zero is the candidate, and the gate of the new namespace decides. The token prior
comes over by the bytes of its tokens, whole or not at all; offsets of decisions are calibrated to their model and stay
behind: they take one call a task to learn anew.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..evaluation.arms import Evaluation
from ..gate.promote import Promotion, promote, untested
from ..gate.trial import Candidacy, MakeExecutor
from ..model.endpoints import Endpoints, Upstreams
from ..observer import Observer, Watch
from ..probe.backend import fitted, probe, usable
from ..records import JSON, Backend, Prior, Run, Snapshot, Task, Usage
from ..rollouts.executor import Executor
from ..rollouts.group import executors
from ..rollouts.rewards.built_in import reward_of
from ..rollouts.rewards.reward import Reward
from ..settings import Settings
from ..store import SERVING, Store
from ..surfaces.surface import way_of
from ..text import counted
from ..token_prior.verbalised import with_tokens_in_words
from ..trials import task_set_id
from .plan import Notes, ending
from .screening import Screening
from .transfer import expected_effect, known_effect, learned_transfer, parts

if TYPE_CHECKING:
    from ..token_prior.listing import Listing


_ANEW = "learn it anew, for few calls: tfgrpo learn --surface decisions QUESTION.json TASKS --model MODEL"


@dataclass(frozen=True, slots=True)
class WantedPort:
    """What is to be tried on which model, as it was said."""

    namespace: str
    endpoints: Endpoints
    into: str | None = None
    """The namespace of the new model; None: that of the old one with the model's name after an @."""
    gated: bool = True
    settings: Settings = field(default_factory=Settings)

    def prepared(self, store: Store) -> "PreparedPort":
        """All that it needs, from the store; raises InputError where there is nothing to try, or to try it on."""
        snapshot = store.live(self.namespace)
        if snapshot is None:
            raise InputError(f"no prior is live in namespace {self.namespace}; tfgrpo learn makes one")
        if not (snapshot.prior.has_text or snapshot.prior.biases):
            raise InputError(
                f"{snapshot.prior.id} holds offsets of decisions alone, which belong to their model; {_ANEW}"
            )
        run = _run_behind(store, self.namespace)
        reward, name = reward_of(run.reward, ())
        held = store.held_out(self.namespace, "validation").get(str(run.settings.get("validation")), ())
        return PreparedPort(
            self, snapshot, run, reward, name, store.tasks(run.tasks), store.tasks(held), self.endpoints
        )


def _run_behind(store: Store, namespace: str) -> Run:
    """The last run that learned in a namespace: its tasks are what the prior is tried on."""
    runs = [entry.run for entry in store.runs(namespace) if entry.run.kind == "learn" and entry.run.tasks]
    chats = [run for run in runs if run.settings.get("surface") != "decisions"]
    if runs and not chats:
        raise InputError(f"what is live in namespace {namespace} was learned of a question of decisions; {_ANEW}")
    if not chats:
        raise InputError(
            f"no run of this store has learned in namespace {namespace}, so there are no tasks to try its prior on; on"
            " the new model: tfgrpo learn TASKS --model MODEL, after tfgrpo prior import"
        )
    if agent := chats[-1].settings.get("agent"):
        raise InputError(
            f"what is live in namespace {namespace} was learned by the agent {agent}, and a port asks each task by one"
            " call, which tells nothing of it; on the new model: tfgrpo learn TASKS --agent ... --model MODEL, after"
            " tfgrpo prior export and import"
        )
    return chats[-1]


@dataclass(frozen=True, slots=True)
class PreparedPort:
    """What is tried, on what."""

    wanted: WantedPort
    snapshot: Snapshot
    learned: Run
    """The run whose tasks it is tried on."""
    reward: Reward
    reward_name: str
    train: tuple[Task, ...]
    validation: tuple[Task, ...]
    endpoints: Endpoints

    @contextmanager
    def started(self) -> "Iterator[PreparedPort]":
        """The same with the name of the new model; starts the embedded one, and stops it on exit."""
        with self.endpoints.started() as there:
            yield replace(self, endpoints=there)

    @property
    def into(self) -> str:
        """The namespace of the new model."""
        return self.wanted.into or f"{self.wanted.namespace}@{self.endpoints.own.name}"

    async def port(self, store: Store, watch: Watch) -> "Ported":
        """Try it, and make it live there if the gate says so; goes on where it was interrupted."""
        async with self.endpoints.opened(self.wanted.settings, store) as to:
            with watch(lambda: to.usage) as observer:
                return await _Port(self, store, to, observer).carried_out()


@dataclass(frozen=True, slots=True)
class Ported:
    """What came of it."""

    run: Run
    namespace: str
    effects: Mapping[str, float]
    """Of each part on the new model, in reward units, what was known of it included."""
    measured: Evaluation
    chosen: str
    """The part that became the candidate; empty where none is expected to help."""
    candidate: Prior | None
    promotion: Promotion | None
    usage: Usage
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, JSON]:
        """The figures."""
        whole = self.measured.differences.get("whole - frozen")
        return {
            "run": self.run.id,
            "namespace": self.namespace,
            "chosen": self.chosen,
            "effects": dict(self.effects),
            "means": dict(self.measured.means),
            "candidate": self.candidate.id if self.candidate else None,
            "state": self.promotion.state if self.promotion else None,
            "changed": self.promotion is not None and self.promotion.state in SERVING,
            "gate": self.promotion.as_json() if self.promotion and self.promotion.trial else None,
            "measured": whole.mean if whole else None,
            "usage": asdict(self.usage),
            "notes": list(self.notes),
        }


class _Port:
    """One port: begun or taken up, screened, gated and written down."""

    def __init__(self, prepared: PreparedPort, store: Store, to: Upstreams, observer: Observer) -> None:
        self._prepared, self._store, self._to, self._observer = prepared, store, to, observer
        self._notes = Notes(observer)
        self._frame = replace(prepared.snapshot.frame, model=prepared.endpoints.own.name)
        self._settings = prepared.wanted.settings

    async def carried_out(self) -> Ported:
        """What came of it, which is in the store too."""
        known = known_effect(self._store, self._prepared.snapshot)
        run = self._begun(known)
        with ending(self._store, run):
            backend = await probe(self._to.own, self._frame.model, run=run.id)
            self._store.add_probe(self._to.own.key, self._frame.model, backend)
            tried = parts(await self._brought_over(backend, run))
            async with executors(None, self._to.own, self._settings, self._store) as make:

                def executor(stage: str, seed: int, top_logprobs: int = 0) -> Executor:
                    return make(self._frame, backend, run=run.id, stage=stage, seed=seed, top_logprobs=top_logprobs)

                screening = Screening(self._to.own, run, backend, self._prepared.reward, settings=self._settings)
                measured, tried, effects = await self._screened(screening, tried, executor, known)
                chosen = max(effects, key=lambda name: effects[name], default="")
                candidate = tried[chosen] if chosen and effects[chosen] > 0 else None
                listing = screening.listing
                promotion = await self._promoted(run, candidate, backend, executor, listing) if candidate else None
            usage = self._store.spent(run.id)
        found = Ported(
            run,
            run.namespace,
            effects,
            measured,
            chosen if candidate else "",
            candidate,
            promotion,
            usage,
            tuple(self._notes.lines),
        )
        self._store.end(run.id, "finished", usage, found.as_json())
        return found

    def _begun(self, known: float) -> Run:
        prepared, live = self._prepared, self._store.live(self._prepared.into)
        settings: dict[str, JSON] = {"ported": prepared.snapshot.prior.id, "from": prepared.wanted.namespace}
        settings |= {"known_effect": float(known), "seed": self._settings.seed, "gated": prepared.wanted.gated}
        if prepared.validation:
            settings["validation"] = task_set_id(task.id for task in prepared.validation)
        tasks, parent = tuple(task.id for task in prepared.train), live.prior.id if live else None
        wanted = Run("learn", prepared.into, self._frame, settings, tasks, prepared.reward_name, parent)
        run, _ = self._store.begin(wanted)
        if prepared.validation:
            self._store.hold_out(run.id, "validation", [task.id for task in prepared.validation])
        for split, ids in self._store.held_out(prepared.wanted.namespace, "test").items():
            if split == prepared.learned.settings.get("test"):
                self._store.hold_out(run.id, "test", ids)
        self._to.budget.carry([(self._frame.model, self._store.spent(run.id))])
        return run

    async def _brought_over(self, backend: Backend, run: Run) -> Prior:
        """The prior with what of it can be used here at all, which may be nothing."""
        prior = self._prepared.snapshot.prior
        if prior.questions:
            self._notes.note("offsets of decisions stay behind: learn them anew, with one call a task")
        prior, told = await fitted(
            replace(prior, questions=(), parent=None), self._to.own, backend, self._frame.model, run=run.id
        )
        if told:
            self._notes.note(told)
        labels = self._frame.labels
        if prior.biases and labels and way_of(backend, labels) == "none":
            self._notes.note("no token prior can act here: what it does to the labels is said in words")
            return with_tokens_in_words(prior, labels)
        return usable(prior, backend, self._to.own, self._observer, self._frame.labels)

    async def _screened(
        self, screening: Screening, tried: Mapping[str, Prior], executor: MakeExecutor, known: float
    ) -> tuple[Evaluation, dict[str, Prior], dict[str, float]]:
        """Each part beside the frozen model, on some of the tasks that taught; and all that is now tried, by effect."""
        await screening.look(self._prepared.train)
        if not (tried or screening.fits_tokens):
            raise InputError(f"nothing of {self._prepared.snapshot.prior.id} can be used on {self._frame.model}")
        arms, seed = {"frozen": Prior(), **tried}, self._settings.seed
        drawn = screening.drawn(self._prepared.train, len(arms))
        made = {arm: executor(f"rollout port {arm}", seed, screening.alternatives(each)) for arm, each in arms.items()}
        measured = await screening.measured(arms, drawn, made, self._observer)
        known *= learned_transfer(self._store)
        effects, frozen = self._effects(tried, measured, known), _by_task(measured, "frozen")
        anew = await screening.fitted_anew(arms, drawn, measured)
        means = {name: float(np.mean(list(one.rewards.values()))) for name, one in anew.items()}
        measured = replace(measured, means={**measured.means, **means})
        for name, one in anew.items():
            gains = [reward - frozen[task] for task, reward in one.rewards.items() if task in frozen]
            effects[name] = expected_effect(gains, known / 2)
            self._notes.note(f"{name}: {100 * float(np.mean(gains)):+.1f} points on {counted(len(gains), 'task')}")
        return measured, {**tried, **{name: one.prior for name, one in anew.items()}}, effects

    def _effects(self, tried: Mapping[str, Prior], measured: Evaluation, known: float) -> dict[str, float]:
        """The effect of each part; only of the whole is anything known, of the others half as much."""
        frozen = _by_task(measured, "frozen")
        return {
            name: expected_effect(
                [reward - frozen[task] for task, reward in _by_task(measured, name).items() if task in frozen],
                known if name == "whole" else known / 2,
            )
            for name in tried
        }

    async def _promoted(
        self, run: Run, candidate: Prior, backend: Backend, executor: MakeExecutor, listing: "Listing | None"
    ) -> Promotion | None:
        settings, prepared = self._settings, self._prepared
        origin = f", ported from {prepared.snapshot.prior.id} of {prepared.snapshot.frame.model}"
        if not (prepared.wanted.gated and prepared.validation):
            return untested(run, candidate, self._frame, self._store, origin)
        candidacy = Candidacy.under(
            settings, run, candidate, tasks=prepared.validation, reward=prepared.reward, frame=self._frame
        )
        return await promote(
            replace(candidacy, listing=listing),
            self._store,
            executor,
            self._observer,
            budget=self._to.budget,
            usable=lambda prior: usable(prior, backend, self._to.own, self._observer, self._frame.labels),
            origin=origin,
        )


def _by_task(measured: Evaluation, arm: str) -> dict[str, float]:
    """The mean reward of each task under an arm."""
    rewards: dict[str, list[float]] = {}
    for rollout in measured.rollouts[arm]:
        if rollout.reward is not None:
            rewards.setdefault(rollout.task.id, []).append(rollout.reward)
    return {task: float(np.mean(found)) for task, found in rewards.items()}
