"""Commands that spend calls: learn, eval, demo."""

from typing import TYPE_CHECKING

import click

from . import main
from .options import (
    endpoint,
    json_option,
    open_store,
    print_json,
    read_frame,
    run_async,
    store_options,
    upstream_options,
)

if TYPE_CHECKING:
    from ..evaluate import Evaluation


@main.command()
@click.argument("tasks")
@click.option("--reward", default="exact", show_default=True, help="A built-in reward, or module:function.")
@upstream_options
@store_options
@click.option("--system", metavar="FILE", help="System prompt that production will use.")
@click.option("--request", metavar="FILE.json", help="Further request fields (max_tokens, tools, ...).")
@click.option("--temperature", type=float, help="Of rollouts, and of production.  [default: 0.7]")
@click.option("--top-p", type=float, help="[default: 1]")
@click.option("--steps", type=int, help="Passes over the tasks.  [default: 4]")
@click.option("--group-size", type=int, help="Attempts a task in each step.  [default: 8]")
@click.option("--seed", type=int, help="[default: 0]")
@click.option("--concurrency", type=int, help="Calls in flight.  [default: 16]")
@click.option("--distiller-model", help="Model that proposes experiences.  [default: the model itself]")
@click.option("--no-experiences", is_flag=True, help="Learn the token prior only.")
@click.option("--no-token-prior", is_flag=True, help="Learn experiences only.")
@click.option("--fresh", is_flag=True, help="Start anew instead of resuming the same run where it was interrupted.")
@json_option
def learn(
    tasks: str,
    reward: str,
    base_url: str | None,
    model: str | None,
    store: str | None,
    namespace: str,
    system: str | None,
    request: str | None,
    temperature: float | None,
    top_p: float | None,
    distiller_model: str | None,
    no_experiences: bool,
    no_token_prior: bool,
    fresh: bool,
    as_json: bool,
    **numbers: int | None,
) -> None:
    """Learn a prior from TASKS (JSONL, JSON or CSV with `input` and `answer`; - is stdin) and make it live.

    The same command goes on where it was interrupted.
    """
    from ..learn import Learned, Plan
    from ..learn import learn as run_learning
    from ..llm import Upstream
    from ..progress import Display
    from ..rewards import check, load_reward
    from ..settings import Settings
    from ..tasks import read_tasks

    scorer = load_reward(reward)
    found = read_tasks(tasks)
    check(scorer, found.tasks)
    given = {name: value for name, value in numbers.items() if value is not None}
    settings = Settings(**given, token_prior=not no_token_prior, experiences=not no_experiences)
    frame = read_frame(model or "", system, request, temperature, top_p)
    with open_store(store, create=True) as opened, endpoint(base_url, model) as (url, name):
        plan = Plan(found.tasks, scorer, reward, frame_for(frame, name), namespace, settings, distiller_model)

        async def work() -> Learned:
            async with Upstream(url, settings=settings, journal=opened) as upstream:
                with Display(lambda: upstream.usage) as display:
                    if found.duplicates:
                        display.note(f"{found.source}: {found.duplicates} repeated tasks are counted once")
                    return await run_learning(plan, opened, upstream, display, fresh=fresh)

        learned = run_async(work())
    if as_json:
        print_json(learned.as_json())
    else:
        click.echo("\n".join(learned.lines()))


@main.command("eval")
@click.argument("tasks")
@click.option("--reward", default="exact", show_default=True, help="A built-in reward, or module:function.")
@click.option("--prior", "prior_id", help="A prior by id.  [default: the live one]")
@click.option("--repeat", default=4, show_default=True, type=click.IntRange(min=1), help="Attempts a task and arm.")
@click.option("--seed", default=0, show_default=True)
@upstream_options
@store_options
@json_option
def evaluate(
    tasks: str,
    reward: str,
    prior_id: str | None,
    repeat: int,
    seed: int,
    base_url: str | None,
    model: str | None,
    store: str | None,
    namespace: str,
    as_json: bool,
) -> None:
    """Frozen against learned on TASKS that were not used for learning, with a 95% interval over tasks."""
