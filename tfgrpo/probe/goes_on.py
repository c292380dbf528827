"""How an upstream goes on with an answer that it is given the beginning of: tried way by way, until one does.

The answer so far ends within a word. Who goes on ends the word, with no blank before it; who answers anew begins anew.
It is longer than the new text may be, so that an upstream that says it again and goes on (llama.cpp) is told
from a model that answers anew with the same words: that one gets no farther than where it began. What stays open:
whether a model goes on by itself, in a turn of its own; then it goes on all the same.
"""

from collections.abc import Generator
from dataclasses import replace
from typing import Any

from ..errors import ModelError, UpstreamError
from ..hashing import content_id
from ..model.upstream import Upstream
from ..records import Backend, CallKey, ChatBody, Frame, GoesOn, Message, Reply
from ..rollouts.bounded import answer_to
from ..rollouts.chunk_answers import ChunkSaid, reasoned
from ..rollouts.executor import LIMITS, sampling
from ..rollouts.ways_on import AS_TEXT, CHAT, WAYS_ON, ChunkRequest, added, steps_on, way_on
from .backend import SHORT

_QUESTION: Message = {"role": "user", "content": "Name the days of the week."}
_SAID = "These are the days of the week, one after the other, in their order, with a comma between them: "
_BEGUN = (f"{_SAID}Monday, Tuesday, Wednesday, Thursday, Friday, Satur", f"{_SAID}Monday, Tuesday, Wednesday, Thurs")
"""Each more than SHORT tokens."""
_NEXT = "day"
"""What goes on with either; small models say `days`."""
MOST_TRIED = 1 + len(_BEGUN) * len(WAYS_ON)
"""Calls that trying takes, at most; templates come besides."""


def tried(
    body: ChatBody, backend: Backend, *, first: ChunkSaid | None = None, templates: bool = True
) -> Generator[ChunkRequest, Any, GoesOn]:
    """The requests, each answered by its `ChunkSaid`, None where it is refused, an aside by its JSON; the way found.

    `body` is a request whose messages do not matter. `first`: an answer of the model that is there already; it says
    whether the model reasons out of sight, and then nothing is tried: what it writes is not what it would go on from.
    Pure.
    """
    said = first or (yield ChunkRequest(CHAT, {**body, "messages": [_QUESTION]}))
    if said is None or said.reasoned or not said.text:
        return AS_TEXT
    known = way_on(replace(backend, goes_on=""))
    for name in sorted(WAYS_ON, key=lambda one: one != known):
        if (templates or not WAYS_ON[name].template) and (yield from _goes_on(body, replace(backend, goes_on=name))):
            return name
    return AS_TEXT


def _goes_on(body: ChatBody, backend: Backend) -> Generator[ChunkRequest, Any, bool]:
    for work in _BEGUN:
        try:
            asked = yield from steps_on({**body, "messages": [_QUESTION]}, work, backend, work)
        except ModelError:  # there is no template to be had
            return False
        said = yield asked
        if said is None or said.reasoned or not added(said.text or "", work, backend).startswith(_NEXT):
            return False
    return True


async def with_way_on(upstream: Upstream, backend: Backend, frame: Frame, *, run: str) -> Backend:
    """The backend with how it goes on with an answer to such requests; journalled as the probe is.

    Raises UpstreamError.
    """
    asked = {name: value for name, value in frame.request.items() if name not in LIMITS}
    cold = sampling(replace(frame, temperature=0.0), backend, seed=1)
    steps = tried({"model": frame.model, **asked, **cold, "max_tokens": SHORT}, backend)
    told = None
    while True:
        try:
            asked = steps.send(told)
        except StopIteration as done:
            return replace(backend, goes_on=done.value)
        number = int(content_id("trial", asked.route, asked.body)[-7:], 16)  # whatever was refused before it
        told = await _told(upstream, asked, CallKey(run, "probe goes on", sample=number))


async def _told(upstream: Upstream, asked: ChunkRequest, key: CallKey) -> Any:
    try:
        found = await answer_to(upstream, asked, key)
    except ModelError as error:
        if isinstance(error, UpstreamError) and (asked.route, asked.body.get("messages")) == (CHAT, [_QUESTION]):
            raise  # later ones an upstream that is there refuses for their form, by 403 or 404 too
        return None
    if not isinstance(found, Reply):
        return found
    return ChunkSaid(found.text, found.finish_reason, reasoned=reasoned(found.message))
