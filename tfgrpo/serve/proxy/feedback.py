"""Feedback on calls, taken by the proxy: what one call was worth, or what would have been right, an object or a list.

Of each it is known which namespace, prior and variant the call had: from memory for the latest calls, else from the
store. Nothing is taken on a call that nobody knows, nor from a key that is not for its namespace.
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass

import orjson

from ...errors import StoreError
from ...hashing import canonical
from ...records import JSON
from ...store import AccessKey, Feedback, Store, StorePath
from ...store.opened import store_exists
from ...text import shortened
from ..feedback_labels import LONGEST_LABEL, is_label
from .asgi import Caller, Left, Receive, Send, TooLong, error_body, respond
from .call import Works
from .door import Refusal
from .head import Head, identified
from .record import Traffic
from .remembered import Known

FEEDBACK_PATH = "/tfgrpo/v1/feedback"
_MOST_BYTES, _MOST = 2**20, 1_000
_EXAMPLE = '{"inference_id": "inf_...", "reward": 1}'
_FIELDS = ("inference_id", "inference", "reward", "label", "comment", "new_label")
_LONGEST_ID, _LONGEST_TEXT = 200, 10_000
_AT_ONCE, _HEARD_AT_ONCE = 100, 1_000
"""Callers whose feedback is looked up, and from whom it is being read: slow ones must not keep the others out."""
_READ_SECONDS = 10.0
_OTHERS_SECONDS, _TRIES = 1.0, 4
"""Until what another worker, or another proxy at the same store, has answered must be there."""
_WAITING, _WAITING_OF_A_KEY = 100, 20
"""Callers who wait for that, in all and with one key: who makes ids up is told at once, and keeps nobody out."""
_TIMES, _TIMES_OF = 10, 5_000
"""How often feedback is taken on one call, of the latest that it was given on: all is kept, and the last counts."""
_OURS = re.compile(r"inf_[0-9a-f]{32}")
_OFTEN = Refusal(
    429, "said_often", f"feedback on this call was given {_TIMES} times by now; the last one counts", "rate_limit_error"
)
_BUSY = Refusal(503, "too_busy", "too much feedback waits; try again", "rate_limit_error")
_NEW = 'for one that is right and new add "new_label": true'
_LABELS_SECONDS = 60.0
"""How long the labels that tasks of a namespace have are taken for known."""


@dataclass(frozen=True, slots=True)
class GivenFeedback:
    """One piece of feedback as it was given, read and in range."""

    inference: str
    reward: float | None
    label: JSON
    comment: str
    new_label: bool = False
    """Whether the label may be one that no task knows yet."""


class FeedbackDesk:
    """Takes feedback."""

    def __init__(self, works: Works, traffic: Traffic, path: StorePath) -> None:
        self._works, self._traffic, self._path = works, traffic, path
        self._labels: dict[str, tuple[float, frozenset[str]]] = {}
        self._at_once = self._heard = 0
        self._waiting: Counter[str] = Counter()
        """Who waits for what others have answered, by the id of their key."""
        self._times: dict[str, int] = {}
        """How often feedback was taken, by call; the latest last."""

    async def answer(self, head: Head, receive: Receive, send: Send) -> None:
        """Take what a caller has to say, and tell what became of it: 200 where anything was taken."""
        if self._heard >= _HEARD_AT_ONCE:
            return await self._refuse(send, _BUSY)
        self._heard += 1
        try:
            given = await self._read(head, receive)
        except Left:
            return
        finally:
            self._heard -= 1
        if isinstance(given, Refusal) or self._at_once >= _AT_ONCE:
            return await self._refuse(send, given if isinstance(given, Refusal) else _BUSY)
        self._at_once += 1
        try:
            found = await self._all_taken(*given)
        finally:
            self._at_once -= 1
        refused = [(place, one) for place, one in enumerate(found, 1) if isinstance(one, Refusal)]
        if len(refused) == len(found):
            return await self._refuse(send, refused[0][1])
        told: dict[str, JSON] = {"taken": len(found) - len(refused)}
        if refused:
            told["refused"] = [{"item": place, "code": one.code, "message": one.message} for place, one in refused]
        await respond(send, 200, told)

    async def _read(self, head: Head, receive: Receive) -> "tuple[Sequence[JSON], AccessKey | None] | Refusal":
        if head.method != "POST":
            return Refusal(405, "method_not_allowed", f"feedback is given by POST {FEEDBACK_PATH}")
        key = identified(head, self._works.door, self._works.shelf.held)
        if isinstance(key, Refusal):
            return key
        items = await _items(receive)
        return items if isinstance(items, Refusal) else (items, key)

    async def _all_taken(self, items: Sequence[JSON], key: AccessKey | None) -> list[Refusal | None]:
        """What became of each: why it was not taken."""
        read = [read_item(item) for item in items]
        named = {one.inference for one in read if isinstance(one, GivenFeedback)}
        known = {one: found for one in named if (found := self._traffic.latest.get(one))}
        missing: Refusal | None
        try:
            stored, missing = await self._stored(named - known.keys(), key)
            known |= stored
        except StoreError:
            told = "the store cannot be read now, and this call is not a recent one"
            missing = Refusal(503, "store_unreadable", told)
        return [
            one
            if isinstance(one, Refusal)
            else await self._taken(one, known[one.inference], key)
            if one.inference in known
            else missing or self._unknown(one.inference)
            for one in read
        ]

    async def _taken(self, said: GivenFeedback, known: Known, key: AccessKey | None) -> Refusal | None:
        if key and not key.admin and key.namespace not in (None, known.namespace):
            return Refusal(403, "namespace_not_allowed", "this key is not for the namespace of that call")
        if not said.new_label and (refusal := await self._unknown_label(known.namespace, said.label)):
            return refusal
        given = Feedback(
            said.inference, known.namespace, known.prior, known.variant, said.reward, said.comment, said.label
        )
        times = self._times.pop(said.inference, 0)
        refused = _OFTEN if times >= _TIMES else None if self._traffic.add(given) else _BUSY
        self._times[said.inference] = times + (refused is None)
        if len(self._times) > _TIMES_OF:
            del self._times[next(iter(self._times))]
        return refused

    async def _stored(self, named: AbstractSet[str], key: AccessKey | None) -> tuple[dict[str, Known], Refusal | None]:
        """Calls that are not among the latest here, from the store: another worker, and another proxy, writes its own
        within a second. And why the others were not waited for, where that is so."""
        recording = self._traffic.recording
        found = await asyncio.to_thread(self._looked_up, named) if named else {}
        young = {one for one in named - found.keys() if _OURS.fullmatch(one)}
        if not young or recording.share is None or recording.to is not None:
            return found, None
        with self._waits(key) as may:
            for _ in range(_TRIES if may else 0):
                await asyncio.sleep(_OTHERS_SECONDS)
                found |= await asyncio.to_thread(self._looked_up, young)
                young -= found.keys()
                if not young:
                    break
        return found, None if may else _BUSY

    @contextmanager
    def _waits(self, key: AccessKey | None) -> Iterator[bool]:
        """A caller waits, and has no place among those whose feedback is looked up; False: too many wait already."""
        who, most = (key.id, _WAITING_OF_A_KEY) if key else ("", _WAITING)
        if self._waiting.total() >= _WAITING or self._waiting[who] >= most:
            yield False
            return
        self._waiting[who] += 1
        self._at_once -= 1
        try:
            yield True
        finally:
            self._at_once += 1
            self._waiting -= Counter([who])

    def _looked_up(self, named: AbstractSet[str]) -> dict[str, Known]:
        if not store_exists(self._path):  # nothing was written yet
            return {}
        with Store(self._path, create=False) as store:
            found = store.calls_by_id(named)
        return {one.id: Known(one.namespace, one.prior, one.variant) for one in found}

    def _unknown(self, inference: str) -> Refusal:
        recorded = self._traffic.recording.share is not None
        why = "is older than what is kept" if recorded else "is not among the latest (--record 0 keeps what each was)"
        told = f"no call {shortened(inference, 60)} is known: it was never made here, or {why}"
        return Refusal(404, "unknown_inference", told)

    async def _unknown_label(self, namespace: str, label: JSON) -> Refusal | None:
        """Why a label cannot be right: the tasks of the namespace have few answers, and it is none of them."""
        if label is None:
            return None
        at, known = self._labels.get(namespace, (0.0, frozenset[str]()))
        if time.monotonic() - at > _LABELS_SECONDS:
            known = await asyncio.to_thread(self._known_labels, namespace)
            self._labels[namespace] = time.monotonic(), known
        if not known or _form(label) in known:
            return None
        some = shortened(", ".join(sorted(known)), 200)
        return Refusal(
            422, "unknown_label", f"no task of namespace {namespace!r} knows this label; they know {some}; {_NEW}"
        )

    def _known_labels(self, namespace: str) -> frozenset[str]:
        try:
            with Store(self._path, create=False) as store:
                return frozenset(map(_form, store.few_answers(namespace)))
        except StoreError:
            return frozenset()

    async def _refuse(self, send: Send, refusal: Refusal) -> None:
        self._works.metrics.refused(refusal.code)
        await respond(send, refusal.status, error_body(refusal.kind, refusal.code, refusal.message), refusal.lines)


async def _items(receive: Receive) -> Sequence[JSON] | Refusal:
    """What a caller sends, as a list; raises Left when they leave."""
    try:
        async with asyncio.timeout(_READ_SECONDS):
            content = await Caller(receive, _MOST_BYTES).whole(_MOST_BYTES) or b""
    except TimeoutError:
        return Refusal(408, "too_slow", f"feedback has to be here within {_READ_SECONDS:.0f} s")
    except TooLong:
        return Refusal(413, "request_too_large", f"feedback is at most {_MOST_BYTES:,} bytes at once")
    try:
        given = orjson.loads(content)
    except orjson.JSONDecodeError:
        return Refusal(400, "bad_feedback", f"the body is no JSON; it looks like {_EXAMPLE}")
    items = given if isinstance(given, list) else [given]
    if 1 <= len(items) <= _MOST:
        return items
    return Refusal(400, "bad_feedback", f"a list of feedback has from 1 to {_MOST:,} items, and this {len(items):,}")


def read_item(item: JSON) -> GivenFeedback | Refusal:
    """One piece of feedback; or what is wrong with it."""
    if fault := next(_faults(item), None):
        return Refusal(400, "bad_feedback", fault)
    reward, comment = item.get("reward"), item.get("comment")
    named = str(item.get("inference_id", item.get("inference"))).strip()
    said = (comment or "").replace("\0", "")
    return GivenFeedback(
        named, None if reward is None else float(reward), item.get("label"), said, item.get("new_label") is True
    )


def _faults(item: JSON) -> Iterator[str]:
    """What is wrong with a piece of feedback, the worst first."""
    if not isinstance(item, Mapping):
        yield f"feedback is an object, such as {_EXAMPLE}"
        return
    if unknown := sorted(set(item) - {*_FIELDS}):
        yield f"feedback has no field {shortened(unknown[0], 60)!r}; it has {', '.join(_FIELDS)}"
    named, reward, label = item.get("inference_id", item.get("inference")), item.get("reward"), item.get("label")
    if not (isinstance(named, str) and 0 < len(named.strip()) <= _LONGEST_ID):
        yield "inference_id must be the id of a call, as the header x-tfgrpo-inference-id of its answer tells it"
    comment = item.get("comment")
    if not isinstance(comment, str | None) or len(comment or "") > _LONGEST_TEXT:
        yield f"the comment must be a text of at most {_LONGEST_TEXT:,} characters"
    if reward is None and label is None:
        yield "feedback needs a reward from 0 to 1, or a label: what would have been right"
    if reward is not None and not (isinstance(reward, int | float) and 0 <= reward <= 1):
        yield f"the reward is {shortened(canonical(reward), 60)}; it must be a number from 0 to 1"
    if not isinstance(item.get("new_label"), bool | None):
        yield "new_label is true or false"
    if label is not None and not is_label(label):
        yield f"the label must be an answer of at most {LONGEST_LABEL:,} characters"


def _form(label: JSON) -> str:
    """The form in which labels are compared."""
    return label.strip().casefold() if isinstance(label, str) else canonical(label)
