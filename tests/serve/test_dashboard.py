"""The dashboard: its numbers are the store's, its buttons do what they say, and what others wrote stays text."""

import asyncio
import json
import math
import re
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from html import unescape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import pytest

from tests.live import OTHER, PRIOR, file_of, go_live
from tests.serve.fronts import PATIENCE, Front, Recorder, Serve
from tests.serve.test_door import LOCAL, given_key
from tfgrpo.deployment.autopilot import do_in_store
from tfgrpo.deployment.comparison import HARM_LEVEL
from tfgrpo.deployment.facts import deployed_state, facts_of, live_in_use
from tfgrpo.deployment.step import Action, AutopilotTerms
from tfgrpo.errors import StoreError
from tfgrpo.experiences.credit import effect_interval
from tfgrpo.records import (
    CallKey,
    Decision,
    Demonstration,
    Effect,
    Experience,
    Frame,
    Group,
    Prior,
    Rollout,
    Run,
    Task,
    TokenBias,
    Usage,
    Variant,
)
from tfgrpo.serve.dashboard import pages
from tfgrpo.serve.dashboard.canary import canary_look
from tfgrpo.serve.dashboard.counting import Counting
from tfgrpo.serve.dashboard.rendering import ASSETS, FOLDER, render
from tfgrpo.serve.dashboard.traffic import TrafficLook
from tfgrpo.serve.proxy import Door, Shelf
from tfgrpo.store import Feedback, HistoryEntry, Inference, Store
from tfgrpo.trials import GateTrial, Pass

HOME = "/tfgrpo/"
FAR = Door.at("0.0.0.0", lends_a_key=False, has_keys=True)
HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "javascript:alert(3) \" onclick=alert(4) '",
    "{{ 789 * 789 }} {% raw %} ${789*789} </bdi></pre><style>*{display:none}</style>",
    "right\u202eto left\u2066 and \u0000 nothing \x1b[31m",
)
TASK = Task(f"A question {HOSTILE[0]}", f"an answer {HOSTILE[1]}")
FRAME = Frame(f"model {HOSTILE[0]}")
RUN = Run("learn", "support", FRAME, {"steps": 2, "note": HOSTILE[2]}, (TASK.id,), f"reward {HOSTILE[0]}")
LONG = Experience(f"When long, {'<b>' * 300_000}")
HELD = tuple(Experience(text) for text in HOSTILE)
HOSTILE_PRIOR = Prior(
    HELD,
    (TokenBias(7, b"<i>\xff\xe2\x80\xae", 1.5, 3.0, 4),),
    "words",
    PRIOR.template,
    None,
    f"Instruct {HOSTILE[3]}",
    (Demonstration(f"shown {HOSTILE[0]}", f"answered {HOSTILE[2]}"),),
)
EFFECT = Effect(HELD[0].id, RUN.id, 0, 0.0625, 0.03125, 37)
ARMS = (Variant(source="frozen"), Variant("Count.", (), 0, f"written {HOSTILE[0]}"))


@cache
def busy_store() -> bytes:
    """A namespace in use, whose texts are all hostile, and a run that goes on."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "busy.db"
        with Store(path) as store:
            store.add_tasks([TASK])
            store.begin(RUN)
            store.add_variants(RUN.id, [(arm, 3 * n) for n, arm in enumerate(ARMS)])
            store.add_prior(PRIOR)
            store.add_prior(HOSTILE_PRIOR)
            store.set_state("support", PRIOR.id, "live", frame=FRAME, why=HOSTILE[0], by=HOSTILE[1])
            store.set_state("support", HOSTILE_PRIOR.id, "live", frame=FRAME, run=RUN.id, why=HOSTILE[2])
            store.add_experiences("support", [*HELD, LONG])
            store.add_effects("support", [EFFECT])
            store.add_decisions("support", [Decision(HELD[0].id, "kept", HOSTILE[0])])
            store.add_history(HistoryEntry("support", "autopilot", HOSTILE[0], PRIOR.id, HOSTILE[1]))
            for step in range(2):
                store.add_group(RUN.id, Group(TASK, step, tuple(_rollouts(step))))
            asyncio.run(store.record(CallKey(RUN.id, "rollout", 0, TASK.id), "hash", "{}", Usage(1, 20, 5)))
            store.begin_trial(trial := GateTrial("support", (TASK.id,), RUN.id, HOSTILE_PRIOR.id, PRIOR.id, 0.05, 8, 0))
            store.add_pass(trial, Pass(1, 0.2, {TASK.id: (1.0, 0.0)}, 0.75))
            store.add_calls_in_use(list(_calls()), list(_feedback()))
        return path.read_bytes()


def _rollouts(step: int) -> list[Rollout]:
    said = [*HOSTILE, "x" * 1_000_000]
    return [
        Rollout(
            TASK, step, sample, PRIOR.id, (), ({"role": "assistant", "content": text},), text,
            None if sample == 3 else (sample + step) / 8, HOSTILE[0] if sample == 3 else None,
            variant=ARMS[sample % 2].id, feedback=HOSTILE[1],
        )
        for sample, text in enumerate(said)
    ]  # fmt: skip


def _calls() -> list[Inference]:
    variants = ["live"] * 5 + ["canary"] * 2 + ["none"]
    return [
        Inference(
            f"inf_{n}", "support", PRIOR.id, one, "chat", HOSTILE[0], 502 if n == 3 else 200, 0.5, added=0.001 * (n + 1)
        )
        for n, one in enumerate(variants)
    ]


def _feedback() -> list[Feedback]:
    told = [("inf_0", "live", 1.0), ("inf_1", "live", 0.5), ("inf_5", "canary", 0.25), ("inf_1", "live", 0.0)]
    return [Feedback(id_, "support", PRIOR.id, variant, reward, HOSTILE[0]) for id_, variant, reward in told]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    path = tmp_path / "s.db"
    path.write_bytes(busy_store())
    return Shelf(path, "support")


async def page(at: Front, path: str, status: int = 200, **headers: str) -> str:
    answer = await at.in_process.get(HOME + path, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.text


def figures(text: str) -> list[float]:
    """The exact numbers in a page, or a part of it, as they stand in its data elements."""
    return [float(value) for value in re.findall(r'<data value="([^"]+)"', text)]


def section(text: str, title: str) -> str:
    """The part of a page under a heading."""
    found = re.search(rf"<h2[^>]*>{title}.*?(?=<h2|</main>|\Z)", text, re.DOTALL)
    assert found, title
    return found[0]


def charts(text: str) -> list[dict[str, Any]]:
    return [json.loads(unescape(one)) for one in re.findall(r'data-chart="([^"]*)"', text)]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page waits for what it counts, however busy the machine is."""
    for name in ("_PATIENCE", "_RUN_PATIENCE"):
        monkeypatch.setattr(pages, name, PATIENCE)


async def pressed(at: Front, action: str, token: str | None = None, **fields: str) -> httpx2.Response:
    """What comes of a button, with the token of the page unless another is given."""
    given = token if token is not None else (await tokens(at))[0]
    form = {"namespace": "support", "token": given, **fields}
    return await at.in_process.post(f"{HOME}do/{action}", data=form, headers={"origin": "http://proxy"})


async def tokens(at: Front) -> list[str]:
    return re.findall(r'name="token" value="([0-9a-f]+)"', await page(at, "namespace?name=support"))


# What is told


async def test_the_numbers_of_a_namespace_are_those_of_the_store(front: Serve, shelf: Shelf) -> None:
    at = await front(Recorder())
    text = await page(at, "namespace?name=support")
    low, high = effect_interval(EFFECT)
    assert figures(section(text, "Experiences"))[:4] == [EFFECT.mean, low, high, EFFECT.evidence]
    assert figures(section(text, "What the live prior says")) == [1, 1.5, 3.0, 4]
    traffic = section(await page(at, "traffic?name=support"), "Traffic")
    calls = {name: len([one for one in _calls() if one.variant == name]) for name in ("canary", "live", "none")}
    assert figures(traffic)[:4] == [calls["canary"], calls["live"], 1, calls["none"]]  # one of the live ones failed
    assert figures(traffic)[4:9] == [0.005, 0.008, 0.008, 8, 8]  # added latency, and all of them
    assert figures(traffic)[9:] == [7, 1, 1, 0.25, 2, 0.5]  # by status; feedback, the latest of each call
    told, worth = charts(traffic)
    assert [sum(one["values"]) for one in told["series"]] == [2, 5, 1, 1]
    assert [one["values"] for one in worth["series"]] == [[0.25], [0.5]]


async def test_the_numbers_of_a_run_that_goes_on_are_those_of_the_store(front: Serve, shelf: Shelf) -> None:
    text = await page(await front(Recorder()), f"run?id={RUN.id}")
    with Store(shelf.path) as store:
        groups = store.groups(RUN.id)
    means = [float(group.rewards.mean()) for group in groups]
    rewards, wealth = charts(text)
    assert rewards["series"][0]["values"] == means
    assert wealth["series"][0]["values"] == [0, 0.75]
    assert figures(section(text, "Rewards by step")) == [1, 5, 1, means[0], 1, 5, 1, means[1]]
    by_arm = {arm.id: [one.reward for group in groups for one in group.scored if one.variant == arm.id] for arm in ARMS}
    race = sorted((sum(of) / len(of), len(of), 3 * place) for place, of in enumerate(by_arm.values()))[::-1]  # pyrefly: ignore[no-matching-overload]
    assert figures(section(text, "The race")) == [number for row in race for number in row]
    assert figures(section(text, "Spent by stage")) == [1, 20, 5]
    assert 'hx-get="/tfgrpo/run/live?id=' in text


async def test_a_run_that_takes_long_to_count_stands_before_it_is_counted(
    front: Serve, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "_RUN_PATIENCE", 0.0)
    with Store(shelf.path) as store:
        store.end(RUN.id, "finished", Usage(1, 20, 5), {})
    at, asked = await front(Recorder()), "run"
    while "Being counted" in (text := await page(at, f"{asked}?id={RUN.id}")):
        assert (RUN.id in text, "Settings" in text, charts(text)) == (True, asked == "run", [])
        assert 'hx-get="/tfgrpo/run/live?id=' in text
        assert 'hx-trigger="load delay:300ms"' in text
        asked = "run/live"
        await asyncio.sleep(0.05)
    assert (asked, len(charts(text)), "hx-trigger" in text) == ("run/live", 2, False)
    assert "Being counted" not in await page(at, f"run?id={RUN.id}"), "it is known by now"
    await page(at, "run?id=run_none", 404)


def test_what_was_counted_long_ago_or_failed_is_not_shown_while_it_is_counted_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run that was quiet then may go on by now."""
    go_on, values = threading.Event(), iter(["quiet", "going", "gone", ""])

    def count(_: str) -> str:
        value = next(values)
        assert value in ("quiet", "gone") or go_on.wait(PATIENCE)
        if value == "gone":
            raise StoreError("there is no such run")
        return value

    counting = Counting(count, 0.0)
    assert counting.of("run", PATIENCE) == "quiet"
    assert counting.of("run", 0.0) == "quiet"
    with monkeypatch.context() as later:
        later.setattr("tfgrpo.serve.dashboard.counting._OLD", 0.0)
        assert counting.of("run", 0.0) is None
    go_on.set()
    assert counting.of("run", PATIENCE) == "going"
    with pytest.raises(StoreError):
        counting.of("other", PATIENCE)
    go_on.clear()
    assert counting.of("other", 0.0) is None
    go_on.set()
    counting.close()


async def test_a_run_that_has_ended_is_not_looked_at_again_and_shows_the_race_as_it_told_it(
    front: Serve, shelf: Shelf
) -> None:
    row = {"arm": ARMS[0].id, "source": "frozen", "reward": 0.5, "best": 0.75, "rollouts": 9, "tokens": 0}
    lap = {"step": 0, "arms": [{**row, "left": True}, {**row, "arm": ARMS[1].id, "left": False}]}
    with Store(shelf.path) as store:
        store.end(RUN.id, "finished", Usage(1, 20, 5), {"race": [lap], "notes": ["one " + HOSTILE[0]]})
    text = await page(await front(Recorder()), f"run?id={RUN.id}")
    assert figures(section(text, "The race")) == [0.5, 0.75, 9, 0] * 2
    assert "hx-trigger" not in text


async def test_rollouts_stand_beside_their_answers_a_page_at_a_time(front: Serve, shelf: Shelf) -> None:
    tasks = [replace(TASK, input=f"q{n}", answer=f"a{n}") for n in range(23)]
    with Store(shelf.path) as store:
        store.add_tasks(tasks)
        for task in tasks:
            one = Rollout(task, 1, 0, PRIOR.id, text=f"said of {task.input}", reward=0.5)
            store.add_group(RUN.id, Group(task, 1, (one,) * 1))
    at = await front(Recorder())
    seen = []
    for number in (1, 2, 3):
        text = await page(at, f"rollouts?run={RUN.id}&step=2&page={number}")
        seen += re.findall(r"said of (q\d+)", text)
        assert ('rel="next"' in text, 'rel="prev"' in text) == (number < 3, number > 1)
        assert len(text) < 60_000
    assert sorted(seen) == sorted(str(task.input) for task in tasks)
    beside = re.search(
        r"q7</bdi>.*?<b><bdi>(a\d+)</bdi>.*?said of (q\d+)",
        "".join([text, *[await page(at, f"rollouts?run={RUN.id}&step=2&page={number}") for number in (1, 2)]]),
        re.DOTALL,
    )
    assert beside and beside.groups() == ("a7", "q7")


async def test_a_long_text_is_cut_in_pages_and_whole_by_itself(front: Serve, shelf: Shelf) -> None:
    at = await front(Recorder())
    with Store(shelf.path) as store:
        (group, *_) = store.group_page(RUN.id)
    text = await page(at, f"rollout?group={group.id}&sample=4")
    assert len(text) < 60_000
    assert figures(section(text, "Answered")) == [20_000, 1_000_000]
    answer = await at.in_process.get(f"{HOME}rollout?group={group.id}&sample=4&whole=1")
    assert (answer.text, answer.headers["content-type"]) == ("x" * 1_000_000, "text/plain; charset=utf-8")
    assert len(await page(at, "namespace?name=support")) < 100_000


@pytest.mark.parametrize("missing", [True, False])
async def test_an_empty_store_says_what_to_do_next(missing: bool, front: Serve, shelf: Shelf) -> None:
    file_of(shelf).unlink()
    if not missing:
        Store(shelf.path).close()
    text = await page(await front(Recorder()), "")
    assert f"tfgrpo learn tasks.jsonl --reward exact --model MODEL --store {shelf.path}" in text


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("namespace?name=nobody", 404, "no namespace"),
        ("namespace", 400, "wants ?name="),
        ("run?id=nope", 404, "there is no run nope"),
        ("run?id=%3Cb%3E", 404, "there is no run &lt;b&gt;"),
        ("rollouts?group=99999", 404, "there is no group"),
        ("rollout?group=x&sample=y", 404, "there is no group"),
        ("prior?id=nope", 404, "there is no prior"),
        ("nowhere", 404, "there is no such page"),
    ],
)
async def test_what_is_not_there_is_said_on_a_page(path: str, status: int, said: str, front: Serve) -> None:
    assert said in await page(await front(Recorder()), path, status)


async def test_a_store_that_cannot_be_read_is_said_on_a_page(front: Serve, shelf: Shelf) -> None:
    at = await front(Recorder())
    file_of(shelf).write_bytes(b"no store" * 100)
    assert "503" not in await page(at, "", 503)


# Hostile texts


async def test_what_models_and_users_wrote_stays_text_and_what_is_hidden_is_shown(front: Serve, shelf: Shelf) -> None:
    at = await front(Recorder())
    with Store(shelf.path) as store:
        (group, *_) = store.group_page(RUN.id)
        named = f"ns {HOSTILE[0]}"
        store.set_state(named, PRIOR.id, "live", frame=FRAME)
    paths = [
        "", "namespace?name=support", "traffic?name=support", f"run?id={RUN.id}", f"rollouts?run={RUN.id}",
        f"rollouts?group={group.id}", *(f"rollout?group={group.id}&sample={n}" for n in range(4)),
        f"prior?id={HOSTILE_PRIOR.id}&namespace=support", str(httpx2.URL("namespace", params={"name": named})),
    ]  # fmt: skip
    for path in paths:
        text = await page(at, path)
        assert not re.search(r"<script(?! defer src=\"/tfgrpo/assets/)|<img|<style|<b>Inst|<i>|\son\w+=\"", text), path
        assert "alert(2)>" not in text and not re.search(r"\b622521\b", text), path  # 789 * 789
        assert not re.search("[\u202e\u2066\u0000\x1b]", text), path
        assert not re.search(r'(?:href|src)="(?!/tfgrpo/|#)', text), path
    text = await page(at, "namespace?name=support")
    sums = "{{ 789 * 789 }} {% raw %} ${789*789}"
    for one in ("&lt;script&gt;alert(1)&lt;/script&gt;", sums, r"right\u202eto left\u2066"):
        assert one in text


def test_no_template_holds_a_script_or_a_style_and_none_turns_escaping_off() -> None:
    for file in sorted((FOLDER / "templates").iterdir()):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"\sstyle=|<style|\son[a-z]+=|<script(?! defer src)|\|\s*safe|autoescape|hx-on", text), (
            file
        )


async def test_pages_may_load_nothing_of_others_and_are_small(front: Serve, shelf: Shelf) -> None:
    at = await front(Recorder())
    for path in ("namespace?name=support", f"run?id={RUN.id}"):
        answer = await at.in_process.get(HOME + path)
        assert answer.headers["content-security-policy"].startswith("default-src 'self';")
        assert (answer.headers["x-content-type-options"], answer.headers["cache-control"]) == ("nosniff", "no-store")
        files = [unescape(one) for one in re.findall(r'(?:href|src)="(/tfgrpo/assets/[^"]+)"', answer.text)]
        answers = [await at.in_process.get(one) for one in files]
        assert {one.status_code for one in answers} == {200}
        assert len(answer.content) + sum(len(one.content) for one in answers) < 300_000
        assert all("immutable" in one.headers["cache-control"] for one in answers)


def test_files_of_others_are_as_they_were_published_and_named_with_their_licence() -> None:
    listed = dict(
        re.findall(r"^\| `([\w.]+)` \|.*\| ([0-9a-f]{64}) \|", (FOLDER / "assets" / "LICENSES.md").read_text(), re.M)
    )
    others = {path for path, _ in ASSETS.values() if ".min." in path.name}
    assert {path.name: sha256(path.read_bytes()).hexdigest() for path in others} == listed


def test_the_proxy_starts_without_what_only_the_dashboard_needs_and_that_without_what_learning_needs() -> None:
    program = """if True:
        import sys, tfgrpo.serve.proxy
        print(*{'starlette', 'jinja2', 'tfgrpo.serve.dashboard'} & {*sys.modules})
        import tfgrpo.serve.dashboard.app
        print(*{'openai', 'matplotlib', 'tfgrpo.learning'} & {*sys.modules})
    """
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


# Who may see it


async def test_off_this_machine_it_wants_an_admin_key_and_keeps_none_in_the_browser(front: Serve, shelf: Shelf) -> None:
    plain, admin = given_key(file_of(shelf)), given_key(file_of(shelf), admin=True)
    at = await front(Recorder(), door=FAR)
    assert "Admin key" in await page(at, "namespace?name=support", 401)
    assert "Admin key" in await page(at, "", 401, authorization=f"Bearer {plain}")
    assert "Namespaces" in await page(at, "", authorization=f"Bearer {admin}")
    assert (await at.in_process.get(f"{HOME}assets/report.css")).status_code == 200

    async def log_in(key: str, origin: str = "http://proxy", target: str = HOME) -> httpx2.Response:
        form = {"key": key, "next": target}
        return await at.in_process.post(f"{HOME}login", data=form, headers={"origin": origin})

    assert [(await log_in(one)).status_code for one in ("", "tfgrpo-1-x", plain)] == [403] * 3
    assert (await log_in(admin, origin="http://evil")).status_code == 403
    answer = await log_in(admin, target=f"{HOME}namespace?name=support")
    cookie = answer.headers["set-cookie"]
    assert (answer.status_code, answer.headers["location"]) == (303, f"{HOME}namespace?name=support")
    assert {"HttpOnly", "SameSite=strict", "Path=/tfgrpo/"} <= set(cookie.split("; "))
    assert admin not in cookie and admin.split("-", 2)[2] not in cookie
    assert "Roll back" in await page(at, "namespace?name=support")
    for target in ("//evil.example", "https://evil.example", "/tfgrpo//evil", "/tfgrpo/\\evil", "/other"):
        assert (await log_in(admin, target=target)).headers["location"] == HOME
    with Store(shelf.path) as store:
        store.revoke_key(admin.split("-")[1])
    shelf.refresh()
    await page(at, "", 401)


async def test_a_session_of_another_server_or_of_yesterday_is_none(front: Serve, shelf: Shelf) -> None:
    admin = given_key(file_of(shelf), admin=True)
    one, other = await front(Recorder(), door=FAR), await front(Recorder(), door=FAR)
    answer = await one.in_process.post(f"{HOME}login", data={"key": admin}, headers={"origin": "http://proxy"})
    value = answer.headers["set-cookie"].partition(";")[0]
    await page(one, "", 200)
    await page(other, "", 401, cookie=value)
    name, _, rest = value.partition("=")
    id_, ends, code = rest.split(".")
    forged = [f"{id_}.{int(ends) + 1}.{code}", f"{id_}.{ends}.", f"{id_}.{ends}", "..", f"{id_}.²²²²²²²²²².{code}"]
    one.in_process.cookies.clear()
    for each in forged:
        answer = await one.in_process.get(HOME, headers=[(b"cookie", f"{name}={each}".encode("latin-1", "replace"))])
        assert answer.status_code == 401, each


async def test_on_this_machine_it_is_for_no_page_of_others(front: Serve) -> None:
    at = await front(Recorder(), door=LOCAL)
    await page(at, "", 200, host="localhost")
    await page(at, "", 403, host="evil.example")
    await page(at, "", 403, host="localhost", origin="http://evil.example")
    await page(at, "", 403, **{"host": "localhost", "sec-fetch-site": "cross-site"})


# Buttons


async def test_buttons_do_what_they_say_and_write_it_down(front: Serve, shelf: Shelf) -> None:
    at = await front(Recorder())
    answer = await pressed(at, "rollback", prior=HOSTILE_PRIOR.id, why="it <b>hurts</b>")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{HOME}namespace?name=support#history")
    with Store(shelf.path) as store:
        live = store.live("support")
        assert live and live.prior.id == PRIOR.id
        said = store.history_of("support")[-1]
        assert (said.actor, said.action, said.prior) == ("person", "rolled back", HOSTILE_PRIOR.id)
        assert store.lineage("support")[-1].why == "it <b>hurts</b>"
    assert "it &lt;b&gt;hurts&lt;/b&gt;" in section(await page(at, "namespace?name=support"), "History")
    assert (await pressed(at, "use", prior=HOSTILE_PRIOR.id)).status_code == 303
    with Store(shelf.path) as store:
        live = store.live("support")
        assert live and (live.prior.id, live.state) == (HOSTILE_PRIOR.id, "live")
        assert store.lineage("support")[-1].by == "dashboard" or store.lineage("support")[-2].by == "dashboard"
        assert [(one.actor, one.action) for one in store.history_of("support")][-1] == ("person", "used")


CANARY = Prior((Experience("When tried, say so."),), template=PRIOR.template)


def put_out(path: Path) -> None:
    """A canary whose trial has begun, and feedback on it and on what it is held against."""
    with Store(path) as store:
        store.add_prior(CANARY)
        store.set_state("support", CANARY.id, "candidate", frame=FRAME)
        do_in_store(store, "support", Action("canary", "to see", CANARY.id, {
            "canary": 1, "level": 0.03, "share": 0.25, "live": HOSTILE_PRIOR.id}))  # fmt: skip
        arms = ["canary", "live", "live", "live"] * 20
        draws = [
            {"of": HOSTILE_PRIOR.id, "canary": CANARY.id, "arm": arm, "p": 0.5, "key": f"k{n}"}
            for n, arm in enumerate(arms)
        ]
        calls = [
            Inference(f"tried_{n}", "support", None, str(draw["arm"]), "chat", "m", 200, 0.5, draw=draw)
            for n, draw in enumerate(draws)
        ]
        told = [
            Feedback(call.id, "support", None, call.variant, float(n % 7 > 1 if call.variant == "live" else n % 9 > 0))
            for n, call in enumerate(calls)
        ]
        store.add_calls_in_use(calls, told)


async def test_the_bets_on_a_canary_are_those_that_the_autopilot_decides_by(front: Serve, shelf: Shelf) -> None:
    put_out(file_of(shelf))
    with Store(shelf.path) as store:
        state = deployed_state(store, "support")
        facts = facts_of(store, "support", state, AutopilotTerms(), datetime.now(UTC))
    found = facts.comparison
    assert found and found.pairs == 20
    text = await page(await front(Recorder()), "traffic?name=support")
    bets = section(text, "Traffic").partition('id="bets"')[2]
    assert figures(bets) == [
        found.difference, 20, found.tried, found.control, found.benefit.e_value, 1 / 0.03, found.harm.e_value,
        1 / HARM_LEVEL, 1,
    ]  # fmt: skip
    drawn = charts(text)[-1]
    assert [one["values"] for one in drawn["series"]] == [[0, *found.benefit.path], [0, *found.harm.path]]
    assert [one["value"] for one in drawn["thresholds"]] == [math.log(1 / 0.03), math.log(1 / HARM_LEVEL)]


async def test_a_canary_with_more_feedback_than_is_gone_through_is_said_to_have_it(shelf: Shelf) -> None:
    put_out(file_of(shelf))
    with Store(shelf.path) as store:
        found = canary_look(store, "support", most=79)
        assert found and canary_look(store, "support", most=80) != found
    look = TrafficLook("2026-11-26T12:00:00+00:00", (), (), None, (), found)
    text = render("traffic", {"traffic": look, "name": "support"}).partition('id="bets"')[2]
    assert "more feedback than is gone through here" in text and not charts(text)


async def test_what_experiences_are_worth_in_use_is_what_retires_them(front: Serve, shelf: Shelf) -> None:
    draws = [
        {"of": HOSTILE_PRIOR.id, "arm": "live", "p": 1, "key": f"k{n}", "p_left_out": 0.5,
         "left_out": [HELD[0].id] if n % 2 else []}
        for n in range(60)
    ]  # fmt: skip
    calls = [Inference(f"l_{n}", "support", None, "live", "chat", "m", 200, 0.5, draw=d) for n, d in enumerate(draws)]
    told = [Feedback(one.id, "support", None, "live", float(n % 3 > 0)) for n, one in enumerate(calls)]
    with Store(shelf.path) as store:
        store.add_calls_in_use(calls, told)
        (found,) = live_in_use(store, "support").effects
    text = (await page(await front(Recorder()), "traffic?name=support")).partition('id="in-use"')[2].partition("</ol>")
    assert figures(text[0]) == [found.mean, found.low, found.high, 30]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text[0]


async def test_whether_the_live_prior_still_pays_is_the_bet_that_goes_back(front: Serve, shelf: Shelf) -> None:
    arms = ["live", "live", "live", "holdback"] * 30
    draws = [{"of": HOSTILE_PRIOR.id, "arm": arm, "p": 0.75, "key": f"k{n}"} for n, arm in enumerate(arms)]
    calls = [Inference(f"h_{n}", "support", None, "live", "chat", "m", 200, 0.5, draw=d) for n, d in enumerate(draws)]
    told = [Feedback(one.id, "support", None, "live", float(n % 4 == 3)) for n, one in enumerate(calls)]
    with Store(shelf.path) as store:
        store.add_calls_in_use(calls, told)
        facts = facts_of(store, "support", deployed_state(store, "support"), AutopilotTerms(), datetime.now(UTC))
    text = await page(await front(Recorder()), "traffic?name=support")
    (drawn,) = (one for one in charts(text) if one["series"][0]["label"] == "that it gains nothing")
    assert drawn["series"][0]["values"] == [0, *facts.drift.path]
    assert [one["value"] for one in drawn["thresholds"]] == [math.log(10_000)]
    assert figures(text.partition('id="drift"')[2].partition("</p>")[0])[:3] == [90, 30, facts.drift.e_value]


@pytest.mark.parametrize(
    ("action", "live", "done"),
    [("promote", CANARY.id, "promoted"), ("end-canary", HOSTILE_PRIOR.id, "rolled back")],
)
async def test_a_person_decides_about_the_canary(action: str, live: str, done: str, front: Serve, shelf: Shelf) -> None:
    put_out(file_of(shelf))
    at = await front(Recorder())
    assert "/tfgrpo/do/promote" in await page(at, "namespace?name=support")
    assert (await pressed(at, action, prior=PRIOR.id)).status_code == 409  # it is not the canary
    assert (await pressed(at, action, prior=CANARY.id, why="seen enough")).status_code == 303
    with Store(shelf.path) as store:
        now = store.live("support")
        assert (now.prior.id if now else None, store.canary("support")) == (live, None)
        said = store.history_of("support")[-1]
    assert (said.actor, said.action, said.prior, said.said) == ("person", done, CANARY.id, "seen enough")
    assert "/tfgrpo/do/promote" not in await page(at, "namespace?name=support")


async def test_what_the_autopilot_asks_can_be_approved_and_is_asked_no_more(front: Serve, shelf: Shelf) -> None:
    put_out(file_of(shelf))
    asked = Action("tell", "it could go live <b>", CANARY.id, about=f"ask promote {CANARY.id} 1")
    with Store(shelf.path) as store:
        do_in_store(store, "support", asked)
    at = await front(Recorder())
    assert "it could go live &lt;b&gt;" in section(await page(at, "namespace?name=support"), "The autopilot asks")
    assert (await pressed(at, "approve", prior=PRIOR.id)).status_code == 409
    assert (await pressed(at, "approve", prior=CANARY.id)).status_code == 303
    with Store(shelf.path) as store:
        assert deployed_state(store, "support").approved == {CANARY.id}
    assert "The autopilot asks" not in await page(at, "namespace?name=support")


async def test_an_evaluation_shows_what_it_compares_while_it_goes_on_and_after(front: Serve, shelf: Shelf) -> None:
    run = Run("eval", "support", FRAME, {"repeats": 2}, (TASK.id,), "exact", PRIOR.id)
    made = Rollout(TASK, 0, 0, PRIOR.id, text="said", reward=0.5)
    with Store(shelf.path) as store:
        store.begin(run)
        store.add_group(run.id, Group(TASK, 0, (made,)))
    at = await front(Recorder())
    assert figures(section(await page(at, f"run?id={run.id}"), "Compared")) == [0.5]
    with Store(shelf.path) as store:
        store.end(run.id, "finished", Usage(2, 3, 4), {"means": {"frozen": 0.25, "learned": 0.75}})
    assert figures(section(await page(at, f"run?id={run.id}"), "Compared")) == [0.25, 0.75]


async def test_many_namespaces_stand_on_several_pages(front: Serve, shelf: Shelf) -> None:
    with Store(shelf.path) as store:
        for number in range(61):
            store.set_state(f"team/{number:02}", PRIOR.id, "live", frame=FRAME)
    at = await front(Recorder())
    first, second = await page(at, ""), await page(at, "?page=2")
    assert ('rel="next"' in first, 'rel="next"' in second, 'rel="prev"' in second) == (True, False, True)
    assert "team/00" in first and "team/60" in second and "team/60" not in first
    assert "team/00" in await page(at, "namespace?name=team/00")


async def test_what_a_button_cannot_do_is_said_and_changes_nothing(front: Serve, shelf: Shelf) -> None:
    at = await front(Recorder())
    with Store(shelf.path) as store:
        before = store.lineage("support"), store.history_of("support")
    for action, prior, said in [
        ("use", HOSTILE_PRIOR.id, "is live in namespace support already"),
        ("use", "prior_none", "there is no prior"),
        ("rollback", PRIOR.id, "is live by now, and not what was to be rolled back"),
    ]:
        answer = await pressed(at, action, prior=prior)
        assert (answer.status_code, said in unescape(answer.text)) == (409, True), answer.text
    assert (await pressed(at, "nothing")).status_code == 404
    with Store(shelf.path) as store:
        assert (store.lineage("support"), store.history_of("support")) == before


async def test_no_button_heeds_a_form_from_elsewhere(front: Serve, shelf: Shelf) -> None:
    admin = given_key(file_of(shelf), admin=True)
    at = await front(Recorder())
    await at.in_process.post(f"{HOME}login", data={"key": admin}, headers={"origin": "http://proxy"})
    (token, *_) = await tokens(at)
    form = {"namespace": "support", "prior": HOSTILE_PRIOR.id, "token": token}
    sent = [
        (form, {"origin": "http://evil.example"}),
        (form, {"origin": "null"}),
        (form, {}),
        (form, {"origin": "http://proxy", "sec-fetch-site": "same-site"}),
        (form, {"sec-fetch-site": "none"}),
        ({**form, "token": ""}, {"origin": "http://proxy"}),
        ({**form, "token": "0" * 64}, {"origin": "http://proxy"}),
        ({"namespace": "support"}, {"origin": "http://proxy"}),
    ]
    for body, headers in sent:
        answer = await at.in_process.post(f"{HOME}do/rollback", data=body, headers=headers)
        assert answer.status_code in (400, 403), (body, headers)
    assert (await at.in_process.get(f"{HOME}do/rollback")).status_code == 405
    too_long = {**form, "why": "x" * 70_000}
    answer = await at.in_process.post(f"{HOME}do/rollback", data=too_long, headers={"origin": "http://proxy"})
    assert (answer.status_code, "too long" in answer.text) == (400, True)
    many = {f"a{number}": "1" for number in range(30)}
    answer = await at.in_process.post(f"{HOME}login", data=many, headers={"origin": "http://proxy"})
    assert (answer.status_code, "more than 20 fields" in answer.text) == (400, True)
    with Store(shelf.path) as store:
        live = store.live("support")
    assert live and live.prior.id == HOSTILE_PRIOR.id
    tls = {"host": "inner:8000", "origin": "https://tfgrpo.example", "sec-fetch-site": "same-origin"}
    answer = await at.in_process.post(f"{HOME}do/use", data=form, headers=tls)
    assert answer.status_code == 409  # heeded: it is live already
    at.in_process.cookies.clear()
    answer = await at.in_process.post(f"{HOME}do/rollback", data=form, headers={"origin": "http://proxy"})
    assert answer.status_code == 401


async def test_a_store_that_is_only_read_says_so_at_the_button(front: Serve, shelf: Shelf, tmp_path: Path) -> None:
    go_live(tmp_path / "other.db", OTHER)
    at = await front(Recorder())
    held = await tokens(at)
    file_of(shelf).write_bytes(b"damaged" * 100)
    answer = await pressed(at, "rollback", held[0], prior=HOSTILE_PRIOR.id)
    assert answer.status_code == 503
