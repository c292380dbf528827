"""Results as a notebook shows them: a piece of HTML that needs nothing else, all text of others escaped. Pure."""

from collections.abc import Iterable, Sequence
from html import escape

from ..evaluation.arms import Evaluation
from ..evaluation.difference import FEWEST
from ..learning.result import LearningResult
from ..observer import last_looks
from ..records import JSON, Prior
from ..text import counted, shortened, shown
from .verdict import points

MOST, LONGEST = 10, 300
"""Entries of a list, and characters of a text, at most."""
_WIDTH, _HEIGHT, _EDGE = 260, 70, 8
"""Of the curve, in CSS pixels."""


def learning_html(result: LearningResult) -> str:
    """What a run came to: the verdict, its steps, the race, and the prior that it learned."""
    usage, learned = result.usage, result.candidate or result.prior
    calls = f"{counted(usage.calls, 'call')}, {usage.tokens:,} tokens"
    parts = [
        f"<p><b>{_text(_title(result))}</b></p><p>{_text(result.why)}</p>",
        f"<p><code>{_text(result.run.id)}</code> · {calls}</p>",
        _steps([step.mean_reward for step in result.steps]),
        _race(result.race),
        _prior(learned),
        f"<p>{_text(result.ended)}</p>" if result.ended else "",
    ]
    return f"<div>{''.join(parts)}</div>"


def evaluation_html(result: Evaluation) -> str:
    """What an evaluation came to: the arms, and every two of them compared."""
    size = f"{counted(result.tasks, 'task')}, {counted(result.repeats, 'rollout')} of each under each arm"
    arms = [[arm, _percent(mean), _percent(result.pass_at_k[arm])] for arm, mean in result.means.items()]
    if result.constant is not None and result.constant_mean is not None:
        arms.append([f"always {shortened(result.constant, LONGEST)!r}", _percent(result.constant_mean), ""])
    compared = [
        [
            name,
            points(found.mean),
            f"{points(found.low)} to {points(found.high)}" if result.tasks >= FEWEST else "too few tasks",
            f"{found.wins} / {found.losses} / {found.ties}",
        ]
        for name, found in result.differences.items()
    ]
    failed = f"<p>{_text(result.what_failed)}: {_text(result.first_error or '')}</p>"
    return (
        f"<div><p>{size}</p>"
        + _table(["arm", "mean reward", f"solved at least once in {result.repeats}"], arms)
        + _table(["difference", "points", "95% interval over tasks", "better / worse / equal"], compared)
        + f"{failed if result.failed else ''}</div>"
    )


def _title(result: LearningResult) -> str:
    """What became of what was learned, in a few words."""
    if result.candidate is None or result.promotion is None:
        return "Nothing new was learned"
    states = {"live": "is live", "ungated": "is live, ungated", "rejected": "was rejected"}
    return f"{result.candidate.id} {states.get(result.promotion.state, 'is a candidate')}"


def _steps(rewards: Sequence[float]) -> str:
    """The mean reward of each step, as numbers and as a curve."""
    if not rewards:
        return ""
    told = " → ".join(_percent(reward) for reward in rewards)
    return f"<p>mean reward by step: {told}</p>{_curve(rewards) if len(rewards) > 1 else ''}"


def _curve(rewards: Sequence[float]) -> str:
    """Rewards on a scale from 0 to 1."""
    across, high = (_WIDTH - 2 * _EDGE) / (len(rewards) - 1), _HEIGHT - 2 * _EDGE
    places = [(_EDGE + n * across, _EDGE + high * (1 - reward)) for n, reward in enumerate(rewards)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="currentColor"/>' for x, y in places)
    floor = f'<path d="M{_EDGE} {_HEIGHT - _EDGE}H{_WIDTH - _EDGE}" stroke="currentColor" opacity=".3"/>'
    curve = f'<polyline points="{line}" fill="none" stroke="currentColor" stroke-width="2"/>'
    label = "mean reward by step, from 0 to 1"
    return f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{label}">{floor}{curve}{dots}</svg>'


def _race(laps: Sequence[JSON]) -> str:
    """The ways to prompt as they stood when each was last looked at: the best of those that stayed first."""
    rows = [
        [
            shortened(row["source"], LONGEST),
            _percent(row["reward"]),
            _percent(row["best"]),
            f"{row['rollouts']:,}",
            f"{row['tokens']:,}",
            f"step {step + 1}" if row["left"] else "",
        ]
        for step, row in last_looks(laps)
    ]
    return _table(["way to prompt", "reward", "P(best)", "rollouts", "tokens", "left after"], rows) if rows else ""


def _prior(prior: Prior) -> str:
    """What a prior holds."""
    parts = [f"<p>prior <code>{_text(prior.id)}</code></p>"]
    if prior.instruction:
        parts.append(f"<p>instruction: {_text(prior.instruction)}</p>")
    parts.append(_list(counted(len(prior.experiences), "experience"), (one.text for one in prior.experiences)))
    examples = (f"{one.messages[-1].get('content')} → {one.answer}" for one in prior.demonstrations)
    by = f", chosen by {_text(prior.embedding)}: one embeddings call for each new text" if prior.embedding else ""
    parts.append(_list(counted(len(prior.demonstrations), "demonstration") + by, examples))
    biases = sorted(prior.biases, key=lambda entry: (-abs(entry.bias), entry.token))
    tokens = (f"{entry.piece.decode('utf-8', 'backslashreplace')!r} {entry.bias:+.2f}" for entry in biases)
    return "".join([*parts, _list(counted(len(biases), "token bias"), tokens)])


def _list(title: str, entries: Iterable[str]) -> str:
    """The first entries under a title; nothing where there are none."""
    listed = list(entries)
    items = "".join(f"<li>{_text(entry)}</li>" for entry in listed[:MOST])
    more = f"<li>and {len(listed) - MOST} more</li>" if len(listed) > MOST else ""
    return f"<p>{title}</p><ul>{items}{more}</ul>" if listed else ""


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th style="text-align:left">{_text(column)}</th>' for column in columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align:left">{_text(cell)}</td>' for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _text(given: str) -> str:
    return escape(shown(shortened(given, LONGEST)))


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"
