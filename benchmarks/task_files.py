"""Fuzzed files of tasks, request files and imports: each is read, or refused in one line, within bounds.

    python -m benchmarks.task_files [--files 10000] [--seed 0]

Seeds are files of every kind and shape; each is broken in some of many ways: bytes, tokens, types, nesting, sizes. What
is measured: tracebacks, refusals of more than one line or with control characters, the slowest (in processor time; the
first one also loads what reads it), and the memory at most.
"""

import argparse
import json
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfgrpo.cli.options.frame import FrameOptions
from tfgrpo.errors import InputError
from tfgrpo.priors.parse import parse_prior
from tfgrpo.priors.portable import Portable, portable_json
from tfgrpo.records import Experience, Frame, Origin, Prior, TokenBias
from tfgrpo.tasks.formats import entries_of
from tfgrpo.tasks.promptfoo import promptfoo_entries
from tfgrpo.tasks.read import read_tasks
from tfgrpo.tasks.traced import span_entries, transcript_entries

ROWS: list[dict[str, Any]] = [
    {"input": "2 + 2", "answer": "4", "id": 1},
    {"question": "Who?", "choices": ["Ada", "Bob", "Cyd"], "answer": 1},
    {"question": "Who?", "options": {"A": "Ada", "B": "Bob"}, "answer_idx": "B"},
    {"question": "Who?", "choices": {"text": ["Ada", "Bob"], "label": ["A", "B"]}, "answerKey": "A"},
    {"context": "It was Ada.", "question": "Who?", "answers": {"text": ["Ada"], "answer_start": [0]}},
    {"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hi"}]},
    {"conversations": [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Hi"}]},
    {"inputs": {"question": "Hi?"}, "outputs": {"answer": "Hi"}, "metadata": {"a": 1}},
    {"input": {"args": [], "kwargs": {"a": "Hi?"}}, "expectedOutput": "Hi"},
    {"prompt": [{"role": "user", "content": "Hi?"}], "reward_model": {"ground_truth": "Hi"}},
    {
        "question": "Who?",
        "context": {"title": ["T"], "sentences": [["One."]]},
        "answer": {"value": "Ada", "aliases": []},
    },
    {
        "input": {"text": "Who?"},
        "references": [{"output": {"text": "Ada"}, "tags": ["correct"]}, {"output": {"text": "B"}}],
    },
    {"instruction": "Translate.", "input": "chat", "output": "cat", "image": "https://example.org/a.png"},
    {
        "question": "Who?",
        "correct_answer": "Ada",
        "distractor1": "Bob",
        "distractor2": "Cyd",
        "__expected": "equals: Ada",
    },
    {"contents": [{"role": "user", "parts": [{"text": "Hi?"}]}, {"role": "model", "parts": [{"text": "Hi"}]}]},
    {"custom_id": "1", "body": {"model": "m", "messages": [{"role": "user", "content": [{"text": "Hi?"}]}]}},
    {
        "conversationTurns": [
            {"prompt": {"content": [{"text": "Hi?"}]}, "referenceResponses": [{"content": [{"text": "Hi"}]}]}
        ]
    },
    {"inputs": {"messages": [{"type": "human", "content": "Hi?"}]}, "expectations": {"expected_facts": ["a", "b"]}},
    {"messages": "[{'role': 'user', 'content': 'Hi?'}]", "inputs": "{'a': ('b', 1)}", "status": "ARCHIVED"},
    {"type": "user", "message": {"role": "user", "content": "Fix it"}},
    {"name": "chat", "spanId": "1", "attributes": [{"key": "gen_ai.input.messages", "value": {"stringValue": "[]"}}]},
    {
        "prompts": ["{{a}}"],
        "tests": [{"vars": {"a": [1, 2]}, "assert": [{"type": "equals", "value": "b"}]}],
        "data": [],
    },
]
PRIOR = portable_json(
    Portable(
        Prior(
            (Experience("When an invoice is named, answer billing.", origin=Origin("run_1", 0, ("task_1",))),),
            (TokenBias(5, b"yes", 1.5, 2.5, 3),),
            "tokenizer_1",
            "template_1",
            instruction="Answer in one word.",
        ),
        Frame("small", "Route it.", {"max_tokens": 8}),
        "default",
        "run_1",
    )
)
IMPORTS: Sequence[Any] = (PRIOR, [{"text": "Check units."}], {"G0": "Check units.", "G1": "Sum up."}, ["Check units."])
AGENT = "agent:\n  name: a\n  instructions: |-\n    Do it.\n    [G0]. Check units.\n"
STRANGE: Sequence[Any] = (
    None, True, 0, -1, 1.5, 10**30, "", " ", "\x1b[31m", "\u2028", "é" * 50, [], {}, [[]], [None], [{}], {"a": {}},
    {"text": None}, {"role": "user"}, [{"role": "user", "content": [{}]}], "[", '{"a": [1', "{{x}}", "A", "D) x", "0",
    ["a", "a"], {"": ""},
)  # fmt: skip


@dataclass
class Outcome:
    """What became of one file."""

    kind: str
    seconds: float
    wrong: str | None = None


def mutated(value: Any, dice: random.Random, depth: int = 0) -> Any:
    """A value some of whose parts are others."""
    if dice.random() < 0.02 or depth > 8:
        return dice.choice(STRANGE)
    if isinstance(value, dict):
        found = {
            (dice.choice(_NAMES) if dice.random() < 0.05 else name): mutated(held, dice, depth + 1)
            for name, held in value.items()
        }
        if dice.random() < 0.1:
            found[dice.choice(_NAMES)] = dice.choice(STRANGE)
        return found
    if isinstance(value, list):
        found_list = [mutated(one, dice, depth + 1) for one in value]
        return found_list * dice.choice((1, 1, 1, 2, 0))
    return value


_NAMES = sorted(
    {name for row in ROWS for name in row} | {"answer", "label", "tasks", "rows", "columns", "features", "opa", "opb"}
)


def content(dice: random.Random) -> tuple[str, bytes]:
    """A name and the bytes of a file that some tool might have written, and something broke."""
    row = dice.choice(ROWS)
    rows = [mutated(row if dice.random() < 0.9 else dice.choice(ROWS), dice) for _ in range(dice.choice((1, 2, 5, 30)))]
    suffix = dice.choice((".jsonl", ".json", ".csv", ".tsv", ".yaml", ".txt", ".parquet", ".jsonl.gz"))
    if suffix in (".csv", ".tsv"):
        names = dice.sample(_NAMES, 4)
        separator = dice.choice((",", ";", "\t"))
        lines = [separator.join(names)]
        cells = [*_NAMES, *(str(held) for held in row.values())]
        lines += [separator.join(f'"{cell}"'[:60] for cell in dice.sample(cells, 4)) for _ in rows]
        text = "\n".join(lines)
    elif suffix in (".json", ".yaml"):
        whole = dice.choice((rows, {"tasks": rows}, {"rows": [{"row_idx": 0, "row": row} for row in rows]}, rows[0]))
        text = json.dumps(mutated(whole, dice), indent=dice.choice((None, 1)))
    else:
        text = "\n".join(json.dumps(row) for row in rows)
    head = dice.choice((b"",) * 12 + (b"\xef\xbb\xbf", b"\xff\xfe", b"PAR1", b"\x1f\x8b", b"sep=;\n"))
    return f"fuzzed{suffix}", head + broken(text.encode("utf-8", "surrogatepass"), dice)


def broken(given: bytes, dice: random.Random) -> bytes:
    """The bytes with some of them lost, or with others between them."""
    raw = bytearray(given)
    for _ in range(dice.choice((0, 0, 0, 1, 3, 20))):
        place = dice.randrange(len(raw) + 1)
        raw[place : place + dice.choice((0, 1, 5))] = dice.choice(
            (b"", b"\x00", b"\xff", b'"', b"[" * 50, b"{", b"\n", b"&a *a", b"9" * 50)
        )
    return bytes(raw)


def imported(dice: random.Random) -> bytes:
    """A file with a prior or with experiences that something broke."""
    text = AGENT if dice.random() < 0.1 else json.dumps(mutated(dice.choice(IMPORTS), dice))
    return broken(text.encode("utf-8", "surrogatepass"), dice)


def _drained(entries: Iterable[Any]) -> None:
    for _ in entries:
        pass


READERS: Mapping[str, Callable[[Path, bytes], object]] = {
    "tasks": lambda path, raw: read_tasks(str(path)),
    "request": lambda path, raw: FrameOptions(None, str(path), None, None).read("m"),
    "promptfoo": lambda path, raw: _drained(promptfoo_entries(str(path), raw.decode("utf-8", "replace"))),
    "transcripts": lambda path, raw: _drained(transcript_entries(entries_of(str(path), raw, ".jsonl"))),
    "imports": lambda path, raw: parse_prior(str(path), raw.decode("utf-8", "replace")),
    "spans": lambda path, raw: _drained(span_entries(entries_of(str(path), raw, ".jsonl"))),
}


def tried(path: Path, raw: bytes, read: Callable[[Path, bytes], object]) -> Outcome:
    """One file, read."""
    path.write_bytes(raw)
    began = time.process_time()
    try:
        read(path, raw)
    except InputError as error:
        told, took = str(error), time.process_time() - began
        bad = "\n" in told or not told.isprintable() or len(told) > 1_000
        return Outcome("refused", took, f"{raw[:200]!r}: {told[:300]!r}" if bad else None)
    except Exception as error:
        return Outcome("traceback", time.process_time() - began, f"{raw[:2000]!r}: {type(error).__name__}: {error}")
    return Outcome("read", time.process_time() - began)


def fuzzed(files: int, seed: int, folder: Path) -> list[Outcome]:
    """So many files, each read in one of the ways."""
    dice = random.Random(seed)
    outcomes = []
    for number in range(files):
        name, raw = content(dice)
        kind = "tasks" if number % 5 < 2 else dice.choice(list(READERS))
        raw = imported(dice) if kind == "imports" else raw
        outcomes.append(tried(folder / name, raw, READERS[kind]))
    return outcomes


def main() -> None:
    """Print what became of the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = fuzzed(given.files, given.seed, Path(folder))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    kinds = Counter(one.kind for one in found)
    slowest = max(one.seconds for one in found)
    print(f"{len(found):,} files: {dict(kinds)}; slowest {slowest:.2f} s of the processor; {memory:.0f} MB")
    for one in [one for one in found if one.wrong][:20]:
        print(f"{one.kind}: {one.wrong}")


if __name__ == "__main__":
    main()
