"""What a run will cost, and what its gate can detect, before anything is spent. Pure.

Calls of rollouts are exact, those of distilling and of the gate are the most that there can be (retries left out).
Tokens are on the safe side: three bytes each, prompts with all that a prior may hold, answers as long as the request
allows, or ANSWER_TOKENS where it says nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from json import dumps
from math import ceil
from typing import NamedTuple

from ..experiences.distil import CHUNK, COMPARED
from ..experiences.embedding import TEXTS_A_CALL
from ..experiences.library import SCREENED, screens
from ..experiences.variants import example
from ..experiences.write import PAIRS_CHARS, SHOWN_CHARS, instructions_wanted, texts_wanted
from ..gate.e_process import Gate
from ..gate.power import POWER, SPREAD, smallest_effect, smallest_over_tasks, tasks_needed
from ..gate.training import MOST_TRIED, TRIES
from ..gate.verdict import claimed
from ..model.budget import Ceiling
from ..model.pace import MADE_TWICE
from ..model.prices import Prices
from ..probe.backend import MOST_PROBED
from ..records import JSON, Frame, Task, Usage
from ..rollouts.executor import is_short
from ..rollouts.rewards.reward import BuiltInReward
from ..settings import Settings
from ..surfaces.chat import token_estimate
from ..surfaces.surface import demonstration_tokens
from ..text import WORD_CHARS, counted
from ..token_prior.exact import LOOKED_AT
from .plan import Plan

ANSWER_TOKENS = 200
"""Assumed of an answer where the request sets no `max_tokens`."""
INSTRUCTION_TOKENS = 500
"""About what a prompt of the distiller takes before it is filled in."""
_LONGEST_TOKEN = 8
"""Characters of a token, on the average over a long text, at most."""
MOST_HELD_BACK = 0.3
"""Share of every ceiling that is kept back for the gate at most."""
_FEW, _TURNS = 16, 5
"""Validation tasks below which it is told what judging by all tasks in turns would cost, and in how many parts."""
WANTED_EFFECT = 0.1
"""The effect for which the number of tasks needed is told: 10 points."""


@dataclass(frozen=True, slots=True)
class Cost:
    """An estimate of what a plan spends, at most."""

    rollouts: Usage
    distilling: Usage
    gating: Usage
    usd: float | None
    """None where no price is known."""
    assumed: bool
    """No `max_tokens` is set: the length of answers is a guess."""
    embedding: Usage = field(default_factory=Usage)
    """Of comparing proposals and choosing examples by an embedding model; nothing where there is none."""
    judging: Usage = field(default_factory=Usage)
    """Of a reward that asks a model about each rollout, in learning and in the gate."""
    judged: int = 0
    """Calls of that for one rollout."""
    chunks: int = 1
    """Calls that make one rollout, at most: several in bounded context."""
    screening: Usage = field(default_factory=Usage)
    """Of the attempts by which texts are screened before they take a place on trial."""
    again: int | None = 0
    """Calls that may come on top: of the probe, and of what is asked again, since an answer was of no use; None: nobody
    can tell, as an agent makes the calls."""

    @property
    def most(self) -> int | None:
        """Calls at most, where each is answered; None where nobody can tell."""
        return None if self.again is None else self.total.calls + self.again

    @property
    def total(self) -> Usage:
        """All of it."""
        return self.rollouts + self.distilling + self.screening + self.embedding + self.gating + self.judging

    @property
    def held_back(self) -> float:
        """The share of every ceiling that learning leaves to the gate: the gate's share of the calls, within bounds."""
        return min(MOST_HELD_BACK, self._gate_calls / self.total.calls)

    @property
    def learning(self) -> int:
        """Calls before the gate."""
        return self.total.calls - self._gate_calls

    @property
    def _gate_calls(self) -> int:
        return self.gating.calls // self.chunks * (self.chunks + self.judged)

    def as_json(self, plan: Plan, number: int, ceiling: Ceiling | None = None) -> dict[str, JSON]:
        """The figures of the estimate."""
        gate = _gate(plan, self, number, ceiling)
        embedding = {"embedding": self.embedding.calls} if plan.embedding else {}
        calls = {"attempts": self.rollouts.calls, "distilling": self.distilling.calls, "gate": self.gating.calls}
        calls |= {"screening": self.screening.calls} if self.screening.calls else {}
        calls |= {"judging": self.judging.calls} if self.judged else {}
        calls |= {"most": self.most} if self.most is not None else {}
        return {
            "calls": {**calls, **embedding},
            "tokens": self.total.tokens,
            "usd": self.usd,
            "tasks": {"train": len(plan.tasks), "validation": len(plan.validation), "test": len(plan.test)},
            "attempt": number if plan.validation else None,
            "passes": gate.passes if gate else 0,
            "smallest_effect": smallest_effect(gate.tasks, gate.passes, gate.level) if gate else None,
        }


def cost(plan: Plan, prices: Prices | None = None) -> Cost:
    """The estimate for a plan; `prices` must know its models."""
    settings, frame, tasks = plan.settings, plan.frame, plan.tasks
    answer = _answers(plan)
    each = (plan.visits + settings.amplify) * settings.group_size
    distilled = settings.steps * min(
        len(tasks), settings.distilled_groups if settings.distilled_groups is not None else len(tasks)
    )
    shown = _shown_tokens(plan)
    rollouts = _usage(frame, tasks, each, answer, shown)
    distilling = _distilling(plan, distilled, answer.tokens) + _writing(plan) if settings.experiences else Usage()
    embedding = _embedding(plan, distilled) if plan.embedding else Usage()
    gating = _usage(frame, plan.validation, 2 * plan.gate_passes, answer, shown)
    gating += _usage(frame, *_tried_again(plan), answer, shown)
    screening = _usage(frame, *_screened(plan, distilled), answer, shown) if settings.experiences else Usage()
    made = (rollouts.calls + screening.calls + gating.calls) // answer.chunks
    judging, judged = _judging(plan, made, answer.tokens)
    again = None if plan.agent else _again_at_most(plan, distilled, answer.tokens, judging.calls)
    usd = None
    if prices:
        usd = prices(frame.model, rollouts + screening + gating) + prices(
            plan.distiller or frame.model, distilling + judging
        )
        usd += prices(plan.embedding, embedding) if plan.embedding else 0.0
    guessed = not (_limit(frame) or settings.bounded)
    return Cost(rollouts, distilling, gating, usd, guessed, embedding, judging, judged, answer.chunks, screening, again)


def lines(plan: Plan, found: Cost, number: int, ceiling: Ceiling | None = None) -> Iterator[str]:
    """The estimate for people; `number` is that of the gate's trial."""
    settings, total = plan.settings, found.total
    visits = counted(plan.visits, "step") + (f" and {settings.amplify} of --amplify" if settings.amplify else "")
    each = f"{counted(settings.group_size, 'rollout')} x {visits}"
    each += f" x {counted(found.chunks, 'chunk')} at most" if settings.bounded else ""
    parts = [f"{counted(len(plan.tasks), 'task')} x {each}: {counted(found.rollouts.calls, 'call')}"]
    if found.distilling.calls:
        parts.append(f"proposals: at most {found.distilling.calls:,}")
    if found.screening.calls:
        parts.append(f"screens of proposals: at most {found.screening.calls:,}")
    if found.embedding.calls:
        parts.append(f"embeddings: about {found.embedding.calls:,}")
    if plan.validation:
        size = f"{counted(len(plan.validation), 'task')} x {counted(plan.gate_passes, 'pass')}"
        parts.append(f"gate: at most {found.gating.calls:,} ({size} x 2 priors{_again(plan, found)})")
    if found.judged:
        parts.append(f"reward: at most {found.judging.calls:,} ({counted(found.judged, 'call')} a rollout)")
    yield "; ".join(parts)
    guess = f", answers taken for {ANSWER_TOKENS} tokens" if found.assumed else ""
    money = "price unknown (--price IN/OUT states it)" if found.usd is None else f"{found.usd:,.4g} USD"
    most = "" if found.most is None else f" (at most {found.most:,}, the probe and second tries included)"
    yield f"about {counted(total.calls, 'call')}{most}, {total.tokens:,} tokens{guess}, {money}"
    if plan.validation:
        yield _detects(plan, found, number, ceiling)
        yield from _in_turns(plan, found)
    before = " before the gate" if plan.validation else ""
    if settings.hedge is None:
        yield f"up to {MADE_TWICE:.0%} more calls{before}, where some stall (--hedge 0: none)"
    elif settings.hedge:
        yield f"and once more each call{before} that takes over {settings.hedge:g} s"


def _tried_again(plan: Plan) -> tuple[tuple[Task, ...], int]:
    """The training tasks that the gate tries again at most, the longest ones, and how often it tries each."""
    if not plan.validation or plan.settings.gate_claim == "these-tasks" or plan.settings.allow_collapse:
        return (), 0
    longest = sorted(plan.tasks, key=lambda task: -token_estimate(task.prompt))
    return tuple(longest[:MOST_TRIED]), 2 * (TRIES if plan.production.temperature else 1)


def _screened(plan: Plan, groups: int) -> tuple[tuple[Task, ...], int]:
    """Tasks at which texts are screened, the longest ones, and how often each, of what so many groups propose; after
    the last step none is."""
    settings, earlier = plan.settings, plan.settings.steps - 1
    proposed = groups * earlier // settings.steps * settings.proposals
    longest = sorted(plan.tasks, key=lambda task: -token_estimate(task.prompt))
    return tuple(longest[:1]), min(earlier * screens(settings, len(plan.tasks)), proposed) * SCREENED


def _again(plan: Plan, found: Cost) -> str:
    """What trying training tasks again may take of the gate's calls."""
    tasks, each = _tried_again(plan)
    most = len(tasks) * each * found.chunks
    return f", and {most} where training tasks look lost" if most else ""


def _detects(plan: Plan, found: Cost, number: int, ceiling: Ceiling | None) -> str:
    """What the gate can promote, up front."""
    gate = _gate(plan, found, number, ceiling)
    where = f"gate: trial {number} on these {len(plan.validation)} validation tasks"
    if gate is None:
        return f"{where}: the budget allows no pass, so nothing can be promoted"
    terms = f"{where}, level {gate.level:g}, at most {counted(gate.passes, 'pass')}"
    effect = smallest_effect(gate.tasks, gate.passes, gate.level)
    if effect is None:
        return f"{terms}: too few to promote anything"
    can = f"too few tasks to promote anything below {100 * effect:.1f} points with {100 * POWER:.0f}% power"
    enough = tasks_needed(gate.passes, WANTED_EFFECT, gate.level) if effect > WANTED_EFFECT else None
    told = f"{terms}: {can}" + (f"; {100 * WANTED_EFFECT:.0f} points would take about {enough} tasks" if enough else "")
    wider = smallest_over_tasks(gate.tasks, gate.passes, gate.level)
    if gate.claim == "these-tasks" or wider is None or wider <= effect:
        return f"{told}; it claims a gain over {claimed(gate)}"
    spread = f"below {100 * wider:.1f} points where effects differ by task (sd {100 * SPREAD:.0f})"
    return f"{told}; it claims a gain over {claimed(gate)}, and shows none {spread}"


def _in_turns(plan: Plan, found: Cost) -> Iterator[str]:
    """What cross-fitting over all tasks would cost, where few are for validation."""
    tasks = len(plan.tasks) + len(plan.validation)
    if len(plan.validation) < _FEW:
        learning = found.learning
        turns = f"judged in turns ({_TURNS} learnings, each judged by a part of the tasks that it has not seen)"
        calls = f"at about {_TURNS * learning:,} calls of learning in place of {learning:,}"
        yield f"{turns}, all {tasks} tasks would decide, {calls}; no command does that yet"


def _gate(plan: Plan, found: Cost, number: int, ceiling: Ceiling | None) -> Gate | None:
    """The gate with the passes that are left when learning has taken its part of a ceiling on calls; None: no pass."""
    settings, tasks = plan.settings, len(plan.validation)
    passes = plan.gate_passes
    if tasks and ceiling and ceiling.calls is not None:
        left = ceiling.calls - min(found.learning, int(ceiling.calls * (1 - found.held_back)))
        passes = min(passes, left // (2 * tasks * (found.chunks + found.judged)))
    return Gate(tasks, passes, settings.gate_alpha, number, settings.gate_claim) if tasks and passes else None


def _shown_tokens(plan: Plan) -> int:
    """What a prior adds to each prompt at most: all tasks as examples, and as many experiences as can be on trial."""
    settings = plan.settings
    shows = settings.race and settings.demonstrations
    examples = [one for task in plan.tasks if (one := example(task))] if shows else []
    shown = sum(demonstration_tokens(one, token_estimate) for one in examples)
    return min(settings.prior_tokens, _experience_tokens(settings) + shown)


def _experience_tokens(settings: Settings) -> int:
    """What experiences take of a prompt at most; `paper` knows no other limit than the prior's."""
    if not settings.experiences:
        return 0
    each = token_estimate("x" * WORD_CHARS * settings.experience_words)
    most = settings.prior_tokens
    return most if settings.recipe == "paper" else min(most, settings.trial_experiences * each)


def _usage(frame: Frame, tasks: tuple[Task, ...], each: int, answer: "_Answers", shown: int) -> Usage:
    """Of so many rollouts at each task, with that many tokens of a prior in each of their calls."""
    around = token_estimate((frame.system or "") + dumps(dict(frame.request), ensure_ascii=False))
    prompts = sum(around + shown + token_estimate(task.prompt) for task in tasks)
    made = each * len(tasks)
    again = made * (answer.chunks - 1) * answer.carried
    return Usage(made * answer.chunks, answer.chunks * each * prompts + again, made * answer.tokens)


def _distilling(plan: Plan, groups: int, answer: int) -> Usage:
    """Of comparing so many groups, of the summaries that `paper` makes, and of a merge a step."""
    settings = plan.settings
    compared = min(settings.group_size, settings.group_size if settings.recipe == "paper" else COMPARED)
    longest = token_estimate("x" * settings.summary_chars)
    task = min(2 * longest, max((token_estimate(one.prompt) for one in plan.tasks), default=0))
    context = INSTRUCTION_TOKENS + task + _experience_tokens(settings) + compared * min(answer, longest)
    calls = groups + settings.steps
    summaries = groups * settings.group_size if settings.recipe == "paper" else 0
    summed = INSTRUCTION_TOKENS + task + answer
    return Usage(
        calls + summaries, calls * context + summaries * summed, (calls + summaries) * settings.distiller_tokens
    )


def _again_at_most(plan: Plan, groups: int, answer: int, judging: int) -> int:
    """Calls of the probe, of every try at distilling but the first, once more without the list of experiences, and at
    summaries of long rollouts; of looking whether answers can be listed; and of a judge's later tries."""
    settings = plan.settings
    tries, proposing = settings.distiller_retries + 1, 0
    if settings.experiences:
        compared = settings.group_size if settings.recipe == "paper" else COMPARED
        long = answer * _LONGEST_TOKEN > settings.summary_chars or settings.recipe == "paper"
        parts = ceil(answer * _LONGEST_TOKEN / (CHUNK * settings.summary_chars)) if long else 0
        known = settings.group_size * groups if settings.recipe == "paper" else 0
        proposing = groups * (2 * tries - 1 + compared * parts * tries) - known
        proposing += (settings.steps + _writing(plan).calls) * (tries - 1)
    listed = settings.group_size * LOOKED_AT if settings.exact_groups != "off" and is_short(plan.frame) else 0
    embedded = 1 + settings.steps + groups * settings.proposals if plan.embedding and settings.experiences else 0
    if judging:
        from ..rollouts.rewards.judge import JUDGE_TRIES

        judging *= JUDGE_TRIES - 1
    tried = 0
    if settings.bounded:
        from ..probe.goes_on import MOST_TRIED as tried
    return MOST_PROBED + tried + proposing + listed + embedded + judging


def _writing(plan: Plan) -> Usage:
    """Of what is written from the tasks alone before the first step."""
    if all(task.answer is None for task in plan.tasks):
        return Usage()
    pairs = sum(token_estimate(task.prompt) for task in plan.tasks)
    texts, several = int(texts_wanted(plan.settings) > 0), instructions_wanted(plan.settings)
    read = texts * min(pairs, token_estimate("x" * SHOWN_CHARS)) + several * token_estimate("x" * PAIRS_CHARS)
    calls = texts + several
    return Usage(calls, calls * INSTRUCTION_TOKENS + read, calls * plan.settings.distiller_tokens)


def _judging(plan: Plan, rollouts: int, answer: int) -> tuple[Usage, int]:
    """Of a reward that asks a model about so many rollouts, and how often it does so for one.

    It is priced as what proposes, which it asks unless it names another model.
    """
    each = plan.reward.calls() if isinstance(plan.reward, BuiltInReward) else 0
    tasks = (*plan.tasks, *plan.validation)
    longest = max((token_estimate(f"{task.prompt}{task.answer or ''}") for task in tasks), default=0)
    examples = len(plan.tasks) if plan.settings.race and plan.settings.demonstrations else 0
    calls = each * (rollouts + examples)
    return Usage(calls, calls * (INSTRUCTION_TOKENS + longest + answer), calls * ANSWER_TOKENS), each


def _embedding(plan: Plan, groups: int) -> Usage:
    """Of the probe and of what so many groups propose; what the namespace holds already is not known here. Where
    examples are chosen, of these, and of each other task once, those of the gate among them."""
    settings = plan.settings
    texts = groups * settings.proposals if settings.experiences else 0
    calls = 1 + settings.steps * ceil(texts / settings.steps / TEXTS_A_CALL)
    compared = Usage(calls, (1 + texts) * token_estimate("x" * WORD_CHARS * settings.experience_words))
    if not plan.embeds_examples:
        return compared
    from ..surfaces.nearest import LONGEST

    every = *plan.tasks, *plan.validation
    shown = sum(task.answer is not None for task in plan.tasks)
    calls = ceil(shown / TEXTS_A_CALL) + len(every) - shown
    return compared + Usage(calls, sum(token_estimate(task.prompt[:LONGEST]) for task in every))


def _limit(frame: Frame) -> int | None:
    """The longest answer that the request allows, in tokens."""
    found = [frame.request.get(name) for name in ("max_tokens", "max_completion_tokens")]
    return next((one for one in found if isinstance(one, int) and one > 0), None)


class _Answers(NamedTuple):
    """How a rollout answers, at most."""

    tokens: int
    chunks: int = 1
    carried: int = 0
    """Tokens of it that each chunk but the first is given."""


def _answers(plan: Plan) -> _Answers:
    limit = _limit(plan.frame)
    if plan.settings.bounded is None:
        return _Answers(limit or ANSWER_TOKENS)
    from ..rollouts.bounded import HEAD, bounds_of

    bounds = bounds_of(plan.settings.bounded)
    chunks, tokens = bounds.most(limit)
    return _Answers(tokens, chunks, HEAD + bounds.carry)
