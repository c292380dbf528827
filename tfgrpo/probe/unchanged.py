"""Whether an upstream still is what a run began with, asked where a trial of the gate goes on.

A run that is resumed takes the answers of its probe from the journal, on another port too. Evidence of two models is
about neither: so before the gate adds to what it has, the upstream is looked at once more, by nothing that is kept.
"""

import json
from collections.abc import Mapping
from math import isfinite

from ..hashing import content_id
from ..model.tokenizer import TELLING_TEXT
from ..model.upstream import Upstream
from ..records import Backend, CallKey, Reply
from .backend import first_listed, listed_as, plain_question, tokenize

_APART = 0.25
"""Mean difference of log-probabilities where an answer begins; what batches and threads do to them is a tenth."""
_FEWEST = 3
"""Tokens that both list, for their probabilities to be held against each other."""


async def what_changed(upstream: Upstream, backend: Backend, model: str, run: str) -> str:
    """How what answers now differs from what answered the run's probe; empty where nothing shows.

    Told by the server's software, its tokenizer, the model that an answer names, and the log-probabilities of the
    probe's plain question where they are given. A route that was silent then, or is now, tells nothing. One call is
    made, and not journalled. Raises as a call does.
    """
    lists = [await upstream.get("/models", CallKey(of, "probe /models")) for of in (run, "")]
    kind, was = (listed_as(one, model).kind for one in reversed(lists))
    if kind != was and None not in lists:
        return f"it is served by other software ({kind}, and was {was})"
    key = CallKey(run, "probe /tokenize")
    ids = [await tokenize(upstream, backend, model, one, TELLING_TEXT) for one in (key, CallKey("", key.stage))]
    if all(ids) and ids[0] != ids[1]:
        return "its tokenizer is another"
    body, sample = plain_question(backend, model), 3 if backend.system_role == "rejected" else 0
    first = await upstream.replay(CallKey(run, "probe", sample=sample), content_id("request", body))
    return _told_apart(first, await upstream.exchange(body, CallKey("", "probe"))) if first else ""


def _told_apart(then: tuple[str, Reply], now: tuple[str, Reply]) -> str:
    """What two answers to one question show; they are responses, and how these read."""
    named, names = _named(then[0]), _named(now[0])
    if named != names:
        return f"{names or 'a model without a name'} answers, and {named or 'one without a name'} did"
    before, after = (
        {token: log for token, log in first_listed(one[1].trace).items() if isfinite(log)} for one in (then, now)
    )
    shared = before.keys() & after.keys()
    if min(len(before), len(after)) < _FEWEST:
        return ""
    apart = sum(abs(before[token] - after[token]) for token in shared) / max(1, len(shared))
    return "it answers the same question with other probabilities" if len(shared) < _FEWEST or apart > _APART else ""


def _named(response: str) -> str:
    """The model that a response names."""
    told = json.loads(response)
    named = told.get("model") if isinstance(told, Mapping) else None
    return named if isinstance(named, str) else ""
