"""Bounded context beside full context and truncation, on tasks with a small state: counting, sums, an automaton, lists.

    python -m benchmarks.bounded --model local:FILE --kept calls.jsonl --minutes 5   # a real model; the same goes on
    python -m benchmarks.bounded --model local:FILE --families chain-sum letter-counting a-b      # of reasoning-gym
    python -m benchmarks.bounded                                                     # a SIMULATED one

Three arms answer the same tasks, at temperature 0: `full` (all chunks' tokens at once), `truncated` (one chunk),
`bounded` (C = 256, m = 128, 8 chunks, or --bounds C:m:CHUNKS). Tasks show two short examples; one is `right` where the
last line is (of those with an `Answer:`) or the whole list (of the others); `lines` is the share of its lines that the
answer has. Their answers are from below C to all chunks long. `beyond the question` is the longest prompt of a call
less the task's own. `looked at` is what a token of the answer looks at on average, the question aside, which is what
attention costs: a cost that is linear in the length of the answer is a constant there. What is asked in the same words
by two arms is asked once.
The simulated model counts on from the last number that it sees: it shows what the arms cost, and that nothing is lost
at a boundary; not what a language model does.
"""

import argparse
import asyncio
import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from benchmarks.bounded_gym import GYM, numbered
from benchmarks.kept import asked_of, served
from tfgrpo.errors import BudgetEnded
from tfgrpo.evaluation.difference import paired_difference
from tfgrpo.hashing import content_id
from tfgrpo.model.tokenizer import Tokenizer
from tfgrpo.model.upstream import Model
from tfgrpo.records import (
    JSON,
    Backend,
    CallKey,
    ChatBody,
    Frame,
    Message,
    Prior,
    Reply,
    Rollout,
    Task,
    Usage,
    message_text,
)
from tfgrpo.rollouts.bounded import BoundedExecutor, Bounds, bounds_of
from tfgrpo.rollouts.executor import ChatExecutor
from tfgrpo.rollouts.group import unless_ended
from tfgrpo.settings import Settings
from tfgrpo.testing import Answer, ScriptedModel

BOUNDS = Bounds(256, 128, 8)
ARMS = ("full", "truncated", "bounded")
AT_ONCE = 32
"""Tasks that are under way together."""


def longest(bounds: Bounds) -> int:
    """Tokens of an answer of all chunks."""
    return bounds.chunk + (bounds.chunks - 1) * (bounds.chunk - bounds.carry)


def arms_of(bounds: Bounds) -> Mapping[str, Bounds]:
    """How each arm cuts its answers."""
    return dict(zip(ARMS, (Bounds(longest(bounds), 1, 1), Bounds(bounds.chunk, 1, 1), bounds), strict=True))


@dataclass(slots=True)
class Watched:
    """A model, and what each call of an arm, which is the run of its calls, used at a task, in order."""

    model: Model
    used: dict[tuple[str, str], list[Usage]] = field(default_factory=lambda: defaultdict(list))
    known: dict[str, Reply] = field(default_factory=dict)
    """By what was asked: at temperature 0 it is asked once."""

    async def __call__(self, body: ChatBody, key: CallKey) -> Reply:
        asked = content_id("asked", body)
        reply = self.known[asked] = self.known.get(asked) or await self.model(body, key)
        self.used[key.run, key.task].append(reply.usage)
        return reply


def adding(draw: random.Random, size: int) -> tuple[str, str]:
    """A long sum, and how it is worked out."""
    terms = [draw.randint(1, 9) for _ in range(size)]
    lines = numbered([f"{term} + {sum(terms[:at])} = {sum(terms[: at + 1])}" for at, term in enumerate(terms)])
    return f"Add up, one line for each number:\n{numbered(terms)}", f"{lines}\nAnswer: {sum(terms)}"


def switching(draw: random.Random, size: int) -> tuple[str, str]:
    """An automaton of two states, and its course."""
    moves, states = [draw.choice(["press", "wait"]) for _ in range(size)], ("off", "on")
    course = [states[sum(move == "press" for move in moves[:at]) % 2] for at in range(size + 1)]
    asked = "A lamp is off. 'press' turns it from off to on and from on to off; 'wait' changes nothing. Follow it:"
    lines = numbered([f"{move}: {course[at]} -> {course[at + 1]}" for at, move in enumerate(moves)])
    return f"{asked}\n{numbered(moves)}", f"{lines}\nAnswer: {course[-1]}"


WORDS = ("apple", "river", "stone", "cloud", "horse", "table", "green", "paper", "light", "north", "bread", "water")


def capitals(draw: random.Random, size: int) -> tuple[str, str]:
    """Words to be written in capitals, of which the next one is all that there is to remember."""
    words = draw.choices(WORDS, k=size)
    said = numbered([f"{word} = {word.upper()}" for word in words])
    return f"Write each word in capitals, one line for each:\n{numbered(words)}", said


def next_ones(draw: random.Random, size: int) -> tuple[str, str]:
    """Numbers of which the next one is wanted."""
    numbers = [draw.randint(10, 98) for _ in range(size)]
    said = numbered([f"{number} -> {number + 1}" for number in numbers])
    return f"Write the next whole number of each, one line for each:\n{numbered(numbers)}", said


def counting_on(draw: random.Random, size: int) -> tuple[str, str]:
    """Numbers in a row, of which the last one is all that there is to remember."""
    first = draw.randint(11, 60)
    said = "\n".join(str(first + place) for place in range(size))
    return f"Count from {first} to {first + size - 1}, one number a line.", said


FAMILIES: Mapping[str, tuple[Callable[[random.Random, int], tuple[str, str]], int, int]] = {
    "sum": (adding, 12, 50),
    "automaton": (switching, 20, 90),
    "capitals": (capitals, 20, 90),
    "next": (next_ones, 16, 70),
    "count": (counting_on, 40, 230),
}
"""How a task is made, and its smallest and largest size where C is 256: answers from below C to some 900 tokens."""
EXAMPLES = (8, 12)
"""Sizes of the examples that a task shows."""


def made_tasks(count: int, seed: int = 1, families: Sequence[str] = (), scale: float = 1.0) -> list[Task]:
    """Tasks of each family in turn, from short to long; each shows two short ones with their answers."""
    found, names = [], families or list(FAMILIES)
    for place in range(count):
        name = names[place % len(names)]
        make, *sizes = {**FAMILIES, **GYM}[name]
        least, most = (round(size * scale) for size in sizes)
        draw = random.Random(f"{seed} {place}")
        size = least + (most - least) * (place // len(names)) // max(1, (count - 1) // len(names))
        (asked, answer), shown = make(draw, size), [make(draw, smaller) for smaller in EXAMPLES]
        turns = [turn for example, said in shown for turn in (("user", example), ("assistant", said))]
        messages: tuple[Message, ...] = tuple(
            {"role": role, "content": text} for role, text in [*turns, ("user", asked)]
        )
        whole = " ".join(answer.split())
        known: dict[str, JSON] = {"family": name, "lines": answer.splitlines()}
        found.append(Task(messages, whole if "Answer" not in answer else answer.splitlines()[-1], known))
    random.Random(seed).shuffle(found)
    return found


def is_right(rollout: Rollout) -> float:
    """1 where the answer stands in the text, with no further digit behind it; of reasoning-gym as a line."""
    wanted = str(rollout.task.answer).strip()
    if rollout.task.metadata.get("family") in GYM and wanted.startswith("Answer:"):
        return float(wanted in map(str.strip, rollout.text.splitlines()))
    said = " ".join(rollout.text.split())
    return float(re.search(rf"(?<!\d){re.escape(wanted)}(?!\d)", said) is not None)


def lines_right(rollout: Rollout) -> float:
    """The share of the lines of the answer that the text has."""
    wanted: Counter[str] = Counter(rollout.task.metadata.get("lines", ()))
    if not wanted:
        return is_right(rollout)
    return (wanted & Counter(line.strip() for line in rollout.text.splitlines())).total() / wanted.total()


def counting(body: ChatBody) -> Answer:
    """The simulated model."""
    first, last = message_text(body["messages"][0]), message_text(body["messages"][-1])
    goal = int(re.findall(r"\d+", first)[0])
    seen = 0 if len(body["messages"]) == 1 else int(re.findall(r"\d+", last)[-1])
    numbers = range(seen + 1, min(goal, seen + body["max_tokens"]) + 1)
    return Answer("".join(f"{number} " for number in numbers), "stop" if numbers.stop > goal else "length")


def made_up(count: int) -> list[Task]:
    """Goals from 100 to what the full context has room for."""
    goals = [100 + (longest(BOUNDS) - 100) * place // max(1, count - 1) for place in range(count)]
    return [Task(f"Count to {goal}.", " ".join(map(str, range(1, goal + 1)))) for goal in goals]


async def answered(
    model: Watched,
    frame: Frame,
    backend: Backend,
    tasks: Sequence[Task],
    *,
    bounds: Bounds = BOUNDS,
    tokenizer: Callable[[], Tokenizer | None] = lambda: None,
    at_once: int = AT_ONCE,
) -> list[dict[str, Rollout]]:
    """Each task by all arms, but for those at which the budget ended."""
    makers = {
        arm: BoundedExecutor(ChatExecutor(model, frame, backend, run=arm, stage="chunk", seed=0), cut, tokenizer)
        for arm, cut in arms_of(bounds).items()
    }
    room = asyncio.Semaphore(at_once)

    async def one(task: Task) -> dict[str, Rollout]:
        async with room:
            made = {arm: await make(task, Prior(), 0, 0) for arm, make in makers.items()}
        told = ", ".join(
            f"{arm} {lines_right(rollout):.0%} of lines, {rollout.usage.completion_tokens} tokens"
            for arm, rollout in made.items()
        )
        print(f"{task.metadata.get('family', 'count')}: {told}", file=sys.stderr, flush=True)
        return {arm: replace(rollout, reward=lines_right(rollout)) for arm, rollout in made.items()}

    found = await asyncio.gather(*(unless_ended(one(task)) for task in tasks))
    whole = [arms for arms in found if not isinstance(arms, BudgetEnded)]
    return [arms for arms in whole if not any(rollout.error for rollout in arms.values())]


def beyond(used: Sequence[Usage]) -> int:
    """The longest prompt of a rollout's calls less the first one, which is the task's own."""
    return max(one.prompt_tokens for one in used) - used[0].prompt_tokens


def looked_at(used: Sequence[Usage]) -> float:
    """What a token of the answer looks at on average, the question aside."""
    read = sum(
        one.completion_tokens * (one.prompt_tokens - used[0].prompt_tokens + one.completion_tokens / 2) for one in used
    )
    return read / max(1, sum(one.completion_tokens for one in used))


def tell(found: Sequence[Mapping[str, Rollout]], model: Watched, bounds: Bounds = BOUNDS) -> None:
    """Print what came of it."""
    print("| arm | right | lines | prompt tokens a task | answer tokens a task | longest prompt beyond the question |")
    print("|" + "---|" * 6)
    for arm in ARMS:
        made = [arms[arm] for arms in found]
        right, lines = (np.mean([score(one) for one in made]) for score in (is_right, lines_right))
        prompts, answers = (
            np.mean([getattr(one.usage, name) for one in made]) for name in ("prompt_tokens", "completion_tokens")
        )
        most = max(beyond(model.used[arm, one.task.id]) for one in made)
        print(f"| {arm} | {right:.0%} | {lines:.0%} | {prompts:.0f} | {answers:.0f} | {most} |")
    for other in ("full", "truncated"):
        each = [(arms["bounded"].reward or 0.0) - (arms[other].reward or 0.0) for arms in found]
        gain = paired_difference(np.array(each))
        told = f"{100 * gain.mean:+.1f} points [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
        print(f"bounded less {other}, lines: {told}, {gain.wins} wins and {gain.losses} losses in {len(each)} tasks")
    by_family(found)
    by_length(found, model, bounds)


def by_family(found: Sequence[Mapping[str, Rollout]]) -> None:
    """Print the share of lines by family."""
    for family in dict.fromkeys(str(arms["full"].task.metadata.get("family", "count")) for arms in found):
        own = [arms for arms in found if arms["full"].task.metadata.get("family", "count") == family]
        shares = ", ".join(f"{arm} {np.mean([arms[arm].reward or 0.0 for arms in own]):.0%}" for arm in ARMS)
        print(f"{family}, {len(own)} tasks: {shares}")


def by_length(found: Sequence[Mapping[str, Rollout]], model: Watched, bounds: Bounds) -> None:
    """Print the share of lines and cost by length of the full answer."""
    lengths = (0, bounds.chunk, *range(2 * bounds.chunk, longest(bounds), bounds.chunk), longest(bounds) + 1)
    print("| tokens of the full answer | tasks | full | truncated | bounded | looked at: full | looked at: bounded |")
    print("|" + "---|" * 7)
    for low, high in pairwise(lengths):
        own = [arms for arms in found if low <= arms["full"].usage.completion_tokens < high]
        if not own:
            continue
        right = [f"{np.mean([arms[arm].reward or 0.0 for arms in own]):.0%}" for arm in ARMS]
        cost = [
            f"{np.mean([looked_at(model.used[arm, arms[arm].task.id]) for arms in own]):.0f}"
            for arm in ("full", "bounded")
        ]
        print(f"| {low} to {high - 1} | {len(own)} | {' | '.join([*right, *cost])} |")


async def real(asked: argparse.Namespace) -> None:
    """On a model that is served."""
    bounds, at_once = bounds_of(asked.bounds), min(AT_ONCE, asked.slots)
    async with served(asked, Settings(concurrency=AT_ONCE)) as (upstream, name, backend):
        model, frame = Watched(upstream), Frame(name, temperature=0.0)
        tasks = made_tasks(asked.tasks, families=asked.families, scale=bounds.chunk / BOUNDS.chunk)
        found = await answered(
            model, frame, backend, tasks, bounds=bounds, tokenizer=lambda: upstream.tokenizer, at_once=at_once
        )
        tell(found, model, bounds)
        print(f"{name}, known as {backend.kind}: {len(found)} of {asked.tasks} tasks, bounds {asked.bounds}")
        for arm in ("full", "bounded"):
            print(f"  {arm}, one text: ...{found[0][arm].text[-200:]!r}, wanted {found[0][arm].task.answer!r:.60}")


async def simulated(count: int) -> None:
    """On the simulated model."""
    model = Watched(ScriptedModel(counting))
    tell(await answered(model, Frame("simulated"), Backend("llama.cpp"), made_up(count)), model)


def main() -> None:
    """The tables, of a real model where one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=96)
    parser.add_argument("--bounds", default="256:128:8", metavar="C:m:CHUNKS")
    parser.add_argument("--families", nargs="*", choices=sorted({**FAMILIES, **GYM}), default=[])
    asked_of(parser)
    asked = parser.parse_args()
    asyncio.run(real(asked) if asked.model else simulated(min(40, asked.tasks)))


if __name__ == "__main__":
    main()
