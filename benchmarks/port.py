"""What `tfgrpo port` brings over from one model to another, beside learning anew there: gain, and calls.

    python -m benchmarks.port --keep FOLDER --models smol=,qwen=/path/to/qwen.gguf            # both directions
    python -m benchmarks.port --keep FOLDER --models ... --seconds 230                         # go on later
    python -m benchmarks.port --summary FOLDER

A model may be a base URL too (NAME=http://...), which is asked --concurrency calls at a time. Several processes may
work at other sets of one folder.

For each label set (`label_sets`), seed and model a prior is learned by `tfgrpo.learn` (race, token prior, gate; no
experiences), tried by `tfgrpo port` on each other model, and both are measured on the same held-out tasks at
temperature 0. Stores are kept in the folder, so that a run that was ended goes on from its last call; what is done is a
row in `rows.jsonl`, and is not done again. In the summary, only sets that both models can do count (`--least` points
above chance, with a prior of their own), and intervals are over texts.
"""

import argparse
import asyncio
import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, get_args

import numpy as np

import tfgrpo
from benchmarks.label_sets import QUESTIONS, LabelTasks, label_tasks
from tfgrpo.evaluation.difference import paired_difference
from tfgrpo.learning.port import WantedPort
from tfgrpo.model.endpoints import Endpoint, Endpoints
from tfgrpo.model.local import model_path, serve_local
from tfgrpo.model.local.server import LocalEndpoint
from tfgrpo.observer import Silent
from tfgrpo.settings import ExactGroups, Settings
from tfgrpo.store import Store

Row: TypeAlias = dict[str, Any]
TAUGHT, HELD, SEEDS = 40, 24, 3
"""Tasks that learning gets, to divide into those that teach and those that decide; and those that measure."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A folder with what was done, and the models by short name (a path, a base URL, or empty for the embedded one)."""

    folder: Path
    models: Mapping[str, str]
    concurrency: int = 1
    exact: ExactGroups = "auto"

    def settings(self, seed: int) -> Settings:
        """Those of a port."""
        return Settings(concurrency=self.concurrency, seed=seed, exact_groups=self.exact)

    @property
    def rows(self) -> list[Row]:
        """What is done."""
        file = self.folder / "rows.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def add(self, row: Row) -> None:
        """Write down, and tell."""
        with (self.folder / "rows.jsonl").open("a") as out:
            out.write(json.dumps(row) + "\n")
        arms = {arm: round(float(np.mean(found)), 3) for arm, found in row["arms"].items()}
        print(json.dumps({**row, "arms": arms, "texts": len(row["texts"])}), flush=True)

    def store(self, one: LabelTasks, model: str) -> Path:
        """Where the prior of one model is."""
        return self.folder / f"{one.name}-{one.seed}-{model}.db"


def learned(bench: Bench, one: LabelTasks, model: str, at: LocalEndpoint) -> Row:
    """Learning on a model by itself."""
    found = tfgrpo.learn(
        one.train, reward="choice", model=at.model, base_url=at.base_url,
        store=bench.store(one, model), experiences=False,
        steps=2, seed=one.seed, concurrency=bench.concurrency, system=one.system, stop_hopeless=False, api_key="none",
        request={"max_tokens": 1}, test_share=0.0, validation_share=0.4, exact_groups=bench.exact,
    )  # fmt: skip
    state = found.promotion.state if found.promotion else "nothing"
    return {"calls": found.usage.calls, "state": state, "arms": measured(bench, one, model, at, "default")}


def ported(bench: Bench, one: LabelTasks, old: str, at: LocalEndpoint) -> Row:
    """The prior of another model, tried on this one."""
    endpoints = Endpoints(Endpoint(at.base_url, at.model, "none"))
    with Store(bench.store(one, old)) as store:
        wanted = WantedPort("default", endpoints, f"on-{at.model}", settings=bench.settings(one.seed))
        found = asyncio.run(wanted.prepared(store).port(store, lambda _: nullcontext(Silent())))
    told = found.as_json()
    arms = measured(bench, one, old, at, found.namespace) if told["changed"] else {}
    return {"calls": found.usage.calls, "state": told["state"] or "nothing", "told": told, "arms": arms}


def measured(bench: Bench, one: LabelTasks, owner: str, at: LocalEndpoint, namespace: str) -> dict[str, list[float]]:
    """The reward of each held-out task, frozen and under what is live."""
    with Store(bench.store(one, owner)) as store:
        if store.live(namespace) is None:
            return {}
    found = tfgrpo.evaluate(
        one.held, reward="choice", model=at.model, base_url=at.base_url,
        store=bench.store(one, owner), namespace=namespace,
        repeat=1, temperature=0.0, written=False, few_shot=False, api_key="none", concurrency=bench.concurrency,
    )  # fmt: skip
    by_arm = {arm: {each.task.prompt: each.reward or 0.0 for each in made} for arm, made in found.rollouts.items()}
    return {arm: [rewards.get(task.prompt, 0.0) for task in one.held] for arm, rewards in by_arm.items()}


def todo(bench: Bench, names: Sequence[str], seeds: int) -> Iterator[tuple[str, str, str, int]]:
    """What is to be done, in order: the model that is asked, that whose prior it is, the set and the seed.

    A port comes after the learning of its prior; neighbours share the model that is served.
    """
    there = {(row["model"], row["prior_of"], row["set"], row["seed"]) for row in bench.rows}
    for seed in range(seeds):
        for name in names:
            own = [(model, model, name, seed) for model in bench.models]
            over = [(model, other, name, seed) for model in bench.models for other in bench.models if other != model]
            yield from (one for one in (*own, *over) if one not in there)


@contextmanager
def served(name: str, model: str) -> Iterator[LocalEndpoint]:
    """Where a model is; one that is no URL is served meanwhile."""
    if "://" in model:
        yield LocalEndpoint(model, name)
        return
    with serve_local(model_path(model or None), slots=1) as server:
        yield server.endpoint


def run(bench: Bench, names: Sequence[str], seeds: int, seconds: float) -> None:
    """Do what is not done, beginning nothing after so many seconds."""
    began = time.monotonic()
    for model, prior_of, name, seed in list(todo(bench, names, seeds)):
        if time.monotonic() - began > seconds:
            return
        own = {(row["prior_of"], row["set"], row["seed"]): row["state"] for row in bench.rows if _is_own(row)}
        if prior_of != model and own.get((prior_of, name, seed)) not in ("live", "ungated"):
            continue  # nothing was learned that could be ported
        one, now = label_tasks(name, seed, TAUGHT, HELD), time.monotonic()
        with served(model, bench.models[model]) as at:
            work = learned if prior_of == model else ported
            made = work(bench, one, prior_of, at)
        texts = [task.prompt for task in one.held]
        row = {"model": model, "prior_of": prior_of, "set": name, "seed": seed}
        bench.add({**row, "seconds": round(time.monotonic() - now, 1), **made, "texts": texts})


def _is_own(row: Row) -> bool:
    return bool(row["model"] == row["prior_of"])


def summary(rows: Sequence[Row], least: float) -> Iterator[Row]:
    """For each direction: the gain of porting and of learning anew, their difference, and their calls."""
    own = {(row["model"], row["set"], row["seed"]): row for row in rows if _is_own(row)}
    by_way: dict[str, list[tuple[Row, Row, Row]]] = defaultdict(list)
    for row in rows:
        both = [own.get((model, row["set"], row["seed"])) for model in (row["model"], row["prior_of"])]
        if not _is_own(row) and both[0] and both[1]:
            by_way[f"{row['prior_of']} -> {row['model']}"].append((row, both[0], both[1]))
    for way, cells in sorted(by_way.items()):
        able = [(port, anew) for port, anew, old in cells if _can(anew, least) and _can(old, least)]
        told: Row = {"way": way, "cells": len(cells), "where both can": len(able)}
        if able:
            gains = [(_gains(port, anew), _gains(anew, anew)) for port, anew in able]
            told["ported"], told["anew"] = (
                round(100 * float(np.mean([one for pair in gains for one in pair[at].values()])), 1) for at in (0, 1)
            )
            texts = defaultdict(list)
            for (port, _), (over, fresh) in zip(able, gains, strict=True):
                for text in over:
                    texts[port["set"], text].append(over[text] - fresh[text])
            found = paired_difference(np.array([float(np.mean(each)) for each in texts.values()]))
            told["difference"] = round(100 * found.mean, 1)
            told["interval"] = [round(100 * each, 1) for each in (found.low, found.high)]
            told["share of calls"] = round(
                sum(port["calls"] for port, _ in able) / sum(anew["calls"] for _, anew in able), 2
            )
        yield told | {"states": [port["state"] for port, *_ in cells]}


def _can(row: Row, least: float) -> bool:
    """Whether a model can do a set: so many points above chance, frozen or with a prior of its own."""
    chance = 1 / len(label_tasks(row["set"], row["seed"], 1, 1).labels)
    return any(100 * (float(np.mean(found)) - chance) >= least for found in row["arms"].values())


def _gains(row: Row, anew: Row) -> dict[str, float]:
    """By text: what a row's prior gains over the frozen model; 0 where nothing went live."""
    arms = row["arms"] or {"frozen": anew["arms"].get("frozen", [0.0] * len(row["texts"]))}
    learned = arms.get("learned", arms["frozen"])
    return {text: after - before for text, after, before in zip(row["texts"], learned, arms["frozen"], strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", metavar="FOLDER", type=Path)
    parser.add_argument("--models", default="smol=", help="NAME=GGUF or URL,...; neither: the embedded model")
    parser.add_argument("--sets", default=",".join(QUESTIONS))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument(
        "--exact", choices=get_args(ExactGroups), default="auto", help="off: as where answers cannot be listed"
    )
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin nothing more after so many")
    parser.add_argument("--least", type=float, default=15.0)
    parser.add_argument("--summary", metavar="FOLDER", type=Path)
    given = parser.parse_args()
    folder = given.summary or given.keep
    if folder is None:
        parser.error("--keep FOLDER or --summary FOLDER?")
    folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(folder, dict(one.split("=", 1) for one in given.models.split(",")), given.concurrency, given.exact)
    if not given.summary:
        run(bench, given.sets.split(","), given.seeds, given.seconds)
    for line in summary(bench.rows, given.least):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
