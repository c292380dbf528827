"""`tfgrpo tasks`: what was understood of a file, and tasks from what other tools keep."""

import json
from pathlib import Path

import pytest

from tests.cli.shell import learn_gated, one_line, tfgrpo, works
from tfgrpo.records import JSON
from tfgrpo.tasks.read import read_tasks
from tfgrpo.testing import ScriptedModel

QUIZ = [
    {"id": n, "question": f"What is {n}?", "choices": ["a", "b", "c"], "answer": n % 3, "source": "quiz", "body": [1]}
    for n in range(20)
]


def lines_of(path: Path, *entries: JSON) -> str:
    path.write_text("\n".join(map(json.dumps, entries)))
    return str(path)


def test_check_shows_what_was_understood_and_one_request_as_it_is_sent(folder: Path) -> None:
    tasks = lines_of(folder / "quiz.jsonl", *QUIZ, {**QUIZ[3], "id": 99})
    (folder / "system.txt").write_text("Be brief.")
    told = works("tasks", "check", tasks, "--system", "system.txt", "--model", "m").stdout
    first, *rest = told.splitlines()
    assert first == (
        f"{tasks}: 20 tasks; input: question + choices (rendered A-C); answer: answer (number from 0 -> letter);"
        " left out: id, source, body"
    )
    assert rest[0].startswith("note: the model will not see body")
    assert rest[1] == "splits: 10 teach, 6 decide (the gate), 4 are left for tfgrpo eval"
    assert rest[2] == "answers: A 7, B 7, C 6"
    assert rest[3] == "repeated: 1 entry counted once: line 4 (2 times)"
    assert '"content": "What is 0?\\n\\nA) a\\nB) b\\nC) c"' in told
    assert '"content": "Be brief."' in told
    assert told.splitlines()[-1] == "its answer: A"
    figures = json.loads(works("tasks", "check", tasks, "--json").stdout)
    assert figures["answer"] == {"answer (number from 0 -> letter)": 21}
    assert figures["request"]["messages"][-1]["content"].startswith("What is 0?")
    assert figures["expected"] == "A"


def test_check_says_that_a_list_in_a_cell_is_one_answer(folder: Path) -> None:
    rows = "".join(f'question {number},"[""yes"", ""y""]"\n' for number in range(3))
    Path("cells.csv").write_text(f"input,answer\n{rows}question 4,[see above\nquestion 5,{'[' * 99_999}\n")
    told = works("tasks", "check", "cells.csv", "--gate", "none").stdout
    assert "note: 3 answers in the form of a list, as text, which the model is to say whole; alternatives" in told
    lists = lines_of(folder / "lists.jsonl", *({"input": f"{number}", "answer": ["yes", "y"]} for number in range(3)))
    assert "note:" not in works("tasks", "check", lists, "--gate", "none").stdout


def test_check_tells_of_one_answer_to_all_and_of_answers_that_are_spelled_apart(folder: Path) -> None:
    Path("yes.jsonl").write_text("".join(f'{{"input": "q{n}", "answer": "yes"}}\n' for n in range(12)))
    assert (
        "note: every answer is yes: a model that always says so is right" in works("tasks", "check", "yes.jsonl").stdout
    )
    spelled = ("Billing", "billing", "Sales", "Billing ")
    rows = [json.dumps({"input": f"q{n}", "answer": spelled[n % 4]}) for n in range(12)]
    Path("apart.jsonl").write_text("\n".join(rows))
    told = works("tasks", "check", "apart.jsonl").stdout
    assert "note: answers that differ in case or spaces alone: 'Billing', 'billing', 'Billing '" in told
    assert "every answer" not in told


def test_check_ends_as_learn_would(folder: Path) -> None:
    few = lines_of(folder / "few.jsonl", {"input": "a", "own answer": 1}, {"input": "a", "answer": "x"}, {"input": "b"})
    refused = tfgrpo("tasks", "check", few, "--gate", "none")
    assert refused.exit_code == 1
    assert "note: the same is asked with different answers: line 1 and line 2" in refused.stdout
    assert refused.stderr.startswith(f"Error: {few}, line 1: ")
    for words in ("has no answer, which reward exact needs", "name it answer, expected_output", "seen: own answer"):
        assert words in refused.stderr
    one_line(tfgrpo("tasks", "check", few, "--gate", "none", "--reward", "code"), f"{few}, line 1: ", "has no tests")
    told = works("tasks", "check", few, "--gate", "none", "--reward", "json:dumps").stdout
    assert "input: input; answer: none (2), answer (1); left out: own answer" in told
    one_line(tfgrpo("tasks", "check", few), "of its 3 tasks", "--gate none")
    many = lines_of(folder / "many.jsonl", *({"input": f"task {number}"} for number in range(12)))
    refused = tfgrpo("tasks", "check", many, "--reward", "majority")
    assert (refused.exit_code, "the gate has none to go by: --gate none" in refused.stderr) == (1, True)
    works("tasks", "check", many, "--reward", "majority", "--gate", "none")


def test_a_dry_run_shows_the_same_and_a_run_says_what_is_not_plain(
    task_files: Path, url: str, model: ScriptedModel
) -> None:
    told = learn_gated(url, "--dry-run", "--template", "Route: {{input}}").stdout
    assert "tasks.jsonl: 48 tasks; input: the template; answer: answer" in told
    assert "splits: 24 teach, 14 decide (the gate), 10 are left for tfgrpo eval" in told
    assert '"content": "Route: message ' in told
    assert model.requests == []
    learned = learn_gated(url, "--template", "Route: {{input}}", "--gate", "none", "--steps", "1")
    assert "tasks.jsonl: 48 tasks; input: the template; answer: answer" in learned.stderr
    one_line(
        learn_gated(url, "--template", "{{no}}"),
        "tasks.jsonl, line 1: no field no, or it is empty; fields seen: input, answer",
    )


PROMPTFOO = """
prompts: ["Capital of {{country}}? Key: {{key}}"]
providers: [openai:gpt-4.1]
defaultTest:
  vars: {key: sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGH}
tests:
  - vars: {country: [France, Italy]}
    assert: [{type: icontains, value: Rome}]
  - vars: {country: Norway}
    assert:
      - {type: icontains, value: Oslo}
      - {type: cost, threshold: 1}
  - file://more.csv
"""


def test_tasks_from_promptfoo_keep_its_assertions_and_no_secret(folder: Path) -> None:
    (folder / "promptfooconfig.yaml").write_text(PROMPTFOO)
    (folder / "more.csv").write_text('country,__expected\nSpain,"icontains: Madrid"\n')
    one_line(tfgrpo("tasks", "check", "promptfooconfig.yaml"), "make tasks of it: tfgrpo tasks from promptfoo")
    made = works("tasks", "from", "promptfoo", "promptfooconfig.yaml", "--out", "t.jsonl")
    assert made.stderr.startswith("4 tasks; what looked like a secret was replaced in 4 of them; ")
    assert "abcdefghij" not in (folder / "t.jsonl").read_text()
    found = read_tasks("t.jsonl").tasks
    assert [task.answer for task in found] == ["Rome", "Rome", "Oslo", "Madrid"]
    assert found[2].prompt.startswith("Capital of Norway? Key: sk-proj-[secret_")
    assert found[2].metadata["assert"][1] == {"type": "cost", "threshold": 1}
    timed = [
        {"vars": {"a": n}, "assert": [{"type": "latency", "threshold": 9}, {"type": "equals", "value": n}]}
        for n in "ab"
    ]
    (folder / "timed.yaml").write_text(json.dumps({"prompts": ["{{a}}"], "tests": timed}))
    assert "by --reward exact-strict" in works("tasks", "from", "promptfoo", "timed.yaml", "-o", "u.jsonl").stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("prompts: [a, b]\ntests: []", "it has 2 prompts, and a task has one"),
        ("prompts: ['{% if a %}']\ntests: []", "the prompt has logic of its own"),
        ("prompts: ['{{b}}']\ntests: [{vars: {a: 1}}]", "test 1: there is no variable b; it has a"),
        (
            "tests: [{assert: [{type: [a], value: 1}]}, 1]\nprompts: [a]",
            "a test is an object with vars and assert, read 1",
        ),
        ("tests: 1\nprompts: [a]", "a test is an object with vars and assert, read 1"),
        ("prompts: [a]\ntests: [file://no.csv]", "cannot read no.csv"),
        ("a: [", "line 2: not YAML"),
        ("x", "a configuration of promptfoo has prompts and tests"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_one_line(folder: Path, content: str, words: str) -> None:
    (folder / "p.yaml").write_text(content)
    one_line(tfgrpo("tasks", "from", "promptfoo", "p.yaml"), words)


def test_tasks_from_a_coding_agents_transcript_are_what_a_person_asked(folder: Path) -> None:
    def turn(role: str, content: JSON, **more: JSON) -> JSON:
        return {"type": role, "message": {"role": role, "content": content}, **more}

    claude = lines_of(
        folder / "claude.jsonl",
        {"type": "summary", "summary": "s"},
        turn("user", "Fix the test"),
        turn("assistant", [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "I look."}]),
        turn("user", [{"type": "tool_result", "content": "ok"}]),
        turn("user", "side", isSidechain=True),
        turn("assistant", [{"type": "text", "text": "Fixed."}]),
        turn("user", "<system-reminder>x</system-reminder>"),
        turn("user", "Thanks, now push"),
        turn("user", [{"type": "text", "text": "[Request interrupted by user for tool use]"}]),
    )
    made = [json.loads(line) for line in works("tasks", "from", "transcripts", claude).stdout.splitlines()]
    assert made == [{"input": "Fix the test", "answer": "Fixed."}, {"input": "Thanks, now push"}]

    def item(role: str, text: str) -> JSON:
        kind = "input_text" if role == "user" else "output_text"
        return {
            "type": "response_item",
            "payload": {"type": "message", "role": role, "content": [{"type": kind, "text": text}]},
        }

    codex = lines_of(folder / "codex.jsonl", {"type": "session_meta", "payload": {"id": "1"}}, item("user", "2+2?"),
                     item("assistant", "4"))  # fmt: skip
    assert json.loads(works("tasks", "from", "transcripts", codex).stdout) == {"input": "2+2?", "answer": "4"}


def test_tasks_from_spans_are_the_calls_of_a_model(folder: Path) -> None:
    def text(content: str) -> JSON:
        return [{"type": "text", "content": content}]

    asked = [{"role": "user", "parts": text("Hi?")}]
    genai = {
        "gen_ai.system_instructions": json.dumps(text("Be brief.")),
        "gen_ai.input.messages": json.dumps(asked),
        "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": text("Hi")}]),
    }
    listed = [{"key": name, "value": {"stringValue": value}} for name, value in genai.items()]
    spans = [
        {"name": "chat", "spanId": "1", "attributes": listed, "events": 1},
        {"name": "tool", "spanId": "2", "attributes": []},
    ]
    (folder / "o.json").write_text(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}, indent=1))
    (made,) = works("tasks", "from", "otel", "o.json").stdout.splitlines()
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi?"}]
    assert json.loads(made) == {"input": messages, "answer": "Hi"}
    inference = {
        "llm.input_messages.0.message.role": "user", "llm.input_messages.0.message.content": "Hi?",
        "llm.output_messages.0.message.role": "assistant", "llm.output_messages.0.message.content": "Hi",
    }  # fmt: skip
    lines_of(
        folder / "i.jsonl",
        {"name": "c", "span_id": "1", "attributes": inference},
        {"name": "n", "span_id": "2", "attributes": {}},
    )
    assert json.loads(works("tasks", "from", "otel", "i.jsonl").stdout)["answer"] == "Hi"
    vercel = {"ai.prompt.messages": json.dumps(messages[1:]), "ai.response.text": "7"}
    lines_of(folder / "v.jsonl", {"name": "ai.generateText.doGenerate", "attributes": vercel})
    assert json.loads(works("tasks", "from", "otel", "v.jsonl").stdout) == {"input": messages[1:], "answer": "7"}
    for answer in ('{"label": "spam"}', '["a", "b"]', "[]"):  # what a model wrote as JSON is its answer as it stands
        lines_of(folder / "v.jsonl", {"name": "c", "attributes": {**vercel, "ai.response.text": answer}})
        made = works("tasks", "from", "otel", "v.jsonl").stdout
        assert json.loads(made).get("answer") == (answer if answer != "[]" else None)
    tags = [{"key": name, "type": "string", "value": value} for name, value in genai.items()]
    lines_of(folder / "j.json", {"data": [{"traceID": "t", "spans": [{"spanID": "1", "tags": tags}]}]})
    assert json.loads(works("tasks", "from", "otel", "j.json").stdout) == {"input": messages, "answer": "Hi"}
    lines_of(folder / "e.jsonl", {"a": 1})
    one_line(tfgrpo("tasks", "from", "otel", "e.jsonl"), "e.jsonl: there is nothing in it to make tasks of")
