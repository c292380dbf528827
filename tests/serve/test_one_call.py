"""One call with the live prior: what the model is given of it, and what is said of the rest."""

from collections.abc import Mapping

import pytest

from tests.live import MODEL, PRIOR, TEXT
from tfgrpo.errors import ModelError
from tfgrpo.records import Backend, Frame, Prior, Snapshot
from tfgrpo.serve.one_call import Said, say
from tfgrpo.testing import Answer, ScriptedModel, serving

LIVE = Snapshot("default", PRIOR, "live", Frame(MODEL, "Route it.", temperature=0.3))


async def asked(
    model: ScriptedModel, name: str = MODEL, backend: Backend | None = None, *, frozen: bool = False
) -> tuple[Said, Mapping[str, object]]:
    """What came of one call, and the request that was sent."""
    with serving(model.app) as url:
        probed = {url: {name: backend}} if backend else {}
        said = await say(url, name, "Where is it?", LIVE, probed, frozen=frozen, seed=1)
    return said, model.requests[-1]


def answering() -> ScriptedModel:
    return ScriptedModel(lambda body: "BILL")


async def test_the_prior_goes_out_under_the_frame_it_was_learned_in() -> None:
    said, body = await asked(answering())
    assert (said.text, said.prior, said.notes) == ("BILL", PRIOR, ())
    assert (body["temperature"], body["logit_bias"]) == (0.3, PRIOR.logit_bias)
    assert TEXT in str(body["messages"])


async def test_a_frozen_call_has_the_frame_alone() -> None:
    said, body = await asked(answering(), frozen=True)
    assert (said.prior, said.notes) == (Prior(), ())
    assert "logit_bias" not in body
    assert TEXT not in str(body["messages"])
    assert "Route it." in str(body["messages"])


@pytest.mark.parametrize(
    ("name", "backend", "note"),
    [
        ("another", None, f"token prior left out: it was learned on {MODEL}, and this is another"),
        (MODEL, Backend(logit_bias="rejected"), "was probed: rejected"),
        (MODEL, Backend(logit_bias="honoured", tokenizer="letters"), "was probed: other-tokenizer"),
    ],
)
async def test_a_token_prior_that_does_not_fit_is_left_out_and_told(
    name: str, backend: Backend | None, note: str
) -> None:
    said, body = await asked(answering(), name, backend)
    assert "logit_bias" not in body
    assert (said.prior.biases, said.prior.experiences) == ((), PRIOR.experiences)
    assert note in said.notes[0]


async def test_a_parameter_that_is_refused_is_told() -> None:
    def script(body: Mapping[str, object]) -> Answer:
        return Answer("seed is not supported", status=400) if "seed" in body else Answer("BILL")

    said, _ = await asked(ScriptedModel(script))
    assert said.text == "BILL"
    assert said.notes[0].startswith("parameter seed was left out")


async def test_a_call_that_fails_raises() -> None:
    with pytest.raises(ModelError):
        await asked(ScriptedModel(lambda body: Answer("no", status=422)))
