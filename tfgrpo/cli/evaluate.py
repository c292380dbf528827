"""The command that measures a prior."""

import click

from . import main
from .agents import agent_options
from .options import (
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
)
from .text import evaluation_lines


@main.command("eval")
@click.argument("tasks")
@click.option("--reward", help="A built-in reward, or module:function.  [default: exact; for gym:FAMILY, gym]")
@click.option("--prior", "prior_id", metavar="ID", help="A prior of the namespace by id.  [default: the live one]")
@click.option("--repeat", default=4, show_default=True, type=click.IntRange(min=1), help="Attempts a task and arm.")
@click.option("--seed", default=0, show_default=True, help="Of sampling and resampling.")
@agent_options
@upstream_options
@store_options
@tokenizer_option
@json_option
def evaluate(
    *,
    tasks: str,
    reward: str | None,
    prior_id: str | None,
    repeat: int,
    seed: int,
    agent: str | None,
    command: str | None,
    agent_timeout: float | None,
    base_url: str | None,
    model: str | None,
    store: str | None,
    namespace: str,
    tokenizer: str | None,
    as_json: bool,
) -> None:
    """Frozen against learned on TASKS that were not used for learning, with a 95% interval over tasks.

    Both arms run under the request frame and the sampling settings of learning.
    """
    from dataclasses import replace

    from ..agents import load_agent
    from ..curation import snapshot_of
    from ..errors import InputError
    from ..evaluate import Evaluation, Measurement, held_out, measure
    from ..llm import Upstream
    from ..prior import prior_for
    from ..progress import Display
    from ..rewards import check, default_reward, load_reward
    from ..settings import Settings
    from ..tasks import read_tasks

    named = read_tokenizer(tokenizer)
    scorer = load_reward(reward := reward or default_reward(tasks))
    found = read_tasks(tasks)
    check(scorer, found.tasks)
    attempting = load_agent(agent, command)
    settings = Settings() if agent_timeout is None else Settings(agent_timeout=agent_timeout)
    with open_store(store) as opened:
        snapshot = snapshot_of(opened, namespace, prior_id) if prior_id else opened.live(namespace)
        if snapshot is None:
            raise InputError(f"no prior is live in namespace {namespace}; tfgrpo learn makes one")
        left = held_out(found.tasks, opened, namespace)
        model = model or (None if base_url == "local" else snapshot.frame.model)
        with endpoint(base_url, model) as (url, name):
            frame, prior = replace(snapshot.frame, model=name), prior_for(snapshot, name)
            warn_of_model(namespace, opened.namespaces(), snapshot, name, measuring=True)
            wanted = Measurement(
                left, scorer, reward, frame, prior, namespace, repeat, seed, agent=attempting, settings=settings
            )

            async def work() -> Evaluation:
                async with Upstream(url, journal=opened, tokenizer=named) as upstream:
                    with Display(lambda: upstream.usage) as display:
                        if len(left) < len(found.tasks):
                            display.note(
                                f"{len(found.tasks) - len(left)} tasks were used for learning, and are left out"
                            )
                        if len(prior.biases) < len(snapshot.prior.biases):
                            display.note(f"token prior left out: it was learned on {snapshot.frame.model}")
                        return await measure(wanted, opened, upstream, display)

            result = run_async(work())
    if as_json:
        print_json({"prior": prior.id, **result.as_json()})
    else:
        click.echo("\n".join(evaluation_lines(result)))
