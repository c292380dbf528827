"""The command that finds out how an environment works."""

from typing import TYPE_CHECKING

import click

from .command import TextCommand
from .options.frame import FrameOptions, frame_options
from .options.shared import by_option, json_option, named_store, person, store_options
from .options.spending import spending_options
from .options.target import Target, target_options
from .streams import interruptible, tell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..learning.explore import Exploration
    from ..model.budget import Spending
    from ..model.endpoints import Endpoints
    from ..settings import Settings


@click.command(cls=TextCommand)
@click.argument("tasks")
@click.option("--environment", metavar="MODULE:NAME", required=True, help="A class, or a function, that makes one.")
@click.option("--turns", default=12, show_default=True, help="Actions of a rollout at most.")
@click.option("--states", default=3, show_default=True, help="States of a rollout at which other actions are tried.")
@click.option("--alternatives", default=3, show_default=True, help="Other actions at each of them, at most.")
@click.option(
    "--step-timeout", default=60.0, show_default=True, metavar="SECONDS", help="Of each answer of the environment."
)
@click.option("--seed", default=0, show_default=True, help="Another seed is another exploration.")
@click.option("--concurrency", type=int, help="Tasks under way, and calls in flight.  [default: 16; local: 1]")
@frame_options
@target_options
@spending_options
@click.option("--resume/--fresh", default=True, help="Go on, or start anew.  [default: resume]")
@click.option("--add", is_flag=True, help="Put what is kept on trial in the namespace, and into its race.")
@by_option
@store_options
@json_option
def explore(
    *,
    tasks: str,
    environment: str,
    frame: FrameOptions,
    target: Target,
    spending: "Spending",
    step_timeout: float,
    resume: bool,
    add: bool,
    by: str | None,
    store: str | None,
    namespace: str,
    as_json: bool,
    seed: int,
    concurrency: int | None,
    **numbers: int,
) -> None:
    """Find out how an environment works, without any reward, and write it down as texts whose use is measured.

    Other actions are tried at states of the model's own rollouts of TASKS, and what follows is written down as rules
    and advice, and shown as it is. What helps the model to predict what follows on tasks that taught nothing is kept:
    texts, and the transitions of an action. An environment has
    reset(task) and step(action), which give a tfgrpo.records.Observation, and clone() where it can. What was done of an
    exploration is kept: the same command goes on from there.
    """
    import asyncio
    from dataclasses import replace

    from ..learning.wanted_exploration import WantedExploration
    from ..model.endpoints import Endpoint, Endpoints
    from ..progress import Display
    from ..rollouts.environment import load_environment
    from ..tasks.read import tasks_of

    endpoints = Endpoints(Endpoint(target.base_url, target.model), spending=spending)
    settings = _settings(endpoints, seed, concurrency)
    make, found = load_environment(environment), tasks_of(tasks).tasks
    asked = frame.read(endpoints.own.name)
    wanted = WantedExploration(
        found, environment, make, asked, endpoints, settings, **numbers, step_timeout=step_timeout
    )
    who = person(by) if add else ""
    with interruptible(), named_store(store, create=True) as opened, endpoints.started() as there:
        started = replace(wanted, endpoints=there)
        explored = asyncio.run(started.explored(opened, namespace, fresh=not resume, add=add, watch=Display))
    added = [*_added(explored, store, namespace, who)] if add else []
    tell(as_json, {**explored.as_json(), "added": added}, *explored.lines(), *added)


def _settings(endpoints: "Endpoints", seed: int, concurrency: int | None) -> "Settings":
    """Those of an exploration; the embedded model remembers how one conversation begins, its last one."""
    from dataclasses import replace

    from ..settings import Settings

    if concurrency is None:
        concurrency = 1 if endpoints.own.is_local else Settings().concurrency
    return replace(Settings(seed=seed, concurrency=concurrency), **endpoints.defaults)


def _added(explored: "Exploration", store: str | None, namespace: str, by: str) -> "Iterator[str]":
    """What became of each text that is kept, in the namespace."""
    from ..priors.by_hand import Curator

    with named_store(store, create=True) as opened:
        why = "explored: it helps to predict what follows"
        for one in Curator(opened, namespace, by).offer([text.text for text in explored.kept], why):
            yield f"{one.verdict}: {one.text}" + (f" ({one.why})" if one.why and one.verdict == "refused" else "")
