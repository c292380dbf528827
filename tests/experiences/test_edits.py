import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tables import each
from tfgrpo.experiences.edits import (
    Edit,
    Form,
    Proposals,
    Unusable,
    consolidate,
    filled_up,
    need_merging,
    one_update_each,
)
from tfgrpo.records import Experience
from tfgrpo.text import WORD_CHARS, too_long

CURRENT = (Experience("When asked for a label, answer with the label."), Experience("When in doubt, check twice."))
FORM = Form(CURRENT, limit=2, words=8, instructions='like: "When a date has no year, guess it."', tasks=("task_1",))
ADD = {"operation": "ADD", "text": "When it rains, take an umbrella.", "target": ""}
ADDED = Edit("ADD", "When it rains, take an umbrella.", tasks=("task_1",))


def read(form: Form, answer: str) -> Proposals:
    result = form.read(answer)
    assert isinstance(result, Proposals), result
    return result


def refused(form: Form, answer: str) -> str:
    result = form.read(answer)
    assert isinstance(result, Unusable), result
    return result.why


@each(
    "answer",
    [
        json.dumps([ADD]),
        json.dumps(ADD),
        json.dumps({"edits": [ADD]}),
        f"Here you are:\n```json\n{json.dumps([ADD])}\n```\nI hope [that] helps {{you}}.",
        f'<think>First I thought of [{{"operation": "NONE"}}] but no.</think>\n{json.dumps([ADD])}',
        json.dumps([{**ADD, "operation": " add "}]),
        json.dumps([{**ADD, "text": "- When it rains,\n  take an umbrella."}]),
        json.dumps([{**ADD, "target": "E1"}]),
        json.dumps([{"operation": "ADD", "text": ADD["text"]}]),
    ],
)
def test_one_json_value_is_read_whatever_stands_around_it(answer: str) -> None:
    assert read(FORM, answer) == Proposals((ADDED,))


@pytest.mark.parametrize("answer", ["[]", '[{"operation": "NONE", "text": "", "target": ""}]'])
def test_nothing_to_learn_is_a_usable_answer(answer: str) -> None:
    assert read(FORM, answer) == Proposals()


@each(
    ("answer", "why"),
    [
        ("", "0 JSON values"),
        ("The better attempt was shorter.", "0 JSON values"),
        ('[{"operation": "ADD", "text": "When it rai', "broken: Unterminated string"),
        (json.dumps([ADD])[:-1], "broken"),
        ("[{'operation': 'ADD'}]", "broken"),
        (f"{json.dumps([ADD])} or {json.dumps([ADD])}", "2 JSON values"),
        ("[1, 2]", "0 JSON values"),
        ('{"a": [1]}', "not a JSON list of objects"),
        ('{"a": 1, "b": 2}', "not a JSON list of objects"),
        ('[{"operation": "REPLACE", "text": "x"}]', "'REPLACE' is none of"),
        ('[{"operation": "ADD", "text": "  "}]', "no text"),
        ('[{"operation": "ADD", "text": ["x"]}]', "no text"),
        ('[{"operation": "ADD", "text": "one two three four five six seven eight nine"}]', "has 9 words; at most 8"),
        ('[{"operation": "ADD", "text": "When a date has no year, guess it"}]', "copied from the instructions"),
        ("x" * 50_000, "50000 characters"),
        ('[{"a":' * 3_000, "nested too deeply"),
    ],
)
def test_an_answer_with_nothing_usable_says_why(answer: str, why: str) -> None:
    assert why in refused(FORM, answer)


def test_what_is_usable_is_adopted_and_the_rest_dropped_with_its_reason() -> None:
    answer = json.dumps([{"operation": "DELETE", "target": "E9"}, ADD])
    assert read(FORM, answer) == Proposals((ADDED,), ('DELETE: its "target" is not in the list of experiences',))


@each("target", ["E3", "E0", "", "the first", None, 7])
def test_an_update_of_nothing_known_is_an_addition(target: str | int | None) -> None:
    answer = json.dumps([{"operation": "UPDATE", "text": ADD["text"], "target": target}])
    assert read(FORM, answer) == Proposals((ADDED,))
    assert read(MERGE, json.dumps([{**json.loads(answer)[0], "from": ["P1"]}])).edits[0].operation == "ADD"


@pytest.mark.parametrize("target", ["E0", "E3", None])
def test_a_deletion_of_nothing_known_is_dropped_and_the_answer_stays_usable(target: str | None) -> None:
    answer = json.dumps([{"operation": "DELETE", "target": target}])
    assert read(FORM, answer) == Proposals((), ('DELETE: its "target" is not in the list of experiences',))


def test_the_schema_bounds_each_text_so_that_no_model_loops_to_the_cut() -> None:
    items = FORM.schema["items"]
    assert isinstance(items, dict)
    assert items["properties"]["text"] == {"type": "string", "maxLength": 8 * WORD_CHARS}


def test_ten_proposals_are_cut_to_the_limit() -> None:
    many = [{**ADD, "text": f"When {number}, stop."} for number in range(10)]
    proposals = read(FORM, json.dumps(many))
    assert [edit.text for edit in proposals.edits] == ["When 0, stop.", "When 1, stop."]
    assert len(proposals.dropped) == 8


def test_short_names_are_turned_into_ids_and_delete_needs_no_text() -> None:
    answer = [
        {"operation": "UPDATE", "text": "When asked, name the label.", "target": "E1: When asked for a label"},
        {"operation": "DELETE", "target": "e2", "text": "whatever " * 20},
    ]
    update, delete = read(FORM, json.dumps(answer)).edits
    assert (update.operation, update.target) == ("UPDATE", CURRENT[0].id)
    assert (delete.operation, delete.target, delete.text) == ("DELETE", CURRENT[1].id, "")


MERGE = Form(CURRENT, 8, 8, "", proposals=(Edit("ADD", "a", tasks=("t1",)), Edit("ADD", "b", tasks=("t2", "t1"))))


def test_a_merged_edit_comes_from_the_tasks_of_its_proposals() -> None:
    assert read(MERGE, json.dumps([{**ADD, "from": ["P2", "P1", "P7"]}])).edits[0].tasks == ("t2", "t1")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (json.dumps([ADD]), '"from" names no proposal'),
        (json.dumps([{**ADD, "from": ["P3"]}]), '"from" names no proposal'),
        ("[]", "into nothing"),
    ],
)
def test_a_merge_that_cannot_be_traced_or_loses_everything_is_refused(answer: str, why: str) -> None:
    assert why in refused(MERGE, answer)


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(answer: str) -> None:
    assert isinstance(FORM.read(answer), Proposals | Unusable)


@each(
    ("text", "long"),
    [
        ("one two three", False),
        ("one two three four", True),
        ("x" * 36, False),
        ("x" * 37, True),
        ("\u5f53\u4e0b\u96e8\u65f6", False),
        ("\u5f53\u4e0b\u96e8\u65f6\u8bf7\u5e26\u4f1e", True),
    ],
)
def test_length_is_counted_in_any_script(text: str, long: bool) -> None:
    assert (too_long(text, 3) is not None) == long


ONE, TWO = CURRENT


@each(
    ("edits", "kept", "dropped"),
    [
        ([Edit("NONE")], [], ""),
        (
            [Edit("UPDATE", "When x, y.", ONE.id), Edit("DELETE", target=ONE.id)],
            [Edit("DELETE", target=ONE.id)],
            "it is to be deleted",
        ),
        ([Edit("DELETE", target="exp_gone")], [], "no such experience now"),
        ([Edit("UPDATE", "When x, y.", "exp_gone")], [], "no such experience now"),
        ([Edit("ADD", TWO.text.upper())], [], "the list has it already"),
        ([Edit("ADD", " .")], [], "no text"),
        (
            [Edit("ADD", "When x, y.", tasks=("a",)), Edit("ADD", "when X: y", tasks=("b", "a"))],
            [Edit("ADD", "when X: y", tasks=("a", "b"))],
            "",
        ),
        (
            [Edit("DELETE", "old", ONE.id, ("a",)), Edit("DELETE", "", ONE.id, ("b",))],
            [Edit("DELETE", "", ONE.id, ("a", "b"))],
            "",
        ),
    ],
)
def test_edits_of_a_step_are_consolidated_by_rule(edits: list[Edit], kept: list[Edit], dropped: str) -> None:
    proposals = consolidate(edits, CURRENT)
    assert list(proposals.edits) == kept
    assert dropped in "".join(proposals.dropped)
    assert bool(dropped) == bool(proposals.dropped)


def test_of_several_updates_of_one_target_the_first_wins() -> None:
    edits = (Edit("UPDATE", "a", ONE.id), Edit("UPDATE", "b", ONE.id), Edit("UPDATE", "c", TWO.id))
    proposals = one_update_each(Proposals(edits))
    assert [edit.text for edit in proposals.edits] == ["a", "c"]
    assert len(proposals.dropped) == 1


@each(
    ("edits", "room", "needed"),
    [
        ([], 1, False),
        ([Edit("ADD", "a"), Edit("UPDATE", "b", "x"), Edit("DELETE", target="y")], 1, False),
        ([Edit("ADD", "a"), Edit("ADD", "b")], 1, True),
        ([Edit("ADD", "a"), Edit("ADD", "b")], 2, False),
        ([Edit("UPDATE", "a", "x"), Edit("UPDATE", "b", "x")], 2, True),
        ([Edit("DELETE", target="x"), Edit("DELETE", target="y")], 1, False),
    ],
)
def test_a_model_merges_only_what_finds_no_room_or_gets_in_its_own_way(
    edits: list[Edit], room: int, needed: bool
) -> None:
    assert need_merging(edits, room) == needed


def test_what_a_merge_leaves_out_fills_the_places_that_it_leaves_free() -> None:
    proposed = [Edit("ADD", text, tasks=(task,)) for text, task in (("a", "t1"), ("b", "t2"), ("c", "t3"), ("d", "t4"))]
    joined = [Edit("ADD", "a or b", tasks=("t1", "t2"))]
    assert filled_up(joined, proposed, 2) == (*joined, proposed[2])
    assert filled_up(joined, proposed, 9) == (*joined, *proposed[2:])
    assert filled_up(joined, proposed, 1) == tuple(joined)


def test_of_a_text_that_goes_on_the_whole_sentences_that_fit_are_taken() -> None:
    text = "When it rains, take an umbrella. And when it rains, take an umbrella again and again."
    assert read(FORM, json.dumps([{**ADD, "text": text}])) == Proposals((ADDED,))
    chinese = "\u4e0b\u96e8\u5e26\u4f1e\u3002" * 9
    assert read(FORM, json.dumps([{**ADD, "text": chinese}])).edits[0].text == chinese[:10]
