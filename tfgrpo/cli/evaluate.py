"""The command that measures a prior."""

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from . import main
from .agents import AgentOptions, agent_options
from .arms import ArmOptions, arm_options
from .distiller import DistillerOptions, distiller_options
from .endpoints import Endpoints, endpoints
from .options import (
    check_output,
    json_option,
    open_store,
    print_json,
    run_async,
    store_options,
    write_text,
)
from .spending import Spending, spending_options
from .target import Target, read_tokenizer, target_options, tokenizer_option, warn_of_model
from .tasks import TaskOptions, task_options
from .text import evaluation_lines

if TYPE_CHECKING:
    from ..evaluation.arms import Evaluation
    from ..evaluation.held_out import HeldOut
    from ..evaluation.measure import Measurement
    from ..records import Snapshot
    from ..store import Store


@main.command("eval")
@task_options
@click.option("--clip-rewards", is_flag=True, help="Take a reward outside 0 to 1 for the nearer bound.")
@arm_options
@click.option("--save-rollouts", metavar="FILE", help="Write every attempt to FILE, as JSONL.")
@agent_options
@target_options
@distiller_options
@spending_options
@store_options
@tokenizer_option
@json_option
def evaluate(
    *,
    tasks: TaskOptions,
    clip_rewards: bool,
    arms: ArmOptions,
    save_rollouts: str | None,
    agent: AgentOptions,
    target: Target,
    distiller: DistillerOptions,
    spending: Spending,
    store: str | None,
    namespace: str,
    tokenizer: str | None,
    as_json: bool,
) -> None:
    """Frozen, written and learned on TASKS that were not used for learning, with 95% intervals over tasks.

    `written` has experiences that the distiller writes from the training tasks alone, as many as were learned: what
    learning has to beat. All arms run under the request frame and the sampling settings of learning. Of a file that was
    split by `tfgrpo learn`, the test part is measured, and the store remembers that it was.
    """
    from ..evaluation.held_out import held_out
    from ..evaluation.measure import Measurement
    from ..rollouts.rewards.built_in import check
    from ..settings import Settings
    from ..surfaces.chat import prior_for

    check_output("--save-rollouts", save_rollouts)
    named, (found, reward) = read_tokenizer(tokenizer), tasks.read()
    check(reward, found.tasks)
    attempting, settings = agent.load(), Settings(clip_rewards=clip_rewards, **agent.settings)
    with open_store(store) as opened:
        snapshot = arms.snapshot(opened, namespace)
        left = held_out(found.tasks, opened, namespace)
        with endpoints(target.or_model(snapshot.frame.model), distiller, spending, named) as there:
            warn_of_model(namespace, opened.namespaces(), snapshot, there.model, measuring=True)
            wanted = Measurement(
                left.tasks,
                reward,
                tasks.reward_name,
                arms.frame(snapshot.frame, there.model),
                prior_for(snapshot, there.model),
                namespace,
                arms.repeat,
                arms.seed,
                agent=attempting,
                settings=settings,
                sources=arms.sources(snapshot.prior, opened, namespace),
                distiller=there.distiller,
                opened=left.opened,
            )
            notes = _notes(wanted, snapshot, left, arms)
            result = run_async(_measured(wanted, opened, there, notes))
    if save_rollouts:
        write_text(save_rollouts, "".join(_rollout_lines(result)))
    if as_json:
        figures = {"prior": wanted.prior.id, "temperature": wanted.frame.temperature}
        print_json({**figures, **result.as_json()})
    else:
        click.echo("\n".join(evaluation_lines(result)))


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
    """Every attempt as a line of JSON."""
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
