"""Tasks from the calls of production: which calls become tasks, what is right there, and what is said where it is too
little."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.shell import one_line, tfgrpo
from tests.routing import TOPICS
from tfgrpo.errors import InputError
from tfgrpo.learning.traffic import Fading, traffic_tasks
from tfgrpo.records import JSON, Frame
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.store import Feedback, Inference, Store
from tfgrpo.testing import ScriptedModel

EXACT, JUDGE = load_reward("exact"), load_reward("majority")
NOW = datetime(2026, 11, 26, tzinfo=UTC)


def call(number: int, asked: str = "", said: str = "billing", days: float = 0, **fields: JSON) -> Inference:
    """A recorded call, so many days ago."""
    messages = [{"role": "system", "content": "Route it."}, {"role": "user", "content": asked or f"message {number}"}]
    body = {"messages": messages, "model": "fake", "max_tokens": 3, "user": f"user {number}", **fields}
    answer = {"choices": [{"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}]}
    at = f"{(NOW - timedelta(days=days)).isoformat()[:19]}.000Z"
    texts = json.dumps(body), json.dumps(answer)
    return Inference(f"inf_{number}", "default", None, "none", "chat", "fake", 200, 0.5, *texts, at=at)


def label(number: int, right: JSON = None, reward: float | None = None) -> Feedback:
    return Feedback(f"inf_{number}", "default", None, "none", reward, label=right)


def stored(path: Path, calls: Sequence[Inference], feedback: Sequence[Feedback] = ()) -> Store:
    store = Store(path / "s.db")
    store.add_calls_in_use(calls, feedback)
    return store


def test_labels_and_full_rewards_make_tasks_under_the_frame_that_most_calls_had(tmp_path: Path) -> None:
    calls = [call(number) for number in range(12)]
    odd = [
        call(12, "message 0", days=5),  # asked again since
        call(13, temperature=0.2),  # another frame
        call(14, tools=[{"type": "function"}]),
        replace(call(15), response="", status=500),
        replace(call(16), request="", response=""),  # texts not kept
        replace(call(17), request='{"messages": [{"role": "user", "content": "x"'),
        call(18, "nobody says what is right here"),
        replace(call(19), id="inf_shadow", shadow_of="inf_0"),
        call(20, "a long answer is right", said="x" * 500),
    ]
    said = [label(number, "sales") for number in range(6)] + [label(number, reward=1.0) for number in range(6, 12)]
    with stored(
        tmp_path, [*odd, *calls], [*said, label(12, "technical"), label(18, reward=0.0), label(20, reward=1)]
    ) as s:
        found = traffic_tasks(s, "default", EXACT, now=NOW)
        assert found.frame == Frame("fake", "Route it.", {"max_tokens": 3}, 1.0, 1.0)
        assert {str(task.input): task.answer for task in found.tasks} == {
            f"message {number}": "sales" if number < 6 else "billing" for number in range(12)
        }
        assert "20 calls, 18 with their texts, 15 with feedback; 12 different tasks" in found.told[0]
        for part in ("1 call that ask what a newer one asks", "2 calls under another system prompt", "1 call cut off"):
            assert part in found.told[1]
        judged = traffic_tasks(s, "default", JUDGE, now=NOW)  # needs no answers
        assert {task.input for task in judged.tasks} - {task.input for task in found.tasks} == {
            "nobody says what is right here", "a long answer is right",
        }  # fmt: skip


def test_what_most_further_rollouts_answered_is_right_only_where_it_is_asked_for(tmp_path: Path) -> None:
    calls = [call(number, said="Billing." if number else "I do not know") for number in range(11)]
    shadows = [
        replace(call(number, said=answer), id=f"inf_{number}_{answer}", shadow_of=f"inf_{number}")
        for number in range(11)
        for answer in ("billing", "sales")
    ]
    with stored(tmp_path, [*calls, *shadows]) as store:
        with pytest.raises(InputError, match=r"0 different tasks to learn from.* give feedback with labels"):
            traffic_tasks(store, "default", EXACT, now=NOW)
        found = traffic_tasks(store, "default", EXACT, by_shadows=True, now=NOW)
        latest = [
            len([one for one in store.inferences("default", 11, shadows=too) if one.shadow_of]) for too in (True, False)
        ]
    assert Counter(task.answer for task in found.tasks) == {"billing": 10}  # three that differ settle nothing
    assert latest == [11, 0]  # of the latest calls, further rollouts take no other's place


def test_rollouts_that_the_proxy_has_made_are_not_asked_for_again(folder: Path, url: str, model: ScriptedModel) -> None:
    topics = list(TOPICS.items()) * 4
    calls = [call(number, f"message {number} about {topic}") for number, (topic, _) in enumerate(topics)]
    made = [
        replace(call(number, said=said), id=f"inf_{number}_{said}", shadow_of=f"inf_{number}")
        for number in range(len(topics))
        for said in ("billing", "sales")
    ]
    drawn = replace(made[0], id="inf_drawn", draw={"left_out": ["exp_1"], "p_left_out": 0.1})
    other = replace(made[0], id="inf_other", prior="prior_of_another_day")
    said = [label(number, right) for number, (_, right) in enumerate(topics)]
    with Store("tfgrpo.db") as store:
        store.add_calls_in_use([*calls, *made, drawn, other], said)
    learn = "learn", "--from-traffic", "--group-size", "4", "--no-race", "--no-experiences", "--gate", "none"
    two = tfgrpo(*learn, "--base-url", url, "--steps", "2", "--keep-going", "--max-calls", "40")
    assert two.exit_code == 3, two.output  # out of budget in the second step
    assert "25 rollouts of 12 tasks made already (--shadow-groups)" in two.stderr
    with Store("tfgrpo.db") as store:
        run = store.runs()[0].run.id
        first = [one.text for group in store.groups(run) for one in group.rollouts if group.step == 0]
        store.add_calls_in_use([replace(one, id=f"{one.id}_later") for one in made])
    assert Counter(first)["sales"] >= 12
    begun = len(model.requests)
    assert begun < 45
    again = tfgrpo(*learn, "--base-url", url, "--steps", "2", "--keep-going")
    assert again.exit_code == 0, again.output
    with Store("tfgrpo.db") as store:
        assert [one.text for group in store.groups(run) for one in group.rollouts if group.step == 0] == first
        rolled = store.spent_by_stage(run)["rollout"].calls
        hot = tfgrpo(*learn, "--base-url", url, "--steps", "1", "--temperature", "0.5")
        others = store.spent_by_stage(store.runs()[-1].run.id)["rollout"].calls
    assert rolled == 24 + 48  # of the first step's 48, half were there
    assert hot.exit_code == 0, hot.output
    assert others == 48


def test_old_calls_fade_and_answers_keep_their_proportion(tmp_path: Path) -> None:
    calls = [call(number, days=0 if number % 2 else 28) for number in range(1_000)]
    said = [label(number, "rare" if number % 100 < 10 else "common") for number in range(1_000)]
    with stored(tmp_path, calls, said) as store:
        found = traffic_tasks(store, "default", EXACT, Fading(100, half_life=14), now=NOW)
        assert traffic_tasks(store, "default", EXACT, Fading(100, half_life=14), now=NOW) == found
    assert len(found.tasks) == 100
    assert 9 <= Counter(task.answer for task in found.tasks)["rare"] <= 11
    old = sum(int(str(task.metadata["id"])[4:]) % 2 == 0 for task in found.tasks)
    assert 8 <= old <= 35  # a quarter as often as new ones: 20 of 100


def test_learning_from_traffic_says_what_there_is_and_learns_from_it(folder: Path, url: str) -> None:
    one_line(tfgrpo("learn"), "which TASKS?", "--from-traffic")
    one_line(tfgrpo("learn", "x.jsonl", "--from-traffic"), "takes the place of TASKS")
    one_line(tfgrpo("learn", "--from-traffic"), "tfgrpo.db")
    topics = list(TOPICS.items()) * 7
    calls = [call(number, f"message {number} about {topic}") for number, (topic, _) in enumerate(topics)]
    with Store("tfgrpo.db") as store:
        store.add_calls_in_use(calls[:5], [label(number, "billing") for number in range(5)])
    one_line(tfgrpo("learn", "--from-traffic"), "5 calls", "5 different tasks", "at least 10 are needed")
    with Store("tfgrpo.db") as store:
        store.add_calls_in_use(calls, [label(number, right) for number, (_, right) in enumerate(topics)])
    one_line(tfgrpo("learn", "--from-traffic", "--system", "x"), "the frame is the one that recorded calls had")
    made = tfgrpo("tasks", "from", "traffic", "default", "--out", "tasks.jsonl")
    assert made.exit_code == 0, made.output
    lines = [json.loads(line) for line in Path("tasks.jsonl").read_text().splitlines()]
    assert {line["input"]: line["answer"] for line in lines} == {
        f"message {number} about {topic}": right for number, (topic, right) in enumerate(topics)
    }
    small = ("--steps", "1", "--group-size", "4", "--no-experiences", "--gate", "none", "--base-url", url)
    learned = tfgrpo("learn", "--from-traffic", *small)
    assert learned.exit_code == 0, learned.output
    assert "21 calls, 21 with their texts, 21 with feedback" in learned.stderr
    with Store("tfgrpo.db") as store:
        run = store.runs()[0].run
        assert run.frame == Frame("fake", "Route it.", {"max_tokens": 3}, 1.0, 1.0)
        assert len(run.tasks) == 21
