"""How near re-deciding labels comes to biasing, by how many alternatives the upstream lists.

    python -m benchmarks.alternatives --out FOLDER                    # the embedded model, four label sets, three seeds
    python -m benchmarks.alternatives --out FOLDER --seconds 230      # begin nothing more after so long; go on later
    python -m benchmarks.alternatives --summary FOLDER                # the table; no model

For each set and seed (`label_sets`) a token prior is learned from listed answers, as `benchmarks.decisions` does, and
each held-out task is asked once, with DEEPEST tokens listed: nearly all that can be said. From that both policies are
known: what is said under biases, and what the rule of `surfaces.labels` makes of what is said without, when only so
many of the tokens are shown to it. So rewards are expected ones, and nothing is drawn; what is not shown is decided as
the likeliest of what has nearly the same bias. Differences are over texts, a text's seeds together, in points.
"""

import argparse
import gzip
import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.label_sets import QUESTIONS, LabelTasks, label_tasks
from benchmarks.redeciding import WARM, Asked, learned_prior, request
from tfgrpo.evaluation.difference import paired_difference
from tfgrpo.model.local import model_path, serve_local
from tfgrpo.rollouts.rewards.choice import choice
from tfgrpo.surfaces.label_set import LabelSet, label_set
from tfgrpo.surfaces.labels import ListedToken, Sampling, chances, scaled

DEEPEST, SEEDS = 3_000, 3
BEYOND = 0.5
"""Nats within which biases are nearly the same."""
SHOWN = (5, 10, 15, 20, 30, 40, 50, 70, 100)
Shares: TypeAlias = NDArray[np.float64]
"""Of the tokens that are listed, shape (DEEPEST,)."""


@dataclass(frozen=True)
class Listing:
    """What may be said first on one task, the likeliest first, and what each of it is worth."""

    tokens: Sequence[ListedToken]
    places: Sequence[int]
    """Of the labels that they lead to."""
    worth: Shares

    def shares(self, heat: float, *, biased: bool) -> Shares:
        """The policy, with or without the biases; at temperature 0 all of the likeliest."""
        logs = [one.logprob + one.bias * biased for one in self.tokens]
        if not heat:
            return np.asarray(np.eye(1, len(logs), int(np.argmax(logs)))[0])
        weights = np.array(scaled([log / heat for log in logs]))
        return np.asarray(weights / weights.sum())

    def again(self, heat: float, shown: int) -> Shares:
        """The policy of what is said without biases and decided again, with so many alternatives."""
        plain, found = self.shares(heat, biased=False), np.zeros(len(self.tokens))
        for group in [*([place] for place in range(shown)), *self._beyond(shown)]:
            if (share := plain[group].sum()) > 0:
                order = [group[0], *(place for place in range(shown) if place != group[0])]
                listed, places = [self.tokens[at] for at in order], [self.places[at] for at in order]
                (stays, *moves), _ = chances(listed, places, Sampling({}, heat))
                found[group] += stays * plain[group]
                found[order[1:]] += share * np.array(moves)
        return found

    def _beyond(self, shown: int) -> list[list[int]]:
        """The tokens that are not shown, by nearly the same bias; the likeliest of each is first."""
        groups = defaultdict(list)
        for place in range(shown, len(self.tokens)):
            groups[round(self.tokens[place].bias / BEYOND)].append(place)
        return list(groups.values())


def made(asked: Asked, one: LabelTasks) -> dict[str, Any]:
    """What is kept of one set and seed."""
    prior, calls, _ = learned_prior(asked, one, 4, exact=True)
    bodies = [{**request(one.system, task, 0.0, one.seed), "top_logprobs": DEEPEST} for task in one.held]
    entries = [payload["choices"][0]["logprobs"]["content"][0]["top_logprobs"] for payload in asked.answers(bodies)]
    return {
        "set": one.name, "seed": one.seed, "calls": calls, "labels": one.labels,
        "answers": [task.answer for task in one.held], "texts": [str(task.input) for task in one.held],
        "biases": [[entry.piece.hex(), entry.bias] for entry in prior.biases],
        "listed": [[[bytes(token["bytes"]).hex(), token["logprob"]] for token in each] for each in entries],
    }  # fmt: skip


def file_of(folder: Path, name: str, seed: int) -> Path:
    return folder / f"{name}-{seed}.json.gz"


def run(asked: Asked, folder: Path, seconds: float) -> None:
    """Make what the folder has not, until the time is over."""
    folder.mkdir(parents=True, exist_ok=True)
    began, longest = time.monotonic(), 0.0
    for seed in range(SEEDS):
        for name in QUESTIONS:
            now, file = time.monotonic(), file_of(folder, name, seed)
            if file.exists() or now - began + longest > seconds:
                continue
            told = made(asked, label_tasks(name, seed))
            file.write_bytes(gzip.compress(json.dumps(told).encode()))
            longest = max(longest, time.monotonic() - now)
            print(json.dumps({"set": name, "seed": seed, "tokens": len(told["biases"])}), flush=True)


def listings(told: dict[str, Any]) -> Iterator[tuple[str, Listing, int]]:
    """The text, the listing and the place of the right label of each task."""
    labels = label_set(tuple(told["labels"]))
    assert labels
    biases = {bytes.fromhex(piece): bias for piece, bias in told["biases"]}
    for text, answer, listed in zip(told["texts"], told["answers"], told["listed"], strict=True):
        pieces = [(bytes.fromhex(piece), logprob) for piece, logprob in listed]
        tokens = [ListedToken(piece, logprob, biases.get(piece, 0.0)) for piece, logprob in pieces]
        worth = np.array([right(piece, answer) for piece, _ in pieces])
        yield text, Listing(tokens, [leads(labels, piece) for piece, _ in pieces], worth), told["labels"].index(answer)


@lru_cache(100_000)
def right(piece: bytes, answer: str) -> float:
    """What an answer of one token is worth."""
    return float(choice(answer)(piece.decode(errors="replace")))


@lru_cache(100_000)
def leads(labels: LabelSet, piece: bytes) -> int:
    return labels.leads(b"", piece)


def summary(rows: Sequence[dict[str, Any]], shown: Sequence[int] = SHOWN) -> Iterator[dict[str, Any]]:
    """By temperature: what the frozen and the biased policy come to, and re-deciding with so many alternatives."""
    for heat in (0.0, WARM):
        arms: dict[str, dict[tuple[str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
        apart, there = defaultdict(list), defaultdict(list)
        for told in rows:
            for text, one, answer in listings(told):
                key, wanted = (told["set"], text), one.shares(heat, biased=True)
                arms["frozen"][key].append(float(one.shares(heat, biased=False) @ one.worth))
                arms["bias"][key].append(float(wanted @ one.worth))
                for size in shown:
                    found = one.again(heat, size)
                    arms[str(size)][key].append(float(found @ one.worth))
                    apart[size].append(float(np.abs(found - wanted).sum()) / 2)
                    there[size].append(answer in one.places[:size])
        means = {arm: {key: float(np.mean(each)) for key, each in by_text.items()} for arm, by_text in arms.items()}
        percent = {arm: round(100 * float(np.mean(list(found.values()))), 1) for arm, found in means.items()}
        yield {"temperature": heat, "texts": len(means["bias"]), "frozen": percent["frozen"], "bias": percent["bias"]}
        for size in shown:
            gap = paired_difference(np.array([means[str(size)][key] - each for key, each in means["bias"].items()]))
            told = {
                "points": round(100 * gap.mean, 1),
                "interval": [round(100 * each, 1) for each in (gap.low, gap.high)],
            }
            told |= {
                "apart": round(float(np.mean(apart[size])), 3),
                "answer listed": round(float(np.mean(there[size])), 2),
            }
            yield {"temperature": heat, "shown": size, "again": percent[str(size)], "less bias": told}


def rows_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(gzip.decompress(file.read_bytes())) for file in sorted(folder.glob("*.json.gz"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="what is there is not made again")
    parser.add_argument("--model", metavar="GGUF", help="[default: the embedded model]")
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no further set after so many")
    parser.add_argument("--summary", metavar="FOLDER", type=Path)
    parser.add_argument("--shown", default=",".join(map(str, SHOWN)), help="how many alternatives")
    given = parser.parse_args()
    if not (given.out or given.summary):
        parser.error("--out FOLDER, or --summary FOLDER?")
    if given.out:
        with serve_local(model_path(given.model), slots=1) as server:
            run(Asked(server.endpoint.base_url, server.endpoint.model, 1), given.out, given.seconds)
    for line in summary(rows_in(given.summary or given.out), [int(size) for size in given.shown.split(",")]):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
