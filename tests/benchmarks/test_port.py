"""The benchmark of ports: only sets that both models can do count, and a prior that goes nowhere gains nothing."""

from typing import Any

from benchmarks.label_sets import HELD, label_tasks
from benchmarks.port import summary


def row(model: str, prior_of: str, calls: int, **arms: float) -> dict[str, Any]:
    texts = [task.prompt for task in label_tasks("facts", 0).held]
    told = {"calls": calls, "state": "live", "arms": {arm: [mean] * HELD for arm, mean in arms.items()}}
    return {"model": model, "prior_of": prior_of, "set": "facts", "seed": 0, "texts": texts, **told}


def test_a_port_is_held_against_learning_anew() -> None:
    rows = [
        row("a", "a", 100, frozen=0.5, learned=0.9),
        row("b", "b", 100, frozen=0.6, learned=0.9),
        row("b", "a", 30, frozen=0.6, learned=0.8),
        row("a", "b", 20),
    ]
    here, back = sorted(summary(rows, 15.0), key=lambda told: str(told["way"]))
    assert (here["ported"], here["anew"], here["difference"], here["share of calls"]) == (20.0, 30.0, -10.0, 0.3)
    assert (back["ported"], back["difference"]) == (0.0, -40.0)
    weak = [row("a", "a", 100, frozen=0.5, learned=0.5), *rows[1:]]
    assert [told["where both can"] for told in summary(weak, 15.0)] == [0, 0]
