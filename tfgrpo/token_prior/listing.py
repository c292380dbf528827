"""Asks an upstream for all answers to a request, in fewer calls than the rollouts that they stand for would take.

Each call lists what may come at every position of one answer, the likeliest one. Answers of one token (`max_tokens` 1)
are all listed by the first call. For longer ones the likeliest beginning that is not known further is gone on from,
where the upstream goes on from an assistant's message, until what is listed ends with a probability of COVERED; where
the calls could not get there, no more are made.

What is listed is that without a token prior, at temperature 1: it serves every one, at every temperature (`exact`). A
beginning is sent as text: an upstream that cuts it into other tokens than it was listed by answers for those.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import ModelError, UpstreamError
from ..hashing import content_id
from ..model.tokenizer import ends_answer
from ..model.upstream import Model
from ..records import AnswerTree, Backend, CallKey, ChatBody, Frame, Prior, Rollout, Task, TokenTrace
from ..rollouts.executor import LIMITS, is_short, longest, manner_for, request_body, telling, with_failure
from ..rollouts.rewards.reward import BuiltInReward, Reward, score
from ..rollouts.ways_on import added, goes_on_in_chat, going_on
from ..surfaces.chat import merge_bias, with_prior
from ..surfaces.surface import listed_for_labels
from .exact import COVERED, AnswerShares, answer_shares

_CELLS = 1_000
"""Alternatives over all positions of an answer that are asked of llama.cpp."""


def unlistable(frame: Frame, backend: Backend, reward: Reward) -> str | None:
    """Why not all answers to such requests can be listed, or None; nothing is asked for that."""
    if not backend.logprobs or backend.includes_temperature:
        return "the upstream gives no log-probabilities, or those of its temperature"
    if not (isinstance(reward, BuiltInReward) and reward.reads_text_alone):
        return "the reward may look at more than the answer"
    if frame.temperature == 0 or frame.top_p != 1 or set(frame.request) - set(LIMITS):
        return "the request sets more than the length of answers, or samples from a part of them"
    return None if is_short(frame) else "the request does not keep answers short"


@dataclass(frozen=True, slots=True, eq=False)
class ListedAnswers:
    """All answers to one request that are known, under the biases and at the temperature that were asked about."""

    request: str
    """Hash of the request, without biases."""
    messages: tuple[Mapping[str, object], ...]
    tree: AnswerTree
    now: AnswerShares
    calls: int
    """That it took so far."""

    @property
    def is_known(self) -> bool:
        """Whether what is listed is as good as all."""
        return self.now.covered >= COVERED

    def rollout(self, place: tuple[int, int], blank: Rollout) -> Rollout:
        """The rollout that ends with the answer at a place of the tree; its calls are those of the listing."""
        text, ended = self.tree.texts[place], ends_answer(self.tree.pieces[int(self.tree.tokens[place])])
        return replace(
            blank,
            messages=(*self.messages, {"role": "assistant", "content": text}),
            text=text,
            reward=float(self.tree.rewards[place]),
            finish_reason="stop" if ended else "length",
        )


@dataclass(slots=True, eq=False)
class _Row:
    """What may come after one beginning."""

    begun: bytes
    depth: int
    trace: TokenTrace
    at: int
    """Its position in the trace."""
    rewards: dict[int, float] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    after: dict[int, int] = field(default_factory=dict)
    """By column."""


@dataclass(slots=True, eq=False)
class _Growth:
    """The tree of one request as it grows."""

    request: str
    body: ChatBody
    task: Task
    longest: int
    rows: list[_Row] = field(default_factory=list)
    calls: int = 0
    failed: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def tree(self) -> AnswerTree:
        """As it stands."""
        shape = len(self.rows), max(row.trace.ids.shape[1] for row in self.rows)
        tokens, after = np.full((2, *shape), -1, dtype=np.int64)
        reported, rewards = np.full(shape, -np.inf), np.full(shape, np.nan)
        for number, row in enumerate(self.rows):
            width = row.trace.ids.shape[1]
            tokens[number, :width], reported[number, :width] = row.trace.ids[row.at], row.trace.logprobs[row.at]
            for column, reward in row.rewards.items():
                rewards[number, column] = reward
            for column, later in row.after.items():
                after[number, column] = later
        texts = {(number, column): text for number, row in enumerate(self.rows) for column, text in row.texts.items()}
        pieces = {token: piece for row in self.rows for token, piece in row.trace.pieces.items()}
        return AnswerTree(tokens, reported, rewards, after, texts, pieces)

    def open(self, now: AnswerShares) -> list[tuple[float, int, int]]:
        """Probability, row and column of what may be gone on from, the likeliest first."""
        found = [
            (float(now.reached[number] * now.chances[number, column]), number, column)
            for number, row in enumerate(self.rows)
            for column in range(row.trace.ids.shape[1])
            if row.depth + 1 < self.longest and not (column in row.texts or column in row.after)
            if self.begun(number, column)
        ]
        return sorted(found, key=lambda one: (-one[0], one[1], one[2]))

    def begun(self, number: int, column: int) -> str:
        """The beginning that a token leads to, as it would be sent; empty where it could not be."""
        row = self.rows[number]
        piece = row.trace.pieces.get(int(row.trace.ids[row.at, column]), b"")
        try:
            text = (row.begun + piece).decode()
        except UnicodeDecodeError:
            return ""
        return text if piece and text == text.strip() and not ends_answer(piece) else ""


class Listing:
    """The answers to requests in one frame, and what of them is known already."""

    def __init__(self, model: Model, frame: Frame, backend: Backend, reward: Reward) -> None:
        """To be made only where they are not `unlistable`; the frame's temperature does not matter."""
        self._model, self._frame, self._backend, self._reward = model, frame, backend, reward
        self._longest = longest(frame) or 1
        self._known: dict[tuple[str, str], _Growth] = {}
        """By request and task: what asks the same may have another answer."""

    async def answers(
        self, task: Task, prior: Prior, temperature: float, key: CallKey, *, calls: int
    ) -> ListedAnswers | None:
        """What is known of the answers to a task under a prior, after so many further calls at most; None: nothing.

        The calls are journalled under `key`, by their number as its `retry`. Raises UpstreamError when no call can
        succeed, and as the reward does.
        """
        growth = await self._growth(task, prior, key)
        biases = {int(token): bias for token, bias in self._sent(prior).items()}
        async with growth.lock:
            while not growth.failed:
                found = None
                if growth.rows:
                    tree = growth.tree()
                    now = answer_shares(tree, biases, temperature)
                    found = ListedAnswers(growth.request, tuple(growth.body["messages"]), tree, now, growth.calls)
                    if found.is_known:
                        return found
                open_ = growth.open(found.now) if found else [(1.0, -1, -1)]
                reachable = (found.now.covered if found else 0.0) + sum(chance for chance, *_ in open_[:calls])
                goes_on = not found or goes_on_in_chat(self._backend)
                if not (calls and open_ and goes_on and reachable >= COVERED):
                    return found
                _, number, column = open_[0]
                growth.failed = not await self._extended(growth, number, column, replace(key, retry=growth.calls))
                calls -= 1
        return None

    def _sent(self, prior: Prior) -> Mapping[str, float]:
        return merge_bias(None, prior.logit_bias, whole=self._backend.fractional is False)

    async def _growth(self, task: Task, prior: Prior, key: CallKey) -> _Growth:
        """The tree of a request, which may be known already."""
        greedy = replace(self._frame, temperature=0.0)
        plain = {**request_body(greedy, self._backend, task, 0), **telling(self._backend, self._alternatives)}
        manner = await manner_for(self._model, self._backend, prior, plain["messages"], replace(key, task=task.id))
        body = with_prior(plain, replace(prior, biases=(), tokenizer=None), manner)
        name = content_id("request", body)
        return self._known.setdefault((name, task.id), _Growth(name, body, task, self._longest))

    @property
    def _alternatives(self) -> int:
        most = _CELLS // self._longest if self._backend.kind == "llama.cpp" else 0
        return max(most, listed_for_labels(self._backend))

    async def _extended(self, growth: _Growth, number: int, column: int, key: CallKey) -> bool:
        """Whether one call could list what comes after a beginning, the empty one where there is no row yet."""
        work, depth, body = "", 0, growth.body
        if number >= 0:
            work, depth = growth.begun(number, column), growth.rows[number].depth + 1
            limits = dict.fromkeys((name for name in LIMITS if name in body), self._longest - depth)
            body = {**going_on(body, work, self._backend), **limits}
        growth.calls += 1
        try:
            reply = await self._model(body, key)
        except UpstreamError:
            raise
        except ModelError:
            return False
        said = added(reply.text, work, self._backend)
        if reply.trace is None or not _spells(reply.trace, said):
            return False
        first = len(growth.rows)
        await self._add(growth, reply.trace, work.encode(), depth)
        if number >= 0 and len(growth.rows) > first:
            growth.rows[number].after[column] = first
        return len(growth.rows) > first

    async def _add(self, growth: _Growth, trace: TokenTrace, begun: bytes, depth: int) -> None:
        """One row for each position of a trace, each leading to the next."""
        for at, ids in enumerate(trace.ids):
            if depth >= self._longest:
                return
            if at:
                growth.rows[-1].after[0] = len(growth.rows)
            row = _Row(begun, depth, trace, at)
            for column, token in enumerate(ids.tolist()):
                await self._end(row, column, trace.pieces.get(token), growth.task)
            growth.rows.append(row)
            begun, depth = begun + trace.pieces[int(ids[0])], depth + 1
            if 0 in row.texts:
                return

    async def _end(self, row: _Row, column: int, piece: bytes | None, task: Task) -> None:
        """The answer that ends with a token, scored, where one does."""
        if piece is None:
            return
        ends, special = ends_answer(piece), piece.startswith(b"<") and piece.endswith(b">")
        if not ends and (row.depth + 1 < self._longest or (special and len(piece) > 2)):
            return
        text = (row.begun if ends else row.begun + piece).decode(errors="replace")
        given = Rollout(task, 0, 0, "", text=text, finish_reason="stop" if ends else "length")
        scored = with_failure(await score(self._reward, given))
        if scored.reward is not None:
            row.rewards[column], row.texts[column] = scored.reward, text


def _spells(trace: TokenTrace, text: str) -> bool:
    """Whether the tokens that were sampled are all of an answer; servers strip blanks around it."""
    sampled = (trace.pieces.get(int(token), b"") for token in trace.ids[:, 0])
    spelt = b"".join(piece for piece in sampled if not ends_answer(piece))
    return spelt.decode(errors="replace").strip() == text.strip()
