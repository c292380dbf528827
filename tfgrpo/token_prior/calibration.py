"""The token prior that one way to prompt wants for itself, where all answers are of a small set of texts. Pure.

Examples in a prompt make a model lean to the labels that stand first, last, or most often among them (Zhao et al.,
2021, "Calibrate before use"). Each set leans its own way, so biases learned over several are wrong for each of them,
and a set that leans hard looks worse than it is. Here each arm is given its own biases, at no further call.

An answer branches at position k, the first at which rollouts differ (where nearly all come to one text, the one at
which its token is the least likely). Where a token v there has led to the same text in DOMINANT of the rollouts that
began so, it stands for that text, and the reward of the text is known at every task; where it has led to several
(labels that begin alike), it is worth what these are, by their shares. A token that no rollout had there stands for the
one text, or right answer, that goes on with it.
Tokens whose texts are worth the same at all tasks are one *option*; all other tokens are the option `other`, which is
worth nothing, as what is not listed is: with a probability of R outside the list, taken for R / exp(x_K) tokens that
are as likely as the last one listed (the bound of `policy` at T < 1). With x_v the log-probabilities listed at position
k of an arm's rollouts of task t,

    l_t(o) = log of the sum over v in o of exp(x_v / T),

and offsets on these are fitted as those of a question are (`decisions`), to the folds of `choice` less one: with a
single task left out, what is learned leans away from just its answer. An offset c of an option, less that of `other`,
is a bias of c T on each of its tokens, within a cap. What an arm earns at a task, at the temperature P of production,
is then

    V_t = sum_o r_t(o) exp(l_t(o) + c_o T / P) / sum_u exp(l_t(u) + c_u T / P),

with l at P, and c learned without the fold of t. The ridge is the one under which left-out tasks are likeliest; biases
are kept where their likelihood gains more than its standard error, and V loses nothing.

An arm is left as it is where fewer than RECURRING of its rollouts gave a text that some other task has had too, where
what is so expected of its rollouts is not what they earned (on average, by more than MISFIT and two standard errors),
or where it has fewer than FEWEST_CALIBRATED tasks.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..model.tokenizer import is_special
from ..records import Backend, Rollout, Task, TokenBias
from ..rollouts.rewards.matchers import in_text, normalised, right_answers
from .decisions import Answered, fit, fits_without, likelihood_gains, shifted
from .gradient import Floats, Ints
from .path import FINEST, LEAST_BIAS

DOMINANT = 0.8
RECURRING = 0.8
MISFIT = 0.1
FEWEST_CALIBRATED = 8
_SHARED = 0.95
"""Of the rollouts, for a position to be taken as the same in all."""
_MOST_OPTIONS = 50
"""Different texts that are worth something; with more, answers are no labels."""
_NO_TAIL = 1e-6
"""Probability outside a list that is no more than rounding."""
COOLEST = 0.05
"""Temperature 0 is taken for this."""
_RIDGES = (8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.125, 0.0625)
"""In tasks, as those of `decisions`."""


@dataclass(frozen=True, slots=True, eq=False)
class AnswerBranch:
    """One rollout where answers branch."""

    arm: str
    task: str
    tokens: tuple[int, ...]
    """Listed there, C of them; the first was sampled."""
    logs: Floats
    """Log-probabilities at temperature 1 under the biases that the run began with, up to a constant, shape (C,)."""
    biases: Floats
    """In force beyond those when it was sampled, shape (C,)."""
    tail: tuple[float, float]
    """What is not listed: the log-probability of each of its tokens, as in `logs`, and the log of their number."""
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
    """By task: under biases that were learned without its fold, where biases are kept; else under those before."""
    biases: tuple[TokenBias, ...]
    """Those of all tasks, to be added to those that the run began with; empty where none are kept."""
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


def branches(
    rollouts: Iterable[tuple[Rollout, Mapping[int, float]]],
    backend: Backend,
    temperature: float,
    start: Mapping[int, float] | None = None,
) -> Branches:
    """Where the scored rollouts branch, each given with the biases (nats) that were in force.

    `start` are those that the run began with, which stand where none are kept.
    """
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
        before = np.array([start.get(token, 0.0) for token in tokens]) if start else np.zeros(len(tokens))
        reward = one.reward or 0.0
        logs_at = plain + before, applied - before
        tail = _tail(logs[listed], plain)
        found.append(AnswerBranch(one.variant, one.task.id, tokens, *logs_at, tail, one.text, reward))
        pieces |= trace.pieces
    return Branches(tuple(found), b"".join(pieces.get(token, b"") for token in shared), pieces)


def _tail(reported: Floats, plain: Floats) -> tuple[float, float]:
    """What is not listed; the sampled token, which stands first, may be less likely than it is."""
    rest = 1.0 - float(np.exp(reported).sum())
    if rest < _NO_TAIL:
        return -np.inf, 0.0
    last = 1 + int(reported[1:].argmin()) if len(reported) > 1 else 0
    return float(plain[last]), float(max(0.0, np.log(rest) - reported[last]))


def _is_traced(one: Rollout) -> bool:
    return one.error is None and one.reward is not None and one.trace is not None and len(one.trace.ids) > 0


def _shared(rollouts: Sequence[Rollout]) -> tuple[int, tuple[int, ...]]:
    """The position at which answers branch, and the tokens before it that nearly all have."""
    going = [
        (tuple(one.trace.ids[:, 0].tolist()), np.exp(one.trace.logprobs[:, 0]), one.text)
        for one in rollouts
        if one.trace is not None
    ]
    least = _SHARED * len(going)
    shared: list[int] = []
    stayed: list[float] = []
    """How likely the token of each position was, of those that went on with it."""
    while following := Counter(ids[len(shared)] for ids, *_ in going if len(ids) > len(shared)):
        token, count = following.most_common(1)[0]
        if count < least:
            break
        going = [one for one in going if len(one[0]) > len(shared) and one[0][len(shared)] == token]
        stayed.append(float(np.mean([chances[len(shared)] for _, chances, _ in going])))
        shared.append(token)
    if stayed and _are_one(Counter(text for *_, text in going)):
        del shared[stayed.index(min(stayed)) :]
    return len(shared), tuple(shared)


def _are_one(texts: Counter[str]) -> bool:
    """Whether nearly all texts are one, as they are compared."""
    alike = Counter[str]()
    for text, count in texts.items():
        alike[normalised(text)] += count
    return alike.most_common(1)[0][1] >= _SHARED * alike.total()


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
    answers = {in_text(answer) for task in tasks for answer in right_answers(task.answer)}
    if not 0 < len(recurring) <= _MOST_OPTIONS or len(answers) > _MOST_OPTIONS:
        return None
    known = dict.fromkeys([*sorted(recurring), *([] if given.begun else sorted(answers))])
    worth = {text: np.array([reward(text, task) for task in tasks]) for text in known}
    rows = {token: _row(texts, worth) for token, texts in led.items()}
    for token, piece in given.pieces.items():
        if token not in led and (text := _begun_alone(piece, given.begun, known)):
            rows[token] = worth[text]
    worths = {token: tuple(row.tolist()) for token, row in sorted(rows.items()) if row.any()}
    columns = {row: place for place, row in enumerate(dict.fromkeys(worths.values()))}
    if not 0 < len(columns) <= _MOST_OPTIONS:
        return None
    of_token = {token: columns[row] for token, row in worths.items()}
    by_task = np.array([*columns, (0.0,) * len(tasks)]).T
    return Options(of_token, {task.id: row for task, row in zip(tasks, by_task, strict=True)}, recurring)


def _row(texts: Counter[str], worth: Mapping[str, Floats]) -> Floats:
    """What a token is worth at each task that led to these texts; those of which nothing is known are worth nothing."""
    text, count = texts.most_common(1)[0]
    nothing = np.zeros(len(next(iter(worth.values()))))
    if count >= DOMINANT * texts.total():
        return worth.get(text, nothing)
    shares = (times / texts.total() * worth[said] for said, times in sorted(texts.items()) if said in worth)
    return np.asarray(sum(shares, start=nothing))


def _begun_alone(piece: bytes, begun: bytes, texts: Iterable[str]) -> str | None:
    """The one text that goes on with a piece which no rollout has had; None where there are none, or several."""
    said = piece.strip()
    found = [text for text in texts if len(said) > 1 and text.encode().removeprefix(begun).lstrip().startswith(said)]
    return found[0] if len(found) == 1 else None


def fitted_arm(
    arm: str, given: Branches, found: Options, parts: Sequence[frozenset[str]], heats: Heats, *, cap: float
) -> ArmFit | None:
    """What one arm's rollouts say it would earn under biases of its own; None where that cannot be told.

    `parts` are the folds of all tasks, `cap` is the largest bias, in nats.
    """
    made = sorted((one for one in given.made if one.arm == arm), key=lambda one: one.task)
    names = sorted({one.task for one in made})
    if len(names) < FEWEST_CALIBRATED or np.mean([one.text in found.recurring for one in made]) < RECURRING:
        return None
    rewards, listed = np.stack([found.rewards[name] for name in names]), _listed(made, found)
    missed = np.array([one.reward for one in made]) - _expected(made, found, listed, heats.sampled)
    if abs(missed.mean()) > MISFIT + 2 * missed.std() / np.sqrt(len(missed)):
        return None
    answered = Answered(_levels(made, listed, heats.sampled), rewards)
    folds = [np.array([row for row, name in enumerate(names) if name in part], dtype=np.int64) for part in parts]
    folds = [fold for fold in folds if len(fold)]
    ridge, without, likelier = max(_held_out(answered, folds), key=lambda swept: (swept[2].mean(), swept[0]))
    most = cap / heats.sampled
    sent = np.clip(without - without[:, -1:], -most, most)
    cooler, heat = _levels(made, listed, heats.production), heats.sampled / heats.production
    before = (np.exp(cooler) * rewards).sum(axis=1)
    after = (shifted(cooler[:, None, :], heat * sent[:, None, :])[:, 0] * rewards).sum(axis=1)
    gains, count = after - before, np.sqrt(len(names))
    kept = likelier.mean() > likelier.std(ddof=1) / count and gains.mean() > 0
    moved = fit(answered, ridge), np.stack([without[fold[0]] for fold in folds])
    biases = _biases(moved, found, given.pieces, heats.sampled, cap=cap, tasks=len(names)) if kept else ()
    values = dict(zip(names, (after if biases else before).tolist(), strict=True))
    return ArmFit(values, biases, float(gains.mean()), float(gains.std(ddof=1) / count))


def _held_out(answered: Answered, folds: Sequence[Ints]) -> Iterator[tuple[float, Floats, Floats]]:
    """Each ridge, the offsets that each task's fold was left out of, (T, O), and what its likelihood gains, (T,)."""
    for ridge, fitted in zip(_RIDGES, fits_without(answered, folds, _RIDGES), strict=True):
        without = np.zeros_like(answered.logs)
        for fold, offsets in zip(folds, fitted, strict=True):
            without[fold] = offsets
        yield ridge, without, likelihood_gains(answered, without)


@dataclass(frozen=True, slots=True, eq=False)
class _Listed:
    """What is listed at R branches, up to C - 1 tokens at each; what is not stands last."""

    options: Ints
    """That the tokens stand for, shape (R, C)."""
    logs: Floats
    """As of the branches, shape (R, C); -inf where there is no token."""
    biases: Floats
    """As of the branches, shape (R, C)."""
    numbers: Floats
    """log of how many tokens each stands for, shape (R, C)."""
    count: int
    """Of options, O."""

    def log_chances(self, temperature: float, *, biased: bool = False) -> Floats:
        """log of the probability of each option, shape (R, O), without the biases in force or with them."""
        weights = (self.logs + self.biases * biased) / temperature + self.numbers
        each = (np.where(self.options == option, weights, -np.inf) for option in range(self.count))
        logs = np.stack([np.logaddexp.reduce(one, axis=1) for one in each], axis=1)
        return np.asarray(logs - np.logaddexp.reduce(logs, axis=1)[:, None])


def _listed(made: Sequence[AnswerBranch], found: Options) -> _Listed:
    shape, count = (len(made), 1 + max(len(one.tokens) for one in made)), len(found.rewards[made[0].task])
    listed = _Listed(np.full(shape, count - 1), np.full(shape, -np.inf), np.zeros(shape), np.zeros(shape), count)
    for row, one in enumerate(made):
        width = len(one.tokens)
        listed.options[row, :width] = [found.of_token.get(token, count - 1) for token in one.tokens]
        listed.logs[row, :width], listed.biases[row, :width] = one.logs, one.biases
        listed.logs[row, -1], listed.numbers[row, -1] = one.tail
    return listed


def _levels(made: Sequence[AnswerBranch], listed: _Listed, temperature: float) -> Floats:
    """l, normalised, shape (T, O): of a task the mean chances over its rollouts, since experiences shown may differ.

    `made` are in order of task.
    """
    starts = [row for row, one in enumerate(made) if not row or one.task != made[row - 1].task]
    sizes = np.diff([*starts, len(made)])
    logs = np.logaddexp.reduceat(listed.log_chances(temperature), starts, axis=0)
    return np.asarray(logs - np.log(sizes)[:, None])


def _expected(made: Sequence[AnswerBranch], found: Options, listed: _Listed, temperature: float) -> Floats:
    """What each rollout was to earn, under the biases that it was sampled with, shape (R,)."""
    logs = listed.log_chances(temperature, biased=True)
    return np.asarray((np.exp(logs) * np.stack([found.rewards[one.task] for one in made])).sum(axis=1))


def _biases(
    fitted: tuple[Floats, Floats],
    found: Options,
    pieces: Mapping[int, bytes],
    sampled_at: float,
    *,
    cap: float,
    tasks: int,
) -> tuple[TokenBias, ...]:
    """The biases that offsets stand for, the strongest first; z by the jackknife over folds.

    `fitted` are the offsets of so many tasks, (O,), and those without each fold, (F, O).
    """
    moved, others = (each - each[..., -1:] for each in fitted)
    count = len(others)
    deviations = np.sqrt((count - 1) / count * ((others - others.mean(axis=0)) ** 2).sum(axis=0))
    entries = []
    for token, option in found.of_token.items():
        bias, piece = float(moved[option] * sampled_at), pieces.get(token, b"")
        if abs(bias) >= LEAST_BIAS and not is_special(piece):
            z = float(moved[option] / max(deviations[option], FINEST))
            entries.append(TokenBias(token, piece, float(np.clip(bias, -cap, cap)), z, tasks))
    return tuple(sorted(entries, key=lambda entry: (-abs(entry.bias), entry.token)))
