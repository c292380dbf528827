"""A store with one whole learning in it, every part of which a report tells."""

from math import exp

from tfgrpo.records import (
    CallKey,
    Decision,
    Effect,
    Experience,
    Frame,
    Group,
    Origin,
    Prior,
    Rollout,
    Run,
    Task,
    TokenBias,
    Usage,
)
from tfgrpo.store import Store
from tfgrpo.trials import GateTrial, Pass, Reached, TrialOutcome

FRAME = Frame("a-model", "Route it to one queue.", {"max_tokens": 8})
TASKS = tuple(Task(f"message {number}", "billing") for number in range(6))
SETTINGS = {"seed": 3, "steps": 2, "group_size": 4, "recipe": "measured"}
HELPS, HURTS = "When routing, reply with the queue alone.", "When routing, think aloud."
LEAKS = ("When message 1 comes, say billing.", "When message 2 comes, say billing.")
BIASES = (TokenBias(7, b"billing", 2.5, 4.0, 9), TokenBias(8, b"\xff", -0.5, -1.5, 5))

CONTRASTS = {
    "learned - frozen": {"mean": 0.276, "low": 0.177, "high": 0.375, "wins": 31, "losses": 5, "ties": 12},
    "learned - written": {"mean": 0.255, "low": 0.15, "high": 0.36, "wins": 30, "losses": 6, "ties": 12},
    "written - frozen": {"mean": 0.021, "low": -0.03, "high": 0.07, "wins": 9, "losses": 7, "ties": 32},
}


def rewards_of(step: int, place: int) -> tuple[float | None, ...]:
    """Four rollouts: one task solved, one hopeless, one unscored, the others mixed and better in the second step."""
    fixed = {0: (1.0,) * 4, 1: (0.0,) * 4, 2: (None,) * 4}
    return fixed.get(place) or (1.0, float(step), 0.0, None)


def group_of(task: Task, step: int, rewards: tuple[float | None, ...], prior: str = "prior_0") -> Group:
    """One task's rollouts; those without a reward have an error."""
    attempts = (
        Rollout(task, step, n, prior, text="billing", reward=reward, error=None if reward is not None else "timed out")
        for n, reward in enumerate(rewards)
    )
    return Group(task, step, tuple(attempts))


async def begin(store: Store, namespace: str = "default") -> Run:
    """A run with two steps of groups and a journal, not ended yet."""
    store.add_tasks(TASKS)
    run, _ = store.begin(Run("learn", namespace, FRAME, SETTINGS, tuple(task.id for task in TASKS), "exact"))
    for step in range(2):
        for place, task in enumerate(TASKS):
            store.add_group(run.id, group_of(task, step, rewards_of(step, place)))
    for stage, calls in (("probe", 1), ("rollout", 4), ("contrast", 2)):
        for sample in range(calls):
            await store.record(CallKey(run.id, stage, sample=sample), "request", "{}", Usage(1, 100, 10))
    return run


def learned_experiences(store: Store, run: Run) -> tuple[Experience, ...]:
    """One kept, one retired, two refused for one reason."""
    texts = (HELPS, HURTS, *LEAKS)
    found = tuple(Experience(text, origin=Origin(run.id, 0, (TASKS[0].id,))) for text in texts)
    store.add_experiences(run.namespace, found)
    helps, hurts, *leaks = (one.id for one in found)
    for step, (good, bad) in enumerate([(0.05, -0.02), (0.12, -0.09)]):
        effects = [Effect(helps, run.id, step, good, 0.03, 24), Effect(hurts, run.id, step, bad, 0.04, 24)]
        store.add_effects(run.namespace, effects)
    decided = [
        *(Decision(one, "on trial", "ADD proposed from 1 task", run=run.id) for one in (helps, hurts)),
        *(Decision(one, "refused", f"it gives away the answer of {task.id}", run=run.id)
          for one, task in zip(leaks, TASKS[1:3], strict=True)),
        Decision(hurts, "retired", "it hurts", run=run.id, step=1),
        Decision(helps, "kept", "it helps", run=run.id, step=1),
    ]  # fmt: skip
    store.add_decisions(run.namespace, decided)
    return found


def make_live(store: Store, run: Run, experiences: tuple[Experience, ...]) -> Prior:
    """The prior that the run ends in."""
    prior = Prior(experiences[:1], BIASES, "tokenizer", "template_1")
    store.add_prior(prior)
    store.set_state(run.namespace, prior.id, "ungated", frame=FRAME, run=run.id, why="learned; no gate has tested it")
    return prior


def validate(store: Store, run: Run, candidate: Prior, logs: tuple[float, ...], verdict: Reached | None) -> GateTrial:
    """A gate with an e-value after each pass, and how it ended, if it has."""
    tasks = tuple(Task(f"held-out message {number}", "billing") for number in range(5))
    store.add_tasks(tasks)
    ids = tuple(sorted(task.id for task in tasks))
    begun = store.begin_trial(GateTrial(run.namespace, ids, run.id, candidate.id, None, 0.05, 32, 0))
    for number, log_e in enumerate(logs, start=1):
        store.add_pass(begun, Pass(number, 0.2, {task: (1.0, 0.0) for task in ids}, log_e))
    if verdict:
        e_value, reason = exp(logs[-1]), f"{verdict}: for a <reason>"
        store.end_trial(begun, TrialOutcome(verdict, reason, len(logs), e_value, 0.098, -0.01, 0.2, 3, 1))
    return begun


def evaluate(store: Store, prior: Prior, namespace: str = "default") -> Run:
    """A finished evaluation of a prior."""
    run, _ = store.begin(Run("eval", namespace, FRAME, {"repeats": 4, "seed": 0}, (), "exact", prior.id))
    result = {"tasks": 48, "repeats": 4, "means": {"frozen": 0.479, "written": 0.5, "learned": 0.755}}
    result |= {"pass_at_k": {"frozen": 0.812, "written": 0.812, "learned": 0.9}}
    result |= {"difference": next(iter(CONTRASTS.values())), "differences": CONTRASTS}
    told = {**result, "constant": "delivery", "constant_mean": 0.333, "lost_tasks": 0, "failed": 0}
    store.end(run.id, "finished", Usage(384, 4_000, 400), told)
    return store.run(run.id)


async def tell(store: Store, namespace: str = "default") -> tuple[Run, Prior]:
    """The whole story: a finished run, and the prior that it made."""
    run = await begin(store, namespace)
    prior = make_live(store, run, learned_experiences(store, run))
    notes = ["step 1: 1 groups could not be distilled: no JSON"]
    store.end(run.id, "finished", store.spent(run.id), {"prior": prior.id, "notes": notes})
    return store.run(run.id), prior
