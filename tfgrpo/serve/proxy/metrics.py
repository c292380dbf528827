"""Figures of the proxy for Prometheus: what was asked, what became of it, what we added. No name comes from callers.

With several workers each writes its own files into the folder that PROMETHEUS_MULTIPROC_DIR names, and whichever is
asked adds them up.
"""

import os
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from .shelf import Shelf

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_MOST_LABELS = 2_000
"""Combinations of labels that are kept at hand: statuses come from upstreams."""


class Served(NamedTuple):
    """What became of one call, as figures and logs tell it."""

    route: str
    status: int
    """0: the caller left before there was one."""
    variant: str = "none"
    surface: str = "none"
    reason: str | None = None
    """Why it went without a prior."""


class Metrics:
    """Counts, for one process."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "tfgrpo_requests", "Calls that were answered.", ["route", "status", "variant", "surface"], registry=registry
        )
        self._without = Counter(
            "tfgrpo_without_prior", "Calls that went without a prior, and why.", ["reason"], registry=registry
        )
        self._refused = Counter("tfgrpo_refused", "Calls that went no further, and why.", ["code"], registry=registry)
        self._faults = Counter("tfgrpo_upstream_faults", "What upstreams did wrong.", ["kind"], registry=registry)
        self._left = Counter("tfgrpo_callers_left", "Callers that left before the end.", registry=registry)
        self._recorded = Counter("tfgrpo_recorded", "Calls that were written down.", registry=registry)
        self._dropped = Counter(
            "tfgrpo_not_recorded", "What could not be written down, or without its texts.", ["what"], registry=registry
        )
        self._shadows = Counter(
            "tfgrpo_shadow_rollouts", "Further rollouts of calls: made, or why not.", ["result"], registry=registry
        )
        self._added = Histogram(
            "tfgrpo_added_seconds", "Time until the head of an answer, less what the upstream took.", registry=registry,
            buckets=_BUCKETS,
        )  # fmt: skip
        self._in_flight = Gauge(
            "tfgrpo_in_flight", "Calls that are not over.", registry=registry, multiprocess_mode="livesum"
        )
        self._store = Gauge(
            "tfgrpo_store_readable", "1 while the store can be read.", registry=registry, multiprocess_mode="livemin"
        )
        self._live = Gauge(
            "tfgrpo_live_priors", "Namespaces with a live prior.", registry=registry, multiprocess_mode="livemax"
        )
        self._kept: dict[Served, Counter] = {}

    def served(self, what: Served, added: float) -> None:
        """A call was answered; `added` is in seconds."""
        counter = self._kept.get(what)
        if counter is None:
            counter = self._requests.labels(what.route, str(what.status), what.variant, what.surface)
            if len(self._kept) < _MOST_LABELS:
                self._kept[what] = counter
        counter.inc()
        if what.reason:
            self._without.labels(what.reason).inc()
        self._added.observe(added)

    def refused(self, code: str) -> None:
        """A call went no further."""
        self._refused.labels(code).inc()

    def fault(self, kind: str) -> None:
        """An upstream was out of reach, silent, or broke off."""
        self._faults.labels(kind).inc()

    def left(self) -> None:
        """A caller left before the end."""
        self._left.inc()

    def recorded(self, calls: int) -> None:
        """Calls were written down."""
        self._recorded.inc(calls)

    def not_recorded(self, what: str, count: int) -> None:
        """Calls, feedback or texts could not be written down."""
        self._dropped.labels(what).inc(count)

    def shadow(self, result: str, rollouts: int) -> None:
        """Further rollouts were made, or were not."""
        self._shadows.labels(result).inc(rollouts)

    def text(self, in_flight: int, shelf: Shelf) -> bytes:
        """All of it, as Prometheus reads it."""
        self.note(in_flight, shelf)
        if os.environ.get(FOLDER_VARIABLE):
            together = CollectorRegistry()
            MultiProcessCollector(together)
            return generate_latest(together)
        return generate_latest(self._registry)

    def note(self, in_flight: int, shelf: Shelf) -> None:
        """How things stand now."""
        self._in_flight.set(in_flight)
        self._store.set(0 if shelf.trouble else 1)
        self._live.set(len(shelf.held.snapshots))
