"""The command that measures a prior."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from ..errors import InputError, TfgrpoError
from .command import TextCommand
from .endpoints import named_endpoints
from .lines.evaluation import TRANSFER_COLUMNS, evaluation_lines, transfer_rows
from .lines.tables import print_table
from .options.agents import AgentOptions, agent_options
from .options.arms import ArmOptions, arm_options
from .options.distiller import DistillerOptions, distiller_options
from .options.gathered import MEASURE, gathered
from .options.shared import json_option, named_store, store_options
from .options.spending import spending_options
from .options.surface import surface_option
from .options.target import Target, Targets, targets_options, tokenizer_option
from .options.tasks import TaskOptions, task_options
from .streams import check_output, interruptible, tell, write_text

if TYPE_CHECKING:
    from ..evaluation.arms import Evaluation
    from ..evaluation.decisions import PreparedDecisionEvaluation
    from ..evaluation.wanted import PreparedEvaluation
    from ..model.budget import Budget, Spending
    from ..store import Store


@dataclass(frozen=True, slots=True)
class EvalArguments:
    """What `eval` was asked for."""

    tasks: TaskOptions
    clip_rewards: bool
    arms: ArmOptions
    agent: AgentOptions
    target: Targets
    distiller: DistillerOptions
    tokenizer: str | None
    spending: "Spending"
    store: str | None
    namespace: str

    def prepared(self, store: "Store", target: Target) -> "PreparedEvaluation":
        """What is to be measured on one model, read and checked; raises InputError as its parts do."""
        from ..evaluation.wanted import WantedEvaluation
        from ..settings import Settings

        return WantedEvaluation(
            self.tasks.tasks,
            named_endpoints(target, self.distiller, self.tokenizer, self.spending),
            self.tasks.scored_by,
            self.namespace,
            self.arms.prior_id,
            self.arms.repeat,
            self.arms.temperature,
            self.arms.seed,
            not self.arms.no_written,
            self.agent.load(),
            Settings(clip_rewards=self.clip_rewards, **self.agent.settings),
            not self.arms.no_few_shot,
            self.tasks.fields,
            self.agent.executor,
            self.arms.moments,
        ).prepared(store)

    def budget(self, models: "Iterable[str]") -> "Budget":
        """One for several models together; raises InputError as `Spending` does."""
        return self.spending.budget(self.target.base_url, *models, self.distiller.endpoint.model)

    def deciding(self, question: str, store: "Store", target: Target) -> "PreparedDecisionEvaluation":
        """As `prepared`, for a question of the decisions API."""
        from ..evaluation.decisions import WantedDecisionEvaluation
        from ..settings import Settings

        endpoints = named_endpoints(target, self.distiller, self.tokenizer, self.spending)
        settings, tasks = Settings(clip_rewards=self.clip_rewards), self.tasks
        return WantedDecisionEvaluation(
            question,
            tasks.tasks,
            endpoints,
            tasks.scored_by,
            self.namespace,
            self.arms.prior_id,
            settings,
            tasks.fields,
        ).prepared(store)


@click.command("eval", cls=TextCommand)
@gathered(
    "asked",
    EvalArguments,
    task_options(MEASURE),
    arm_options,
    targets_options,
    distiller_options,
    tokenizer_option,
    spending_options,
    agent_options,
    store_options,
)
@click.option("--save-rollouts", metavar="FILE", help="Write every rollout to FILE, as JSONL.")
@surface_option(MEASURE)
@json_option
def evaluate(
    *, asked: EvalArguments, save_rollouts: str | None, surface: tuple[str, str] | None, as_json: bool
) -> None:
    """Frozen, written, few-shot and learned on TASKS that were not used for learning, with 95% intervals over tasks.

    `written` has experiences that the distiller writes from the training tasks alone, as many as were learned;
    `few-shot` has training examples in as many prompt tokens: what learning has to beat. All arms run under the request
    frame and the sampling settings of learning. Of a file that was split by `tfgrpo learn`, the test part is measured,
    and the store remembers that it was. Where no prior is live, the last one learned is measured. With several
    --model a table says on which of them the prior helps; a token prior acts on its own model alone, offsets of
    decisions are tried on each, and a ceiling holds for all of them together.
    """
    import asyncio

    from ..progress import Display

    check_output("--save-rollouts", save_rollouts)
    targets = asked.target.each
    if len(targets) > 1 and save_rollouts:
        raise InputError("--save-rollouts takes one --model at a time")
    if surface and asked.arms.moments:
        raise InputError("--moments goes with turns, and a decision has none; leave it out, or --surface decisions")
    question = surface[1] if surface else None
    if len(targets) > 1:
        return _measure_transfer(asked, targets, question, as_json)
    if question is not None:
        return _measure_decisions(asked, question, as_json)
    with interruptible(), named_store(asked.store) as opened, asked.prepared(opened, targets[0]).started() as started:
        result = asyncio.run(started.measure(opened, Display))
    if save_rollouts:
        write_text(save_rollouts, "".join(_rollout_lines(result)))
    measured = started.measurement
    figures = {"prior": measured.prior.id, "temperature": measured.frame.temperature, **result.as_json()}
    tell(as_json, figures, *evaluation_lines(result))


def _measure_transfer(asked: EvalArguments, targets: "Sequence[Target]", question: str | None, as_json: bool) -> None:
    """As `eval`, on several models, one after the other; one that cannot be measured takes nothing from the others."""
    import asyncio

    from ..progress import Display

    found: dict[str, Evaluation] = {}
    failed: dict[str, TfgrpoError] = {}
    with interruptible(), named_store(asked.store) as opened:
        prepared = [  # all is read before anything is spent
            asked.prepared(opened, target) if question is None else asked.deciding(question, opened, target)
            for target in targets
        ]
        budget = asked.budget(one.endpoints.own.name for one in prepared)
        for one, target in zip(prepared, targets, strict=True):
            try:
                with one.started() as started:
                    model = started.endpoints.own.name
                    click.echo(f"{model}:", err=True)
                    found[model] = asyncio.run(started.measure(opened, Display, budget))
            except TfgrpoError as error:
                failed[str(target.model)] = error
        learned_on, prior = prepared[0].snapshot.frame.model, prepared[0].snapshot.prior.id
    if as_json:
        figures = {model: result.as_json() for model, result in found.items()}
        tell(as_json, {"prior": prior, "learned_on": learned_on, "models": figures})
    elif found:
        print_table(TRANSFER_COLUMNS, transfer_rows(found, learned_on))
    if failed:
        raise InputError("not measured: " + "; ".join(f"{model}: {error}" for model, error in failed.items()))


def _measure_decisions(asked: EvalArguments, question: str, as_json: bool) -> None:
    """As `eval`, for a question of the decisions API."""
    import asyncio

    from ..progress import Display

    (target,) = asked.target.each
    with (
        interruptible(),
        named_store(asked.store) as opened,
        asked.deciding(question, opened, target).started() as started,
    ):
        result = asyncio.run(started.measure(opened, Display))
    tell(as_json, {"prior": started.snapshot.prior.id, **result.as_json()}, *evaluation_lines(result))


def _rollout_lines(result: "Evaluation") -> Iterator[str]:
    """Every rollout as a line of JSON."""
    for arm, rollouts in result.rollouts.items():
        for rollout in rollouts:
            fields = {
                "arm": arm,
                "task": rollout.task.id,
                "input": rollout.task.input,
                "answer": rollout.task.answer,
                "sample": rollout.sample,
                "prior": rollout.prior,
                "experiences": list(rollout.included),
                "messages": [dict(message) for message in rollout.messages],
                "text": rollout.text,
                "reward": rollout.reward,
                "error": rollout.error,
                "finish_reason": rollout.finish_reason,
                "tokens": rollout.usage.tokens,
            }
            yield json.dumps(fields) + "\n"
