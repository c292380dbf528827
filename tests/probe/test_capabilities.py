"""What an upstream honours, on an exact softmax policy over the real SDK, and what is remembered of it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.inprocess import Server, completion, upstream
from tests.live import MODEL, go_live
from tfgrpo.cli import main
from tfgrpo.model.library import http
from tfgrpo.probe.capabilities import SHIFT, Capabilities, capabilities
from tfgrpo.records import Backend, ChatBody
from tfgrpo.store import Store
from tfgrpo.testing import Answer, ScriptedModel, SimulatedPolicy, serving

POLICY = SimulatedPolicy([f"w{number}" for number in range(40)], lambda prompt: [-0.05 * n for n in range(40)])


async def surveyed(script: Callable[[ChatBody], str | Answer]) -> Capabilities:
    async with upstream(ScriptedModel(script, owner="llamacpp", tokenizer=lambda text: []).app) as calling:
        return await capabilities(calling, "fake")


def refusing(name: str) -> Callable[[ChatBody], Answer]:
    return lambda body: Answer(f"{name} is not supported", status=400) if name in body else POLICY(body)


async def test_a_backend_that_honours_all_but_n() -> None:
    found = await surveyed(POLICY)
    assert (found.backend.alternatives, found.n, found.seed) == (40, "inert", "honoured")
    assert found.shift == 0.0, "reported before the bias"
    assert (found.backend.logit_bias, found.calls) == ("honoured", 14)


async def test_a_reported_log_probability_moves_with_the_bias_where_it_is_that_after_it() -> None:
    found = await surveyed(replace(POLICY, after_bias=True))
    assert found.shift is not None
    assert 0.5 * SHIFT < found.shift < SHIFT


@pytest.mark.parametrize("name", ["n", "seed"])
async def test_what_is_refused_is_said_to_be_rejected(name: str) -> None:
    found = await surveyed(refusing(name))
    assert getattr(found, name) == "rejected"


@pytest.mark.parametrize(("texts", "verdict"), [(("a", "b", "c"), "inert"), (("a", "a", "a"), "unknown")])
async def test_a_seed_is_told_by_what_comes_twice(texts: tuple[str, ...], verdict: str) -> None:
    said = iter(texts)

    def script(body: ChatBody) -> str:
        return next(said) if body["max_tokens"] > 16 and "n" not in body else "x"

    found = await surveyed(script)
    assert (found.seed, found.backend.alternatives, found.shift) == (verdict, 0, None)


async def test_several_choices_are_counted() -> None:
    choice = {"index": 1, "message": {"role": "assistant", "content": "b"}, "finish_reason": "stop"}
    both = json.loads(completion("a").content)
    both["choices"].append(choice)

    async with upstream(Server(http.Response(200, json=both))) as calling:
        assert (await capabilities(calling, "fake")).n == "honoured"


@pytest.mark.parametrize(
    ("backend", "sent"),
    [
        (Backend(logit_bias="rejected"), False),
        (Backend(logit_bias="honoured", tokenizer="letters"), False),
        (Backend(logit_bias="unknown"), True),
        (None, True),
    ],
)
def test_chat_goes_by_what_is_remembered_and_says_so(tmp_path: Path, backend: Backend | None, sent: bool) -> None:
    store, model = go_live(tmp_path / "t.db"), ScriptedModel(lambda body: "BILL")
    with serving(model.app) as url:
        if backend:
            with Store(store) as opened:
                opened.add_probe(url, MODEL, backend)
        said = CliRunner().invoke(main, ["chat", "Where is it?", "--base-url", url, "--store", str(store)])
    assert (said.exit_code, said.stdout) == (0, "BILL\n")
    assert ("logit_bias" in model.requests[-1], "token prior left out" in said.stderr) == (sent, not sent)


def test_the_command_reports_it_and_the_store_remembers_it(tmp_path: Path) -> None:
    store = tmp_path / "t.db"
    with Store(store) as opened:
        opened.add_probe("http://elsewhere/v1", "fake", Backend(shutdown_date="2020-01-01"))
    with serving(ScriptedModel(refusing("logit_bias")).app) as url:
        arguments = ["probe", "--model", "fake", "--base-url", url, "--store", str(store)]
        shown = CliRunner().invoke(main, arguments)
        told = CliRunner().invoke(main, [*arguments, "--json"])
        with Store(store) as opened:
            known = opened.probes()[url]["fake"]
    assert (shown.exit_code, told.exit_code) == (0, 0), told.output
    figures = json.loads(told.stdout)
    assert (figures["logit_bias"], figures["alternatives"], figures["seed"]) == ("rejected", 40, "honoured")
    assert known == replace(Backend(**{name: figures[name] for name in Backend.__slots__}))
    assert known.logit_bias == "rejected"
    assert "seed" in shown.stdout
    assert "2020" not in shown.stderr  # a model that has left elsewhere has not left here
    assert (figures["verdict"]["token_prior"], figures["way"]) == ("policy gradient", "re-decide")
    *_, what, texts, tokens, way, chunks, advice = shown.stdout.splitlines()
    assert what == "What can be learned on fake"
    assert texts.startswith("  experiences and demonstrations: yes")
    assert tokens.startswith("  a token prior: yes, by policy gradient; logit_bias is rejected")
    assert way == "  what it acts by, in learning, client and proxy: re-decide; open besides: verbalise"
    assert chunks.startswith(
        "  long answers in chunks (--bounded): the answer so far stands as text behind the question"
    )
    assert advice.startswith("To get more: say what answers may be: --reward choice, or --labels")
