import asyncio
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfgrpo.errors import InputError, ModelError, RewardError
from tfgrpo.records import JSON, Rollout, Task
from tfgrpo.rollouts.rewards.built_in import BUILT_IN, check, load_reward
from tfgrpo.rollouts.rewards.matchers import normalised
from tfgrpo.rollouts.rewards.numbers import last_number
from tfgrpo.rollouts.rewards.reward import score


def saying(text: str, answer: JSON = None) -> Rollout:
    return Rollout(Task("the question", answer), step=0, sample=0, prior="prior_0", text=text)


def reward_of(name: str, text: str, answer: JSON) -> float | None:
    return asyncio.run(score(load_reward(name), saying(text, answer))).reward


@pytest.mark.parametrize(
    ("name", "answer", "right", "wrong"),
    [
        ("exact", "Bill", ["Bill", "bill", " BILL.\n", "bill ."], ["bill!", "bill..", "a bill", "", "."]),
        ("exact", "U.S.", ["u.s.", "U.S"], ["U.S..", "us"]),
        ("exact", "Caf\u00e9", ["cafe\u0301", "CAFE\u0301."], ["cafe"]),
        ("exact", "Straße", ["STRASSE"], ["Strase"]),
        ("exact", "是", ["是。", "是"], ["不是"]),
        ("exact", "one\ntwo", ["One\nTwo."], ["one two"]),
        ("exact", 7, ["7", "7."], ["7.0", "seven"]),
        ("exact", 2.5, ["2.5"], ["2,5"]),
        ("exact", True, ["true", "True."], ["yes", "1"]),
        ("exact", {"b": 1, "a": "é"}, ['{"a":"é","b":1}'], ['{"a": "é", "b": 1}']),
        ("exact", ["grey", "gray", None, ""], ["Gray", "grey."], ["", "green", "none", '["grey","gray"]']),
        ("exact", [["a", "b"]], ['["a","b"]'], ["a", "b"]),
        ("exact-strict", "Bill.", ["Bill."], ["bill.", "Bill", " Bill."]),
        ("exact-strict", "Caf\u00e9", ["Caf\u00e9"], ["cafe\u0301", "Cafe\u0301"]),
        ("exact-strict", ["a", "b"], ["a", "b"], ["A"]),
        ("contains", "Paris.", ["It is PARIS, in France.", "paris"], ["Par is", ""]),
        ("contains", 42, ["about 1421"], ["forty-two"]),
        ("contains", "a.b", ["xa.by"], ["axb"]),
        ("regex", r"^\d{3}-\d{4}$", ["555-1234"], ["call 555-1234", "5551234"]),
        ("regex", r"(?i)colou?r", ["The COLOR"], ["hue"]),
        ("regex", ["^a", "b$"], ["ax", "xb"], ["xa", "bx"]),
        ("regex", 7, ["17"], ["6"]),
    ],
)
def test_text_rewards_compare_text_with_answer(name: str, answer: JSON, right: list[str], wrong: list[str]) -> None:
    assert {text: reward_of(name, text, answer) for text in right} == dict.fromkeys(right, 1.0)
    assert {text: reward_of(name, text, answer) for text in wrong} == dict.fromkeys(wrong, 0.0)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The answer is 42.", 42),
        ("First 3, then 5", 5),
        ("1,234,567.50 dollars", 1234567.5),
        ("CHF 1'234", 1234),
        ("12\u202f345 km", 12345),
        ("1, 2, 3", 3),
        ("1,2,3", 3),
        ("-7", -7),
        ("\u22127", -7),
        ("+7", 7),
        ("x=-3", -3),
        ("5-3", 3),
        ("pages 10-12", 12),
        ("-$1,000", -1000),
        ("€5", 5),
        (".5", 0.5),
        ("-.5", -0.5),
        ("1.5e3", 1500),
        ("2E-3", 0.002),
        ("3/4", 0.75),
        ("-3 / 4", -0.75),
        ("1,000/8", 125),
        ("50%", 50),
        ("5kg", 5),
        ("答案是5", 5),
        ("٣", 3),
        ("H2O has 3 atoms", 3),
        ("3 atoms in H2O", 3),
        ("v1.2.3", None),
        ("7 in version 1.2.3", 1.2),
        ("none", None),
        ("", None),
    ],
)
def test_the_last_number_of_a_text(text: str, number: float | None) -> None:
    assert last_number(text) == number


@pytest.mark.parametrize("text", ["1/0", "1e999", "9" * 400])
def test_what_no_float_holds_equals_nothing(text: str) -> None:
    assert reward_of("numeric", text, 1) == 0
    with pytest.raises(InputError, match="holds no number"):
        reward_of("numeric", text, text)


@pytest.mark.parametrize(
    ("answer", "right", "wrong"),
    [
        (72, ["72", "so 6 * 12 = 72.0", "72.00005"], ["72.001", "-72", "72 or 73", "seventy-two", ""]),
        ("It is #### 1,200", ["1200", "$1,200"], ["1,2"]),
        (0, ["0", "-0", "0%"], ["0.0000001"]),
        (-1e9, ["-1,000,000,000", "-1000000100"], ["-1000002000"]),
        ("1/3", ["0.33333334", "2/6"], ["0.333"]),
        ([1, 2], ["1", "2"], ["3"]),
    ],
)
def test_numeric_compares_the_last_numbers(answer: JSON, right: list[str], wrong: list[str]) -> None:
    assert {text: reward_of("numeric", text, answer) for text in right} == dict.fromkeys(right, 1.0)
    assert {text: reward_of("numeric", text, answer) for text in wrong} == dict.fromkeys(wrong, 0.0)


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.fractions(max_denominator=10**6))
def test_a_number_is_read_back_however_it_is_written(number: float | Fraction) -> None:
    read = last_number(f"So x = {number}.")
    assert read is not None
    assert math.isclose(read, float(number), rel_tol=1e-12)


@given(st.integers(min_value=-(10**15), max_value=10**15))
def test_thousands_separators_change_nothing(number: int) -> None:
    assert last_number(f"{number:,}") == number


PICKS_B = [
    "B",
    "b",
    "B.",
    "(B)",
    "[b]",
    "**B**",
    "__B__",
    '"B"',
    "\u201cB\u201d",
    "`B`",
    "B)",
    "B) Paris",
    "B. Paris, as A is wrong",
    "B: Paris",
    "B - Paris",
    "B because of the river",
    "**(B) Paris**",
    "Option B",
    "option (B).",
    "Choice B: Paris",
    "Answer: B",
    "answer = b",
    "**Answer:** B",
    "**Answer**: (B)",
    "The answer is B.",
    "The correct answer is: **B**",
    "The answer is option (B), Paris.",
    "The answer is B because A is not in France.",
    "The answer is A. No, wait: the answer is B.",
    "A) is tempting.\nBut no.\n\nB",
    "A. Rome\nB. Paris\n\n**(B)**\n",
    "Final answer:\nB",
    "B\n\nParis is the capital of France.",
]
PICKS_NOT_B = [
    "A",
    "",
    "Bring it on",
    "B12",
    "B-side",
    "B's",
    "Be it so",
    "B and C are both right",
    "I pick B",
    "(A) not B",
    "B is wrong. The answer is A.",
    "B. Paris\n\nA",
    "The answer is not B",
    "The answer is",
]


@pytest.mark.parametrize("label", ["B", "b", "(B)", "B.", " **B** ", ["B", "X"]])
def test_choice_reads_the_letter_that_is_picked(label: JSON) -> None:
    assert {text: reward_of("choice", text, label) for text in PICKS_B} == dict.fromkeys(PICKS_B, 1.0)
    assert {text: reward_of("choice", text, label) for text in PICKS_NOT_B} == dict.fromkeys(PICKS_NOT_B, 0.0)


@pytest.mark.parametrize(
    ("label", "right", "wrong"),
    [
        ("billing", ["Billing.", "billing: the card", "Answer: billing"], ["billings", "not billing", "tech"]),
        ("billing", ["Not tech.\n\nBilling"], ["Billing: no.\n\nTech"]),
        ("account access", ["Account access.", "The answer is account access"], ["account", "access"]),
        ("A", ["A", "a."], ["A cat sat", "a cat", "I am", "A-levels"]),
        ("1", ["1", "1.", "(1) one"], ["1.5", "1,000", "-1", "11"]),
        (1, ["Answer: 1"], ["Answer: 12"]),
        ("C#", ["C#", "Answer: c#."], ["C", "C++"]),
        ("C++", ["c++"], ["C", "C+"]),
        ("caf\u00e9", ["Cafe\u0301!"], ["cafe"]),
        ("是", ["是。", "是"], ["是的"]),
    ],
)
def test_choice_takes_any_label(label: JSON, right: list[str], wrong: list[str]) -> None:
    assert {text: reward_of("choice", text, label) for text in right} == dict.fromkeys(right, 1.0)
    assert {text: reward_of("choice", text, label) for text in wrong} == dict.fromkeys(wrong, 0.0)


labels = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1)


@pytest.mark.parametrize("name", sorted(BUILT_IN))
@given(answer=labels)
def test_every_answer_is_right_as_its_own_text(name: str, answer: str) -> None:
    if name != "numeric":
        assert reward_of(name, answer, answer) == 1


@given(st.text())
def test_exact_ignores_case_and_unicode_form(text: str) -> None:
    assert normalised(normalised(text) + ".") == normalised(text)
    assert normalised(text.upper().lower()) == normalised(text.upper())


@pytest.mark.parametrize(
    ("name", "answer", "why"),
    [
        *((name, answer, "has no answer") for name in BUILT_IN for answer in (None, "", " \n", [], [None, ""])),
        ("contains", " . ", "every text contains"),
        ("regex", "(open", "is not a pattern (missing )"),
        ("regex", "a{99999999999999}", "is not a pattern (the repetition number is too large"),
        pytest.param("regex", "(" * 100_000, "is not a pattern (", id="regex-deep"),
        ("numeric", "blue", "the answer blue holds no number"),
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


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_usable_answers_pass_the_check(name: str) -> None:
    check(load_reward(name), [Task("a", "1"), Task("b", 2), Task("c", ["3", 4])])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("exakt", "there is no reward 'exakt'; did you mean exact? built in are exact, exact-strict, contains,"),
        ("Numeric", "did you mean numeric?"),
        ("zzz", "there is no reward 'zzz'; built in are exact,"),
        ("", "or a function of your own as module:function"),
        ("http://localhost/score", "built in are"),
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


@pytest.mark.parametrize(
    ("value", "reward"),
    [
        (0, 0.0),
        (1, 1.0),
        (0.25, 0.25),
        (True, 1.0),
        (False, 0.0),
        (Fraction(1, 4), 0.25),
        (np.float32(0.5), 0.5),
        (np.bool_(True), 1.0),
        (np.array(0.5), 0.5),
        (1 + 1e-12, 1.0),
        (-1e-12, 0.0),
    ],
)
async def test_numbers_from_0_to_1_are_rewards(value: float, reward: float) -> None:
    scored = await score(lambda rollout: value, saying("text"))
    assert scored == replace(saying("text"), reward=reward)
    assert type(scored.reward) is float


@pytest.mark.parametrize(
    ("value", "reward", "feedback"),
    [((0.5, "too long"), 0.5, "too long"), ((True, ""), 1.0, ""), ((0.25, None), 0.25, "")],
)
async def test_a_reward_may_come_with_feedback(value: tuple[float, str], reward: float, feedback: str) -> None:
    async def given(rollout: Rollout) -> tuple[float, str]:
        return value

    for judge in (lambda rollout: value, given):
        assert await score(judge, saying("text")) == replace(saying("text"), reward=reward, feedback=feedback)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.5, "1.5"),
        (-0.01, "-0.01"),
        (1.001, "1.001"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        pytest.param(10**400, "1000", id="huge"),
        (None, "None"),
        ("1", "1"),
        ([1.0], "[1.0]"),
        ((0.5, 0.5), "(0.5, 0.5)"),
        (("0.5", "good"), "0.5"),
        ((1.5, "good"), "1.5"),
        (np.array([0.1, 0.2]), "[0.1 0.2]"),
        (1j, "1j"),
    ],
)
async def test_anything_else_ends_the_run_with_the_task_and_the_value(value: float, shown: str) -> None:
    async def given(rollout: Rollout) -> float:
        return value

    rollout = saying("text")
    for reward in (lambda rollout: value, given):
        with pytest.raises(RewardError) as caught:
            await score(reward, rollout)
        start = f"the reward of task {rollout.task.id} (the question) is {shown}"
        assert str(caught.value).startswith(start)
        assert "; it must be a number from 0 to 1" in str(caught.value)
        assert ("--clip-rewards" in str(caught.value)) == (shown in ("1.5", "-0.01", "1.001", "inf"))


@pytest.mark.parametrize(
    ("value", "reward"), [(1.5, 1.0), (-0.01, 0.0), (math.inf, 1.0), (-math.inf, 0.0), (0.25, 0.25), (-1e-12, 0.0)]
)
async def test_clipping_takes_a_number_outside_for_the_nearer_bound(value: float, reward: float) -> None:
    assert (await score(lambda rollout: value, saying("text"), clip=True)).reward == reward


@pytest.mark.parametrize("value", [math.nan, np.float64("nan"), None, "1", [1.0], 10**400])
async def test_clipping_makes_no_reward_of_what_is_no_number(value: float) -> None:
    with pytest.raises(RewardError, match="it must be a number from 0 to 1"):
        await score(lambda rollout: value, saying("text"), clip=True)


@pytest.mark.parametrize("error", [KeyError("gold"), ModelError("the judge\nis away"), AssertionError()])
async def test_a_reward_that_raises_makes_the_rollout_one_with_an_error(error: Exception) -> None:
    def broken(rollout: Rollout) -> float:
        raise error

    async def broken_later(rollout: Rollout) -> float:
        raise error

    for reward in (broken, broken_later):
        scored = await score(reward, saying("text"))
        assert scored.reward is None
        assert scored.error is not None
        assert scored.error.startswith(f"the reward failed: {type(error).__name__}: ")
        assert "\n" not in scored.error
        assert scored.text == "text"


async def test_a_rollout_with_an_error_is_never_shown_to_the_reward() -> None:
    failed = replace(saying(""), error="no connection")

    def unreachable(rollout: Rollout) -> float:
        raise InputError("asked")

    assert await score(unreachable, failed) is failed
