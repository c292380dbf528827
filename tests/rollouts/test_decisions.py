"""Questions of the decisions API as a reward: what each answer counts, and what is no file of questions."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.rollouts.scoring import saying
from tfgrpo.errors import InputError
from tfgrpo.model.library import http
from tfgrpo.model.upstream import Upstream
from tfgrpo.records import Rollout
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.rollouts.rewards.decisions import questions_reward
from tfgrpo.rollouts.rewards.reward import asking, score

QUESTIONS: Any = [
    {"type": "predicate", "instructions": "It is right."},
    {
        "type": "score",
        "instructions": "How short?",
        "levels": [{"label": "long"}, {"label": "so so"}, {"label": "short"}],
    },
    {"type": "choice", "instructions": "Tone?", "choices": [{"value": "polite"}, {"value": "rude"}]},
]
ANSWERS: Any = [
    {"type": "predicate", "probability": 0.9},
    {"type": "score", "probabilities": [{"label": "so so", "probability": 1.0}]},
    {
        "type": "choice",
        "probabilities": [{"value": "polite", "probability": 0.25}, {"value": "rude", "probability": 0.75}],
    },
]


async def asked(folder: Path, answers: Any, questions: Any = QUESTIONS) -> tuple[Rollout, list[Any]]:
    (folder / "q.json").write_text(json.dumps({"questions": questions}))
    bodies: list[Any] = []

    def answer(request: http.Request) -> http.Response:
        bodies.append(json.loads(request.content))
        return http.Response(200, json={"model": "m", "answers": answers, "usage": {"input_tokens": 3}})

    client = http.AsyncClient(transport=http.MockTransport(answer))
    async with client, Upstream("http://up/v1", api_key="k", http_client=client) as upstream:
        reward = asking(load_reward(f"decisions:{folder / 'q.json'}"), upstream, "small", "")
        return await score(reward, saying("four", "4")), bodies


async def test_the_reward_is_the_mean_of_what_the_answers_count(tmp_path: Path) -> None:
    rollout, bodies = await asked(tmp_path, ANSWERS)
    assert rollout.reward == pytest.approx((0.9 + 0.5 + 0.25) / 3)
    assert rollout.feedback == "Tone? (0.25)"
    assert (bodies[0]["model"], bodies[0]["questions"]) == ("small", QUESTIONS)
    assert "four" in bodies[0]["input"]


async def test_questions_in_the_same_words_count_each(tmp_path: Path) -> None:
    rollout, _ = await asked(
        tmp_path, [ANSWERS[2], ANSWERS[0]], [QUESTIONS[2], {**QUESTIONS[0], "instructions": "Tone?"}]
    )
    assert (rollout.reward, rollout.feedback) == (pytest.approx((0.25 + 0.9) / 2), "Tone? (0.25)")


async def test_a_refusal_is_left_out_and_refusals_alone_spoil_the_rollout(tmp_path: Path) -> None:
    refusal = {"type": "refusal", "name": None}
    rollout, _ = await asked(tmp_path, [ANSWERS[0], refusal, refusal])
    assert rollout.reward == pytest.approx(0.9)
    rollout, _ = await asked(tmp_path, [refusal] * 3)
    assert rollout.reward is None
    assert "no question about the rollout was answered" in str(rollout.error)


@pytest.mark.parametrize(
    ("written", "words"), [("{", "line 1: not JSON"), ("[]", "questions must be a list"), (None, "cannot read")]
)
def test_what_is_no_file_of_questions_is_named(tmp_path: Path, written: str | None, words: str) -> None:
    path = tmp_path / "q.json"
    if written is not None:
        path.write_text(written)
    with pytest.raises(InputError, match=words):
        questions_reward(f"decisions:{path}")
