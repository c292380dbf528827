"""Tasks from the calls of production: what was asked there, what was said to be right, under the frame it had there.

Calls that ask the same are one task, the newest of them; a call that is a half-life old is taken half as often as one
of today; answers that repeat come in the proportion that production has them in. An answer is what a label of the
feedback says, or what was answered where feedback gave that the full reward; nothing else said in the past counts as
right, unless one asks for what most of a call's further rollouts answered.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ..errors import InputError
from ..hashing import canonical, content_id, derive_seed
from ..records import JSON, Frame, Task
from ..rollouts.rewards.majority import settled_answer
from ..rollouts.rewards.matchers import AnswerReward
from ..rollouts.rewards.reward import BuiltInReward, Reward
from ..store import Feedback, Inference, Store
from ..tasks.traffic import PastCall, past_call, recorded_answer
from ..text import counted
from .ready import Ready, ReadyRollout

_FEWEST = 10
"""Tasks that can be learned from; three times as many are better."""
_LOOKED_AT = 20_000
"""Latest calls."""
_SHORT = 200
"""Characters of an answer that another could equal."""


@dataclass(frozen=True, slots=True)
class Fading:
    """How many calls become tasks, and how soon old ones are taken less often."""

    limit: int = 200
    half_life: float = 14.0
    """Days."""

    def __post_init__(self) -> None:
        """Raises InputError for nothing to take."""
        if self.limit < _FEWEST:
            raise InputError(f"--traffic-limit {self.limit}: at least {_FEWEST} tasks")
        if not self.half_life > 0:
            raise InputError(f"--half-life {self.half_life}: a number of days above 0")


@dataclass(frozen=True, slots=True)
class TrafficTasks:
    """What is learned from."""

    tasks: tuple[Task, ...]
    frame: Frame
    """The one that most calls had, their model with it."""
    told: tuple[str, ...]
    """What was taken and what was left out, for people."""
    ready: Ready
    """Rollouts of these tasks that the proxy has made already."""

    def ready_for(self, frame: Frame, model: str | None) -> Ready:
        """Those that are samples of what a frame asks of a model; None: the only one that is served there."""
        same = replace(frame, model=self.frame.model, labels=()) == self.frame and model in (None, self.frame.model)
        return self.ready if same else {}


@dataclass(frozen=True, slots=True)
class _LookedAt:
    call: Inference
    """Without its texts: all calls together would be too much to hold."""
    past: PastCall | str | None
    """Why it cannot be had; None: texts were not kept, or it failed."""


@dataclass(frozen=True, slots=True)
class _Taken:
    call: Inference
    past: PastCall
    said: Feedback | None


def traffic_tasks(
    store: Store,
    namespace: str,
    reward: Reward,
    fading: Fading = Fading(),  # frozen
    *,
    by_shadows: bool = False,
    now: datetime | None = None,
) -> TrafficTasks:
    """The tasks that calls of a namespace make for a reward; InputError, with what there is, where it is too little.

    `by_shadows`: where nobody said what is right, it is what most of a call's further rollouts answered.
    """
    calls = tuple(_looked_at(store.latest_calls(namespace, _LOOKED_AT)))
    with_texts = [one for one in calls if one.past is not None]
    since = min((one.call.at for one in calls), default="")
    said = {one.inference: one for one in store.feedback_since(namespace, since=since)}
    out: Counter[str] = Counter()
    found = list(_same_frame(list(_readable(with_texts, said, out)), out))
    answers = {one.call.id: _answer(one, reward, store if by_shadows else None) for one in found}
    tasks = list(_distinct(found, answers, reward, out))
    left = [f"{counted(count, 'call')} {why}" for why, count in out.most_common()]
    seen = (
        f"traffic of namespace {namespace}: {counted(len(calls), 'call')}, {len(with_texts):,} with their texts,"
        f" {len(said):,} with feedback; {counted(len(tasks), 'different task')} to learn from"
    )
    told = (seen, *([f"left out: {'; '.join(left)}"] if left else []))
    if len(tasks) < _FEWEST:
        raise InputError(f"{'; '.join(told)}; at least {_FEWEST} are needed: {_needed(calls, with_texts, said)}")
    chosen = _chosen(tasks, fading, now or datetime.now(UTC))
    first = found[0]
    frame = Frame(first.call.model, first.past.system, first.past.request, first.past.temperature, first.past.top_p)
    if len(chosen) < len(tasks):
        told = (*told, f"{len(chosen)} of them are taken, old ones less often (--traffic-limit, --half-life)")
    taken = tuple(task for _, task in chosen)
    ready = {} if by_shadows else _ready(taken, found, store.further_rollouts(namespace, since))
    if made := sum(map(len, ready.values())):
        told = (*told, f"{counted(made, 'rollout')} of {counted(len(ready), 'task')} made already (--shadow-groups)")
    return TrafficTasks(taken, frame, told, ready)


def _ready(tasks: Iterable[Task], found: Iterable[_Taken], further: Iterable[Inference]) -> Ready:
    """The further rollouts of calls that ask what a task asks, by its id; not those of a draw, which have a part of a
    prior, and not what decides which answer is right."""
    named = {content_id("same", task.input): task.id for task in tasks}
    asked = {one.call.id: named.get(content_id("same", one.past.input)) for one in found}
    ready: dict[str, list[ReadyRollout]] = {}
    for one in further:
        task = asked.get(one.shadow_of or "")
        if task and one.status == 200 and one.response and not (one.draw or {}).get("left_out"):
            ready.setdefault(task, []).append(ReadyRollout(one.prior or "", one.response))
    return ready


def _looked_at(calls: Iterable[Inference]) -> Iterator[_LookedAt]:
    """What of each call is held; calls under one frame share what it says."""
    frames: dict[str, PastCall] = {}
    for call in calls:
        kept = call.request and 200 <= call.status < 300
        past = past_call(call.surface, call.request, call.response) if kept else None
        if isinstance(past, PastCall):
            first = frames.setdefault(past.frame, past)
            past = replace(past, system=first.system, request=first.request)
        yield _LookedAt(replace(call, request="", response=""), past)


def _needed(calls: Sequence[object], with_texts: Sequence[object], said: Mapping[str, Feedback]) -> str:
    if not calls:
        return "`tfgrpo serve --record 1` records calls"
    if len(with_texts) < _FEWEST:
        return "`tfgrpo serve --record 1` keeps their texts"
    if len(said) < _FEWEST:
        return "give feedback with labels (POST /tfgrpo/v1/feedback), or name a reward that needs none (--reward judge)"
    return "give labels as feedback, or name a reward that needs none (--reward judge)"


def _readable(calls: Iterable[_LookedAt], said: Mapping[str, Feedback], out: "Counter[str]") -> Iterator[_Taken]:
    for one in calls:
        if isinstance(one.past, str):
            out[one.past] += 1
        elif one.past:
            yield _Taken(one.call, one.past, said.get(one.call.id))


def _same_frame(found: Sequence[_Taken], out: "Counter[str]") -> Iterator[_Taken]:
    """Those under the frame, and of the model, that most have."""
    frames = Counter((one.call.model, one.past.frame) for one in found)
    most = frames.most_common(1)[0][0] if frames else None
    for one in found:
        if (one.call.model, one.past.frame) == most:
            yield one
        else:
            out["under another system prompt, tools, sampling or model"] += 1


def _answer(one: _Taken, reward: Reward, shadows: Store | None) -> JSON:
    """What is right, as far as anybody said; None: nobody did."""
    if one.said and one.said.label is not None:
        return one.said.label
    comparable = not isinstance(reward, AnswerReward) or len(one.past.answer) <= _SHORT
    if one.said and one.said.reward == 1.0 and one.past.answer and comparable:
        return one.past.answer
    if shadows is None:
        return None
    texts = [one.past.answer, *(recorded_answer(each.surface, each.response) for each in shadows.shadows(one.call.id))]
    votes = Counter(filter(None, map(settled_answer, texts)))
    (most, count), *_ = votes.most_common(1) or [("", 0)]
    return most if count >= max(2, len(texts) / 2) else None


def _distinct(
    found: Iterable[_Taken], answers: Mapping[str, JSON], reward: Reward, out: "Counter[str]"
) -> Iterator[tuple[datetime, Task]]:
    """A task for each different input, the newest that can be scored."""
    met: set[str] = set()
    for one in found:
        same = content_id("same", one.past.input)
        if same in met:
            out["that ask what a newer one asks"] += 1
            continue
        task = Task(one.past.input, answers[one.call.id], {"id": one.call.id})
        if not _can_score(reward, task):
            out["of which nobody said what is right"] += 1
            continue
        met.add(same)
        yield datetime.fromisoformat(one.call.at), task


def _can_score(reward: Reward, task: Task) -> bool:
    if isinstance(reward, BuiltInReward):
        try:
            reward.check(task)
        except InputError:
            return False
    return True


def _chosen(tasks: Sequence[tuple[datetime, Task]], fading: Fading, now: datetime) -> list[tuple[datetime, Task]]:
    """As many as may be: each answer in its proportion, old ones less often (Efraimidis and Spirakis, 2006)."""

    def key(one: tuple[datetime, Task]) -> float:
        age = max(0.0, (now - one[0]).total_seconds() / 86_400)
        uniform = (derive_seed("traffic", one[1].input) + 1) / 2**31
        return float(-math.log(uniform) * 2.0 ** min(age / fading.half_life, 1_000.0))  # small ones first

    ordered = sorted(tasks, key=key)
    kinds = Counter(canonical(task.answer) for _, task in ordered)
    few = len(kinds) * 3 <= len(ordered)
    met: Counter[str] = Counter()
    places = []
    for number, one in enumerate(ordered):
        kind = canonical(one[1].answer) if few else ""
        met[kind] += 1
        places.append(((met[kind] - 0.5) / (kinds[kind] if few else len(ordered)), number))
    return [ordered[number] for _, number in sorted(places)[: fading.limit]]
