"""The command that learns a prior."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from .command import TextCommand
from .endpoints import named_endpoints
from .lines.learning import learned_lines
from .lines.tasks import checked_json, checked_lines, first_request
from .options.agents import AgentOptions, agent_options
from .options.distiller import DistillerOptions, distiller_options, prompts_option
from .options.embedding import EmbeddingOptions, embedding_options
from .options.frame import FrameOptions, frame_options
from .options.gathered import BUDGET, GATE, LEARN_FROM, gathered, titled
from .options.settings import gate_options, method_options, part_options, read_settings
from .options.shared import json_option, named_store, store_options
from .options.spending import spending_options
from .options.splits import SplitOptions, split_options
from .options.surface import surface_option
from .options.target import Target, target_options, tokenizer_option
from .options.tasks import TaskOptions, task_options
from .options.traffic import TrafficOptions, frame_of_traffic, traffic_options
from .root import OUT_OF_BUDGET
from .streams import end_when_alone, interruptible, tell

if TYPE_CHECKING:
    from ..learning.decisions import PreparedDecisions
    from ..learning.wanted import PreparedLearning
    from ..model.budget import Spending


@dataclass(frozen=True, slots=True)
class LearnArguments:
    """What `learn` was asked for, its settings aside."""

    tasks: TaskOptions
    traffic: TrafficOptions
    frame: FrameOptions
    target: Target
    distiller: DistillerOptions
    tokenizer: str | None
    spending: "Spending"
    split: SplitOptions
    agent: AgentOptions
    embedding: EmbeddingOptions
    prompts: Path | None
    store: str | None
    namespace: str

    def prepared(self, given: Mapping[str, Any]) -> "PreparedLearning":
        """What is to be learned, read and checked; raises InputError as its parts do."""
        from ..learning.wanted import WantedLearning

        taken = self.traffic.taken(self.tasks, self.frame, self.store, self.namespace)
        target = self.target.or_model(taken.frame.model) if taken else self.target
        endpoints = named_endpoints(target, self.distiller, self.tokenizer, self.spending, self.embedding)
        model, agent = endpoints.own.name, self.agent.load()
        frame = frame_of_traffic(self.frame, taken.frame, model) if taken else self.frame.read(model)
        return WantedLearning(
            taken.tasks if taken else str(self.tasks.tasks),
            endpoints,
            frame,
            self.tasks.scored_by,
            self.split.sides,
            read_settings({**given, **self.agent.settings, **self.embedding.settings}, endpoints.defaults),
            self.namespace,
            agent,
            self.prompts,
            self.tasks.fields,
            self.agent.executor,
            ready=None if agent or not taken else taken.ready_for(frame, self.target.model),
        ).prepared()

    def deciding(self, question: str, given: Mapping[str, Any]) -> "PreparedDecisions":
        """The same for a question of the decisions API."""
        from ..learning.decisions import WantedDecisions

        if self.agent.load():
            raise InputError(
                "--surface decisions is one call a task, which no agent makes; leave --agent and --command out"
            )
        if self.traffic.from_traffic or not self.tasks.tasks:
            raise InputError("--surface decisions is learned from TASKS, which are questions with their answers")
        endpoints = named_endpoints(self.target, self.distiller, self.tokenizer, self.spending, self.embedding)
        frame, sides = self.frame.read(endpoints.own.name), self.split.sides
        settings, tasks = read_settings(given), self.tasks
        return WantedDecisions(
            question, tasks.tasks, endpoints, frame, tasks.scored_by, sides, settings, self.namespace, tasks.fields
        ).prepared()


@click.command(cls=TextCommand)
@gathered(
    "asked",
    LearnArguments,
    task_options(LEARN_FROM, required=False),
    traffic_options,
    frame_options,
    target_options,
    distiller_options,
    tokenizer_option,
    spending_options,
    titled(BUDGET)("--dry-run", is_flag=True, help="Only tell the cost, and what the gate can detect."),
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
    help="Go on, or start anew.  [default: resume]",
)
@titled(GATE)("--candidate", is_flag=True, rare=True, help="What passes goes live later: as a canary, by an autopilot.")
@click.option("--until-alone", is_flag=True, hidden=True, help="For an autopilot: ends with it, within its calls.")
@surface_option(LEARN_FROM)
@json_option
def learn(
    *,
    asked: LearnArguments,
    surface: tuple[str, str] | None,
    dry_run: bool,
    resume: bool,
    candidate: bool,
    until_alone: bool,
    as_json: bool,
    **settings: float | str | None,
) -> None:
    """Learn a prior from TASKS; make it live if held-out tasks show it is better.

    TASKS: a file (see `tfgrpo tasks check`), - for stdin, hf:OWNER/NAME, harbor:FOLDER or gym:FAMILY?size=50&seed=1.
    Parts teach, decide (the gate), are left for eval. Exit code 3: a ceiling ended it; a larger one goes on.
    """
    import asyncio

    from ..progress import Display

    if surface:
        if candidate:
            raise InputError("--candidate and --surface decisions do not go together: nothing tries such a candidate")
        return _learn_decisions(asked.deciding(surface[1], settings), asked, dry_run, resume, as_json)
    prepared = asked.prepared(settings)
    if dry_run:
        return _tell_cost(prepared, asked, as_json=as_json)
    prepared = replace(prepared, plan=replace(prepared.plan, deploys=not candidate))
    with interruptible(), named_store(asked.store, create=True) as opened, prepared.started() as started:
        if until_alone:
            end_when_alone()
        learned = asyncio.run(started.learn(opened, Display, fresh=not resume, anew=until_alone))
    tell(as_json, learned.as_json(), *learned_lines(learned))
    if learned.ended:
        click.get_current_context().exit(OUT_OF_BUDGET)


def _learn_decisions(
    prepared: "PreparedDecisions", asked: LearnArguments, dry_run: bool, resume: bool, as_json: bool
) -> None:
    """As `learn`, for a question of the decisions API."""
    import asyncio

    from ..progress import Display
    from .lines.decisions import decision_lines

    if dry_run:
        calls = prepared.most_calls
        races = prepared.wanted.settings.race
        what = (
            "a race on what is said, on parts of the tasks, and a gate" if races else "a task that teaches or decides"
        )
        return tell(as_json, {"calls": calls}, f"at most {calls} calls: {what if races else f'one {what}'}")
    with interruptible(), named_store(asked.store, create=True) as opened, prepared.started() as started:
        learned = asyncio.run(started.learn(opened, Display, fresh=not resume))
    tell(as_json, learned.as_json(), *decision_lines(learned))


def _tell_cost(prepared: "PreparedLearning", asked: LearnArguments, *, as_json: bool) -> None:
    """What --dry-run prints; a store that is not there yet is not made."""
    from contextlib import nullcontext

    from ..rollouts.rewards.built_in import doubts
    from ..store.opened import store_exists
    from ..tasks.split import Splits

    with named_store(asked.store) if store_exists(asked.store) else nullcontext() as opened:
        figures, lines = prepared.estimate(opened)
    plan, found = prepared.plan, prepared.found
    body = first_request(plan.frame, plan.tasks[0], plan.settings.seed)
    splits = Splits(plan.tasks, plan.validation, plan.test)
    understood, doubted = checked_json(found, splits, body, plan.tasks[0]), doubts(plan.reward, found.tasks)
    noted = (line for line in prepared.notes if line not in found.notes)
    told = (*checked_lines(found, splits, body, plan.tasks[0]), *(f"note: {line}" for line in noted))
    tell(as_json, {**figures, "understood": {**understood, "doubts": list(doubted)}}, *lines, *told)
