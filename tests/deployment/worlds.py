"""A simulated day in production: calls dealt as the proxy deals them, and feedback that comes late, or not at all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.live import MODEL, OTHER, PRIOR, go_live
from tfgrpo.deployment.autopilot import Autopilot
from tfgrpo.records import Frame, Prior
from tfgrpo.serve.drawing import DrawShares, Offer, left_out_sets
from tfgrpo.store import Feedback, HistoryEntry, Inference, Store, StorePath

Worth = Callable[[Prior | None], float]
"""The chance that a call under a prior is answered rightly."""


@dataclass
class World:
    """A store, and callers who give feedback on some of their calls, some later than others."""

    path: StorePath
    worth: Worth
    seed: int = 0
    shares: DrawShares = field(default_factory=DrawShares)
    fed_back: float = 0.5
    made: int = 0

    def calls(self, count: int) -> None:
        """So many calls, each of a key of its own; what is fed back is in the store afterwards, in another order."""
        with Store(self.path) as store:
            live, (canary, share) = store.live("default"), store.canary("default") or (None, 0.0)
            offer = Offer(live, canary, share, left_out_sets(live) if live and self.shares.leave_out else ())
            random = np.random.default_rng([self.seed, self.made])
            calls, feedback = [], []
            for number in range(self.made, self.made + count):
                id_ = f"inf_{number}"
                got = offer.drawn(self.shares, "default", f"user {number}", id_)
                prior = got.snapshot.prior if got.snapshot else None
                variant = got.variant or (got.snapshot.state if got.snapshot else "none")
                shown = got.prior or (prior.id if prior else None)
                calls.append(Inference(id_, "default", shown, variant, "chat", MODEL, 200, 0.1, draw=got.draw))
                if random.random() < self.fed_back:
                    reward = float(random.random() < self.worth(prior))
                    feedback.append(Feedback(id_, "default", shown, variant, reward))
            self.made += count
            store.add_calls_in_use(calls, [feedback[place] for place in random.permutation(len(feedback))])

    def history(self) -> tuple[HistoryEntry, ...]:
        with Store(self.path) as store:
            return store.history_of("default", 10_000)

    def states(self) -> Mapping[str, str]:
        with Store(self.path) as store:
            return {event.prior: event.state for event in store.lineage("default")}


def candidate_in(path: Path, prior: Prior = OTHER, live: Prior | None = PRIOR) -> Path:
    """A store with a live prior, and one that learning has made a candidate."""
    go_live(path, live) if live else go_live(path, prior, state="candidate")
    with Store(path) as store:
        store.add_prior(prior)
        store.set_state("default", prior.id, "candidate", frame=Frame(MODEL))
        store.add_history(HistoryEntry("default", "autopilot", "learned", prior.id, "learned", {"passed": True}))
    return path


def days(world: World, pilot: Autopilot, count: int, calls: int = 500) -> list[str]:
    """Traffic and looks in turn; what the autopilot said."""
    said: list[str] = []
    for _ in range(count):
        said += pilot.look()
        world.calls(calls)
    return [*said, *pilot.look()]
