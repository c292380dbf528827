"""The command that learns a prior."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import click

from . import OUT_OF_BUDGET, main
from .agents import agent_options
from .distiller import distiller_endpoint, distiller_options, prompts_option
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
)
from .sides import sides_options
from .spending import spending_options
from .text import learned_lines

if TYPE_CHECKING:
    from pathlib import Path

    from ..budget import Budget
    from ..learned import Learned
    from ..plan import Plan
    from ..records import JSON
    from ..settings import Recipe, Settings
    from ..store import Store
    from ..tasks import TaskSet
    from ..tokenizer import Tokenizer
    from .distiller import Elsewhere
    from .sides import Sides
    from .spending import Spending


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
@agent_options
@distiller_options
@prompts_option
@sides_options
@click.option("--alpha", "gate_alpha", type=float, help="Chance of ever promoting what is no better.  [default: 0.05]")
@click.option("--passes", "gate_passes", type=int, help="Passes of the gate at most.  [default: 32]")
@spending_options
@click.option("--no-experiences", is_flag=True, help="Learn the token prior only.")
@click.option("--no-token-prior", is_flag=True, help="Learn experiences only.  [paper: always]")
@click.option("--no-demonstrations", is_flag=True, help="Try no winning attempts as examples.  [paper: always]")
@click.option("--no-ground-truth", is_flag=True, help="Never show the tasks' answers to the distiller.")
@click.option(
    "--prior-tokens",
    type=int,
    help="Most tokens of experiences to show, counted with the model's tokenizer where it is at hand.  [default: 1000]",
)
@click.option("--no-rest-tasks", is_flag=True, help="Visit tasks that are always solved, or never, at every step too.")
@click.option(
    "--overlong",
    metavar="MAX:CACHE",
    help="Take off up to 1 of the reward from MAX - CACHE to MAX completion tokens.  [default: length costs nothing]",
)
@click.option("--review", is_flag=True, help="Hold every proposal for a person instead of trying it.")
@click.option("--clip-rewards", is_flag=True, help="Take a reward outside 0 to 1 for the nearer bound.")
@click.option("--dry-run", is_flag=True, help="Say what it would cost, and what the gate could detect; spend nothing.")
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
    agent: str | None,
    command: str | None,
    recipe: "Recipe",
    distiller_model: str | None,
    distiller_base_url: str | None,
    distiller_key_env: str | None,
    prompts: "Path | None",
    sides: "Sides",
    spending: "Spending",
    dry_run: bool,
    resume: bool,
    as_json: bool,
    **more: float | str | None,
) -> None:
    """Learn a prior from TASKS, and make it live if held-out tasks show that it is better.

    TASKS is JSONL, JSON or CSV with `input` and `answer`, - for stdin, or gym:FAMILY?size=50&seed=1 (extra
    `tfgrpo[gym]`). A part of it teaches, a part decides (the gate), a part is left for tfgrpo eval.

    The same command goes on where it was interrupted. Exit code 3: a ceiling ended the run; what was done is kept, and
    a larger ceiling goes on from there.
    """
    from dataclasses import replace

    from ..agents import load_agent
    from ..distil import templates
    from ..errors import InputError
    from ..plan import Plan
    from ..rewards import check, default_reward, load_reward
    from ..settings import Settings
    from ..tasks import read_tasks

    named = read_tokenizer(tokenizer)
    scorer = load_reward(reward := reward or default_reward(tasks))
    found = read_tasks(tasks)
    parts = sides.splits(found)
    check(scorer, (*parts.train, *parts.validation, *parts.test))
    attempting = load_agent(agent, command)
    templates(prompts)
    settings = Settings.for_recipe(recipe, **_explicit(more))
    their_url = distiller_base_url if distiller_base_url != base_url else None
    theirs = distiller_endpoint(their_url, distiller_model, distiller_key_env)
    frame = read_frame(model or base_url or "", system, request, temperature, top_p)
    if attempting and (frame.system or frame.request):
        raise InputError("--system and --request shape a plain call; an agent writes its own requests: leave them out")
    plan = Plan(
        parts.train,
        scorer,
        reward,
        frame,
        namespace,
        settings,
        distiller_model,
        prompts,
        attempting,
        parts.validation,
        parts.test,
    )
    if dry_run:
        _tell_cost(plan, spending.budget(base_url, *_models(plan)), store, as_json=as_json)
        return
    with (
        open_store(store, create=True) as opened,
        endpoint(base_url, model) as (url, name),
        theirs as (their, proposer),
    ):
        plan = replace(plan, frame=replace(frame, model=name), distiller=proposer)
        warn_of_model(namespace, opened.namespaces(), opened.live(namespace), name)
        budget = spending.budget(base_url, *_models(plan))

        notes = _notes(found, settings)
        learned = run_async(
            _learned(
                plan,
                opened,
                url=url,
                their=their,
                budget=budget,
                tokenizer=named,
                notes=notes,
                fresh=not resume,
            )
        )
    if as_json:
        print_json(learned.as_json())
    else:
        click.echo("\n".join(learned_lines(learned)))
    if learned.ended:
        click.get_current_context().exit(OUT_OF_BUDGET)


async def _learned(
    plan: "Plan",
    store: "Store",
    *,
    url: str | None,
    their: "Elsewhere",
    budget: "Budget",
    tokenizer: "Tokenizer | None",
    notes: "Iterable[str]",
    fresh: bool,
) -> "Learned":
    """Carry out a plan against the upstream at `url`, with a display of how it goes."""
    from ..learn import learn as run_learning
    from ..llm import Upstream
    from ..progress import Display
    from ..records import Usage

    async with (
        Upstream(url, settings=plan.settings, journal=store, tokenizer=tokenizer, budget=budget) as upstream,
        their.open(plan.settings, store, budget) as distiller,
    ):
        with Display(lambda: upstream.usage + (distiller.usage if distiller else Usage())) as display:
            for line in notes:
                display.note(line)
            return await run_learning(plan, store, upstream, display, distiller=distiller, fresh=fresh, budget=budget)


def _notes(found: "TaskSet", settings: "Settings") -> "Iterator[str]":
    """What to say of the tasks and settings before anything is done."""
    if found.duplicates:
        yield f"{found.source}: {found.duplicates} repeated tasks are counted once"
    if settings.group_size == 1 and settings.recipe == "measured":
        yield "a group of one compares nothing: no experience can be measured, and none kept"


def _models(plan: "Plan") -> tuple[str, ...]:
    """The models that a run calls."""
    return tuple(dict.fromkeys(name for name in (plan.frame.model, plan.distiller) if name))


def _tell_cost(plan: "Plan", budget: "Budget", store: str | None, *, as_json: bool) -> None:
    """What --dry-run prints; a store that is not there yet is not made."""
    from ..cost import cost, lines
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


def _explicit(options: "Mapping[str, float | str | None]") -> "dict[str, JSON]":
    """The settings that options name: numbers and flags that were given, and what a `no_` flag switches off."""
    switched = {name.removeprefix("no_"): False for name, on in options.items() if name.startswith("no_") and on}
    named = {name: value for name, value in options.items() if not name.startswith("no_")}
    return switched | {name: value for name, value in named.items() if value is not None and value is not False}
