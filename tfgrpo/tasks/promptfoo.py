"""promptfoo's configurations as tasks: each test's prompt with its variables, and what its assertions want.

Of one kind of assertion the value is the answer, and the kind says which reward fits; all assertions stay in the
metadata under `assert`.
"""

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import InputError
from ..records import JSON
from ..text import shortened
from .formats import Entry, entries_of
from .messages import is_chat
from .yaml_file import yaml_value

_REWARDS: Mapping[str, str] = {
    "equals": "exact-strict", "contains": "contains", "icontains": "contains", "contains-any": "contains",
    "icontains-any": "contains", "regex": "regex", "is-json": "json-schema", "contains-json": "json-schema",
    "llm-rubric": "judge", "factuality": "judge", "python": "module:function",
}  # fmt: skip
"""The reward that judges as an assertion does."""
_ABOUT_CALLS = ("latency", "cost")
"""Assertions that say nothing of an answer."""
_MOST_TESTS = 10_000
_SLOT = re.compile(r"\{\{-?\s*([\w.]+)\s*-?\}\}")
_LOGIC = re.compile(r"\{%|\{#|\{\{[^{}]*[|(\[]")


def promptfoo_entries(path: str, text: str) -> Iterator[Entry]:
    """The tests of a configuration as records with an input, an answer where there is one, and their assertions."""
    config = yaml_value(path, text)
    if not isinstance(config, Mapping) or "tests" not in config:
        raise InputError(f"{path}: a configuration of promptfoo has prompts and tests")
    folder = Path(path).parent
    prompt = _prompt(path, config.get("prompts"), folder)
    given = config.get("defaultTest")
    usual: Mapping[str, JSON] = given if isinstance(given, Mapping) else {}
    made = itertools.chain.from_iterable(_tests(path, config["tests"], folder))
    for number, test in enumerate(itertools.islice(made, _MOST_TESTS), 1):
        place = f"test {number}"
        try:
            yield place, _record(prompt, test, usual)
        except InputError as error:
            raise InputError(f"{path}, {place}: {error}") from error


def fitting_rewards(entries: list[Entry]) -> list[str]:
    """The rewards that judge as the assertions about the answers do, the commonest first; several: no one fits all."""
    kinds = [one.get("type") for _, entry in entries for one in entry.get("assert", ()) if isinstance(one, Mapping)]
    found = [_REWARDS.get(str(kind), f"none for {shortened(kind)}") for kind in kinds if kind not in _ABOUT_CALLS]
    return sorted(set(found), key=lambda reward: (-found.count(reward), reward))


def _prompt(path: str, prompts: JSON, folder: Path) -> str:
    listed = prompts if isinstance(prompts, list) else [prompts]
    if len(listed) != 1:
        raise InputError(f"{path}: it has {len(listed)} prompts, and a task has one; keep the one to learn for")
    one = listed[0]
    text = (one.get("raw") or one.get("id")) if isinstance(one, Mapping) else one
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{path}: its prompt must be text, read {shortened(one)}")
    if text.startswith("file://") or re.fullmatch(r"[\w./-]+\.(txt|md|json)", text):
        text = _file(path, folder, text.removeprefix("file://"))
    if _LOGIC.search(text):
        raise InputError(f"{path}: the prompt has logic of its own ({{% %}} or filters); write {{{{name}}}} alone")
    return text


def _file(path: str, folder: Path, name: str) -> str:
    try:
        return (folder / name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot read {shortened(name)}: {getattr(error, 'strerror', None) or error}"
        ) from error


def _tests(path: str, tests: JSON, folder: Path) -> Iterator[Iterator[Mapping[str, JSON]]]:
    """Tests, listed or in files."""
    for one in tests if isinstance(tests, list) else [tests]:
        if isinstance(one, str):
            yield _from_file(path, one.removeprefix("file://"), folder)
        elif isinstance(one, Mapping):
            yield _combinations(one)
        else:
            raise InputError(f"{path}: a test is an object with vars and assert, read {shortened(one)}")


def _from_file(path: str, name: str, folder: Path) -> Iterator[Mapping[str, JSON]]:
    found = entries_of(name, _file(path, folder, name).encode(), Path(name).suffix.lower())
    for place, row in found:
        if not isinstance(row, Mapping):
            raise InputError(f"{name}, {place}: a test is an object, read {shortened(row)}")
        if "vars" in row:
            yield from _combinations(row)
            continue
        told = [_assertion(str(held)) for field, held in row.items() if str(field).startswith("__expected") and held]
        yield {"vars": {key: held for key, held in row.items() if not str(key).startswith("__")}, "assert": told}


def _assertion(told: str) -> Mapping[str, JSON]:
    """`contains: Paris` of a column `__expected`; a text alone is what is to be equal."""
    kind, colon, value = told.partition(":")
    known = bool(colon) and kind.strip().removeprefix("not-") in _REWARDS
    return {"type": kind.strip(), "value": value.strip()} if known else {"type": "equals", "value": told}


def _combinations(test: Mapping[str, JSON]) -> Iterator[Mapping[str, JSON]]:
    """A test for each value of variables that are lists."""
    given = test.get("vars") or {}
    if not isinstance(given, Mapping):
        raise InputError(f"vars of a test are an object, read {shortened(given)}")
    values = [held if isinstance(held, list) and not is_chat(held) else [held] for held in given.values()]
    for each in itertools.product(*values):
        yield {**test, "vars": dict(zip(given, each, strict=True))}


def _record(prompt: str, test: Mapping[str, JSON], usual: Mapping[str, JSON]) -> dict[str, JSON]:
    common = usual.get("vars")
    given = {**(common if isinstance(common, Mapping) else {}), **test.get("vars", {})}
    wanted = [one for told in (usual, test) if isinstance(told.get("assert"), list) for one in told["assert"]]
    answer = _answer(wanted)
    described = {"description": test["description"]} if test.get("description") else {}
    right = {} if answer is None else {"answer": answer}
    return {"input": _filled(prompt, given), **right, **described, "assert": wanted}


def _filled(prompt: str, given: Mapping[str, JSON]) -> JSON:
    """The prompt with its variables; messages where it is a list of them as JSON."""

    def value(match: re.Match[str]) -> str:
        held: JSON = given
        for part in match[1].split("."):
            if not isinstance(held, Mapping) or part not in held:
                raise InputError(f"there is no variable {shortened(match[1])}; it has {shortened(', '.join(given))}")
            held = held[part]
        return held if isinstance(held, str) else json.dumps(held, ensure_ascii=False)

    if not prompt.lstrip().startswith("["):
        return _SLOT.sub(value, prompt)
    try:
        messages = json.loads(prompt)
    except ValueError:
        return _SLOT.sub(value, prompt)
    if not is_chat(messages):
        return _SLOT.sub(value, prompt)
    return [{**one, "content": _SLOT.sub(value, str(one.get("content") or ""))} for one in messages]


def _answer(wanted: list[JSON]) -> JSON:
    """The value that the assertions want where it is one; None where there is none, or several of different kinds."""
    told = [one for one in wanted if isinstance(one, Mapping) and one.get("value") is not None]
    kinds = {str(one.get("type")) for one in told}
    return told[0]["value"] if len(told) == 1 and kinds <= _REWARDS.keys() else None
