"""The command that measures a prior."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from . import main
from .agents import agent_options
from .distiller import distiller_endpoint, distiller_options
from .options import (
    check_output,
    endpoint,
    json_option,
    open_store,
    print_json,
    read_tokenizer,
    run_async,
    store_options,
    tokenizer_option,
    upstream_options,
    warn_of_model,
    write_text,
)
from .spending import spending_options
from .text import evaluation_lines

if TYPE_CHECKING:
    from ..evaluate import Evaluation
    from ..records import Frame
    from .spending import Spending


@main.command("eval")
@click.argument("tasks")
@click.option("--reward", help="A built-in reward, or module:function.  [default: exact; for gym:FAMILY, gym]")
@click.option("--clip-rewards", is_flag=True, help="Take a reward outside 0 to 1 for the nearer bound.")
@click.option("--prior", "prior_id", metavar="ID", help="A prior of the namespace by id.  [default: the live one]")
@click.option("--repeat", default=4, show_default=True, type=click.IntRange(min=1), help="Attempts a task and arm.")
@click.option("--temperature", type=float, help="Of all arms.  [default: that of learning]")
@click.option("--seed", default=0, show_default=True, help="Of sampling and resampling.")
@click.option("--no-written", is_flag=True, help="Leave out the arm of experiences written without attempts.")
@click.option("--save-rollouts", metavar="FILE", help="Write every attempt to FILE, as JSONL.")
@agent_options
@upstream_options
@distiller_options
@spending_options
@store_options
@tokenizer_option
@json_option
def evaluate(
    *,
    tasks: str,
    reward: str | None,
    clip_rewards: bool,
    prior_id: str | None,
    repeat: int,
    temperature: float | None,
    seed: int,
    no_written: bool,
    save_rollouts: str | None,
    agent: str | None,
    command: str | None,
    agent_timeout: float | None,
    base_url: str | None,
    model: str | None,
    distiller_model: str | None,
    distiller_base_url: str | None,
    distiller_key_env: str | None,
    spending: "Spending",
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
    from dataclasses import replace

    from ..agents import load_agent
    from ..curation import snapshot_of
    from ..errors import InputError
    from ..llm import Upstream
    from ..measure import Measurement, held_out, measure, sources_of
    from ..prior import prior_for
    from ..progress import Display
    from ..records import Usage
    from ..rewards import check, default_reward, load_reward
    from ..settings import Settings
    from ..tasks import read_tasks

    check_output("--save-rollouts", save_rollouts)
    named = read_tokenizer(tokenizer)
    scorer = load_reward(reward := reward or default_reward(tasks))
    found = read_tasks(tasks)
    check(scorer, found.tasks)
    attempting = load_agent(agent, command)
    settings = Settings(clip_rewards=clip_rewards)
    settings = settings if agent_timeout is None else replace(settings, agent_timeout=agent_timeout)
    their_url = distiller_base_url if distiller_base_url != base_url else None
    theirs = distiller_endpoint(their_url, distiller_model, distiller_key_env)
    with open_store(store) as opened, theirs as (their, writer):
        snapshot = snapshot_of(opened, namespace, prior_id) if prior_id else opened.live(namespace)
        if snapshot is None:
            raise InputError(f"no prior is live in namespace {namespace}; tfgrpo learn makes one")
        left = held_out(found.tasks, opened, namespace)
        sources = () if no_written else sources_of(snapshot.prior, opened, namespace)
        model = model or (None if base_url == "local" else snapshot.frame.model)
        with endpoint(base_url, model) as (url, name):
            frame, prior = _frame(snapshot.frame, name, temperature), prior_for(snapshot, name)
            warn_of_model(namespace, opened.namespaces(), snapshot, name, measuring=True)
            wanted = Measurement(
                left.tasks,
                scorer,
                reward,
                frame,
                prior,
                namespace,
                repeat,
                seed,
                agent=attempting,
                settings=settings,
                sources=sources,
                distiller=writer,
                opened=left.opened,
            )
            budget = spending.budget(base_url, *(one for one in (name, writer) if one))

            async def work() -> "Evaluation":
                async with (
                    Upstream(url, journal=opened, tokenizer=named, budget=budget) as upstream,
                    their.open(settings, opened, budget) as distiller,
                ):
                    with Display(lambda: upstream.usage + (distiller.usage if distiller else Usage())) as display:
                        for line in left.notes:
                            display.note(line)
                        if len(prior.biases) < len(snapshot.prior.biases):
                            display.note(f"token prior left out: it was learned on {snapshot.frame.model}")
                        if not (sources or no_written):
                            display.note("the arm `written` is left out: no run of this store learned this prior")
                        return await measure(wanted, opened, upstream, display, distiller=distiller, budget=budget)

            result = run_async(work())
    if save_rollouts:
        write_text(save_rollouts, "".join(_rollout_lines(result)))
    if as_json:
        print_json({"prior": prior.id, "temperature": frame.temperature, **result.as_json()})
    else:
        click.echo("\n".join(evaluation_lines(result)))


def _frame(learned: "Frame", model: str, temperature: float | None) -> "Frame":
    """The frame of learning, for this model and at the temperature asked for."""
    from dataclasses import replace

    return replace(learned, model=model, temperature=learned.temperature if temperature is None else temperature)


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
