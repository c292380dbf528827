"""Variants that a user could have for nothing: training examples as demonstrations, in sets and as a pool. Pure.

A proposer names ways to prompt; the race (`race.py`) decides between them. Sets of one draw are beginnings of one
order, so that prompts share their beginnings and caches hit. The order takes the answers in turn, so that a set holds
answers that repeat alike.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ..hashing import canonical, derive_seed
from ..records import JSON, Demonstration, Prior, Task, Variant
from ..settings import Settings
from ..surfaces.chat import prior_tokens
from ..text import counted

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
    """Takes the place of a task's own example."""

    def shown_on(self, task: Task) -> Variant:
        """The variant as one task is shown it: its own example is replaced by the next of the draw."""
        variant = self.variant
        if variant.nearest or all(entry.task != task.id for entry in variant.demonstrations):
            return variant
        others = (entry if entry.task != task.id else self.reserve for entry in variant.demonstrations)
        return replace(variant, demonstrations=tuple(entry for entry in others if entry))


class Proposer(Protocol):
    """Any function from tasks to ways to prompt; numbers decide between them."""

    def __call__(self, examples: Sequence[Demonstration], settings: Settings, /) -> Iterator[Variant]:
        """Variants, each with its source for people; `examples` are the usable ones in the order of the tasks."""
        ...


def answer_text(answer: JSON) -> str | None:
    """A right answer as the assistant would say it: the first of several, else the JSON text of what is no text."""
    first = next((one for one in answer if one is not None), None) if isinstance(answer, list) else answer
    if first is None:
        return None
    text = first if isinstance(first, str) else canonical(first)
    return text if text.strip() else None


def example(task: Task) -> Demonstration | None:
    """A task with its own answer; None where it has none."""
    text = answer_text(task.answer)
    return None if text is None else Demonstration(task.input, text, task.id)


def in_turns(examples: Sequence[Demonstration], seed: int, draw: int) -> list[Demonstration]:
    """The examples in one order of many, drawn by hash; answers that repeat take turns."""
    drawn = sorted(examples, key=lambda entry: (derive_seed(seed, "draw", draw, entry.task), entry.id))
    turns, before = list[int](), Counter[str]()
    for entry in drawn:
        turns.append(before[entry.answer])
        before[entry.answer] += 1
    return [entry for _, entry in sorted(zip(turns, drawn, strict=True), key=lambda pair: pair[0])]


def frozen(examples: Sequence[Demonstration], settings: Settings) -> Iterator[Variant]:
    """The model as it is."""
    yield Variant(source="frozen")


def few_shot(examples: Sequence[Demonstration], settings: Settings) -> Iterator[Variant]:
    """Sets of the first 4, 8 and 16 of each draw, and the whole draw, of which the prior's tokens say how much fits."""
    for draw in range(DRAWS):
        ordered = in_turns(examples, settings.seed, draw)
        for size in (*(size for size in SIZES if size < len(ordered)), len(ordered) - 1):
            if size > 0:
                yield Variant(None, tuple(ordered[:size]), source=f"{counted(size, 'example')}, draw {draw + 1}")


def nearest_shots(examples: Sequence[Demonstration], settings: Settings) -> Iterator[Variant]:
    """The examples nearest to each request, of all there are."""
    for size in SIZES:
        if size < len(examples):
            yield Variant(None, tuple(examples), size, source=f"{size} nearest of {len(examples)}")


PROPOSERS: tuple[Proposer, ...] = (frozen, few_shot, nearest_shots)
"""What needs no model."""


@dataclass(frozen=True, slots=True)
class Field:
    """The arms that a race begins with, and what was left out."""

    arms: tuple[Arm, ...]
    notes: tuple[str, ...] = ()


def field_of(
    variants: Sequence[Variant], examples: Sequence[Demonstration], settings: Settings, count: Callable[[str], int]
) -> Field:
    """The variants as arms, each once; a set that takes more than the prior's tokens is cut to what fits.

    `count` tells the tokens of a text.
    """
    arms: dict[str, Arm] = {}
    left_out = []
    for given in variants:
        variant = _fitting(given, settings.prior_tokens, count)
        if variant is None:
            left_out.append(given.source)
            continue
        arms.setdefault(variant.id, Arm(variant, tokens_of(variant, count), _reserve(variant, examples)))
    notes = [f"left out, for they take more than {settings.prior_tokens:,} tokens: {', '.join(left_out)}"]
    return Field(tuple(arms.values()), tuple(notes if left_out else ()))


def tokens_of(variant: Variant, count: Callable[[str], int]) -> int:
    """Prompt tokens that a variant adds to a call."""
    return prior_tokens(as_prior(variant), count)


def as_prior(variant: Variant, prior: Prior | None = None) -> Prior:
    """A prior with the instruction and the demonstrations of a variant in place of its own."""
    return replace(
        prior or Prior(),
        instruction=variant.instruction,
        demonstrations=variant.demonstrations,
        nearest=variant.nearest,
    )


def variant_of(prior: Prior, source: str) -> Variant:
    """The way to prompt that a prior has beside its experiences and its token prior."""
    return Variant(prior.instruction, prior.demonstrations, prior.nearest, source)


def combined(one: Variant, other: Variant) -> Variant | None:
    """The instruction of the one with the demonstrations of the other; None where that is neither of them anew."""
    if not one.instruction or one.demonstrations or not other.demonstrations or other.instruction:
        return None
    return replace(other, instruction=one.instruction, source=f"{one.source} with {other.source}")


def _fitting(variant: Variant, most: int, count: Callable[[str], int]) -> Variant | None:
    """The variant, cut to the demonstrations that fit into `most` tokens; None where that leaves nothing of it."""
    if tokens_of(variant, count) <= most:
        return variant
    if variant.nearest or len(variant.demonstrations) <= max(SIZES):
        return None
    low, high = max(SIZES), len(variant.demonstrations)
    while high - low > 1:  # the tokens of a beginning grow with its length
        middle = (low + high) // 2
        fits = tokens_of(replace(variant, demonstrations=variant.demonstrations[:middle]), count) <= most
        low, high = (middle, high) if fits else (low, middle)
    if low == max(SIZES):
        return None
    draw = variant.source.rpartition(", ")[2]
    return replace(variant, demonstrations=variant.demonstrations[:low], source=f"{counted(low, 'example')}, {draw}")


def _reserve(variant: Variant, examples: Sequence[Demonstration]) -> Demonstration | None:
    """An example that is not in the set, and of the answer that most of the set has not."""
    inside = {entry.id for entry in variant.demonstrations}
    left = [entry for entry in examples if entry.id not in inside]
    held = Counter(entry.answer for entry in variant.demonstrations)
    return min(left, key=lambda entry: (held[entry.answer], derive_seed("reserve", entry.id)), default=None)
