"""The main job on a small task set that ships with the package: learn on one part, measure on another.

Which the tasks are, and why, says `tfgrpo/demo/tasks/README.md`.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from ..evaluation.arms import Evaluation
from ..evaluation.measure import Measurement, measure
from ..learning.plan import Plan
from ..learning.result import LearningResult
from ..learning.run import carry_out
from ..model.upstream import Upstream
from ..observer import Observer
from ..probe.backend import recognised
from ..records import JSON, Frame, Prior, Task, Usage, message_text
from ..rollouts.executor import rollout_once
from ..rollouts.rewards.built_in import load_reward
from ..settings import Settings
from ..store import Store
from ..tasks.read import read_tasks

DATA = Path(__file__).parent / "tasks"
NAMESPACE = "demo"
DEMO_REWARD = "exact"
REPEATS = 2
SHOWN_EXAMPLES = 3
GATE_PASSES = 12
"""At most; about 4 s each. With 24 tasks they detect 13 points, and the demo's effect is twice that."""


@dataclass(frozen=True, slots=True)
class Example:
    """One message of the test part, and one call to each model."""

    message: str
    answer: str
    frozen: str
    learned: str


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo measured: what was learned, whether or not the gate promoted it."""

    seed: int
    learned: LearningResult
    evaluation: Evaluation
    examples: tuple[Example, ...]
    seconds: float
    """Learning, gate and evaluation."""
    usage: Usage

    def as_json(self) -> dict[str, JSON]:
        """The figures for `--json`; rewards are shares of exact matches."""
        difference = self.evaluation.difference
        return {
            "frozen": self.evaluation.means["frozen"],
            "learned": self.evaluation.means["learned"],
            "difference": difference.mean,
            "low": difference.low,
            "high": difference.high,
            "best_constant": self.evaluation.constant_mean,
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "calls": self.usage.calls,
            "tokens": self.usage.tokens,
            "learning": self.learned.as_json(),
            "evaluation": self.evaluation.as_json(),
            "examples": [asdict(example) for example in self.examples],
            "usage": asdict(self.usage),
        }


def part(name: str) -> tuple[Task, ...]:
    """The `train`, `validation` or `test` part of the demo's tasks."""
    return read_tasks(str(DATA / f"{name}.jsonl")).tasks


def demo_frame(model: str) -> Frame:
    """The request that the demo's prior is learned for."""
    system = (DATA / "system.txt").read_text(encoding="utf-8").strip()
    return Frame(model, system, json.loads((DATA / "request.json").read_text(encoding="utf-8")))


def demo_settings(seed: int) -> Settings:
    """The defaults, with small groups, few and short calls of the distiller, and no examples: the model is slow."""
    return Settings(
        seed=seed,
        group_size=6,
        steps=3,
        distilled_groups=1,
        proposals=1,
        distiller_retries=0,
        distiller_tokens=96,
        demonstrations=False,
        gate_passes=GATE_PASSES,
        rest_tasks=False,
        concurrency=8,
    )


async def run_demo(store: Store, upstream: Upstream, model: str, seed: int, observer: Observer) -> Demo:
    """Learn on the train part, decide by the validation part, measure on the test part; raises as those do."""
    started = time.monotonic()
    reward, frame, train, test = load_reward(DEMO_REWARD), demo_frame(model), part("train"), part("test")
    decide_by = part("validation")
    held_out = f"{len(decide_by)} others decide whether it goes live, and {len(test)} more measure it"
    observer.note(f"learning from {len(train)} support messages; {held_out}; 3 to 6 minutes")
    settings = demo_settings(seed)
    plan = Plan(train, reward, DEMO_REWARD, frame, NAMESPACE, settings, validation=decide_by, test=test)
    learned = await carry_out(plan, store, upstream, observer)
    prior = learned.candidate or learned.prior
    wanted = Measurement(test, reward, DEMO_REWARD, frame, prior, NAMESPACE, REPEATS, seed)
    evaluation = await measure(wanted, store, upstream, observer)
    seconds = time.monotonic() - started
    backend = await recognised(upstream, model)

    async def say(task: Task, prior: Prior) -> str:
        return (await rollout_once(upstream, frame, task, prior, backend=backend, seed=seed)).text

    examples = [
        Example(message_text(task.messages[-1]), str(task.answer), await say(task, Prior()), await say(task, prior))
        for task in test[:SHOWN_EXAMPLES]
    ]
    return Demo(seed, learned, evaluation, tuple(examples), seconds, upstream.usage)
