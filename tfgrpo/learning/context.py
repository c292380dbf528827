"""What the parts of a run share while it goes, and how its early end is written down."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from ..errors import BudgetEnded, StoreError, TfgrpoError
from ..experiences.embedding import Embedder
from ..model.budget import Budget
from ..model.upstream import Upstream
from ..observer import Observer
from ..prompts import template
from ..records import Backend, Experience, Prior, Run, RunStatus, TokenBias
from ..rollouts.executor import Executors
from ..store import Store
from .plan import Plan


@contextmanager
def ending(store: Store, run: Run) -> Iterator[None]:
    """What ends the run in here is written down, with what was spent, and raised again."""
    try:
        yield
    except asyncio.CancelledError:
        store.end(run.id, "interrupted", store.spent(run.id), {})
        raise
    except Exception as error:
        with suppress(StoreError):  # of a store that failed once, the first failure is the one to tell
            told = str(error) if isinstance(error, TfgrpoError) else type(error).__name__  # others may quote anything
            status: RunStatus = "out of budget" if isinstance(error, BudgetEnded) else "failed"
            store.end(run.id, status, store.spent(run.id), {"error": told})
        raise


class Notes:
    """What people are told while the run goes, and find again in its results."""

    def __init__(self, observer: Observer) -> None:
        self._observer, self.lines = observer, list[str]()

    def note(self, line: str) -> None:
        """Tell it now, and keep it."""
        self.lines.append(line)
        self._observer.note(line)


@dataclass(frozen=True, slots=True)
class RunContext:
    """What the parts of a run share."""

    plan: Plan
    run: Run
    store: Store
    upstream: Upstream
    distiller: Upstream
    """What proposes experiences; it may be the upstream itself."""
    backend: Backend
    """What was seen of the upstream."""
    make_executor: Executors
    observer: Observer
    notes: Notes
    start: Prior
    """The prior that the run began with."""
    inherited: tuple[TokenBias, ...] = ()
    """Its biases, in the upstream's tokens."""
    budget: Budget | None = None
    embedder: Embedder | None = None

    def prior(self, experiences: tuple[Experience, ...], biases: tuple[TokenBias, ...]) -> Prior:
        """A successor of the prior that the run began with, as yet without a way to prompt."""
        tokenizer = self.backend.tokenizer if biases else None
        parent = None if self.start.id == Prior().id else self.start.id
        questions = self.start.questions
        return Prior(experiences, biases, tokenizer, template("prior").version, parent, questions=questions)
