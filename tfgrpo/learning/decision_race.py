"""The race on a question's instructions: of several things to say there, which makes the model decide best.

What races is what a user could have for nothing (`experiences.variants`), and what a model writes from tasks and
answers (`experiences.write`): sets of examples, those nearest to the input, instructions, experiences. One call a task
and arm tells the probability of every option, so nothing is sampled. An arm is worth what it decides right with offsets
of its own, left out task by task (`token_prior.decisions`): that the model leans to one option under it is no fault,
since offsets undo that.

Each look is over more of the tasks, the answers taking turns, and most arms leave: all are asked on a quarter of the
tasks (8 to 24), the best two on half (64 at most), the best one on all. What the namespace says now is asked on all
tasks anyway. The cheapest of those within a point of the best wins.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from ..errors import ModelError, UpstreamError
from ..evaluation.answered import TaskAnswers
from ..evaluation.written_arm import write_from_tasks
from ..experiences.distil import Distiller
from ..experiences.race import AS_GOOD
from ..experiences.step_notes import StepNotes
from ..experiences.variants import (
    SIZES,
    Arm,
    as_prior,
    examples_of_run,
    field_of,
    in_turns,
    left_out_as_long,
    short_enough,
    taking_turns,
    variant_of,
)
from ..experiences.write import instructions, instructions_wanted, texts_wanted
from ..hashing import derive_seed
from ..prompts import template
from ..records import JSON, Demonstration, Prior, Task, Variant
from ..rollouts.rewards.reward import Reward
from ..settings import Settings
from ..surfaces.chat import prior_tokens, token_count
from ..text import counted
from ..token_prior.decisions import Fitted, learned_offsets, shifted

SECOND, LAST = 2, 1
"""Arms that are asked on half of the tasks, and on all, beside what the namespace says now."""
NEAREST = 8
_FEWEST, _MOST_FIRST, _MOST_SECOND = 8, 24, 64


@dataclass(frozen=True, slots=True)
class SaidArm:
    """One thing that may be said in a question's instructions."""

    source: str
    """A short name for people."""
    said: Prior
    """Its text alone."""
    tokens: int
    """Prompt tokens that it adds to a question."""
    arm: Arm | None = None
    """What a task is shown of a set of examples that holds its own."""

    def shown_on(self, task: Task) -> Prior:
        """What one task is shown."""
        return as_prior(self.arm.shown_on(task), self.said) if self.arm else self.said


@dataclass(frozen=True, slots=True)
class SaidStanding:
    """How an arm stands, on the tasks that it was asked on."""

    arm: SaidArm
    answers: TaskAnswers
    fitted: Fitted

    @property
    def worth(self) -> float:
        """The mean reward of what is decided, with offsets that were learned without each task where they are kept.

        A task that the model refuses under this arm, or fails at, earns nothing.
        """
        mean, said = self.fitted.after if self.fitted.kept else self.fitted.before, len(self.answers.tasks)
        return mean * said / max(1, said + self.answers.refused + self.answers.failed)

    @property
    def order(self) -> tuple[float, float, int]:
        """The best first; of equals whoever gives the right options more, then the cheaper one."""
        found = self.answers.found
        expected = (shifted(found.logs, self.fitted.offsets) * found.rewards).sum(axis=1)
        return -self.worth, -round(float(expected.mean()) if len(expected) else 0.0, 9), self.arm.tokens

    def as_json(self) -> dict[str, JSON]:
        """For people."""
        return {
            "source": self.arm.source,
            "tokens": self.arm.tokens,
            "tasks": len(self.answers.tasks),
            "worth": round(self.worth, 4),
            "before": round(self.fitted.before, 4),
        }


AskArm = Callable[[SaidArm, Sequence[Task]], Awaitable[TaskAnswers]]
"""Asks some tasks under an arm; what was asked before is in the journal."""
MakeArms = Callable[[], Awaitable[list[SaidArm]]]
"""What else may be said; some of it has to be written first."""


@dataclass(slots=True)
class Raced:
    """A race that is over."""

    winner: SaidStanding
    table: list[SaidStanding] = field(default_factory=list)
    """All arms as they last stood, the best first."""
    notes: list[str] = field(default_factory=list)


def looks(total: int) -> tuple[tuple[int, int], ...]:
    """On how many of so many tasks arms are asked, look by look, and how many stay after it."""
    first = min(total, _MOST_FIRST, max(_FEWEST, total // 4))
    return (first, SECOND), (max(first, min(_MOST_SECOND, total // 2)), LAST), (total, LAST)


def most_race_calls(total: int, settings: Settings) -> int:
    """Calls that a race takes at most beside those of what is said now, what is written for it included."""
    if not settings.race:
        return 0
    (first, _), (second, _), _ = looks(total)
    texts = instructions_wanted(settings) + (texts_wanted(settings) > 0)
    arms = (len(SIZES) + 1 if settings.demonstrations else 0) + 1 + texts
    asked = min(arms, SECOND) * (second - first) + min(arms, LAST) * (total - second)
    return texts * (1 + settings.distiller_retries) + arms * first + asked


def said_now(live: Prior) -> SaidArm:
    """What the namespace says as it is."""
    return SaidArm("as it is", live, prior_tokens(live, token_count(None)))


async def race(now: SaidArm, arms: MakeArms, tasks: Sequence[Task], ask: AskArm, seed: int) -> Raced:
    """Who wins, and how all stood; `now` is asked first, and raises ModelError where it cannot be asked at all."""
    own = await _asked(now, tasks, ask)
    ordered = sorted(tasks, key=lambda task: (derive_seed(seed, "decision race", task.id), task.id))
    ordered = taking_turns(ordered, lambda task: str(task.answer))
    racing, found, notes = await arms(), dict[str, SaidStanding](), list[str]()
    for size, stay in looks(len(ordered)):
        standing = [one for arm in racing if (one := await _stands(arm, ordered[:size], ask, notes))]
        found |= {one.arm.source: one for one in standing}
        racing = [one.arm for one in sorted(standing, key=lambda one: one.order)[:stay]]
    finalists = [found[arm.source] for arm in racing if len(found[arm.source].answers.tasks)]
    table = sorted([own, *found.values()], key=lambda one: one.order)
    return Raced(_winner(own, finalists), table, notes)


def _winner(own: SaidStanding, others: Sequence[SaidStanding]) -> SaidStanding:
    """The cheapest of those within a point of the best."""
    best = max(one.worth for one in (own, *others))
    close = [one for one in (own, *others) if best - one.worth <= AS_GOOD]
    return min(close, key=lambda one: (one.arm.tokens, one.order))


async def _stands(arm: SaidArm, tasks: Sequence[Task], ask: AskArm, notes: list[str]) -> SaidStanding | None:
    """How an arm stands; None, and said so, where it fails, as what exceeds the model's context does.

    Raises UpstreamError where no call can succeed any more: that says nothing of the arm.
    """
    try:
        return await _asked(arm, tasks, ask)
    except UpstreamError:
        raise
    except ModelError as error:
        notes.append(f"race: {arm.source} is left out: {error}")
        return None


async def _asked(arm: SaidArm, tasks: Sequence[Task], ask: AskArm) -> SaidStanding:
    answers = await ask(arm, tasks)
    return SaidStanding(arm, answers, learned_offsets(answers.found))


async def arms_of(
    live: Prior, tasks: Sequence[Task], reward: Reward, distiller: Distiller, *, log: StepNotes, notes: list[str]
) -> list[SaidArm]:
    """What else may be said than what is said now; why some of it is not there goes to `notes`."""
    settings = distiller.settings
    usable = await examples_of_run(tasks, reward, settings, log) if settings.demonstrations else None
    examples = short_enough(usable.shown, settings.prior_tokens, token_count(None)) if usable else []
    if usable:
        notes += [f"race: {line}" for line in left_out_as_long(usable.shown, examples, settings.prior_tokens)]
    variants = list(_shown(examples, settings))
    nothing = [Variant(source="nothing said")] if live.has_text else []
    experiences: list[SaidArm] = []
    try:
        told = await instructions(distiller, tasks, instructions_wanted(settings), log)
        variants += told.variants
        notes += [f"race: no instruction was written: {why}" for why in told.failures]
        experiences = await _experiences(live, tasks, distiller, notes)
    except ModelError as error:  # a server that decides and does not chat
        notes.append(f"race: nothing was written: {error}")
    known = variant_of(live, "").id
    others = [one for one in variants if one.id != known]
    begun = field_of([*nothing, *others], examples, settings, token_count(None))
    notes += [f"race: {line}" for line in begun.notes]
    return [*(_said(arm, live) for arm in begun.arms), *experiences]


def _shown(examples: Sequence[Demonstration], settings: Settings) -> Iterator[Variant]:
    """Sets of examples, and those nearest to the input. Each call reads them anew, so they are few."""
    ordered = in_turns(examples, settings.seed, 0)
    for size in SIZES:
        if size < len(ordered):
            yield Variant(None, tuple(ordered[:size]), source=counted(size, "example"))
    if len(ordered) > NEAREST:
        yield Variant(None, tuple(examples), NEAREST, source=f"{NEAREST} nearest of {len(examples)}")


def _said(arm: Arm, live: Prior) -> SaidArm:
    """A variant in place of the live one's, experiences as they are; where nothing is to be said, none of these."""
    variant = arm.variant
    kept = live.experiences if variant.instruction or variant.demonstrations else ()
    said = as_prior(variant, replace(live, experiences=kept, template=template("prior").version))
    return SaidArm(variant.source, said, arm.tokens, arm)


async def _experiences(live: Prior, tasks: Sequence[Task], distiller: Distiller, notes: list[str]) -> list[SaidArm]:
    """Experiences written from tasks and answers, in place of what is said now."""
    if not texts_wanted(distiller.settings):
        return []
    found = await write_from_tasks(distiller, tasks, Prior())
    if found.failure:
        notes.append(f"race: no experiences were written: {found.failure}")
        return []
    said = Prior(found.experiences, template=template("prior").version, questions=live.questions, parent=live.parent)
    return [SaidArm("written experiences", said, prior_tokens(said, token_count(None)))]
