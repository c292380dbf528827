"""What a text about an environment is worth, without any reward: how much better a model says what follows with it.

A model is given a state and an action that nothing was written from, and is to say what follows. Its agreement with
what followed is the reward of that rollout, each rollout is shown its own subset of the texts and of what was seen to
follow (`seen_actions.py`), and their effects are those of `credit.py`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from ..prompts import template
from ..records import Effect, Experience, Group, Message, Origin, Prior, Rollout, Task
from ..rollouts.executor import Executor, with_failure
from ..rollouts.group import Under, roll_groups
from ..rollouts.rewards.reward import score
from ..settings import Settings
from ..text import words
from .credit import FEWEST_TASKS, estimate, to_keep, to_keep_together
from .dealing import included
from .seen_actions import SeenAction, behind, of_action
from .transitions import Transition, what_follows

IN_ANOTHER_WORLD = (
    ("The tap is shut. The bowl is empty.", "sing", "The tap is shut. The bowl is empty."),
    ("The tap is shut. The bowl is empty.", "open the tap", "The tap is open. The bowl is full."),
)
"""How to answer, shown in another world. Without it SmolLM2-135M answered in words around the state ("The state is:"),
which say nothing of it; shown by the state itself, where nothing is done, it said of everything that nothing changes.
"""


def prediction(transition: Transition) -> Task:
    """The task to say what follows."""
    turns = list[Message]()
    for before, action, after in (*IN_ANOTHER_WORLD, (transition.before, transition.action, "")):
        turns.append({"role": "user", "content": what_follows(before, action)})
        turns += [{"role": "assistant", "content": after}] if after else []
    return Task(tuple(turns), transition.after, {"before": transition.before, "action": transition.action})


def agreement(rollout: Rollout) -> float:
    """How far a prediction agrees with what followed: the smaller F1 of the words that come with the action and go.

    1 as well where nothing changes and nothing is said to. To repeat the state earns nothing where it changes, nor does
    to say nothing of it, though all that goes is then left out.
    """
    before = str(rollout.task.metadata["before"])
    said, wanted = word_changes(before, rollout.text), word_changes(before, str(rollout.task.answer))
    return min(map(_shared, said, wanted))


def word_changes(before: str, after: str) -> tuple[Counter[str], Counter[str]]:
    """The words that a state has more of than the one before, and less of, as often.

    Where it has the same words in another order (two rooms change places) it is the pairs of neighbours.
    """
    old, new = words(before), words(after)
    if old != new and Counter(old) == Counter(new):
        old, new = ([" ".join(pair) for pair in pairwise(said)] for said in (old, new))
    return Counter(new) - Counter(old), Counter(old) - Counter(new)


def _shared(said: Counter[str], wanted: Counter[str]) -> float:
    """F1; 1 where neither has any."""
    total = said.total() + wanted.total()
    return 2 * (said & wanted).total() / total if total else 1.0


async def predictions(
    executor: Executor,
    held: Sequence[Transition],
    texts: Sequence[Experience],
    settings: Settings,
    *,
    actions: Sequence[SeenAction] = (),
    step: int = 0,
    landed: Callable[[Rollout], None] = lambda rollout: None,
) -> list[Group]:
    """A group of predictions of each transition, each shown its own subset of the texts, and what was seen or not.

    One that fails by itself (a request that grew too long) agrees with nothing. `landed` is told of each prediction.
    """

    def dealt(candidates: Sequence[Experience], task: Task, sample: int) -> tuple[Experience, ...]:
        return included(candidates, (), settings, task=task.id, step=step, sample=sample)

    async def told(task: Task, prior: Prior, step: int, sample: int) -> Rollout:
        made = await scored(task, prior, step, sample)
        landed(made)
        return made

    async def scored(task: Task, prior: Prior, step: int, sample: int) -> Rollout:
        before, action = str(task.metadata["before"]), str(task.metadata["action"])
        seen = of_action(actions, action)
        if seen is None or not dealt([seen.dealt], task, sample):
            return with_failure(await score(agreement, await executor(task, prior, step, sample)))
        made = await executor(behind(task, seen.nearest_to(before, action)), prior, step, sample)
        shown = replace(made, task=task, included=(*made.included, seen.dealt.id))
        return with_failure(await score(agreement, shown))

    def under(task: Task, sample: int) -> Under:
        return Under(as_shown(dealt(texts, task, sample)))

    tasks, size = [*{task.id: task for task in map(prediction, held)}.values()], settings.group_size
    return await roll_groups(told, tasks, Prior(), step=step, size=size, under=under, landed=lambda group: group)


def as_shown(texts: Sequence[Experience]) -> Prior:
    """A prior of these texts."""
    return Prior(tuple(texts), template=template("prior").version)


def at_their_tasks(groups: Sequence[Group], held: Sequence[Transition]) -> list[Group]:
    """The groups as of the tasks that the transitions come from: those of one task are alike, and no evidence of many.

    Told by prediction, of what helps on some tasks and hurts as much on others 11 to 31% was kept; by task 2 to 5%.
    """
    of = {prediction(one).id: one.task for one in held}
    return [replace(group, task=of[group.task.id]) for group in groups]


def effects(
    groups: Sequence[Group], texts: Sequence[Experience], settings: Settings, actions: Sequence[SeenAction] = ()
) -> tuple[Effect, ...]:
    """What each text adds to the agreement, on the actions that it names, or on all where it names none of them; and
    then what was seen of each action, where that is done.

    A rule says nothing of other actions, where its effect would drown. The tasks that it came from are not among these.
    Of an action that is done at fewer than FEWEST_TASKS of them nothing is told by itself.
    """
    done = [str(group.rollouts[0].task.metadata["action"]) for group in groups]
    found: list[Effect] = []
    for text in texts:
        named = _where(groups, [names(text.text, action) for action in done])
        found += estimate(named or groups, [replace(text, origin=Origin())], settings)
    for one in actions:
        found += estimate(_where(groups, [one.covers(action) for action in done]), [one.dealt], settings)
    return tuple(found)


def _where(groups: Sequence[Group], counting: Sequence[bool]) -> list[Group]:
    """The groups that count; none where they are of too few tasks."""
    found = [group for group, counts in zip(groups, counting, strict=True) if counts]
    return found if len({group.task.id for group in found}) >= FEWEST_TASKS else []


def what_helps(
    groups: Sequence[Group], found: Sequence[Effect], actions: Sequence[SeenAction], settings: Settings
) -> set[str]:
    """The ids of what is kept: by its own effect, and of actions that show none one by one by what they do together."""
    good = {effect.experience for effect in to_keep(found, settings)}
    undecided = [one.dealt for one in actions if one.dealt.id not in good]
    joint = to_keep_together(groups, undecided, settings)
    return good | {*joint.kept} if joint else good


def names(text: str, action: str) -> bool:
    """Whether a text has all words of an action."""
    return bool(words(action)) and {*words(action)} <= {*words(text)}
