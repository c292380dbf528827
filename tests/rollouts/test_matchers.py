"""Matchers: which texts each built-in reward takes for the answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rollouts.scoring import reward_of
from tests.tables import each
from tfgrpo.records import JSON, Task
from tfgrpo.rollouts.rewards.built_in import BUILT_IN, doubts, load_reward
from tfgrpo.rollouts.rewards.matchers import normalised


@each(
    ("name", "answer", "right", "wrong"),
    [
        ("exact", "Bill", ["Bill", "bill", " BILL.\n", "bill ."], ["bill!", "bill..", "a bill", "", "."]),
        ("exact", "U.S.", ["u.s.", "U.S"], ["U.S..", "us"]),
        ("exact", "Caf\u00e9", ["cafe\u0301", "CAFE\u0301."], ["cafe"]),
        ("exact", "Straße", ["STRASSE"], ["Strase"]),
        ("exact", "是", ["是。", "是"], ["不是"]),
        ("exact", "one\ntwo", ["One\nTwo."], ["one two"]),
        ("exact", 7, ["7", "7.", "7.0"], ["7.5", "seven"]),
        ("exact", 2.5, ["2.5"], ["2,5"]),
        ("exact", True, ["true", "True."], ["yes", "1"]),
        ("exact", {"b": 1, "a": "é"}, ['{"a":"é","b":1}', '{"a": "É", "b": 1.0}'], ['{"a": "é", "b": 2}']),
        ("exact", ["grey", "gray", None, ""], ["Gray", "grey."], ["", "green", "none", '["grey","gray"]']),
        ("exact", [["a", "b"]], ['["a","b"]'], ["a", "b"]),
        ("exact-strict", "Bill.", ["Bill."], ["bill.", "Bill", " Bill."]),
        ("exact-strict", "Caf\u00e9", ["Caf\u00e9"], ["cafe\u0301", "Cafe\u0301"]),
        ("exact-strict", ["a", "b"], ["a", "b"], ["A"]),
        ("contains", "Paris.", ["It is PARIS, in France.", "paris"], ["Par is", ""]),
        ("contains", 42, ["about 42"], ["forty-two", "about 1421"]),
        ("contains", "a.b", ["x a.b"], ["axb", "xa.by"]),
        ("regex", r"^\d{3}-\d{4}$", ["555-1234"], ["call 555-1234", "5551234"]),
        ("regex", r"(?i)colou?r", ["The COLOR"], ["hue"]),
        ("regex", ["^a", "b$"], ["ax", "xb"], ["xa", "bx"]),
        ("regex", 7, ["17"], ["6"]),
    ],
)
def test_text_rewards_compare_text_with_answer(name: str, answer: JSON, right: list[str], wrong: list[str]) -> None:
    assert {text: reward_of(name, text, answer) for text in right} == dict.fromkeys(right, 1.0)
    assert {text: reward_of(name, text, answer) for text in wrong} == dict.fromkeys(wrong, 0.0)


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
    "I pick B",
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


@each(
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


def test_solutions_and_long_texts_are_doubted_to_be_meant_for_exact() -> None:
    solved = [Task(f"{n}?", f"{n} and {n} are <<{n}+{n}={2 * n}>>{2 * n}.\n#### {2 * n}") for n in range(3)]
    long = [Task(f"{n}?", "word " * 80) for n in range(3)]
    exact, total = load_reward("exact"), load_reward("0.5*exact + 0.5*contains")
    assert doubts(exact, [*solved, Task("a", "b")]) == (
        "3 of 4 answers end in the result ('#### 0'), and reward exact wants the whole text:"
        " --reward numeric compares the result",
    )
    assert "400 characters at the median" in doubts(total, long)[0]
    for reward, tasks in (
        (load_reward("numeric"), solved),
        (load_reward("contains"), long),
        (exact, [Task("a", "#1")]),
    ):
        assert doubts(reward, tasks) == ()
    assert doubts(exact, [Task("a")]) == doubts(lambda _: 1.0, solved) == ()
