"""The methods of `peers` that need no other package: what a user gets for nothing, and this package's two recipes.

Each may make as many model calls as the cell's terms say, and sees the training tasks alone.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from random import Random
from typing import Any

from tfgrpo.errors import ModelError, UpstreamError
from tfgrpo.hashing import derive_seed
from tfgrpo.learning.cost import cost
from tfgrpo.learning.plan import Plan
from tfgrpo.learning.run import carry_out
from tfgrpo.model.budget import Budget, Ceiling
from tfgrpo.model.upstream import Upstream
from tfgrpo.observer import Silent
from tfgrpo.records import JSON, Demonstration, Prior, Task
from tfgrpo.settings import Settings
from tfgrpo.text import shortened

from .peers_cell import Cell, Found, Method
from .peers_gepa import gepa

DRAWS = 4
"""Draws of each size among which `few-shot-chosen` chooses."""
PROBING = 6
"""Calls that learning leaves to the probe of the upstream."""
WRITING_TOKENS = 200
SHOWN = 12
"""Training tasks that `written` is shown."""
RECIPE: Mapping[str, JSON] = {
    "concurrency": 8,
    "distiller_tokens": 256,
    "distiller_retries": 0,
    "summary_chars": 400,
    "stop_hopeless": False,
}
"""Of both recipes: an experience has 32 words at most, and small models that may write more write in circles; a first
step that earns nothing is no reason to stop, since what comes of it is to be measured."""


async def frozen(cell: Cell) -> Found:
    """The model as it is."""
    return Found(Prior(), "nothing")


async def few_shot(size: int, cell: Cell) -> Found:
    """Training examples in the prompt, drawn once; no call is made."""
    return Found(Prior(demonstrations=_draw(cell, size, 0)), f"{size} examples")


def _draw(cell: Cell, size: int, draw: int) -> tuple[Demonstration, ...]:
    """As many examples as there are, in an order that seed and draw decide."""
    random = Random(derive_seed("peers draw", cell.wanted.name, cell.seed, draw))
    return tuple(random.sample(cell.examples, min(size, len(cell.examples))))


async def few_shot_chosen(cell: Cell) -> Found:
    """The best of several draws of 4, 8 and 16 examples, by successive halving over the training tasks.

    A task is not shown its own example. Plain means decide: no regression, no pooling over draws.
    """
    arms = [(size, draw) for draw in range(DRAWS) for size in (4, 8, 16)]
    priors = {arm: Prior(demonstrations=_draw(cell, *arm)) for arm in arms}
    totals = {arm: [0.0, 0] for arm in arms}
    rounds = int(math.log2(len(arms)))  # until one is left
    start, left = 0, cell.terms.calls // cell.wanted.calls_each
    arms = arms[: max(1, left // rounds)]
    for number in range(rounds):
        each = left // (rounds - number) // len(arms)
        if each == 0:
            break
        tasks = _in_turn(cell.parts.train, start, each)
        wanted = [
            (task, priors[arm], 1000 * place + n) for place, arm in enumerate(arms) for n, task in enumerate(tasks)
        ]
        made = await cell.rollouts("search", wanted, step=number)
        for place, arm in enumerate(arms):
            for rollout in made[place * each : (place + 1) * each]:
                totals[arm][0] += rollout.reward or 0.0
                totals[arm][1] += 1
        start, left = start + each, left - each * len(arms)
        arms = sorted(arms, key=lambda arm: -totals[arm][0] / max(1, totals[arm][1]))[: max(1, len(arms) // 2)]
    size, draw = arms[0]
    mean = totals[arms[0]][0] / max(1, totals[arms[0]][1])
    return Found(priors[arms[0]], f"{size} examples, draw {draw + 1}: {100 * mean:.0f}% in the search")


def _in_turn(tasks: Sequence[Task], start: int, count: int) -> list[Task]:
    return [tasks[(start + n) % len(tasks)] for n in range(count)]


async def written(cell: Cell) -> Found:
    """An instruction that the model writes in one go from training tasks and their answers."""
    shown = "\n\n".join(
        f"Input: {entry.messages[-1]['content']}\nAnswer: {entry.answer}" for entry in cell.examples[:SHOWN]
    )
    asked = f"{shown}\n\nWrite one short instruction that tells an assistant how to answer such inputs in this way."
    try:
        text = await cell.ask("write", [{"role": "user", "content": asked}], max_tokens=WRITING_TOKENS)
    except UpstreamError:
        raise
    except ModelError as error:
        return Found(Prior(), f"nothing was written: {error}")
    return Found(Prior(instruction=text.strip() or None), shortened(text, 200) or "nothing was written")


async def paper(cell: Cell) -> Found:
    """Training-Free GRPO as published, until its calls are spent; a step that they end teaches nothing."""
    return await _learned(cell, Settings.for_recipe("paper", seed=cell.seed, **RECIPE))


async def learner(cell: Cell) -> Found:
    """This package's learner, its steps and distilled groups such that the calls suffice."""
    return await _learned(cell, fitting(cell))


def fitting(cell: Cell) -> Settings:
    """Groups of eight where two steps of them fit, else smaller ones; the rest of the calls is for distilling."""
    each, tasks, calls = cell.wanted.calls_each, len(cell.parts.train), cell.terms.calls - PROBING
    size, steps = 8, calls // (tasks * 8 * each)
    if steps < 2:
        size, steps = max(2, calls // (tasks * 2 * each)), 2
    given: dict[str, Any] = {"seed": cell.seed, "steps": steps, "group_size": size, **RECIPE}
    for groups in range(tasks, 0, -1):
        settings = Settings(**given, distilled_groups=groups)
        total = cost(_plan(cell, settings))
        if total.total.calls + (each - 1) * total.rollouts.calls <= calls:
            return settings
    return Settings(**given, distilled_groups=0)


def _plan(cell: Cell, settings: Settings) -> Plan:
    wanted = cell.wanted
    return Plan(cell.parts.train, wanted.reward, wanted.reward_name, cell.frame, "learn", settings, agent=wanted.agent)


async def _learned(cell: Cell, settings: Settings) -> Found:
    """What a recipe learns under the ceiling; what was learned before the benchmark was stopped is taken as it is."""
    runs = [entry.run for entry in cell.store.runs("learn") if entry.run.status in ("finished", "out of budget")]
    if not runs:
        budget = Budget(Ceiling(calls=cell.terms.calls))
        async with Upstream(
            cell.place.base_url, api_key=cell.place.key, settings=settings, journal=cell.store, budget=budget
        ) as upstream:
            made = await carry_out(_plan(cell, settings), cell.store, upstream, Silent(), budget=budget)
        run, figures = made.run, made.as_json()
    else:
        run, figures = runs[-1], dict(runs[-1].result)
    prior = cell.store.prior(figures["candidate"]) if figures["candidate"] else Prior()
    return Found(prior, _told(prior, figures), spent=cell.store.spent(run.id))


def _told(prior: Prior, figures: Mapping[str, JSON]) -> str:
    """What a learned prior holds, and how far learning came."""
    shown = f"{prior.nearest} nearest of " if prior.nearest else ""
    parts = [f"{shown}{len(prior.demonstrations)} examples", f"{len(prior.experiences)} experiences"]
    parts += [f"{len(prior.biases)} biases", f"{len(figures['steps'])} steps"]
    parts += [f"instruction: {shortened(prior.instruction, 100)}"] if prior.instruction else []
    return "; ".join(parts)


METHODS: Mapping[str, Method] = {
    "frozen": frozen,
    "few-shot-4": partial(few_shot, 4),
    "few-shot-8": partial(few_shot, 8),
    "few-shot-16": partial(few_shot, 16),
    "few-shot-chosen": few_shot_chosen,
    "written": written,
    "gepa": gepa,
    "paper": paper,
    "learner": learner,
}
