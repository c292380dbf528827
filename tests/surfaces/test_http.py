"""Which requests get the prior over HTTP, and what becomes of them."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.live import BODY, MODEL, OTHER, PRIOR, TEXT, sdk_json
from tests.tables import each
from tfgrpo.records import Backend, Demonstration, Frame, Prior, Snapshot
from tfgrpo.surfaces.http import (
    PRIOR_HEADER,
    REASON_HEADER,
    TOKEN_PRIOR_HEADER,
    WAY_HEADER,
    rewrite,
    route_notice,
    why_not,
)

SNAPSHOT = Snapshot("default", PRIOR, "live", Frame(model=MODEL))

TOKENS_ONLY = Snapshot("default", Prior(biases=PRIOR.biases), "live", Frame(model=MODEL))

TEXT_ONLY = Snapshot("default", OTHER, "live", Frame(model=MODEL))

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
    assert sdk_json(messages[1]) in sent
    assert sdk_json(messages[0]["content"])[:-1] in sent


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
    assert json.dumps(sent).count(json.dumps(TEXT)[1:-1]) == 1
    ours = next(place for place, message in enumerate(sent["messages"]) if TEXT in json.dumps(message["content"]))
    if len(sent["messages"]) > len(messages):
        del sent["messages"][ours]
    else:
        assert sent["messages"][ours]["role"] == messages[ours]["role"]
        sent["messages"][ours] = messages[ours]
    del sent["logit_bias"]
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


@each(
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


@each(
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


NONE, OF_ANOTHER = {PRIOR_HEADER: " None"}, {PRIOR_HEADER: "prior_1"}


@each(
    ("method", "path", "headers", "reason"),
    [
        ("POST", "/v1/chat/completions", {}, None),
        ("POST", "/openai/deployments/x/chat/completions", {"content-type": "application/json"}, None),
        ("POST", "/chat/completions/", {}, None),
        ("POST", "/v1/responses", {}, None),
        ("POST", "/openai/v1/responses?api-version=preview", {}, None),
        ("POST", "/v1/messages", {}, None),
        ("POST", "/prefix/v1/completions", {}, None),
        ("POST", "/v1/decisions", {}, None),
        ("GET", "/v1/chat/completions", {}, "route"),
        ("POST", "/v1/chat/completions/id", {}, "route"),
        ("POST", "/v1/responses/resp_1/cancel", {}, "route"),
        ("POST", "/v1/responses/input_tokens", {}, "route"),
        ("POST", "/v1/messages/count_tokens", {}, "route"),
        ("POST", "/v1/threads/thread_1/messages", {}, "route"),
        ("POST", "/v1/mycompletions", {}, "route"),
        ("POST", "/v1/embeddings", NONE, "route"),
        ("POST", "/v1/chat/completions", NONE, "disabled"),
        ("POST", "/v1/chat/completions", OF_ANOTHER, "marked"),
        ("POST", "/v1/responses", {"x-amz-date": "now"}, "signed"),
        ("POST", "/v1/chat/completions", {"content-digest": "x"}, "signed"),
    ],
)
def test_every_surface_takes_a_prior_and_what_does_not_has_a_reason(
    method: str, path: str, headers: dict[str, str], reason: str | None
) -> None:
    assert why_not(method, path, headers) == reason


@each(
    ("body", "snapshot", "path", "reason", "left_out"),
    [
        (BODY, None, "/v1/chat/completions", "no live prior", None),
        (BODY, NOTHING, "/v1/chat/completions", "empty", None),
        (BODY, TOKENS_ONLY, "/v1/chat/completions", None, None),
        ({**BODY, "model": "else"}, TOKENS_ONLY, "/v1/chat/completions", "other-model", "other-model"),
        ({"model": MODEL, "input": "hi"}, TOKENS_ONLY, "/v1/responses", "surface", "surface"),
        ({"model": MODEL, "input": "hi"}, SNAPSHOT, "/v1/responses", None, "surface"),
        ({"model": MODEL, "prompt": "hi"}, SNAPSHOT, "/v1/completions", None, None),
        ({"model": "else", "prompt": "hi"}, SNAPSHOT, "/v1/completions", "other-model", "other-model"),
        ({"model": MODEL, "prompt": "hi"}, TEXT_ONLY, "/v1/completions", "surface", None),
        ({"model": MODEL, "input": {}}, SNAPSHOT, "/v1/responses", "shape", None),
        (BODY, SNAPSHOT, "/v1/embeddings", "route", None),
    ],
)
def test_what_went_in_is_told_and_why_not_where_nothing_did(
    body: dict[str, Any], snapshot: Snapshot | None, path: str, reason: str | None, left_out: str | None
) -> None:
    rewritten = rewrite(sdk_json(body), snapshot, path=path)
    assert (rewritten.reason, rewritten.left_out) == (reason, left_out)
    assert (rewritten.content is None) == (rewritten.given is None) == (reason is not None)
    told = {PRIOR_HEADER: rewritten.prior if reason is None else "none"}
    told |= {REASON_HEADER: reason} if reason else {}
    told |= {TOKEN_PRIOR_HEADER: left_out} if left_out else {}
    has_tokens = reason is None and snapshot is not None and bool(snapshot.prior.biases)
    told |= {WAY_HEADER: "none" if left_out else "bias"} if has_tokens else {}
    assert rewritten.marks == told
    assert rewritten.marks_beside({}) == told
    assert rewritten.marks_beside({PRIOR_HEADER: "prior_1"}) == (told if reason is None else {})


def test_no_json_is_told_from_another_shape() -> None:
    assert [rewrite(body, SNAPSHOT).reason for body in (b"no JSON", b"[" * 100_000, b"{}", b"[]")] == [
        "not-json",
        "not-json",
        "shape",
        "shape",
    ]


def test_a_path_of_azure_names_the_model_where_the_body_does_not() -> None:
    path = f"/openai/deployments/{MODEL}/chat/completions?api-version=2026-01-01"
    sent = rewrite(sdk_json({"messages": BODY["messages"]}), SNAPSHOT, path=path)
    assert (sent.model, sent.left_out) == (MODEL, None)
    assert json.loads(sent.content or b"")["logit_bias"]


@each(
    ("host", "backend", "expected"),
    [
        ("127.0.0.1", None, 1.5),
        ("api.openai.com", None, 2),
        ("eu.api.openai.com", None, 2),
        ("mine.openai.azure.com", None, 2),
        ("notopenai.com", None, 1.5),
        ("127.0.0.1", Backend(fractional=False), 2),
        ("api.openai.com", Backend(fractional=True), 1.5),
    ],
)
def test_biases_are_whole_numbers_where_no_others_are_taken(
    host: str, backend: Backend | None, expected: float
) -> None:
    sent = rewrite(sdk_json(BODY), SNAPSHOT, backends={MODEL: backend} if backend else {}, host=host)
    assert f'"7":{expected}' in (sent.content or b"").decode()


def test_where_there_is_no_system_role_the_first_user_says_the_prior() -> None:
    sent = rewrite(sdk_json(BODY), SNAPSHOT, backends={MODEL: Backend(system_role="rejected")}).content or b""
    assert [message["role"] for message in json.loads(sent)["messages"]] == ["user"]


def test_a_prior_that_is_suspended_does_not_go_in() -> None:
    sent = rewrite(sdk_json(BODY), SNAPSHOT, suspended=lambda *where: where == (MODEL, "chat", PRIOR.id))
    assert (sent.content, sent.reason) == (None, "suspended")


@each(
    ("method", "path", "reason", "told"),
    [
        ("POST", "/v1/embeddings?x=1", "route", "POST /v1/embeddings goes without a prior: no prior has a place there"),
        ("POST", "/v1/threads/thread_1a2b3c/runs", "route", "POST /v1/threads/…/runs goes without a prior: no prior"),
        ("POST", "/v1/responses", "signed", "POST /v1/responses goes without a prior: a signature binds its body"),
        ("GET", "/v1/models", "route", None),
        ("POST", "/v1/responses", "disabled", None),
        ("POST", "/v1/responses", None, None),
    ],
)
def test_a_route_without_a_prior_is_told_without_the_ids_in_it(
    method: str, path: str, reason: Any, told: str | None
) -> None:
    notice = route_notice(method, path, reason)
    assert notice is None if told is None else (notice or "").startswith(told)


def test_a_prior_that_cannot_be_added_fails_no_call() -> None:
    broken = replace(SNAPSHOT, prior=replace(PRIOR, instruction=5))  # pyrefly: ignore[bad-argument-type]  # as a fault would have it
    found = rewrite(sdk_json(BODY), broken)
    assert (found.content, found.reason) == (None, "fault")
    assert found.notice == f"{broken.prior.id} could not be added to a request by /chat/completions: TypeError"
