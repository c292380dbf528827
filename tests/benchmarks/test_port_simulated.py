"""The benchmark of ports on SIMULATED models: what examples do, and what the summary tells."""

from dataclasses import replace

import pytest

from benchmarks.port_simulated import Simulated, drawn_tasks, summary
from tfgrpo.experiences.variants import example
from tfgrpo.records import Prior, TokenBias


def test_examples_and_tokens_help_a_model_that_talks() -> None:
    model, tasks = Simulated(0, "new", sampled=True), drawn_tasks(0)
    shown = Prior(demonstrations=tuple(one for task in tasks[:8] if (one := example(task))))
    tokens = tuple(TokenBias(token, b"label", 6.0, 3.0, 9) for token in range(4))
    told = [
        model.worth(prior, tasks[40:80]) for prior in (Prior(), shown, replace(shown, biases=tokens, tokenizer="t"))
    ]
    assert told[0] < 0.2 < told[1] < told[2] + 0.05


def test_a_port_is_held_against_learning_anew() -> None:
    anew = {"calls": 100, "live": True, "candidate": 0.8, "gain": 0.6}
    rows = [
        {"new": anew, "port": {"calls": 40, "live": live, "candidate": 0.7, "gain": 0.5 * live}} for live in (1, 0, 1)
    ]
    told = summary([*rows, {"new": anew}])
    assert (told["ports"], told["live"], told["share of calls"]) == (3, [2, 3], 0.4)
    assert told["candidate"][0] == pytest.approx(-10.0)
