"""What backends of every kind are found to be, on an exact softmax policy over the real SDK."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import tiktoken

from tests import toy
from tests.inprocess import MemoryJournal, Server, completion, refusal, upstream
from tfgrpo.errors import InputError, ModelError, UpstreamError
from tfgrpo.model.library import http
from tfgrpo.model.tokenizer import TELLING_TEXT
from tfgrpo.model.tokenizer import fingerprint as fingerprint_of
from tfgrpo.probe.backend import listed_at_most, probe, shutdown_day
from tfgrpo.records import JSON, Backend, CallKey, ChatBody
from tfgrpo.settings import Settings
from tfgrpo.testing import Answer, ScriptedModel, SimulatedPolicy

POLICY = SimulatedPolicy(("Blue", "Red", "<|im_end|>", "Green", "Mauve"), lambda prompt: [2.0, 1.0, -4.0, 0.0, -2.0])
SPOKEN = Backend(system_role="honoured")
TAKEN = replace(SPOKEN, logit_bias="honoured", fractional=True)
FULL = replace(TAKEN, kind="llama.cpp", token_ids=True, logprobs=True)


def without_bias(body: ChatBody) -> Answer:
    return POLICY({**body, "logit_bias": None})


def rejecting(body: ChatBody) -> Answer:
    return Answer("logit_bias is not supported", status=400) if "logit_bias" in body else POLICY(body)


without_ids = replace(POLICY, ids=False)
without_logprobs = replace(POLICY, logprobs=False)


async def found(script: Callable[[ChatBody], str | Answer], owner: str = "llamacpp", model: str = "fake") -> Backend:
    async with upstream(ScriptedModel(script, owner=owner, tokenizer=lambda text: []).app) as calling:
        return replace(await probe(calling, model, run="run_1"), tokenizer="")


@pytest.mark.parametrize(
    ("script", "backend"),
    [
        (POLICY, FULL),
        (replace(POLICY, after_bias=True), replace(FULL, includes_bias=True)),
        (replace(POLICY, after_temperature=True), replace(FULL, includes_temperature=True)),
        (
            replace(POLICY, after_bias=True, after_temperature=True),
            replace(FULL, includes_bias=True, includes_temperature=True),
        ),
        (without_bias, replace(FULL, logit_bias="inert", fractional=None, alternatives=5)),
        (rejecting, replace(FULL, logit_bias="rejected", fractional=None, alternatives=5)),
        (without_ids, replace(SPOKEN, kind="llama.cpp")),
        (without_logprobs, replace(SPOKEN, kind="llama.cpp")),
    ],
    ids=["before", "after", "scaled", "after, scaled", "inert", "rejected", "no ids", "no logprobs"],
)
async def test_each_kind_of_backend_is_told_apart(script: Callable[[ChatBody], Answer], backend: Backend) -> None:
    assert await found(script) == backend


async def test_a_server_that_lists_few_tokens_is_still_measured() -> None:
    assert await found(lambda body: POLICY({**body, "top_logprobs": 2})) == FULL


async def test_what_cannot_be_compared_is_taken_for_the_usual_kind() -> None:
    """A server that gives log-probabilities at temperature 1 only."""
    assert await found(lambda body: POLICY(body) if body["temperature"] == 1 else without_logprobs(body)) == FULL


# How many alternatives come

MANY = SimulatedPolicy([f"w{number}" for number in range(120)], lambda prompt: [-0.05 * n for n in range(120)])


def listing_at_most(most: int, words: str = "") -> Callable[[ChatBody], Answer]:
    """Refuses to list more, in these words; lists no more where there are none."""

    def answer(body: ChatBody) -> Answer:
        if body.get("top_logprobs", 0) <= most:
            return MANY(body)
        return Answer(words, status=400) if words else MANY({**body, "top_logprobs": most})

    return answer


@pytest.mark.parametrize(
    ("script", "listed", "asked"),
    [
        (MANY, 100, [100]),
        (listing_at_most(20, "Invalid 'top_logprobs': must be less than or equal to 20"), 20, [100, 20]),
        (listing_at_most(20, "Requested sample logprobs of 100, greater than max allowed: 20"), 20, [100, 20]),
        (listing_at_most(64, "top_logprobs is too large"), 50, [100, None, 50]),
        (listing_at_most(50, "no"), 50, [100, 50]),
        (listing_at_most(-1, "no"), 0, [100, 50, 20]),
        (listing_at_most(5), 5, [100]),
        (listing_at_most(30), 30, [100]),
        (listing_at_most(8, "top_logprobs must be at most 8"), 8, [100, 8]),
        (listing_at_most(8, "no"), 5, [100, 50, 20, 5]),
    ],
)
async def test_alternatives_are_counted_and_what_is_refused_meanwhile_is_not_held_against_later_requests(
    script: Callable[[ChatBody], Answer], listed: int, asked: list[int | None]
) -> None:
    model, journal = ScriptedModel(script), MemoryJournal()
    for _ in range(2):  # the second time it is replayed
        async with upstream(model.app, journal=journal) as calling:
            assert await listed_at_most(calling, FULL, "fake", run="run_1") == listed
            assert (calling.dropped, calling.adapted.changed) == ({}, {})
    assert [body.get("top_logprobs") for body in model.requests][: len(asked)] == asked


async def test_where_biases_do_nothing_it_is_looked_at_since_labels_are_decided_by_them() -> None:
    def refusing(body: ChatBody) -> Answer:
        return Answer("logit_bias is not supported", status=400) if "logit_bias" in body else MANY(body)

    assert ((await found(refusing)).alternatives, (await found(MANY)).alternatives) == (100, 0)


# Without ids or log-probabilities

SPEAKING = SimulatedPolicy(("Blue", "The", "But", "Red"), lambda prompt: [9.0, 0.0, 0.0, 1.0])
TOY = toy.tokenizer(SPEAKING.words)
IDS = {word: [token] for token, word in enumerate(SPEAKING.words)}
TOLD = replace(TAKEN, token_ids=True, logprobs=True)
INERT = replace(TOLD, logit_bias="inert", fractional=None, alternatives=4)


def silent(body: ChatBody) -> str:
    """A model that thinks for as long as it may, and says nothing."""
    return ""


async def measured(
    script: Callable[[ChatBody], str | Answer], *, local: bool = True, owner: str = "someone"
) -> Backend:
    """With a tokenizer of ours, or only what the server's own route tells."""
    model = ScriptedModel(script, owner=owner, tokenizer=lambda text: IDS.get(text, [7, 8]))
    async with upstream(model.app, tokenizer=TOY if local else None) as calling:
        return replace(await probe(calling, "fake", run="run_1"), tokenizer="")


@pytest.mark.parametrize(
    ("script", "backend"),
    [
        (replace(SPEAKING, ids=False), TOLD),
        (replace(SPEAKING, ids=False, after_bias=True), replace(TOLD, includes_bias=True)),
        (lambda body: SPEAKING({**body, "logit_bias": None}), INERT),
        (replace(SPEAKING, logprobs=False), TAKEN),
        (lambda body: "Blue", replace(SPOKEN, logit_bias="inert")),
        (lambda body: "The colour is blue" if "logit_bias" not in body else "But", TAKEN),
        (lambda body: "The", replace(SPOKEN, logit_bias="inert")),
        (lambda body: rejecting(body) if "logit_bias" in body else "Blue", replace(SPOKEN, logit_bias="rejected")),
        (silent, replace(SPOKEN, logit_bias="unknown")),
    ],
    ids=["no ids", "after", "no ids, inert", "no logprobs", "inert", "The", "always The", "rejected", "silent"],
)
async def test_logit_bias_is_measured_by_a_tokenizer_of_ours(
    script: Callable[[ChatBody], Answer], backend: Backend
) -> None:
    assert await measured(script) == backend


@pytest.mark.parametrize(
    ("script", "logit_bias"),
    [(replace(SPEAKING, logprobs=False), "honoured"), (lambda body: "Blue", "inert"), (silent, "unknown")],
    ids=["honoured", "inert", "silent"],
)
@pytest.mark.parametrize("owner", ["llamacpp", "vllm"])
async def test_logit_bias_is_measured_by_the_servers_own_tokenizer(
    script: Callable[[ChatBody], Answer], logit_bias: str, owner: str
) -> None:
    assert (await measured(script, local=False, owner=owner)).logit_bias == logit_bias


async def test_without_any_tokenizer_all_that_can_be_seen_of_logit_bias_is_that_it_is_refused() -> None:
    assert await measured(replace(SPEAKING, logprobs=False), local=False) == replace(SPOKEN, logit_bias="unknown")
    refusing = await measured(lambda body: rejecting(body) if "logit_bias" in body else "Blue", local=False)
    assert refusing == replace(SPOKEN, logit_bias="rejected")


async def test_a_model_of_openais_is_given_tiktokens_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: toy.encoding(SPEAKING.words, name))
    async with upstream(ScriptedModel(replace(SPEAKING, ids=False)).app) as calling:
        backend = await probe(calling, "gpt-4.1-mini", run="run_1")
        assert backend == replace(TOLD, tokenizer="tiktoken:o200k_base")
        assert calling.tokenizer is not None


async def test_a_server_of_another_kind_is_not_taken_for_openais_by_its_models_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: toy.encoding(SPEAKING.words, name))
    async with upstream(ScriptedModel(SPEAKING, owner="llamacpp").app) as calling:
        assert (await probe(calling, "gpt-4.1-mini", run="run_1")).tokenizer.startswith("tokenizer_")
        assert calling.tokenizer is None


async def test_offline_the_backend_says_what_is_lacking_and_keeps_its_fingerprint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreachable(name: str) -> tiktoken.Encoding:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(tiktoken, "get_encoding", unreachable)
    async with upstream(ScriptedModel(replace(SPEAKING, ids=False)).app) as calling:
        backend = await probe(calling, "gpt-4.1-mini", run="run_1")
    assert (backend.logit_bias, backend.logprobs, backend.tokenizer) == ("unknown", False, "tiktoken:o200k_base")
    assert "TIKTOKEN_CACHE_DIR" in backend.lacking


async def test_a_tokenizer_that_is_not_the_models_is_refused() -> None:
    model = ScriptedModel(SPEAKING, owner="vllm", tokenizer=words)
    async with upstream(model.app, tokenizer=TOY) as calling:
        with pytest.raises(InputError, match="not that of fake"):
            await probe(calling, "fake", run="run_1")


async def test_a_tokenizer_that_is_the_models_has_the_servers_fingerprint() -> None:
    ours = replace(TOY, fingerprint=fingerprint_of(TOY.encode(TELLING_TEXT)))
    model = ScriptedModel(replace(SPEAKING, ids=False), owner="vllm", tokenizer=TOY.encode)
    async with upstream(model.app, tokenizer=ours) as calling:
        backend = await probe(calling, "fake", run="run_1")
    assert backend == replace(TOLD, kind="vllm", tokenizer=ours.fingerprint)


async def test_a_token_without_a_text_is_never_forced() -> None:
    """An end-of-turn token leaves no log-probability to look at."""
    model = ScriptedModel(POLICY)
    async with upstream(model.app) as calling:
        await probe(calling, "fake", run="run_1")
    ids = [body["logit_bias"] for body in model.requests if "logit_bias" in body]
    assert ids == [{"4": 99.5}]


@pytest.mark.parametrize(("owner", "kind"), [("llamacpp", "llama.cpp"), ("vllm", "vllm"), ("openai", "other")])
async def test_the_kind_decides_which_samplers_are_switched_off(owner: str, kind: str) -> None:
    off = {
        "llama.cpp": {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0},
        "vllm": {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0},
        "other": {},
    }
    model = ScriptedModel(POLICY, owner=owner)
    async with upstream(model.app) as calling:
        backend = await probe(calling, "fake", run="run_1")
    assert backend.kind == kind
    assert len(model.requests) == 3
    for body in model.requests:
        assert body["top_p"] == 1.0
        assert "seed" in body
        assert {name: body[name] for name in body if name in {*off["llama.cpp"], *off["vllm"]}} == off[kind]
    assert [body["temperature"] for body in model.requests] == [1.0, 0.5, 1.0]


MODELS = {"data": [{"id": "a", "owned_by": "openai"}, {"id": "b", "owned_by": "vllm"}, {"id": "c"}]}


@pytest.mark.parametrize(
    ("models", "model", "kind"),
    [
        (MODELS, "b", "vllm"),
        (MODELS, "a", "other"),
        (MODELS, "c", "other"),
        (MODELS, "not listed", "vllm"),
        ({"data": [{"id": "file.gguf", "owned_by": "llamacpp"}]}, "my alias", "llama.cpp"),
        ({"data": None}, "a", "other"),
        ({"data": ["a", None, 3]}, "a", "other"),
        ({}, "a", "other"),
        ([], "a", "other"),
        (None, "a", "other"),
    ],
)
async def test_the_kind_is_that_of_the_model_among_several(models: object, model: str, kind: str) -> None:
    tokenized = [http.Response(404)] if kind != "other" else []
    server = Server(http.Response(200, json=models), completion(), *tokenized)
    async with upstream(server) as calling:
        backend = await probe(calling, model, run="run_1")
    assert backend.kind == kind


@pytest.mark.parametrize(
    "models",
    [http.Response(404), http.Response(200, text="<html>"), refusal(401), http.ReadTimeout("hangs")],
    ids=["404", "HTML", "401", "hangs"],
)
async def test_a_server_without_a_list_of_models_can_be_used(models: http.Response | Exception) -> None:
    async with upstream(Server(models, completion())) as calling:
        backend = await probe(calling, "fake", run="run_1")
    assert (backend.kind, backend.logit_bias) == ("other", "unknown")
    assert backend.tokenizer


async def fingerprint(tokenizer: Callable[[str], list[int]] | None, owner: str = "llamacpp", model: str = "a") -> str:
    scripted = ScriptedModel(POLICY, owner=owner, tokenizer=tokenizer or (lambda text: []))
    async with upstream(scripted.app) as calling:
        return (await probe(calling, model, run="run_1")).tokenizer


def characters(text: str) -> list[int]:
    return [ord(character) for character in text]


def words(text: str) -> list[int]:
    return [len(word) for word in text.split()]


async def test_a_tokenizer_is_known_by_what_it_does_and_not_by_the_models_name() -> None:
    one = await fingerprint(characters, model="a")
    assert one == await fingerprint(characters, model="b")
    assert one == await fingerprint(characters, owner="vllm")
    assert one != await fingerprint(words)
    nothing = await fingerprint(lambda text: [], model="a")
    assert nothing != await fingerprint(lambda text: [], model="b")  # no telling: by its name


async def test_where_the_server_does_not_tokenize_the_models_name_stands_for_the_tokenizer() -> None:
    assert await fingerprint(None, owner="openai", model="a") == await fingerprint(words, owner="openai", model="a")
    assert await fingerprint(None, owner="openai", model="a") != await fingerprint(None, owner="openai", model="b")


async def test_an_upstream_that_cannot_be_used_is_an_error() -> None:
    for server in (Server(http.ConnectError("nobody")), Server(refusal(401))):
        async with upstream(server) as calling:
            with pytest.raises(UpstreamError):
                await probe(calling, "fake", run="run_1")
    async with upstream(Server(refusal(500)), settings=Settings(call_retries=0)) as calling:
        with pytest.raises(ModelError):
            await probe(calling, "fake", run="run_1")


async def test_a_resumed_run_takes_the_upstream_for_what_it_was() -> None:
    journal = MemoryJournal()
    async with upstream(ScriptedModel(rejecting, owner="llamacpp").app, journal=journal) as first:
        backend = await probe(first, "fake", run="run_1")
    async with upstream(Server(http.ConnectError("gone")), journal=journal) as resumed:
        assert await probe(resumed, "fake", run="run_1") == backend
        assert resumed.dropped == first.dropped
    assert len(journal.kept) == 6


# What else is measured

WORDS = "Invalid type for 'logit_bias.4': expected an integer, but got a decimal number instead."


async def test_biases_that_must_be_whole_are_said_to_be() -> None:
    def script(body: ChatBody) -> Answer:
        fractions = [bias for bias in (body.get("logit_bias") or {}).values() if isinstance(bias, float)]
        return Answer(WORDS, status=400, param="logit_bias.4") if fractions else POLICY(body)

    assert await found(script) == replace(FULL, fractional=False)


@pytest.mark.parametrize(("status", "words"), [(400, "System role not supported"), (500, "Jinja Exception: no system")])
async def test_a_model_without_a_system_role_is_said_to_have_none(status: int, words: str) -> None:
    def script(body: ChatBody) -> Answer:
        system = any(message["role"] == "system" for message in body["messages"])
        return Answer(words, status=status) if system else POLICY(body)

    assert await found(script) == replace(FULL, system_role="rejected")


async def test_models_that_refuse_tiny_limits_are_measured_too() -> None:
    def script(body: ChatBody) -> Answer:
        small = body["max_tokens"] < 16
        return Answer("Invalid 'max_tokens': integer below minimum value", status=400) if small else POLICY(body)

    assert await found(script) == FULL


async def test_where_vllm_names_tokens_by_their_ids_no_tokenizer_is_needed() -> None:
    def script(body: ChatBody) -> Answer:
        said = POLICY(body)
        if not body.get("return_tokens_as_token_ids"):
            return without_ids(body)
        assert said.logprobs
        sampled, *_ = said.logprobs
        others = [by_id(each, each["id"]) for each in sampled["top_logprobs"]]
        return replace(
            said, logprobs=[{**by_id(sampled, sampled["id"]), "bytes": sampled["bytes"], "top_logprobs": others}]
        )

    def by_id(entry: Mapping[str, JSON], token: int) -> dict[str, JSON]:
        name = f"token_id:{token}"
        return {"token": name, "bytes": list(name.encode()), "logprob": entry["logprob"]}

    model = ScriptedModel(script, owner="vllm", tokenizer=lambda text: [], detokenizer=POLICY.words.__getitem__)
    async with upstream(model.app) as calling:
        backend = replace(await probe(calling, "fake", run="run_1"), tokenizer="")
        assert backend == replace(FULL, kind="vllm", id_names=True)
        reply = await calling({**model.requests[0], "top_logprobs": 5}, CallKey("", "rollout"))
    assert reply.trace is not None
    assert reply.trace.pieces == {token: word.encode() for token, word in enumerate(POLICY.words)}


def test_only_a_date_is_one() -> None:
    told = ["2027-01-14", "2027-01-14T00:00:00Z", "soon", "2027-13-01", None, 3]
    assert [shutdown_day(one) for one in told] == ["2027-01-14", "2027-01-14", "", "", "", ""]
