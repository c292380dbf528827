"""How long a run of `learn` takes beside the least that its calls allow, against a service under load.

    python -m benchmarks.scheduling [--tasks 100] [--concurrency 64] [--seed 0]

The service is simulated (`tfgrpo.testing.Strained`): a median of 1 s an answer with a heavy tail (log-normal, sd 0.8),
5% of requests refused with 429 and a Retry-After of a second, 1% stalled for 10 s more. The run has groups of 5 in two
steps, with distilling. Beside its wall time:

- the *lower bound*: the seconds that all answers took, over the places, plus the longest chain of calls that wait for
  each other (what is asked before the first step, one by one; the longest rollout of each of the four rounds, since
  the race is looked at twice a step; distilling runs beside them, but for the last of a step);
- the *same calls with barriers*: as many requests, stage by stage, each beginning when the one before it has ended, and
  a refused call holding its place while it waits. A round of a step is a stage, since the second's rollouts are dealt
  by what the first one's earned, and so is the distilling of each; beside it the same with one round a step, which is
  less than the run did.
"""

import asyncio
import json
import resource
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import click
import openai

from tfgrpo.errors import TfgrpoError
from tfgrpo.learning.plan import Plan
from tfgrpo.learning.run import carry_out
from tfgrpo.model.upstream import Upstream
from tfgrpo.observer import Silent
from tfgrpo.records import ChatBody, Frame, Task, message_text
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel, Strained, serving

LABELS = ("billing", "technical", "sales", "other")
SPREAD, BUSY, STALLS = 0.8, 0.05, 0.01
ADVICE = ("When an invoice is named, answer billing.", "When a crash is named, answer technical.")


def kind(body: bytes) -> str:
    """What a request is for."""
    if b"<attempts>" in body or b"<proposals>" in body:
        return "distilling"
    return "rollout" if b"Route it." in body else "before"


def script(body: ChatBody) -> Answer:
    """Right half of the time; proposes the same two texts whenever it is asked for advice."""
    text = "\n".join(message_text(message) for message in body["messages"])
    if "Route it." not in text and "JSON" not in text:
        return Answer("Answer with one word, the queue that the message is for, in lower case.")
    if "Route it." not in text:
        edits = [{"operation": "ADD", "text": advice, "target": "", "from": ["P1", "P2"]} for advice in ADVICE]
        return Answer(json.dumps(edits))
    number = int(text.rpartition("message ")[2].split()[0]) if "message " in text else 0
    right = LABELS[number % len(LABELS)]
    return Answer(right if int(body.get("seed") or 0) % 2 else "no idea")


def strained(seconds: float, seed: int) -> Strained:
    """A service under load, of which nothing was asked yet."""
    model = ScriptedModel(script)
    return Strained(
        model, seconds, SPREAD, BUSY, retry_after=seconds, stalls=STALLS, stalled=10 * seconds, seed=seed, kind=kind
    )


def chain(served: Sequence[tuple[str, float]], rounds: int) -> float:
    """Seconds of the calls that wait for each other, of so many rounds of rollouts; distilling runs beside those."""
    of = {name: [seconds for each, seconds in served if each == name] for name in ("before", "rollout")}
    each = -(-len(of["rollout"]) // rounds)
    parts = [of["rollout"][start : start + each] for start in range(0, len(of["rollout"]), each)]
    return sum(of["before"]) + sum(max(part) for part in parts)


async def learned(url: str, path: Path, tasks: int, settings: Settings) -> float:
    """Wall seconds of a run."""
    wanted = tuple(Task(f"message {number} of a customer", LABELS[number % len(LABELS)]) for number in range(tasks))
    plan = Plan(wanted, load_reward("exact"), "exact", Frame("fake", "Route it."), settings=settings)
    with Store(path) as store:
        async with Upstream(url, settings=settings, journal=store) as upstream:
            begun = time.perf_counter()
            await carry_out(plan, store, upstream, Silent())
            return time.perf_counter() - begun


def made(path: Path) -> list[tuple[int, str, int]]:
    """Step, stage and number of the calls of a run, in the order of the stages."""
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT step, stage FROM calls WHERE stage NOT LIKE 'no %' AND response != ''").fetchall()
    counts = Counter((step, _stage(stage)) for step, stage in rows)
    order = ("probe", "before", "rollout", "distil", "merge")
    return sorted(
        ((step, stage, n) for (step, stage), n in counts.items()), key=lambda one: (one[0], order.index(one[1]))
    )


def _stage(name: str) -> str:
    if name.startswith("probe"):
        return "probe"
    if name in ("instruction", "written"):
        return "before"
    return name if name in ("rollout", "merge") else "distil"


def by_rounds(stages: Sequence[tuple[int, str, int]], rounds: int) -> list[tuple[int, str, int]]:
    """The stages of a run that looks at its race so many times a step."""
    found: list[tuple[int, str, int]] = []
    for step in sorted({one[0] for one in stages}):
        mine = [one for one in stages if one[0] == step]
        within = [one for one in mine if one[1] in ("rollout", "distil")]
        for number in range(rounds):
            shares = [(stage, count * (number + 1) // rounds - count * number // rounds) for _, stage, count in within]
            found += [(step, *share) for share in shares]
        found[0:0] = [one for one in mine if one[1] in ("probe", "before")]
        found += [one for one in mine if one[1] == "merge"]
    return found


async def barriered(url: str, stages: list[tuple[int, str, int]], concurrency: int) -> float:
    """Wall seconds of as many calls, with a barrier after each stage and places held while waiting."""
    places = asyncio.Semaphore(concurrency)
    begun = time.perf_counter()
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=5) as client:

        async def call(number: int) -> None:
            async with places:
                await client.chat.completions.create(
                    model="fake", messages=[{"role": "user", "content": f"message {number} of a customer"}]
                )

        for _, _, count in stages:
            await asyncio.gather(*(call(number) for number in range(count)))
    return time.perf_counter() - begun


def timed(stages: list[tuple[int, str, int]], concurrency: int, service: Strained) -> float:
    """Wall seconds of the stages with barriers."""
    with serving(service.app) as url:
        return asyncio.run(barriered(url, stages, concurrency))


@click.command()
@click.option("--tasks", default=100, show_default=True)
@click.option("--concurrency", default=64, show_default=True)
@click.option("--seconds", default=1.0, show_default=True, help="Median of an answer.")
@click.option("--hedge", type=float, help="Medians after which a call is made once more, 0: never.")
@click.option("--seed", default=0, show_default=True)
@click.option("--once", is_flag=True, help="The calls with barriers also with one round a step.")
def main(*, tasks: int, concurrency: int, seconds: float, hedge: float | None, seed: int, once: bool) -> None:
    """Print wall time, lower bound, and the same calls with barriers."""
    settings = Settings(steps=2, group_size=5, concurrency=concurrency, token_prior=False, call_timeout=60, seed=seed)
    settings = replace(settings, hedge=None if hedge is None else hedge * seconds)
    with tempfile.TemporaryDirectory() as folder:
        path, service = Path(folder) / "tfgrpo.db", strained(seconds, seed)
        with serving(service.app) as url:
            try:
                wall = asyncio.run(learned(url, path, tasks, settings))
            except TfgrpoError as error:
                raise click.ClickException(str(error)) from error
            while service.in_flight:  # calls that were made twice, and are no longer wanted
                time.sleep(0.05)
        stages = made(path)
        twice = len(service.served) / sum(count for _, _, count in stages) - 1
        slow = timed(by_rounds(stages, settings.race_rounds), concurrency, strained(seconds, seed))
        fewer = timed(stages, concurrency, strained(seconds, seed)) if once else None
    work = sum(seconds for _, seconds in service.served) / concurrency
    waits = chain(service.served, 2 * settings.race_rounds)
    bound = work + waits
    cpu = resource.getrusage(resource.RUSAGE_SELF)
    click.echo(f"calls: {', '.join(f'step {step + 1} {stage} {count}' for step, stage, count in stages)}")
    click.echo(f"{twice:.1%} more calls were answered than kept")
    click.echo(f"refused {service.refused}; at most {service.most_in_flight} of {concurrency} places used")
    click.echo(f"wall {wall:.1f} s; work / places {work:.1f} s, longest chain {waits:.1f} s; bound {bound:.1f} s")
    click.echo(
        f"wall / bound {wall / bound:.2f}; the same calls with barriers {slow:.1f} s; wall / that {wall / slow:.2f}"
    )
    if fewer:
        click.echo(f"with barriers, but one round a step {fewer:.1f} s; wall / that {wall / fewer:.2f}")
    click.echo(f"CPU of all in this process, service included: {cpu.ru_utime + cpu.ru_stime:.1f} s")


if __name__ == "__main__":
    main()
