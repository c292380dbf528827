"""The library of experiences: what was proposed, what became of it, and what a step can afford to show. Pure.

Decisions are only ever appended; the last one about an experience is what holds. A distiller proposes, and may take
back what is still on trial; what has a measured effect is decided by that effect, or by a person.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb, floor

from ..records import Decision, Effect, Experience, ExperienceKind, Fate, Origin, Task
from ..settings import Settings
from ..surfaces.chat import render_experiences
from ..text import counted
from .admission import refusal
from .credit import JointEffect, chance_of_help, effect_interval
from .edits import Edit
from .overlap import NEAR, NO_MEANINGS, Meanings, similarity

RULE, DISTILLER = "rule", "distiller"
"""Who decided, when no person did: our rules and measurements, or a distiller that took an experience back."""
SCREENED = 4
"""Attempts at its own source tasks by which a text is screened before it takes a place on trial."""
_CLEARLY = 0.1


@dataclass(frozen=True, slots=True)
class Library:
    """Every experience of a lineage in order of arrival, and every decision about them in order of time."""

    experiences: tuple[Experience, ...] = ()
    decisions: tuple[Decision, ...] = ()

    @property
    def standing(self) -> dict[str, Decision]:
        """The last decision about each experience."""
        return {decision.experience: decision for decision in self.decisions}

    def having(self, *verdicts: Fate) -> tuple[Experience, ...]:
        """The experiences with one of these verdicts, in order of arrival."""
        standing = self.standing
        return tuple(
            entry for entry in self.experiences if entry.id in standing and standing[entry.id].verdict in verdicts
        )

    @property
    def current(self) -> tuple[Experience, ...]:
        """The experiences on trial or kept: those that rollouts may be shown and that a distiller sees."""
        return self.having("on trial", "kept")

    def decided(self, *decisions: Decision) -> "Library":
        """The library with these decisions appended."""
        return replace(self, decisions=(*self.decisions, *decisions))


def apply(
    library: Library,
    edits: Sequence[Edit],
    tasks: Sequence[Task],
    settings: Settings,
    *,
    run: str = "",
    step: int = 0,
    meanings: Meanings = NO_MEANINGS,
) -> Library:
    """The library after the edits of a step; `tasks` are those whose answers must not leak.

    ADD and UPDATE are put on trial, or refused with the reason. Where places are few those that most groups propose
    come first; the rest wait, and are tried when a place becomes free in the same run. UPDATE and DELETE retire a
    target that is on trial, and leave one that was kept to its measured effect. Under the recipe `paper` nothing is
    measured: what is admitted is kept, and edits retire it. With `settings.review` what is admitted waits for a person,
    and an UPDATE's target stays as it is until then. A text that is tried, kept or measured already changes nothing,
    nor does a target that is not current.
    """
    at = Origin(run, step)
    for edit in _in_order(library, edits, run):
        if edit.operation in ("ADD", "UPDATE"):
            library = _tried(library, edit, tasks, settings, at=at, meanings=meanings)
        elif edit.operation == "DELETE":
            library = _taken_back(library, edit.target, _proposed(edit), settings, at)
    return library


def screens(settings: Settings, tasks: int) -> int:
    """Texts of a step that are screened at most before they take a place on trial: as many as there are places, for an
    eighth of the step's rollouts; further ones take theirs without."""
    if settings.recipe == "paper" or settings.review:
        return 0
    return min(settings.trial_experiences, tasks * settings.group_size // (8 * SCREENED))


def clearly_worse(rewards: Sequence[float], known: float) -> bool:
    """Whether attempts (rewards in [0, 1]) earned less than a known mean by more than chance, told leniently:

        P(Binomial(n, known) <= sum of the rewards) <= 10%

    Other rewards vary less than those of right and wrong, and so do tasks of unequal difficulty.
    """
    least, many = floor(sum(rewards) + 1e-9), len(rewards)
    chance = sum(comb(many, right) * known**right * (1 - known) ** (many - right) for right in range(least + 1))
    return many > 0 and chance <= _CLEARLY


def screened_out(library: Library, why: Mapping[Experience, str], run: str, step: int) -> Library:
    """The library with texts refused that did clearly worse at their own tasks, each for its reason."""
    known = {entry.id for entry in library.experiences}
    new = tuple(one for one in why if one.id not in known)
    refused = (Decision(one.id, "refused", told, RULE, run, step) for one, told in why.items())
    return replace(library, experiences=(*library.experiences, *new)).decided(*refused)


def judged(library: Library, effects: Sequence[Effect], verdict: Fate) -> Library:
    """The library with what credit decided by these effects (`to_retire`: retired, `to_keep`: kept)."""
    return library.decided(
        *(Decision(effect.experience, verdict, describe(effect), RULE, effect.run, effect.step) for effect in effects)
    )


def judged_together(library: Library, joint: JointEffect) -> Library:
    """The library with what a joint effect keeps."""
    effect = joint.effect
    why = f"judged together with {counted(len(joint.members) - 1, 'other')}: {describe(effect)}"
    return library.decided(*(Decision(kept, "kept", why, RULE, effect.run, effect.step) for kept in joint.kept))


def describe(effect: Effect) -> str:
    """An effect in words, in points of reward (hundredths), with its 95% interval."""
    low, high = effect_interval(effect)
    figures = f"{100 * effect.mean:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
    return f"{figures} from {counted(effect.evidence, 'rollout')}, P(> 0) = {chance_of_help(effect):.3f}"


def affordable(
    library: Library,
    effects: Sequence[Effect],
    settings: Settings,
    count_tokens: Callable[[str], int],
    *,
    beside: int = 0,
) -> tuple[Experience, ...]:
    """The current experiences that fit into `settings.prior_tokens` together, in order of arrival; `beside` are the
    tokens of what else the prior says.

    When not all fit, those with the highest lower bound of their effect come first. It is decided once a step, before
    any coin is flipped: what a rollout is shown must not depend on what else it is shown.
    """
    bounds = {effect.experience: effect_interval(effect)[0] for effect in effects}
    unmeasured = effect_interval(Effect("", "", 0, 0.0, settings.effect_scale, 0))[0]
    current = library.current
    chosen: set[str] = set()
    for entry in sorted(current, key=lambda entry: -bounds.get(entry.id, unmeasured)):
        wanted = [other for other in current if other.id in chosen or other.id == entry.id]
        if count_tokens(render_experiences(wanted)) + beside <= settings.prior_tokens:
            chosen.add(entry.id)
    return tuple(entry for entry in current if entry.id in chosen)


def _in_order(library: Library, edits: Sequence[Edit], run: str) -> list[Edit]:
    """The edits, and the texts that wait in this run: first what replaces others, then what most tasks speak for."""
    added = [edit for edit in edits if edit.operation == "ADD"]
    mine = [entry for entry in library.having("waiting") if library.standing[entry.id].run == run]
    waiting = [Edit("ADD", entry.text, tasks=entry.origin.tasks, kind=entry.kind) for entry in mine]
    wanted = [*added, *waiting]
    ordered = sorted(wanted, key=lambda edit: -_support(edit, wanted)) if waiting or len(added) > 1 else wanted
    return [*(edit for edit in edits if edit.operation != "ADD"), *ordered]


def _support(edit: Edit, among: Sequence[Edit]) -> int:
    """How many tasks' groups propose this, in like words."""
    alike = [other for other in among if other is edit or similarity(edit.text, other.text) >= NEAR]
    return len({task for other in alike for task in other.tasks})


def _tried(
    library: Library, edit: Edit, tasks: Sequence[Task], settings: Settings, *, at: Origin, meanings: Meanings
) -> Library:
    """The library with the edit's text on trial (or kept, under `paper`), or refused."""
    known = {entry.id: entry for entry in library.experiences}
    parent = known.get(edit.target or "")
    text, standing = Experience(edit.text, edit.kind), library.standing
    earlier = [entry.origin.tasks for entry in (parent, known.get(text.id)) if entry]
    sources = tuple(dict.fromkeys(task for tasks in (edit.tasks, *earlier) for task in tasks))
    experience = replace(text, origin=replace(at, tasks=sources, parent=parent.id if parent else None))
    if not _open(standing.get(experience.id)):
        return library
    others = [entry for entry in rivals(library) if entry is not parent]
    refused, full = refusal(experience, others, tasks, settings, meanings), _full(library, experience, parent, settings)
    why = refused or full
    verdict = _verdict(refused, full, settings)
    if parent and not why and not settings.review:
        library = _taken_back(library, parent.id, f"UPDATE to {experience.id}", settings, at)
    decision = Decision(experience.id, verdict, why or _proposed(edit), RULE, at.run, at.step)
    waits_on = verdict == "waiting" and experience.id in standing and standing[experience.id].verdict == "waiting"
    library = replace(library, experiences=tuple((known | {experience.id: experience}).values()))
    return library if waits_on else library.decided(decision)


def rivals(library: Library) -> list[Experience]:
    """The experiences that a new one must not repeat: those that may not be proposed again."""
    standing = library.standing
    return [entry for entry in library.experiences if not _open(standing.get(entry.id))]


def _open(last: Decision | None) -> bool:
    """Whether a text may be proposed (again): it is new, waits, a rule refused it, or a distiller took it back."""
    if last is None:
        return True
    return (last.verdict, last.by) in (("refused", RULE), ("waiting", RULE), ("retired", DISTILLER))


def _verdict(refused: str | None, full: str | None, settings: Settings) -> Fate:
    if refused:
        return "refused"
    return "waiting" if full else _admitted(settings)


def _admitted(settings: Settings) -> Fate:
    if settings.review:
        return "awaiting review"
    return "kept" if settings.recipe == "paper" else "on trial"


def _full(library: Library, new: Experience, parent: Experience | None, settings: Settings) -> str | None:
    """Why there is no place on trial for one more of this kind, or None; strategies and demonstrations have their own.

    What waits for a person takes no place.
    """
    if settings.review or settings.recipe == "paper":
        return None
    on_trial = [entry for entry in library.having("on trial") if entry.kind == new.kind and entry is not parent]
    if len(on_trial) < places(new.kind, settings):
        return None
    return f"{counted(len(on_trial), new.kind)} on trial already; its turn comes when one is decided"


def places(kind: ExperienceKind, settings: Settings) -> int:
    """Experiences of a kind that may be on trial at once."""
    return 0 if kind == "demonstration" else settings.trial_experiences


def _proposed(edit: Edit) -> str:
    return f"{edit.operation} proposed from {counted(len(edit.tasks), 'task')}"


def _taken_back(library: Library, target: str | None, why: str, settings: Settings, at: Origin) -> Library:
    """The library with the target retired, if edits may decide that: what a person put on trial, they may not."""
    now = {entry.id for entry in (library.current if settings.recipe == "paper" else library.having("on trial"))}
    if target is None or target not in now or library.standing[target].by not in (RULE, DISTILLER):
        return library
    return library.decided(Decision(target, "retired", why, DISTILLER, at.run, at.step))
