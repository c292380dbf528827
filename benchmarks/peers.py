"""What this learner is worth beside what a user gets for nothing, and beside others, at equal total calls.

    python -m benchmarks.peers run [peers.jsonl] [--sets id,labels] [--methods frozen,learner] [--seeds 0,1]
        [--model local] [--calls 400] [--held-out 32] [--repeats 2]
    python -m benchmarks.peers table [peers.jsonl]

The model: `local` (SmolLM2-135M), a GGUF file, or a base URL with --name (the key in OPENAI_API_KEY). The sets:
`peers_sets.py`; one that cannot be had here (reasoning-gym is not installed) is left out with a message, and so is the
method `gepa` without its package (`pip install gepa`, into the same environment).

Every arm sees the same training tasks and the same model; every arm that learns may make the same number of model
calls, distilling, reflecting and probing included (those of the measurement are not counted: all arms have them). Each
is measured on the same held-out tasks at the temperature of learning.

A finished cell (model, terms, set, seed, method) is a line of the results file and is not made again; an interrupted
one goes on from its store in the folder beside the file. Several processes may work at other cells of one file.
"""

import asyncio
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from itertools import product
from pathlib import Path

import click

from tfgrpo.errors import InputError, TfgrpoError
from tfgrpo.model.local import model_path, serve_local
from tfgrpo.records import JSON

from .peers_cell import Method, Place, Terms, figures, opened
from .peers_methods import METHODS
from .peers_sets import SETS
from .peers_table import tables

USUAL = Terms()
results_argument = click.argument("results", type=click.Path(path_type=Path), default="peers.jsonl")


@click.group()
def main() -> None:
    """Compare the learner with its peers."""


@main.command()
@results_argument
def table(results: Path) -> None:
    """Print the tables of a results file."""
    for line in tables(read(results)):
        click.echo(line)


@main.command()
@results_argument
@click.option("--sets", default=",".join(SETS), show_default=True)
@click.option("--methods", default=",".join(METHODS), show_default=True)
@click.option("--seeds", default="0", show_default=True, help="As 0,1,2.")
@click.option("--model", default="local", show_default=True, help="local, a GGUF file, or a base URL.")
@click.option("--name", help="What the model at a base URL goes by.")
@click.option("--calls", default=USUAL.calls, show_default=True, help="Model calls of each arm that learns.")
@click.option("--training", default=USUAL.training, show_default=True, help="Tasks to learn from.")
@click.option("--held-out", default=USUAL.held_out, show_default=True, help="Tasks to measure on.")
@click.option("--repeats", default=USUAL.repeats, show_default=True, help="Rollouts at each of those.")
def run(results: Path, *, sets: str, methods: str, seeds: str, model: str, name: str | None, **terms: int) -> None:
    """Make the cells that are missing, in the order of sets, seeds, methods."""
    try:
        wanted = list(
            product(chosen(sets, SETS, "set"), whole_numbers("--seeds", seeds), chosen(methods, METHODS, "method"))
        )
        with served(model, name, results.with_suffix(".stores")) as place:
            for cell in wanted:
                click.echo(made(results, place, cell, Terms(**terms)))
    except TfgrpoError as error:
        raise click.ClickException(str(error)) from error


def chosen(given: str, there: Mapping[str, object], noun: str) -> list[str]:
    """The names of a list, which are all known."""
    names = [name.strip() for name in given.split(",")]
    for name in names:
        if name not in there:
            raise InputError(f"there is no {noun} {name!r}; there are {', '.join(there)}")
    return names


def whole_numbers(option: str, given: str) -> list[int]:
    """The numbers of a list."""
    try:
        return [int(number) for number in given.split(",")]
    except ValueError as error:
        raise InputError(f"{option} is {given!r}; give whole numbers, as 0,1,2") from error


@contextmanager
def served(model: str, name: str | None, stores: Path) -> Iterator[Place]:
    """Where a model is served; starts a local one, and stops it on exit."""
    stores.mkdir(parents=True, exist_ok=True)
    if "://" in model:
        if not name:
            raise InputError(f"which model at {model}? Name it with --name")
        yield Place(model, name, stores, os.environ.get("OPENAI_API_KEY"))
        return
    with serve_local(model_path(None if model == "local" else model)) as server:
        yield Place(server.endpoint.base_url, server.endpoint.model, stores)


def made(
    results: Path,
    place: Place,
    cell: tuple[str, int, str],
    terms: Terms,
    methods: Mapping[str, Method] = METHODS,
) -> str:
    """Make one cell and append its line, unless it is there already; what became of it, in a sentence."""
    name, seed, method = cell
    key = {"model": place.model, "set": name, "seed": seed, "method": method, **asdict(terms)}
    told = f"{name}, seed {seed}, {method}"
    if any(all(row.get(field) == value for field, value in key.items()) for row in read(results)):
        return f"{told}: there already"
    try:
        found = asyncio.run(_figures(place, cell, terms, methods))
    except TfgrpoError as error:
        return f"{told}: left out, and tried again next time: {error}"
    _append(results, json.dumps({**key, **found}, ensure_ascii=False))
    rewards, spent = found["rewards"].values(), found["spent"]["calls"]
    return (
        f"{told}: {100 * sum(rewards) / len(rewards):.1f}%, {spent} calls, {found['minutes']:.1f} min; {found['what']}"
    )


def _append(results: Path, line: str) -> None:
    """Add a line, on one of its own even where the last one was cut off by a kill."""
    with results.open("a+b") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        whole = file.read() in (b"", b"\n")
        file.write(("" if whole else "\n").encode() + line.encode() + b"\n")


async def _figures(
    place: Place, cell: tuple[str, int, str], terms: Terms, methods: Mapping[str, Method]
) -> dict[str, JSON]:
    name, seed, method = cell
    async with opened(place, SETS[name], seed, method, terms) as ready:
        return await figures(ready, methods[method])


def read(results: Path) -> list[dict[str, JSON]]:
    """The lines of a results file; none where there is none. One that was cut off by a kill is left out."""
    if not results.exists():
        return []
    found = []
    for line in results.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


if __name__ == "__main__":
    main()
