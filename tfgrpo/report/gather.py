"""The figures of a run, read from the store and computed once."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from ..evaluation.difference import Difference
from ..observer import laps_in
from ..records import Group, Prior, PriorState, Rollout
from ..rollouts.group import GroupKind, group_kind
from ..store import RunEntry, Store
from ..text import shortened
from ..trials import GateTrial, Role
from .extremes import best_of, moved_tasks, rollouts_of, worst_of
from .figures import (
    ArmFigures,
    EvaluationFigures,
    FailedRollouts,
    Figures,
    Interval,
    RefusedProposals,
    ReportedExperience,
    StepFigures,
)

MOST_EXAMPLES = 3
"""Examples shown of each thing that is counted."""
_BLOCK, _BLOCKS = 100, 100
"""Resamples behind an interval: so many blocks of so many."""
_NAMED = (
    (re.compile(r"\btask_[0-9a-f]+"), "a task"),
    (re.compile(r"\bexp_[0-9a-f]+"), "another experience"),
    (re.compile(r"\d+"), "…"),
)
"""What reasons name, and what stands for it where it differs."""


def gather_figures(store: Store, given: str) -> Figures:
    """The figures of the run with this id, or the only one whose id begins so; StoreError where there is none."""
    entry = store.run_entry(given)
    run = entry.run
    learning, groups = run.kind == "learn", store.groups(run.id)
    prior = _prior(store, entry)
    found = _experiences(store, entry, prior) if learning else ()
    refused = [one for one in found if one.decision and one.decision.verdict == "refused"]
    notes, why = run.result.get("notes"), run.result.get("why")
    said = [f"offsets: {why}"] if learning and isinstance(why, str) else []
    return Figures(
        entry=entry,
        stages=store.spent_by_stage(run.id),
        steps=_steps(groups) if learning else (),
        prior=prior,
        state=_state(store, run.namespace, prior),
        trial=_trial(store, run.id, prior),
        measured=_measured(entry if run.kind == "eval" else _evaluation(store, run.namespace, prior)),
        experiences=tuple(one for one in found if one not in refused),
        refused=_refused(refused),
        failures=_failures(groups),
        held_out=_held_out(store, entry),
        notes=(*said, *(str(note) for note in notes)) if isinstance(notes, list) else tuple(said),
        race=laps_in(run.result),
        moved=moved_tasks(groups) if learning else (),
        worst=tuple(worst_of(rollouts_of(groups), MOST_EXAMPLES)) if learning else (),
        best=tuple(best_of(rollouts_of(groups), MOST_EXAMPLES)) if learning else (),
        tokens_a_call=run.result.get("tokens_a_call"),
    )


def mean_over_tasks(sums: NDArray[np.float64], counts: NDArray[np.int64], seed: int = 0) -> Interval:
    """The mean of all rewards with a percentile bootstrap over tasks (Efron 1979); sums and counts by task, shape (T,).

    Every task must have a scored rollout.
    """
    mean, size = float(sums.sum() / counts.sum()), len(sums)
    if size < 2:
        return Interval(mean)
    rng, means = np.random.default_rng(seed), []
    for _ in range(_BLOCKS):
        drawn = rng.integers(size, size=(_BLOCK, size))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return Interval(mean, float(low), float(high))


def mean_reward(rollouts: Sequence[Rollout], seed: int = 0) -> Interval | None:
    """The mean reward of these rollouts, with its interval over tasks; None where none is scored."""
    by_task: dict[str, list[float]] = {}
    for rollout in rollouts:
        if rollout.reward is not None:
            by_task.setdefault(rollout.task.id, []).append(rollout.reward)
    if not by_task:
        return None
    rewards = by_task.values()
    return mean_over_tasks(np.array([sum(of) for of in rewards]), np.array([len(of) for of in rewards]), seed)


def _steps(groups: Sequence[Group]) -> tuple[StepFigures, ...]:
    found = []
    for step in sorted({group.step for group in groups}):
        of_step = [group for group in groups if group.step == step]
        rollouts = [rollout for group in of_step for rollout in group.rollouts]
        scored = sum(rollout.reward is not None for rollout in rollouts)
        kinds = Counter[GroupKind](group_kind(group) for group in of_step)
        found.append(StepFigures(step + 1, mean_reward(rollouts, step), scored, len(rollouts) - scored, dict(kinds)))
    return tuple(found)


def _prior(store: Store, entry: RunEntry) -> Prior | None:
    """The prior that a learning made, if it made one; that which an evaluation measured."""
    run = entry.run
    if run.kind == "eval":
        return store.prior(run.parent) if run.parent else None
    made = [
        event.prior for event in store.lineage(run.namespace) if event.run == run.id and event.state != "superseded"
    ]
    return store.prior(made[-1]) if made else None


def _state(store: Store, namespace: str, prior: Prior | None) -> PriorState | None:
    """What the last event of a namespace says of a prior."""
    states = [event.state for event in store.lineage(namespace) if prior and event.prior == prior.id]
    return states[-1] if states else None


def _trial(store: Store, run_id: str, prior: Prior | None) -> GateTrial | None:
    found = [one for one in store.trials(run=run_id) if prior and one.candidate == prior.id]
    return found[-1] if found else None


def _evaluation(store: Store, namespace: str, prior: Prior | None) -> RunEntry | None:
    """The last finished evaluation of a prior."""
    found = [
        entry
        for entry in store.runs(namespace)
        if prior and (entry.run.kind, entry.run.status, entry.run.parent) == ("eval", "finished", prior.id)
    ]
    return found[-1] if found else None


def _measured(entry: RunEntry | None) -> EvaluationFigures | None:
    if entry is None or "difference" not in entry.run.result:
        return None
    told = entry.run.result
    contrasts = told.get("differences") or {"learned - frozen": told["difference"]}
    passed = told.get("pass_at_k") or {}
    return EvaluationFigures(
        run=entry.run.id,
        tasks=told["tasks"],
        repeats=told["repeats"],
        arms={arm: ArmFigures(mean, passed.get(arm)) for arm, mean in told["means"].items()},
        contrasts={name: Difference(**found) for name, found in contrasts.items()},
        constant=told["constant"],
        constant_mean=told["constant_mean"],
        lost_tasks=told["lost_tasks"],
        moments=told.get("moments", {}),
    )


def _experiences(store: Store, entry: RunEntry, prior: Prior | None) -> tuple[ReportedExperience, ...]:
    run, held = entry.run, {experience.id for experience in prior.experiences} if prior else set()
    effects = {effect.experience: effect for effect in store.effects(run.namespace, run.id)}
    verdicts = {decision.experience: decision for decision in store.decisions(run.namespace, run.id)}
    found = []
    for status in store.experiences(run.namespace):
        name, standing = status.experience.id, status.decision
        if name in effects or name in verdicts or name in held:
            verdict = verdicts.get(name)
            since = standing if verdict and standing != verdict else None
            found.append(
                ReportedExperience(status.experience, effects.get(name), verdict or standing, since, name in held)
            )
    return tuple(sorted(found, key=lambda one: -one.effect.mean if one.effect else np.inf))


def _refused(refused: Sequence[ReportedExperience]) -> tuple[RefusedProposals, ...]:
    """By reason, whichever task, experience or number a reason names."""
    reasons: dict[str, list[tuple[str, str]]] = {}
    for one in refused:
        why = one.decision.why if one.decision else ""
        reasons.setdefault(_general(why), []).append((why, one.experience.text))
    ordered = sorted(reasons.items(), key=lambda found: -len(found[1]))
    return tuple(
        RefusedProposals(
            cases[0][0] if len({why for why, _ in cases}) == 1 else general,
            len(cases),
            tuple(text for _, text in cases[:MOST_EXAMPLES]),
        )
        for general, cases in ordered
    )


def _general(why: str) -> str:
    """A reason with what it names left open."""
    for pattern, open_one in _NAMED:
        why = pattern.sub(open_one, why)
    return why


def _held_out(store: Store, entry: RunEntry) -> dict[Role, int]:
    run, roles = entry.run, get_args(Role)
    return {
        role: len(store.held_out(run.namespace, role)[run.settings[role]]) for role in roles if role in run.settings
    }


def _failures(groups: Sequence[Group]) -> tuple[FailedRollouts, ...]:
    errors = Counter(
        shortened(rollout.error or "no reward", 300)
        for group in groups
        for rollout in group.rollouts
        if rollout.reward is None
    )
    return tuple(FailedRollouts(error, count) for error, count in errors.most_common())
