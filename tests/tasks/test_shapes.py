"""Files as tools and public data sets have them: what the model is shown, what is right, and what is said of it."""

import csv
import gzip
import io
import json
from datetime import datetime
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.tables import each
from tfgrpo.errors import InputError
from tfgrpo.records import JSON, Task
from tfgrpo.tasks.fields import Fields
from tfgrpo.tasks.read import TaskSet, read_tasks, tasks_of

SAYS_S = {"role": "system", "content": "S"}
PARIS = "Capital of France?"
CITIES = ["Rome", "Paris", "Oslo", "Bern"]
LETTERED = "Capital of France?\n\nA) Rome\nB) Paris\nC) Oslo\nD) Bern"


def one(record: dict[str, JSON], fields: Fields = Fields()) -> tuple[Task, str]:  # noqa: B008  # frozen
    found = tasks_of([record], fields=fields)
    return found.tasks[0], found.understood.line


def refused(source: Any, fields: Fields = Fields()) -> str:  # noqa: B008  # frozen
    with pytest.raises(InputError) as caught:
        tasks_of(source, fields=fields)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def turn(role: str, content: JSON) -> dict[str, JSON]:
    return {"role": role, "content": content}


SHAPES: list[tuple[str, dict[str, JSON], JSON, JSON]] = [
    ("MMLU", {"question": PARIS, "subject": "x", "choices": CITIES, "answer": "Paris"}, LETTERED, "B"),
    (
        "ARC",
        {"question": PARIS, "choices": {"text": CITIES, "label": ["1", "2", "3", "4"]}, "answerKey": "2"},
        LETTERED,
        "B",
    ),
    (
        "ARC's own",
        {
            "question": {"stem": PARIS, "choices": [{"text": t, "label": t[0]} for t in CITIES]},
            "answerKey": "P",
        },
        LETTERED,
        "B",
    ),
    (
        "MedQA",
        {"question": PARIS, "options": dict(zip("ABCD", CITIES, strict=True)), "answer": "Paris", "answer_idx": "B"},
        LETTERED,
        "B",
    ),
    ("AQuA", {"question": PARIS, "options": ["A)Rome", "B)Paris", "C)Oslo", "D)Bern"], "correct": "B"}, LETTERED, "B"),
    ("RACE", {"article": "Text.", "question": PARIS, "options": CITIES, "answer": "B"}, f"Text.\n\n{LETTERED}", "B"),
    ("MedMCQA", {"question": PARIS, **dict(zip(("opa", "opb", "opc", "opd"), CITIES, strict=True)), "answer": "B"},
     LETTERED, "B"),
    ("C-Eval", {"question": PARIS, **dict(zip("ABCD", CITIES, strict=True)), "answer": "B"}, LETTERED, "B"),
    (
        "WinoGrande",
        {"sentence": "_ is the capital of France.", "option1": "Rome", "option2": "Paris", "answer": "Paris"},
        "_ is the capital of France.\n\nA) Rome\nB) Paris",
        "B",
    ),
    ("choices as text in a cell", {"question": PARIS, "choices": str(CITIES), "answer": "Paris"}, LETTERED, "B"),
    ("BIG-bench", {"input": PARIS, "target_scores": {name: int(name == "Paris") for name in CITIES}}, LETTERED, "B"),
    (
        "TruthfulQA",
        {"question": PARIS, "mc1_targets": {"choices": CITIES, "labels": [0, 1, 0, 0]}},
        LETTERED,
        "B",
    ),
    ("Inspect", {"input": PARIS, "choices": CITIES, "target": "B", "id": 7}, LETTERED, "B"),
    (
        "HELM",
        {
            "input": {"text": PARIS},
            "references": [{"output": {"text": t}, "tags": ["correct"] * (t == "Paris")} for t in CITIES],
        },
        LETTERED,
        "B",
    ),
    ("BoolQ", {"passage": "Text.", "question": "is it so", "answer": True}, "Text.\n\nis it so", True),
    (
        "SQuAD",
        {"context": "Text.", "question": "Who?", "answers": {"text": ["Ada", "Ada", "A. L."], "answer_start": [1]}},
        "Text.\n\nWho?",
        ["Ada", "A. L."],
    ),
    ("HotpotQA", {"question": "Who?", "context": {"title": ["T"], "sentences": [["One. ", "Two."]]}, "answer": "Ada"},
     "T: One. Two.\n\nWho?", "Ada"),
    ("TriviaQA", {"question": "Who?", "answer": {"value": "Ada", "aliases": ["Ada", "A. L."]}}, "Who?",
     ["Ada", "A. L."]),
    ("bAbI", {"story": "John went home.", "question": "Where is John?", "answer": "home"},
     "John went home.\n\nWhere is John?", "home"),
    ("Prodigy", {"text": "Hi", "label": "GREETING", "answer": "accept", "_task_hash": 1}, "Hi", "GREETING"),
    ("Prodigy's rejected", {"text": "Hi", "label": "BYE", "answer": "reject", "_task_hash": 1}, "Hi", None),
    ("Bedrock", {"prompt": "Hi?", "referenceResponse": "Hi", "category": "x"}, "Hi?", "Hi"),
    ("Bedrock's turns", {"conversationTurns": [
        {"prompt": {"content": [{"text": "Hi?"}]}, "referenceResponses": [{"content": [{"text": "Hi"}]}]},
        {"prompt": {"content": [{"text": "Ho?"}]}, "referenceResponses": [{"content": [{"text": "Ho"}]}]}]},
     [turn("user", "Hi?"), turn("assistant", "Hi"), turn("user", "Ho?")], "Ho"),
    ("Bedrock's batch", {"recordId": "1", "modelInput": {"system": [{"text": "S"}], "messages": [
        {"role": "user", "content": [{"text": "Hi?"}]}]}, "answer": "Hi"},
     [SAYS_S, turn("user", [{"type": "text", "text": "Hi?"}])], "Hi"),
    ("parts without a type", {"messages": [turn("user", [{"text": "Hi?"}, {"type": "x", "text": "y"}])],
     "answer": "Hi"}, [turn("user", [{"type": "text", "text": "Hi?"}, {"type": "x", "text": "y"}])], "Hi"),
    ("OpenAI's batch", {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions",
     "body": {"model": "m", "messages": [turn("user", "Hi?")]}}, [turn("user", "Hi?")], None),
    ("LangChain's messages", {"inputs": {"messages": [{"type": "human", "content": "Hi?"}]},
                              "outputs": {"output": {"type": "ai", "content": "Hi"}}}, [turn("user", "Hi?")], "Hi"),
    ("LangChain's own form", {"inputs": {"input": [{"lc": 1, "type": "constructor", "id": ["HumanMessage"],
                                                    "kwargs": {"type": "human", "content": "Hi?"}}]},
                              "outputs": {"output": "Hi"}}, [turn("user", "Hi?")], "Hi"),
    ("MLflow's table", {"inputs": '{"question": "Hi?"}', "expectations": '{"expected_response": "Hi"}'}, "Hi?", "Hi"),
    ("MLflow with a text", {"question": "Hi?", "expectations": {"expected_response": "Hi"}}, "Hi?", "Hi"),
    ("messages as text", {"messages": "[{'role': 'user', 'content': 'Hi?'}]", "answer": "Hi"},
     [turn("user", "Hi?")], "Hi"),
    ("a text that holds messages", {"prompt": '[{"role": "user", "content": "Hi?"}]', "answer": "Hi"},
     '[{"role": "user", "content": "Hi?"}]', "Hi"),
    ("a text that begins so", {"prompt": '[{"role": "user"}]: sum it up'}, '[{"role": "user"}]: sum it up', None),
    ("OpenAI's batch of responses", {"custom_id": "1", "method": "POST", "url": "/v1/responses",
     "body": {"model": "m", "instructions": "Be brief.", "input": "Hi?"}}, "Be brief.\n\nHi?", None),
    ("Anthropic's batch", {"custom_id": "1", "params": {"model": "m", "messages": [turn("user", "Hi?")]}},
     [turn("user", "Hi?")], None),
    ("a row of OpenAI's evals", {"item": {"question": "Hi?", "correct_label": "Hi"}}, "Hi?", "Hi"),
    ("Gemini", {"systemInstruction": {"role": "system", "parts": [{"text": "S"}]},
     "contents": [{"parts": [{"text": "Hi?"}, {"text": "Ho?"}]},
                  {"role": "model", "parts": [{"text": "Hm", "thought": True}, {"text": "Hi"}]}]},
     [SAYS_S, turn("user", [{"type": "text", "text": "Hi?"}, {"type": "text", "text": "Ho?"}])], "Hi"),
    ("Gemini's batch", {"key": "1", "request": {"contents": {"role": "user", "parts": {"text": "Hi?"}}}},
     [turn("user", "Hi?")], None),
    ("MLflow's facts", {"inputs": {"question": "Hi?"}, "expectations": {"expected_facts": ["a", "b"]}}, "Hi?", None),
    ("MLflow's rules", {"inputs": {"question": "Hi?"}, "expectations": {"guidelines": ["a"], "tone": "b"}},
     "Hi?", None),
    ("MLflow 2", {"request_id": "1", "request": {"messages": [turn("user", "Hi?")]}, "response": "No",
                  "expected_response": "Hi", "expected_facts": ["a"]}, [turn("user", "Hi?")], "Hi"),
    ("Anthropic's system prompt", {"system": "S", "messages": [{"role": "user", "content": "Hi"},
     {"role": "assistant", "content": "Ho"}]}, [SAYS_S, {"role": "user", "content": "Hi"}], "Ho"),
    ("a system prompt in parts", {"system": [{"text": "S"}], "messages": [{"role": "user", "content": "Hi"},
     {"role": "assistant", "content": [{"text": "Ho"}]}]}, [SAYS_S, {"role": "user", "content": "Hi"}], "Ho"),
    ("context and target", {"context": "Say hi", "target": "hi"}, "Say hi", "hi"),
    ("Alpaca", {"instruction": "Translate.", "input": "chat", "output": "cat"}, "Translate.\n\nchat", "cat"),
    ("Alpaca without input", {"instruction": "Say hi.", "input": "", "output": "hi"}, "Say hi.", "hi"),
    ("Dolly", {"instruction": "Who?", "context": "", "response": "Ada", "category": "qa"}, "Who?", "Ada"),
    ("NLI", {"premise": "A", "hypothesis": "B", "label": "neutral"}, "Premise: A\nHypothesis: B", "neutral"),
    ("OpenOrca", {"system_prompt": "Be brief.", "question": "Hi?", "response": "Hi"},
     [turn("system", "Be brief."), turn("user", "Hi?")], "Hi"),
    ("already in the question",
     {"context": "It was Ada who wrote it.", "question": "It was Ada who wrote it. Who?", "answer": "x"},
     "It was Ada who wrote it. Who?", "x"),
    ("openai/evals", {"input": [turn("user", "Hi?")], "ideal": ["Hi", "Ho"]}, [turn("user", "Hi?")], ["Hi", "Ho"]),
    ("fine-tuning", {"messages": [turn("system", "S"), turn("user", "Hi?"), turn("assistant", "Hi")]},
     [turn("system", "S"), turn("user", "Hi?")], "Hi"),
    ("completions", {"prompt": "Hi?", "completion": " Hi"}, "Hi?", " Hi"),
    ("ShareGPT", {"conversations": [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Hi"}]},
     [turn("user", "Hi?")], "Hi"),
    ("preferences", {"input": {"messages": [turn("user", "Hi?")]}, "preferred_output": [turn("assistant", "Hi")],
                     "non_preferred_output": [turn("assistant", "No")]}, [turn("user", "Hi?")], "Hi"),
    ("verl", {"prompt": [turn("user", "Hi?")], "reward_model": {"style": "rule", "ground_truth": "Hi"}},
     [turn("user", "Hi?")], "Hi"),
    ("Langfuse", {"id": "1", "datasetId": "d", "input": {"question": "Hi?"}, "expectedOutput": {"answer": "Hi"},
                  "metadata": {"a": 1}}, "Hi?", "Hi"),
    ("Langfuse's trace", {"input": {"args": [], "kwargs": {"ticket": "Hi?"}}, "expectedOutput": "Hi"}, "Hi?", "Hi"),
    ("LangSmith", {"inputs": {"ticket": "Hi?"}, "outputs": {"result": "Hi"}, "dataset_id": "d"}, "Hi?", "Hi"),
    ("LangSmith's chat", {"inputs": {"messages": [turn("user", "Hi?")]},
                          "outputs": {"output": turn("assistant", "Hi")}}, [turn("user", "Hi?")], "Hi"),
    ("Braintrust", {"input": "Hi?", "expected": "Hi", "output": "No", "span_id": "s"}, "Hi?", "Hi"),
    ("Phoenix", {"input": {"query": "Hi?"}, "output": {"answer": "Hi"}, "metadata": {}}, "Hi?", "Hi"),
    ("Phoenix as CSV", {"example_id": "1", "input_query": "Hi?", "output_answer": "Hi", "metadata_a": "b"},
     "Hi?", "Hi"),
    ("MLflow", {"inputs": {"question": "Hi?"}, "expectations": {"expected_response": "Hi", "guidelines": "g"}},
     "Hi?", "Hi"),
    ("Ragas", {"user_input": "Hi?", "response": "No", "reference": "Hi"}, "Hi?", "Hi"),
    ("youtu-agent", {"dataset": "AIME24", "index": 1, "question": "Hi?", "answer": "Hi", "level": 1}, "Hi?", "Hi"),
    ("promptfoo's CSV", {"question": "Hi?", "__expected": "equals: Hi"}, "Hi?", "Hi"),
    ("other cases", {"Question": "Hi?", "Answer Key": "Hi"}, "Hi?", "Hi"),
    ("MATH", {"problem": "1 + 1", "level": "1", "solution": "It is $\\boxed{2}$."}, "1 + 1", "It is $\\boxed{2}$."),
]  # fmt: skip


def test_each_known_shape_shows_the_model_all_of_the_question() -> None:
    for name, record, shown, answer in SHAPES:
        task, _ = one(record)
        asked = list(task.input) if isinstance(task.input, tuple) else task.input
        assert (name, asked, task.answer) == (name, shown, answer)


def test_plain_records_keep_the_ids_that_they_always_had() -> None:
    plain: list[dict[str, JSON]] = [
        {"id": 1, "input": "2 + 2", "answer": "4", "level": "easy"},
        {"question": "2 + 2", "label": 4, "metadata": {"a": [1]}},
        {"prompt": "p", "input": "2 + 2", "expected": ["4", "four"]},
        {"messages": [turn("user", "2 + 2")], "target": "4"},
    ]
    ids = ["task_f701fb058c30adb4", "task_f03a3e4a79b03671", "task_76f5fd25e733bb39", "task_7cee38df092052d2"]
    assert [task.id for task in tasks_of(plain).tasks] == ids


def test_one_line_tells_what_is_asked_what_is_right_and_what_is_left_out() -> None:
    quiz = [{**record, "id": place, "source": "atlas"} for place, record in enumerate(ask([0, 3]))]
    input_, answer = "input: question + choices (rendered A-D)", "answer: answer (number from 0 -> letter)"
    assert tasks_of(quiz, "quiz").told == f"quiz: 2 tasks; {input_}; {answer}; left out: id, source"
    mixed: list[dict[str, JSON]] = [{"input": "a"}, {"prompt": "b", "label": 1}, {"prompt": "c", "label": 1}]
    assert tasks_of(mixed).understood.line == "input: prompt (2), input (1); answer: label (2), none (1)"
    blind = tasks_of([{"question": "q", "options": {"a": [1]}, "tools": [1], "answer": "x"}]).understood
    assert blind.warnings == (
        "the model will not see options, tools: --template shows what it should; tools go to the model with --request",
    )
    assert not blind.is_plain
    talk: list[dict[str, JSON]] = [{"question": "q", "history": held, "answer": "x"} for held in ([], ["a"])]
    assert [tasks_of([one]).understood.unseen for one in talk] == [(), ("history",)]
    assert "fields seen: item.ticket, item.label, id" in refused([{"item": {"ticket": "a", "label": "b"}, "id": 1}])
    both: list[dict[str, JSON]] = [
        {"system": said, "messages": [SAYS_S, turn("user", "Hi?")], "answer": "x"} for said in ("T", "", "S")
    ]
    found = [tasks_of([one]).understood.warnings for one in both]
    assert found == [("the model will not see system: --template shows what it should",), (), ()]
    assert tasks_of([{"input": "a", "answer": 1, "level": 3}]).understood.is_plain


def test_what_an_answer_must_say_is_no_answer_but_the_rubric_of_a_judge() -> None:
    facts: list[dict[str, JSON]] = [{"inputs": {"q": "a"}, "expectations": {"expected_facts": ["b", "c"]}}]
    found = tasks_of(facts)
    assert found.tasks[0].metadata["rubric"] == "It says all of this:\n- b\n- c"
    assert found.understood.warnings == (
        "expected_facts must hold as a whole, so they are no answer; --reward judge goes by them",
    )
    assert tasks_of(facts, fields=Fields(answer="expected_facts")).understood.warnings == ()
    facts[0]["rubric"] = "own"
    assert tasks_of(facts).tasks[0].metadata["rubric"] == "own"


def test_archived_items_of_langfuse_are_left_out_and_that_is_said() -> None:
    items: list[dict[str, JSON]] = [
        {"datasetId": "d", "status": status, "input": status, "expectedOutput": "b"}
        for status in ("ACTIVE", "ARCHIVED")
    ]
    found = tasks_of(items)
    assert [task.input for task in found.tasks] == ["ACTIVE"]
    assert found.understood.warnings == ("1 item with the status ARCHIVED left out",)
    assert "holds no tasks but archived ones; one looks" in refused(items[1:])
    assert len(tasks_of([{"input": "a", "status": "ARCHIVED"}]).tasks) == 1


def test_a_request_that_is_not_understood_is_told_in_one_line() -> None:
    asked: JSON = {"prompt": {"content": [{"text": "a"}]}}
    cases: list[tuple[dict[str, JSON], str]] = [
        (
            {"contents": [{"role": "user", "parts": [{"inlineData": {}}]}]},
            "only texts of contents are read, and a part",
        ),
        ({"contents": [{"role": ["user"], "parts": [{"text": "a"}]}]}, "message 1 of messages needs a role"),
        ({"contents": [{"role": "model", "parts": []}]}, "message 1 of messages needs a content"),
        ({"contents": []}, "no input; name it"),
        ({"body": {"model": "m"}, "custom_id": "1"}, "no input; name it"),
        (
            {"messages": "[{'role': 'user', 'content': 'a'}\n {'role': 'user'}]"},
            "messages is a list of messages as text",
        ),
        (
            {"prompt": "[{'content': array(['a']), 'role': 'user'}]"},
            "prompt is a list of messages as text that is no JSON, [{",
        ),
        ({"conversationTurns": [1]}, "turn 1 of conversationTurns has no prompt, read 1"),
        (
            {"conversationTurns": [asked, asked]},
            "turn 1 of conversationTurns has no referenceResponses, and more follow",
        ),
    ]
    for record, words in cases:
        assert words in refused([record])


def test_what_only_resembles_messages_or_requests_is_read_as_it_stands() -> None:
    texts = ['[{"value": 3, "unit": "kg"}, {"value": 4}]', '[{"content": "a"}]', '[{"value": 3,}, {"value": 4,}]']
    texts += ['[{"from": "Rome", "value": 1}, {"value": 2}]']
    assert [one({"input": text, "answer": "x"})[0].input for text in texts] == texts
    logged, _ = one({"instruction": "Say hi.", "output": "hi", "request": {"model": "m", "id": 3}})
    assert (logged.input, logged.answer) == ("Say hi.", "hi")
    replied: JSON = {"candidates": [{"content": {"parts": [{"text": "a"}]}}]}
    result, _ = one({"request": {"contents": [{"parts": [{"text": "q"}]}]}, "response": replied})
    assert (result.input, result.answer) == ((turn("user", "q"),), None)


def test_a_field_that_says_not_whether_it_is_empty_is_told_in_one_line() -> None:
    class Array:
        def __eq__(self, other: object) -> bool:
            raise ValueError("the truth value is ambiguous")

        __hash__ = None  # pyrefly: ignore[implicit-any-attribute]  # as NumPy's has none

    assert "a value that JSON cannot carry" in refused([{"input": "q", "answer": "a", "vector": Array()}])


def ask(answers: list[JSON], choices: list[str] = CITIES) -> list[dict[str, JSON]]:
    return [{"question": f"q {place}", "choices": choices, "answer": answer} for place, answer in enumerate(answers)]


@each(
    ("answers", "letters"),
    [
        ([0, 1, 3], "ABD"),
        ([1, 4, 2], "ADB"),
        (["0", "3"], "AD"),
        (["a", "(D)"], "AD"),
        (["Bern", "Rome"], "DA"),
        (["A", "Paris", "D) Bern"], "ABD"),
    ],
)
def test_an_answer_is_a_letter_a_text_or_a_number_as_the_whole_file_has_it(answers: list[JSON], letters: str) -> None:
    assert "".join(task.answer for task in tasks_of(ask(answers)).tasks) == letters


@each(
    ("records", "words"),
    [
        (ask([1, 2]), "item 1: the answer 1 may be choice B (by its number from 0) or A (by its number from 1); write"),
        (ask([0, 4]), "item 1: the answer 0 is none of the choices Rome, Paris, Oslo, Bern, nor a letter or number"),
        (ask(["Ulm"]), "item 1: the answer Ulm is none of the choices"),
        (ask(["A", "B"], ["B", "A"]), "item 1: the answer A may be choice A (by its letter) or B (by its text)"),
        (ask([["A", "B"]]), "item 1: the answer ['A', 'B'] is none of the choices"),
    ],
)
def test_an_answer_that_could_be_two_choices_or_is_none_is_refused(records: list[dict[str, JSON]], words: str) -> None:
    assert words in refused(records)


def test_wrong_and_right_choices_of_their_own_fields_are_shuffled_alike_everywhere() -> None:
    record = {"question": PARIS, "correct_answer": "Paris", **{f"distractor{n}": CITIES[n - 1] for n in (1, 3, 4)}}
    tasks = [tasks_of([{**record, "question": f"q{n}"}]).tasks[0] for n in range(2)]
    assert {task.answer for task in tasks} == {"B"}
    assert "B) Paris" in tasks[0].prompt


def test_a_conversation_that_a_user_names_ends_before_the_answer() -> None:
    turns: list[JSON] = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Billing"}]
    counted: dict[str, JSON] = {"turns": 2, "items": ["a"], "transcript": turns}
    for record, fields in (
        ({"chat": turns}, Fields(input="chat")), ({"conversation": turns}, Fields()), (counted, Fields())
    ):  # fmt: skip
        task, told = one(record, fields)
        assert (task.prompt, task.answer) == ("Hi", "Billing")
        assert "but the last; answer: the last of " in told
    task, _ = one({"chat": turns, "label": "good"}, Fields(input="chat"))
    assert (len(task.input), task.answer) == (2, "good"), "as the user said"
    assert "no input" in refused([{"Message": "Hi", "conversation": "c-17"}])


def test_a_user_says_which_fields_are_meant() -> None:
    record: dict[str, JSON] = {"ticket": {"subject": "Hi", "body": "Help"}, "queue": "a", "answer": "no"}
    task, told = one(record, Fields(input="ticket.body", answer="queue"))
    assert (task.input, task.answer, told) == (
        "Help",
        "a",
        "input: ticket.body; answer: queue; left out: ticket, answer",
    )
    assert one(record, Fields(input="ticket.body", answer="Queue"))[1].endswith(
        "answer: Queue; left out: ticket, answer"
    )
    task, told = one(record, Fields(answer="queue", template="{{ticket.subject}}: {{ ticket.body }}{}"))
    assert (task.input, task.answer) == ("Hi: Help{}", "a")
    assert "no field nope, or it is empty; fields seen: ticket.subject, ticket.body, queue, answer" in refused(
        [record], Fields(template="{{nope}}")
    )
    assert "no field gold, or it is empty; fields seen" in refused([{"input": "a"}], Fields(answer="gold"))
    with pytest.raises(InputError, match="--input-field and --template both say"):
        Fields("a", None, "b")
    with pytest.raises(InputError, match="names no field, so all tasks would be the same"):
        Fields(template="{body}")


PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)


def test_images_are_shown_by_url_or_as_the_bytes_of_a_file_beside_the_tasks(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PNG)
    (tmp_path / "notes.png").write_text("text")
    lines = [{"question": "What?", "image": name} for name in ("cat.png", "https://example.org/a.png")]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    urls = [task.messages[0]["content"][0]["image_url"]["url"] for task in read_tasks(str(tmp_path / "t.jsonl")).tasks]
    assert urls[0].startswith("data:image/png;base64,iVBOR")
    assert urls[1] == "https://example.org/a.png"
    for name, words in (("notes.png", "is no PNG"), ("no.png", "No such file"), ("", "must be the URL or the path")):
        (tmp_path / "t.jsonl").write_text(json.dumps({"question": "What?", "image": name}))
        with pytest.raises(InputError, match=f"line 1: image.*{words}"):
            read_tasks(str(tmp_path / "t.jsonl"))


TWO = (Task("1 + 1", "2"), Task("a, b", "c"))
ROWS = [{"input": "1 + 1", "answer": "2"}, {"input": "a, b", "answer": "c"}]
FILES: list[tuple[str, str | bytes]] = [
    ("t.tsv", "input\tanswer\n1 + 1\t2\na, b\tc\n"),
    ("t.csv", "\ufeffinput;answer\r\n1 + 1;2\r\na, b;c\r\n"),
    ("t.csv", "sep=;\r\ninput;answer\r\n1 + 1;2\r\na, b;c\r\n"),
    ("t.csv", "input\tanswer\n1 + 1\t2\na, b\tc\n".encode("utf-16")),
    ("t.yaml", "- input: 1 + 1\n  answer: '2'\n- input: a, b\n  answer: c\n"),
    ("t.yml", "tasks:\n  - {input: 1 + 1, answer: '2'}\n  - {input: 'a, b', answer: c}\n"),
    ("t.json", "\n".join(map(json.dumps, ROWS))),
    ("t.json", json.dumps({"name": "x", "examples": ROWS}, indent=1)),
    ("t.json", json.dumps({"rows": [{"row_idx": n, "row": row, "truncated_cells": []} for n, row in enumerate(ROWS)]})),
    ("t.json", json.dumps({name: [row[name] for row in ROWS] for name in ("input", "answer")})),
    ("t.json", json.dumps({name: {n: row[name] for n, row in enumerate(ROWS)} for name in ("input", "answer")})),
    (
        "t.json",
        json.dumps({"columns": ["input", "answer"], "index": [0, 1], "data": [[*row.values()] for row in ROWS]}),
    ),
    ("t.json", "\n".join(json.dumps(row, indent=2) for row in ROWS)),
    ("t.jsonl", "\n\n" + ",\n".join(json.dumps(row, indent=2) for row in ROWS)),
    ("t.jsonl", json.dumps(ROWS, indent=2)),
    ("t.jsonl", "".join(f"{json.dumps(row)},\n" for row in ROWS)),
    ("t.csv", "input|answer\n1 + 1|2\na, b|c\n"),
    ("t.md", "| input | answer |\n|:---|---|\n| 1 + 1 | 2 |\n| a, b | c |\n"),
    ("t.txt", "\n".join(json.dumps(row, indent=2) for row in ROWS)),
    ("t.jsonl.gz", gzip.compress("\n".join(map(json.dumps, ROWS)).encode())),
]


def test_every_kind_of_file_gives_the_same_tasks(tmp_path: Path) -> None:
    for number, (name, content) in enumerate(FILES):
        file = tmp_path / f"{number}-{name}"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        assert (name, content, read_tasks(str(file)).tasks) == (name, content, TWO)


def written(tmp_path: Path, name: str, content: str | bytes) -> TaskSet:
    file = tmp_path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_tasks(str(file))


def test_what_stands_beside_a_list_and_belongs_to_each_task_is_shown(tmp_path: Path) -> None:
    natural = {"Definition": ["Translate.", "Be brief."], "Instances": [{"input": "chat", "output": ["cat"]}]}
    assert written(tmp_path, "t.json", json.dumps(natural)).tasks[0].input == "Translate.\nBe brief.\n\nchat"
    squad = {
        "data": [{"paragraphs": [{"context": "Text.", "qas": [{"question": "Who?", "answers": [{"text": "Ada"}]}]}]}]
    }
    assert written(tmp_path, "t.json", json.dumps(squad)).tasks == (Task("Text.\n\nWho?", "Ada", {"context": "Text."}),)
    viewer: Any = {
        "features": [{"name": "label", "type": {"names": ["neg", "pos"], "_type": "ClassLabel"}}],
        "rows": [{"row_idx": 0, "row": {"text": "Good.", "label": 1}, "truncated_cells": []}],
    }
    assert written(tmp_path, "t.json", json.dumps(viewer)).tasks[0].answer == "pos"
    for cut, words in ((["text"], "row 0 is cut in text"), (1, "row 0 is cut in 1")):
        viewer["rows"][0]["truncated_cells"] = cut
        with pytest.raises(InputError, match=words):
            written(tmp_path, "t.json", json.dumps(viewer))


def test_entries_may_stand_under_their_ids(tmp_path: Path) -> None:
    found = written(tmp_path, "t.json", json.dumps({"a": ROWS[0], "b": ROWS[1]}))
    assert [(task.input, task.metadata["id"]) for task in found.tasks] == [("1 + 1", "a"), ("a, b", "b")]
    for single in ({"a": ROWS[0], "b": 1}, {"inputs": {"text": "a"}, "outputs": {"text": "b", "n": 1}}):
        with pytest.raises(InputError, match="expected a list of tasks"):
            written(tmp_path, "u.json", json.dumps(single))


def test_half_a_surrogate_pair_in_a_distractor_is_told_in_one_line() -> None:
    record = {"question": "Who?", "distractor1": "a", "distractor2": "\ud800", "correct_answer": "b"}
    assert "half a surrogate pair" in refused([record])


def test_exported_rows_are_read_out_of_the_json_in_their_cells(tmp_path: Path) -> None:
    file = io.StringIO()
    rows = [
        ["id", "input", "expected_output"],
        ["1", '{"question": "Hi?"}', '{"answer": "Hi"}'],
        ["2", '"Ho?"', '"Ho"'],
    ]
    csv.writer(file).writerows(rows)
    found = written(tmp_path, "t.csv", file.getvalue())
    assert [(task.input, task.answer) for task in found.tasks] == [("Hi?", "Hi"), ('"Ho?"', '"Ho"')]
    rows = [
        ["inputs", "expectations", "tags"],
        ["{'ticket': \"It's\"}", "{'expected_response': 'Hi', 'n': None}", "{}"],
        ["{'question': 'Ho?'}", "{'expected_facts': ['a', 'b']}", "array([1])"],
    ]
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    found = written(tmp_path, "mlflow.csv", file.getvalue())
    assert [(task.input, task.answer) for task in found.tasks] == [("It's", "Hi"), ("Ho?", None)]
    for cell in ("{'a': 'b'}", "[1, 2", "{'a': " * 50_000, "{'question': b'a'}"):
        assert written(tmp_path, "v.csv", f'input,answer\n"{cell}",x\n').tasks[0].input == cell
    assert written(tmp_path, "u.csv", 'input,answer\n"{""a"": 1, ""b"": 2}",x\n').tasks[0].input == '{"a": 1, "b": 2}'
    quoted = written(tmp_path, "q.csv", 'input,answer\n"{\'a\': ""it\'s""}",x\n')
    assert quoted.tasks[0].input == "{'a': \"it's\"}"
    for number in ("NaN", "-Infinity", "1e999"):  # pandas writes them; such a cell stays the text that it is
        cell = f'"{{""score"": {number}}}"'
        (task,) = written(tmp_path, "n.csv", f'input,answer,metadata\n"{{""question"": ""q""}}",a,{cell}\n').tasks
        assert (task.input, dict(task.metadata)) == ("q", {"metadata": f'{{"score": {number}}}'})


def test_yaml_says_what_it_seems_to_say(tmp_path: Path) -> None:
    answers = ("no", "2024-01-01", "1:30", "true")
    content = "\n".join(f"- {{input: {place}. a, answer: {answer}}}" for place, answer in enumerate(answers))
    assert [task.answer for task in written(tmp_path, "t.yaml", content).tasks] == ["no", "2024-01-01", "1:30", True]


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(12)
)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.yaml", "- input: [a\n", "t.yaml, line 2: not YAML"),
        ("t.yaml", BOMB, "repeats or nests its parts too often"),
        ("t.yaml", "a: &a [*a]\n", "repeats or nests its parts too often"),
        ("t.yaml", "!!python/object/apply:os.system ['true']", "t.yaml, line 1: not YAML (could not determine"),
        ("t.jsonl", '{"input": "a", "input": "b"}', "t.jsonl, line 1: an object has two fields named 'input'"),
        ("t.json", '[{"input": "a", "x": NaN}]', "t.json, line 1: a value that JSON cannot carry (NaN)"),
        ("t.xlsx", b"PK\x03\x04....", "is a zip or Excel file; save its sheet as CSV"),
        ("t.jsonl.gz", b"\x1f\x8b....", "it begins as gzip does, and cannot be unpacked"),
        (
            "t.jsonl",
            '{"question": "q", "__expected": "icontains: a"}',
            "line 1: __expected is an assertion, icontains: a",
        ),
        ("t.json", "[" * 4_000_000, "is too large: at most"),
        ("t.json", "1 " * 1_000_000, "t.json, line 1: expected an object with an input, read 1"),
        (
            "t.csv",
            "input,answer\ncafé,“oui”\n".encode("cp1252"),
            "line 2: byte 0xe9 is not UTF-8; it seems to be Windows-",
        ),
        ("t.csv", b"input,answer\n\xe4\xe0,\xed\xe5\xf2\n", "is not UTF-8; save the file as UTF-8: iconv -f ENC"),
        ("t.json", '{\n"input": "a"\n}\n{\n"input": b\n}', "t.json, line 5: not JSON (Expecting value, column 10)"),
    ],
    ids=range(14),  # one is four megabytes long
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str, content: str | bytes, words: str) -> None:
    with pytest.raises(InputError) as caught:
        written(tmp_path, name, content)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_parquet_is_read_where_pyarrow_is_and_says_what_it_needs_where_it_is_not(tmp_path: Path) -> None:
    try:
        pyarrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        with pytest.raises(InputError, match=r"is Parquet, which needs pyarrow: .*\[parquet\]"):
            written(tmp_path, "t.parquet", b"PAR1....PAR1")
        return
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "t.parquet")
    assert read_tasks(str(tmp_path / "t.parquet")).tasks == TWO


def test_dates_decimals_and_bytes_of_parquet_are_read_as_text(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    when = datetime(2020, 1, 2, 3, 4)
    row = {
        "input": b"When?",
        "answer": when.date(),
        "made": when,
        "price": Decimal("1.10"),
    }
    parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "t.parquet")
    (task,) = read_tasks(str(tmp_path / "t.parquet")).tasks
    assert (task.input, task.answer) == ("When?", "2020-01-02")
    assert dict(task.metadata) == {"made": "2020-01-02T03:04:00", "price": "1.10"}
    parquet.write_table(pyarrow.Table.from_pylist([{"input": b"\xff", "answer": "a"}]), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="row 1: input must be text"):
        read_tasks(str(tmp_path / "t.parquet"))
