"""Early experience in a small text environment: what was seen to follow, as rules and as it is, without any reward.

    python -m benchmarks.early --model local --kept calls.jsonl --minutes 5   # a real model; the same goes on
    python -m benchmarks.early --model local --by-hand                        # does it follow what is true, or seen?
    python -m benchmarks.early                                                # a SIMULATED one

In `tfgrpo.testing.StoreRoom` a box is to be fetched, and how the door opens is not said; before a panel (`--world
panel`) one of six buttons has a sign show what is wanted, and which is not said. The product explores it, writes rules
and reflections, and keeps those that help to predict what follows, and so it does with what was seen of each action.
Told are the agreement of predictions with what followed on transitions that chose nothing, and the share of tasks
solved, with: nothing; what is kept; of that the texts, and the transitions seen; all transitions seen, kept or not;
the same, each as of another action (`mixed up`); what was seen told in hindsight, as examples of acting; reflections
of the same number that were written without what followed (`ungrounded`); and the true rules, written by hand (`by
hand`), which say how far the model can follow rules at all. A grammar has llama.cpp act (and a choice vLLM) in the
environment's own words. The simulated model knows a transition where a rule that is shown says it, or a transition
that is shown is of that rule, and takes nothing to change elsewhere; shown how to open the door it does so in 80% of
turns, else it acts at random; asked for advice without what followed it names two actions at random.
"""

import argparse
import asyncio
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np

from benchmarks.early_worlds import HALLS, STORES, WORLDS, World
from benchmarks.kept import RUN, asked_of, served
from tfgrpo.errors import BudgetEnded
from tfgrpo.evaluation.difference import paired_difference
from tfgrpo.experiences.distil import Distiller
from tfgrpo.experiences.foreseen import agreement, as_shown, prediction, predictions
from tfgrpo.experiences.seen_actions import SeenAction, seen_actions, with_seen
from tfgrpo.experiences.transitions import Transition, explored
from tfgrpo.experiences.variants import as_prior
from tfgrpo.hashing import derive_seed
from tfgrpo.learning.explore import Exploration, agreement_gained, dealt_parts, explore
from tfgrpo.model.upstream import Model
from tfgrpo.records import (
    Backend,
    CallKey,
    ChatBody,
    Experience,
    Frame,
    Message,
    Prior,
    Task,
    Variant,
    message_text,
)
from tfgrpo.rollouts.acting import EnvironmentExecutor
from tfgrpo.rollouts.executor import SAMPLERS_OFF, ChatExecutor
from tfgrpo.rollouts.group import concurrently
from tfgrpo.settings import PROPOSES_SLOWLY, ROLLS_SLOWLY, Settings
from tfgrpo.testing import LAMPS, ScriptedModel, StoreRoom

ROOM = WORLDS["room"]
ARMS = (
    *("what is kept", "its texts", "its transitions", "in hindsight", "all transitions seen", "mixed up"),
    *("ungrounded", "by hand"),
)
SAMPLES = 3
"""Rollouts of a task that say whether it is solved."""


def simulated(body: ChatBody) -> str:
    """The simulated model: acts, predicts, writes rules of what it is shown, and advice."""
    said = "\n".join(message_text(message) for message in body["messages"])
    last, draw = message_text(body["messages"][-1]), random.Random(derive_seed(body.get("seed"), said))
    if "<transition" in said:
        return json.dumps([{"operation": "ADD", "text": text} for text in _rules(said)] or [{"operation": "NONE"}])
    if "pieces of advice" in said:
        one, other = draw.sample(ROOM.actions, 2)
        return json.dumps([{"operation": "ADD", "text": f"When you are in the hall, do {one} and then {other}."}])
    known = [*(rule for rule in ROOM.by_hand if rule in said), *_rules_of(_in_turns(body["messages"]))]
    if "What is the state then?" in last:
        return _guess(known, last)
    if ROOM.by_hand[3] in known and draw.random() < 0.8:
        return _opening(last)
    return draw.choice(ROOM.actions)


def _rules(said: str) -> list[str]:
    """The true rules that the transitions of a distiller's prompt show."""
    return _rules_of(re.findall(r"<state>(.*?)</state>\n<done>(.*?)</done>\n<then>(.*?)</then>", said, re.DOTALL))


def _rules_of(seen: Sequence[tuple[str, str, str]]) -> list[str]:
    """The true rules that transitions show, each a state, what was done and what followed."""
    changed = [(state, done) for state, done, then in seen if state != then]
    return [rule for rule in ROOM.by_hand if any(_says(rule, state, done) for state, done in changed)]


def _in_turns(messages: Sequence[Message]) -> list[tuple[str, str, str]]:
    """The transitions that are shown as turns."""
    pairs = zip(map(message_text, messages), map(message_text, messages[1:]), strict=False)
    asked = ((re.search(r"state:\n(.*)\n\nThis is done:\n(.*)\n", one), then) for one, then in pairs)
    return [(found[1], found[2], then) for found, then in asked if found]


def _says(rule: str, state: str, done: str) -> bool:
    condition = re.sub(r"^When (the |a )?", "", rule.partition(",")[0])
    shown = re.sub(r"door to the \w+ is", "door is", state)
    return condition in shown and f"doing {done} " in rule


def _guess(known: Sequence[str], last: str) -> str:
    state, done = map(str, re.findall(r"state:\n(.*?)\n\nThis is done:\n(.*?)\n", last, re.DOTALL)[-1])
    if not any(_says(rule, state, done) for rule in known):
        return state
    inside, here, there = "A box is here" in state, *re.findall(r"(?:in|to) the (\w+)", state)
    rooms = (there, here) if inside else (here, there)
    lamp = re.findall(r"lamp is (\w+)", state)[0]
    return StoreRoom(lamp, "is open" in state, inside, rooms=rooms).step(done).text


def _opening(shown: str) -> str:
    if "A box is here" in shown:
        return "take"
    return "go" if "is open" in shown else "turn" if "green" in shown else "press"


class Arm(NamedTuple):
    """What a model is shown."""

    texts: Sequence[Experience] = ()
    actions: Sequence[SeenAction] = ()
    acting: Variant | None = None
    """Examples of acting: where an action is to be chosen they stand in the place of the actions; elsewhere they say
    nothing."""

    @property
    def shown_acting(self) -> Prior:
        """It as it is shown where an action is to be chosen."""
        texts = as_shown(self.texts) if self.texts else Prior()
        return as_prior(self.acting, texts) if self.acting else with_seen(texts, self.actions)


def mixed_up(seen: Sequence[SeenAction], actions: Sequence[str]) -> tuple[SeenAction, ...]:
    """The same transitions, each as of the action after its own."""
    following = dict(zip(actions, (*actions[1:], actions[0]), strict=True))
    return seen_actions(
        [replace(one, action=following.get(one.action, one.action)) for action in seen for one in action.seen]
    )


async def ungrounded(
    distiller: Distiller, tasks: Sequence[Task], actions: Sequence[str], count: int
) -> list[Experience]:
    """Advice from tasks and actions alone."""
    asked = (
        f"Tasks:\n{{}}\nActions: {', '.join(actions)}.\n\nWrite {count} pieces of advice for whoever does such tasks,"
        ' each one sentence, as a JSON list:\n[{{"operation": "ADD", "text": "When ..., do ..., since ..."}}]'
    )
    found: dict[str, Experience] = {}
    for place in range(4):
        prompt = asked.format("\n".join(task.prompt for task in tasks[place * 5 : place * 5 + 5]))
        key = CallKey(distiller.run, "ungrounded", sample=place)
        reply = await distiller.model(distiller.body([{"role": "user", "content": prompt}], key, temperature=1), key)
        for text in re.findall(r'"text"\s*:\s*"([^"]+)"', reply.text):
            found.setdefault(text, Experience(text))
    return [*found.values()][: max(1, count)]


async def solved(executor: EnvironmentExecutor, tasks: Sequence[Task], shown: Arm | None = None) -> dict[str, float]:
    """By task, the mean reward of some rollouts."""
    prior = shown.shown_acting if shown else Prior()
    made = await concurrently(executor(task, prior, 1, sample) for task in tasks for sample in range(SAMPLES))
    by_task: dict[str, list[float]] = {}
    for rollout in made:
        by_task.setdefault(rollout.task.id, []).append(rollout.reward or 0.0)
    return {task: float(np.mean(rewards)) for task, rewards in by_task.items()}


def interval(values: Sequence[float]) -> str:
    """A mean difference in points, with its interval."""
    gain = paired_difference(np.array(values))
    return f"{100 * gain.mean:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"


async def compared(
    model: Model,
    name: str,
    backend: Backend,
    tasks: Sequence[Task],
    settings: Settings,
    *,
    world: World = ROOM,
    tried: int = 3,
    only: Sequence[str] = ARMS,
    temperature: float = 1.0,
) -> Exploration:
    """Print the exploration, of so many states a task and as many alternatives each, and the table of these arms."""
    words = " | ".join(map(json.dumps, world.actions))
    ways = {"llama.cpp": {"grammar": f"root ::= {words}"}, "vllm": {"structured_outputs": {"choice": [*world.actions]}}}
    acting = Frame(name, world.system, {"max_tokens": 12, **ways.get(backend.kind, {})}, temperature=1.0)
    saying = Frame(name, None, {"max_tokens": 60}, temperature=0.3)
    plain = ChatExecutor(model, acting, backend, run=RUN, stage="act", seed=0)
    executor = EnvironmentExecutor(plain, world.make, world.turns, at_once=settings.concurrency)
    predicting = ChatExecutor(model, saying, backend, run=RUN, stage="predict", seed=0)
    distiller = Distiller(model, name, RUN, settings, request=SAMPLERS_OFF.get(backend.kind, {}))
    found = await explore(executor, predicting, distiller, tasks, settings, states=tried, alternatives=tried)
    print("\n".join([*found.lines(), f"{len(found.dropped)} texts dropped, as {found.dropped[:2]}"]))
    teach, _, judge = dealt_parts(tasks, settings.seed)
    held = (await explored(executor, judge, states=tried, alternatives=tried)).transitions
    best = next(iter(found.hindsight), None)
    arms = {
        "what is kept": Arm(found.kept, found.kept_actions, best.variant if best and best.kept else None),
        "its texts": Arm(found.kept),
        "its transitions": Arm((), found.kept_actions),
        "in hindsight": Arm((), (), best.variant if best else None),
        "all transitions seen": Arm((), found.actions),
        "mixed up": Arm((), mixed_up(found.actions, world.actions)),
        "ungrounded": Arm(await ungrounded(distiller, teach, world.actions, max(3, len(found.kept)))),
        "by hand": Arm([*map(Experience, world.by_hand)]),
    }
    judged = EnvironmentExecutor(
        ChatExecutor(model, replace(acting, temperature=temperature), backend, run=RUN, stage="judged", seed=0),
        world.make,
        world.turns,
        at_once=settings.concurrency,
    )
    await table(judged, predicting, {arm: arms[arm] for arm in only}, held, tasks=judge, settings=settings)
    return found


async def table(
    executor: EnvironmentExecutor,
    predicting: ChatExecutor,
    arms: Mapping[str, Arm],
    held: Sequence[Transition],
    *,
    tasks: Sequence[Task],
    settings: Settings,
) -> None:
    """Print each arm less nothing."""
    frozen = await solved(executor, tasks)
    print(f"frozen: {np.mean([*frozen.values()]):.0%} of {len(tasks)} tasks solved; {len(held)} transitions held out")
    print(
        "| shown | texts | actions | examples | agreement less frozen's, points | tasks solved | less frozen, points |"
    )
    print("|---|---|---|---|---|---|---|")
    for arm, shown in arms.items():
        number = f"{len(shown.texts)} | {len(shown.actions)} | {shown.acting.source if shown.acting else 0}"
        if not any(shown):
            print(f"| {arm} | {number} | | | |")
            continue
        told = ""
        if shown.texts or shown.actions:
            gain = await agreement_gained(predicting, held, shown.texts, settings, shown.actions)
            told = f"{100 * gain.mean:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"
        done = await solved(executor, tasks, shown)
        less = interval([done[task] - frozen[task] for task in done])
        print(f"| {arm} | {number} | {told} | {np.mean([*done.values()]):.0%} | {less} |", flush=True)


def everything_that_follows(seed: int = 3) -> list[Transition]:
    """What follows on each action in each state, the states under names of their own."""
    draw, found = random.Random(seed), []
    for lamp, is_open, inside in product(LAMPS, (False, True), (False, True)):
        room = StoreRoom(lamp, is_open, inside, rooms=(draw.choice(HALLS), draw.choice(STORES)))
        before = replace(room).step("wait").text
        task = Task(before)
        found += [Transition(task, 0, before, action, room.clone().step(action).text, True) for action in ROOM.actions]
    return found


async def followed(model: Model, name: str, backend: Backend, settings: Settings) -> None:
    """Print how far a model says what follows, where the state changes and not, shown: nothing; the true rules; of what
    was seen in other rooms the nearest states."""
    saying = Frame(name, None, {"max_tokens": 40, "stop": ["\n"]}, temperature=0.0)
    predicting = ChatExecutor(model, saying, backend, run=RUN, stage="predict", seed=0)
    held, once = everything_that_follows(), replace(settings, trial_inclusion=1.0, group_size=1)
    without = np.zeros(len(held))
    changes = np.array([one.before != one.after for one in held])
    print("| texts | agreement where the state changes | where it does not |\n|---|---|---|")
    arms = {
        "none": Arm(),
        "transitions seen": Arm((), seen_actions(everything_that_follows(seed=4))),
        "by hand": Arm([*map(Experience, ROOM.by_hand)]),
    }
    for arm, shown in arms.items():
        groups = await predictions(predicting, held, shown.texts, once, actions=shown.actions)
        means = np.array([group.mean for group in groups])
        print(f"| {arm} | {means[changes].mean():.0%} | {means[~changes].mean():.0%} |")
        for one, group in [*zip(held, groups, strict=True)][:: len(held) // 6]:
            print(f"  {one.before} {one.action}: {group.rollouts[0].text!r}")
        without = means if arm == "none" else without
        if arm != "none":
            gains = [(means - without)[place :: len(ROOM.actions)] for place in range(len(ROOM.actions))]
            told = interval(np.mean(gains, axis=0).tolist())
            print(f"{arm} less none: {told} points over {len(gains[0])} states", flush=True)
    changing = [one for one in held if one.before != one.after]
    made = await concurrently(predicting(with_its_rule(one), Prior(), 2, 0) for one in changing)
    print(f"the rule that applies, last message: {np.mean([*map(agreement, made)]):.0%} where it changes")


def with_its_rule(transition: Transition) -> Task:
    """The task to say what follows, behind the true rule that says it."""
    asked = prediction(transition)
    *shown, last = asked.messages
    rules = "\n".join(f"- {rule}" for rule in ROOM.by_hand if _says(rule, transition.before, transition.action))
    said = f"This is known of the world:\n{rules}\n\n{message_text(last)}"
    return replace(asked, input=(*shown, {"role": "user", "content": said}))


async def real(asked: argparse.Namespace, settings: Settings) -> None:
    """On a model that is served."""
    async with served(asked, settings) as (upstream, name, backend):
        if asked.by_hand:
            await followed(upstream, name, backend, settings)
            return
        world = WORLDS[asked.world]
        tasks = world.tasks(asked.tasks)
        shown = {"tried": asked.tried, "only": asked.arms, "temperature": asked.temperature}
        await compared(upstream, name, backend, tasks, settings, world=world, **shown)
        print(f"{name}, {asked.world}: {asked.tasks} tasks, groups of {settings.group_size}")


def main() -> None:
    """The table, of a real model where one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", choices=WORLDS, default="room", help="of a real model (default: room)")
    parser.add_argument("--tasks", type=int, default=96)
    parser.add_argument("--group-size", type=int, default=8)
    parser.add_argument("--tried", type=int, default=3, help="states of a task at which as many actions are tried")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS, metavar="ARM", help=", ".join(ARMS))
    parser.add_argument("--temperature", type=float, default=1.0, help="of the acting in the table (exploring: 1)")
    parser.add_argument("--by-hand", action="store_true", help="only: does the model follow the true rules at all?")
    asked_of(parser)
    asked = parser.parse_args()
    settings = Settings(concurrency=32, group_size=asked.group_size)
    if asked.model:
        if asked.model.startswith("local"):  # more at once would read the same beginnings again and again
            settings = replace(settings, concurrency=asked.slots, **ROLLS_SLOWLY, **PROPOSES_SLOWLY)
        try:
            asyncio.run(real(asked, settings))
        except BudgetEnded as ended:
            raise SystemExit(f"{ended}; the same command goes on") from None
        return
    model, tasks = ScriptedModel(simulated), ROOM.tasks(asked.tasks)
    arms = [arm for arm in asked.arms if arm != "mixed up"]  # it knows of a transition only what it is about
    asyncio.run(compared(model, "simulated", Backend(), tasks, settings, tried=asked.tried, only=arms))


if __name__ == "__main__":
    main()
