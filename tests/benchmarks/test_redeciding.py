"""The benchmark of re-deciding: a label's probability is that of the tokens that begin it alone."""

import math
from typing import Any

import numpy as np
import pytest

from benchmarks.label_sets import label_tasks
from benchmarks.redeciding import drawn, label_logs, summary
from tfgrpo.evaluation.difference import paired_difference
from tfgrpo.surfaces.label_set import label_set


def test_a_label_has_what_the_tokens_that_begin_it_alone_have() -> None:
    shares = {"bill": 0.4, " Bill": 0.1, "s": 0.3, "sa": 0.1, "The": 0.1}
    listed = [{"token": token, "logprob": math.log(share)} for token, share in shares.items()]
    payload: Any = {"choices": [{"logprobs": {"content": [{**listed[0], "top_logprobs": listed}]}}]}
    labels = label_set(("billing", "sales", "support"))
    assert labels
    logs = label_logs(payload, labels)
    assert math.exp(logs[0] - logs[1]) == pytest.approx(0.5 / 0.1)
    assert sum(map(math.exp, logs)) == pytest.approx(1.0)
    assert logs[2] == min(logs)


def test_the_summary_holds_arms_against_each_other_over_texts() -> None:
    names = ("offsets 0", "frozen 0", "bias 0", "frozen 0.7", "bias 0.7", "again 0.7")
    arms = {arm: [0.0, 1.0] for arm in names}
    row = {"set": "a", "texts": ["one", "two"], "calls": {"token prior": 100, "offsets": 8}}
    found = list(summary([{**row, "arms": {**arms, "again 0": [1.0, 1.0]}}]))
    assert found[0]["accuracy"]["again 0"] == 100.0
    assert found[1]["share"] == 0.08
    gain = paired_difference(np.array([1.0, 0.0]))
    interval = [round(100 * bound, 1) for bound in (gain.low, gain.high)]
    assert {"difference": "again 0 - bias 0", "points": 50.0, "interval": interval} in found


def test_no_two_answers_are_drawn_by_one_number() -> None:
    one = label_tasks("labels", 0)
    assert len({drawn(one, task, place) for task in one.held for place in range(4)}) == 4 * len(one.held)
