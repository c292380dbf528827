"""What the store holds, as lines for people and as JSON."""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ..text import counted
from .text import biases_json, effect_text, percent, printable, size_text, token_text

if TYPE_CHECKING:
    from ..priors.by_hand import Offered
    from ..priors.exchange import Portable
    from ..priors.versions import Changes
    from ..records import JSON, Experience, Group, Prior
    from ..report import Figures, Interval, Step
    from ..store import ExperienceHistory, LineageEntry, RunEntry, Store


def day_time(at: str | None) -> str:
    """A time to the minute, UTC."""
    return (at or "")[:16].replace("T", " ")


def event_json(event: "LineageEntry") -> "dict[str, JSON]":
    """One event of a lineage."""
    told = {"state": event.state, "run": event.run, "by": event.by, "why": event.why}
    return {"at": event.at, "prior": event.prior, **told}


def tree_rows(store: "Store", events: "Sequence[LineageEntry]", live: str | None) -> Iterator[tuple[object, ...]]:
    """A row for each prior under its parent: its last event, the run that learned it; the live one is starred."""
    from ..priors.versions import run_behind, tree

    last = {event.prior: event for event in events}
    for branch, prior in tree([store.prior(prior_id) for prior_id in last]):
        event = last[prior.id]
        name = f"{branch}{prior.id}{' *' if prior.id == live else ''}"
        size = len(prior.experiences), len(prior.biases)
        run = run_behind(each for each in events if each.prior == prior.id)
        yield name, event.state, day_time(event.at), *size, run, event.by, event.why


def prior_json(prior: "Prior", namespace: str, events: "Sequence[LineageEntry]", served: bool) -> "dict[str, JSON]":
    """A prior with where it comes from, and its events in a namespace, oldest first."""
    from ..priors.versions import run_behind

    return {
        "id": prior.id,
        "parent": prior.parent,
        "namespace": namespace,
        "state": events[-1].state if events else None,
        "served": served,
        "run": run_behind(events),
        "model": events[-1].frame.model if events else None,
        "why": events[0].why if events else "",
        "lineage": [event_json(event) for event in events],
        "tokenizer": prior.tokenizer,
        "template": prior.template,
        "experiences": [_experience_json(entry) for entry in prior.experiences],
        "biases": biases_json(prior.biases),
    }


def _experience_json(entry: "Experience") -> "dict[str, JSON]":
    origin = {"run": entry.origin.run, "step": entry.origin.step, "parent": entry.origin.parent}
    return {"id": entry.id, "kind": entry.kind, "text": entry.text, "origin": origin}


def standing_lines(prior: "Prior", namespace: str, events: "Sequence[LineageEntry]", served: bool) -> Iterator[str]:
    """Where a prior comes from, and what became of it in a namespace."""
    from ..priors.versions import run_behind

    if not events:
        yield f"it was never a candidate in namespace {namespace}"
        return
    run, parent = run_behind(events), f", from {prior.parent}" if prior.parent else ""
    yield printable(f"learned on {events[-1].frame.model} by {run or 'no run that is known'}{parent}")
    yield f"in namespace {namespace}{', where it is served' if served else ''}:"
    for event in events:
        of = f" ({event.run})" if event.run else ""
        yield printable(f"  {day_time(event.at)}  {event.state} by {event.by}{of}: {event.why}")


def changes_json(before: str, after: str, changes: "Changes") -> "dict[str, JSON]":
    """How one prior differs from another."""
    return {
        "before": before,
        "after": after,
        "added": [{"id": entry.id, "text": entry.text} for entry in changes.added],
        "removed": [{"id": entry.id, "text": entry.text} for entry in changes.removed],
        "reordered": changes.reordered,
        "biases": [
            {
                "token": change.token,
                "text": change.piece.decode("utf-8", "backslashreplace"),
                "before": change.before,
                "after": change.after,
            }
            for change in changes.biases
        ],
        "settings": {name: list(pair) for name, pair in changes.settings.items()},
    }


def changes_lines(before: str, after: str, changes: "Changes") -> Iterator[str]:
    """A difference as in a diff: - what the first prior has alone, + what the second has."""
    yield f"--- {before}"
    yield f"+++ {after}"
    yield from (f"- {printable(entry.text)}" for entry in changes.removed)
    yield from (f"+ {printable(entry.text)}" for entry in changes.added)
    if changes.reordered:
        yield "the experiences of both are in another order"
    for change in changes.biases:
        was, now = (f"{bias:+.2f}" if bias is not None else "none" for bias in (change.before, change.after))
        yield f"{token_text(change.piece):>16} {was} -> {now}"
    yield from (
        f"{name}: {printable(was or 'none')} -> {printable(now or 'none')}"
        for name, (was, now) in changes.settings.items()
    )


def imported_lines(portable: "Portable", use: str, outcomes: "Sequence[Offered]") -> Iterator[str]:
    """What came in with a prior, and what is next."""
    from ..prompts import template

    prior, frame = portable.prior, portable.frame
    yield f"{prior.id}: {size_text(prior)}; {use}"
    system = f"a system prompt of {len(frame.system)} characters" if frame.system else "no system prompt"
    fields = ", ".join(sorted(frame.request)) or "none"
    yield printable(f"its request frame comes with it: model {frame.model}, {system}, further fields: {fields}")
    if prior.experiences and prior.template != template("prior").version:
        yield "its experiences were learned under another template than this tfgrpo shows them in"
    yield from outcome_lines(outcomes)


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
        yield f"group  {group['task']}, step {group['step'] + 1}: {printable(group['prompt'])[:60]!r}, rewards {rewards}"
    yield from (f"next   {successor}" for successor in told["successors"])
    for effect in told["effects"]:
        where = f"{printable(effect['run'])}, step {effect['step'] + 1}"
        yield f"effect {day_time(effect['at'])}  {effect_text(effect)}  ({where})"
    for made in told["decisions"]:
        yield f"{day_time(made['at'])}  {made['verdict']} by {printable(made['by'])}: {printable(made['why'])}"


def run_json(entry: "RunEntry", means: "Sequence[float]") -> "dict[str, JSON]":
    """One run with its settings and figures; `means` are its mean rewards by step."""
    from dataclasses import asdict

    from ..priors.exchange import frame_json

    run = entry.run
    return {
        "id": run.id,
        "kind": run.kind,
        "namespace": run.namespace,
        "status": run.status,
        "attempt": run.attempt,
        "started": entry.started,
        "ended": entry.ended,
        "reward": run.reward,
        "tasks": len(run.tasks),
        "parent": run.parent,
        "usage": asdict(run.usage),
        "mean_rewards": list(means),
        "frame": frame_json(run.frame),
        "settings": dict(run.settings),
        "result": dict(run.result),
    }


RUN_COLUMNS = (
    "id",
    "kind",
    "namespace",
    "status",
    "model",
    "reward",
    "tasks",
    "calls",
    "tokens",
    "mean reward",
    "started",
)


def run_figures(told: "JSON") -> tuple[object, ...]:
    """One run in the columns of RUN_COLUMNS."""
    usage = told["usage"]
    return (
        *(told[name] for name in ("id", "kind", "namespace", "status")),
        told["frame"]["model"],
        told["reward"],
        told["tasks"],
        f"{usage['calls']:,}",
        f"{usage['prompt_tokens'] + usage['completion_tokens']:,}",
        _rewards_text(told),
        day_time(told["started"]),
    )


def _rewards_text(told: "JSON") -> str:
    """First and last step of a learning, arms of an evaluation."""
    if means := told["mean_rewards"]:
        return " -> ".join(percent(mean) for mean in (means[0], means[-1])[: len(means)])
    return ", ".join(f"{arm} {percent(mean)}" for arm, mean in told["result"].get("means", {}).items())


def figures_json(figures: "Figures") -> "dict[str, JSON]":
    """What a report adds to a run."""
    from dataclasses import asdict

    from ..report import verdict

    return {
        "verdict": asdict(verdict(figures)),
        "prior": figures.prior.id if figures.prior else None,
        "state": figures.state,
        "stages": {stage: asdict(usage) for stage, usage in figures.stages.items()},
        "steps": [asdict(step) for step in figures.steps],
        "experiences": dict(_fates(figures)),
        "failures": [asdict(failure) for failure in figures.failures],
    }


def _fates(figures: "Figures") -> "Counter[str]":
    fates = Counter(one.decision.verdict if one.decision else "undecided" for one in figures.tried)
    refused = sum(refused.count for refused in figures.refused)
    return fates + Counter({"refused": refused})


def run_lines(figures: "Figures") -> Iterator[str]:
    """One run for people: what was asked, what it cost, how each step went, what came of it."""
    from ..report import verdict

    run, outcome = figures.entry.run, verdict(figures)
    yield f"{run.id} ({run.kind} in {run.namespace}, attempt {run.attempt + 1}): {run.status}"
    yield printable(f"{outcome.title}. {outcome.why}")
    yield f"from {day_time(figures.entry.started)} to {day_time(figures.entry.ended) or '...'} UTC"
    yield printable(f"model {run.frame.model}, reward {run.reward}, {counted(len(run.tasks), 'task')}")
    stages = ", ".join(f"{stage} {spent.calls:,}" for stage, spent in figures.stages.items() if spent.calls)
    usage, split = run.usage, f" ({printable(stages)})" if stages else ""
    yield f"{counted(usage.calls, 'call')}{split}, {usage.prompt_tokens:,} + {usage.completion_tokens:,} tokens"
    yield from map(_step_line, figures.steps)
    yield from (f"{arm}: mean reward {percent(mean)}" for arm, mean in run.result.get("means", {}).items())
    if figures.steps:
        fates = ", ".join(f"{count} {fate}" for fate, count in sorted(_fates(figures).items()))
        yield f"experiences: {fates or 'none proposed'}"
    if prior := figures.prior:
        made = "made" if run.kind == "learn" else "measured"
        yield f"{made} {prior.id} ({size_text(prior)}), {figures.state or 'never live'}"
    yield from (
        printable(f"{counted(failure.count, 'attempt')} failed: {failure.error}") for failure in figures.failures[:3]
    )
    yield from (printable(f"note: {note}") for note in figures.notes)
    settings = ", ".join(f"{name} {printable(value)}" for name, value in run.settings.items())
    yield f"settings: {settings}"


def _step_line(step: "Step") -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(step.kinds.items()))
    failed = f"; {counted(step.failed, 'attempt')} failed" if step.failed else ""
    scored, reward = counted(step.scored, "rollout"), reward_text(step.reward)
    return f"step {step.number}: {scored}, mean reward {reward}; groups: {kinds}{failed}"


def reward_text(reward: "Interval | None") -> str:
    """A mean reward with its interval over tasks, in percent."""
    if reward is None:
        return "none"
    if reward.low is None or reward.high is None:
        return percent(reward.mean)
    return f"{percent(reward.mean)} [{percent(reward.low)}, {percent(reward.high)}]"
