"""The command that learns a prior."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .command import TextCommand
from .endpoints import Endpoints, endpoints
from .lines.learning import learned_lines
from .options.agents import AgentOptions, agent_options
from .options.distiller import DistillerOptions, distiller_options, prompts_option
from .options.embedding import EmbeddingOptions, embedding_options
from .options.frame import FrameOptions, frame_options
from .options.gathered import BUDGET, LEARN_FROM, gathered, titled
from .options.settings import gate_options, method_options, part_options, read_settings
from .options.shared import json_option, named_store, store_options
from .options.spending import SpendingOptions, spending_options
from .options.splits import SplitOptions, split_options
from .options.target import Target, read_tokenizer, target_options, tokenizer_option, warn_of_model
from .options.tasks import TaskOptions, task_options
from .root import OUT_OF_BUDGET
from .streams import tell

if TYPE_CHECKING:
    from ..learning.plan import Plan
    from ..learning.result import LearningResult
    from ..model.budget import Budget
    from ..settings import Settings
    from ..store import Store
    from ..tasks.read import TaskSet


@dataclass(frozen=True, slots=True)
class LearnArguments:
    """What `learn` was asked for, its settings aside."""

    tasks: TaskOptions
    frame: FrameOptions
    target: Target
    distiller: DistillerOptions
    tokenizer: str | None
    spending: SpendingOptions
    split: SplitOptions
    agent: AgentOptions
    embedding: EmbeddingOptions
    prompts: Path | None
    store: str | None
    namespace: str

    def plan(self, given: Mapping[str, Any]) -> "tuple[Plan, tuple[str, ...]]":
        """What is to be learned, and what to say of it before anything is done; raises InputError as its parts do."""
        from ..experiences.distil import templates
        from ..learning.plan import Plan
        from ..rollouts.rewards.built_in import check

        found, reward = self.tasks.read()
        parts = self.split.splits(found)
        check(reward, (*parts.train, *parts.validation, *parts.test))
        templates(self.prompts)
        plan = Plan(
            parts.train,
            reward,
            self.tasks.reward_name,
            self.frame.read(self.target.model or self.target.base_url or ""),
            self.namespace,
            read_settings({**given, **self.agent.settings, **self.embedding.settings}),
            self.distiller.model,
            self.prompts,
            self.agent.load(),
            parts.validation,
            parts.test,
            self.embedding.model,
        )
        self.embedding.check(experiences=plan.settings.experiences)
        _refuse_frame_of_agent(plan)
        return plan, tuple(_notes(found, plan.settings))

    def endpoints(self) -> AbstractContextManager[Endpoints]:
        """Where its calls go."""
        named = read_tokenizer(self.tokenizer)
        return endpoints(self.target, self.distiller, self.spending, named, self.embedding)


@click.command(cls=TextCommand)
@gathered(
    "asked",
    LearnArguments,
    task_options(LEARN_FROM),
    frame_options,
    target_options,
    distiller_options,
    tokenizer_option,
    spending_options,
    titled(BUDGET)("--dry-run", is_flag=True, help="Say what it would cost, and what the gate could detect; no more."),
    split_options,
    gate_options,
    agent_options,
    method_options,
    part_options,
    embedding_options,
    prompts_option,
    store_options,
)
@click.option(
    "--resume/--fresh",
    default=True,
    help="Go on where it was interrupted, or start anew.  [default: resume]",
)
@json_option
def learn(*, asked: LearnArguments, dry_run: bool, resume: bool, as_json: bool, **settings: float | str | None) -> None:
    """Learn a prior from TASKS, and make it live if held-out tasks show that it is better.

    TASKS is JSONL, JSON or CSV with `input` and `answer`, - for stdin, or gym:FAMILY?size=50&seed=1 (extra
    `tfgrpo[gym]`). A part teaches, a part decides (the gate), a part is left for eval. Exit code 3: a ceiling ended it,
    and the same command with a larger one goes on.
    """
    import asyncio
    from dataclasses import replace

    plan, notes = asked.plan(settings)
    if dry_run:
        return _tell_cost(plan, asked, as_json=as_json)
    with named_store(asked.store, create=True) as opened, asked.endpoints() as there:
        plan = replace(plan, frame=replace(plan.frame, model=there.model), distiller=there.distiller)
        warn_of_model(plan.namespace, opened.namespaces(), opened.live(plan.namespace), there.model)
        learned = asyncio.run(_learned(plan, opened, there, notes, fresh=not resume))
    tell(as_json, learned.as_json(), *learned_lines(learned))
    if learned.ended:
        click.get_current_context().exit(OUT_OF_BUDGET)


def _refuse_frame_of_agent(plan: "Plan") -> None:
    from ..errors import InputError

    if plan.agent and (plan.frame.system or plan.frame.request):
        raise InputError("--system and --request shape a plain call; an agent writes its own requests: leave them out")


async def _learned(
    plan: "Plan", store: "Store", there: Endpoints, notes: Iterable[str], *, fresh: bool
) -> "LearningResult":
    """Carry out a plan, with a display of how it goes."""
    from ..learning.run import learn as run_learning

    async with there.open(plan.settings, store) as to:
        for line in notes:
            to.display.note(line)
        return await run_learning(
            plan,
            store,
            to.upstream,
            to.display,
            distiller=to.distiller,
            embedding=to.embedding,
            fresh=fresh,
            budget=there.budget,
        )


def _notes(found: "TaskSet", settings: "Settings") -> Iterator[str]:
    """What to say of the tasks and settings before anything is done."""
    from ..text import counted

    if found.duplicates:
        yield f"{found.source}: {counted(found.duplicates, 'repeated task')} counted once"
    if settings.group_size == 1 and settings.recipe == "measured":
        yield "a group of one compares nothing: no experience can be measured, and none kept"


def _tell_cost(plan: "Plan", asked: LearnArguments, *, as_json: bool) -> None:
    """What --dry-run prints; a store that is not there yet is not made."""
    from ..learning.cost import cost, lines
    from ..store import default_store_path

    budget: Budget = asked.spending.budget(asked.target.base_url, plan.frame.model, plan.distiller, plan.embedding)
    trial = 1
    if default_store_path(asked.store).exists():
        with named_store(asked.store) as opened:
            trial = opened.next_trial(plan.namespace, [task.id for task in plan.validation])
    found = cost(plan, budget.prices)
    tell(as_json, found.as_json(plan, trial, budget.ceiling), *lines(plan, found, trial, budget.ceiling))
