"""docs/python-api.md: its examples run, each section by itself, and it names every option there is."""

import ast
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest

from tests.routing import TOPICS, WORDS, served
from tfgrpo.api import open_store
from tfgrpo.options import EvaluateOptions, LearnOptions
from tfgrpo.records import message_text
from tfgrpo.report.results import LearningRun
from tfgrpo.testing import ScriptedModel, SimulatedPolicy

PAGE = (Path(__file__).parent.parent / "docs" / "python-api.md").read_text(encoding="utf-8")


def sections() -> Iterator[tuple[str, str]]:
    """Each section with examples, and these one after the other."""
    for title, text in re.findall(r"^##? ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL):
        if blocks := re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            yield title, "\n".join(blocks)


SECTIONS = dict(sections())
FIRST = "From Python"


def eager(prompt: str) -> list[float]:
    """Logits of a policy that knows the topics, and mostly starts to talk all the same: there is much to learn."""
    return [3.0, *(2.5 * (topic in prompt) for topic in TOPICS), 2.0]


@pytest.fixture
def policy() -> ScriptedModel:
    """The model that the page's examples call."""
    return ScriptedModel(SimulatedPolicy(WORDS, eager))


@pytest.fixture
def ready(folder: Path, monkeypatch: pytest.MonkeyPatch, policy: ScriptedModel) -> Iterator[Path]:
    """A folder with a file of tasks, and a model at OPENAI_BASE_URL, as the page takes for granted."""
    rows = [
        {"input": f"message {n} about {topic}", "answer": label}
        for n, (topic, label) in enumerate([*TOPICS.items()] * 10)
    ]
    (folder / "tasks.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    with served(policy.app) as url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-of-nobody")
        yield folder


def compiled(title: str) -> CodeType:
    """The examples of a section, where a cell may await as in a notebook."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code: CodeType = compile(SECTIONS[title], f"docs/python-api.md, {title}", "exec", flags=flags, dont_inherit=True)
    return code


@pytest.mark.parametrize("title", [title for title in SECTIONS if title != FIRST])
async def test_the_examples_of_a_section_run(title: str, ready: Path) -> None:
    code, names = compiled(title), {"__name__": "page"}
    ended = eval(code, names)
    if code.co_flags & inspect.CO_COROUTINE:
        await ended


async def test_ten_lines_where_a_loop_runs_learn_show_the_race_and_use_the_prior(
    ready: Path, policy: ScriptedModel, capfd: pytest.CaptureFixture[str]
) -> None:
    first = SECTIONS[FIRST]
    assert len([line for line in first.splitlines() if line]) <= 10
    names: dict[str, object] = {}
    exec(compiled(FIRST), names)
    assert (ready / "report.html").stat().st_size > 10_000
    run = names["run"]
    assert isinstance(run, LearningRun)
    assert run.promoted
    shown = run._repr_html_()
    assert f"{run.prior.id} is live" in shown
    assert '<th style="text-align:left">way to prompt</th>' in shown
    assert "step 2/2: mean reward" in capfd.readouterr().err
    asked = policy.requests[-1]
    assert run.prior.biases
    assert asked["logit_bias"] == run.prior.logit_bias
    assert "about an invoice" in message_text(asked["messages"][-1])
    with open_store() as store:
        assert [entry.run.kind for entry in store.runs()] == ["learn", "eval"]


def test_the_page_explains_every_option_once() -> None:
    rows = [line.split("|") for line in PAGE.partition("## Every option")[2].splitlines() if line.startswith("| `")]
    for name in {*LearnOptions.__annotations__, *EvaluateOptions.__annotations__}:
        told = [row[-2].strip() for row in rows if f"`{name}`" in row[1]]
        assert len(list(filter(None, told))) == len(told) == 1, name
