"""What a user wants learned, in whichever way it was said: read, checked, its models started, and learned."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..experiences.distil import templates
from ..hashing import canonical
from ..model.endpoints import Endpoints
from ..observer import Watch
from ..priors.versions import model_notice
from ..records import JSON, Frame, Task
from ..rollouts.executor import longest
from ..rollouts.rewards.built_in import check, doubts, refuse_comparing, reward_of
from ..rollouts.rewards.matchers import in_text, normalised, right_answers
from ..rollouts.rewards.reward import Reward, asks_for_decisions
from ..settings import LABEL_CHARS, MOST_LABELS, Settings
from ..store import Store
from ..tasks.fields import Fields
from ..tasks.read import TaskSet, TaskSource, tasks_of
from ..tasks.split import SMALLEST_VALIDATION, Sides
from ..text import counted, shortened
from .cost import cost, lines
from .forecast import FEWEST_STEPS
from .plan import Plan
from .result import LearningResult
from .run import carry_out

if TYPE_CHECKING:
    from ..rollouts.agents import Agent
    from .ready import Ready


@dataclass(frozen=True, slots=True)
class WantedLearning:
    """What is to be learned, as it was said; nothing of it is read yet."""

    tasks: TaskSource
    endpoints: Endpoints
    frame: Frame
    reward: str | Reward | None = None
    """None: the one that goes with the tasks."""
    sides: Sides = field(default_factory=Sides)
    settings: Settings = field(default_factory=Settings)
    namespace: str = "default"
    agent: "Agent | None" = None
    prompts: Path | None = None
    """A folder with the user's own templates for the distiller."""
    fields: Fields = field(default_factory=Fields)
    """Which fields of the tasks are what, where their names do not say it."""
    executor: str = "asyncio"
    """Where rollouts by an agent and heavy rewards are made: here, on `ray`, or on a cluster at `ray://HOST:PORT`."""
    ready: "Ready | None" = None
    """Rollouts that production has made already, where its calls are learned from."""

    def prepared(self) -> "PreparedLearning":
        """Its plan, read and checked; raises InputError for what could not be carried out."""
        self._check_options()
        found = tasks_of(self.tasks, fields=self.fields)
        reward, name = reward_of(self.reward, self.tasks)
        parts = self.sides.splits(found, self.fields)
        tasks = (*parts.train, *parts.validation, *parts.test)
        with found.explaining():
            check(reward, tasks)
        if self.agent:
            from ..rollouts.agents import check_inputs

            check_inputs(self.agent, tasks)
        if parts.validation:
            refuse_comparing(reward, "the gate has none to go by: --gate none")
        templates(self.prompts)
        frame, short = self._cut_short(name, tasks)
        agent, told = self.agent, short
        if self.executor != "asyncio":
            from ..rollouts.on_ray.elsewhere import on_executor

            agent, reward, told = on_executor(self.executor, agent, reward)
            told = *short, *told
        plan = Plan(
            parts.train,
            reward,
            name,
            frame if frame.labels else replace(frame, labels=labels_to_pick(name, parts.train)),
            self.namespace,
            self.settings,
            self.endpoints.distiller.model,
            self.prompts,
            agent,
            parts.validation,
            parts.test,
            self.endpoints.embedding.model,
            ready=self.ready,
        )
        said = *_notes(found, self.settings, self.endpoints.defaults), *doubts(reward, found.tasks)
        told = *_beyond(self.frame.labels, name, found), *told
        return PreparedLearning(plan, self.endpoints, found, (*said, *_of_calls(self.agent), *told))

    def _cut_short(self, reward: str, tasks: Sequence[Task]) -> tuple[Frame, tuple[str, ...]]:
        """The request with a limit on its answers, and what to say of it, where the embedded model makes the rollouts,
        none is stated, and what is longer than every right answer is wrong: it says a few dozen tokens a second."""
        most = longest_answer(tasks) if reward in ("exact", "exact-strict") and not self.agent else None
        if not self.endpoints.own.is_ours or longest(self.frame) is not None or most is None or self.settings.bounded:
            return self.frame, ()
        limit = most + SPARE_TOKENS
        told = f"answers are cut at {limit} tokens, more than any right one has (else: max_tokens in --request)"
        return replace(self.frame, request={**self.frame.request, "max_tokens": limit}), (told,)

    def _check_options(self) -> None:
        """Raise InputError for what cannot go together, and for ceilings that cannot be held."""
        self.endpoints.budget()
        if self.agent and (self.frame.system or self.frame.request):
            shape = "--system and --request shape a plain call"
            raise InputError(f"{shape}; an agent writes its own requests: leave them out")
        if self.settings.bounded:
            from ..rollouts.uncuttable import check_bounded

            check_bounded(self.frame, agent=self.agent is not None)
        if self.settings.amplify and (self.agent or not (self.settings.race and self.settings.demonstrations)):
            wrong = "--amplify lets answers of plain calls race as demonstrations"
            raise InputError(f"{wrong}; leave it out, or --agent, --command, --no-race, --no-demonstrations, paper")
        chosen = self.settings.race and self.settings.demonstrations
        if self.endpoints.embedding.model and not (self.settings.experiences or chosen):
            wrong = "--embedding-model compares experiences and chooses examples, and this run has neither"
            raise InputError(f"{wrong}; leave it out, or --no-experiences")


@dataclass(frozen=True, slots=True)
class PreparedLearning:
    """A plan that was checked, and the models that carry it out."""

    plan: Plan
    endpoints: Endpoints
    found: TaskSet
    """The tasks as they were read."""
    notes: tuple[str, ...] = ()
    """What to say before anything is done."""

    @contextmanager
    def started(self) -> "Iterator[PreparedLearning]":
        """The same with the names of all models; starts the embedded ones, and stops them on exit."""
        with self.endpoints.started(decides=asks_for_decisions(self.plan.reward)) as there:
            frame = replace(self.plan.frame, model=there.own.name)
            plan = replace(self.plan, frame=frame, distiller=there.distiller.model)
            yield replace(self, plan=plan, endpoints=there)

    async def learn(self, store: Store, watch: Watch, *, fresh: bool = False, anew: bool = False) -> LearningResult:
        """Carry out the plan, once its models are started; raises as `run.learn` does.

        `anew`: its ceiling on calls is one on those that are made now, whatever earlier starts of the run have made.
        """
        plan, told = self._settled(store)
        async with self.endpoints.opened(plan.settings, store) as to:
            to.budget.anew = anew
            with watch(lambda: to.usage) as observer:
                for line in (*self._notices(store), *self.notes, *told):
                    observer.note(line)
                return await carry_out(
                    plan,
                    store,
                    to.own,
                    observer,
                    distiller=to.distiller,
                    embedding=to.embedding,
                    fresh=fresh,
                    budget=to.budget,
                )

    def _settled(self, store: Store | None) -> tuple[Plan, tuple[str, ...]]:
        """The plan as the namespace can carry it out, and what to say of it: who has taught it still teaches.

        A file that has grown may put a few such tasks on the side that decides. Those of a file of their own stay;
        so do all where too few would be left, which is refused where the run begins.
        """
        plan, own = self.plan, {task.id for task in self.found.tasks}
        known = {canonical(task.input) for task in store.tasks(store.learned_from(plan.namespace))} if store else set()
        back = [task for task in plan.validation if task.id in own and canonical(task.input) in known]
        rest = tuple(task for task in plan.validation if task not in back)
        if not back or len(rest) < SMALLEST_VALIDATION:
            return plan, ()
        told = (
            f"{counted(len(back), 'task')} that taught namespace {plan.namespace} before still teach, and do not decide"
        )
        return replace(plan, tasks=(*plan.tasks, *back), validation=rest), (told,)

    def estimate(self, store: Store | None) -> tuple[dict[str, JSON], tuple[str, ...]]:
        """What it would cost and what its gate could detect, as figures and in words; it spends nothing."""
        (plan, _), budget = self._settled(store), self.endpoints.budget()
        number = store.next_trial(plan.namespace, plan.validation) if store else 1
        found = cost(plan, budget.prices)
        return found.as_json(plan, number, budget.ceiling), tuple(lines(plan, found, number, budget.ceiling))

    def _notices(self, store: Store) -> Iterator[str]:
        """That the namespace was learned on another model, where it was."""
        name, model = self.plan.namespace, self.plan.frame.model
        if notice := model_notice(name, store.namespaces(), store.live(name), model):
            yield f"{notice}; to re-validate it: tfgrpo eval TASKS --namespace {name} --model {model}"


_USUAL = Settings()
SPARE_TOKENS = 4
"""Tokens of an answer beside those of the longest right one: its end, and a word too many."""
_SHORT_BYTES = 60
"""Of the longest right answer, where answers are cut short: no token has less than one."""


def longest_answer(tasks: Sequence[Task]) -> int | None:
    """The bytes of the longest right answer; None where one is missing, no text, or long."""
    known = [one for task in tasks for one in (right_answers(task.answer) or [None])]
    sizes = [len(one.encode("utf-8", "replace")) if isinstance(one, str) else _SHORT_BYTES + 1 for one in known]
    return max(sizes) if sizes and max(sizes) <= _SHORT_BYTES else None


def labels_to_pick(reward: str, tasks: Sequence[Task]) -> tuple[str, ...]:
    """The labels that a reward has an answer pick from, in order of the tasks; none where answers are no labels."""
    answers = [answer for task in tasks if isinstance(answer := task.answer, str)]
    found = tuple(dict.fromkeys(answer.strip() for answer in answers))
    several = len(answers) == len(tasks) > len(found) > 1 and len(found) <= MOST_LABELS
    return found if reward == "choice" and several and max(map(len, found)) <= LABEL_CHARS else ()


def _beyond(labels: Sequence[str], reward: str, found: TaskSet) -> Iterator[str]:
    """That the labels a user names lack some of the answers, which no answer could then be, where they decide it."""
    if not labels or reward not in ("exact", "exact-strict", "choice"):
        return
    known = {normalised(label) for label in labels}
    beyond = [
        (place, task)
        for task, place in zip(found.tasks, found.places, strict=False)
        if (answers := {normalised(in_text(one)) for one in right_answers(task.answer)}) and not answers & known
    ]
    if beyond:
        place, task = beyond[0]
        first = f"{shortened(in_text(right_answers(task.answer)[0]))!r} ({place})"
        yield f"labels: the answer of {counted(len(beyond), 'task')} is none of them, the first one {first}"


def _of_calls(agent: "Agent | None") -> Iterator[str]:
    """Which calls of an agent's are recorded."""
    if agent:
        from ..rollouts.agents import WHICH_CALLS

        yield WHICH_CALLS


def _notes(found: TaskSet, settings: Settings, here: Mapping[str, JSON]) -> Iterator[str]:
    """What to say of the tasks and settings before anything is done; `here` are defaults of where the calls go."""
    yield from found.notes
    if taken := [name for name, value in here.items() if getattr(settings, name) == value != getattr(_USUAL, name)]:
        usual = {name: "all" if (found := getattr(_USUAL, name)) is None else found for name in taken}
        less = ", ".join(f"{name.replace('_', ' ')} {here[name]} ({usual[name]})" for name in taken)
        yield f"the embedded model is slow, so it is asked for less than others (in brackets): {less}"
    if settings.stop_when_flat and settings.steps <= FEWEST_STEPS:
        last = f"a forecast needs {FEWEST_STEPS} steps, and this run has {settings.steps}"
        yield f"--stop-when-flat cannot end it early: {last}; give --steps {FEWEST_STEPS + 1} or more"
    if settings.group_size == 1 and settings.recipe == "measured":
        yield "a group of one compares nothing: no experience can be measured, and none kept"
