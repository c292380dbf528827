"""Rewards by name: what each can score, and functions of the user's."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.rollouts.scoring import saying
from tests.tables import each
from tfgrpo.errors import InputError
from tfgrpo.records import JSON, Task
from tfgrpo.rollouts.rewards.built_in import BUILT_IN, check, load_reward
from tfgrpo.rollouts.rewards.reward import score


@pytest.mark.parametrize(
    ("name", "answer", "why"),
    [
        *((name, answer, "has no answer") for name in BUILT_IN for answer in (None, "", " \n", [], [None, ""])),
        ("contains", " . ", "every text contains"),
        ("regex", "(open", "is not a pattern (missing )"),
        ("regex", "a{99999999999999}", "is not a pattern (the repetition number is too large"),
        pytest.param("regex", "(" * 100_000, "is not a pattern (", id="regex-deep"),
        ("numeric", "blue", "the answer blue holds no number"),
        ("numeric", "(3, 4)", "the answer (3, 4) holds no number that could be compared"),
        ("numeric", [1, "blue"], "the answer blue holds no number"),
        ("choice", "(*)", "the answer (*) holds no label"),
    ],
)
def test_an_answer_that_a_built_in_cannot_use_is_refused_before_anything_is_spent(
    name: str, answer: JSON, why: str
) -> None:
    good, bad = Task("fine", "1"), Task("What is\nthis?", answer, {"id": "q7"})
    with pytest.raises(InputError) as caught:
        check(load_reward(name), [good, bad])
    message = str(caught.value)
    assert message.startswith(f"task {bad.id}, id 'q7' (What is this?) ")
    assert why in message
    assert "\n" not in message


async def test_an_answer_that_was_not_checked_ends_the_run_when_it_is_scored() -> None:
    with pytest.raises(InputError, match="has no answer, which reward exact needs"):
        await score(load_reward("exact"), saying("text"))


@each("name", sorted(BUILT_IN))
def test_usable_answers_pass_the_check(name: str) -> None:
    check(load_reward(name), [Task("a", "1"), Task("b", 2), Task("c", ["3", 4])])


@each(
    ("name", "said"),
    [
        ("exakt", "there is no reward 'exakt'; did you mean exact? built in are exact, exact-strict, contains,"),
        ("json_schema", "did you mean json-schema?"),
        ("0.5*exakt + 0.5*numeric", "there is no reward 'exakt'; did you mean exact?"),
        ("http:///score", "is not a URL"),
        ("http://a:99999/", "is not a URL"),
        ("judge:0", "is no judge; write judge, judge:VOTES"),
        ("judge:x", "is no judge"),
        ("Numeric", "did you mean numeric?"),
        ("zzz", "there is no reward 'zzz'; built in are exact,"),
        ("", "or a function of your own as module:function"),
        ("mod:", "built in are"),
    ],
)
def test_an_unknown_reward_is_answered_with_the_known_ones(name: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        load_reward(name)
    assert said in str(caught.value)


MODULE = """
class Half:
    def __call__(self, rollout):
        return 0.5

class Table:
    half = staticmethod(lambda rollout: 0.5)

half = Half()
number = 3

def length(rollout):
    return len(rollout.text) / 10

async def later(rollout):
    return rollout.text == rollout.task.answer

def two(text, task):
    return 1
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Writes a module into a folder that becomes the current one, and forgets it after the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(name: str, content: str) -> None:
        monkeypatch.delitem(sys.modules, name, raising=False)
        (tmp_path / f"{name}.py").write_text(content)

    return write


@pytest.mark.parametrize(("function", "reward"), [("length", 0.4), ("later", 1.0), ("half", 0.5), ("Table.half", 0.5)])
async def test_a_function_of_the_users_is_found_in_the_current_folder(
    module: Callable[[str, str], None], function: str, reward: float
) -> None:
    module("own_rewards", MODULE)
    scored = await score(load_reward(f"own_rewards:{function}"), saying("four", "four"))
    assert scored.reward == pytest.approx(reward)
    assert scored.error is None


def test_the_current_folder_enters_the_import_path_once(module: Callable[[str, str], None]) -> None:
    module("own_rewards", MODULE)
    for function in ("length", "later"):
        load_reward(f"own_rewards:{function}")
    assert sys.path.count(str(Path.cwd())) == 1


def test_a_function_without_a_signature_is_taken_at_its_word() -> None:
    found: object = load_reward("builtins:max")
    assert found is max


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing_rewards:f", "cannot import missing_rewards from "),
        ("missing_rewards:f", "(ModuleNotFoundError: No module named 'missing_rewards')"),
        ("own_rewards.py:length", "cannot import own_rewards.py from "),
        ("broken_rewards:f", "cannot import broken_rewards from "),
        ("broken_rewards:f", "(RuntimeError: no luck here)"),
        ("own_rewards:missing", "module own_rewards has no missing"),
        ("own_rewards:number", "number is not a function but int"),
        ("own_rewards:two", "it must take one argument, the rollout (missing a required argument: 'task')"),
    ],
)
def test_a_function_that_cannot_be_used_is_refused_in_one_line(
    module: Callable[[str, str], None], name: str, said: str
) -> None:
    module("own_rewards", MODULE)
    module("broken_rewards", "raise RuntimeError('no luck\\nhere')")
    with pytest.raises(InputError) as caught:
        load_reward(name)
    message = str(caught.value)
    assert message.startswith(f"reward {name}")
    assert said in message
    assert "\n" not in message


def test_functions_of_the_users_may_do_without_an_answer() -> None:
    check(lambda rollout: 1.0, [Task("no answer")])
