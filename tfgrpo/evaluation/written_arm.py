"""The arm that learning has to beat: experiences that the distiller writes from the tasks alone, without any rollout.

They are as many as the learned prior has, and take no more tokens; they pass the same admission. Where the learned
prior has none there may be as many as could be on trial.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..experiences.admission import refusal
from ..experiences.distil import Distiller
from ..experiences.write import write
from ..records import Experience, Origin, Prior, Task
from ..store import Store
from ..surfaces.chat import render_experiences, token_estimate


@dataclass(frozen=True, slots=True)
class WrittenExperiences:
    """What the distiller wrote."""

    experiences: tuple[Experience, ...] = ()
    refused: tuple[str, ...] = ()
    """Why others may not be shown, a line each."""
    failure: str | None = None
    """Why there is no usable answer."""


async def write_from_tasks(distiller: Distiller, tasks: Sequence[Task], learned: Prior) -> WrittenExperiences:
    """Experiences for tasks like these, at the length of the learned prior; raises UpstreamError, BudgetEnded."""
    settings = distiller.settings
    most = token_estimate(render_experiences(learned.experiences)) or settings.prior_tokens
    proposals = await write(distiller, tasks, len(learned.experiences) or settings.trial_experiences)
    if proposals.failure:
        return WrittenExperiences(failure=proposals.failure)
    texts = [edit.text for edit in proposals.edits if edit.operation == "ADD"]
    return _admitted(replace(WrittenExperiences(), refused=proposals.dropped), texts, tasks, most, distiller)


def source_tasks(prior: Prior, store: Store, namespace: str) -> tuple[Task, ...]:
    """The tasks that a prior was learned from; none where no run of this store made it."""
    runs = {entry.run.id: entry.run for entry in store.runs(namespace) if entry.run.kind == "learn"}
    made = [event.run for event in store.lineage(namespace) if event.prior == prior.id and event.run in runs]
    return store.tasks(runs[made[0]].tasks) if made else ()


def _admitted(
    start: WrittenExperiences, texts: Sequence[str], tasks: Sequence[Task], most: int, distiller: Distiller
) -> WrittenExperiences:
    """Those that pass admission and fit into `most` tokens together, in the order in which they were written."""
    kept: list[Experience] = []
    refused = list(start.refused)
    origin = Origin(distiller.run, 0, tuple(task.id for task in tasks))
    for text in texts:
        experience = Experience(text, origin=origin)
        why = refusal(experience, kept, tasks, distiller.settings)
        if not why and token_estimate(render_experiences([*kept, experience])) > most:
            why = "it would make the prior longer than the learned one"
        if why:
            refused.append(f"{text}: {why}")
        else:
            kept.append(experience)
    failure = None if kept else "the distiller wrote nothing that may be shown"
    return WrittenExperiences(tuple(kept), tuple(refused), failure)
