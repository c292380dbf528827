"""The benchmark of relations: on its SIMULATED tasks deduction shows less than everything, and what applies."""

from benchmarks.relations import ASKED, WAYS, judged, world


def test_deduction_saves_tokens_and_shows_nothing_that_does_not_apply() -> None:
    of = world(1)
    told = {name: judged(of, way(of)) for name, way in WAYS.items()}
    assert len(of.asked) == ASKED
    tokens, recall, exact, reward = told["deduced, T = 0"]
    assert exact == 1.0
    assert 0.4 < recall < 0.6  # half of the tasks have the word itself
    assert tokens < told["all experiences"][0] / 10
    assert told["deduced, T = 0.05"][1] >= recall
    assert reward > told["all experiences"][3] - 0.1
