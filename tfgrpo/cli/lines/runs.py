"""Runs: how each ended, what it cost, how its steps went, what came of it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ...text import counted
from .evaluation import moment_lines
from .priors import size_text
from .race import race_lines
from .tables import day_time, percent, printable

if TYPE_CHECKING:
    from ...records import JSON
    from ...report import Figures, Interval, StepFigures
    from ...store import RunEntry


def run_json(entry: "RunEntry", means: "Sequence[float]") -> "dict[str, JSON]":
    """One run with its settings and figures; `means` are its mean rewards by step."""
    from dataclasses import asdict

    from ...priors.portable import frame_json

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

    from ...report import verdict

    return {
        "verdict": asdict(verdict(figures)),
        "prior": figures.prior.id if figures.prior else None,
        "state": figures.state,
        "stages": {stage: asdict(usage) for stage, usage in figures.stages.items()},
        "steps": [asdict(step) for step in figures.steps],
        "race": [dict(lap) for lap in figures.race],
        "experiences": dict(_fates(figures)),
        "failures": [asdict(failure) for failure in figures.failures],
    }


def _fates(figures: "Figures") -> "Counter[str]":
    fates = Counter(one.decision.verdict if one.decision else "undecided" for one in figures.experiences)
    refused = sum(refused.count for refused in figures.refused)
    return fates + Counter({"refused": refused})


def run_lines(figures: "Figures") -> Iterator[str]:
    """One run for people: what was asked, what it cost, how each step went, what came of it."""
    from ...report import verdict

    run, outcome = figures.entry.run, verdict(figures)
    again = f", repeat {run.attempt}" if run.attempt else ""
    yield f"{run.id} ({run.kind} in {run.namespace}{again}): {run.status}"
    yield printable(f"{outcome.title}. {outcome.why}")
    yield f"from {day_time(figures.entry.started)} to {day_time(figures.entry.ended) or '...'} UTC"
    yield printable(f"model {run.frame.model}, reward {run.reward}, {counted(len(run.tasks), 'task')}")
    stages = ", ".join(f"{stage} {spent.calls:,}" for stage, spent in figures.stages.items() if spent.calls)
    usage, split = run.usage, f" ({printable(stages)})" if stages else ""
    yield f"{counted(usage.calls, 'call')}{split}, {usage.prompt_tokens:,} + {usage.completion_tokens:,} tokens"
    yield from map(_step_line, figures.steps)
    yield from race_lines(figures.race)
    yield from (f"{arm}: mean reward {percent(mean)}" for arm, mean in run.result.get("means", {}).items())
    yield from moment_lines(run.result)
    if figures.steps:
        fates = ", ".join(f"{count} {fate}" for fate, count in sorted(_fates(figures).items()))
        yield f"experiences: {fates or 'none proposed'}"
    if prior := figures.prior:
        made = "made" if run.kind == "learn" else "measured"
        yield f"{made} {prior.id} ({size_text(prior)}), {figures.state or 'never live'}"
    yield from (
        printable(f"{counted(failure.count, 'rollout')} failed: {failure.error}") for failure in figures.failures[:3]
    )
    yield from (printable(f"note: {note}") for note in figures.notes)
    settings = ", ".join(f"{name} {printable(value)}" for name, value in run.settings.items())
    yield f"settings: {settings}"


def _step_line(step: "StepFigures") -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(step.kinds.items()))
    failed = f"; {counted(step.failed, 'rollout')} failed" if step.failed else ""
    scored, reward = counted(step.scored, "rollout"), reward_text(step.reward)
    return f"step {step.number}: {scored}, mean reward {reward}; groups: {kinds}{failed}"


def reward_text(reward: "Interval | None") -> str:
    """A mean reward with its interval over tasks, in percent."""
    if reward is None:
        return "none"
    if reward.low is None or reward.high is None:
        return percent(reward.mean)
    return f"{percent(reward.mean)} [{percent(reward.low)}, {percent(reward.high)}]"
