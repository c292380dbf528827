"""What the parts of a prior do on another model, tried on some of the tasks that taught; exactly, where it can be.

Where all answers of the new model can be listed (`token_prior.listing`), one call tells what the answers to a request
come to under any biases: parts that say the same share it, nothing is sampled, and a token prior of the new model's own
is fitted to what is listed anyway (`token_prior.calibration`). What that is expected to earn is told by folds that it
was not fitted to. Else each part is rolled out a few times, and tokens are fitted to the alternatives that come along.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..evaluation.arms import Evaluation, compare_arms
from ..hashing import derive_seed
from ..model.upstream import Upstream
from ..observer import Observer
from ..records import Backend, CallKey, Prior, Rollout, Run, Task
from ..rollouts.executor import Executor
from ..rollouts.group import concurrently
from ..rollouts.rewards.matchers import AnswerReward
from ..rollouts.rewards.reward import Reward, score
from ..settings import Settings
from ..surfaces.surface import way_of
from ..token_prior.calibration import COOLEST, Heats, branches, fitted_arm, options
from ..token_prior.choice import folds
from ..token_prior.exact import LOOKED_AT, draw_evenly, trace_of
from ..token_prior.listing import Listing, unlistable

SCREENED, SCREEN_REPEATS = 24, 2
"""Tasks that the parts are tried on, since a token prior of few is no good; rollouts of each where they are sampled."""
FEWER, MANY = 16, 4
"""Tasks where answers are sampled and there are so many arms, or more."""
_DRAWN = 8
"""Answers of each listed task that stand for all of them where biases are fitted."""
_MOST_CALLS = 8
"""That the answers to one request may take to be listed: as many as a group has rollouts by default."""
_SEEDS = 2.0**31


@dataclass(frozen=True, slots=True)
class FittedAnew:
    """A part whose tokens are the new model's own."""

    prior: Prior
    rewards: Mapping[str, float]
    """What it is expected to earn, by task: under biases that the task's fold had no part in."""


class Screening:
    """The parts of one port on the new model."""

    def __init__(self, upstream: Upstream, run: Run, backend: Backend, reward: Reward, *, settings: Settings) -> None:
        self._run, self._backend, self._reward, self._settings = run, backend, reward, settings
        heeded = "temperature" not in upstream.dropped
        self._heat = run.frame.temperature if heeded else 1.0
        open_ = heeded and unlistable(run.frame, backend, reward) is None and settings.exact_groups == "auto"
        self.listing = Listing(upstream, run.frame, backend, reward) if open_ else None
        """None: answers are sampled."""

    def drawn(self, tasks: Sequence[Task], arms: int = 1) -> list[Task]:
        """Some of the tasks, by hash, for so many arms."""
        seed = self._settings.seed
        ordered = sorted(tasks, key=lambda task: (derive_seed(seed, "port", task.id), task.id))
        return ordered[: FEWER if arms >= MANY and self.listing is None else SCREENED]

    def alternatives(self, arm: Prior) -> int:
        """Alternatives at each token that rollouts of an arm are asked for, where tokens are to be fitted to them."""
        sampled = self._acts and self.listing is None and not arm.biases
        return self._settings.top_logprobs if sampled and self._is_told else 0

    @property
    def fits_tokens(self) -> bool:
        """Whether a token prior of the new model's own could act there, and its worth be told."""
        return self._acts and (self.listing is not None or self._is_told)

    @property
    def _acts(self) -> bool:
        return way_of(self._backend, self._run.frame.labels) != "none" and isinstance(self._reward, AnswerReward)

    @property
    def _is_told(self) -> bool:
        """Whether what is sampled tells how likely it and its alternatives were."""
        flat = self._backend.includes_temperature and self._heat < COOLEST  # all of it is on one token
        return self._backend.logprobs and self._run.frame.top_p == 1 and not flat

    async def look(self, tasks: Sequence[Task]) -> None:
        """Whether the answers of the first tasks can be listed; where they cannot, all are sampled."""
        if self.listing:
            found = await concurrently(self._known(task, Prior()) for task in self.drawn(tasks)[:LOOKED_AT])
            self.listing = self.listing if all(found) else None

    async def measured(
        self, arms: Mapping[str, Prior], tasks: Sequence[Task], executors: Mapping[str, Executor], observer: Observer
    ) -> Evaluation:
        """Each arm on these tasks."""

        def listed(sampled: Executor) -> Executor:
            async def one(task: Task, prior: Prior, step: int, sample: int) -> Rollout:
                if found := await self._known(task, prior):
                    return found
                made = await sampled(task, prior, step, sample)
                return await score(self._reward, made, clip=self._settings.clip_rewards)  # it fails in its own words

            return one

        async def expected(rollout: Rollout) -> float:
            if rollout.reward is not None:
                return rollout.reward
            return (await score(self._reward, rollout, clip=self._settings.clip_rewards)).reward or 0.0

        return await compare_arms(
            {arm: listed(one) if self.listing else one for arm, one in executors.items()},
            arms,
            tasks,
            expected if self.listing else self._reward,
            repeats=1 if self.listing else SCREEN_REPEATS,
            observer=observer,
            clip=self._settings.clip_rewards,
        )

    async def _known(self, task: Task, prior: Prior) -> Rollout | None:
        """A rollout with the reward that is expected of all answers; None where they cannot be listed."""
        if self.listing is None:
            return None
        found = await self.listing.answers(task, prior, self._heat, self._key(task, prior), calls=_MOST_CALLS)
        if found is None or not found.is_known:
            return None
        place = draw_evenly(found.tree, found.now, 1, 0.5)[0]
        return Rollout(task, 0, 0, prior.id, text=found.tree.texts[place], reward=found.now.mean)

    def _key(self, task: Task, prior: Prior) -> CallKey:
        """Of the call that lists the answers under what a prior says, whatever its tokens."""
        said = replace(prior, biases=(), tokenizer=None, parent=None)
        return CallKey(self._run.id, f"rollout port listed {said.id}", task=task.id)

    async def fitted_anew(
        self, arms: Mapping[str, Prior], tasks: Sequence[Task], measured: Evaluation
    ) -> dict[str, FittedAnew]:
        """By name: each different text of the arms with tokens of the new model's own, where these are worth it."""
        found, tried = dict[str, FittedAnew](), set[str]()
        for arm, prior in arms.items() if self.fits_tokens else ():
            said = replace(prior, biases=(), tokenizer=None)
            if said.id in tried or not (self.listing or self.alternatives(prior)):
                continue  # what was sampled under biases is looked at as the arm without them
            tried.add(said.id)
            listed = [one for task in tasks for one in await self._traced(said, task)]
            if fitted := self._fitted(said, tasks, listed if self.listing else measured.rollouts[arm]):
                found[f"{arm}, tokens fitted anew" if said.has_text else "tokens fitted anew"] = fitted
        return found

    def _fitted(self, said: Prior, tasks: Sequence[Task], made: Sequence[Rollout]) -> FittedAnew | None:
        """One text with biases fitted to its rollouts; None where they are not worth it."""
        given = branches([(one, {}) for one in made], replace(self._backend, includes_bias=False), self._heat)
        seen = [task for task in tasks if task.id in {one.task for one in given.made}]
        known = options(given, seen, self._worth)
        if known is None:
            return None
        parts, heat = folds({task.id: task.answer for task in seen}, self._settings.seed), max(self._heat, COOLEST)
        fit = fitted_arm("", given, known, parts, Heats(heat, heat), cap=self._settings.bias_cap)
        if fit is None or not fit.biases:
            return None
        answered = _answered(made)  # `fit` knows of nothing that failed
        earned = {task: share * fit.values.get(task, 0.0) for task, share in answered.items()}
        told = {task: worth for task, worth in earned.items() if task in fit.values or not answered[task]}
        return FittedAnew(replace(said, biases=fit.biases, tokenizer=self._backend.tokenizer), told)

    async def _traced(self, said: Prior, task: Task) -> list[Rollout]:
        """Answers to a task in their shares, each with the trace that it would have."""
        if self.listing is None:
            return []
        found = await self.listing.answers(task, said, self._heat, self._key(task, said), calls=_MOST_CALLS)
        if found is None or not found.is_known:
            return []
        start = derive_seed(self._settings.seed, "port", "drawn", task.id) / _SEEDS
        blank = Rollout(task, 0, 0, said.id)
        made = []
        for sample, place in enumerate(draw_evenly(found.tree, found.now, _DRAWN, start)):
            text = found.tree.texts[place]
            reward, trace = float(found.tree.rewards[place]), trace_of(found.tree, text)
            made.append(replace(blank, sample=sample, text=text, reward=reward, trace=trace))
        return made

    def _worth(self, text: str, task: Task) -> float:
        assert isinstance(self._reward, AnswerReward)  # nothing else is fitted to
        return self._reward(Rollout(task, 0, 0, "", text=text))


def _answered(made: Sequence[Rollout]) -> dict[str, float]:
    """Of each task the share of the rollouts with a reward that have an answer, and did not fail by themselves."""
    by_task: dict[str, list[bool]] = {}
    for one in made:
        if one.reward is not None:
            by_task.setdefault(one.task.id, []).append(one.error is None)
    return {task: sum(had) / len(had) for task, had in by_task.items()}
