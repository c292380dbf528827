"""What chance decides of a call: shares, stickiness, and which experiences are left out."""

import asyncio
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from tests.live import MODEL, OTHER, PRIOR, go_live
from tests.serve.fronts import BODY, VARIANT_HEADER, Front, running
from tfgrpo.errors import InputError
from tfgrpo.records import ChatBody, Experience, Frame, Prior, Snapshot
from tfgrpo.serve.drawing import DrawShares, Offer, key_of, left_out_sets
from tfgrpo.serve.proxy import Proxy, RelayTarget, Shelf
from tfgrpo.serve.pulled import UrlPlace
from tfgrpo.serve.source import PriorSource
from tfgrpo.store import Store
from tfgrpo.surfaces.http import PRIOR_HEADER
from tfgrpo.testing import ScriptedModel

LIVE = Snapshot("default", PRIOR, "live", Frame(MODEL))
CANARY = Snapshot("default", OTHER, "canary", Frame(MODEL))


def several(count: int) -> Snapshot:
    texts = (Experience(f"When it is {number}, say so.") for number in range(count))
    return Snapshot("default", Prior(experiences=tuple(texts), template=PRIOR.template), "live", Frame(MODEL))


@pytest.mark.parametrize(("experiences", "sets"), [(1, 2), (3, 8), (17, 64), (63, 64)])
def test_each_experience_is_left_out_of_half_the_sets_and_each_two_of_a_quarter(experiences: int, sets: int) -> None:
    live = several(experiences)
    found = left_out_sets(live)
    out = [frozenset(one.experiences) for one in found]
    ids = [entry.id for entry in live.prior.experiences]
    assert (len(found), found[0].snapshot) == (sets, live)
    assert {sum(one in each for each in out) for one in ids} == {sets // 2}
    assert {sum({one, two} <= each for each in out) for one, two in combinations(ids, 2)} <= {sets // 4}
    for one in found:
        assert [entry.id for entry in one.snapshot.prior.experiences] == [i for i in ids if i not in one.experiences]


def test_a_draw_is_sticky_has_its_share_and_tells_its_probability() -> None:
    live = several(3)
    offer, shares = Offer(live, CANARY, 0.2, left_out_sets(live)), DrawShares(0.1, 0.25)
    found = [offer.drawn(shares, "default", f"user {number}", "inf") for number in range(4_000)]
    assert found == [offer.drawn(shares, "default", f"user {number}", "other") for number in range(4_000)]
    arms = Counter(one.draw["arm"] for one in found if one.draw)
    assert arms["holdback"] == pytest.approx(400, abs=60)
    assert arms["canary"] == pytest.approx(720, abs=80)
    less = [one for one in found if one.draw and one.draw.get("left_out")]
    assert len(less) == pytest.approx(2_880 / 4 * 7 / 8, abs=80)
    told = {one.draw["arm"]: one.draw["p"] for one in found if one.draw}
    assert told == {"holdback": 0.1, "canary": 0.18, "live": 0.72}
    assert {(one.draw["of"], one.draw["canary"]) for one in found if one.draw} == {(live.prior.id, OTHER.id)}
    assert less[0].draw is not None
    assert (less[0].draw["p_left_out"], less[0].prior) == (0.03125, live.prior.id)
    long = offer.drawn(shares, "default", "user " * 99, "inf")
    assert (long, long.draw is not None) == (offer.drawn(shares, "default", "user " * 99, "inf"), True)
    wider = [replace(offer, share=0.5).drawn(shares, "default", f"user {number}", "inf") for number in range(4_000)]
    assert all(now.snapshot is CANARY for now, then in zip(wider, found, strict=True) if then.snapshot is CANARY)
    assert Offer(live).drawn(DrawShares(), "default", None, "inf").draw is None


def test_a_call_is_made_for_whom_its_header_names_or_else_its_body() -> None:
    body = b'{"messages": [{"role": "user", "content": "the \\"user\\": \\"bob\\" said"}], "user": "ann"}'
    assert key_of({"x-tfgrpo-sticky-key": "carl"}, body) == "carl"
    assert key_of({}, body) == "ann"
    assert key_of({}, body.replace(b'"user": "ann"', b'"n": 1')) is None
    assert key_of({}, b'{"metadata": {"user_id": "eve"}}') == "eve"
    assert key_of({}, b'{"safety_identifier" : "ed", "user": "eve"}') == "ed"
    assert key_of({}, b'{"user": "eve", "safety_identifier": "ed"}') == "eve"
    assert key_of({}, b"x" * 200_000 + body) == "ann"
    assert key_of({}, b'{"user"\n: "ann", "messages": [{"role":"user"}, {"role":"user","content":"hm"}]}') == "ann"
    assert key_of({}, b'{"messages": [{"role":"user"}, {"role":"user","content":"hm"}]}') is None


@pytest.mark.parametrize("share", [-0.1, 0.6, float("nan")])
def test_what_is_no_small_share_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="--holdback"):
        DrawShares(holdback=share)


async def test_the_proxy_gives_a_key_what_the_client_would_and_a_share_of_keys_nothing(tmp_path: Path) -> None:
    path = go_live(tmp_path / "s.db")
    with Store(path) as store:
        store.add_prior(OTHER)
        store.set_state("default", OTHER.id, "canary", frame=Frame(MODEL))
        store.add_share("default", OTHER.id, 0.5)
    source = PriorSource(path, "default")
    source.refresh()
    model = ScriptedModel(lambda body: "BILL")
    async with running(model.app) as upstream:
        proxy = Proxy(RelayTarget.parse(f"{upstream}/v1"), Shelf(path, shares=DrawShares(holdback=0.2)))
        async with proxy, running(proxy) as address:
            front = Front(proxy, address)
            pulled = PriorSource(UrlPlace(address, "default", folder=tmp_path), "default")
            await asyncio.to_thread(pulled.refresh)
            for user in [f"user {number}" for number in range(40)]:
                told = (await front.chat(**{"x-tfgrpo-sticky-key": user})).headers
                again = (await front.chat({**BODY, "user": user})).headers
                assert (told[PRIOR_HEADER], told[VARIANT_HEADER]) == (again[PRIOR_HEADER], again[VARIANT_HEADER])
                wanted = source.snapshot_for(None, f'{{"user": "{user}"}}'.encode())
                assert pulled.snapshot_for(user) == wanted, "a client that pulls its prior draws as well"
                if told[VARIANT_HEADER] == "holdback":
                    assert (told[PRIOR_HEADER], told["x-tfgrpo-reason"]) == ("none", "holdback")
                else:
                    assert wanted is not None
                    assert (told[PRIOR_HEADER], told[VARIANT_HEADER]) == (wanted.prior.id, wanted.state)
            await front.in_process.aclose()
            await front.outside.aclose()
    source.close()
    assert len({str(body["messages"]) for body in model.requests}) == 3
    assert all("x-tfgrpo-sticky-key" not in headers for headers in model.headers)


async def test_a_canary_where_nothing_is_live_is_held_against_no_prior(tmp_path: Path) -> None:
    path = go_live(tmp_path / "s.db", OTHER, state="canary")
    with Store(path) as store:
        store.add_share("default", OTHER.id, 0.5)
    model = ScriptedModel(lambda body: "BILL")
    async with running(model.app) as upstream:
        proxy = Proxy(RelayTarget.parse(f"{upstream}/v1"), Shelf(path))
        async with proxy, running(proxy) as address:
            front = Front(proxy, address)
            found = {(await front.chat({**BODY, "user": str(n)})).headers[VARIANT_HEADER] for n in range(30)}
            await front.in_process.aclose()
            await front.outside.aclose()
    assert found == {"canary", "none"}


async def test_a_call_that_is_left_out_of_some_experiences_is_known_by_the_live_prior(tmp_path: Path) -> None:
    live = several(3)
    path = go_live(tmp_path / "s.db", live.prior)
    model = ScriptedModel(lambda body: "BILL")
    async with running(model.app) as upstream:
        proxy = Proxy(RelayTarget.parse(f"{upstream}/v1"), Shelf(path, shares=DrawShares(leave_out=0.5)))
        async with proxy, running(proxy) as address:
            front = Front(proxy, address)
            told = {(await front.chat({**BODY, "user": str(n)})).headers[PRIOR_HEADER] for n in range(40)}
            await front.in_process.aclose()
            await front.outside.aclose()
    assert told == {live.prior.id, "none"}  # one of the sets is all of them

    def shown(body: ChatBody) -> int:
        return str(body["messages"]).count("say so")

    assert {shown(body) for body in model.requests} > {3}


def test_a_prior_that_is_live_again_is_the_object_that_it_was(tmp_path: Path) -> None:
    path = go_live(tmp_path / "s.db")
    shelf = Shelf(path, shares=DrawShares(leave_out=0.1))
    shelf.refresh()
    before = shelf.held.offers["default"]
    for prior in (OTHER, PRIOR):
        with Store(path) as store:
            store.add_prior(prior)
            store.set_state("default", prior.id, "live", frame=Frame(MODEL))
        shelf.refresh()
    after = shelf.held.offers["default"]
    assert after is not before
    assert (before.live, after.live) != (None, None)
    assert [one.snapshot.prior for one in after.sets] == [one.snapshot.prior for one in before.sets]
    assert all(now.snapshot.prior is then.snapshot.prior for now, then in zip(after.sets, before.sets, strict=True))
    shelf.close()


def test_what_a_prior_that_is_live_again_was_measured_under_is_told_of_its_draws_too(tmp_path: Path) -> None:
    live = several(3)
    path = go_live(tmp_path / "s.db", live.prior)
    shelf = Shelf(path, shares=DrawShares(leave_out=0.1))
    shelf.refresh()
    with Store(path) as store:
        store.set_state("default", live.prior.id, "live", frame=Frame("other-model"))
    shelf.refresh()
    drawn = shelf.held.offers["default"].drawn(shelf.shares, "default", "key", "inf")
    assert drawn.snapshot is not None
    assert drawn.snapshot.frame == Frame("other-model")
