import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tables import each
from tfgrpo.experiences.overlap import APART, NEAR, Meanings, cosine, leaked_task, repeated, similarity
from tfgrpo.records import JSON, Experience, Origin, Task, Vector

LABELS = [Task(f"message {number}", label) for number, label in enumerate(("BILL", "BILL", "TECH", "TECH", "SALE"))]


def leaks(text: str, answer: JSON, *, source: bool = False, others: list[Task] = LABELS) -> bool:
    task = Task("the question", answer)
    experience = Experience(text, origin=Origin(tasks=(task.id,) if source else ()))
    return leaked_task(experience, [*others, task]) == task.id


@each(
    ("answer", "text"),
    [
        ("Paris", "When asked for the capital, say Paris."),
        ("Paris", "When asked for the capital, say PARIS!"),
        ("Paris", "When asked for the capital, spell P-A-R-I-S."),
        ("Paris", "When asked, spell p a r i s."),
        ("Paris", "When asked, say \uff30\uff41\uff52\uff49\uff53."),
        ("New York City", "When asked, think of new york city."),
        ("New York City", "When asked, write NewYork-City."),
        ("XK-4471-QZ", "When a code is asked for, XK 4471 QZ is right."),
        ("\u5317\u4eac\u5e02", "\u5f53\u95ee\u9996\u90fd\u65f6\uff0c\u7b54\u6848\u662f\u5317\u4eac\u5e02\u3002"),
        (4200, "When asked, the sum is 4,200."),
        (4200, "When asked, the sum is 4 200 exactly."),
        (4200, "When asked, the sum is 4.200 exactly."),
        (4200, "When asked, the sum is 4200.00."),
        (4200, "When asked, the sum is 4.2e3."),
        ("4,200", "When asked, say 4200."),
        ("$4,200.50", "When asked, say 4200.5 dollars."),
        ("4200,50", "When asked, say 4,200.50."),
        (-37, "When asked, answer minus 37."),
        (42, "When asked, say 4 2."),
        (42, "When asked, try 17, 42, or 99."),
        (0.375, "When asked, say 0.3750."),
        ({"city": "Lima", "year": 1821}, "When asked for Peru, 1821 is the year."),
        (["alpha", "omega"], "When listing letters, end with Omega."),
        (
            "Warm air rises and cools until its vapour condenses into drops",
            "When asked why it rains, warm air rises and cools.",
        ),
    ],
)
def test_an_answer_of_one_task_is_found_in_any_guise(answer: JSON, text: str) -> None:
    assert leaks(text, answer)


@each(
    ("answer", "text"),
    [
        ("Paris", "When unsure, compare prisons with palaces."),
        ("Paris", "When a comparison is asked for, make it short."),
        ("BILL", "When a charge is named, answer BILL."),
        (3, "When giving a price, use 3 decimals."),
        ("x", "When solving for x, isolate it first."),
        (4200, "When a number has 4 digits, group it by 200."),
        (True, "When a claim is true, answer true."),
        (None, "When nothing fits, answer none."),
        ("?!", "When asked, answer!"),
        ("", "When asked, answer."),
    ],
)
def test_honest_texts_and_labels_are_no_leak(answer: JSON, text: str) -> None:
    assert not leaks(text, answer)


@pytest.mark.parametrize(("answer", "text"), [(3, "When asked, say 3."), ("x", "When asked, say x.")])
def test_small_answers_leak_only_from_their_own_task(answer: JSON, text: str) -> None:
    assert leaks(text, answer, source=True)
    assert not leaks(text, answer)


def test_an_answer_that_most_prompts_list_is_a_label() -> None:
    tasks = [Task(f"BILL, TECH or SALE? Message {number}", "BILL") for number in range(5)]
    assert leaks("When they want to buy, answer SALE.", "SALE", others=[])
    last = Task("BILL, TECH or SALE? I want one.", "SALE")
    assert leaked_task(Experience("When they want to buy, answer SALE."), [*tasks, last]) is None


def test_a_run_of_words_that_answers_share_is_no_leak() -> None:
    ending = "so the answer follows from the rule"
    tasks = [Task("one", f"First we add the two sides {ending}"), Task("two", f"Now count every corner twice {ending}")]
    assert leaked_task(Experience("When done, end with: so the answer follows from the rule."), tasks) is None
    assert leaked_task(Experience("When stuck, first we add the two sides."), tasks) == tasks[0].id


def test_a_demonstration_may_hold_its_own_answer_and_no_other() -> None:
    own, other = Task("capital of France?", "Paris"), Task("capital of Peru?", "Lima")
    origin = Origin(tasks=(own.id,))
    assert leaked_task(Experience("Q: France? A: Paris", "demonstration", origin), [own, other]) is None
    assert leaked_task(Experience("Q: Peru? A: Lima", "demonstration", origin), [own, other]) == other.id


FIRST = Experience("When the message mentions a refund, answer BILL.")


@each(
    ("text", "same"),
    [
        ("When the message mentions a refund, answer BILL", True),
        ("when a message mentions a refund, answer bill!", True),
        ("Answer BILL when the message mentions a refund.", True),
        ("When the message mentions a refund, answer TECH.", False),
        ("When the message mentions a refund, never answer BILL.", False),
        ("When the message mentions 2 refunds, answer BILL.", False),
        ("When the text is long, read its last sentence first.", False),
    ],
)
def test_the_same_advice_is_recognised_and_opposite_advice_is_not_the_same(text: str, same: bool) -> None:
    assert repeated(text, [FIRST], LABELS) == (FIRST.id if same else None)


@each(
    ("text", "same"),
    [
        ("If money is to be given back, the code is BILL.", True),
        ("If money is to be given back, the code is TECH.", False),
        ("If money is to be given back, the code is not BILL.", False),
        ("If 2 sums are to be given back, the code is BILL.", False),
        ("When the message mentions an invoice, answer BILL.", False),
    ],
)
def test_vectors_tell_the_same_advice_in_other_words_and_nothing_else(text: str, same: bool) -> None:
    """Other labels, numbers and negations are other advice; of like wording the wording alone decides."""
    one = Meanings(0.9, {FIRST.text: (1.0, 0.0), text: (1.0, 0.1)})
    assert similarity(FIRST.text, text) < NEAR
    assert repeated(text, [FIRST], LABELS, one) == (FIRST.id if same else None)
    far = Meanings(0.9, {FIRST.text: (1.0, 0.0), text: (0.1, 1.0)})
    assert repeated(text, [FIRST], LABELS, far) is None
    assert repeated(text, [FIRST], LABELS, Meanings(0.9, {text: (1.0, 0.0)})) is None
    assert repeated(text, [FIRST], LABELS) is None


def test_texts_that_share_their_wording_are_not_alike_however_near_their_vectors() -> None:
    one, other = "When explaining, be brief.", "When explaining, be thorough."
    assert APART <= similarity(one, other) < NEAR
    assert not Meanings(0.5, {one: (1.0,), other: (1.0,)}).alike(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("When rounding, round up.", "When rounding, round down."),
        ("When two dates are given, take the later one.", "When two dates are given, take the earlier one."),
        ("When counting days, include the first day.", "When counting days, exclude the first day."),
        ("When the review is positive, answer PRAISE.", "When the review is positive, answer COMPLAINT."),
        (
            "When a refund is asked for by mail, always refund it.",
            "When a refund is asked for by mail, never refund it.",
        ),
    ],
)
def test_opposites_are_not_the_same_though_no_task_knows_their_words(one: str, other: str) -> None:
    assert similarity(one, other) >= NEAR
    assert repeated(one, [Experience(other)], []) is None
    assert repeated(other, [Experience(one)], []) is None


def test_two_steps_of_one_way_are_not_the_same() -> None:
    one, other = (
        "When the lamp is red, doing press leads to a green lamp.",
        "When the lamp is green, doing press leads to a blue lamp.",
    )
    assert similarity(one, other) >= NEAR
    assert repeated(one, [Experience(other)], []) is None
    assert repeated(other, [Experience(one)], []) is None
    again = "When the lamp is red, doing press leads to a green  lamp!"
    assert repeated(again, [Experience(one)], []) == Experience(one).id
    rephrased = "When the lamp gets red, doing press leads to a green lamp."
    assert repeated(rephrased, [Experience(one)], []) == Experience(one).id


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("When a number is given, round it up or down.", "When a number is given, round it down or up."),
        ("When the review is positive, answer PRAISE.", "When the review is positive, answer praise!"),
        (
            "When the review is good, answer PRAISE, not COMPLAINT.",
            "When a review is good, answer PRAISE not COMPLAINT.",
        ),
    ],
)
def test_what_both_texts_name_makes_no_opposites(one: str, other: str) -> None:
    known = Experience(other)
    assert repeated(one, [known], []) == known.id


@each(
    ("one", "other", "found"),
    [
        ((1.0, 0.0), (2.0, 0.0), 1.0),
        ((1.0, 0.0), (0.0, 3.0), 0.0),
        ((1.0, 1.0), (-2.0, -2.0), -1.0),
        ((0.0, 0.0), (1.0, 1.0), 0.0),
        ((1.0, 0.0), (1.0, 0.0, 0.0), 0.0),
    ],
)
def test_the_cosine_is_of_the_angle_alone(one: Vector, other: Vector, found: float) -> None:
    assert cosine(one, other) == pytest.approx(found)


@given(st.text(max_size=80), st.text(max_size=80))
def test_similarity_is_symmetric_and_one_for_equal_texts(one: str, other: str) -> None:
    assert similarity(one, other) == similarity(other, one)
    assert 0 <= similarity(one, other) <= 1
    assert similarity(one, one) == 1 > NEAR
