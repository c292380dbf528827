"""A store with a live prior in it, for the tests of what carries priors to a model."""

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, TypeVar

from tfgrpo.prompts import template
from tfgrpo.records import Experience, Frame, Prior, PriorState, TokenBias
from tfgrpo.store import Store, StorePath

MODEL = "fake"
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Où est ma facture ?"}]}
TEXT = "When a queue is asked for, reply with its code only."
PRIOR = Prior(
    experiences=(Experience(TEXT),),
    biases=(TokenBias(7, b"TECH", 1.5, 3.0, 4), TokenBias(9, b"The", -2.0, -4.0, 5)),
    tokenizer="words",
    template=template("prior").version,
)
OTHER = Prior(experiences=(Experience("When unsure, ask."),), template=template("prior").version)

P = TypeVar("P", bound=StorePath)


class _Looking(Protocol):
    @property
    def path(self) -> StorePath: ...


def file_of(place: _Looking) -> Path:
    """The file that a client or a proxy looks at."""
    assert isinstance(place.path, Path)
    return place.path


def go_live(
    path: P,
    prior: Prior = PRIOR,
    *,
    namespace: str = "default",
    model: str = MODEL,
    state: PriorState = "live",
) -> P:
    """Make a prior live in a store, which is created if need be."""
    if isinstance(path, Path) and not path.exists():
        path.write_bytes(_empty_store())
    with Store(path) as store:
        store.add_prior(prior)
        store.set_state(namespace, prior.id, state, frame=Frame(model=model))
    return path


@cache
def _empty_store() -> bytes:
    """Migrations take their time."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        Store(path).close()
        return path.read_bytes()


def sdk_json(value: object) -> bytes:
    """JSON as the SDK writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
