"""A token prior on another tokenizer: resolved anew where each token is one there, else refused."""

import pytest

from tests import toy
from tests.inprocess import MemoryJournal, upstream
from tfgrpo.probe.backend import fitted
from tfgrpo.records import Backend, Experience, Prior, TokenBias
from tfgrpo.testing import ScriptedModel

EXPERIENCES = (Experience("When asked, answer."),)
BACKEND = Backend(kind="llama.cpp", logit_bias="honoured", tokenizer="new")
IDS = {"yes": [40], " no": [41], "twin": [40]}


def prior(*pieces: bytes, tokenizer: str = "old") -> Prior:
    biases = tuple(TokenBias(place, piece, place + 0.5, 3.0, 5) for place, piece in enumerate(pieces))
    return Prior(EXPERIENCES, biases, tokenizer)


async def moved(
    given: Prior, *, local: bool = False, backend: Backend = BACKEND, journal: MemoryJournal | None = None
) -> tuple[Prior, str]:
    model = ScriptedModel(lambda body: "", tokenizer=lambda text: IDS.get(text, [1, 2]))
    tokenizer = toy.tokenizer(("no", "yes")) if local else None
    async with upstream(model.app, tokenizer=tokenizer, journal=journal) as calling:
        found, note = await fitted(given, calling, backend, "fake", run="run_1")
    return found, note or ""


async def test_each_token_that_is_one_there_gets_its_id_there() -> None:
    found, note = await moved(prior(b"yes", b" no"))
    assert {entry.piece: (entry.token, entry.bias, entry.evidence) for entry in found.biases} == {
        b"yes": (40, 0.5, 5),
        b" no": (41, 1.5, 5),
    }
    assert (found.tokenizer, found.experiences) == ("new", EXPERIENCES)
    assert "2 tokens resolved anew" in note


async def test_a_tokenizer_of_ours_is_asked_first() -> None:
    found, _ = await moved(prior(b"yes", b"no"), local=True)
    assert {entry.piece: entry.token for entry in found.biases} == {b"yes": 1, b"no": 0}


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ((b"yes", b"unheard of"), "'unheard of' cannot be found as single tokens"),
        ((b"yes", b"\xf0\x9f"), "\\\\xf0"),
        ((b"yes", b"<|end|>"), "<|end|>"),
        ((b"yes", b"twin"), "not told apart"),
    ],
    ids=["several tokens", "no text", "special", "twins"],
)
async def test_a_map_that_would_lose_a_token_is_refused_whole(pieces: tuple[bytes, ...], words: str) -> None:
    found, note = await moved(prior(*pieces))
    assert (found.biases, found.tokenizer, found.experiences) == ((), None, EXPERIENCES)
    assert "belongs to another tokenizer" in note
    assert words in note


@pytest.mark.parametrize(
    ("given", "backend"),
    [
        (prior(b"yes", tokenizer="new"), BACKEND),
        (Prior(EXPERIENCES), BACKEND),
        (prior(b"yes"), Backend(kind="llama.cpp", logit_bias="rejected", tokenizer="new")),
    ],
    ids=["same tokenizer", "no token prior", "no use"],
)
async def test_what_need_not_be_resolved_stays_as_it_is(given: Prior, backend: Backend) -> None:
    assert await moved(given, backend=backend) == (given, "")


async def test_a_resumed_run_resolves_from_its_journal() -> None:
    journal = MemoryJournal()
    first = await moved(prior(b"yes", b" no"), journal=journal)
    kept = len(journal.kept)
    assert (await moved(prior(b"yes", b" no"), journal=journal), len(journal.kept)) == (first, kept)
    assert kept == 2
