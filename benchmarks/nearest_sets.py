"""What choosing the nearest demonstrations is worth on real models: by trigrams, by an embedding model, or by lot.

    python -m benchmarks.nearest_sets run [nearest.jsonl] --model http://127.0.0.1:8901/v1 --name NAME
        --embedding all-MiniLM-L6-v2 [--sets labels,money] [--seeds 0,1] [--sizes 4,8] [--held-out 32] [--repeats 2]
    python -m benchmarks.nearest_sets table [nearest.jsonl]
    python -m benchmarks.nearest_sets alike [--model URL --embedding NAME] [--sets ...] [--seeds ...] [--sizes ...]

One base URL serves both models, as calls in use need it. Tasks, seeds, stores and the results file are those of
`peers`: no arm learns, each is shown 4 or 8 of the same 24 training tasks, and is measured on the same held-out ones.
By lot the same examples stand before all requests of a seed. A finished cell is not made again. `alike` makes no
rollout: it tells how many of the examples that a held-out task would be shown have its answer, by trigrams also as they
were weighted until 28 November, by how rare they are among texts and not among answers.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations, product
from pathlib import Path
from statistics import fmean
from typing import TypeAlias

import click
import numpy as np

from tfgrpo.errors import InputError, TfgrpoError
from tfgrpo.evaluation.difference import Difference, paired_difference
from tfgrpo.experiences.embedded_examples import nearest_by_vectors
from tfgrpo.experiences.embedding import Embedder
from tfgrpo.experiences.step_notes import StepNotes
from tfgrpo.experiences.variants import as_prior
from tfgrpo.model.upstream import Upstream
from tfgrpo.records import Prior
from tfgrpo.settings import Settings
from tfgrpo.surfaces.nearest import compact, nearest, nearest_by_vector, pool_of, vector_pool_of

from .near_duplicates import embedded
from .peers import chosen, made, read, results_argument, served, whole_numbers
from .peers_cell import Cell, Found, Method, Terms
from .peers_methods import few_shot
from .peers_sets import SETS, parts
from .peers_table import Row, student

USUAL = Terms()
MATTER = ("labels", "components", "reviews", "keep-drop", "extraction", "money")
"""Sets in which the answer to a task can say something of that to another."""
SIZES = (4, 8)
BY_LOT, BY_TRIGRAMS, BY_RARITY = "by lot", "by trigrams", "by trigrams, rarity among texts"
VectorsOf: TypeAlias = Callable[[Sequence[str]], Awaitable[Mapping[str, str]]]
"""Texts with their vectors in the compact form."""


async def by_trigrams(size: int, cell: Cell) -> Found:
    """The nearest examples to each request by the trigrams that they share."""
    return Found(Prior(demonstrations=cell.examples, nearest=size), f"{size} nearest of {len(cell.examples)}")


async def by_vectors(model: str, size: int, cell: Cell) -> Found:
    """The nearest examples to each request by an embedding model; raises InputError where it gave no vectors."""
    embedder = Embedder(
        cell.upstream, model, Settings().embedding_near, cell.run.id, StepNotes(cell.store, cell.run.id)
    )
    notes = list[str]()
    found = await nearest_by_vectors(embedder, cell.upstream, cell.run.id, cell.examples, notes.append)
    variant = next((one for one in found if one.nearest == size), None)
    if variant is None:
        raise InputError("; ".join(notes) or f"there is no choosing {size} of {len(cell.examples)} examples")
    return Found(as_prior(variant), variant.source)


def methods(embedding: str, sizes: Sequence[int] = SIZES) -> dict[str, Method]:
    """The arms, by the names that the results file has for them."""
    ways: Mapping[str, Callable[..., Method]] = {
        BY_LOT: lambda size: partial(few_shot, size),
        BY_TRIGRAMS: lambda size: partial(by_trigrams, size),
        f"by {embedding}": lambda size: partial(by_vectors, embedding, size),
    }
    return {f"{size} {way}": make(size) for size in sizes for way, make in ways.items()}


def tables(rows: Sequence[Row]) -> Iterator[str]:
    """For each model and number of examples: the arms on each set, and how they differ."""
    arms: dict[tuple[str, int], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        size, way = str(row["method"]).split(" ", 1)
        arms[str(row["model"]), int(size)][way].append(row)
    for (model, size), by_way in sorted(arms.items()):
        names = dict.fromkeys(str(row["set"]) for of_way in by_way.values() for row in of_way)
        pairs = [(one, other) for other, one in combinations(by_way, 2)]
        yield from (f"# {model}, {size} examples", "")
        yield f"| set | seeds | {' | '.join(by_way)} | {' | '.join(f'{one} less {other}' for one, other in pairs)} |"
        yield f"|{'---|' * (2 + len(by_way) + len(pairs))}"
        over_sets: dict[tuple[str, str], list[float]] = defaultdict(list)
        for name in names:
            here = {way: [row for row in of_way if row["set"] == name] for way, of_way in by_way.items()}
            means = [f"{100 * fmean(_by_task(own).values()):.1f}" if own else "" for own in here.values()]
            found = {pair: difference(here[pair[0]], here[pair[1]]) for pair in pairs}
            for pair, one in found.items():
                over_sets[pair] += [one.mean] if one else []
            told = [_told(one) for one in found.values()]
            yield f"| {name} | {max(map(len, here.values()))} | {' | '.join([*means, *told])} |"
        last = [str(student(over_sets[pair])) if over_sets[pair] else "" for pair in pairs]
        yield f"| over {len(names)} sets |{' |' * (1 + len(by_way))} {' | '.join(last)} |"
        yield ""


async def alike_rows(vectors_of: VectorsOf | None, cells: Sequence[tuple[str, int]], seeds: Sequence[int]) -> list[str]:
    """A line of each set and size: the share of the examples shown that have the answer of the held-out task."""
    ways = [BY_RARITY, BY_TRIGRAMS, *(["by vectors"] if vectors_of else [])]
    lines = [f"| set | examples | all of them | {' | '.join(ways)} |", f"|{'---|' * (3 + len(ways))}"]
    for name, size in cells:
        found: list[tuple[float, ...]] = []
        for part in (parts(SETS[name], seed, USUAL.training, USUAL.held_out) for seed in seeds):
            shown, answers = [task.prompt for task in part.train], [str(task.answer) for task in part.train]
            pools = [partial(nearest, pool_of(shown)), partial(nearest, pool_of(shown, answers))]
            if vectors_of:
                vectors = await vectors_of([*shown, *(task.prompt for task in part.held_out)])
                near = vector_pool_of([vectors[text] for text in shown])
                pools.append(lambda text, k, near=near, of=vectors: nearest_by_vector(near, of[text], k))
            for task in part.held_out:
                same = np.array([answer == str(task.answer) for answer in answers], dtype=float)
                found.append((same.mean(), *(same[list(pool(task.prompt, size))].mean() for pool in pools)))
        told = " | ".join(f"{100 * share:.0f}" for share in np.mean(found, axis=0))
        lines.append(f"| {name} | {size} | {told} |")
    return lines


def difference(one: Sequence[Row], other: Sequence[Row]) -> Difference | None:
    """The one less the other, paired over the tasks of the seeds that both have; a task of several seeds is one."""
    beside = {row["seed"]: row for row in other}
    pairs = [(row, beside[row["seed"]]) for row in one if row["seed"] in beside]
    mine, theirs = _by_task([row for row, _ in pairs]), _by_task([row for _, row in pairs])
    made_at = [sum(int(row["repeats"]) for row, _ in pairs if task in row["rewards"]) for task in mine]
    by_task = np.array([mine[task] - theirs[task] for task in mine])
    return paired_difference(by_task, rollouts=made_at) if pairs else None


def _by_task(rows: Sequence[Row]) -> dict[str, float]:
    """The mean reward of each task over seeds."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        for task, reward in row["rewards"].items():
            found[task].append(reward)
    return {task: fmean(rewards) for task, rewards in found.items()}


def _told(found: Difference | None) -> str:
    return f"{100 * found.mean:+.1f} [{100 * found.low:+.0f}, {100 * found.high:+.0f}]" if found else ""


@click.group()
def main() -> None:
    """Compare ways to choose demonstrations."""


@main.command()
@results_argument
def table(results: Path) -> None:
    """Print the tables of a results file."""
    for line in tables(read(results)):
        click.echo(line)


@main.command()
@click.option("--model", "url", help="Base URL of an embedding model.  [default: trigrams alone]")
@click.option("--embedding", default="", help="What it goes by.")
@click.option("--sets", default=",".join(MATTER), show_default=True)
@click.option("--seeds", default="0,1,2,3", show_default=True)
@click.option("--sizes", default="1,4,8", show_default=True)
def alike(*, url: str | None, embedding: str, sets: str, seeds: str, sizes: str) -> None:
    """Print how many of the examples shown have the answer of the task that is asked."""
    cells = list(product(chosen(sets, SETS, "set"), whole_numbers("--sizes", sizes)))

    async def rows() -> list[str]:
        if not url:
            return await alike_rows(None, cells, whole_numbers("--seeds", seeds))
        async with Upstream(url) as upstream:

            async def vectors_of(texts: Sequence[str]) -> Mapping[str, str]:
                return {text: compact(one) for text, one in (await embedded(upstream, embedding, texts)).items()}

            return await alike_rows(vectors_of, cells, whole_numbers("--seeds", seeds))

    click.echo("\n".join(asyncio.run(rows())))


@main.command()
@results_argument
@click.option("--model", required=True, help="Base URL that serves both models.")
@click.option("--name", required=True, help="What the model that answers goes by.")
@click.option("--embedding", required=True, help="What the embedding model goes by.")
@click.option("--sets", default=",".join(MATTER), show_default=True)
@click.option("--seeds", default="0", show_default=True, help="As 0,1,2.")
@click.option("--sizes", default="4,8", show_default=True, help="Examples that a request is shown.")
@click.option("--held-out", default=USUAL.held_out, show_default=True, help="Tasks to measure on.")
@click.option("--repeats", default=USUAL.repeats, show_default=True, help="Rollouts at each of those.")
def run(
    results: Path, *, model: str, name: str, embedding: str, sets: str, seeds: str, sizes: str, **terms: int
) -> None:
    """Make the cells that are missing, in the order of seeds, sets, sizes, arms."""
    try:
        ways = methods(embedding, whole_numbers("--sizes", sizes))
        cells = list(product(whole_numbers("--seeds", seeds), chosen(sets, SETS, "set"), ways))
        with served(model, name, results.with_suffix(".stores")) as place:
            for seed, each, way in cells:
                click.echo(made(results, place, (each, seed, way), Terms(**terms), ways))
    except TfgrpoError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
