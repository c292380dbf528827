"""Variants that a user could have for nothing: training examples as demonstrations, in sets and as a pool; and which
examples there are.

A proposer names ways to prompt; the race (`race.py`) decides between them. What can only be named with a run at hand, a
distiller among it, is in `learning/race.py`. Sets of one draw are beginnings of one
order, so that prompts share their beginnings and caches hit. The order takes the answers in turn, so that a set holds
answers that repeat alike.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import isawaitable
from itertools import takewhile
from types import MappingProxyType
from typing import Protocol, TypeVar

from ..errors import BudgetEnded, StoreError, UpstreamError
from ..hashing import canonical, derive_seed
from ..records import JSON, Demonstration, Group, Message, Prior, Rollout, Task, Variant
from ..rollouts.group import concurrently
from ..rollouts.rewards.reward import Reward, score
from ..settings import FLAT, Settings
from ..surfaces.chat import prior_tokens
from ..surfaces.surface import demonstration_tokens
from ..text import counted, shortened
from .step_notes import StepNotes

T = TypeVar("T")

SIZES = (4, 8, 16)
"""Demonstrations of a set, and of those nearest to a request; beside them as many as the prior's tokens allow."""
DRAWS = 2
"""Orders in which the examples are drawn."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One variant in the race."""

    variant: Variant
    tokens: int
    """Prompt tokens that it adds to a call."""
    reserve: Demonstration | None = None
    """Takes the place of a task's own example; of another task than any in the set."""

    def shown_on(self, task: Task) -> Variant:
        """The variant as one task is shown it: its own example is replaced by the reserve."""
        variant = self.variant
        if variant.nearest or all(entry.task != task.id for entry in variant.demonstrations):
            return variant
        others = (entry if entry.task != task.id else self.reserve for entry in variant.demonstrations)
        return replace(variant, demonstrations=tuple(entry for entry in others if entry))


@dataclass(frozen=True, slots=True)
class RaceSoFar:
    """What a proposer goes by."""

    examples: Sequence[Demonstration]
    """The usable ones, in the order of the tasks."""
    settings: Settings
    groups: Sequence[Group] = ()
    """Those of the first step; none before it."""
    best_first: Sequence[Variant] = ()
    """The variants that are still in the race after that step."""
    shared: int = 0
    """As of `example`."""


class Proposer(Protocol):
    """Any function from what is known to ways to prompt; numbers decide between them."""

    def __call__(self, known: RaceSoFar, /) -> Iterable[Variant] | Awaitable[Iterable[Variant]]:
        """Variants, each with its source for people."""
        ...


async def proposed(proposers: Iterable[Proposer], known: RaceSoFar, note: Callable[[str], None]) -> list[Variant]:
    """What all of them name; of one that fails nothing, which is said: the others race.

    Raises UpstreamError, StoreError.
    """
    found: list[Variant] = []
    for propose in proposers:
        try:
            named = propose(known)
            found += [*(await named if isawaitable(named) else named)]
        except BudgetEnded:
            continue  # so does the step that comes next, and it says so
        except (StoreError, UpstreamError):
            raise
        except Exception as error:
            name = getattr(propose, "__name__", type(propose).__name__)
            note(f"race: what {name} would propose is left out: {type(error).__name__}: {shortened(error)}")
    return found


def answer_text(answer: JSON) -> str | None:
    """A right answer as the assistant would say it: the first of several, else the JSON text of what is no text."""
    first = next((one for one in answer if one is not None), None) if isinstance(answer, list) else answer
    if first is None:
        return None
    text = first if isinstance(first, str) else canonical(first)
    return text if text.strip() else None


def example(task: Task, shared: int = 0) -> Demonstration | None:
    """A task with its own answer; None where it has none.

    Its first `shared` messages are left out: every request brings them along.
    """
    text = answer_text(task.answer)
    return None if text is None else Demonstration(asked_in(task, shared), text, task.id)


def asked_in(task: Task, shared: int) -> str | tuple[Message, ...]:
    """What a task asks, as a demonstration shows it: less its first `shared` messages."""
    asked = task.messages[shared:]
    alone = len(asked) == 1 and asked[0].get("role") == "user" and isinstance(asked[0].get("content"), str)
    return asked[0]["content"] if alone else asked


def shared_messages(tasks: Sequence[Task]) -> int:
    """How many messages all these tasks begin with, the last one of each aside."""
    first = tasks[0].messages if len(tasks) > 1 else ()
    most = min((len(task.messages) - 1 for task in tasks), default=0)
    alike = (all(task.messages[place] == first[place] for task in tasks) for place in range(most if first else 0))
    return sum(1 for _ in takewhile(bool, alike))


def in_turns(examples: Sequence[Demonstration], seed: int, draw: int) -> list[Demonstration]:
    """The examples in one order of many, drawn by hash; answers that repeat take turns."""
    drawn = sorted(examples, key=lambda entry: (derive_seed(seed, "draw", draw, entry.task), entry.id))
    return taking_turns(drawn, lambda entry: entry.answer)


def taking_turns(drawn: Iterable[T], answer: Callable[[T], str | None]) -> list[T]:
    """What was drawn, so that the first of each answer come before the second of any; None takes no turn."""
    before = Counter[str]()
    turns: list[tuple[int, T]] = []
    for one in drawn:
        label = answer(one)
        turns.append((before[label] if label is not None else 0, one))
        if label is not None:
            before[label] += 1
    return [one for _, one in sorted(turns, key=lambda pair: pair[0])]


def frozen(known: RaceSoFar) -> Iterator[Variant]:
    """The model as it is."""
    yield Variant(source="frozen")


def few_shot(known: RaceSoFar) -> Iterator[Variant]:
    """Sets of the first 4, 8 and 16 of each draw, and the whole draw, of which the prior's tokens say how much fits."""
    for draw in range(DRAWS):
        ordered = in_turns(known.examples, known.settings.seed, draw)
        for size in (*(size for size in SIZES if size < len(ordered)), len(ordered) - 1):
            if size > 0:
                yield Variant(None, tuple(ordered[:size]), source=f"{counted(size, 'example')}, draw {draw + 1}")


def nearest_shots(known: RaceSoFar) -> Iterator[Variant]:
    """The examples nearest to each request, of all there are."""
    examples = known.examples
    for size in SIZES:
        if size < len(examples):
            yield Variant(None, tuple(examples), size, source=f"{size} nearest of {len(examples)}")


PROPOSERS: tuple[Proposer, ...] = (frozen, few_shot, nearest_shots)
"""What needs no model, nor a run."""


@dataclass(frozen=True, slots=True)
class Field:
    """The arms that a race begins with, and what was left out."""

    arms: tuple[Arm, ...]
    notes: tuple[str, ...] = ()


def field_of(
    variants: Sequence[Variant], examples: Sequence[Demonstration], settings: Settings, count: Callable[[str], int]
) -> Field:
    """The variants as arms, each once; a set or pool that takes more than the prior's tokens is cut to what fits.

    `count` tells the tokens of a text.
    """
    arms: dict[str, Arm] = {}
    left_out, most = [], settings.prior_tokens
    for given in variants:
        variant = _fitting(given, most, count)
        if variant is None:
            left_out.append(given.source)
            continue
        arms.setdefault(variant.id, Arm(variant, tokens_of(variant, count), _reserve(variant, examples, most, count)))
    notes = [f"left out, for they take more than {most:,} tokens: {', '.join(left_out)}"]
    return Field(tuple(arms.values()), tuple(notes if left_out else ()))


def tokens_of(variant: Variant, count: Callable[[str], int]) -> int:
    """Prompt tokens that a variant adds to a call."""
    return prior_tokens(as_prior(variant), count)


def as_prior(variant: Variant, prior: Prior | None = None, parts: Mapping[str, Prior] = MappingProxyType({})) -> Prior:
    """A prior with the instruction and the demonstrations of a variant in place of its own.

    `parts`: by what their variants say, parts of other priors, whose experiences are experiences again.
    """
    prior, part = prior or Prior(), parts.get(variant.instruction or "")
    if part:
        own = (entry for entry in prior.experiences if entry not in part.experiences)
        prior = replace(prior, experiences=(*part.experiences, *own))
    return replace(
        prior,
        instruction=part.instruction if part else variant.instruction,
        demonstrations=variant.demonstrations,
        nearest=variant.nearest,
        embedding=variant.embedding,
    )


def variant_of(prior: Prior, source: str) -> Variant:
    """The way to prompt that a prior has beside its experiences and its token prior."""
    return Variant(prior.instruction, prior.demonstrations, prior.nearest, source, prior.embedding)


def combined(known: RaceSoFar) -> Iterator[Variant]:
    """The leader of one kind with that of the other."""
    told = next((one for one in known.best_first if one.instruction and not one.demonstrations), None)
    shown = next((one for one in known.best_first if one.demonstrations and not one.instruction), None)
    if told and shown:
        yield replace(shown, instruction=told.instruction, source=f"{told.source} with {shown.source}")


def verified_rollouts(known: RaceSoFar) -> Iterator[Variant]:
    """Rollouts that earned the full reward with more words than the answer, such as their reasoning, as demonstrations.

    The shortest of each task; nothing where fewer tasks than the smallest set has have one.
    """
    found = []
    for group in known.groups:
        own = example(group.task, known.shared)
        won = [one for one in group.scored if (one.reward or 0) >= 1 - FLAT and one.finish_reason != "length"]
        texts = [one.text.strip() for one in won if own and len(one.text.strip()) > 2 * len(own.answer)]
        if own and texts:
            found.append(replace(own, answer=min(texts, key=lambda text: (len(text), text))))
    ordered = in_turns(found, known.settings.seed, DRAWS)[: max(SIZES)]
    if len(ordered) >= min(SIZES):
        yield Variant(None, tuple(ordered), source=counted(len(ordered), "verified rollout"))


FOLLOWERS: tuple[Proposer, ...] = (verified_rollouts, combined)
"""What the first step of a race makes possible."""


def _fitting(variant: Variant, most: int, count: Callable[[str], int]) -> Variant | None:
    """The variant, a set cut to what fits into `most` tokens, a pool to what does whichever are nearest; None where
    that leaves nothing of it."""
    if variant.nearest:
        return _pool_fitting(variant, most, count)
    if tokens_of(variant, count) <= most:
        return variant

    def fits(size: int) -> bool:
        return tokens_of(replace(variant, demonstrations=variant.demonstrations[:size]), count) <= most

    size = bisect_left(range(1, len(variant.demonstrations) + 1), True, key=lambda size: not fits(size))
    if not size:
        return None
    return replace(variant, demonstrations=variant.demonstrations[:size], source=f"{size} of {variant.source}")


def _pool_fitting(variant: Variant, most: int, count: Callable[[str], int]) -> Variant | None:
    every, own = variant.demonstrations, tokens_of(replace(variant, demonstrations=(), nearest=0), count)
    pool = tuple(one for one in every if demonstration_tokens(one, count) * variant.nearest <= most - own)
    if len(pool) == len(every):
        return variant
    if len(pool) <= variant.nearest:
        return None
    return replace(variant, demonstrations=pool, source=variant.source.replace(f"of {len(every)}", f"of {len(pool)}"))


def _reserve(
    variant: Variant, examples: Sequence[Demonstration], most: int, count: Callable[[str], int]
) -> Demonstration | None:
    """An example of a task that is not in the set, and of the answer that the set holds least of; none that would take
    more than `most` tokens in the place of any."""
    if variant.nearest or not variant.demonstrations:
        return None
    inside = {entry.task for entry in variant.demonstrations}
    room = most - tokens_of(variant, count) + min(demonstration_tokens(one, count) for one in variant.demonstrations)
    left = [one for one in examples if one.task not in inside and demonstration_tokens(one, count) <= room]
    held = Counter(entry.answer for entry in variant.demonstrations)
    return min(left, key=lambda entry: (held[entry.answer], derive_seed("reserve", entry.id)), default=None)


@dataclass(frozen=True, slots=True)
class UsableExamples:
    """Tasks as demonstrations of their own answers."""

    shown: tuple[Demonstration, ...]
    tasks: int
    """How many tasks there were."""
    failed: int = 0
    """Those of which the reward could not say whether their answer is right."""
    why: str = ""
    """The first reason."""

    @property
    def left_out(self) -> str:
        """What is said of the tasks that cannot be shown; empty where there are none."""
        if len(self.shown) == self.tasks:
            return ""
        other, lines = self.tasks - len(self.shown) - self.failed, list[str]()
        if self.failed:
            lines.append(f"{counted(self.failed, 'task')} of {self.tasks} cannot be shown as examples: {self.why}")
        if other and not self.shown and not self.failed:
            return "no task has an answer that earns the full reward as it stands, so none is shown as an example"
        if other:
            none = "no answer, or one that earns less than the full reward"
            lines.append(f"{counted(other, 'task')} of {self.tasks} cannot be shown as examples: {none}")
        return "; ".join(lines)


async def usable_examples(tasks: Sequence[Task], reward: Reward, settings: Settings) -> UsableExamples:
    """The tasks whose own answer would earn the full reward if the model gave it in these words, as demonstrations.

    An answer that is no such text (a pattern, a list of conditions) would teach the model to say it.
    """
    shared, found, errors = shared_messages(tasks), list[Demonstration](), list[str]()
    shown = [(task, one) for task in tasks if (one := example(task, shared))]
    for start in range(0, len(shown), settings.concurrency):
        part = shown[start : start + settings.concurrency]  # a judge is asked about each
        said = await concurrently(
            score(reward, Rollout(task, 0, 0, "", text=one.answer), clip=settings.clip_rewards) for task, one in part
        )
        found += [one for (_, one), scored in zip(part, said, strict=True) if (scored.reward or 0.0) >= 1 - FLAT]
        errors += [scored.error for scored in said if scored.error]
    return UsableExamples(tuple(found), len(tasks), len(errors), errors[0] if errors else "")


async def examples_of_run(tasks: Sequence[Task], reward: Reward, settings: Settings, log: StepNotes) -> UsableExamples:
    """The usable examples as they were found when the run first began: a reward that fails now and then may say
    otherwise when it is resumed, and other examples would be other requests."""
    noted = await log.examples()
    if noted is None:
        found = await usable_examples(tasks, reward, settings)
        await log.note_examples([entry.task for entry in found.shown], found.failed, found.why)
        return found
    shared, of, (usable, failed, why) = shared_messages(tasks), {task.id: task for task in tasks}, noted
    shown = [example(of[task], shared) for task in usable if task in of]
    return UsableExamples(tuple(one for one in shown if one), len(tasks), failed, why)


def short_enough(examples: Sequence[Demonstration], most: int, count: Callable[[str], int]) -> list[Demonstration]:
    """The examples of which the smallest set fits into `most` tokens whichever they are, where that is at least half of
    them; else all that fit alone. One of excessive length would leave no room for others in any set that draws it."""
    tokens = [demonstration_tokens(one, count) for one in examples]
    short = [one for one, size in zip(examples, tokens, strict=True) if size * min(SIZES) <= most]
    if len(short) > min(SIZES) and 2 * len(short) >= len(examples):
        return short
    return [one for one, size in zip(examples, tokens, strict=True) if size <= most]


def left_out_as_long(examples: Sequence[Demonstration], short: Sequence[Demonstration], most: int) -> list[str]:
    """What is said of the examples that are not short enough; no line where all are."""
    if (left := len(examples) - len(short)) == 0:
        return []
    return [f"{counted(left, 'example')} of {len(examples)} left out as too long for sets of {most:,} tokens"]
