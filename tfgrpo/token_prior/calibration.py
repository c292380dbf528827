"""The token prior that one way to prompt wants for itself, where all answers are of a small set of texts. Pure.

Examples in a prompt make a model lean to the labels that stand first, last, or most often among them (Zhao et al.,
2021, "Calibrate before use"). Each set leans its own way, so biases learned over several are wrong for each of them,
and a set that leans hard looks worse than it is. Here each arm is given its own biases, at no further call.

An answer branches at position k, the first at which rollouts differ. Where a token v there has led to the same text in
DOMINANT of the rollouts that began so, it stands for that text, and the reward of the text is known at every task; a
token that no rollout had there stands for the one text, or right answer, that goes on with it.
Tokens whose texts are worth the same at all tasks are one *option*; all other tokens are the option `other`, which is
worth nothing. With x_v the log-probabilities listed at position k of an arm's rollouts of task t,

    l_t(o) = log of the sum over v in o of exp(x_v / T),

and offsets on these are fitted as those of a question are (`decisions`), to the folds of `choice` less one: with a
single task left out, what is learned leans away from just its answer. An offset c of an option, less that of `other`,
is a bias of c T on each of its tokens. What an arm earns at a task, at the temperature P of production, is then

    V_t = sum_o r_t(o) exp(l_t(o) + c_o T / P) / sum_u exp(l_t(u) + c_u T / P),

with l at P, and c learned without the fold of t. The ridge is the one under which left-out tasks are likeliest; biases
are kept where their likelihood gains more than its standard error, and V loses nothing.

An arm is left as it is where fewer than RECURRING of its rollouts gave a text that some other task has had too, where
what is so expected of its rollouts is not what they earned (on average, by more than MISFIT and two standard errors),
or where it has fewer than FEWEST_CALIBRATED tasks.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..records import Backend, Rollout, Task, TokenBias
from .decisions import Answered, fit, fits_without, likelihood_gains, shifted
from .policy import Floats, Ints, is_special

DOMINANT = 0.8
RECURRING = 0.8
MISFIT = 0.1
FEWEST_CALIBRATED = 8
_SHARED = 0.95
"""Of the rollouts, for a position to be taken as the same in all."""
_MOST_OPTIONS = 50
"""Different texts that are worth something; with more, answers are no labels."""
COOLEST = 0.05
"""Temperature 0 is taken for this."""
_RIDGES = (8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.125, 0.0625)
"""In tasks, as those of `decisions`."""
LEAST_BIAS, FINEST, CAP = 0.05, 1e-3, 4.0


@dataclass(frozen=True, slots=True, eq=False)
class AnswerBranch:
    """One rollout where answers branch."""

    arm: str
    task: str
    tokens: tuple[int, ...]
    """Listed there, C of them; the first was sampled."""
    logs: Floats
    """Log-probabilities at temperature 1 without biases, up to a constant, shape (C,)."""
    biases: Floats
    """In force when it was sampled, shape (C,)."""
    text: str
    reward: float


@dataclass(frozen=True, slots=True)
class Heats:
    """The temperatures that rollouts were sampled at, and that production will be at."""

    sampled: float
    production: float


@dataclass(frozen=True, slots=True, eq=False)
class ArmFit:
    """What one arm would earn under biases of its own."""

    values: Mapping[str, float]
    """By task: under biases that were learned without its fold, where biases are kept; else without any."""
    biases: tuple[TokenBias, ...]
    """Those of all tasks; empty where none are kept."""
    gain: float
    """Mean over tasks of what biases learned without its fold add to the reward of a task."""
    deviation: float
    """Its standard error, over tasks."""

    @property
    def why(self) -> str:
        """The figures, for people."""
        figures = f"{100 * self.gain:+.1f} points, give or take {100 * self.deviation:.1f}"
        return f"fitted to the winner's own answers ({figures}, on held-out folds of {len(self.values)} tasks)"


@dataclass(frozen=True, slots=True, eq=False)
class Branches:
    """Rollouts of all arms where answers branch."""

    made: tuple[AnswerBranch, ...]
    begun: bytes
    """What all of them begin with."""
    pieces: Mapping[int, bytes]
    """The bytes of each token that is listed."""


def branches(rollouts: Iterable[tuple[Rollout, Mapping[int, float]]], backend: Backend, temperature: float) -> Branches:
    """Where the scored rollouts branch, each given with the biases (nats) that were in force."""
    traced = [(one, biases) for one, biases in rollouts if _is_traced(one)]
    position, shared = _shared([one for one, _ in traced])
    found: list[AnswerBranch] = []
    pieces: dict[int, bytes] = {}
    for one, biases in traced:
        trace = one.trace
        if trace is None or tuple(trace.ids[:position, 0].tolist()) != shared or len(trace.ids) <= position:
            continue
        ids, logs = trace.ids[position], trace.logprobs[position]
        listed = (ids >= 0) & np.isfinite(logs)
        listed[1:] &= ids[1:] != ids[0]
        tokens = tuple(ids[listed].tolist())
        applied = np.array([biases.get(token, 0.0) for token in tokens])
        plain = logs[listed] * (temperature if backend.includes_temperature else 1.0)
        plain = plain - applied if backend.includes_bias else plain
        found.append(AnswerBranch(one.variant, one.task.id, tokens, plain, applied, one.text, one.reward or 0.0))
        pieces |= trace.pieces
    return Branches(tuple(found), b"".join(pieces.get(token, b"") for token in shared), pieces)


def _is_traced(one: Rollout) -> bool:
    return one.error is None and one.reward is not None and one.trace is not None and len(one.trace.ids) > 0


def _shared(rollouts: Sequence[Rollout]) -> tuple[int, tuple[int, ...]]:
    """The position at which rollouts differ, and the tokens before it that nearly all have."""
    begun = [tuple(one.trace.ids[:, 0].tolist()) for one in rollouts if one.trace is not None]
    shared: tuple[int, ...] = ()
    while begun:
        going_on = Counter(ids[len(shared)] for ids in begun if ids[: len(shared)] == shared and len(ids) > len(shared))
        if not going_on:
            break
        token, count = going_on.most_common(1)[0]
        if count < _SHARED * len(begun):
            break
        shared = (*shared, token)
    return len(shared), shared


@dataclass(frozen=True, slots=True, eq=False)
class Options:
    """What the tokens at a branch stand for: O options, the last of them `other`."""

    of_token: Mapping[int, int]
    """Option by token; tokens that are not named are `other`."""
    rewards: Mapping[str, Floats]
    """By task, shape (O,)."""
    recurring: frozenset[str]
    """Texts that more than one task has had."""


def options(given: Branches, tasks: Sequence[Task], reward: Callable[[str, Task], float]) -> Options | None:
    """What the tokens stand for; None where answers are no labels."""
    asked, led = defaultdict[str, set[str]](set), defaultdict[int, Counter[str]](Counter)
    for one in given.made:
        asked[one.text].add(one.task)
        led[one.tokens[0]][one.text] += 1
    recurring = frozenset(text for text, where in asked.items() if len(where) > 1)
    if not 0 < len(recurring) <= _MOST_OPTIONS:
        return None
    answers = [] if given.begun else [str(task.answer) for task in tasks]
    known = dict.fromkeys([*sorted(recurring), *answers])
    worth = {text: tuple(reward(text, task) for task in tasks) for text in known}
    columns = {row: place for place, row in enumerate(dict.fromkeys(row for row in worth.values() if any(row)))}
    if not 0 < len(columns) <= _MOST_OPTIONS:
        return None
    meant = {token: text for token, texts in led.items() if (text := _dominant(texts)) in known}
    for token, piece in given.pieces.items():
        if token not in led and (text := _begun_alone(piece, given.begun, known)):
            meant[token] = text
    of_token = {token: columns[worth[text]] for token, text in sorted(meant.items()) if worth[text] in columns}
    by_task = np.array([*columns, (0.0,) * len(tasks)]).T
    return Options(of_token, {task.id: row for task, row in zip(tasks, by_task, strict=True)}, recurring)


def _dominant(texts: Counter[str]) -> str | None:
    text, count = texts.most_common(1)[0]
    return text if count >= DOMINANT * texts.total() else None


def _begun_alone(piece: bytes, begun: bytes, texts: Iterable[str]) -> str | None:
    """The one text that goes on with a piece which no rollout has had; None where there are none, or several."""
    said = piece.strip()
    found = [text for text in texts if len(said) > 1 and text.encode().removeprefix(begun).lstrip().startswith(said)]
    return found[0] if len(found) == 1 else None


def fitted_arm(
    arm: str, given: Branches, found: Options, parts: Sequence[frozenset[str]], heats: Heats
) -> ArmFit | None:
    """What one arm's rollouts say it would earn under biases of its own; None where that cannot be told.

    `parts` are the folds of all tasks.
    """
    made = [one for one in given.made if one.arm == arm]
    names = sorted({one.task for one in made})
    if len(names) < FEWEST_CALIBRATED or np.mean([one.text in found.recurring for one in made]) < RECURRING:
        return None
    missed = np.array([one.reward - _expected(one, found, heats.sampled) for one in made])
    if abs(missed.mean()) > MISFIT + 2 * missed.std() / np.sqrt(len(missed)):
        return None
    rewards = np.stack([found.rewards[name] for name in names])
    answered = Answered(_levels(made, names, found, heats.sampled), rewards)
    folds = [np.array([row for row, name in enumerate(names) if name in part], dtype=np.int64) for part in parts]
    folds = [fold for fold in folds if len(fold)]
    ridge, without, likelier = max(
        (_held_out(answered, folds, ridge) for ridge in _RIDGES), key=lambda swept: (swept[2].mean(), swept[0])
    )
    cooler, heat = _levels(made, names, found, heats.production), heats.sampled / heats.production
    before = (np.exp(cooler) * rewards).sum(axis=1)
    after = (shifted(cooler[:, None, :], heat * without[:, None, :])[:, 0] * rewards).sum(axis=1)
    gains, count = after - before, np.sqrt(len(names))
    kept = likelier.mean() > likelier.std(ddof=1) / count and gains.mean() > 0
    biases = _biases(answered, ridge, found, given.pieces, heats.sampled) if kept else ()
    values = dict(zip(names, (after if biases else before).tolist(), strict=True))
    return ArmFit(values, biases, float(gains.mean()), float(gains.std(ddof=1) / count))


def _held_out(answered: Answered, folds: Sequence[Ints], ridge: float) -> tuple[float, Floats, Floats]:
    """A ridge, the offsets that each task's fold was left out of, (T, O), and what its likelihood gains, (T,)."""
    without = np.zeros_like(answered.logs)
    for fold, offsets in zip(folds, fits_without(answered, folds, ridge), strict=True):
        without[fold] = offsets
    return ridge, without, likelihood_gains(answered, without)


def _levels(made: Sequence[AnswerBranch], names: Sequence[str], found: Options, temperature: float) -> Floats:
    """l, normalised, shape (T, O): of a task the mean chances over its rollouts, since experiences shown may differ."""
    rows = defaultdict[str, list[Floats]](list)
    for one in made:
        rows[one.task].append(_log_chances(one, found, one.logs / temperature))
    return np.stack([np.logaddexp.reduce(rows[name], axis=0) - np.log(len(rows[name])) for name in names])


def _log_chances(one: AnswerBranch, found: Options, weights: Floats) -> Floats:
    """log of the probability of each option, shape (O,), from the logarithms of the listed tokens' weights."""
    logs = np.full(len(found.rewards[one.task]), -np.inf)
    places = [found.of_token.get(token, len(logs) - 1) for token in one.tokens]
    np.logaddexp.at(logs, places, weights)
    return np.asarray(logs - np.logaddexp.reduce(logs))


def _expected(one: AnswerBranch, found: Options, temperature: float) -> float:
    """What a rollout was to earn, under the biases that it was sampled with."""
    logs = _log_chances(one, found, (one.logs + one.biases) / temperature)
    return float(np.exp(logs) @ found.rewards[one.task])


def _biases(
    answered: Answered, ridge: float, found: Options, pieces: Mapping[int, bytes], sampled_at: float
) -> tuple[TokenBias, ...]:
    """The biases that offsets with this ridge stand for, the strongest first; z by the jackknife over tasks."""
    count = len(answered.logs)
    offsets, without = fit(answered, ridge), fits_without(answered, list(np.arange(count)[:, None]), ridge)
    moved, others = (each - each[..., -1:] for each in (offsets, without))
    deviations = np.sqrt((count - 1) / count * ((others - others.mean(axis=0)) ** 2).sum(axis=0))
    entries = []
    for token, option in found.of_token.items():
        bias, piece = float(moved[option] * sampled_at), pieces.get(token, b"")
        if abs(bias) >= LEAST_BIAS and not is_special(piece):
            z = float(moved[option] / max(deviations[option], FINEST))
            entries.append(TokenBias(token, piece, float(np.clip(bias, -CAP, CAP)), z, count))
    return tuple(sorted(entries, key=lambda entry: (-abs(entry.bias), entry.token)))
