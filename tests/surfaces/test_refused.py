"""A prior is never the reason for a failure."""

from tests.live import BODY, MODEL, OTHER, PRIOR, sdk_json
from tests.tables import each
from tfgrpo.records import Frame, Prior, Snapshot
from tfgrpo.surfaces.http import Rewrite, rewrite
from tfgrpo.surfaces.refused import IN_A_ROW, PriorRefusals


def sent(refusals: PriorRefusals, prior: Prior = PRIOR, model: str = MODEL) -> Rewrite:
    snapshot = Snapshot("default", prior, "live", Frame(model=MODEL))
    return rewrite(sdk_json({**BODY, "model": model}), snapshot, suspended=refusals.suspends)


@each(
    ("status", "answer", "again"),
    [
        (200, b"", False),
        (400, b"", True),
        (401, b"", False),
        (413, b"", True),
        (422, b"", True),
        (429, b"", False),
        (500, b"", False),
        (500, b'{"error":{"message":"Jinja Exception: System role not supported"}}', True),
        (500, b'{"error":{"message":"Conversation roles must alternate user/assistant"}}', True),
    ],
)
def test_what_is_refused_with_a_prior_goes_once_more(status: int, answer: bytes, again: bool) -> None:
    assert PriorRefusals().goes_again(sent(PriorRefusals()), status, answer) is again
    assert not PriorRefusals(strict=True).goes_again(sent(PriorRefusals()), status, answer)
    assert not PriorRefusals().goes_again(Rewrite(reason="disabled"), status, answer)


def test_after_three_in_a_row_calls_there_go_without_until_another_prior_is_live_or_a_probe() -> None:
    refusals = PriorRefusals()
    told = [refusals.without(sent(refusals), 200) for _ in range(IN_A_ROW)]
    assert [(one.content, one.prior, one.reason) for one in told] == [(None, "none", "refused")] * IN_A_ROW
    assert all("went without it" in (one.notice or "") for one in told[:-1])
    assert "until the upstream is probed anew" in (told[-1].notice or "")
    assert sent(refusals).reason == "suspended"
    assert sent(refusals, model="another").content is not None
    assert sent(refusals, OTHER).content is not None
    refusals.forget()
    assert sent(refusals).content is not None


def test_a_call_that_fails_without_the_prior_too_is_not_held_against_it() -> None:
    refusals = PriorRefusals()
    told = [refusals.without(sent(refusals), 400) for _ in range(IN_A_ROW)][-1]
    assert (told.reason, told.notice) == ("refused", None)
    assert sent(refusals).content is not None


def test_a_call_that_succeeds_begins_the_count_anew() -> None:
    refusals = PriorRefusals()
    for status in (200, 200):
        refusals.without(sent(refusals), status)
    assert not refusals.goes_again(sent(refusals), 200)
    for status in (200, 200):
        refusals.without(sent(refusals), status)
    assert sent(refusals).content is not None


def test_names_of_models_from_strangers_take_no_memory() -> None:
    refusals = PriorRefusals()
    for number in range(3_000):
        refusals.without(Rewrite(b"", "prior_1", model=str(number), surface="chat"), 200)
    assert len(refusals._counts) <= 1_000


def test_several_answers_that_one_caller_asks_for_and_are_refused_take_the_prior_from_nobody() -> None:
    refusals = PriorRefusals()
    told = [refusals.without(sent(refusals)._replace(way="resample"), 200) for _ in range(IN_A_ROW)][-1]
    assert (told.prior, told.way, told.deciding) == ("none", None, None)
    assert "several answers were refused" in (told.notice or "")
    assert sent(refusals).content is not None
