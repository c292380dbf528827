"""What a model answers to one question on every task, by one call each, and what each option is worth there."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ModelError, UpstreamError
from ..model.endpoints import Endpoints
from ..model.questions import Question, option_named, option_shares, option_text, read_alike, read_question
from ..model.upstream import Upstream
from ..records import JSON, CallKey, ChatBody, Frame, Group, Prior, Rollout, Task, Usage
from ..rollouts.group import concurrently
from ..rollouts.rewards.built_in import check, refuse_comparing
from ..rollouts.rewards.matchers import right_answers
from ..rollouts.rewards.reward import BuiltInReward, Reward, score
from ..surfaces.decisions import decision_with_prior
from ..surfaces.surface import Manner
from ..text import counted
from ..token_prior.decisions import Answered, decided_rewards


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """A question as it is sent, with the frame of the requests."""

    question: Question
    body: JSON
    """The question's JSON."""
    frame: Frame

    def request(self, task: Task, prior: Prior) -> ChatBody:
        """The request for one task, with what the prior says in it."""
        given = task.input if isinstance(task.input, str) else [dict(message) for message in task.input]
        body = {"model": self.frame.model, "input": given, "questions": [self.body], **self.frame.request}
        return decision_with_prior(body, prior, Manner(exclude=task.id))


def question_file(path: str) -> tuple[Question, JSON]:
    """The question in a file, and its JSON; raises InputError, naming the file, where there is none."""
    try:
        given = json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from error
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    listed = given.get("questions") if isinstance(given, dict) else given
    if isinstance(listed, list) and len(listed) == 1:
        given = listed[0]
    elif isinstance(listed, list):
        raise InputError(f"{path} holds {len(listed)} questions; offsets are learned of one at a time: give one")
    question = read_question(given, path)
    if (alike := read_alike(question)) is not None:
        raise InputError(f"{path}: two options read {alike!r}, and rewards compare text; give one of them other words")
    return question, given


def tasks_with_options(tasks: Iterable[Task], question: Question, reward: Reward) -> tuple[Task, ...]:
    """The tasks, each with the option that its answer means as its answer, for built-in rewards to compare with; those
    whose answers mean the same option of the same input are one.

    Raises InputError for a task whose answer is no option, or that the reward cannot score.
    """
    refuse_comparing(reward, "a decision has none")
    given = tuple(tasks)
    if _names_an_option(reward):
        given = tuple({task.id: task for task in (_with_option(one, question) for one in given)}.values())
    check(reward, given)
    return given


def _names_an_option(reward: Reward) -> bool:
    """Whether a reward asks for the answer of a task, which is then an option's text as it is written."""
    return isinstance(reward, BuiltInReward) and reward.name in ("exact", "exact-strict", "choice")


def _with_option(task: Task, question: Question) -> Task:
    if not (given := right_answers(task.answer)):
        raise InputError(f"task {task.id} has no answer, which names the right option; is it in another field?")
    right: dict[str, None] = {}
    for one in given:
        if (found := option_named(question, one)) is None:
            options = ", ".join(map(option_text, question.options[:10]))
            raise InputError(f"task {task.id}: its answer {one!r} is not one of the question's options ({options})")
        right[option_text(found)] = None
    return replace(task, answer=list(right) if len(right) > 1 else next(iter(right)))


@dataclass(frozen=True, slots=True, eq=False)
class TaskAnswers:
    """What was answered on the tasks that have an answer, and what could not be used."""

    tasks: tuple[Task, ...]
    found: Answered
    usage: Usage
    refused: int = 0
    """Tasks on which the model refused to answer, or gave no probabilities."""
    failed: int = 0
    first_error: str | None = None

    def decided(self, offsets: NDArray[np.float64]) -> NDArray[np.float64]:
        """The reward of what is decided on each task under these offsets, shape (T,)."""
        return decided_rewards(self.found, offsets)

    def groups(self, asked: AskedQuestion, prior: Prior) -> list[Group]:
        """Each task with the likeliest option as a rollout, for people to look at."""
        rewards, places = self.decided(np.zeros(len(asked.question.options))), self.found.logs.argmax(axis=1)
        return [
            Group(task, 0, (_rollout(task, prior, option_text(asked.question.options[place]), reward),))
            for task, place, reward in zip(self.tasks, places, rewards.tolist(), strict=True)
        ]

    @property
    def losses(self) -> str:
        """What was left out, in words; empty where nothing was."""
        without = "without an answer (refused, or none of the question's options has a probability)"
        told = [f"{counted(self.refused, 'task')} {without}"] if self.refused else []
        told += [f"{counted(self.failed, 'call')} failed, the first one: {self.first_error}"] if self.failed else []
        return "; ".join(told)


def _rollout(task: Task, prior: Prior, text: str, reward: float) -> Rollout:
    message = {"role": "assistant", "content": text}
    return Rollout(task, 0, 0, prior.id, messages=(*task.messages, message), text=text, reward=reward)


async def ask_all(
    asked: AskedQuestion,
    tasks: Sequence[Task],
    prior: Prior,
    reward: Reward,
    upstream: Upstream,
    *,
    key: CallKey,
    landed: Callable[[Rollout], object],
    shown: Callable[[Task], Prior] | None = None,
) -> TaskAnswers:
    """One call a task, under what the prior says (or says to that task: `shown`) and the key's run and stage; `landed`
    is told of each as it is back, before anything is known of its reward.

    Raises UpstreamError when none can succeed, ModelError where every one fails, and as the reward does.
    """

    async def one(task: Task) -> tuple[JSON, Usage] | ModelError:
        found = await _asked(asked.request(task, shown(task) if shown else prior), upstream, replace(key, task=task.id))
        landed(Rollout(task, 0, 0, prior.id))
        return found

    said = await concurrently(map(one, tasks))
    errors = [one for one in said if isinstance(one, ModelError)]
    if errors and len(errors) == len(tasks):
        raise errors[0]
    kept, logs, rewards, usage = [], [], [], Usage()
    for task, answer in zip(tasks, said, strict=True):
        if isinstance(answer, ModelError):
            continue
        usage += answer[1]
        shares = option_shares(asked.question, answer[0])
        if shares is None:
            continue
        kept.append(task)
        logs.append(shares)
        rewards.append(await option_rewards(task, asked.question, reward))
    shape = len(kept), len(asked.question.options)
    with np.errstate(divide="ignore"):
        found = Answered(np.log(np.array(logs).reshape(shape)), np.array(rewards).reshape(shape))
    first = str(errors[0]) if errors else None
    return TaskAnswers(tuple(kept), found, usage, len(tasks) - len(kept) - len(errors), len(errors), first)


async def _asked(body: ChatBody, upstream: Upstream, key: CallKey) -> tuple[JSON, Usage] | ModelError:
    try:
        found = await upstream.decide(body, key)
    except UpstreamError:
        raise
    except ModelError as error:
        return error
    return found.answers[0], found.usage


async def option_rewards(task: Task, question: Question, reward: Reward) -> list[float]:
    """What each option is worth on a task; an option that the reward fails on is worth 0."""
    if _names_an_option(reward):
        right = task.answer if isinstance(task.answer, list) else [task.answer]
        return [float(option_text(option) in right) for option in question.options]
    made = [Rollout(task, 0, 0, "", text=option_text(option)) for option in question.options]
    return [(await score(reward, rollout)).reward or 0.0 for rollout in made]


def offsets_in(prior: Prior, asked: AskedQuestion) -> NDArray[np.float64]:
    """The offsets that a prior has for the options of a question, in their order, shape (O,)."""
    entry = next((one for one in prior.questions if one.id == asked.question.id), None)
    known = {(type(one.option), one.option): one.offset for one in (entry.offsets if entry else ())}
    return np.array([known.get((type(option), option), 0.0) for option in asked.question.options], dtype=np.float64)


@contextmanager
def asked_there(asked: AskedQuestion, endpoints: Endpoints) -> Iterator[tuple[AskedQuestion, Endpoints]]:
    """The question to the model by its name there, and the endpoints, started; the embedded one decides too."""
    with endpoints.started(decides=True) as there:
        yield replace(asked, frame=replace(asked.frame, model=there.own.name)), there
