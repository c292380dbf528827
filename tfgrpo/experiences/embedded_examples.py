"""Training examples as pools from which the vectors of an embedding model choose."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..model.upstream import Upstream
from ..records import Demonstration, Variant
from ..rollouts.request_vectors import add_vectors
from ..surfaces.nearest import compact, looked_at
from ..surfaces.surface import question
from .embedding import Embedder
from .variants import SIZES


async def nearest_by_vectors(
    embedder: Embedder, upstream: Upstream, run: str, examples: Sequence[Demonstration], note: Callable[[str], None]
) -> list[Variant]:
    """The examples nearest to each request by the embedding model; none, which is said, where calls in use could not
    ask it, since they ask the upstream that answers, or where it gave no vectors."""
    model = embedder.model
    if not embedder.is_at(upstream):
        why = f"calls in use ask {upstream.name}, and it is elsewhere; a router of both at one URL lets it race"
        note(f"race: nearest by {model} is left out: {why}")
        return []
    asked = {one.id: looked_at(question(one.messages)) for one in examples}
    found, why = await embedder.vectors([text for text in asked.values() if text.strip()])
    if why:
        note(f"race: nearest by {model} is left out: {why}")
        return []
    vectors = {text: compact(vector) for text, vector in found.items()}
    add_vectors(upstream, run, model, vectors)
    shown = tuple(replace(one, vector=vectors[asked[one.id]]) for one in examples if vectors.get(asked[one.id]))
    sizes = [size for size in SIZES if size < len(shown)]
    return [Variant(None, shown, size, f"{size} nearest by {model}", model) for size in sizes]
