"""The token prior of one run: whether one can be learned here, how rollouts are sampled for it, and what is kept;
and, by `Calibration`, what each arm of the race would earn with a token prior of its own.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from ..hashing import canonical
from ..records import JSON, Frame, Group, Rollout, Task, TokenBias
from ..rollouts.group import with_expected_rewards
from ..rollouts.rewards.matchers import AnswerReward
from ..settings import LISTED_FOR_LABELS
from ..surfaces.surface import listed_for_labels, way_of
from ..text import counted
from ..token_prior.calibration import COOLEST, ArmFit, Heats, branches, fitted_arm, options
from ..token_prior.choice import Choice, folds
from ..token_prior.estimators import WEAKER, TokenLearning, obstacle
from ..token_prior.exact import trace_of
from ..token_prior.gradient import LOOSE_TAIL
from .plan import RunContext

_ENOUGH_SAID = 0.1
"""A share of rollouts that could be production's below which they are too few to go by."""


class TokenRun:
    """Learns a token prior as long as that is wanted and possible; notes why it is not."""

    def __init__(self, context: RunContext) -> None:
        self._context, self._learning = context, _learning(context)
        self._choice: Choice | None = None
        self.temperature = context.plan.frame.temperature
        self.figures: dict[str, JSON] | None = None
        """How it was estimated and chosen; None as long as nothing was chosen."""

    @property
    def working(self) -> tuple[TokenBias, ...]:
        """The biases to sample the next step under."""
        return self._learning.working if self._learning else ()

    @property
    def top_logprobs(self) -> int:
        """Alternatives to ask for at each token: all that are of use where labels are decided by them."""
        asked, backend = self._context.plan.settings.top_logprobs, self._context.backend
        if self._learning is None:
            return 0
        again = way_of(backend, self._context.plan.frame.labels) == "re-decide"
        return max(asked, listed_for_labels(backend)) if again and asked >= LISTED_FOR_LABELS else asked

    @property
    def in_force(self) -> Mapping[int, float]:
        """The biases that rollouts are sampled under now, in nats."""
        return self._learning.in_force if self._learning else {}

    @property
    def start(self) -> Mapping[int, float]:
        """The biases that requests carried when the run began, in nats."""
        return self._learning.start if self._learning else {}

    @property
    def sampled_at(self) -> float:
        """The temperature that rollouts are sampled at now."""
        return self._heeded(self.temperature)

    @property
    def produced_at(self) -> float:
        """The temperature that production will be at."""
        return self._heeded(self._context.plan.production.temperature)

    def _heeded(self, temperature: float) -> float:
        """What an upstream makes of a temperature: 1 where it takes none."""
        return 1.0 if "temperature" in self._context.upstream.dropped else temperature

    @property
    def is_learning(self) -> bool:
        """Whether a token prior is being learned."""
        return self._learning is not None

    @property
    def whole_answers(self) -> bool:
        """Whether the probability of every answer was known to the end."""
        return self._learning is not None and self._learning.whole_answers

    def frame(self) -> Frame:
        """The request frame of rollouts, at the present temperature."""
        frame = replace(self._context.plan.frame, temperature=self.temperature)
        return replace(frame, top_p=1.0) if self._learning else frame

    def learn(self, groups: Sequence[Group]) -> None:
        """Take in a step's groups; the temperature of the next ones may be another."""
        self._heed_refusal()
        if self._learning is None:
            return
        self._learning.learn(groups, self.sampled_at)
        untold, answers = self._learning.untold
        if untold:
            told = f"{untold} of {counted(answers, 'answer')} came without log-probabilities"
            self._context.notes.note(f"{told}: those teach the token prior nothing")
        if self._learning.tail > LOOSE_TAIL and self.temperature != 1:
            self._context.notes.note(
                f"at temperature {self.temperature} probabilities are known to within {self._learning.tail:.0%}, as"
                f" {self.top_logprobs} alternatives a token tell too little: rollouts go on at 1"
            )
            self.temperature = 1.0

    def _heed_refusal(self) -> None:
        """An upstream that has stopped taking logit_bias ends the token prior, and the store remembers it."""
        context = self._context
        honoured = context.backend.logit_bias == "honoured"
        if self._learning and honoured and "logit_bias" in context.upstream.dropped:
            context.notes.note("the token prior ends here, and is dropped: the upstream no longer takes logit_bias")
            refusing = replace(context.backend, logit_bias="rejected")
            context.store.add_probe(context.upstream.key, context.plan.frame.model, refusing)
            self._learning = None

    def as_produced(self) -> list[Group] | None:
        """This run's rollouts as production would make them, for credit's last look; None where they are so already.

        Where too few can be told, none either, and it is said.
        """
        heat, plan = self.produced_at, self._context.plan
        if heat == self.sampled_at or not plan.settings.experiences or plan.settings.recipe == "paper":
            return None
        made = self._learning.as_produced(heat) if self._learning else None
        if made and made[1] >= _ENOUGH_SAID * made[2]:
            told = f"{made[1]:,} of {made[2]:,} rollouts"
            self._context.notes.note(f"experiences are kept by what {told} say of temperature {heat:g}, production's")
            return made[0]
        why = f"effects of experiences are those at temperature {self.sampled_at:g}, that of learning"
        self._context.notes.note(f"{why}: too little tells what rollouts would be at {heat:g}, production's")
        return None

    def choose(
        self, worth: Mapping[str, float], arms: Collection[str], own: ArmFit | None = None
    ) -> tuple[TokenBias, ...]:
        """The biases to keep, by the rollouts under these arms; `worth` is what experiences were measured to do.

        `own` is what the winner alone wants beyond what the run began with, kept where it is shown to gain more.
        """
        if self._learning is None:
            return ()
        biases, choice = self._learning.choose(worth, arms)
        added = self._learning.on_top(own.biases) if own and own.biases else biases
        if own and added != biases and (choice.scope == "none" or own.gain >= (choice.gain or 0.0)):
            biases = added
            choice = Choice("winner", own.why, own.gain, own.deviation, len(own.values))
        self._choice, self.figures = choice, self._learning.as_json(choice)
        self._context.notes.note(f"token prior, chosen on the training tasks: {choice.scope}; {choice.why}")
        return biases

    @property
    def origin(self) -> str:
        """What the log says of how it was chosen."""
        return f"; token prior chosen on the training tasks: {self._choice.why}" if self._choice else ""

    @property
    def caveat(self) -> str:
        """What the log says beside a verdict on a prior with these biases."""
        weak = self._learning and self._learning.estimator == "log-odds"
        return f"; token prior {WEAKER}" if weak else ""


def _learning(context: RunContext) -> TokenLearning | None:
    """None where no token prior is wanted, or none can be learned, which is noted."""
    plan, upstream, note = context.plan, context.upstream, context.notes.note
    if not plan.settings.token_prior:
        return None
    if plan.frame.temperature == 0:
        note("no token prior: at temperature 0 a group's answers are all alike, and teach nothing")
        return None
    if lacking := obstacle(context.backend, upstream.tokenizer, plan.frame.labels):
        note(f"no token prior: {upstream.name} {lacking}")
        return None
    learning = TokenLearning(context.inherited, plan.frame, context.backend, plan.settings, upstream.tokenizer)
    if learning.estimator == "log-odds" and plan.agent:
        note(f"no token prior: for an agent it needs log-probabilities, and {upstream.name} gives none")
        return None
    if learning.estimator == "log-odds":
        note(f"{upstream.name} gives no log-probabilities: the token prior is {WEAKER}")
    if way_of(context.backend, plan.frame.labels) == "re-decide":
        told = f"{upstream.name} does not honour logit_bias ({context.backend.logit_bias})"
        note(f"{told}: the token prior acts by deciding the label again, from log-probabilities")
    if plan.frame.top_p != 1:
        note(f"rollouts are sampled at top_p 1, not {plan.frame.top_p}: the token prior's gradient needs it")
    return learning


class Calibration:
    """What each arm would earn with a token prior of its own, where answers are labels.

    The race compares arms by that: whoever leans to one label looks worse than it is, and biases that several arms have
    taught fit none of them.
    """

    def __init__(self, context: RunContext, tokens: TokenRun) -> None:
        self._plan, self._backend, self._tokens = context.plan, context.backend, tokens
        self._made: list[tuple[Rollout, Mapping[int, float]]] = []
        self._fits: dict[str, ArmFit] | None = None
        self._known: dict[tuple[str, str], float] = {}
        """Rewards by text and answer, of which the same come at every look."""

    def take(self, groups: Sequence[Group]) -> None:
        """Take in groups that were sampled under the biases now in force."""
        if isinstance(self._plan.reward, AnswerReward) and self._tokens.top_logprobs:
            biases = self._tokens.in_force
            told = biases if self._backend.includes_bias else {}
            self._made += [(_traced(one, group, told), biases) for group in groups for one in group.scored]
            self._fits = None

    def judged(self, groups: Sequence[Group]) -> list[Group]:
        """The groups with the reward that each rollout's arm would earn at its task, where that can be told."""
        fits = self.fits
        return [_judged(group, fits) for group in groups] if fits else list(groups)

    @property
    def fits(self) -> Mapping[str, ArmFit]:
        """By arm, where something can be told of it; none where no token prior can be sent any more."""
        if not self._tokens.is_learning:
            return {}
        if self._fits is None:
            self._fits = self._fitted()
        return self._fits

    def _fitted(self) -> dict[str, ArmFit]:
        sampled = self._tokens.sampled_at
        given = branches(self._made, self._backend, sampled, self._tokens.start)
        seen = {one.task for one in given.made}
        tasks = [task for task in self._plan.tasks if task.id in seen]
        found = options(given, tasks, self._worth)
        if found is None:
            return {}
        heats = Heats(sampled, max(self._tokens.produced_at, COOLEST))
        parts = folds({task.id: task.answer for task in tasks}, self._plan.settings.seed)
        cap, arms = self._plan.settings.bias_cap, dict.fromkeys(one.arm for one in given.made)
        fits = {arm: fitted_arm(arm, given, found, parts, heats, cap=cap) for arm in arms}
        return {arm: fit for arm, fit in fits.items() if fit}

    def _worth(self, text: str, task: Task) -> float:
        reward, name = self._plan.reward, (text, canonical(task.answer))
        if name not in self._known:
            assert isinstance(reward, AnswerReward)  # nothing else is taken in
            self._known[name] = reward(Rollout(task, 0, 0, "", text=text))
        return self._known[name]


def _traced(one: Rollout, group: Group, told: Mapping[int, float]) -> Rollout:
    """A rollout with the trace that it would have, were it not drawn from listed answers."""
    shown = one.variant, one.included
    drawn_from = next((entry for entry in group.listed if (entry.variant, entry.included) == shown), None)
    if one.trace is not None or drawn_from is None:
        return one
    return replace(one, trace=trace_of(drawn_from.tree, one.text, told))


def _judged(group: Group, fits: Mapping[str, ArmFit]) -> Group:
    """Where arms are not fitted, rollouts drawn from listed answers keep the reward that is expected of them."""
    expected = with_expected_rewards(group)
    return replace(expected, rollouts=tuple(_rejudged(one, fits) for one in expected.rollouts), listed=())


def _rejudged(one: Rollout, fits: Mapping[str, ArmFit]) -> Rollout:
    fit = fits.get(one.variant)
    if fit is None or one.reward is None or one.task.id not in fit.values:
        return one
    return replace(one, reward=fit.values[one.task.id])
