"""The command that learns a prior."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from . import OUT_OF_BUDGET, main
from .agents import AgentOptions, agent_options
from .distiller import DistillerOptions, distiller_options, prompts_option
from .embedding import EmbeddingOptions, embedding_options
from .endpoints import Endpoints, endpoints
from .frame import FrameOptions, frame_options
from .options import json_option, open_store, print_json, run_async, store_options
from .settings import gate_options, method_options, part_options, read_settings
from .sides import Sides, sides_options
from .spending import Spending, spending_options
from .target import Target, read_tokenizer, target_options, tokenizer_option, warn_of_model
from .tasks import TaskOptions, task_options
from .text import learned_lines

if TYPE_CHECKING:
    from pathlib import Path

    from ..learning.plan import Plan
    from ..learning.result import LearningResult
    from ..model.budget import Budget
    from ..settings import Settings
    from ..store import Store
    from ..tasks.read import TaskSet


@main.command()
@task_options
@target_options
@store_options
@tokenizer_option
@frame_options
@method_options
@agent_options
@distiller_options
@embedding_options
@prompts_option
@sides_options
@gate_options
@spending_options
@part_options
@click.option("--dry-run", is_flag=True, help="Say what it would cost, and what the gate could detect; spend nothing.")
@click.option(
    "--resume/--fresh",
    default=True,
    help="Go on where the same run was interrupted, or start it anew.  [default: resume]",
)
@json_option
def learn(
    *,
    tasks: TaskOptions,
    target: Target,
    store: str | None,
    namespace: str,
    tokenizer: str | None,
    frame: FrameOptions,
    agent: AgentOptions,
    distiller: DistillerOptions,
    embedding: EmbeddingOptions,
    prompts: "Path | None",
    sides: Sides,
    spending: Spending,
    dry_run: bool,
    resume: bool,
    as_json: bool,
    **settings: float | str | None,
) -> None:
    """Learn a prior from TASKS, and make it live if held-out tasks show that it is better.

    TASKS is JSONL, JSON or CSV with `input` and `answer`, - for stdin, or gym:FAMILY?size=50&seed=1 (extra
    `tfgrpo[gym]`). A part of it teaches, a part decides (the gate), a part is left for tfgrpo eval.

    The same command goes on where it was interrupted. Exit code 3: a ceiling ended the run; what was done is kept, and
    a larger ceiling goes on from there.
    """
    from dataclasses import replace

    from ..experiences.distil import templates
    from ..learning.plan import Plan
    from ..rollouts.rewards.built_in import check

    named, (found, reward) = read_tokenizer(tokenizer), tasks.read()
    parts = sides.splits(found)
    check(reward, (*parts.train, *parts.validation, *parts.test))
    templates(prompts)
    plan = Plan(
        parts.train,
        reward,
        tasks.reward_name,
        frame.read(target.model or target.base_url or ""),
        namespace,
        read_settings({**settings, **agent.settings, **embedding.settings}),
        distiller.model,
        prompts,
        agent.load(),
        parts.validation,
        parts.test,
        embedding.model,
    )
    embedding.check(experiences=plan.settings.experiences)
    _refuse_frame_of_agent(plan)
    if dry_run:
        budget = spending.budget(target.base_url, plan.frame.model, plan.distiller, plan.embedding)
        _tell_cost(plan, budget, store, as_json=as_json)
        return
    with open_store(store, create=True) as opened, endpoints(target, distiller, spending, named, embedding) as there:
        plan = replace(plan, frame=replace(plan.frame, model=there.model), distiller=there.distiller)
        warn_of_model(namespace, opened.namespaces(), opened.live(namespace), there.model)
        notes = _notes(found, plan.settings)
        learned = run_async(_learned(plan, opened, there, notes, fresh=not resume))
    if as_json:
        print_json(learned.as_json())
    else:
        click.echo("\n".join(learned_lines(learned)))
    if learned.ended:
        click.get_current_context().exit(OUT_OF_BUDGET)


def _refuse_frame_of_agent(plan: "Plan") -> None:
    from ..errors import InputError

    if plan.agent and (plan.frame.system or plan.frame.request):
        raise InputError("--system and --request shape a plain call; an agent writes its own requests: leave them out")


async def _learned(
    plan: "Plan", store: "Store", there: Endpoints, notes: "Iterable[str]", *, fresh: bool
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


def _tell_cost(plan: "Plan", budget: "Budget", store: str | None, *, as_json: bool) -> None:
    """What --dry-run prints; a store that is not there yet is not made."""
    from ..learning.cost import cost, lines
    from ..store import default_store_path

    path, attempt = default_store_path(store), 1
    if path.exists():
        with open_store(store) as opened:
            attempt = opened.next_attempt(plan.namespace, [task.id for task in plan.validation])
    found = cost(plan, budget.prices)
    if as_json:
        print_json(found.as_json(plan, attempt, budget.ceiling))
    else:
        click.echo("\n".join(lines(plan, found, attempt, budget.ceiling)))
