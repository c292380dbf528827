"""Calls in use, feedback, and canaries with their share."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.live import MODEL, OTHER, PRIOR, go_live
from tfgrpo.errors import InputError
from tfgrpo.records import Frame, PriorState, Snapshot
from tfgrpo.store import Feedback, Inference, Store

CALL = Inference("inf_1", "default", PRIOR.id, "live", "chat", MODEL, 200, 0.5, '{"model": "\ud83d"}', "{}")
WORTH = Feedback("inf_1", "default", PRIOR.id, "live", 0.5, "half right")


def test_calls_and_feedback_come_back_as_they_were_and_a_call_is_kept_once(tmp_path: Path) -> None:
    later = replace(CALL, id="inf_2", prior=None, variant="none")
    with Store(tmp_path / "s.db") as store:
        store.add_calls_in_use([CALL], [WORTH])
        store.add_calls_in_use([CALL, later], [WORTH])
        store.add_calls_in_use([])
        assert store.inferences("default") == (CALL, later)
        assert store.inferences("default", 1) == (later,)
        assert store.feedback("default") == (WORTH, WORTH)
        assert (store.inferences("other"), store.feedback("other")) == ((), ())
        assert store.verify() == ()


@pytest.mark.parametrize("ended", ["live", "rejected", "rolled back"])
def test_a_canary_has_the_share_that_it_was_given_last_until_its_state_is_another(
    ended: PriorState, tmp_path: Path
) -> None:
    with Store(go_live(tmp_path / "s.db")) as store:
        store.add_prior(OTHER)
        store.add_share("default", OTHER.id, 0.5)
        assert store.canary("default") is None
        store.set_state("default", OTHER.id, "canary", frame=Frame(MODEL))
        store.add_share("default", OTHER.id, 0.25)
        assert store.canary("default") == (Snapshot("default", OTHER, "canary", Frame(MODEL)), 0.25)
        live = store.live("default")
        assert live is not None
        assert live.prior == PRIOR
        with pytest.raises(InputError, match="share of a canary"):
            store.add_share("default", OTHER.id, 1.5)
        store.set_state("default", OTHER.id, ended, frame=Frame(MODEL), by="anna")
        assert store.canary("default") is None
