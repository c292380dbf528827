"""Ports beside learning anew on SIMULATED models of labels, which are no language models; a few seconds a seed.

    python -m benchmarks.port_simulated --keep ROWS.jsonl --seeds 12                # answers that can be listed
    python -m benchmarks.port_simulated --keep ROWS.jsonl --seeds 12 --sampled      # 200 words more: they cannot

As was seen on real models: one talks until it is shown examples, does best with so many of them (its own number, from 3
to 30), leans to some labels by which it sees, is right more often where one is about the same, and errs on tasks of
its own. A seed draws an old and a new model and the tasks. Each model learns by itself (race, token prior, gate), and
the old one's prior is ported to the new one; gains are exact, over 200 tasks that none has seen, at the temperature of
0.7. The summary is over seeds, with 95% intervals.
"""

import argparse
import asyncio
import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np

from tests.routing import upstream
from tfgrpo.evaluation.difference import paired_difference
from tfgrpo.hashing import derive_seed
from tfgrpo.learning.plan import Plan
from tfgrpo.learning.port import WantedPort
from tfgrpo.learning.result import LearningResult
from tfgrpo.learning.run import carry_out
from tfgrpo.model.endpoints import Endpoint, Endpoints
from tfgrpo.observer import Silent
from tfgrpo.records import Backend, Frame, Prior, Task, message_text
from tfgrpo.rollouts.executor import request_body
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.surfaces.chat import with_prior
from tfgrpo.surfaces.surface import manner_of
from tfgrpo.testing import ScriptedModel, SimulatedPolicy

Row: TypeAlias = dict[str, Any]
LABELS = {"invoice": "billing", "crash": "technical", "offer": "sales", "delivery": "shipping"}
DETAILS = ("alpha", "bravo", "cedar", "delta", "ember", "fjord")
TAUGHT, VALIDATED, HELD = 24, 16, 200
BEGINS = "message "
FRAME = Frame("new", "Route it.", {"max_tokens": 1})
SETTINGS = Settings(steps=2, experiences=False, stop_hopeless=False, concurrency=8, hedge=0.0)
BACKEND = Backend("vllm", logit_bias="honoured", logprobs=True, token_ids=True)


class Simulated:
    """A SIMULATED model; what it is like is drawn from a seed and its side, `old` or `new`."""

    def __init__(self, seed: int, side: str, *, sampled: bool) -> None:
        self._key = "port", seed, side
        traits = self._drawn("traits")
        self._talks, self._learns = traits.uniform(2.5, 5), traits.uniform(1.0, 2.2)
        self._knows, self._gains, self._falls = (
            traits.uniform(0.2, 0.9),
            traits.uniform(0.2, 0.7),
            traits.uniform(0.3, 0.8),
        )
        self._peak, self._leans = traits.choice([3, 4, 6, 10, 16, 30]), traits.uniform(0.2, 1.2)
        self._near = traits.uniform(0, 1.5)
        self._others = 200 if sampled else 0
        words = (*LABELS.values(), "The", "I", *(f"word{number}" for number in range(self._others)))
        self.policy = SimulatedPolicy(words, self.logits)

    def _drawn(self, *key: str | int) -> random.Random:
        return random.Random(derive_seed(*self._key, *key))

    def logits(self, prompt: str) -> list[float]:
        """Of its first words."""
        *examples, asked = [part.split("\n")[0] for part in prompt.split(BEGINS)[1:]] or [""]
        shown, task = len(examples), self._drawn("task", asked)
        quality = (
            self._knows + self._gains * math.log1p(shown) - self._falls * max(0.0, math.log(max(shown, 1) / self._peak))
        )
        place = next((place for place, topic in enumerate(LABELS) if topic in asked), 0)
        sure = 2.2 * task.lognormvariate(0, 0.5)
        said = task.randrange(len(LABELS)) if task.random() < 0.12 else place
        found = [task.gauss(0, 0.5) for _ in LABELS]
        found[said] += quality * sure
        alike = {(topic, detail) for one in examples for topic in LABELS if topic in one for detail in one.split()[3:]}
        found[said] += self._near * any((list(LABELS)[said], detail) in alike for detail in asked.split()[3:4])
        lean = self._drawn("lean", shown, *sorted(examples)[:4])
        talks = self._talks - self._learns * math.log1p(shown)
        return [*(one + lean.gauss(0, self._leans) for one in found), talks, talks - 0.5, *[talks - 4.2] * self._others]

    def worth(self, prior: Prior, tasks: Sequence[Task]) -> float:
        """The chance of a right answer under a prior, over tasks."""
        return float(np.mean([self._chance(prior, task) for task in tasks]))

    def _chance(self, prior: Prior, task: Task) -> float:
        body = with_prior(request_body(FRAME, BACKEND, task, 0), prior, manner_of(BACKEND, task.id))
        logits = np.array(self.logits("\n".join(message_text(message) for message in body["messages"])))
        for token, bias in (body.get("logit_bias") or {}).items():
            logits[int(token)] += bias
        weights = np.exp((logits - logits.max()) / FRAME.temperature)
        return float(weights[list(LABELS.values()).index(str(task.answer))] / weights.sum())


def drawn_tasks(seed: int) -> list[Task]:
    """Those that teach, those that decide, and those that measure."""
    drawn, made = random.Random(derive_seed("port tasks", seed)), list[Task]()
    for number in range(TAUGHT + VALIDATED + HELD):
        topic = drawn.choice(list(LABELS))
        made.append(
            Task(f"{BEGINS}{number} about {topic} {drawn.choice(DETAILS)} {drawn.choice(DETAILS)}", LABELS[topic])
        )
    return made


async def carried_out(model: Simulated, store: Store, plan: Plan) -> LearningResult:
    """What a plan comes to on a model."""
    async with upstream(ScriptedModel(model.policy), store, plan.settings) as calls:
        return await carry_out(plan, store, calls, Silent())


async def one(seed: int, *, sampled: bool, folder: Path) -> Row:
    """Learning on both models, and the old one's prior on the new one."""
    tasks, models = drawn_tasks(seed), {side: Simulated(seed, side, sampled=sampled) for side in ("old", "new")}
    train, validation, held = tasks[:TAUGHT], tasks[TAUGHT:-HELD], tasks[-HELD:]
    found, row, reward = {}, Row(seed=seed, sampled=sampled), load_reward("choice")
    for side, model in models.items():
        plan = Plan(
            tuple(train),
            reward,
            "choice",
            replace(FRAME, model=side),
            settings=replace(SETTINGS, seed=seed),
            validation=tuple(validation),
        )
        with Store(folder / f"{side}.db") as store:
            found[side] = await carried_out(model, store, plan)
    if found["old"].changed:
        with Store(folder / "old.db") as store:
            ported = WantedPort("default", Endpoints(Endpoint("http://fake/v1", "new", "none")), settings=SETTINGS)
            ready = ported.prepared(store)
            plan = replace(ready.plan, frame=replace(ready.plan.frame, model="new"), namespace=ready.into)
            found["port"] = await carried_out(models["new"], store, plan)
    new = models["new"]
    row["frozen"] = new.worth(Prior(), held)
    for side in [side for side in ("new", "port") if side in found]:
        learned = found[side]
        tried, live = learned.candidate or Prior(), learned.prior if learned.changed else Prior()
        row[side] = {"calls": learned.usage.calls, "live": learned.changed}
        row[side] |= {"candidate": new.worth(tried, held), "gain": new.worth(live, held) - row["frozen"]}
    return row


def summary(rows: Sequence[Row]) -> Row:
    """The differences of ports to learning anew: of what went live, and of what the gate was asked about."""
    both = [(row["port"], row["new"]) for row in rows if "port" in row]
    told: Row = {"ports": len(both), "live": [sum(one["live"] for one in each) for each in zip(*both, strict=True)]}
    for name in ("gain", "candidate"):
        found = paired_difference(np.array([port[name] - new[name] for port, new in both]))
        told[name] = [round(100 * each, 1) for each in (found.mean, found.low, found.high)]
    told["gains"] = [round(100 * float(np.mean([one["gain"] for one in each])), 1) for each in zip(*both, strict=True)]
    calls = [sum(one["calls"] for one in each) for each in zip(*both, strict=True)]
    return told | {"share of calls": round(calls[0] / calls[1], 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", metavar="ROWS.jsonl", type=Path, required=True, help="goes on from what is there")
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--sampled", action="store_true", help="answers cannot be listed")
    given = parser.parse_args()
    rows = [json.loads(line) for line in given.keep.read_text().splitlines()] if given.keep.exists() else []
    rows = [row for row in rows if row["sampled"] == given.sampled]
    for seed in sorted({*range(given.seeds)} - {row["seed"] for row in rows}):
        with TemporaryDirectory() as folder:
            rows.append(asyncio.run(one(seed, sampled=given.sampled, folder=Path(folder))))
        with given.keep.open("a") as out:
            out.write(json.dumps(rows[-1]) + "\n")
        print(json.dumps(rows[-1]), flush=True)
    print(json.dumps(summary(rows)), flush=True)


if __name__ == "__main__":
    main()
