"""Which requests get the prior over HTTP, and what becomes of them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.live import BODY, MODEL, OTHER, PRIOR, TEXT, sdk_json
from tfgrpo.records import Demonstration, Frame, Prior, Snapshot
from tfgrpo.surfaces.http import PRIOR_HEADER, rewrite, takes_prior

SNAPSHOT = Snapshot("default", PRIOR, "live", Frame(model=MODEL))

TOKENS_ONLY = Snapshot("default", Prior(biases=PRIOR.biases), "live", Frame(model=MODEL))

NOTHING = Snapshot("default", Prior(), "live", Frame(model=MODEL))


def test_a_chat_request_gets_experiences_and_token_prior() -> None:
    rewritten = rewrite(sdk_json(BODY), SNAPSHOT)
    assert rewritten.prior == PRIOR.id
    assert rewritten.notice is None
    sent = json.loads(rewritten.content or b"")
    assert TEXT in sent["messages"][0]["content"]
    assert sent["messages"][1:] == BODY["messages"]
    assert sent["logit_bias"] == {"7": 1.5, "9": -2.0}


@pytest.mark.parametrize(
    ("prior", "first"),
    [
        (Prior(instruction="Reply with a code."), {"role": "system", "content": "Reply with a code."}),
        (Prior(demonstrations=(Demonstration("청구서?", "BILL"),)), {"role": "user", "content": "청구서?"}),
        (Prior(demonstrations=(Demonstration("청구서?", "BILL"),), nearest=8), {"role": "user", "content": "청구서?"}),
    ],
)
def test_a_way_to_prompt_alone_is_a_prior_too(prior: Prior, first: dict[str, str]) -> None:
    rewritten = rewrite(sdk_json(BODY), Snapshot("default", prior, "live", Frame(model=MODEL)))
    assert (rewritten.prior, rewritten.marks) == (prior.id, {PRIOR_HEADER: prior.id})
    sent = json.loads(rewritten.content or b"")
    assert sent["messages"][0] == first
    assert sent["messages"][-1:] == BODY["messages"]


@pytest.mark.parametrize(
    ("prior", "what"),
    [(Prior(instruction="x"), "instructions"), (Prior(demonstrations=(Demonstration("a", "b"),)), "demonstrations")],
)
def test_a_way_to_prompt_that_was_learned_on_another_family_is_told(prior: Prior, what: str) -> None:
    rewritten = rewrite(sdk_json({**BODY, "model": "gpt-4o"}), Snapshot("default", prior, "live", Frame(model="llama")))
    assert rewritten.content is not None
    assert rewritten.notice is not None
    assert rewritten.notice.startswith(f"the {what} of namespace 'default' were learned on model 'llama'")


def test_what_the_sdk_wrote_is_sent_again_to_the_byte() -> None:
    messages = [{"role": "system", "content": "a\u2028b"}, {"role": "user", "content": 'é "☃" \\ \n'}]
    sent = rewrite(sdk_json({**BODY, "messages": messages}), SNAPSHOT).content or b""
    assert all(sdk_json(message) in sent for message in messages)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)

messages_lists = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool"]), "content": json_values}
    ),
    min_size=1,
    max_size=4,
)


@given(messages_lists, st.dictionaries(st.sampled_from(["n", "tools", "metadata", "user"]), json_values))
def test_the_callers_values_survive_in_order(messages: list[dict[str, object]], more: dict[str, object]) -> None:
    body = {"model": MODEL, **more, "messages": messages}
    sent = json.loads(rewrite(json.dumps(body).encode(), SNAPSHOT).content or b"")
    ours = [place for place, message in enumerate(sent["messages"]) if TEXT in str(message["content"])]
    assert len(ours) == 1
    del sent["messages"][ours[0]], sent["logit_bias"]
    assert sent == body


def test_half_a_surrogate_pair_travels_escaped_as_it_came() -> None:
    body = b'{"model":"fake","messages":[{"role":"user","content":"\\ud83d"}]}'
    sent = rewrite(body, SNAPSHOT).content or b""
    assert json.loads(sent)["messages"][1]["content"] == "\ud83d"


def test_another_model_gets_the_experiences_alone_and_a_word_about_it() -> None:
    rewritten = rewrite(sdk_json({**BODY, "model": "else\n"}), SNAPSHOT)
    sent = json.loads(rewritten.content or b"")
    assert TEXT in sent["messages"][0]["content"]
    assert "logit_bias" not in sent
    assert rewritten.notice is not None
    assert MODEL in rewritten.notice
    assert "'else'" in rewritten.notice
    assert "--model" in rewritten.notice


@pytest.mark.parametrize(
    ("prior", "model", "told"),
    [
        (OTHER, "fake", []),
        (OTHER, "maker/Fake-2025-04-14", []),
        (OTHER, "else", ["experiences", "may hurt on 'else'", "tfgrpo eval TASKS --namespace 'math' --model 'else'"]),
        (OTHER, None, []),
        (PRIOR, "maker/fake", ["token prior", "left out for 'maker/fake'"]),
        (PRIOR, "else", ["left out for 'else'", "may hurt on 'else'", "tfgrpo eval TASKS"]),
        (TOKENS_ONLY.prior, "else", ["left out for 'else'"]),
    ],
)
def test_a_model_of_another_family_comes_with_a_word_about_it(prior: Prior, model: Any, told: list[str]) -> None:
    rewritten = rewrite(sdk_json({**BODY, "model": model}), Snapshot("math", prior, "live", Frame(MODEL)))
    assert (rewritten.content is None) == (not prior.experiences)
    assert (rewritten.notice is None) == (not told)
    assert [words for words in told if words not in (rewritten.notice or "")] == []
    assert ("eval" in (rewritten.notice or "")) == ("tfgrpo eval TASKS" in " ".join(told))


def test_nothing_is_sent_of_a_token_prior_for_another_model() -> None:
    rewritten = rewrite(sdk_json({**BODY, "model": "else"}), TOKENS_ONLY)
    assert (rewritten.content, rewritten.prior) == (None, "none")
    assert rewritten.notice


def test_an_empty_prior_leaves_the_body_alone() -> None:
    assert rewrite(sdk_json(BODY), NOTHING).content is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON",
        b"\x1f\x8b\x08 compressed",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b'"messages"',
        b"{}",
        b'{"messages":{}}',
        b'{"messages":[]}',
        b'{"messages":["hello"]}',
        b'{"messages":[{"role":"user","content":"a"}],"logit_bias":[1]}',
    ],
)
def test_what_is_no_chat_request_is_left_to_the_upstream(body: bytes) -> None:
    assert rewrite(body, SNAPSHOT).content is None


@pytest.mark.parametrize(
    ("method", "path", "headers", "taken"),
    [
        ("POST", "/v1/chat/completions", set(), True),
        ("POST", "/openai/deployments/x/chat/completions", set(), True),
        ("POST", "/chat/completions/", {"content-type"}, True),
        ("GET", "/v1/chat/completions", set(), False),
        ("POST", "/v1/chat/completions/id", set(), False),
        ("POST", "/v1/embeddings", set(), False),
        ("POST", "/v1/chat/completions", {PRIOR_HEADER}, False),
        ("POST", "/v1/chat/completions", {"x-amz-date"}, False),
        ("POST", "/v1/chat/completions", {"content-digest"}, False),
    ],
)
def test_only_unmarked_unsealed_chat_completions_take_a_prior(
    method: str, path: str, headers: set[str], taken: bool
) -> None:
    assert takes_prior(method, path, headers) is taken
