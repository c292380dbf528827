import csv
import io
import json
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tables import each
from tfgrpo.errors import InputError
from tfgrpo.records import JSON, Task
from tfgrpo.tasks.read import TaskSet, read_tasks, tasks_of

Writer = Callable[[str, str | bytes], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writer:
    """Writes a file in a folder that becomes the current one; gives its name."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, content: str | bytes) -> str:
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    return write


def read_stdin(content: bytes, monkeypatch: pytest.MonkeyPatch) -> TaskSet:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    return read_tasks("-")


def refusal(source: str) -> str:
    with pytest.raises(InputError) as caught:
        read_tasks(source)
    message = str(caught.value)
    assert "\n" not in message
    return message


SAME_TASKS = [
    ("t.jsonl", '{"input": "1 + 1", "answer": "2"}\n\n  \n{"input": "a, b", "answer": "c"}\n'),
    ("t.ndjson", '{"input": "1 + 1", "answer": "2"}\r\n{"input": "a, b", "answer": "c"}'),
    ("t.JSON", '[{"input": "1 + 1", "answer": "2"}, {"input": "a, b", "answer": "c"}]'),
    ("t.json", '{"tasks": [{"input": "1 + 1", "answer": "2"}, {"input": "a, b", "answer": "c"}]}'),
    ("t.json", '{"name": "sums", "data": [{"input": "1 + 1", "answer": "2"}, {"input": "a, b", "answer": "c"}]}'),
    ("t.csv", 'input,answer\n1 + 1,2\n\n"a, b",c\n,\n'),
    ("t.csv", 'answer, question\r\n2,1 + 1\r\nc,"a, b"\r\n'),
]


@pytest.mark.parametrize(("name", "content"), SAME_TASKS)
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["plain", "bom"])
def test_every_format_gives_the_same_tasks_in_file_order(write: Writer, name: str, content: str, bom: bytes) -> None:
    assert read_tasks(write(name, bom + content.encode())).tasks == (Task("1 + 1", "2"), Task("a, b", "c"))


@pytest.mark.parametrize(("name", "content"), SAME_TASKS)
def test_standard_input_and_unknown_names_are_read_by_their_content(
    write: Writer, monkeypatch: pytest.MonkeyPatch, name: str, content: str
) -> None:
    expected = read_tasks(write(name, content)).tasks
    assert read_tasks(write("tasks.txt", content)).tasks == expected
    assert read_stdin(content.encode(), monkeypatch).tasks == expected


def test_a_pretty_printed_json_object_is_known_by_its_content(write: Writer) -> None:
    content = json.dumps({"tasks": [{"input": "1 + 1", "answer": 2}]}, indent=2)
    assert read_tasks(write("tasks", content)).tasks == (Task("1 + 1", 2),)


@pytest.mark.parametrize("field", ["input", "question", "prompt", "messages"])
@pytest.mark.parametrize("answer", ["answer", "output", "label", "target", "expected"])
def test_input_and_answer_go_by_the_names_that_people_give_them(write: Writer, field: str, answer: str) -> None:
    line = json.dumps({answer: "4", field: "2 + 2"})
    assert read_tasks(write("t.jsonl", line)).tasks == (Task("2 + 2", "4"),)


def test_the_first_name_present_wins_and_the_others_become_metadata(write: Writer) -> None:
    line = '{"prompt": "short", "input": "long", "label": "x", "output": null, "metadata": {"a": 1, "b": 2}, "b": 3}'
    assert read_tasks(write("t.jsonl", line)).tasks == (Task("long", "x", {"a": 1, "b": 3, "prompt": "short"}),)


def test_csv_columns_without_a_meaning_become_metadata_and_answers_stay_text(write: Writer) -> None:
    content = 'id,input,answer,topic,metadata\nq1,"two\nlines",007,sums,free text\n'
    metadata = {"id": "q1", "topic": "sums", "metadata": "free text"}
    assert read_tasks(write("t.csv", content)).tasks == (Task("two\nlines", "007", metadata),)


def test_csv_columns_without_a_name_are_ignored(write: Writer) -> None:
    found = read_tasks(write("t.csv", ",input,,\n0,a,,\n1,a,,\n"))
    assert found == TaskSet((Task("a", count=2),), "t.csv")


def test_an_answer_may_be_any_json_or_absent(write: Writer) -> None:
    answers = [7, 1e300, 10**60, True, ["a", "b"], {"a": [1]}, "", None]
    lines = "\n".join(json.dumps({"input": f"task {number}", "answer": one}) for number, one in enumerate(answers))
    assert [task.answer for task in read_tasks(write("t.jsonl", lines)).tasks] == answers


def test_chat_messages_are_kept_as_they_are(write: Writer) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {}}],
        },
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "tool_call_id": "1", "content": "a cat"},
    ]
    (task,) = read_tasks(write("t.jsonl", json.dumps({"messages": messages}))).tasks
    assert list(task.messages) == messages


def test_the_same_task_twice_is_one_task_with_a_count_whatever_its_ids(write: Writer) -> None:
    lines = [
        '{"id": 1, "input": "a", "answer": "x"}',
        '{"id": 2, "input": "b", "answer": "x"}',
        '{"id": 3, "answer": "x", "input": "a"}',
        '{"input": "a", "answer": "x", "metadata": null}',
    ]
    found = read_tasks(write("t.jsonl", "\n".join(lines)))
    assert [(task.input, task.count, task.metadata) for task in found.tasks] == [
        ("a", 3, {"id": 1}),
        ("b", 1, {"id": 2}),
    ]
    assert found.duplicates == 2
    assert found.source == "t.jsonl"
    assert found.tasks[0].id == Task("a", "x").id


def test_tasks_that_differ_in_their_metadata_are_two_tasks(write: Writer) -> None:
    lines = '{"input": "write f", "metadata": {"test": 1}}\n{"input": "write f", "metadata": {"test": 2}}'
    assert read_tasks(write("t.jsonl", lines)).duplicates == 0


def test_the_same_task_twice_may_repeat_its_id(write: Writer) -> None:
    assert read_tasks(write("t.csv", "id,input\nq,a\nq,a\n")).tasks[0].count == 2


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        ("t.jsonl", '{"id": "q", "input": "a"}\n\n{"id": "q", "input": "b"}', "line 1 and line 3"),
        ("t.jsonl", '{"id": 7, "input": "a"}\n{"metadata": {"id": "7"}, "input": "b"}', "line 1 and line 2"),
        ("t.json", '[{"id": "q", "input": "a"}, {"id": "q", "input": "a", "answer": 1}]', "entry 1 and entry 2"),
        ("t.csv", 'id,input\nq,"a\nb"\nq,b\n', "line 2 and line 4"),
    ],
)
def test_two_tasks_under_one_id_are_refused_with_both_places(
    write: Writer, name: str, content: str, places: str
) -> None:
    assert refusal(write(name, content)).startswith(f"{name}: {places} share the id")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.jsonl", '{"input": "a"}\n{"input": ', 't.jsonl, line 2: not JSON (Expecting value, column 11): {"input":'),
        ("t.jsonl", "[1]", "t.jsonl, line 1: expected an object with an input, read [1]"),
        ("t.jsonl", '"text"', "t.jsonl, line 1: expected an object with an input, read text"),
        (
            "t.jsonl",
            '{"txt": "a", "gold": 1}',
            "name it input, question, prompt or messages; fields seen: txt, gold; or say",
        ),
        ("t.jsonl", '{"input": null}', "fields seen: input"),
        ("t.jsonl", '{"input": " "}', "t.jsonl, line 1: input must be text or a list of chat messages, read nothing"),
        ("t.jsonl", '{"prompt": 5}', "prompt must be text or a list of chat messages, read 5"),
        ("t.jsonl", '{"input": "a", "answer": NaN}', "t.jsonl, line 1: a value that JSON cannot carry (NaN"),
        ("t.jsonl", '{"input": "a", "weight": [1, -Infinity]}', "t.jsonl, line 1: a value that JSON cannot carry"),
        ("t.jsonl", '{"input": "a", "answer": 1e400}', "t.jsonl, line 1: a value that JSON cannot carry"),
        ("t.jsonl", '{"input": "\\ud800"}', "t.jsonl, line 1: a value that JSON cannot carry"),
        pytest.param("t.jsonl", "9" * 5000, "t.jsonl, from line 1: not readable as JSON", id="huge number"),
        pytest.param("t.jsonl", "[" * 100_000, "t.jsonl, from line 1: not readable as JSON", id="deep"),
        ("t.jsonl", b'{"input": "a"}\n{"input": "\xff"}', "t.jsonl, line 2: byte 0xff is not UTF-8; it seems"),
        ("t.jsonl", b"\xff\xfe{", "t.jsonl, line 1: byte 0x7b is not UTF-16; save the file as UTF-8"),
        ("t.jsonl", "", "t.jsonl holds no tasks"),
        ("t.jsonl", "\n \n", "t.jsonl holds no tasks"),
        ("t.json", "", "t.json holds no tasks"),
        ("t.json", "[]", "t.json holds no tasks"),
        (
            "t.json",
            '[{"input": "a"},\n{"input": }]',
            't.json, line 2: not JSON (Expecting value, column 11): {"input": }',
        ),
        ("t.json", '[{"input": "a"}, {"answer": "b"}]', "t.json, entry 2: no input"),
        (
            "t.json",
            '{"input": "a"}',
            "t.json: expected a list of tasks, or an object with one under tasks, data, examples,",
        ),
        ("t.csv", "", "t.csv holds no tasks"),
        ("t.csv", "input,answer\n", "t.csv holds no tasks"),
        ("t.csv", "words,answer\na,b\n", "t.csv, line 2: no input"),
        ("t.csv", "input,answer\na,b\n\n,c\n", "t.csv, line 4: no input"),
        ("t.csv", "input,answer\na, well,b\n", "t.csv, line 2: 3 cells under 2 columns; quote a cell"),
        ("t.csv", "input,answer,answer\na,b,c\n", "t.csv, line 1: two columns are named 'answer'"),
        ("t.csv", 'input,answer\na,b\n"open,c\n', "t.csv, line 3: not CSV (unexpected end of data)"),
        ("t.txt", "hello there\nyou", "t.txt, line 2: no input"),
        pytest.param("t.txt", "[" * 100_000, "t.txt, from line 1: not readable as JSON", id="deep, format unknown"),
    ],
)
def test_what_is_no_task_is_refused_in_one_line_with_its_place(
    write: Writer, name: str, content: str | bytes, message: str
) -> None:
    assert message in refusal(write(name, content))


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "messages must be text or a list of chat messages, read []"),
        (["hi"], "message 1 of messages needs a role (system, developer, user, assistant, tool or function), read hi"),
        ([{"content": "hi"}], "message 1 of messages needs a role"),
        ([{"role": ["user"], "content": "hi"}], "message 1 of messages needs a role"),
        ([{"role": "user", "content": "hi"}, {"role": "usr", "content": "hi"}], "message 2 of messages needs a role"),
        ([{"role": "user"}], "message 1 of messages needs a content"),
        ([{"role": "user", "content": 5}], "message 1 of messages needs a content"),
        ([{"role": "user", "content": []}], "message 1 of messages needs a content"),
        ([{"role": "user", "content": ["hi"]}], "message 1 of messages needs a content"),
        (
            [{"role": "assistant", "content": "2"}],
            "the last of messages is the assistant's, and there is nothing before it; take one of them out",
        ),
    ],
)
def test_malformed_chat_messages_are_refused_by_number(write: Writer, messages: object, message: str) -> None:
    assert f"t.jsonl, line 1: {message}" in refusal(write("t.jsonl", json.dumps({"messages": messages})))


def test_what_was_read_is_shown_shortened_and_without_control_characters(write: Writer) -> None:
    message = refusal(write("t.jsonl", "\x1b[31mred " + "x" * 10_000))
    assert "\x1b" not in message
    assert len(message) < 200
    assert message.endswith("…")


@pytest.mark.parametrize("source", ["missing.jsonl", "https://example.org/tasks.jsonl", "."])
def test_a_source_that_cannot_be_read_says_what_a_source_is(write: Writer, source: str) -> None:
    message = refusal(source)
    assert message.startswith(f"cannot read tasks from {source}: ")
    assert "or .parquet file, - for standard input, gym:FAMILY, harbor:FOLDER or hf:OWNER/NAME" in message
    assert ("it is a folder; make one file of those in it: cat ./*.json > tasks.json" in message) == (source == ".")


def test_errors_in_standard_input_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"^standard input, line 1: no input"):
        read_stdin(b'{"answer": 1}', monkeypatch)


def test_line_separators_of_unicode_do_not_break_a_jsonl_line(write: Writer) -> None:
    assert read_tasks(write("t.jsonl", '{"input": "a\u2028b\u0085c"}')).tasks == (Task("a\u2028b\u0085c"),)


texts = st.text(st.characters(codec="utf-8")).filter(str.strip)


@given(st.lists(st.tuples(texts, texts), min_size=1))
def test_what_is_written_as_jsonl_is_read_back(pairs: list[tuple[str, str]]) -> None:
    lines = "\n".join(json.dumps({"input": one, "answer": two}, ensure_ascii=False) for one, two in pairs)
    with pytest.MonkeyPatch.context() as patch:
        found = read_stdin(lines.encode(), patch)
    assert [(task.input, task.answer) for task in found.tasks] == list(dict.fromkeys(pairs))
    assert len(found.tasks) + found.duplicates == len(pairs)


@given(st.lists(st.tuples(texts, texts), min_size=1))
def test_what_is_written_as_csv_is_read_back(pairs: list[tuple[str, str]]) -> None:
    file = io.StringIO(newline="")
    csv.writer(file).writerows([("input", "answer"), *pairs])
    with pytest.MonkeyPatch.context() as patch:
        found = read_stdin(file.getvalue().encode(), patch)
    assert [(task.input, task.answer) for task in found.tasks] == list(dict.fromkeys(pairs))


DICTS: list[dict[str, JSON]] = [
    {"question": "2 + 2", "label": 4},
    {"messages": [{"role": "user", "content": "hi"}], "id": "b", "kind": "x"},
]


def test_dicts_and_tasks_are_read_by_the_rules_of_files(write: Writer) -> None:
    name = write("t.jsonl", "\n".join(json.dumps(entry) for entry in DICTS))
    found = tasks_of(DICTS)
    assert found.tasks == read_tasks(name).tasks == tasks_of(Path(name)).tasks == tasks_of(name).tasks
    assert (found.source, found.places) == ("tasks", ("item 1", "item 2"))
    mixed: list[JSON] = [*found.tasks, DICTS[0]]
    again = tasks_of(iter(mixed), "validation")
    assert (again.source, [task.count for task in again.tasks], again.duplicates) == ("validation", [2, 1], 1)


def test_the_columns_of_a_data_frame_are_read_as_pythons_own_values() -> None:
    columns = zip(np.array([3, 4]), np.array([[1, 2], [3, 4]]), np.array([True, False]), strict=True)
    taken = [{"input": "a", "answer": answer, "seen": seen, "more": {"is": is_}} for answer, seen, is_ in columns]
    own = [{"input": "a", "answer": 3, "seen": [1, 2], "more": {"is": True}}]
    own += [{"input": "a", "answer": 4, "seen": [3, 4], "more": {"is": False}}]
    assert tasks_of(taken).tasks == tasks_of(own).tasks


@each(
    ("source", "words"),
    [
        ([{"input": "a"}, {"answer": "b"}], "tasks, item 2: no input; name it input, "),
        ([{1: "a"}], "tasks, item 1: no input; name it input, question, prompt or messages; fields seen: 1"),
        ([{"input": "a", "id": 1}, Task("b", metadata={"id": 1})], "tasks: item 1 and item 2 share the id '1'"),
        ([{"input": "a", "answer": date(2026, 1, 1)}], "tasks, item 1: a value that JSON cannot carry (Object of type"),
        (["a"], "tasks, item 1: expected an object with an input, read a"),
        ([], "tasks holds no tasks; one looks like {"),
        ({"input": "a"}, "tasks must be a path, gym:FAMILY, or a list of dicts or Tasks, and it is dict"),
        (b"t.jsonl", "and it is bytes"),
        (None, "and it is NoneType"),
    ],
)
def test_what_is_no_list_of_tasks_is_one_line_that_names_the_item(source: JSON, words: str) -> None:
    with pytest.raises(InputError) as caught:
        tasks_of(source)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
