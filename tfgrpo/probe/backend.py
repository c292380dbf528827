"""The probe: a few short calls that measure what an upstream honours of what learning asks of it; and a prior made fit
for what was found.

A token prior's tokens are found again in the upstream's tokenizer, and it goes whole or not at all: of a map that keeps
some of its tokens and loses others nobody has measured what it does.
"""

import asyncio
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal, TypeAlias

from ..errors import InputError, ModelError, UpstreamError
from ..hashing import content_id
from ..model.replies import are_samples
from ..model.tokenizer import (
    TELLING_TEXT,
    encoding_name,
    fingerprint,
    is_special,
    tiktoken_fingerprint,
    tiktoken_tokenizer,
)
from ..model.upstream import Upstream
from ..observer import Observer
from ..records import JSON, Backend, CallKey, ChatBody, Frame, Message, Prior, Reply, TokenTrace
from ..rollouts.executor import sampling, telling
from ..settings import LISTED_FOR_LABELS, MOST_LISTED
from ..surfaces.surface import way_of
from ..text import counted, shortened

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_PROMPT = "Name a colour."
_RULE: Message = {"role": "system", "content": "Reply in English."}
"""To see whether the model's template knows a system role."""
_LISTED = 5
"""Alternatives asked for at each token."""
_REFUSING = (400, 413, 422, 500)
"""Statuses by which a chat template's refusal is told; llama.cpp tells it by the last."""
SHORT = 16
"""Tokens of an answer: the fewest that every model takes as a limit."""
_COLD = 0.5
"""The temperature at which reported log-probabilities are compared with those at 1."""
_FORCE = 99.5
"""A bias under which a token is sampled for certain, where biases are honoured; some take whole numbers alone."""
_ANY = {"100": -1.5}
"""A bias that any tokenizer has a token for, to see whether it is refused where no token can be named."""
_WORDS = ("The", "But", "If", "No")
"""Words that no one answers with, to be forced where no log-probabilities tell of other tokens."""

Honoured: TypeAlias = Literal["honoured", "rejected", "inert", "unknown"]
"""Whether a parameter does what it says; inert: it is taken and changes nothing."""


@dataclass(frozen=True, slots=True)
class _Target:
    """A token to force, and what an answer that begins with it begins with."""

    token: int
    piece: bytes


async def probe(upstream: Upstream, model: str, *, run: str) -> Backend:
    """What serves the model, by a few short calls: what a system message, temperature and a forcing bias do to them.

    Where biases do nothing and log-probabilities come, it is also tried how many come with a token: labels are decided
    by them.
    Where tokens come without ids and the model is one of OpenAI's, `upstream` is given tiktoken's tokenizer. Raises
    UpstreamError when the upstream cannot be used at all, ModelError when it does not answer the plain call, InputError
    when its tokenizer, which the user named, is not the model's.
    """
    backend = await _with_tokenizer(upstream, await in_list(upstream, model, run), model)

    async def ask(sample: int, **more: JSON) -> Reply:
        return await upstream({**plain_question(backend, model), **more}, CallKey(run, "probe", sample=sample))

    backend = replace(backend, id_names=backend.kind == "vllm" and upstream.tokenizer is None)
    try:
        plain = await ask(0)
        backend = replace(backend, system_role="honoured")
    except ModelError as error:
        if isinstance(error, UpstreamError) or error.status not in _REFUSING:
            raise
        backend = replace(backend, system_role="rejected")
        plain = await ask(3)
    by_id = backend.id_names and plain.trace is not None
    backend = replace(backend, id_names=by_id, tokenizer=await _fingerprint(upstream, backend, model, run))
    listed = _unlikely(plain.trace)
    target = listed or await _word(upstream, backend, model, run, plain.text)
    if target is None:
        with suppress(ModelError, UpstreamError):  # a call that fails for another reason tells nothing
            await ask(2, logit_bias=_ANY)
        return replace(backend, logit_bias="rejected") if "logit_bias" in upstream.dropped else backend
    cold = await ask(1, temperature=_COLD) if listed else plain
    forced = await ask(2, logit_bias={str(target.token): _FORCE})
    backend = replace(backend, logit_bias=_honoured(upstream, forced, target))
    if backend.logit_bias == "honoured":
        backend = replace(backend, fractional=not upstream.adapted.whole)
    if not listed:
        return backend
    backend = _with_logprobs(backend, target, plain, cold, forced)
    if backend.logit_bias == "honoured":
        return backend
    return replace(backend, alternatives=await listed_at_most(upstream, backend, model, run=run))


def plain_question(backend: Backend, model: str) -> ChatBody:
    """The request that all others of the probe are variations of."""
    leading = [_RULE] if backend.system_role != "rejected" else []
    return {
        "model": model,
        "messages": [*leading, {"role": "user", "content": _PROMPT}],
        "max_tokens": SHORT,
        **sampling(Frame(model, temperature=1.0), backend, seed=1),
        **telling(backend, _LISTED),
    }


def _with_logprobs(backend: Backend, target: _Target, plain: Reply, cold: Reply, forced: Reply) -> Backend:
    """The backend with what its log-probabilities are, at another temperature and with a token forced."""
    before, after = first_listed(plain.trace), first_listed(forced.trace)
    return replace(
        backend,
        token_ids=True,
        logprobs=True,
        includes_bias=after.get(target.token, -math.inf) > before[target.token] / 2,
        includes_temperature=_scaled(before, first_listed(cold.trace)),
    )


async def listed_at_most(upstream: Upstream, backend: Backend, model: str, *, run: str) -> int:
    """The alternatives that come with a token where MOST_LISTED are asked for, or fewer if so many are refused.

    What is refused here is not held against later requests, which ask for no more than was listed.
    """
    for asked in (MOST_LISTED, MOST_LISTED // 2, LISTED_FOR_LABELS, _LISTED):
        body = {**plain_question(backend, model), **telling(backend, asked)}
        with upstream.adapted.trying():
            try:
                reply = await upstream(body, CallKey(run, "probe listed", sample=asked))
            except UpstreamError:
                raise
            except ModelError:
                continue
        if listed := first_listed(reply.trace):
            told, *_ = listed  # what was sampled, which is listed besides where it is none of the likeliest
            if count := len(listed) - (told == min(listed, key=listed.__getitem__)):
                return count
    return 0


async def with_alternatives(upstream: Upstream, backend: Backend, model: str, *, run: str) -> Backend:
    """The backend with how many alternatives come, where that is not known; of llama.cpp as many as are asked for."""
    if backend.alternatives or backend.kind == "llama.cpp" or not backend.logprobs:
        return backend
    return replace(backend, alternatives=await listed_at_most(upstream, backend, model, run=run))


MOST_PROBED = 13
"""Of everything here that is asked before the first rollout, at most."""
_TOGETHER = 4
"""Answers asked for in one request, to see whether they differ."""


async def sees_several(upstream: Upstream, frame: Frame, backend: Backend, *, run: str) -> bool:
    """Whether one request for several answers (`n`) gives as many samples, each with the log-probabilities of its own.

    From then on the upstream asks so for rollouts that are asked alike.
    """
    body: ChatBody = {
        "model": frame.model,
        "messages": [{"role": "user", "content": _PROMPT}],
        "max_tokens": SHORT,
        **sampling(replace(frame, temperature=1.0), backend, seed=1),
        **(telling(backend, _LISTED) if backend.logprobs else {}),
        "n": _TOGETHER,
    }
    try:
        response, reply = await upstream.exchange(body, CallKey(run, "probe", sample=_TOGETHER))
    except ModelError as error:
        if isinstance(error, UpstreamError):
            raise
        return False
    upstream.several = reply.choices == _TOGETHER and are_samples(response)
    return upstream.several


async def recognised(upstream: Upstream, model: str) -> Backend:
    """What serves the model, by its list of models alone, so that its hidden samplers can be switched off.

    For a call outside of any run. Nothing is measured: a prior was learned there, so its biases are taken to be
    honoured.
    """
    return replace(await in_list(upstream, model, run=""), logit_bias="honoured")


async def _with_tokenizer(upstream: Upstream, backend: Backend, model: str) -> Backend:
    """The backend with its tokenizer's fingerprint.

    The upstream is given tiktoken's tokenizer where that is the model's; the backend says why where it cannot be had.
    """
    name = encoding_name(model) if upstream.tokenizer is None and backend.kind == "other" else None
    if name is None:
        return replace(backend, tokenizer=upstream.tokenizer.fingerprint if upstream.tokenizer else "")
    backend = replace(backend, tokenizer=tiktoken_fingerprint(name))
    try:
        upstream.tokenizer = await asyncio.to_thread(tiktoken_tokenizer, name)
    except InputError as error:  # experiences can be learned all the same
        return replace(backend, lacking=str(error))
    return backend


async def in_list(upstream: Upstream, model: str, run: str) -> Backend:
    """What the list of models tells: the server's software, by who owns the model, and when the model leaves.

    A model that is not listed by its name may be any of them, as on llama.cpp.
    """
    return listed_as(await upstream.get("/models", CallKey(run, "probe /models")), model)


def listed_as(answer: JSON, model: str) -> Backend:
    """What a list of models tells of one."""
    data = answer.get("data") if isinstance(answer, Mapping) else None
    models = [entry for entry in data if isinstance(entry, Mapping)] if isinstance(data, list) else []
    named = [entry for entry in models if entry.get("id") == model]
    owners = [entry.get("owned_by") for entry in named or models]
    kind: Literal["llama.cpp", "vllm", "other"]
    kind = "llama.cpp" if "llamacpp" in owners else "vllm" if "vllm" in owners else "other"
    only = named[0] if named else models[0] if len(models) == 1 else {}
    return Backend(kind, shutdown_date=shutdown_day(only.get("shutdown_date") if named else None), context=_room(only))


def _room(entry: Mapping[str, JSON]) -> int:
    """Tokens of a prompt and its answer, as an entry of a list of models tells them; 0: it does not."""
    meta = entry.get("meta")
    told = [meta.get("n_ctx")] if isinstance(meta, Mapping) else []  # llama.cpp
    told += [entry.get(name) for name in ("max_model_len", "context_length", "max_context_length")]
    return next((one for one in told if isinstance(one, int) and one > 0), 0)


async def _fingerprint(upstream: Upstream, backend: Backend, model: str, run: str) -> str:
    """The tokenizer's, by the ids of TELLING_TEXT where the server tokenizes; else that of ours, else by the model."""
    served = await tokenize(upstream, backend, model, CallKey(run, "probe /tokenize"), TELLING_TEXT)
    if not served:
        return backend.tokenizer or content_id("tokenizer", "model", model)
    if backend.tokenizer not in ("", fingerprint(served)):
        raise InputError(f"the tokenizer given is not that of {model}: {upstream.name} splits text in another way")
    return fingerprint(served)


async def tokenize(upstream: Upstream, backend: Backend, model: str, key: CallKey, text: str) -> list[int]:
    """The ids of a text by the server's own tokenizer; empty where it has no route for that."""
    if backend.kind == "other":
        return []
    field = "content" if backend.kind == "llama.cpp" else "prompt"
    answer = await upstream.post("/tokenize", {field: text, "model": model, "add_special_tokens": False}, key)
    tokens = answer.get("tokens") if isinstance(answer, Mapping) else None
    whole = isinstance(tokens, list) and all(isinstance(token, int) for token in tokens)
    return list(tokens) if whole and tokens else []


async def _word(upstream: Upstream, backend: Backend, model: str, run: str, plain: str) -> _Target | None:
    """A word of one token that the plain answer does not begin with, and whose id our tokenizer or the server knows."""
    for place, word in enumerate(_WORDS, 1):
        if plain.strip().startswith(word):
            continue
        if upstream.tokenizer:
            token = upstream.tokenizer.id_of(word.encode())
        else:
            ids = await tokenize(upstream, backend, model, CallKey(run, "probe /tokenize", sample=place), word)
            token = ids[0] if len(ids) == 1 else None
        if token is not None:
            return _Target(token, word.encode())
    return None


def first_listed(trace: TokenTrace | None) -> dict[int, float]:
    """The log-probabilities that were given at the first position, the sampled token's first."""
    if trace is None:
        return {}
    pairs = zip(trace.ids[0].tolist(), trace.logprobs[0].tolist(), strict=True)
    return {token: logprob for token, logprob in pairs if math.isfinite(logprob)}


def _unlikely(trace: TokenTrace | None) -> _Target | None:
    """The least likely token listed that was not sampled, so that forcing it shows; one that leaves a text."""
    if trace is None:
        return None
    listed = first_listed(trace)
    others = [token for token in listed if token != trace.ids[0, 0] and not is_special(trace.pieces[token])]
    least = min(others, key=lambda token: (listed[token], token), default=None)
    return None if least is None else _Target(least, trace.pieces[least])


def _honoured(upstream: Upstream, forced: Reply, target: _Target) -> Honoured:
    """Whether the forced token came, by its id where it has one, else by the text."""
    if "logit_bias" in upstream.dropped:
        return "rejected"
    if forced.trace is not None:
        return "honoured" if int(forced.trace.ids[0, 0]) == target.token else "inert"
    wanted, said = target.piece.decode(errors="replace").strip(), forced.text.strip()
    if not (wanted and said):
        return "unknown"
    return "honoured" if said.startswith(wanted) else "inert"


def _scaled(plain: Mapping[int, float], cold: Mapping[int, float]) -> bool:
    """Whether the widest gap between two tokens' log-probabilities grew with 1 / T."""
    shared = sorted(plain.keys() & cold.keys(), key=lambda token: (plain[token], token))
    if len(shared) < 2:
        return False
    one = plain[shared[-1]] - plain[shared[0]]
    other = cold[shared[-1]] - cold[shared[0]]
    return abs(other - one / _COLD) < abs(other - one)


_NAMED = 3
"""Tokens that a message names, at most."""


async def fitted(
    prior: Prior, upstream: Upstream, backend: Backend, model: str, *, run: str
) -> tuple[Prior, str | None]:
    """The prior with the token ids of the upstream's tokenizer, and what a person should know where it has changed.

    Each token's bytes must be a single, ordinary token there, by our tokenizer or the server's own; experiences stay as
    they are. The calls are journalled under `run`.
    """
    acts = backend.logit_bias == "honoured" or (backend.logit_bias != "unknown" and backend.logprobs)
    if not prior.biases or prior.tokenizer == backend.tokenizer or not acts:
        return prior, None
    moved, lost = [], []
    for place, entry in enumerate(prior.biases):
        token = await _token(entry.piece, upstream, backend, model, CallKey(run, "probe /tokenize piece", sample=place))
        if token is None:
            lost.append(shortened(repr(entry.piece.decode("utf-8", "backslashreplace"))))
        else:
            moved.append(replace(entry, token=token))
    if lost or len({entry.token for entry in moved}) < len(moved):
        named = ", ".join(lost[:_NAMED]) + (", ..." if len(lost) > _NAMED else "")
        why = f"{named} cannot be found as single tokens there" if lost else "its tokens are not told apart there"
        return replace(prior, biases=(), tokenizer=None), (
            f"the token prior belongs to another tokenizer than that of {upstream.name}, and is left out: {why}"
        )
    told = (
        f"the token prior was learned with another tokenizer; {counted(len(moved), 'token')} resolved anew by the bytes"
    )
    return replace(prior, biases=tuple(moved), tokenizer=backend.tokenizer), told


def usable(prior: Prior, backend: Backend, upstream: Upstream, observer: Observer, labels: Sequence[str] = ()) -> Prior:
    """The prior, less a token prior that cannot act here, or has other ids than this upstream; the observer is told.

    Where biases are not honoured, it acts on answers that are `labels`, if log-probabilities come.
    """
    if not prior.biases:
        return prior
    if way_of(backend, labels) == "re-decide":
        if prior.tokenizer == backend.tokenizer:
            return prior
        observer.note(f"token prior left out: it belongs to another tokenizer than that of {upstream.name}")
    elif backend.logit_bias == "unknown":
        why = f"; {backend.lacking}" if backend.lacking else ""
        observer.note(f"token prior left out: {upstream.name} could not be seen to honour logit_bias{why}")
    elif backend.logit_bias != "honoured":
        observer.note(f"token prior left out: {upstream.name} does not honour logit_bias ({backend.logit_bias})")
    elif prior.tokenizer != backend.tokenizer:
        observer.note(f"token prior left out: it belongs to another tokenizer than that of {upstream.name}")
    else:
        return prior
    return replace(prior, biases=(), tokenizer=None)


async def _token(piece: bytes, upstream: Upstream, backend: Backend, model: str, key: CallKey) -> int | None:
    """The id of the one token with these bytes; None where there is none, or no way to ask."""
    if is_special(piece):
        return None
    if upstream.tokenizer:
        return upstream.tokenizer.id_of(piece)
    try:
        text = piece.decode()
    except UnicodeDecodeError:
        return None
    ids = await tokenize(upstream, backend, model, key, text)
    return ids[0] if len(ids) == 1 else None


def shutdown_day(told: object) -> str:
    """The day in a model's `shutdown_date`, as ISO 8601; empty where there is none."""
    found = _DATE.match(told) if isinstance(told, str) else None
    try:
        return date.fromisoformat(found[0]).isoformat() if found else ""
    except ValueError:
        return ""
