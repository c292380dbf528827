"""Commands that spend calls: learn, eval, demo."""

from typing import Any

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
from .text import demo_lines, evaluation_lines, learned_lines


@main.command()
@click.argument("tasks")
@click.option("--reward", default="exact", show_default=True, help="A built-in reward, or module:function.")
@upstream_options
@store_options
@click.option("--system", metavar="FILE", help="System prompt that production will use.")
@click.option("--request", metavar="FILE.json", help="Further request fields (max_tokens, tools, ...).")
@click.option("--temperature", type=float, help="Of rollouts, and of production.  [default: 0.7]")
@click.option("--top-p", type=float, help="Of rollouts, and of production.  [default: 1]")
@click.option("--steps", type=int, help="Passes over the tasks.  [default: 4]")
@click.option("--group-size", type=int, help="Attempts a task in each step.  [default: 8]")
@click.option("--seed", type=int, help="Another seed is another run.  [default: 0]")
@click.option("--concurrency", type=int, help="Calls in flight.  [default: 16]")
@click.option("--distiller-model", help="Model that proposes experiences.  [default: the model itself]")
@click.option("--no-experiences", is_flag=True, help="Learn the token prior only.")
@click.option("--no-token-prior", is_flag=True, help="Learn experiences only.")
@click.option("--fresh", is_flag=True, help="Start anew instead of resuming the same run where it was interrupted.")
@json_option
def learn(
    *,
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
    from dataclasses import replace

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
    given: dict[str, Any] = {name: value for name, value in numbers.items() if value is not None}
    settings = replace(Settings(token_prior=not no_token_prior, experiences=not no_experiences), **given)
    frame = read_frame(model or "", system, request, temperature, top_p)
    with open_store(store, create=True) as opened, endpoint(base_url, model) as (url, name):
        frame = replace(frame, model=name)
        plan = Plan(found.tasks, scorer, reward, frame, namespace, settings, distiller_model)

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
        click.echo("\n".join(learned_lines(learned)))


@main.command("eval")
@click.argument("tasks")
@click.option("--reward", default="exact", show_default=True, help="A built-in reward, or module:function.")
@click.option("--prior", "prior_id", metavar="ID", help="A prior by id.  [default: the live one]")
@click.option("--repeat", default=4, show_default=True, type=click.IntRange(min=1), help="Attempts a task and arm.")
@click.option("--seed", default=0, show_default=True, help="Of sampling and resampling.")
@upstream_options
@store_options
@json_option
def evaluate(
    *,
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
    """Frozen against learned on TASKS that were not used for learning, with a 95% interval over tasks.

    Both arms run under the request frame and the sampling settings of learning.
    """
    from dataclasses import replace

    from ..errors import InputError
    from ..evaluate import Evaluation, Measurement, held_out, measure
    from ..llm import Upstream
    from ..prior import prior_for
    from ..progress import Display
    from ..rewards import check, load_reward
    from ..tasks import read_tasks

    scorer = load_reward(reward)
    found = read_tasks(tasks)
    check(scorer, found.tasks)
    with open_store(store) as opened:
        snapshot = opened.live(namespace)
        if snapshot is None:
            raise InputError(f"no prior is live in namespace {namespace}; tfgrpo learn makes one")
        if prior_id:
            snapshot = replace(snapshot, prior=opened.prior(prior_id))
        left = held_out(found.tasks, opened, namespace)
        model = model or (None if base_url == "local" else snapshot.frame.model)
        with endpoint(base_url, model) as (url, name):
            frame, prior = replace(snapshot.frame, model=name), prior_for(snapshot, name)
            wanted = Measurement(left, scorer, reward, frame, prior, namespace, repeat, seed)

            async def work() -> Evaluation:
                async with Upstream(url, journal=opened) as upstream:
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


@main.command()
@click.option("--seed", default=0, show_default=True, help="Of sampling and resampling.")
@click.option("--store", metavar="FILE", help="Keep the store here.  [default: in the user's cache]")
@click.option("--json", "json_file", metavar="FILE", help="Also write the figures to this file.")
def demo(*, seed: int, store: str | None, json_file: str | None) -> None:
    """Learn to route support messages on the embedded model, and measure it on messages it has not seen."""
    import json
    from pathlib import Path

    from ..demo import Demo, demo_store, run_demo
    from ..llm import Upstream
    from ..progress import Display
    from ..store import Store

    path = Path(store) if store else demo_store(seed)
    with Store(path) as opened, endpoint("local", None) as (url, name):

        async def work() -> Demo:
            async with Upstream(url, journal=opened) as upstream:
                with Display(lambda: upstream.usage) as display:
                    return await run_demo(opened, upstream, name, seed, display)

        result = run_async(work())
        fates = opened.experiences("demo")
    if json_file:
        Path(json_file).write_text(json.dumps(result.as_json(), indent=2, ensure_ascii=False), encoding="utf-8")
    click.echo("\n".join(demo_lines(result, fates)))
    click.echo(f"\nThe store is {path}. Look at it with: tfgrpo prior show --namespace demo --store {path}")
