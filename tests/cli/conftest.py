"""A store as a person finds it."""

from pathlib import Path

import pytest

from tests.cli.shell import FRAME, TASK, TEXT, write_messages
from tfgrpo.records import Decision, Effect, Experience, Group, Origin, Prior, Rollout, Run, TokenBias, Usage
from tfgrpo.store import Store


@pytest.fixture
def priors(folder: Path) -> tuple[Prior, Prior]:
    """A store with a finished run, and two priors of which the second one is live."""
    with Store("tfgrpo.db") as store:
        store.add_tasks([TASK])
        run, _ = store.begin(Run("learn", "default", FRAME, {"seed": 0}, (TASK.id,), "exact"))
        learned = Experience(TEXT, origin=Origin(run.id, 0, (TASK.id,)))
        first = Prior((learned,), (TokenBias(7, b"\xff", 0.5, 3.0, 4),), "tokenizer", "template_1")
        second = Prior((learned, Experience("When in doubt, ask.")), (), None, "template_1", first.id)
        rollouts = (Rollout(TASK, 0, 0, first.id, reward=1.0), Rollout(TASK, 0, 1, first.id, error="lost"))
        store.add_group(run.id, Group(TASK, 0, rollouts))
        store.add_experiences("default", second.experiences)
        store.add_effects("default", [Effect(learned.id, run.id, 0, 0.2, 0.1, 9)])
        store.add_decisions("default", [Decision(learned.id, "kept", "it helps", run=run.id)])
        store.end(run.id, "finished", Usage(3, 20, 10), {"prior": first.id})
        for prior, of in ((first, run.id), (second, "")):
            store.add_prior(prior)
            store.set_state("default", prior.id, "ungated", frame=FRAME, run=of, why="learned")
    return first, second


@pytest.fixture
def task_files(folder: Path) -> Path:
    """The current folder, with files of so many messages to be routed: `tasks`, `few`, `other` and `four`."""
    write_messages(folder)
    return folder
