"""One run's outcome in a line, and a sentence that says on what it rests. Pure."""

from dataclasses import dataclass, replace
from math import exp
from typing import Literal, TypeAlias

from ..text import counted
from ..trials import GateTrial, TrialOutcome
from .figures import EvaluationFigures, Figures

Tone: TypeAlias = Literal["good", "bad", "unsure"]


@dataclass(frozen=True, slots=True)
class RunVerdict:
    """What a person needs at a glance."""

    title: str
    why: str
    tone: Tone


def verdict(figures: Figures) -> RunVerdict:
    """The outcome of a run; what has not ended well says so before anything else."""
    run, status, error = figures.entry.run, figures.entry.run.status, figures.error
    if status == "failed":
        return RunVerdict("Failed", error or "The store does not say why.", "bad")
    if status == "interrupted":
        return RunVerdict("Interrupted", "What was done is kept; the same command goes on from there.", "unsure")
    if status == "running":
        return RunVerdict("Running, or killed", "It has not ended; the same command goes on from there.", "unsure")
    if error:
        return RunVerdict("Out of budget", error, "unsure")
    found = _OUTCOMES[run.kind](figures)
    if status == "finished":
        return found
    ended = str(run.result.get("ended") or "the budget ended it").rstrip(".")
    return replace(found, title=f"Out of budget. {found.title}", why=f"{ended}. {found.why}")


def e_value(validation: GateTrial) -> float:
    """Of the gate so far; it starts at 1."""
    return exp(min(700.0, validation.passes[-1].log_e)) if validation.passes else 1.0


def points(reward: float) -> str:
    """A difference of rewards in points, with its sign."""
    return f"{100 * reward:+.1f}".replace("-", "\N{MINUS SIGN}")


def _learned(figures: Figures) -> RunVerdict:
    gate = figures.trial
    if figures.prior is None and figures.entry.run.result.get("candidate"):
        return RunVerdict("Nothing new: what was learned is live already", "The live prior is as it was.", "unsure")
    if figures.prior is None:
        return RunVerdict("Nothing was learned that evidence supports", "The live prior is as it was.", "unsure")
    if gate and gate.outcome:
        return _gated(gate, gate.outcome, waits=figures.state == "candidate")
    if gate:
        so_far = f"e-value {e_value(gate):.3g} after {counted(len(gate.passes), 'pass')}, {1 / gate.level:g} needed"
        return RunVerdict("Undecided: the gate was not finished", f"{so_far}. What is live is as it was.", "unsure")
    if figures.state in ("candidate", "rejected"):
        rejected, undecided = "Rejected: a person has rolled it back before", "Undecided: the gate made no pass"
        headline = rejected if figures.state == "rejected" else undecided
        return RunVerdict(headline, "What is live is as it was.", "unsure")
    why = "No gate has seen it, so this run does not show that it helps."
    return RunVerdict("Ungated: no test has passed it", f"{why} {_elsewhere(figures.measured)}".strip(), "unsure")


def _gated(gate: GateTrial, outcome: TrialOutcome, *, waits: bool) -> RunVerdict:
    """Of what the gate decided; `waits`: its prior was not made live, since another had gone live meanwhile."""
    tasks, estimate = len(gate.tasks), f"{points(outcome.estimate)} points"
    evidence = f"e-value {outcome.e_value:.3g} after {counted(outcome.passes, 'pass')}, {1 / gate.level:g} needed"
    around = ""
    if outcome.low is not None and outcome.high is not None:
        around = f"; 95% interval {points(outcome.low)} to {points(outcome.high)} points over tasks like these"
    if outcome.verdict == "promoted":
        gain = f"{estimate} on these {tasks} validation tasks"
        if waits:
            why = f"It was not tested against what is live now; {evidence}{around}."
            return RunVerdict(f"Passed the gate, but is not live: {gain}", why, "unsure")
        carries = around and outcome.low is not None and outcome.low <= 0
        doubt = " That it carries over to other tasks is not shown." if carries else ""
        return RunVerdict(f"Promoted: {gain}", f"Their mean effect is above zero: {evidence}{around}.{doubt}", "good")
    title = f"Not promoted: no gain was shown on these {tasks} validation tasks"
    return RunVerdict(title, f"Estimate {estimate}: {evidence}{around}. What is live is as it was.", "bad")


def _evaluated(figures: Figures) -> RunVerdict:
    measured = figures.measured
    if measured is None:
        return RunVerdict("Nothing was measured", "The store holds no result of this evaluation.", "unsure")
    gain, told = measured.gain, _elsewhere(measured)
    if measured.few:
        return RunVerdict(f"Too few tasks to tell: {points(gain.mean)} points", told, "unsure")
    if gain.low > 0:
        return RunVerdict(f"Better than frozen by {points(gain.mean)} points", told, "good")
    if gain.high < 0:
        return RunVerdict(f"Worse than frozen: {points(gain.mean)} points", told, "bad")
    return RunVerdict(f"No difference shown: {points(gain.mean)} points", told, "unsure")


def _elsewhere(measured: EvaluationFigures | None) -> str:
    """What an evaluation has found, in a sentence."""
    if measured is None:
        return ""
    gain, tasks = measured.gain, f"{counted(measured.tasks, 'task')} that learning did not see"
    around = "too few for an interval" if measured.few else f"95% interval {points(gain.low)} to {points(gain.high)}"
    return f"On {tasks} it is {points(gain.mean)} points from frozen, {around}."


def _explored(figures: Figures) -> RunVerdict:
    told = figures.entry.run.result
    texts = told.get("texts") or ()
    measured = [*texts, *(told.get("seen") or ())]
    kept = sum(bool(one.get("kept")) for one in measured)
    title = f"Explored: {kept} of {len(measured)} texts and actions help to predict what follows"
    seen = f"From {counted(told.get('transitions', 0), 'transition')}, without any reward."
    if acting := told.get("acting"):
        earned = f"{acting['kept']:.1%} with what is kept, {acting['frozen']:.1%} without"
        seen += f" Tasks that taught nothing earn {earned}."
    return RunVerdict(title, seen, "unsure")


_OUTCOMES = {"learn": _learned, "eval": _evaluated, "explore": _explored}
"""How the outcome of each kind of run is told."""
