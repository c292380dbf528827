"""Commands that spend calls: learn, eval, demo."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from . import main
from .distiller import distiller_endpoint, distiller_options
from .options import (
    endpoint,
    json_option,
    open_store,
    print_json,
    read_frame,
    read_tokenizer,
    run_async,
    store_options,
    tokenizer_option,
    upstream_options,
    warn_of_model,
    write_text,
)
from .text import demo_lines, evaluation_lines, learned_lines

if TYPE_CHECKING:
    from pathlib import Path

    from ..records import JSON
    from ..settings import Recipe


@main.command()
@click.argument("tasks")
@click.option("--reward", help="A built-in reward, or module:function.  [default: exact; for gym:FAMILY, gym]")
@upstream_options
@store_options
@tokenizer_option
@click.option("--system", metavar="FILE", help="System prompt that production will use.")
@click.option("--request", metavar="FILE.json", help="Further request fields (max_tokens, tools, ...).")
@click.option("--temperature", type=float, help="Of rollouts, and of production.  [default: 0.7]")
@click.option("--top-p", type=float, help="Of rollouts, and of production.  [default: 1]")
@click.option(
    "--recipe",
    type=click.Choice(["measured", "paper"]),
    default="measured",
    show_default=True,
    help="`measured` tries experiences before it keeps them; `paper` is Training-Free GRPO as published.",
)
@click.option("--steps", type=int, help="Passes over the tasks.  [default: 4; paper: 3]")
@click.option("--group-size", type=int, help="Attempts a task in each step.  [default: 8; paper: 5]")
@click.option("--seed", type=int, help="Another seed is another run.  [default: 0]")
@click.option("--concurrency", type=int, help="Calls in flight.  [default: 16]")
@click.option("--distilled-groups", type=int, help="Groups a step that propose experiences.  [default: all]")
@click.option("--distiller-tokens", type=int, help="Longest answer of the distiller, in tokens.  [default: 1024]")
@distiller_options
@click.option("--no-experiences", is_flag=True, help="Learn the token prior only.")
@click.option("--no-token-prior", is_flag=True, help="Learn experiences only.  [paper: always]")
@click.option("--no-demonstrations", is_flag=True, help="Try no winning attempts as examples.  [paper: always]")
@click.option("--no-ground-truth", is_flag=True, help="Never show the tasks' answers to the distiller.")
@click.option("--review", is_flag=True, help="Hold every proposal for a person instead of trying it.")
@click.option(
    "--resume/--fresh",
    default=True,
    help="Go on where the same run was interrupted, or start it anew.  [default: resume]",
)
@json_option
def learn(
    *,
    tasks: str,
    reward: str | None,
    base_url: str | None,
    model: str | None,
    store: str | None,
    namespace: str,
    tokenizer: str | None,
    system: str | None,
    request: str | None,
    temperature: float | None,
    top_p: float | None,
    recipe: "Recipe",
    distiller_model: str | None,
    distiller_base_url: str | None,
    distiller_key_env: str | None,
    prompts: "Path | None",
    resume: bool,
    as_json: bool,
    **more: int | None,
) -> None:
    """Learn a prior from TASKS and make it live.

    TASKS is JSONL, JSON or CSV with `input` and `answer`, - for stdin, or gym:FAMILY?size=50&seed=1 (extra
    `tfgrpo[gym]`).

    The same command goes on where it was interrupted.
    """
    from dataclasses import replace

    from ..distil import templates
    from ..learn import Learned, Plan
    from ..learn import learn as run_learning
    from ..llm import Upstream
    from ..progress import Display
    from ..records import Usage
    from ..rewards import check, default_reward, load_reward
    from ..settings import Settings
    from ..tasks import read_tasks

    named = read_tokenizer(tokenizer)
    scorer = load_reward(reward := reward or default_reward(tasks))
    found = read_tasks(tasks)
    check(scorer, found.tasks)
    templates(prompts)
    settings = Settings.for_recipe(recipe, **_explicit(more))
    their_url = distiller_base_url if distiller_base_url != base_url else None
    theirs = distiller_endpoint(their_url, distiller_model, distiller_key_env)
    frame = read_frame(model or "", system, request, temperature, top_p)
    with (
        open_store(store, create=True) as opened,
        endpoint(base_url, model) as (url, name),
        theirs as (their, proposer),
    ):
        frame = replace(frame, model=name)
        warn_of_model(namespace, opened.namespaces(), opened.live(namespace), name)
        plan = Plan(found.tasks, scorer, reward, frame, namespace, settings, proposer, prompts)

        async def work() -> Learned:
            async with (
                Upstream(url, settings=settings, journal=opened, tokenizer=named) as upstream,
                their.open(settings, opened) as distiller,
            ):
                with Display(lambda: upstream.usage + (distiller.usage if distiller else Usage())) as display:
                    if found.duplicates:
                        display.note(f"{found.source}: {found.duplicates} repeated tasks are counted once")
                    if settings.group_size == 1 and recipe == "measured":
                        display.note("a group of one compares nothing: no experience can be measured, and none kept")
                    return await run_learning(plan, opened, upstream, display, distiller=distiller, fresh=not resume)

        learned = run_async(work())
    if as_json:
        print_json(learned.as_json())
    else:
        click.echo("\n".join(learned_lines(learned)))


def _explicit(options: "Mapping[str, int | None]") -> "dict[str, JSON]":
    """The settings that options name: numbers and flags that were given, and what a `no_` flag switches off."""
    switched = {name.removeprefix("no_"): False for name, on in options.items() if name.startswith("no_") and on}
    named = {name: value for name, value in options.items() if not name.startswith("no_")}
    return switched | {name: value for name, value in named.items() if value is not None and value is not False}


@main.command("eval")
@click.argument("tasks")
@click.option("--reward", help="A built-in reward, or module:function.  [default: exact; for gym:FAMILY, gym]")
@click.option("--prior", "prior_id", metavar="ID", help="A prior of the namespace by id.  [default: the live one]")
@click.option("--repeat", default=4, show_default=True, type=click.IntRange(min=1), help="Attempts a task and arm.")
@click.option("--seed", default=0, show_default=True, help="Of sampling and resampling.")
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

    from ..curation import snapshot_of
    from ..errors import InputError
    from ..evaluate import Evaluation, Measurement, held_out, measure
    from ..llm import Upstream
    from ..prior import prior_for
    from ..progress import Display
    from ..rewards import check, default_reward, load_reward
    from ..tasks import read_tasks

    named = read_tokenizer(tokenizer)
    scorer = load_reward(reward := reward or default_reward(tasks))
    found = read_tasks(tasks)
    check(scorer, found.tasks)
    with open_store(store) as opened:
        snapshot = snapshot_of(opened, namespace, prior_id) if prior_id else opened.live(namespace)
        if snapshot is None:
            raise InputError(f"no prior is live in namespace {namespace}; tfgrpo learn makes one")
        left = held_out(found.tasks, opened, namespace)
        model = model or (None if base_url == "local" else snapshot.frame.model)
        with endpoint(base_url, model) as (url, name):
            frame, prior = replace(snapshot.frame, model=name), prior_for(snapshot, name)
            warn_of_model(namespace, opened.namespaces(), snapshot, name, measuring=True)
            wanted = Measurement(left, scorer, reward, frame, prior, namespace, repeat, seed)

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


@main.command()
@click.option("--seed", default=0, show_default=True, help="Of sampling and resampling.")
@click.option("--store", metavar="FILE", help="Keep the store here.  [default: in the user's cache]")
@click.option("--json", "json_file", metavar="FILE", help="Also write the figures to this file.")
def demo(*, seed: int, store: str | None, json_file: str | None) -> None:
    """Learn to route support messages on the embedded model, and measure it on messages it has not seen."""
    import json
    from pathlib import Path

    from ..demo import Demo, demo_store, run_demo
    from ..errors import InputError
    from ..llm import Upstream
    from ..progress import Display
    from ..store import Store

    if json_file and not Path(json_file).absolute().parent.is_dir():
        raise InputError(f"--json {json_file}: there is no such folder")
    path = Path(store) if store else demo_store(seed)
    with Store(path) as opened, endpoint("local", None) as (url, name):

        async def work() -> Demo:
            async with Upstream(url, journal=opened) as upstream:
                with Display(lambda: upstream.usage) as display:
                    return await run_demo(opened, upstream, name, seed, display)

        result = run_async(work())
        fates = opened.experiences("demo")
    click.echo("\n".join(demo_lines(result, fates)))
    click.echo(f"\nThe store is {path}. Look at it with: tfgrpo prior show --namespace demo --store {path}")
    if json_file:
        write_text(json_file, json.dumps(result.as_json(), indent=2, ensure_ascii=False))
