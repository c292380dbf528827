"""Weighted sums of rewards, majorities, JSON: what the tables of docs/rewards.md cannot show."""

import pytest

from tests.rollouts.scoring import saying
from tests.tables import each
from tfgrpo.errors import InputError
from tfgrpo.records import Group, Rollout, Task
from tfgrpo.rollouts.rewards import jsons, matchers
from tfgrpo.rollouts.rewards.built_in import check, load_reward, refuse_comparing
from tfgrpo.rollouts.rewards.majority import settled_answer
from tfgrpo.rollouts.rewards.reward import compared, score


@pytest.mark.parametrize(
    ("named", "text", "reward"),
    [
        ("0.8*exact + 0.2*numeric", "42", 1.0),
        ("0.8*exact+0.2*numeric", "It is 42.", 0.2),
        ("exact + numeric", "It is 42.", 0.5),
        ("0.5 * numeric", "42", 0.5),
        (".25*contains + 0.75*exact-strict", "so 42", 0.25),
    ],
)
async def test_a_sum_adds_its_parts(named: str, text: str, reward: float) -> None:
    assert (await score(load_reward(named), saying(text, 42))).reward == pytest.approx(reward)


async def test_the_feedback_of_each_part_is_kept_and_a_part_that_fails_fails_the_sum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scored = await score(load_reward("0.5*json-equal + 0.5*exact"), saying("{", {"a": 1}))
    assert scored.reward == 0.0
    assert scored.feedback.startswith("json-equal: no JSON: ")
    monkeypatch.setattr(matchers, "REGEX_SECONDS", 0.05)
    broken = await score(load_reward("0.5*regex + 0.5*exact"), saying("a" * 40 + "b", "^(a|a|a)*$"))
    assert broken.reward is None
    assert "regex: " in str(broken.error)
    assert "took more than 0.05 s" in str(broken.error)


@each(
    ("named", "said"),
    [
        ("0.8*exact + 0.3*numeric", "the weights add up to 1.1; at most 1"),
        ("0*exact + 0*numeric", "the weights add up to 0; at most 1, and above 0"),
        ("0.8*exact + numeric", "give every part a weight"),
        ("x*exact + 0.2*numeric", "the weight 'x' is no number"),
        ("-1*exact + 2*numeric", "the weight '-1' is no number of at least 0"),
        ("nan*exact + 1*numeric", "the weight 'nan' is no number"),
        ("exact + ", "there is no reward"),
        ("0.5*exact + + 0.5*numeric", "a part is missing"),
        ("0.5*exact*numeric", "is no weight and reward"),
        ("0.5*majority + 0.5*exact", "cannot be part of a sum"),
        ("0.5*exat + 0.5*numeric", "did you mean exact?"),
    ],
)
def test_what_is_no_sum_is_refused_in_one_line(named: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        load_reward(named)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_sum_checks_what_each_part_needs() -> None:
    with pytest.raises(InputError, match="holds no number"):
        check(load_reward("0.5*exact + 0.5*numeric"), [Task("q", "blue")])


def voted(*texts: str) -> list[float | None]:
    rollouts = tuple(Rollout(Task("q"), 0, place, "", text=text) for place, text in enumerate(texts))
    return [one.reward for one in compared(load_reward("majority"), Group(Task("q"), 0, rollouts)).rollouts]


def test_the_commonest_answer_of_a_group_is_right() -> None:
    assert voted("The answer is 42.", r"\boxed{42}", "forty-two", "41") == [1, 1, 1, 0]
    assert voted("Answer: Paris", "**Answer:** paris.", "Rome") == [1, 1, 0]
    assert voted("1", "2", "1", "2") == [1, 1, 1, 1]
    assert voted("1", "2", "3") == [0, 0, 0]
    assert voted("", "", "1") == [0, 0, 0]


async def test_a_majority_scores_no_rollout_alone_and_none_without_a_group() -> None:
    rollout = saying("42")
    assert await score(load_reward("majority"), rollout) is rollout
    with pytest.raises(InputError, match="reward majority compares the rollouts of a group, and the gate has none"):
        refuse_comparing(load_reward("majority"), "the gate has none")


def test_answers_are_counted_in_one_form() -> None:
    assert settled_answer("**B**") == settled_answer("b.") == "b"
    assert settled_answer("So it is\n\nBlue.") == "blue"


@each("schema", [None, "none", [1], {"a": 1}, {"type": "nothing"}, {"type": 3}, {"properties": 3}])
def test_what_is_no_schema_is_refused(schema: object) -> None:
    with pytest.raises(InputError, match="cannot be scored by reward json-schema"):
        check(load_reward("json-schema"), [Task("q", "x", {"schema": schema})])


async def test_a_schema_is_found_where_tasks_hold_it_and_its_patterns_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api = {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": {"type": "string", "pattern": "^(a|a|a)*$"}},
    }
    for held in ({"schema": api}, {"json_schema": api["json_schema"]}):
        rollout = Rollout(Task("q", None, held), 0, 0, "", text='"aa"')
        assert (await score(load_reward("json-schema"), rollout)).reward == 1.0
    slow = Rollout(Task("q", None, {"schema": api}), 0, 0, "", text='"' + "a" * 40 + 'b"')
    monkeypatch.setattr(jsons, "REGEX_SECONDS", 0.05)
    scored = await score(load_reward("json-schema"), slow)
    assert (scored.reward, scored.feedback) == (0.0, "a pattern of the schema took too long on it")


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 100_000, '{"a": NaN}', "", "\ufeff", '{"a": 1, }', "nul"])
async def test_what_is_no_json_earns_nothing_and_says_why(text: str) -> None:
    scored = await score(load_reward("json-equal"), saying(text, {"a": 1}))
    assert (scored.reward, scored.feedback.partition(":")[0]) == (0.0, "no JSON")


def test_an_answer_that_is_no_json_is_refused() -> None:
    with pytest.raises(InputError, match="the answer Paris is not JSON"):
        check(load_reward("json-equal"), [Task("q", "Paris")])
