"""A prior that survives its model: the prior of one namespace tried on another model, and gated there.

What was learned is known to help on the old model; whether it does on the new one is measured, by a learning run that
is short: the ways to prompt that the prior holds race beside the frozen model and what is free (`transfer`) on the
tasks that taught it, one visit to each; after two thirds of them those that trail leave. Tokens are fitted to the
answers of the winner, and the gate of the new namespace decides. No model is asked to propose anything.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import ceil

from ..errors import InputError
from ..gate.promote import Promotion
from ..model.endpoints import Endpoints
from ..observer import Watch, last_looks
from ..records import JSON, Frame, Prior, Run, Task, Usage
from ..rollouts.rewards.built_in import reward_of
from ..rollouts.rewards.reward import asks_for_decisions
from ..settings import Settings
from ..store import Store
from ..trials import Role
from .plan import Plan
from .result import LearningResult
from .run import carry_out
from .transfer import WHOLE, Ported, known_effect

ROLLOUTS, FEWEST, MOST = 72, 3, 8
"""Rollouts in all, so that six ways to prompt can be calibrated before half of them leave; and those of each task."""
PASSES = 8
"""Of the gate at most: what comes over with a small effect is better learned anew."""
_AS_LEARNED = ("clip_rewards", "overlong", "bounded", "prior_tokens")
"""Settings by which the prior was learned, without which its answers or rewards would be others."""
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
        _refuse_what_stays_behind(snapshot.prior)
        run = _run_behind(store, self.namespace)
        if self.gated and "validation" not in run.settings:
            raise InputError(
                f"learning in namespace {self.namespace} kept no tasks from its last run for the gate, so nothing can"
                " show that its prior helps on another model; to make it live there untested: --gate none"
            )
        reward, name = reward_of(run.reward, ())
        tasks = store.tasks(run.tasks)
        plan = Plan(
            tasks,
            reward,
            name,
            _frame(snapshot.frame, run.frame),
            settings=_settings(self.settings, run, snapshot.frame, len(tasks)),
            validation=_held_out(store, run, "validation") if self.gated else (),
            test=_held_out(store, run, "test"),
            ported=Ported(snapshot, run, known_effect(store, snapshot, run)),
        )
        return PreparedPort(self, plan, self.endpoints)


def _refuse_what_stays_behind(prior: Prior) -> None:
    """Raise InputError for a prior of which nothing can come over."""
    if prior.has_text or prior.biases:
        return
    if not prior.questions:
        raise InputError(f"{prior.id} is empty: there is nothing to try")
    raise InputError(f"{prior.id} holds offsets of decisions alone, which belong to their model; {_ANEW}")


def _held_out(store: Store, run: Run, role: Role) -> tuple[Task, ...]:
    """The tasks that a run has left to the gate, or to `eval`."""
    return store.tasks(store.held_out(run.namespace, role).get(str(run.settings.get(role)), ()))


def _frame(served: Frame, learned: Frame) -> Frame:
    """The request of rollouts: what is served, at the temperature that learning was at, where that is not 0."""
    heat = next((one.temperature for one in (learned, served) if one.temperature > 0), Frame("").temperature)
    return replace(served, temperature=heat)


def _settings(given: Settings, run: Run, served: Frame, tasks: int) -> Settings:
    """Those of the short run; its seed is that of the run which learned the prior, and so are its draws of examples."""
    seed = run.settings.get("seed")
    return replace(
        given,
        **{name: run.settings[name] for name in _AS_LEARNED if name in run.settings},
        seed=seed if isinstance(seed, int) else given.seed,
        steps=min(2, tasks),
        group_size=min(MOST, max(FEWEST, ceil(ROLLOUTS / tasks))),
        race_rounds=1,
        experiences=False,
        amplify=0,
        stop_hopeless=False,
        gate_passes=min(PASSES, given.gate_passes),
        production_temperature=served.temperature,
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
    plan: Plan
    """As of the old model."""
    endpoints: Endpoints

    @contextmanager
    def started(self) -> "Iterator[PreparedPort]":
        """The same with the name of the new model; starts the embedded one, and stops it on exit."""
        with self.endpoints.started(decides=asks_for_decisions(self.plan.reward)) as there:
            yield replace(self, endpoints=there)

    @property
    def into(self) -> str:
        """The namespace of the new model."""
        return self.wanted.into or f"{self.wanted.namespace}@{self.endpoints.own.name}"

    async def port(self, store: Store, watch: Watch) -> "PortResult":
        """Try it, and make it live there if the gate says so; goes on where it was interrupted."""
        frame = replace(self.plan.frame, model=self.endpoints.own.name)
        plan = replace(self.plan, frame=frame, namespace=self.into)
        async with self.endpoints.opened(plan.settings, store) as to:
            with watch(lambda: to.usage) as observer:
                return PortResult(await carry_out(plan, store, to.own, observer, budget=to.budget))


@dataclass(frozen=True, slots=True)
class PortResult:
    """What came of it."""

    learned: LearningResult

    @property
    def run(self) -> Run:
        """The short run that tried it."""
        return self.learned.run

    @property
    def usage(self) -> Usage:
        """What that has cost."""
        return self.learned.usage

    @property
    def namespace(self) -> str:
        """The namespace of the new model."""
        return self.learned.run.namespace

    @property
    def means(self) -> dict[str, float]:
        """By way to prompt: what it is expected to earn on the new model, as of its last lap, the best first."""
        rows = sorted((row for _, row in last_looks(self.learned.race)), key=lambda row: -row["reward"])
        return {row["source"]: row["reward"] for row in rows}

    @property
    def effects(self) -> dict[str, float]:
        """The same less what the frozen model earns."""
        means = self.means
        frozen = means.pop("frozen", 0.0)
        return {source: mean - frozen for source, mean in means.items()}

    @property
    def chosen(self) -> str:
        """The way to prompt that won, which became the candidate or is live already; empty where none is expected to
        help."""
        won = self.learned.race[-1]["winner"]["arm"] if self.learned.race else None
        rows = (row for _, row in last_looks(self.learned.race))
        source: str = next((row["source"] for row in rows if row["arm"] == won), "frozen")
        named = [] if source == "frozen" else [source]
        fitted = self.candidate is not None and bool(self.candidate.biases)
        return ", ".join([*named, *(["tokens fitted anew"] if fitted else [])])

    @property
    def ended(self) -> str | None:
        """Why the budget ended it, and what was not done; None where all of it was done."""
        return self.learned.ended

    @property
    def live(self) -> Prior | None:
        """What is live there now; None where nothing is."""
        return None if self.learned.prior.id == Prior().id else self.learned.prior

    @property
    def candidate(self) -> Prior | None:
        """What was tried by the gate."""
        return self.learned.candidate

    @property
    def promotion(self) -> Promotion | None:
        """What the gate made of it."""
        return self.learned.promotion

    def as_json(self) -> dict[str, JSON]:
        """The figures: those of the run, and what each way to prompt is worth there."""
        own: dict[str, JSON] = {"namespace": self.namespace, "chosen": self.chosen}
        own |= {"effects": dict(self.effects), "means": dict(self.means), "measured": self.effects.get(WHOLE)}
        return self.learned.as_json() | own
