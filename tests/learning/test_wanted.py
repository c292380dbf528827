"""What is made of a wish to learn where the embedded model is to do it: it is slow, so it is asked for little."""

from pathlib import Path
from typing import cast

import pytest

from tfgrpo.learning.wanted import PreparedLearning
from tfgrpo.options import LearnOptions, wanted_learning
from tfgrpo.records import Task
from tfgrpo.settings import PROPOSES_SLOWLY, ROLLS_SLOWLY, Settings

LABELS = [Task(f"message {number}", ("delivery", "login")[number % 2]) for number in range(20)]


@pytest.fixture(autouse=True)
def no_other_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TFGRPO_LOCAL_MODEL", raising=False)


def wanted(tasks: list[Task] = LABELS, **options: object) -> PreparedLearning:
    return wanted_learning(tasks, cast(LearnOptions, {"base_url": "local", **options})).prepared()


def test_the_embedded_model_is_asked_for_less_unless_it_is_told_to() -> None:
    plain = wanted()
    assert plan_settings(plain) == Settings(**ROLLS_SLOWLY, **PROPOSES_SLOWLY)
    assert any("steps 2 (4)" in line and "distiller tokens 128 (1024)" in line for line in plain.notes)
    more = wanted(distilled_groups=None, distiller_tokens=1_024)
    assert (plan_settings(more).distilled_groups, plan_settings(more).distiller_tokens) == (None, 1_024)
    assert plan_settings(more).distiller_retries == PROPOSES_SLOWLY["distiller_retries"]
    assert not any("distiller tokens" in line for line in more.notes)
    elsewhere = wanted(distiller_base_url="http://127.0.0.1:9/v1", distiller_model="large")
    assert plan_settings(elsewhere) == Settings(**ROLLS_SLOWLY)
    proposes = wanted(base_url="http://127.0.0.1:9/v1", model="m", distiller_base_url="local")
    assert plan_settings(proposes) == Settings(**PROPOSES_SLOWLY)
    assert plan_settings(wanted(recipe="paper")) == Settings.for_recipe("paper")


def plan_settings(prepared: PreparedLearning) -> Settings:
    return prepared.plan.settings


def test_its_answers_are_cut_where_a_longer_one_cannot_be_right(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    short = wanted()
    assert short.plan.frame.request == {"max_tokens": len("delivery") + 4}
    assert any("cut at 12 tokens" in line for line in short.notes)
    assert wanted(request={"max_completion_tokens": 50}).plan.frame.request == {"max_completion_tokens": 50}
    korean = [Task(task.input, ["배송", "로그인"][place % 2]) for place, task in enumerate(LABELS)]
    assert wanted(korean).plan.frame.request == {"max_tokens": len("로그인".encode()) + 4}
    long = [*LABELS[:-1], Task("an essay", "word " * 100)]
    assert not wanted(long).plan.frame.request
    assert not wanted(reward="contains").plan.frame.request
    assert not wanted(base_url="http://127.0.0.1:9/v1", model="m").plan.frame.request
    monkeypatch.setenv("TFGRPO_LOCAL_MODEL", str(tmp_path / "thinks.gguf"))
    assert not wanted().plan.frame.request


def test_labels_that_lack_an_answer_are_told_with_the_first_one() -> None:
    told = "labels: the answer of 10 tasks is none of them, the first one 'login' (item 2)"
    assert told in wanted(labels=["Delivery.", "logon"]).notes
    assert not any("none of them" in line for line in wanted(labels=["DELIVERY", "login", "more"]).notes)
    assert not any("none of them" in line for line in wanted(labels=["a", "b"], reward="contains").notes)
