"""Vectors of experiences by an embedding model, so that admission can tell the same advice in other words, and of what
training examples ask, so that the nearest to a request can be shown.

Each text is embedded once a run, in calls that are journalled and counted like any other. Where a call fails its texts
have no vectors, and their wording alone decides; the failure is noted and holds when the run is resumed: what has been
decided on it stands.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import ModelError, UpstreamError
from ..records import CallKey, Vector
from .overlap import Meanings
from .step_notes import StepNotes

if TYPE_CHECKING:
    from ..model.upstream import Upstream

TEXTS_A_CALL = 32
"""Texts in one call; some servers take no more."""
STAGE = "embedding"
"""What the journal calls these calls."""
_BEFORE_STEPS = -1
"""The step of what is embedded before the first one."""
_PROBE = "When asked for a label, reply with the label only."


class Embedder:
    """An embedding model at work in one run."""

    def __init__(self, upstream: "Upstream", model: str, near: float, run: str, log: StepNotes) -> None:
        """`near` is the cosine from which two texts count as one."""
        self._upstream, self.model, self._near, self._run, self._log = upstream, model, near, run, log
        self._vectors: dict[str, Vector] = {}

    async def probe(self) -> None:
        """One call, before anything is spent on rollouts; raises UpstreamError where it gives no embedding."""
        try:
            await self._upstream.embed(self.model, [_PROBE], CallKey(self._run, f"{STAGE} probe"))
        except UpstreamError as error:
            raise UpstreamError(f"no embeddings by {self.model}: {error}") from None
        except ModelError as error:
            hint = "name another --embedding-model or --embedding-base-url"
            raise UpstreamError(f"no embeddings by {self.model}: {error}; {hint}") from None

    def is_at(self, upstream: "Upstream") -> bool:
        """Whether the model is served where another one is."""
        return self._upstream.key == upstream.key

    async def vectors(self, texts: Sequence[str]) -> tuple[Mapping[str, Vector], str | None]:
        """The vectors of texts, asked for before the first step, and why some lack, if a call failed."""
        found, why = await self.meanings(_BEFORE_STEPS, texts)
        return {text: found.vectors[text] for text in texts if text in found.vectors}, why

    async def meanings(self, step: int, texts: Sequence[str]) -> tuple[Meanings, str | None]:
        """What is known of these texts and of those before them, and why it is not all, if a call failed."""
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        why = None
        for number, start in enumerate(range(0, len(new), TEXTS_A_CALL)):
            why = await self._embed(step, number, new[start : start + TEXTS_A_CALL])
            if why:
                break
        return Meanings(self._near, dict(self._vectors)), why

    async def _embed(self, step: int, number: int, texts: Sequence[str]) -> str | None:
        """Learn the vectors of a batch of a step; why it failed, in whatever start, if it did."""
        if why := await self._log.unembedded(step, number):
            return why
        try:
            found = await self._upstream.embed(self.model, texts, CallKey(self._run, STAGE, step, sample=number))
        except ModelError as error:
            await self._log.leave_unembedded(step, number, str(error))
            return str(error)
        self._vectors |= dict(zip(texts, found.vectors, strict=True))
        return None
