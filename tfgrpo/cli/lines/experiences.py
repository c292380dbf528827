"""Experiences: what each is worth, what became of it, and its whole past."""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from .tables import day_time, printable

if TYPE_CHECKING:
    from ...priors.offered import Offered
    from ...records import JSON, Effect, Group
    from ...store import ExperienceHistory, ExperienceStatus


def experience_json(status: "ExperienceStatus") -> "dict[str, JSON]":
    """One experience with its effect and fate."""
    effect, decision = status.effect, status.decision
    return {
        "id": status.experience.id,
        "text": status.experience.text,
        "kind": status.experience.kind,
        "fate": decision.verdict if decision else None,
        "why": decision.why if decision else None,
        "by": decision.by if decision else None,
        "effect": None if effect is None else _effect_json(effect, status.imported),
    }


def _effect_json(effect: "Effect", imported: bool) -> "dict[str, JSON]":
    return {"mean": effect.mean, "sd": effect.sd, "evidence": effect.evidence, "imported": imported}


def effect_text(effect: "JSON") -> str:
    """Mean and 95% interval of an effect, and the rollouts behind it; what was measured elsewhere says so."""
    if effect is None or not effect["evidence"]:
        return "not measured"
    low, high = effect["mean"] - 1.96 * effect["sd"], effect["mean"] + 1.96 * effect["sd"]
    elsewhere = " (imported)" if effect.get("imported") else ""
    return f"{effect['mean']:+.2f} [{low:+.2f}, {high:+.2f}] n={effect['evidence']}{elsewhere}"


def outcome_lines(outcomes: "Sequence[Offered]") -> Iterator[str]:
    """What became of texts that were offered."""
    for outcome in outcomes:
        which = f" {outcome.experience}" if outcome.experience else ""
        why = f" ({outcome.why})" if outcome.why else ""
        yield f"{outcome.verdict}{which}{printable(why)}: {printable(outcome.text)}"
    counts = Counter(outcome.verdict + (" as before" if outcome.stands else "") for outcome in outcomes)
    if outcomes:
        yield ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    if counts["awaiting review"]:
        yield "what is on trial has no place left; as places come free: tfgrpo experience approve ID"
    if any(outcome.stands and outcome.verdict in ("retired", "refused") for outcome in outcomes):
        yield "an import overrules no decision; to try one again all the same: tfgrpo experience approve ID"


def history_json(history: "ExperienceHistory", groups: "Iterable[Group]", own: "Container[str]") -> "dict[str, JSON]":
    """The whole past of an experience; `own` are the ids of the namespace's runs, which imported no effect."""
    experience = history.experience
    return {
        "id": experience.id,
        "kind": experience.kind,
        "text": experience.text,
        "origins": [
            {"at": at, "run": one.run, "step": one.step, "tasks": list(one.tasks), "parent": one.parent}
            for at, one in history.origins
        ],
        "successors": list(history.successors),
        "groups": [
            {
                "task": group.task.id,
                "prompt": group.task.prompt,
                "step": group.step,
                "rewards": [rollout.reward for rollout in group.rollouts],
            }
            for group in groups
        ],
        "effects": [
            {
                "at": at,
                "run": one.run,
                "step": one.step,
                "mean": one.mean,
                "sd": one.sd,
                "evidence": one.evidence,
                "imported": one.run not in own,
            }
            for at, one in history.effects
        ],
        "decisions": [
            {"at": at, "verdict": one.verdict, "why": one.why, "by": one.by, "run": one.run, "step": one.step}
            for at, one in history.decisions
        ],
    }


def history_lines(told: "JSON") -> Iterator[str]:
    """The same for people, oldest first."""
    yield f"{told['id']} ({told['kind']})"
    yield printable(told["text"])
    for origin in told["origins"]:
        parent = f", in place of {printable(origin['parent'])}" if origin["parent"] else ""
        where = f"{printable(origin['run'])}, step {origin['step'] + 1}" if origin["run"] else "a person"
        yield f"came   {day_time(origin['at'])}  from {where}{parent}"
        yield from (f"       task {printable(task)}" for task in origin["tasks"])
    for group in told["groups"]:
        rewards = ", ".join("failed" if reward is None else f"{reward:.2f}" for reward in group["rewards"])
        prompt = repr(printable(group["prompt"])[:60])
        yield f"group  {group['task']}, step {group['step'] + 1}: {prompt}, rewards {rewards}"
    yield from (f"next   {successor}" for successor in told["successors"])
    for effect in told["effects"]:
        where = f"{printable(effect['run'])}, step {effect['step'] + 1}"
        yield f"effect {day_time(effect['at'])}  {effect_text(effect)}  ({where})"
    for made in told["decisions"]:
        yield f"{day_time(made['at'])}  {made['verdict']} by {printable(made['by'])}: {printable(made['why'])}"
