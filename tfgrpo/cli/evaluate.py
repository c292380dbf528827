"""The command that measures a prior."""

import json
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from .command import TextCommand
from .endpoints import Endpoints, endpoints
from .lines.evaluation import evaluation_lines
from .options.agents import AgentOptions, agent_options
from .options.arms import ArmOptions, arm_options
from .options.distiller import DistillerOptions, distiller_options
from .options.gathered import MEASURE, gathered
from .options.shared import json_option, named_store, store_options
from .options.spending import SpendingOptions, spending_options
from .options.target import Target, read_tokenizer, target_options, tokenizer_option, warn_of_model
from .options.tasks import TaskOptions, task_options
from .streams import check_output, tell, write_text

if TYPE_CHECKING:
    from ..evaluation.arms import Evaluation
    from ..evaluation.held_out import HeldOut
    from ..evaluation.measure import Measurement
    from ..records import Snapshot
    from ..rollouts.rewards.reward import Reward
    from ..store import Store
    from ..tasks.read import TaskSet


@dataclass(frozen=True, slots=True)
class EvalArguments:
    """What `eval` was asked for."""

    tasks: TaskOptions
    clip_rewards: bool
    arms: ArmOptions
    agent: AgentOptions
    target: Target
    distiller: DistillerOptions
    tokenizer: str | None
    spending: SpendingOptions
    store: str | None
    namespace: str

    def read(self) -> "tuple[TaskSet, Reward]":
        """The tasks and the reward that scores them; raises InputError where one is not fit for the other."""
        from ..rollouts.rewards.built_in import check

        found, reward = self.tasks.read()
        check(reward, found.tasks)
        return found, reward

    def endpoints(self, snapshot: "Snapshot") -> AbstractContextManager[Endpoints]:
        """Where its calls go, for the prior that is measured."""
        named = read_tokenizer(self.tokenizer)
        return endpoints(self.target.or_model(snapshot.frame.model), self.distiller, self.spending, named)

    def measurement(
        self, snapshot: "Snapshot", left: "HeldOut", reward: "Reward", there: Endpoints, store: "Store"
    ) -> "Measurement":
        """What is to be measured, on the tasks that are left."""
        from ..evaluation.measure import Measurement
        from ..settings import Settings
        from ..surfaces.chat import prior_for

        return Measurement(
            left.tasks,
            reward,
            self.tasks.reward_name,
            self.arms.frame(snapshot.frame, there.model),
            prior_for(snapshot, there.model),
            self.namespace,
            self.arms.repeat,
            self.arms.seed,
            agent=self.agent.load(),
            settings=Settings(clip_rewards=self.clip_rewards, **self.agent.settings),
            sources=self.arms.sources(snapshot.prior, store, self.namespace),
            distiller=there.distiller,
            opened=left.opened,
        )


@click.command("eval", cls=TextCommand)
@gathered(
    "asked",
    EvalArguments,
    task_options(MEASURE),
    arm_options,
    target_options,
    distiller_options,
    tokenizer_option,
    spending_options,
    agent_options,
    store_options,
)
@click.option("--save-rollouts", metavar="FILE", help="Write every rollout to FILE, as JSONL.")
@json_option
def evaluate(*, asked: EvalArguments, save_rollouts: str | None, as_json: bool) -> None:
    """Frozen, written and learned on TASKS that were not used for learning, with 95% intervals over tasks.

    `written` has experiences that the distiller writes from the training tasks alone, as many as were learned: what
    learning has to beat. All arms run under the request frame and the sampling settings of learning. Of a file that was
    split by `tfgrpo learn`, the test part is measured, and the store remembers that it was.
    """
    import asyncio

    from ..evaluation.held_out import held_out

    check_output("--save-rollouts", save_rollouts)
    found, reward = asked.read()
    with named_store(asked.store) as opened:
        snapshot, left = asked.arms.snapshot(opened, asked.namespace), held_out(found.tasks, opened, asked.namespace)
        with asked.endpoints(snapshot) as there:
            warn_of_model(asked.namespace, opened.namespaces(), snapshot, there.model, measuring=True)
            wanted = asked.measurement(snapshot, left, reward, there, opened)
            result = asyncio.run(_measured(wanted, opened, there, _notes(wanted, snapshot, left, asked.arms)))
    if save_rollouts:
        write_text(save_rollouts, "".join(_rollout_lines(result)))
    figures = {"prior": wanted.prior.id, "temperature": wanted.frame.temperature, **result.as_json()}
    tell(as_json, figures, *evaluation_lines(result))


async def _measured(wanted: "Measurement", store: "Store", there: Endpoints, notes: Iterable[str]) -> "Evaluation":
    """Measure the arms, with a display of how it goes."""
    from ..evaluation.measure import measure

    async with there.open(wanted.settings, store) as to:
        for line in notes:
            to.display.note(line)
        return await measure(wanted, store, to.upstream, to.display, distiller=to.distiller, budget=there.budget)


def _notes(wanted: "Measurement", snapshot: "Snapshot", left: "HeldOut", arms: ArmOptions) -> Iterator[str]:
    """What is left out, before anything is done."""
    yield from left.notes
    if len(wanted.prior.biases) < len(snapshot.prior.biases):
        yield f"token prior left out: it was learned on {snapshot.frame.model}"
    if not (wanted.sources or arms.no_written):
        yield "the arm `written` is left out: no run of this store learned this prior"


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
