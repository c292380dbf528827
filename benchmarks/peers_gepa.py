"""GEPA (arXiv 2507.19457) as a method of `peers`: its own package, on the same model, which reflects too.

It rewrites the set's system prompt (of an agent: an instruction before its messages). Training tasks serve for
reflection and selection, as is its default. It stops when its model calls, reflections among them, are spent; as by its
own rule an iteration under way is finished, so it may make some more. Its reflections wait for each other, one in about
seven calls, so it stops after MOST_MINUTES too, and what it came to says so.
"""

import asyncio
import importlib
import time
from collections.abc import Coroutine, Mapping, Sequence
from types import ModuleType
from typing import Any, TypeVar

from tfgrpo.errors import InputError, ModelError, UpstreamError
from tfgrpo.experiences.variants import answer_text
from tfgrpo.records import JSON, Prior, Rollout, Task
from tfgrpo.text import shortened

from .peers_cell import Cell, Found

T = TypeVar("T")
REFLECTION_TOKENS = 256
"""A prompt for tasks as short as these is shorter; a small model that goes on repeats itself."""
MOST_MINUTES = 60.0
"""Of one start: 400 calls, of which some 57 are reflections, take minutes on a quiet core and longer beside others."""
PART = "system_prompt"
"""The one text that it evolves."""
AGENTS_OWN = "Do what is asked."
"""Where a set has no system prompt to begin with."""


def library() -> ModuleType:
    """The module `gepa`; raises InputError where it is not installed."""
    try:
        return importlib.import_module("gepa")
    except ImportError as error:
        raise InputError("the method gepa needs the package gepa: pip install gepa") from error


async def gepa(cell: Cell) -> Found:
    """The system prompt that GEPA finds best on the training tasks."""
    optimize = library().optimize
    adapter = Adapter(cell, asyncio.get_running_loop())
    start = {PART: cell.wanted.system or AGENTS_OWN}
    found = await asyncio.to_thread(
        optimize,
        seed_candidate=start,
        trainset=list(cell.parts.train),
        adapter=adapter,
        reflection_lm=adapter.reflect,
        stop_callbacks=adapter.is_spent,
        logger=_Silent(),
        seed=cell.seed,
    )
    text, count = found.best_candidate[PART], len(found.candidates)
    prior, system = adapter.shown(text)
    told = "" if adapter.calls >= cell.terms.calls else f" (ended by the clock after {adapter.calls} calls)"
    return Found(prior, f"the best of {count} prompts{told}: {shortened(text, 200)}", system)


class Adapter:
    """What GEPA asks of the system that it improves; its thread waits for calls that run in the benchmark's loop."""

    propose_new_texts: None = None
    """GEPA's own proposals."""

    def __init__(self, cell: Cell, loop: asyncio.AbstractEventLoop) -> None:
        self._cell, self._loop = cell, loop
        self._batches, self._reflections, self.calls = 0, 0, 0
        self._ends = time.monotonic() + 60 * MOST_MINUTES

    def shown(self, text: str) -> tuple[Prior, str | None]:
        """How a prompt enters a request: in place of the system prompt, or before what an agent says."""
        if self._cell.wanted.agent:
            return Prior(instruction=text or None), None
        return Prior(), text

    def evaluate(self, batch: Sequence[Task], candidate: Mapping[str, str], capture_traces: bool = False) -> Any:
        """The rewards of one rollout at each task."""
        prior, system = self.shown(candidate[PART])
        self._batches += 1
        wanted = [(task, prior, place) for place, task in enumerate(batch)]
        made = self._wait(self._cell.rollouts("search", wanted, step=self._batches, system=system))
        self.calls += sum(max(1, rollout.usage.calls) for rollout in made)
        kind = importlib.import_module("gepa.core.adapter").EvaluationBatch
        scores = [rollout.reward or 0.0 for rollout in made]
        return kind(outputs=made, scores=scores, trajectories=made if capture_traces else None)

    def make_reflective_dataset(
        self, candidate: Mapping[str, str], eval_batch: Any, components_to_update: Sequence[str]
    ) -> dict[str, list[dict[str, JSON]]]:
        """What the model is shown of its rollouts: input, answer, and what would have been right."""
        return {part: [_record(rollout) for rollout in eval_batch.trajectories] for part in components_to_update}

    def reflect(self, prompt: Any) -> str:
        """The answer of the model to a prompt of GEPA's; empty where the call failed."""
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        self._reflections, self.calls = self._reflections + 1, self.calls + 1
        asked = self._cell.ask(
            "reflect", messages, step=self._reflections, max_tokens=REFLECTION_TOKENS, temperature=1.0
        )
        try:
            return self._wait(asked)
        except UpstreamError:
            raise
        except ModelError:
            return ""

    def is_spent(self, _: object) -> bool:
        """Whether the cell's calls are, or its time is."""
        return self.calls >= self._cell.terms.calls or time.monotonic() > self._ends

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def _record(rollout: Rollout) -> dict[str, JSON]:
    right = rollout.reward is not None and rollout.reward >= 1
    wanted = answer_text(rollout.task.answer)
    feedback = "This is right." if right else f"This is wrong. The right answer is: {wanted}"
    return {"Inputs": rollout.task.prompt, "Generated Outputs": rollout.text, "Feedback": feedback}


class _Silent:
    def log(self, message: str) -> None:
        """Nothing."""
