"""Feedback on calls through the proxy, and what is recorded of them, with a real store and a real upstream."""

import asyncio
import gzip
import io
import json
import logging
import pickle
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.live import MODEL, OTHER, PRIOR, go_live
from tests.serve.fronts import BODY, PATIENCE, QUESTION, Front, Recorder, Serve
from tfgrpo.errors import InputError, StoreError
from tfgrpo.records import Frame, Run, Task
from tfgrpo.serve.call_info import INFERENCE_HEADER
from tfgrpo.serve.keys import new_key
from tfgrpo.serve.places import StorePlace
from tfgrpo.serve.proxy import Recording, Shelf
from tfgrpo.serve.proxy.metrics import Metrics
from tfgrpo.serve.proxy.record import Traffic
from tfgrpo.serve.proxy.waiting import Pickled, WaitingCalls, give_memory_back
from tfgrpo.serve.recording import Recorder as ClientRecorder
from tfgrpo.serve.writing import RecordedCall, Writing, as_inference, write_batches
from tfgrpo.store import Feedback, Inference, Store, StorePath
from tfgrpo.testing import ScriptedModel

FEEDBACK = "/tfgrpo/v1/feedback"
ALL = Recording(1.0)
in_thread = pytest.mark.usefixtures("written_in_thread")


async def written(path: StorePath, is_there: Callable[[Store], object]) -> None:
    """Wait until something is in the store."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with Store(path) as store:
                if is_there(store):
                    return
            await asyncio.sleep(0.05)


async def say(at: Front, said: object, **headers: str) -> Any:
    content = said if isinstance(said, bytes) else json.dumps(said).encode()
    return await at.outside.post(FEEDBACK, content=content, headers=headers)


async def test_calls_are_recorded_with_their_texts_and_feedback_finds_them(front: Serve, shelf: Shelf) -> None:
    model = ScriptedModel(lambda body: "the key is AKIAIOSFODNN7EXAMPLE")
    at = await front(model.app, recording=ALL)
    async with openai.AsyncOpenAI(api_key="sk", base_url="http://proxy/v1", http_client=at.of_sdk) as client:
        raw = await client.chat.completions.with_raw_response.create(model=MODEL, messages=QUESTION)
        stream = await client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True)
        assert [chunk async for chunk in stream]
    one = raw.headers[INFERENCE_HEADER]
    assert (await say(at, {"inference_id": one, "reward": 0.5, "comment": "my key: AKIAIOSFODNN7EXAMPLE"})).json() == {
        "taken": 1
    }
    assert (await say(at, {"inference": one, "label": "The key is Akiaiosfodnn7example"})).status_code == 200
    await written(shelf.path, lambda store: len(store.inferences("default")) == 2 and store.feedback("default"))
    with Store(shelf.path) as store:
        whole, streamed = store.inferences("default")
        (said,) = store.feedback("default")
    assert (whole.id, whole.prior, whole.variant, whole.surface) == (one, PRIOR.id, "live", "chat")
    assert (whole.model, whole.status, whole.shadow_of) == (MODEL, 200, None)
    assert whole.added is not None
    assert 0 <= whole.added <= whole.seconds
    assert json.loads(whole.request)["messages"] == QUESTION
    assert "AKIA" not in whole.response + streamed.response + said.comment
    assert json.loads(whole.response)["choices"][0]["message"]["content"].startswith("the key is [secret_")
    assert streamed.response.startswith("data:")
    assert (said.inference, said.variant, said.prior) == (one, "live", PRIOR.id)
    async with asyncio.timeout(PATIENCE):  # what is written is counted a moment later
        while "tfgrpo_recorded_total 2.0" not in (await at.outside.get("/metrics")).text:
            await asyncio.sleep(0.01)


SAID: list[tuple[Any, int, str]] = [
    (b"{", 400, "no JSON"),
    (b'{"inference_id": "ID", "reward": NaN}', 400, "no JSON"),
    ([], 400, "from 1 to 1,000"),
    ("inf_1", 400, "is an object"),
    ({"inference_id": "ID", "reward": 1.5}, 400, "number from 0 to 1"),
    ({"inference_id": "ID", "reward": "good"}, 400, "number from 0 to 1"),
    ({"inference_id": "ID"}, 400, "a reward from 0 to 1, or a label"),
    ({"inference_id": "ID", "label": " "}, 400, "label must be"),
    ({"inference_id": "ID", "rewards": 1}, 400, "no field 'rewards'"),
    ({"inference_id": 7, "reward": 1}, 400, "x-tfgrpo-inference-id"),
    ({"inference_id": "ID", "reward": 1, "comment": {}}, 400, "must be a text"),
    ({"inference_id": "ID", "reward": 1, "comment": "x" * 10_001}, 400, "at most 10,000"),
    ({"inference_id": "inf_unknown\r\nx: y", "reward": 1}, 404, "no call inf_unknown"),
    ({"inference_id": "ID", "label": "biling"}, 422, "no task of namespace 'default' knows"),
    ({"inference_id": "ID", "label": "refunds", "new_label": "yes"}, 400, "true or false"),
    ({"inference_id": "ID", "label": "refunds", "new_label": True}, 200, ""),
    ({"inference_id": "ID", "reward": True}, 200, ""),
    ({"inference_id": "ID", "label": " Billing"}, 200, ""),
    ([{"inference_id": "ID", "reward": 1}, {"inference_id": "inf_2", "reward": 1}], 200, "unknown_inference"),
    (b'{"inference_id": "ID", "label": ' + b"[" * 900 + b"]" * 900 + b"}", 400, "label must be"),
    ({"inference_id": "ID", "label": [[[["\0"]]]]}, 422, "no task of namespace"),
    ({"inference_id": "ID", "reward": 1e400}, 400, ""),
    (b"x" * 2**21, 413, "at most 1,048,576 bytes"),
]


@in_thread
async def test_feedback_that_cannot_be_taken_is_told_in_one_line(front: Serve, shelf: Shelf) -> None:
    tasks = [Task(f"Which queue, {number}?", answer) for number in range(3) for answer in ("billing", "sales")]
    with Store(shelf.path) as store:
        store.add_tasks(tasks)
        store.begin(Run("learn", "default", Frame(MODEL), {}, tuple(task.id for task in tasks), "exact"))
    at = await front(ScriptedModel(lambda body: "billing").app)
    one = (await at.chat()).headers[INFERENCE_HEADER]
    for said, status, told in SAID:
        text = said if isinstance(said, bytes) else json.dumps(said).encode()
        found = await say(at, text.replace(b'"ID"', json.dumps(one).encode()))
        assert (found.status_code, told in found.text) == (status, True), (said, found.text)
        assert "\n" not in found.text
        assert len(found.text) < 600


@in_thread
async def test_callers_who_are_slow_to_say_it_keep_nobody_out(front: Serve) -> None:
    at = await front(ScriptedModel(lambda body: "billing").app)
    one, held = (await at.chat()).headers[INFERENCE_HEADER], asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await held.wait()

    slow = [asyncio.create_task(at.in_process.post(FEEDBACK, content=slowly())) for _ in range(120)]
    await asyncio.sleep(0.05)
    assert (await say(at, {"inference_id": one, "reward": 1})).status_code == 200
    held.set()
    assert {answer.status_code for answer in await asyncio.gather(*slow)} == {400}


@in_thread
async def test_a_key_gives_feedback_on_calls_of_its_own_namespace(front: Serve, shelf: Shelf) -> None:
    go_live(shelf.path, namespace="other")
    ours, theirs, admin = new_key("a", namespace="default"), new_key("b", namespace="other"), new_key("c", admin=True)
    with Store(shelf.path) as store:
        for _, made in (ours, theirs, admin):
            store.add_key(made)
    at = await front(ScriptedModel(lambda body: "BILL").app)
    one = (await at.chat(authorization=f"Bearer {ours[0]}")).headers[INFERENCE_HEADER]
    given = {"inference_id": one, "reward": 1}
    asked = [await say(at, given, **{"x-api-key": text}) for text in (ours[0], theirs[0], admin[0], "sk-nobody")]
    assert [found.status_code for found in asked] == [200, 403, 200, 401]
    assert (await at.in_process.get(FEEDBACK, headers={"x-api-key": ours[0]})).status_code == 405


@in_thread
async def test_a_call_of_before_is_known_from_the_store_and_its_label_is_held_against_its_answer(
    front: Serve, shelf: Shelf
) -> None:
    answered = json.dumps({"choices": [{"message": {"role": "assistant", "content": "Billing"}}]})
    calls = [
        Inference(f"inf_{text}", "default", PRIOR.id, "canary", "chat", MODEL, 200, 0.5, "{}", text)
        for text in (answered, "")
    ]
    with Store(shelf.path) as store:
        store.add_calls_in_use(calls)
    at = await front(ScriptedModel(lambda body: "").app)
    found = await say(at, [{"inference": call.id, "label": "billing"} for call in calls])
    assert found.json() == {"taken": 2}
    await written(shelf.path, lambda store: len(store.feedback("default")) == 2)
    with Store(shelf.path) as store:
        known, unknown = store.feedback("default")
    assert (known.reward, known.label, known.variant) == (1.0, "billing", "canary")
    assert (unknown.reward, unknown.label) == (None, "billing")


@in_thread
async def test_a_call_of_another_worker_or_another_proxy_is_waited_for(
    front: Serve, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfgrpo.serve.proxy.feedback._OTHERS_SECONDS", 0.05)
    monkeypatch.setattr("tfgrpo.serve.proxy.feedback._TRIES", int(20 * PATIENCE))
    model, kept = ScriptedModel(lambda body: "BILL"), Recording(0.0)
    one, other = await front(model.app, recording=kept), await front(model.app, recording=kept)
    await one.chat()  # its process is up
    await written(shelf.path, lambda store: store.inferences("default"))
    said = await say(other, {"inference_id": (await one.chat()).headers[INFERENCE_HEADER], "reward": 1})
    assert said.json() == {"taken": 1}


@in_thread
async def test_callers_who_make_ids_up_keep_nobody_out(
    front: Serve, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"_OTHERS_SECONDS": 0.3, "_TRIES": 1, "_AT_ONCE": 1, "_WAITING_OF_A_KEY": 2}.items():
        monkeypatch.setattr(f"tfgrpo.serve.proxy.feedback.{name}", value)
    (bad, loud), (good, ours) = new_key("a"), new_key("b")
    with Store(shelf.path) as store:
        store.add_key(loud)
        store.add_key(ours)
    at = await front(ScriptedModel(lambda body: "BILL").app, recording=Recording(0.0))
    one = (await at.chat(authorization=f"Bearer {good}")).headers[INFERENCE_HEADER]

    async def made_up(number: int, key: str) -> int:
        await asyncio.sleep(0.05 * number)  # one after the other, and all of them within what the first one waits
        said = await say(at, {"inference_id": f"inf_{number:032x}", "reward": 1}, **{"x-api-key": key})
        return int(said.status_code)

    waiting = [asyncio.create_task(made_up(number, key)) for number, key in enumerate((bad, bad, bad, good))]
    assert await waiting[2] == 503, "of one key two may wait"
    assert not waiting[0].done()
    assert (await say(at, {"inference_id": one, "reward": 1}, **{"x-api-key": good})).json() == {"taken": 1}
    assert [await each for each in waiting] == [404, 404, 503, 404]


@in_thread
async def test_one_call_takes_feedback_some_times_and_no_more(
    front: Serve, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfgrpo.serve.proxy.feedback._TIMES_OF", 2)
    at = await front(ScriptedModel(lambda body: "BILL").app)
    one, other = [(await at.chat()).headers[INFERENCE_HEADER] for _ in range(2)]
    told = (await say(at, [{"inference_id": one, "reward": 0.1 * (n % 10)} for n in range(12)])).json()
    assert (told["taken"], [refused["code"] for refused in told["refused"]]) == (10, ["said_often"] * 2)
    assert (await say(at, {"inference_id": other, "reward": 1})).json() == {"taken": 1}
    assert (await say(at, {"inference_id": one, "reward": 1})).status_code == 429
    with monkeypatch.context() as full:
        full.setattr(Traffic, "add", lambda *_: False)
        assert {(await say(at, {"inference_id": other, "reward": 1})).status_code for _ in range(11)} == {503}
    assert (await say(at, {"inference_id": other, "reward": 1})).json() == {"taken": 1}, (
        "what was not taken is not counted"
    )
    await written(shelf.path, lambda store: [said.reward for said in store.feedback("default")] == [0.9, 1.0])


@in_thread
async def test_answers_that_are_packed_are_read_and_long_ones_and_strange_namespaces_left_out(
    front: Serve, shelf: Shelf
) -> None:
    said = json.dumps({"choices": [{"message": {"role": "assistant", "content": "x"}}]}).encode()
    upstream = Recorder(headers=[(b"content-encoding", b"gzip")], body=gzip.compress(said))
    at = await front(upstream, recording=ALL)
    await at.chat(**{"accept-encoding": "gzip, br, zstd"})
    assert upstream.headers()["accept-encoding"] == "gzip"
    await at.chat({**BODY, "messages": [{"role": "user", "content": "y" * 300_000}]})
    await at.chat(**{"x-tfgrpo-namespace": "nobody's"})
    await written(shelf.path, lambda store: len(store.inferences("default")) == 2)
    with Store(shelf.path) as store:
        short, long = store.inferences("default")
        assert store.inferences("nobody's") == ()
    assert json.loads(short.response) == json.loads(said)
    assert (long.request, long.response, long.model) == ("", "", MODEL)


def test_calls_that_are_recorded_do_not_have_the_store_read_anew(shelf: Shelf) -> None:
    shelf.refresh()
    held = shelf.held
    with Store(shelf.path) as store:
        store.add_calls_in_use([Inference("inf_1", "default", None, "none", "chat", MODEL, 200, 0.5)])
    shelf.refresh()
    assert shelf.held is held
    go_live(Path(str(shelf.path)), OTHER)
    shelf.refresh()
    assert shelf.held is not held
    shelf.close()


async def test_no_call_fails_where_the_store_cannot_be_written(
    front: Serve, shelf: Shelf, caplog: pytest.LogCaptureFixture
) -> None:
    at = await front(ScriptedModel(lambda body: "BILL").app, recording=Recording(0.0))
    Path(str(shelf.path)).write_bytes(b"no store at all, and long enough to be looked at" * 10)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert (await at.chat()).status_code == 200
            async with asyncio.timeout(PATIENCE):
                while 'tfgrpo_not_recorded_total{what="call"}' not in (await at.in_process.get("/metrics")).text:
                    await asyncio.sleep(0.1)
    assert len([line for line in caplog.messages if "dropped" in line]) == 1


async def test_the_store_of_a_new_proxy_is_there_before_its_first_call(tmp_path: Path) -> None:
    traffic = Traffic(tmp_path / "new.db", Recording(0.0), Metrics())
    traffic.start()
    try:
        async with asyncio.timeout(PATIENCE):
            while not (tmp_path / "new.db").exists():
                await asyncio.sleep(0.05)
    finally:
        await asyncio.to_thread(traffic.close)


class ByHand(Traffic):
    """It writes when it is told to, and nothing in between; a batch is kept instead of being written."""

    def __init__(self, path: Path, recording: Recording, come: Callable[["ByHand"], object]) -> None:
        super().__init__(path, recording, Metrics())
        self.written, self._come = list[list[RecordedCall | Feedback]](), come

    def start(self) -> None:
        pass

    def _write(self, batch: list[Pickled]) -> bool:
        self.written.append([item for part in batch for item in pickle.loads(part.items)])
        self._come(self)
        return len(self.written) < 200

    def ends(self) -> None:
        self._ending.set()
        self._write_waiting()


LAST = RecordedCall("inf_0", "default", None, "none", "chat", "m", 200, 0.1, 0.0, None, 1.0)


def test_calls_that_come_while_others_are_written_wait_for_the_next_batch(tmp_path: Path) -> None:
    traffic = ByHand(tmp_path / "s.db", Recording(0.0), lambda self: self.add(LAST))
    traffic.add(LAST)
    for looks in range(1, 4):  # of which there are two in a second
        traffic._write_waiting()
        assert len(traffic.written) == looks


def test_a_writer_that_is_slower_than_the_load_does_not_pause(tmp_path: Path) -> None:
    for together, text in ((1_200, b""), (20, b"x" * 150_000)):
        call, ends = LAST._replace(request=text, response=b"", texts=True), iter([LAST])

        def come(
            self: ByHand, together: int = together, call: RecordedCall = call, ends: Iterator[RecordedCall] = ends
        ) -> None:
            """Twice as much while a batch is written, and a last call when the end has come."""
            for _ in range(together if len(self.written) < 20 else 0):
                self.add(call)
            for last in ends if self._ending.is_set() else ():
                self.add(last)

        traffic = ByHand(tmp_path / "s.db", Recording(1.0), come)
        traffic.add(call)
        traffic._write_waiting()
        assert len(traffic.written) >= 20, "one look, and no pause until it has caught up"
        traffic.add(call)
        traffic.ends()
        assert LAST in traffic.written[-1]
        assert not traffic.waiting


def test_memory_is_given_back_once_nothing_waits_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = list[int]()
    traffic = ByHand(tmp_path / "s.db", Recording(1.0), lambda _: None)
    monkeypatch.setattr("tfgrpo.serve.proxy.record.give_memory_back", lambda: given.append(len(traffic.waiting)))
    for calls in (10, 1_500, 10):
        for _ in range(calls):
            traffic.add(LAST)
        traffic._write_waiting()
    assert given == [0]
    give_memory_back()


SAID_LAST = Feedback(LAST.id, "default", None, "none", 1.0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # which ends a thread
@pytest.mark.parametrize("end", ["killed", "full", "slow"])
def test_what_waits_at_the_end_and_cannot_be_written_is_counted_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, end: str
) -> None:
    let_go = threading.Event()

    class Ends(Traffic):
        def _new_child(self) -> Any:
            return None

        def _handed(self, batch: list[Pickled]) -> tuple[str, int]:
            if end == "killed":
                raise SystemExit
            if end == "slow":
                let_go.wait(PATIENCE)
            return ("the disk is full" if end == "full" else ""), 0

    monkeypatch.setattr("tfgrpo.serve.proxy.record._LAST_SECONDS", 0.05)
    traffic = Ends(tmp_path / "s.db", Recording(0.0), metrics := Metrics())
    if end == "slow":
        with monkeypatch.context() as before:
            before.setattr(traffic, "_handed", lambda _: ("the disk is full", 0))
            traffic._write([])
            before.setattr(traffic, "_handed", lambda _: ("", 0))
            traffic._write([])  # what is over is no reason
    for _ in range(1_500):  # more than one batch
        traffic.waiting.add(LAST)
    traffic.waiting.add(SAID_LAST)
    traffic.start()
    with caplog.at_level(logging.WARNING):
        traffic.close()
        assert not traffic.add(LAST), "and nothing comes later"
        let_go.set()
        assert traffic._thread
        traffic._thread.join(PATIENCE)
    lost = metrics._dropped.labels("call")._value.get(), metrics._dropped.labels("feedback")._value.get()
    calls, told = {
        "killed": (1_501, "written: 1,500 calls and 1 feedback are dropped"),
        "full": (1_501, "written (the disk is full): 500 calls and 1 feedback are dropped"),
        "slow": (501, "written: 500 calls and 1 feedback are dropped; 1,000 that are being written may be lost, too"),
    }[end]
    assert lost == (calls, 1)
    (line,) = (one for one in caplog.messages if "the proxy ends before all is" in one)
    assert line.endswith(told)


def test_what_a_client_has_not_written_at_the_end_is_counted_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tfgrpo.serve.recording._CLOSING_SECONDS", 0.05)
    place, let_go = StorePlace(go_live(tmp_path / "s.db"), "default"), threading.Event()
    strange = replace(as_inference(LAST), request=["no text"])  # pyrefly: ignore[bad-argument-type]  # as a bug of ours would

    def late() -> Inference:
        let_go.wait(PATIENCE)
        return as_inference(LAST)

    for end in (lambda recorder: recorder.end(0.05), ClientRecorder.close):
        let_go.clear()
        recorder = ClientRecorder(place)
        recorder.add(strange)
        assert recorder.flush(PATIENCE)
        assert recorder.dropped == 1
        recorder.add(late)
        while not recorder._waiting.empty():
            time.sleep(0.001)
        recorder.add(SAID_LAST)
        with caplog.at_level(logging.WARNING):
            end(recorder)
        assert recorder.dropped == 2
        assert caplog.messages[-1].startswith("1 calls and feedback that wait to be written are dropped")
        assert caplog.messages[-1].endswith("; 1 that are being written may be lost, too")
        let_go.set()


def test_one_label_that_cannot_be_handed_over_takes_nothing_else_with_it(tmp_path: Path) -> None:
    deep: Any = []
    for _ in range(100_000):  # pyrefly: ignore[non-convergent-recursion]  # so deep it is
        deep = [deep]
    traffic = ByHand(tmp_path / "s.db", Recording(1.0), lambda _: None)
    traffic.add(LAST)
    traffic.add(Feedback("inf_0", "default", None, "none", None, label=deep))
    traffic.add(LAST)
    traffic._write_waiting()
    assert traffic.written == [[LAST, LAST]]
    assert not traffic.waiting


def test_what_is_being_pickled_waits_still_so_that_the_end_does_not_leave_it_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = list[int]()
    waiting = WaitingCalls(lambda *_: counts.append(len(waiting)))
    for _ in range(3):
        waiting.add(LAST._replace(request=b"{}"))

    def looked_at(call: RecordedCall) -> RecordedCall:
        counts.append(len(waiting))
        return call

    monkeypatch.setattr(waiting, "_lean", looked_at)
    waiting.pickle()
    assert (min(counts), len(waiting)) == (3, 3)
    assert (sum(part.length for part in waiting.batch()), len(waiting)) == (3, 0)


def test_feedback_that_is_tried_again_goes_before_what_was_said_later() -> None:
    """The later counts."""
    waiting, first, second, third = (
        WaitingCalls(lambda *_: None),
        *(Feedback("inf_0", "default", None, "none", reward) for reward in (0.0, 0.5, 1.0)),
    )
    waiting.add(first)
    (failed,) = waiting.batch()
    waiting.add(second)
    waiting.pickle()
    waiting.add(third)
    assert waiting.add_again(failed.feedback)
    assert len(waiting) == 3
    assert [item for part in waiting.batch() for item in pickle.loads(part.items)] == [first, second, third]


def test_a_strange_answer_does_not_stop_what_is_written_and_no_label_keeps_a_secret(tmp_path: Path) -> None:
    strange = b'data: {"type": "content_block_start", "content_block": [1]}\n\ndata: {"type": "message_stop"}\n\n'
    call = RecordedCall("inf_1", "default", None, "none", "messages", "m", 200, 0.1, 0.0, None, 1.0, b"{}", strange)
    said = Feedback("inf_1", "default", None, "none", None, label={"queue": ["billing", "AKIAIOSFODNN7EXAMPLE"]})
    writing = Writing(tmp_path / "s.db", ALL)
    readable = call._replace(id="inf_2", surface="chat", response=b"{}", texts=True)
    assert writing.write([call._replace(texts=True), readable, said]) == ""
    assert writing.unreadable == 0
    assert writing.write([readable._replace(id="inf_3", encoding="gzip")]) == ""
    assert writing.unreadable == 1  # which the metrics count
    writing.close()
    with Store(tmp_path / "s.db") as store:
        (said,) = store.feedback("default")
    assert (said.reward, said.label["queue"][0], "AKIA" in str(said.label)) == (None, "billing", False)


def test_what_cannot_be_recorded_is_refused_at_the_start() -> None:
    wrongs: list[tuple[Any, ...]] = [(1.5,), (float("nan"),), (0.5, 0), (0.5, 1, -1)]
    for wrong in wrongs:
        with pytest.raises(InputError, match=r"--(record|keep)"):
            Recording(*wrong)


def test_feedback_is_written_once_where_what_is_old_cannot_be_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Keeps(Store):
        def forget_calls(self, **_: object) -> int:
            raise StoreError("another process keeps it locked")

    monkeypatch.setattr("tfgrpo.serve.writing.Store", Keeps)
    writing = Writing(go_live(tmp_path / "s.db"), Recording(0.0, days=1))
    assert writing.write([LAST, Feedback(LAST.id, "default", None, "none", 1.0)]) == ""  # else it would be handed again
    writing.close()


@in_thread
async def test_what_is_old_is_forgotten_though_no_call_comes(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfgrpo.serve.proxy.record.FORGETS_EVERY", 0.0)
    monkeypatch.setattr("tfgrpo.serve.proxy.record._SECONDS", 0.01)
    traffic = Traffic(shelf.path, Recording(0.0, days=1), Metrics())
    traffic.start()
    try:
        with Store(shelf.path) as store:
            old = replace(as_inference(LAST), at="2020-01-01T00:00:00.000Z")
            store.add_calls_in_use([old, replace(as_inference(LAST), id="inf_1", at="")])
        await written(shelf.path, lambda store: [one.id for one in store.inferences("default")] == ["inf_1"])
    finally:
        await asyncio.to_thread(traffic.close)


def test_a_store_that_is_gone_is_not_made_anew_by_who_writes_into_it(tmp_path: Path) -> None:
    """An empty one would take the live prior away from all who follow it."""
    path = go_live(tmp_path / "s.db")
    writing, recorder = Writing(path, Recording(0.0)), ClientRecorder(StorePlace(path, "default"))
    assert writing.write([LAST]) == ""
    recorder._write([as_inference(LAST._replace(id="inf_1"))])
    early = ClientRecorder(StorePlace(path, "default"))  # which has written nothing yet
    traffic = Traffic(path, Recording(), Metrics())
    path.rename(tmp_path / "away.db")
    early._write([as_inference(LAST)])
    assert (early.dropped, traffic._is_made, Traffic(path, Recording(), Metrics())._is_made) == (1, True, False)
    for _ in range(2):
        assert str(path) in writing.write([LAST._replace(id="inf_2")])
        recorder._write([as_inference(LAST._replace(id="inf_3"))])
    assert recorder.dropped == 2
    assert not path.exists()
    handed = io.BytesIO(
        pickle.dumps((path, Recording(0.0), True)) + pickle.dumps([pickle.dumps([LAST])])
    )  # one that comes after it
    write_batches(handed, told := io.BytesIO())
    assert str(path) in pickle.loads(told.getvalue())[0]
    assert not path.exists()
    (tmp_path / "away.db").rename(path)
    assert writing.write([LAST._replace(id="inf_4")]) == ""
    recorder._write([as_inference(LAST._replace(id="inf_5"))])
    with Store(path) as store:
        assert {one.id for one in store.inferences("default")} >= {"inf_0", "inf_1", "inf_4", "inf_5"}
        assert store.live("default") is not None
