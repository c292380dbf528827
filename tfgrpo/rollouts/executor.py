"""Executors: the one seam through which rollouts are made. Here it is a chat call; `agents` has the other.

Its request, before the prior, states every sampling setting.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from json import dumps
from math import comb
from typing import Protocol

import numpy as np

from ..errors import InputError, ModelError, UpstreamError
from ..hashing import derive_seed
from ..model.upstream import Model
from ..records import JSON, Backend, CallKey, ChatBody, Frame, Group, Prior, Rollout, Task
from ..settings import LABEL_CHARS, MOST_LABELS, RESERVED_FIELDS
from ..surfaces.chat import said_by_user, with_prior
from ..surfaces.surface import Manner, listed_for_labels, manner_of, question, way_of
from ..text import is_unicode, shortened

_LLAMA_CPP_OFF: Mapping[str, JSON] = {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0}
_VLLM_OFF: Mapping[str, JSON] = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
SAMPLERS_OFF = {"llama.cpp": _LLAMA_CPP_OFF, "vllm": _VLLM_OFF}
"""Servers' hidden sampling defaults, switched off: else the policy sampled is not the one that is measured."""


def request_frame(
    model: str,
    system: str | None = None,
    request: Mapping[str, JSON] | None = None,
    *,
    temperature: float | None = None,
    top_p: float | None = None,
    source: str = "request",
    labels: Sequence[str] = (),
) -> Frame:
    """The frame of a model's requests; `temperature` and `top_p` win over what `request`, from `source`, says of them.

    `labels` are what an answer may be, where it is to be one of some. Raises InputError, which names the source, for
    fields that no request could have.
    """
    if not ((system is None or isinstance(system, str)) and (request is None or isinstance(request, Mapping))):
        raise InputError(f"{source}: the system prompt is text, and the other fields are a dict")
    fields = dict(request or {})
    try:
        text = dumps(fields, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"{source}: not JSON: {error}") from error
    if not is_unicode(text):
        raise InputError(f"{source}: it holds half a surrogate pair, which is no character")
    if refused := sorted(set(fields) & set(RESERVED_FIELDS)):
        raise InputError(f"{source}: {', '.join(refused)} cannot be set here")
    said = {"temperature": fields.pop("temperature", None), "top_p": fields.pop("top_p", None)}
    given = {"temperature": temperature, "top_p": top_p}
    numbers = {name: said[name] if value is None else value for name, value in given.items()}
    stated = {name: _number(source, name, value) for name, value in numbers.items() if value is not None}
    return Frame(model, system or None, fields, **stated, labels=_labels(labels))


def _labels(given: Sequence[str]) -> tuple[str, ...]:
    """Raises InputError for what cannot be a closed set of labels."""
    if isinstance(given, str) or not all(isinstance(label, str) for label in given):
        raise InputError('labels: a list of texts, such as ["yes", "no"]')
    labels = tuple(label.strip() for label in given)
    if given and not (1 < len(set(labels)) == len(labels) <= MOST_LABELS):
        raise InputError(f"labels: from 2 to {MOST_LABELS}, each another text")
    wrong = next((label for label in labels if not 0 < len(label) <= LABEL_CHARS), None)
    if wrong is not None:
        raise InputError(f"labels: {shortened(wrong)!r} has {len(wrong)} characters; 1 to {LABEL_CHARS} are allowed")
    return labels


def _number(source: str, name: str, value: JSON) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{source}: {name} is {value!r}; it must be a number")
    return float(value)


def sampling(frame: Frame, backend: Backend, seed: int) -> dict[str, JSON]:
    """Every sampling setting, stated."""
    off = SAMPLERS_OFF.get(backend.kind, {})
    return {"temperature": frame.temperature, "top_p": frame.top_p, "seed": seed, **off}


SHORT_ANSWER = 16
"""Tokens of an answer, at most, that may be listed with all others in place of being sampled."""
LIMITS = ("max_tokens", "max_completion_tokens")
"""How a request says how long its answer may be."""


def longest(frame: Frame) -> int | None:
    """The tokens of an answer at most, where the request says so."""
    stated = [frame.request[name] for name in LIMITS if isinstance(frame.request.get(name), int)]
    return min(stated, default=None)


def is_short(frame: Frame) -> bool:
    """Whether the request keeps answers so short that all of them may be listed."""
    limit = longest(frame)
    return limit is not None and 1 <= limit <= SHORT_ANSWER


def telling(backend: Backend, alternatives: int) -> dict[str, JSON]:
    """What asks for log-probabilities, of so many alternatives a token, with ids where they come when asked for."""
    by_id = {"return_tokens_as_token_ids": True} if backend.id_names else {}
    return {"logprobs": True, "top_logprobs": alternatives, **by_id}


def request_body(frame: Frame, backend: Backend, task: Task, seed: int) -> ChatBody:
    """The request for one rollout, before the prior."""
    messages = [*([{"role": "system", "content": frame.system}] if frame.system else []), *task.messages]
    if backend.system_role == "rejected":
        messages = said_by_user(messages)
    return {"model": frame.model, "messages": messages, **frame.request, **sampling(frame, backend, seed)}


async def manner_for(model: Model, backend: Backend, prior: Prior, messages: Sequence[JSON], key: CallKey) -> Manner:
    """How a request of a rollout is given a prior: as `manner_of`, with the vector of what it asks where the prior
    chooses by vectors. Raises BudgetEnded."""
    manner = manner_of(backend, key.task)
    if not prior.embedding:
        return manner
    from .request_vectors import vector_for

    return manner._replace(vector=await vector_for(model, key.run, prior.embedding, question(messages)))


_STATUS = re.compile(r"^\S+ answered (\d{3})\b")
"""How an upstream's refusal is told (`model.failures`)."""
_BUSY = (408, 409, 425, 429)
"""Statuses below 500 that say nothing against the request."""
_LOST = re.compile(
    r"^(?:cannot reach "
    r"|\S+ gave an answer that cannot be read: (?!more than )"
    r"|the reward failed: (?:RewardError(?!: it took more than)|ModelError|UpstreamError|BudgetEnded"
    r"|TimeoutError|Connect\w*|Read\w*|RateLimitError|API\w*Error|InternalServerError|\w*Timeout|\w*ConnectionError)\b)"
)
"""How it is told that no connection was to be had, or an answer that nobody can unpack; that a reward which asks
elsewhere got no answer, or that one gave what is no reward, which is its own fault. One that takes too long does so for
the sake of the text, and so does an answer that is too large."""


def is_own_failure(rollout: Rollout) -> bool:
    """Whether a rollout failed for its own request's sake, and not for the upstream's.

    Its own: refused (400, 413, 422, ...), crashed, out of time, without an answer, or a reward that raises on its text.
    The upstream's: 429, 5xx, no connection, also behind an agent or a reward. This is the one place that decides it.
    """
    if rollout.error is None:
        return False
    status = _STATUS.match(rollout.error)
    if status:
        return int(status[1]) < 500 and int(status[1]) not in _BUSY
    return _LOST.match(rollout.error) is None


def with_failure(rollout: Rollout) -> Rollout:
    """The rollout with a reward of 0 where it failed by itself: nothing compared is better for having no answer.

    What failed for the upstream's sake stays without a reward: it is missing, whatever it was compared with.
    """
    return replace(rollout, reward=0.0) if rollout.reward is None and is_own_failure(rollout) else rollout


_NO_CHANCE = 0.01
"""A chance below which what is lost under one column alone is not taken for an outage's; all columns share it."""


def with_losses(groups: Iterable[Group], made_with: Callable[[Rollout], Iterable[str]]) -> list[Group]:
    """The groups with a reward of 0 where a rollout failed by itself, or was lost under what loses more than chance.

    `made_with` names what a rollout was made with, its columns. An outage hits whatever is asked at the time, so that
    of the rollouts lost in a group each column has its share: the rest is a hypergeometric draw. A column with more of
    all that was lost than chance allows may lose just what it gets wrong (a tool that brings the server down, a prompt
    too slow for it): what was lost under it counts as 0. All else that was lost stays missing. (An outage that outlasts
    all retries of the calls under one way to prompt, and meets no other, is held against that one.)
    """
    whole = [replace(group, rollouts=tuple(map(with_failure, group.rollouts))) for group in groups]
    struck = [group for group in whole if any(map(_is_lost, group.rollouts))]
    if not struck:
        return whole
    columns = {name for group in whole for rollout in group.rollouts for name in made_with(rollout)}
    made = [[(_is_lost(one), set(made_with(one))) for one in group.rollouts] for group in struck]
    blamed = {name for name in columns if _chance_to_lose(name, made) < _NO_CHANCE / len(columns)}

    def judged(rollout: Rollout) -> Rollout:
        at_fault = _is_lost(rollout) and not blamed.isdisjoint(made_with(rollout))
        return replace(rollout, reward=0.0) if at_fault else rollout

    return [replace(group, rollouts=tuple(map(judged, group.rollouts))) for group in whole] if blamed else whole


def _is_lost(rollout: Rollout) -> bool:
    """Whether it has no reward for the upstream's sake."""
    return rollout.reward is None and rollout.error is not None


def _chance_to_lose(name: str, groups: Sequence[Sequence[tuple[bool, set[str]]]]) -> float:
    """P(as many rollouts with the column are lost, or more), had each loss hit any rollout of its group alike."""
    lost, chances = 0, np.ones(1)
    for group in groups:
        size, gone = len(group), sum(is_lost for is_lost, _ in group)
        shown = sum(name in made for _, made in group)
        lost += sum(is_lost and name in made for is_lost, made in group)
        ways = [comb(shown, here) * comb(size - shown, gone - here) for here in range(min(shown, gone) + 1)]
        chances = np.convolve(chances, np.array(ways, dtype=np.float64) / comb(size, gone))
    return float(chances[lost:].sum())


class Executor(Protocol):
    """Makes one rollout: by a chat call here, by an agent or a fleet of them elsewhere."""

    async def __call__(self, task: Task, prior: Prior, step: int, sample: int) -> Rollout:
        """One rollout of a task under a prior, maybe with an error; raises UpstreamError when none can succeed."""
        ...


class Executors(Protocol):
    """Makes the Executors of a run, one for each stage."""

    def __call__(
        self, frame: Frame, backend: Backend, /, *, run: str, stage: str, seed: int, top_logprobs: int = 0
    ) -> Executor:
        """As ChatExecutor is made."""
        ...


class ChatExecutor:
    """An Executor of one chat call a rollout.

    `top_logprobs` asks for that many alternatives a token (0: none). Seeds and keys are hashes of (seed, step, task,
    sample), whatever the order in which rollouts are made.
    """

    def __init__(
        self, model: Model, frame: Frame, backend: Backend, *, run: str, stage: str, seed: int, top_logprobs: int = 0
    ) -> None:
        self.model, self.frame, self.backend = model, frame, backend
        self.run, self.stage, self.seed, self.top_logprobs = run, stage, seed, top_logprobs

    async def __call__(self, task: Task, prior: Prior, step: int, sample: int) -> Rollout:
        """One rollout; its trajectory is the request's messages and the answer."""
        seed = derive_seed(self.seed, self.stage, step, task.id, sample)
        plain = request_body(self.frame, self.backend, task, seed)
        again = bool(prior.biases) and way_of(self.backend, self.frame.labels) == "re-decide"
        alternatives = max(self.top_logprobs, again * listed_for_labels(self.backend))
        if alternatives and self.backend.logprobs:
            plain = {**plain, **telling(self.backend, alternatives)}
        key = CallKey(self.run, self.stage, step, task.id, sample)
        body = with_prior(plain, prior, await manner_for(self.model, self.backend, prior, plain["messages"], key))
        included = tuple(experience.id for experience in prior.experiences)
        asked = tuple(body["messages"])
        try:
            reply = await self.model(body, key)
        except UpstreamError:
            raise
        except ModelError as error:
            return Rollout(task, step, sample, prior.id, included, asked, error=str(error))
        if again:
            from .redecided_rollouts import with_label_redecided  # hardly any upstream needs it

            reply = with_label_redecided(reply, prior, self.frame, self.backend, seed)
        return Rollout(
            task,
            step,
            sample,
            prior.id,
            included,
            (*asked, reply.message),
            text=reply.text,
            finish_reason=reply.finish_reason,
            usage=reply.usage,
            trace=reply.trace,
        )


async def rollout_once(
    model: Model, frame: Frame, task: Task, prior: Prior, *, backend: Backend, seed: int = 0
) -> Rollout:
    """One call outside of any run; raises ModelError when it fails."""
    rollout = await ChatExecutor(model, frame, backend, run="", stage="chat", seed=seed)(task, prior, 0, 0)
    if rollout.error:
        raise ModelError(rollout.error)
    return rollout
