"""The reward `judge`: a language model reads each rollout, and says from 0 to 10 how good it is."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Self

from ...errors import InputError, ModelError, UpstreamError
from ...hashing import content_id, derive_seed
from ...model.asking import OUR_SCHEMA
from ...model.templates import is_template_error
from ...model.upstream import Model
from ...prompts import clip, neutralise, template
from ...records import JSON, CallKey, ChatBody, Message, Reply, Rollout, Task
from ...surfaces.chat import said_by_user
from ...text import shortened
from ..group import concurrently
from .jsons import NoJSONError, json_of
from .matchers import in_text, right_answers, without_thinking
from .patience import Patience, patience_with
from .reward import BuiltInReward

JUDGE_TRIES = 3
"""Of one vote, each told what was wrong with the one before."""
_PLACES = 2 * JUDGE_TRIES
"""In the journal, for the tries of one vote in one start of a run: with a system message, and without."""
MOST_VOTES = 25
RUBRIC_FIELDS = ("rubric", "criteria", "grading_criteria")
"""Fields of a task that may say what a good answer is."""
NO_SYSTEM_ROLE = (400, 413, 422, 500)
"""Statuses by which a chat template refuses a system message; llama.cpp tells it by the last."""
_BEST = 10
_TOKENS = 1_024
_MOST_CHARACTERS = 20_000
_NAMED = re.compile(r"judge(?::(?P<votes>\d+))?(?:@(?P<model>\S+))?")
_OPEN = re.compile(r"(?<![\w./:-])judge(?::\d+)?(?![\w:@./-])")
"""A judge in the name of a reward that names no model."""
_IS_NAME = re.compile(r"[^\s+*\\]+")
_SCHEMA: JSON = {
    "type": "object",
    "properties": {"why": {"type": "string"}, "score": {"type": "number"}},
    "required": ["why", "score"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class JudgeReward(BuiltInReward):
    """A Reward between 0 and 1: the mean of so many votes; the feedback is what the first of them says."""

    name: str = "judge"  # pyrefly: ignore[bad-override]  # read-only here, and nobody sets it
    votes: int = 1
    asked: str = ""
    """The model that judges; empty: the one that proposes experiences, or the model itself."""
    model: Model | None = None
    run: str = ""
    turns: dict[CallKey, asyncio.Lock] = field(default_factory=dict, compare=False, repr=False)
    """Where the same text comes up twice at once, the second waits for what the first is told."""
    without_rules: set[str] = field(default_factory=set, compare=False, repr=False)
    """Names of models that were seen to know no system role."""
    unusable: dict[CallKey, str] = field(default_factory=dict, compare=False, repr=False)
    """Votes that came to nothing since the run was started, and why: the same text is not tried again."""
    patience: Patience = field(default_factory=lambda: Patience("the judge"), compare=False, repr=False)

    def with_model(self, model: Model, name: str, run: str) -> Self:
        """As the Protocol says."""
        asked = self.asked or name
        fresh = replace(
            self, turns={}, without_rules=set(), unusable={}, patience=patience_with(f"the judge {asked}", model)
        )
        return replace(fresh, model=model, asked=asked, run=run)

    def calls(self) -> int:
        """One for each vote."""
        return self.votes

    def check(self, task: Task) -> None:
        """Any task will do; one with an answer or a rubric is judged by that."""

    async def __call__(self, rollout: Rollout, /) -> tuple[float, str]:
        """Raises ModelError where no vote is usable, InputError where there is no model to ask."""
        if self.model is None:
            raise InputError("reward judge asks a model, and there is none here")
        found = await concurrently(self._vote_in_turn(rollout, number) for number in range(self.votes))
        usable = [vote for vote in found if not isinstance(vote, ModelError)]
        if not usable:
            raise next(vote for vote in found if isinstance(vote, ModelError))
        return sum(number for number, _ in usable) / len(usable), usable[0][1]

    async def _vote_in_turn(self, rollout: Rollout, number: int) -> tuple[float, str] | ModelError:
        """One vote, or why there is none."""
        key = self._key(rollout, number, 0)
        async with self.turns.setdefault(key, asyncio.Lock()):
            if key in self.unusable:
                return ModelError(self.unusable[key])
            try:
                return await self.patience.verdict(self._vote(rollout, number), self._key(rollout, 0, 0))
            except UpstreamError:
                raise
            except ModelError as error:
                return error

    async def _vote(self, rollout: Rollout, number: int) -> tuple[float, str]:
        """One vote; ModelError where all tries come to nothing.

        Where those of an earlier start of the run did, which are in its journal, it is asked as if for the first time.
        """
        wrong = ""
        for start in count():
            messages, asked = judge_messages(rollout), False
            for retry in range(JUDGE_TRIES):
                reply = await self._told(messages, self._key(rollout, number, start * _PLACES + retry))
                self.patience.hear()
                asked = asked or not reply.replayed
                try:
                    return read_verdict(reply.text)
                except ValueError as error:
                    wrong = str(error)
                    again = template("retry").render(error=wrong)
                    messages = (*messages, dict(reply.message), {"role": "user", "content": again})
            if asked:
                break
        self.unusable[self._key(rollout, number, 0)] = told = f"the judge gave no usable verdict: {wrong}"
        raise ModelError(told)

    async def _told(self, messages: Sequence[Message], key: CallKey) -> Reply:
        """The judge's answer; a model whose template knows no system role is told the rules by the user, and asked so
        from then on, under a key of its own. Where it may have been an outage, the next one is asked as ever."""
        assert self.model is not None
        lasts = True
        if self.asked not in self.without_rules:
            try:
                return await self.model(self._body(messages, key), key)
            except ModelError as error:
                if error.status not in NO_SYSTEM_ROLE:
                    raise
                lasts = error.status != 500 or is_template_error(str(error))
        key = replace(key, retry=key.retry + JUDGE_TRIES)
        reply = await self.model(self._body(said_by_user(messages), key), key)
        if lasts:
            self.without_rules.add(self.asked)
        return reply

    def _key(self, rollout: Rollout, number: int, retry: int) -> CallKey:
        """The same text is judged once, wherever in a run it comes up."""
        place = int(content_id("judged", rollout.text).rpartition("_")[2][:12], 16)
        return CallKey(self.run, "judge", place, rollout.task.id, number, retry)

    def _body(self, messages: Sequence[Message], key: CallKey) -> ChatBody:
        """One vote is the likeliest; several are sampled."""
        seed = derive_seed(0, key.stage, key.step, key.task, key.sample, key.retry)
        form = {"type": "json_schema", "json_schema": {"name": OUR_SCHEMA, "strict": True, "schema": _SCHEMA}}
        sampling = {"temperature": 0 if self.votes == 1 else 1, "top_p": 1, "seed": seed, "max_tokens": _TOKENS}
        return {"model": self.asked, "messages": list(messages), **sampling, "response_format": form}


def judge_messages(rollout: Rollout) -> tuple[Message, ...]:
    """What the judge is asked about a rollout."""
    task = rollout.task
    told: Mapping[str, JSON] = task.metadata
    rubric = next((told[name] for name in RUBRIC_FIELDS if told.get(name)), None)
    answers = " or ".join(in_text(answer) for answer in right_answers(task.answer))
    return template("judge").messages(
        task=_quoted(task.prompt),
        answer=_quoted(answers or "None is known."),
        rubric=_quoted(in_text(rubric) if rubric else "It is right, complete, and answers what was asked."),
        attempt=_quoted(without_thinking(rollout.text)),
        best=str(_BEST),
    )


def _quoted(text: str) -> str:
    """Text that can close no tag, its middle left out where it is long."""
    return neutralise(clip(text, _MOST_CHARACTERS))


def read_verdict(text: str) -> tuple[float, str]:
    """The reward in [0, 1] that a verdict gives, and why; raises ValueError, in words for the judge, for none."""
    try:
        told = json_of(text)
    except NoJSONError as error:
        found = re.search(r"\{[^{}]*\}", text)
        try:
            told = json.loads(found[0]) if found else None
        except ValueError:
            told = None
        if told is None:
            raise ValueError(
                f'it is not JSON ({error}); answer {{"why": "...", "score": 0 to {_BEST}}} alone'
            ) from None
    number = told.get("score") if isinstance(told, dict) else None
    if isinstance(number, str) and re.fullmatch(r"\d+(?:\.\d+)?", number.strip()):
        number = float(number)
    if not isinstance(number, int | float) or isinstance(number, bool) or not 0 <= number <= _BEST:
        raise ValueError(f"the score is {shortened(number)}; it must be a number from 0 to {_BEST}")
    why = told.get("why")
    return number / _BEST, why.strip() if isinstance(why, str) else ""


def judged_by(reward: str, model: str) -> str:
    """The name of a reward, or a sum, in which the judges that name no model are that one; InputError for no judge."""
    if not _IS_NAME.fullmatch(model):
        raise InputError(f"--judge-model {shortened(model)!r}: a model's name has no spaces, and no + or *")
    named, count = _OPEN.subn(rf"\g<0>@{model}", reward)
    if not count:
        raise InputError(f"--judge-model: no judge without a model is in reward {shortened(reward) or 'exact'}")
    return named


def is_judge(name: str) -> bool:
    """Whether a reward is named as a judge."""
    return re.match(r"judge(?:[:@]|\Z)", name) is not None


def judge_reward(name: str) -> JudgeReward:
    """`judge`, `judge:VOTES`, `judge@MODEL`, `judge:VOTES@MODEL`; raises InputError for what is none of them."""
    found = _NAMED.fullmatch(name)
    votes = int(found["votes"] or 1) if found else 0
    if not found or not 1 <= votes <= MOST_VOTES:
        form = f"write judge, judge:VOTES (1 to {MOST_VOTES}), judge@MODEL or judge:VOTES@MODEL"
        raise InputError(f"reward {shortened(name)!r} is no judge; {form}")
    return JudgeReward(name, votes, found["model"] or "")
