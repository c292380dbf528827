"""The race of one run: which ways to prompt begin it, who is dealt what, who leaves, and who wins."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..errors import BudgetEnded
from ..experiences.dealing import dealt
from ..experiences.distil import Distiller
from ..experiences.library import DISTILLER, RULE
from ..experiences.race import Standing, Winner, chance_of_overtaking, shares, standings, survivors, winner
from ..experiences.step_notes import StepNotes
from ..experiences.variants import (
    FOLLOWERS,
    PROPOSERS,
    SIZES,
    Arm,
    RaceSoFar,
    as_prior,
    examples_of_run,
    field_of,
    left_out_as_long,
    proposed,
    shared_messages,
    short_enough,
    variant_of,
)
from ..experiences.write import instructions, instructions_wanted
from ..probe.backend import tokenize
from ..records import JSON, CallKey, ChatBody, Demonstration, Group, Prior, Rollout, Task, Variant, message_text
from ..rollouts.executor import LIMITS, is_own_failure, request_body
from ..rollouts.group import Under
from ..surfaces.chat import prior_text, token_count, token_estimate, with_prior
from ..surfaces.surface import TURN_TOKENS, manner_of, way_of
from ..token_prior.calibration import ArmFit
from .plan import RunContext
from .token_prior import Calibration, TokenRun

if TYPE_CHECKING:
    from .transfer import Brought

FROZEN = Variant().id
_SURE_Z = 1.645
RACED_OUT = 0.01
"""A chance of being overtaken below which a race is over."""
IMPORTED_RACED = 2
"""Imported priors that race, the newest of those that wait as candidates."""
_SURELY_FITS = 1_000
"""Tokens of a prompt for which any model's context has room."""
_TOO_LONG = re.compile(r"context|too long|too many tokens|token limit|maximum (?:length|tokens)", re.IGNORECASE)
"""Words by which it is told that a prompt takes more tokens than a model reads."""
_FEWEST_REFUSED = 3
"""Rollouts of an arm, all failed by themselves, that are no chance."""


@dataclass(frozen=True, slots=True)
class Lap:
    """How the arms stood after one step."""

    step: int
    table: tuple[Standing, ...]
    """The best first; those that left after this step among them."""
    left: tuple[str, ...]
    """Ids of the arms that leave the race with this step."""


class Race:
    """The arms of a run. A race of one arm is none: all rollouts are made under it."""

    def __init__(
        self,
        context: RunContext,
        examples: Sequence[Demonstration],
        variants: Sequence[Variant],
        brought: "Brought | None" = None,
        imported: Mapping[str, Prior] = MappingProxyType({}),
    ) -> None:
        """`variants` are those that begin; `examples` those of the training tasks that can be shown.

        `imported`: by what their variants say, priors that were taken in.
        """
        self._context, self._examples, self._brought = context, tuple(examples), brought
        self._parts = brought.texts if brought else imported
        self._count = token_count(context.upstream.tokenizer)
        self._arms: dict[str, Arm] = {}
        self.racing: tuple[str, ...] = ()
        """Ids of the arms that are still in the race, the best first once that is known."""
        self._shares: Mapping[str, float] | None = None
        self._groups: list[Group] = []
        self._calibration: Calibration | None = None
        self.laps: list[Lap] = []
        self._tried = set[str]()
        plan = context.plan
        by_length = sorted(plan.tasks, key=lambda task: (token_estimate(task.prompt), task.id))
        at_hand = not (plan.agent or plan.settings.bounded)
        self._long_task = by_length[9 * (len(by_length) - 1) // 10] if at_hand and by_length else None
        """A task longer than nine in ten; None where requests are not ours to make."""
        self.enter(variants)
        if not self.racing:  # what alone was to prompt takes more than the prior's tokens
            self.enter([Variant(source="frozen")])

    @property
    def is_open(self) -> bool:
        """Whether there is more than one arm left."""
        return len(self.racing) > 1

    @property
    def has_examples(self) -> bool:
        """Whether some arm shows demonstrations."""
        return any(arm.variant.demonstrations for arm in self._arms.values())

    def enter(self, variants: Iterable[Variant]) -> None:
        """Let variants into the race that were not in it before."""
        new = [variant for variant in variants if variant.id not in self._arms]
        found = field_of(new, self._examples, self._context.plan.settings, self._count)
        for line in found.notes:
            self._context.notes.note(f"race: {line}")
        arms = [arm for arm in found.arms if arm.variant.id not in self._arms]
        self._arms |= {arm.variant.id: arm for arm in arms}
        self.racing = (*self.racing, *(arm.variant.id for arm in arms))
        if self._shares is not None:  # of newcomers nothing is known: they get as much as the others on average
            average = sum(self._shares.values()) / len(self._shares)
            self._shares = {**dict.fromkeys(self.racing, average), **self._shares}
        self._context.store.add_variants(self._context.run.id, [(arm.variant, arm.tokens) for arm in arms])

    async def leave_out_long(self) -> None:
        """Leave those out that exceed the model's context, where that is known; it is said."""
        room = self._context.backend.context
        for name in self.racing if room else ():
            if name != FROZEN and self.is_open and await self._exceeds(self._arms[name], room):
                self._leave(name, f"it takes more than the {room:,} tokens of the model's context")

    async def _exceeds(self, arm: Arm, room: int) -> bool:
        """Whether a request under an arm, for a task longer than nine in ten, has no room.

        Counted by the server's own tokenizer where it has one, unless there is room for twice the estimate.
        """
        context, task = self._context, self._long_task
        if task is None:
            return False
        asked = request_body(context.plan.frame, context.backend, task, 0)
        if context.backend.kind != "llama.cpp":  # others have the longest answer fit in too
            room -= next((one for name in LIMITS if isinstance(one := asked.get(name), int) and one < room), 1)
        text, turns = self._asked(asked, arm, task)
        if 2 * token_estimate(text) + turns < room:
            return False
        key = CallKey(context.run.id, f"probe /tokenize {arm.variant.id}", task=task.id)
        served = await tokenize(context.upstream, context.backend, context.plan.frame.model, key, text)
        return (len(served) or self._count(text)) + turns >= room

    def _asked(self, asked: ChatBody, arm: Arm, task: Task) -> tuple[str, int]:
        """What a request says with an arm's prior, and the tokens around its turns."""
        manner = manner_of(self._context.backend, task.id)
        messages = with_prior(asked, as_prior(arm.shown_on(task)), manner)["messages"]
        return "\n".join(message_text(one) for one in messages), TURN_TOKENS * len(messages)

    def _leave(self, name: str, why: str) -> None:
        self.racing = tuple(arm for arm in self.racing if arm != name)
        self._context.notes.note(f"race: {self._arms[name].variant.source} is left out: {why}")

    def first_tries(self, deal: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, int]]:
        """By arm: the task and the sample at which those are tried first whose requests are long, and of which nobody
        knows whether the model's context has room for them."""
        context, found = self._context, dict[str, tuple[str, int]]()
        if context.backend.context or self._long_task is None:
            return found
        longest = token_estimate(self._long_task.prompt)
        tasks = {task.id: task for task in context.plan.tasks if token_estimate(task.prompt) <= longest}
        for name in self.racing:
            dealt_to = [(task, arms.index(name)) for task, arms in deal.items() if task in tasks and name in arms]
            if name == FROZEN or name in self._tried or not dealt_to:
                continue
            self._tried.add(name)
            at = max(dealt_to, key=lambda one: (token_estimate(tasks[one[0]].prompt), one))
            task = tasks[at[0]]
            text, _ = self._asked(request_body(context.plan.frame, context.backend, task, 0), self._arms[name], task)
            if token_estimate(text) >= _SURELY_FITS:
                found[name] = at
        return found

    def tried(self, made: Mapping[str, Rollout]) -> None:
        """Leave out those whose first try was refused as too long."""
        for name, rollout in made.items():
            if self.is_open and is_own_failure(rollout) and _TOO_LONG.search(rollout.error or ""):
                self._leave(name, f"its first request was refused as too long: {rollout.error}")

    def deal(self, tasks: Sequence[Task], step: int) -> dict[str, tuple[str, ...]]:
        """The arm of each rollout of each task (by id) of a step or a round of it."""
        settings, ids = self._context.plan.settings, [task.id for task in tasks]
        if not self.is_open:
            return dict.fromkeys(ids, (self.racing[0],) * settings.group_size)
        return dealt(self.racing, self._shares, seed=settings.seed, step=step, tasks=ids, size=settings.group_size)

    def under(self, arm: str, task: Task, prior: Prior) -> Under:
        """The prior of one rollout: what it is shown of the step's, in the way to prompt that it is dealt."""
        named = arm if len(self._arms) > 1 else ""
        return Under(self._said(self._arms[arm].shown_on(task), prior), named)

    def _said(self, variant: Variant, prior: Prior) -> Prior:
        """A prior with a way to prompt."""
        return as_prior(variant, prior, self._parts)

    def calibrate(self, tokens: TokenRun) -> None:
        """Judge arms from now on by what each would earn with a token prior of its own, where that can be told."""
        self._calibration = Calibration(self._context, tokens)

    def look(self, groups: Sequence[Group]) -> None:
        """Take in the groups of a round: the shares of the next one follow how the arms stand."""
        self._groups += groups
        if self._calibration:
            self._calibration.take(groups)
        self._leave_out_refused()
        if self.is_open:
            self._shares = self._shared(self._table())

    def _shared(self, table: Sequence[Standing]) -> Mapping[str, float] | None:
        """The share of the next rollouts for each arm; None: alike.

        Where one rollout tells all that an arm would earn at a task, what counts is at how many tasks each was seen.
        """
        told = self._calibration.fits if self._calibration else {}
        if 2 * sum(arm in told for arm in self.racing) >= len(self.racing):
            return None
        return shares(table, self.racing)

    def _leave_out_refused(self) -> None:
        """Whoever only ever failed, as what exceeds the model's context does, leaves at once, and it is said."""
        made = [one for group in self._groups for one in group.rollouts if one.variant in self.racing]
        for name in self.racing:
            own = [one for one in made if one.variant == name]
            failed = len(own) >= _FEWEST_REFUSED and all(is_own_failure(one) for one in own)
            if not failed or name == FROZEN or not self.is_open:
                continue
            self._leave(name, f"all its rollouts failed: {own[0].error}")

    def end_step(self, step: int, *, last: bool) -> Lap | None:
        """Let those leave that trail, but not after the last step; None where nothing races."""
        if not self.is_open:
            return None
        table = self._table()
        stays = self.racing if last else survivors(table, frozen=FROZEN, step=step)
        lap = Lap(step, table, tuple(arm for arm in self.racing if arm not in stays))
        self.laps.append(lap)
        self.racing = stays
        self._shares = self._shared(table) if self.is_open else None
        return lap

    @property
    def least_reward(self) -> float:
        """What the best of those still in the race earns at least, with a certainty of 95%."""
        best = max(self._table(), key=lambda entry: entry.mean)
        return best.reward - _SURE_Z * best.sd

    @property
    def chance_of_overtaking(self) -> float:
        """The chance that some other arm is better than the best by more than a point."""
        return chance_of_overtaking(self._table()) if self.is_open else 0.0

    def winner(self) -> Winner:
        """The arm that the candidate prompts as."""
        if not self.is_open:
            return Winner(self.racing[0], "it is the only one left" if self.laps else "nothing else was in the race")
        return winner(self._table(), {arm: self._arms[arm].tokens for arm in self.racing})

    @property
    def own_fit(self) -> ArmFit | None:
        """What the winner would earn with a token prior of its own, where that can be told."""
        if self._calibration is None:
            return None
        return self._calibration.fits.get(self.mark)

    @property
    def tokens(self) -> int:
        """Prompt tokens that the winner adds to a call."""
        return self._arms[self.winner().arm].tokens

    @property
    def mark(self) -> str:
        """How rollouts of the winner are marked."""
        return self.winner().arm if len(self._arms) > 1 else ""

    def told(self) -> str | None:
        """Who won, for people; None where nothing raced."""
        if not self.laps:
            return None
        won = self.winner()
        fit = self.own_fit
        own = ", with a token prior of its own" if fit and fit.biases else ""
        return f"race: {self._arms[won.arm].variant.source} of {len(self._arms)} ways to prompt; {won.why}{own}"

    def won(self, prior: Prior) -> Prior:
        """A prior with the winner's way to prompt, less the experiences that a person has retired meanwhile."""
        made = self._said(self._arms[self.winner().arm].variant, prior)
        if made.experiences == prior.experiences:
            return made
        known = self._context.store.experiences(self._context.run.namespace)
        decided = [one.decision for one in known if one.decision and one.decision.by not in (RULE, DISTILLER)]
        out = {one.experience for one in decided if one.verdict in ("retired", "refused")}
        return replace(made, experiences=tuple(entry for entry in made.experiences if entry.id not in out))

    async def follow(self, groups: Sequence[Group]) -> None:
        """Let those enter that the first step has made possible."""
        plan, best_first = self._context.plan, [self._arms[arm].variant for arm in self.racing]
        known = RaceSoFar(self._examples, plan.settings, groups, best_first, shared_messages(plan.tasks))
        proposers = (*FOLLOWERS, self._in_words, self._whole_rollouts)
        self.enter(await proposed(proposers, known, self._context.notes.note))

    def _whole_rollouts(self, known: RaceSoFar) -> list[Variant]:
        """Whole rollouts of an agent that used tools and was right."""
        plan = self._context.plan
        if not plan.agent or not plan.settings.demonstrations:
            return []
        from ..experiences.trajectories import verified_trajectories

        whole = verified_trajectories(known.groups, plan.settings)
        return [whole] if whole else []

    def _in_words(self, known: RaceSoFar) -> list[Variant]:
        """What is known of the labels, where no token prior can act on them."""
        context, labels = self._context, self._context.plan.frame.labels
        if not labels or not context.plan.settings.token_prior or way_of(context.backend, labels) != "none":
            return []
        from ..token_prior.verbalised import verbalised_arm

        frozen = [one for group in known.groups for one in group.scored if one.variant in ("", FROZEN)]
        context.notes.note("race: no token prior can act here, so that what it would do to the labels is said in words")
        return [verbalised_arm(labels, frozen)]

    @property
    def origin(self) -> str:
        """What the log says of where the winner comes from; empty where it is this run's own."""
        won = self._arms[self.winner().arm].variant
        return self._brought.origin if self._brought and self._brought.holds(won) else ""

    def as_json(self) -> list[dict[str, JSON]]:
        """The race step by step, for people; the last step names the winner."""
        laps: list[dict[str, JSON]] = [
            {"step": lap.step, "arms": [self._row(entry, lap) for entry in lap.table]} for lap in self.laps
        ]
        if laps:
            laps[-1]["winner"] = asdict(self.winner())
        return laps

    def _row(self, entry: Standing, lap: Lap) -> dict[str, JSON]:
        arm = self._arms[entry.arm]
        told = {"source": arm.variant.source, "tokens": arm.tokens, "left": entry.arm in lap.left}
        return {**asdict(entry), **told}

    def _table(self) -> tuple[Standing, ...]:
        scale = self._context.plan.settings.effect_scale
        groups = self._calibration.judged(self._groups) if self._calibration else self._groups
        if self._parts:
            groups = [replace(group, rollouts=tuple(map(self._beyond_its_arm, group.rollouts))) for group in groups]
        known = self._brought.expected if self._brought else {}
        parts = {entry.id for part in self._parts.values() for entry in part.experiences}
        return standings(groups, self.racing, effect_scale=scale, known=known, parts=parts)

    def _beyond_its_arm(self, rollout: Rollout) -> Rollout:
        """A rollout less the experiences that belong to its arm: what they are worth is part of what that is."""
        arm = self._arms.get(rollout.variant)
        part = self._parts.get(arm.variant.instruction or "") if arm else None
        if part is None:
            return rollout
        own = {entry.id for entry in part.experiences}
        return replace(rollout, included=tuple(one for one in rollout.included if one not in own))


async def open_race(context: RunContext, proposer: Distiller) -> Race:
    """The race of a run; of one arm, what it begins with, where nothing is to race."""
    race = await _entered(context, proposer)
    await race.leave_out_long()
    return race


async def _entered(context: RunContext, proposer: Distiller) -> Race:
    plan, settings, note = context.plan, context.plan.settings, context.notes.note
    sources = _Sources(context, proposer)
    if not settings.race:
        return Race(context, (), [sources.start])
    known = RaceSoFar(await _examples(context) if settings.demonstrations else (), settings)
    found = await proposed(PROPOSERS, known, note)
    if plan.ported:
        from .transfer import brought_over

        in_words = way_of(context.backend, plan.frame.labels) == "none"
        if plan.ported.snapshot.prior.questions:
            note("offsets of decisions stay behind: learn them anew, with one call a task")
        brought = brought_over(plan.ported, context.store, context.run, in_words=in_words)
        return Race(context, known.examples, [*brought.variants, *brought.likeliest(found)], brought)
    own = (
        sources.nearest_by_vectors,
        sources.instructions,
        sources.amplified,
        sources.explored,
        sources.live,
        sources.imported,
    )
    found += await proposed(own, known, note)
    return Race(context, known.examples, found, imported=sources.parts)


async def _examples(context: RunContext) -> Sequence[Demonstration]:
    """The examples that may be shown; why others may not is said."""
    plan, notes = context.plan, context.notes
    usable = await examples_of_run(plan.tasks, plan.reward, plan.settings, StepNotes(context.store, context.run.id))
    if usable.left_out:
        notes.note(f"race: {usable.left_out}")
    most = plan.settings.prior_tokens
    short = short_enough(usable.shown, most, token_count(context.upstream.tokenizer))
    for line in left_out_as_long(usable.shown, short, most):
        notes.note(f"race: {line}")
    if len(short) == 1:
        notes.note("race: one example makes no set, for no task is shown its own")
    return short


class _Sources:
    """What only a run at hand can name: what its distiller writes, what its namespace holds."""

    def __init__(self, context: RunContext, distiller: Distiller) -> None:
        self._context, self._distiller = context, distiller
        self.start = variant_of(context.start, "live" if context.start.has_text else "frozen")
        self.parts: dict[str, Prior] = {}
        """By what their variants say, priors that were imported."""

    async def nearest_by_vectors(self, known: RaceSoFar) -> Sequence[Variant]:
        """The examples nearest to each request by the embedding model, where one is named."""
        context, embedder = self._context, self._context.embedder
        if embedder is None or len(known.examples) <= min(SIZES):
            return ()
        from ..experiences.embedded_examples import nearest_by_vectors  # few runs name such a model

        return await nearest_by_vectors(embedder, context.upstream, context.run.id, known.examples, context.notes.note)

    async def instructions(self, known: RaceSoFar) -> tuple[Variant, ...]:
        """The instructions that the distiller writes; what could not be written is said."""
        context, log = self._context, StepNotes(self._context.store, self._context.run.id)
        found = await instructions(self._distiller, context.plan.tasks, instructions_wanted(known.settings), log)
        for why in found.failures:
            context.notes.note(f"race: an instruction is left out: {why}")
        return found.variants

    async def amplified(self, known: RaceSoFar) -> tuple[Variant, ...]:
        """What amplification comes to, where it is wanted; its rounds are told."""
        context, plan, settings = self._context, self._context.plan, known.settings
        if not (rounds := settings.amplify):
            return ()
        from ..experiences.amplification import amplified

        stage = "rollout amplify"
        make = context.make_executor(plan.frame, context.backend, run=context.run.id, stage=stage, seed=settings.seed)
        context.observer.stage("amplification", rounds * settings.group_size * len(plan.tasks))
        landed = context.observer.landed
        try:
            found = await amplified(make, plan.tasks, plan.reward, settings, rounds=rounds, landed=landed)
        except BudgetEnded:
            context.notes.note("amplification: the budget ended it, and nothing of it races")
            return ()
        for number, one in enumerate(found.rounds, start=1):
            context.notes.note(f"amplification, round {number}: {one.line()}")
        context.notes.note(f"amplification: {found.why}")
        return (found.variant,) if found.variant else ()

    def explored(self, known: RaceSoFar) -> Iterator[Variant]:
        """What was seen of an environment, where an exploration of the namespace has added it."""
        if known.settings.demonstrations:
            yield from self._context.store.explored_variants(self._context.run.id)

    def live(self, known: RaceSoFar) -> Iterator[Variant]:
        """What was live when the run began."""
        if self.start.id != FROZEN:
            yield self.start

    def imported(self, known: RaceSoFar) -> Iterator[Variant]:
        """The last priors that were imported before the run began and wait as candidates, each with all it says."""
        context, settings = self._context, known.settings
        for number, prior in enumerate(context.store.imported_before(context.run.id)[:IMPORTED_RACED], start=1):
            way = prior if settings.demonstrations else replace(prior, demonstrations=(), nearest=0)
            way = replace(way, experiences=()) if settings.review else way  # each waits for a person
            if not way.has_text:
                continue
            said = prior_text(way) or None
            if said and way.experiences:
                self.parts[said] = way
            source = "imported" if number == 1 else f"imported, {number} back"
            yield Variant(said, way.demonstrations, way.nearest, source, way.embedding)
