"""Early experience: what follows on actions is seen in an environment, written down as rules, and measured.

From Agent Learning via Early Experience (arXiv 2510.08558). At states of the model's own rollouts alternatives to its
action are tried on branches of the environment, and what follows is seen; no reward is needed. The distiller writes
rules from many transitions ("When S, doing A leads to S'") and reflections from those of one state, never without what
was seen to follow. States and actions have no names that judge them, and a text with a word that does is dropped.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import ModelError, UpstreamError
from ..hashing import derive_seed
from ..prompts import clip, neutralise, template
from ..records import CallKey, Experience, Origin, Prior, Rollout, Task
from ..rollouts.environment import EnvironmentExecutor, Walk, action_in, actions_of
from ..rollouts.group import concurrently
from ..text import words
from .admission import text_refusal
from .answers import Form, Proposals
from .distil import Distiller, ask

JUDGING = (
    "best",
    "better",
    "correct",
    "correctly",
    "expert",
    "ideal",
    "optimal",
    "perfect",
    "should have",
    "suboptimal",
)
"""Words that say how good an action was, which nobody has measured; allowed where what was seen says them."""
BATCH = 10
"""Transitions that rules are written from at once."""
_STATE_CHARS = 1_500


@dataclass(frozen=True, slots=True)
class Transition:
    """What followed on an action in a state."""

    task: Task
    turn: int
    before: str
    action: str
    after: str
    own: bool
    """It is the model's own action, and no alternative."""

    def told(self) -> str:
        """It as the distiller is shown it."""
        parts = (("state", self.before), ("done", self.action), ("then", self.after))
        inside = "\n".join(f"<{name}>{neutralise(clip(text, _STATE_CHARS))}</{name}>" for name, text in parts)
        return f"<transition>\n{inside}\n</transition>"


@dataclass(frozen=True, slots=True)
class Explored:
    """What was seen of an environment."""

    transitions: tuple[Transition, ...]
    """Each state and action once."""
    rollouts: int
    replayed: int
    """Steps that were made once more, for the environment has no `clone`."""
    failures: tuple[str, ...]


async def explored(executor: EnvironmentExecutor, tasks: Sequence[Task], *, states: int, alternatives: int) -> Explored:
    """Transitions at so many states of one rollout of each task: its own action and so many alternatives."""
    found = await concurrently(_at_task(executor, task, states, alternatives) for task in tasks)
    seen: dict[tuple[str, str], Transition] = {}
    for transitions, _, _ in found:
        for one in transitions:
            seen.setdefault((one.before, one.action), one)
    failures = tuple(why for _, _, why in found if why)
    return Explored(tuple(seen.values()), len(tasks), sum(replayed for _, replayed, _ in found), failures)


async def _at_task(
    executor: EnvironmentExecutor, task: Task, states: int, alternatives: int
) -> tuple[list[Transition], int, str | None]:
    """The transitions of one task, the steps that were replayed, and why there are no more."""
    rollout = await executor(task, Prior(), 0, 0)
    actions, seed = actions_of(rollout), executor.plain.seed
    turns = sorted(range(len(actions)), key=lambda turn: derive_seed(seed, "state", task.id, turn))[:states]
    walk, found = Walk.begun(executor.make, task), list[Transition]()
    for turn, own in enumerate(actions):
        before = walk.shown.text
        if turn in turns:
            others = await _alternatives(executor, rollout, turn, own, alternatives)
            found += [Transition(task, turn, before, one, walk.after(one).text, False) for one in others]
        after = walk.step(own).text
        if turn in turns:
            found.append(Transition(task, turn, before, own, after, True))
    return found, walk.replayed, rollout.error


async def _alternatives(
    executor: EnvironmentExecutor, rollout: Rollout, turn: int, own: str, wanted: int
) -> Sequence[str]:
    """Other actions that the model takes at a turn of its rollout, at most so many; twice as many are sampled."""
    first = len(rollout.messages) - 2 * len(actions_of(rollout))
    messages, task = rollout.messages[: first + 2 * turn], rollout.task.id

    async def sampled(number: int) -> str | None:
        key = CallKey(executor.plain.run, f"{executor.plain.stage} other", 0, task, number, turn)
        try:
            return action_in((await executor.plain.model(executor.asked(messages, Prior(), key), key)).text)
        except UpstreamError:
            raise
        except ModelError:
            return None

    said = await concurrently(sampled(number) for number in range(2 * wanted))
    return [*dict.fromkeys(one for one in said if one and one != own)][:wanted]


async def written(
    distiller: Distiller, transitions: Sequence[Transition]
) -> tuple[tuple[Experience, ...], tuple[str, ...]]:
    """Rules and reflections from what was seen, and why others were dropped; raises UpstreamError."""
    batches = [transitions[start : start + BATCH] for start in range(0, len(transitions), BATCH)]
    states: dict[tuple[str, int], list[Transition]] = {}
    for one in transitions:
        states.setdefault((one.task.id, one.turn), []).append(one)
    compared = [seen for seen in states.values() if len(seen) > 1]
    proposed = await concurrently(
        [
            *(_rules(distiller, batch, number) for number, batch in enumerate(batches)),
            *(_reflections(distiller, seen) for seen in compared),
        ]
    )
    return _admitted(proposed, transitions)


async def _rules(distiller: Distiller, seen: Sequence[Transition], number: int) -> Proposals:
    key = CallKey(distiller.run, "transitions", sample=number)
    return await _asked(distiller, key, seen, distiller.settings.trial_experiences)


async def _reflections(distiller: Distiller, seen: Sequence[Transition]) -> Proposals:
    key = CallKey(distiller.run, "reflections", task=seen[0].task.id, sample=seen[0].turn)
    return await _asked(distiller, key, seen, 1, task=neutralise(clip(seen[0].task.prompt, _STATE_CHARS)))


async def _asked(
    distiller: Distiller, key: CallKey, seen: Sequence[Transition], limit: int, **blanks: str
) -> Proposals:
    prompt, most = template(key.stage), distiller.settings.experience_words
    told = "\n".join(one.told() for one in seen)
    messages = prompt.messages(transitions=told, limit=str(limit), words=str(most), **blanks)
    form = Form((), limit, most, prompt.text, tasks=tuple(dict.fromkeys(one.task.id for one in seen)))
    try:
        return await ask(distiller, key, messages, form.read, form)
    except UpstreamError:
        raise
    except ModelError as error:
        return Proposals(failure=str(error))


def _admitted(
    proposed: Iterable[Proposals], transitions: Sequence[Transition]
) -> tuple[tuple[Experience, ...], tuple[str, ...]]:
    """The texts that may be measured, those proposed most often first, and why others may not."""
    seen = " ".join(f"{one.before} {one.action} {one.after}" for one in transitions)
    tasks = [*{one.task.id: one.task for one in transitions}.values()]
    sources: dict[str, set[str]] = {}
    often, dropped = Counter[str](), list[str]()
    for found in proposed:
        dropped += [*found.dropped, *([found.failure] if found.failure else [])]
        for edit in found.edits:
            sources.setdefault(edit.text, set()).update(edit.tasks)
            often[edit.text] += 1
    admitted: list[Experience] = []
    for text, _ in often.most_common():
        if why := judges(text, seen) or text_refusal(text, tasks):
            dropped.append(f"{text!r}: {why}")
        else:
            admitted.append(Experience(text, origin=Origin(tasks=tuple(sorted(sources[text])))))
    return tuple(admitted), tuple(dropped)


def judges(text: str, seen: str) -> str | None:
    """Why a text says how good an action was; None where it does not, or what was seen says that word."""
    said, known = f" {' '.join(words(text))} ", f" {' '.join(words(seen))} "
    word = next((one for one in JUDGING if f" {one} " in said and f" {one} " not in known), None)
    return f"it says {word!r}, which nothing has shown" if word else None
