"""Calls through the proxy as they are written down: what each was, and of a share of them what was said in it.

A call leaves a few references behind and goes on. A thread hands them, twice a second, to a process of its own, which
reads, redacts, packs and writes (`writing`): none of that holds up a call, however long it takes. What there is no
room for is dropped, and counted.
"""

import logging
import math
import pickle
import subprocess
import sys
import time
from contextlib import suppress
from threading import Event, Lock, Thread, Timer
from typing import Any

from ...http1.answers import UpstreamAnswer
from ...store import Feedback, StorePath
from ...store.opened import has_file
from ...text import counted
from ..writing import FORGETS_EVERY, KEPT_BODY, RecordedCall, Recording
from .metrics import Metrics
from .remembered import RememberedCalls
from .waiting import Pickled, WaitingCalls, give_memory_back

_SECONDS, _PICKLES_EVERY = 0.5, 0.1
_MUCH = 1_000
"""Calls written one after the other, whose memory is given back to the system when none waits any more."""
_MOST_SECONDS = 120.0
"""For one batch: a text that takes longer to go through has been made for that."""
_LAST_SECONDS = 5.0
"""For what still waits when the proxy ends."""
_PROGRAM = "from tfgrpo.serve.writing import write_calls; write_calls()"
_READABLE = ("gzip", "deflate", "identity")

_logger = logging.getLogger("tfgrpo")


class HeardAnswer:
    """An answer whose text is kept, as it passes."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.encoding = ""
        self.whole = False
        """It came to its end."""

    def of(self, answer: UpstreamAnswer, beginning: bytes) -> "HeardAnswer":
        """The same, before the rest of the answer comes."""
        self.encoding = answer.header(b"content-encoding").strip().lower()
        self.body += beginning[: KEPT_BODY + 1]
        return self

    def see(self, chunk: bytes) -> None:
        """The next part of the answer."""
        if len(self.body) <= KEPT_BODY:
            self.body += chunk

    def all_of(self, answer: UpstreamAnswer, content: bytes) -> None:
        """An answer that is whole already."""
        self.of(answer, content).whole = True


class Traffic:
    """The calls of one worker, remembered for feedback, and written down where that is asked for."""

    def __init__(self, path: StorePath, recording: Recording, metrics: Metrics) -> None:
        self.path, self.recording, self._metrics = path, recording, metrics
        self._threshold = int((recording.share or 0) * 2**32)
        self._followed = int(recording.shadows.share * 2**32)
        self.latest = RememberedCalls()
        self.waiting = WaitingCalls(self._drop)
        self._ending = Event()
        self._child: subprocess.Popen[bytes] | None = None
        self._is_made = has_file(path)
        """Whether there was a store, or a child has written: none that comes later is to make what is gone since."""
        self._thread: Thread | None = None
        self._starting = Lock()
        self._written = 0
        """Calls and feedback since memory was given back."""
        self._said: set[str] = set()
        self._in_hand, self._trouble = 0, ""
        """Calls and feedback that are being written, and why the last batch could not be."""
        bounded = min(recording.days, recording.megabytes) < math.inf
        self._forgets, self._wrote = bounded and recording.to is None, time.monotonic()
        """Whether something is forgotten, and when a batch was handed over."""

    # On the event loop

    def keeps_texts(self, inference: str) -> bool:
        """Whether what is said in a call is kept: its id decides, which is random."""
        kept = bool(self._threshold) and int(inference[4:12], 16) < self._threshold
        return kept or self.is_followed(inference)

    def is_followed(self, inference: str) -> bool:
        """Whether further rollouts of a call are made, as its id decides."""
        return bool(self._followed) and int(inference[12:20], 16) < self._followed

    def add(self, item: RecordedCall | Feedback) -> bool:
        """Have something written; False where too much waits already."""
        if not self.waiting.add(item):
            return False
        if self._thread is None:
            self.start()
        return True

    def close(self) -> None:
        """Write what waits, and end; what is left then is dropped, which is counted and said."""
        self._ending.set()
        if self._thread:
            self._thread.join(2 * _LAST_SECONDS)
        late = self._in_hand if self._thread and self._thread.is_alive() else 0
        calls, feedback = self.waiting.end()
        if not (calls or feedback or late):
            return
        self._metrics.not_recorded("call", calls)
        self._metrics.not_recorded("feedback", feedback)
        why = f" ({self._trouble})" if self._trouble else ""
        rest = f"; {late:,} that are being written may be lost, too" if late else ""
        told = f"{counted(calls, 'call')} and {feedback:,} feedback are dropped{rest}"
        _logger.warning(f"the proxy ends before all is written{why}: {told}")

    def start(self) -> None:
        """Be ready to write."""
        with self._starting:
            if self._thread is None:
                self._thread = Thread(target=self._serve, name="tfgrpo-traffic", daemon=True)
                self._thread.start()
                Thread(target=self._pickle_what_comes, name="tfgrpo-traffic-pickles", daemon=True).start()

    # In the threads

    def _pickle_what_comes(self) -> None:
        while not self._ending.wait(_PICKLES_EVERY):
            self.waiting.pickle()

    def _serve(self) -> None:
        with suppress(OSError):  # it is tried again
            self._new_child()
        while not self._ending.wait(_SECONDS):
            self._look()
        self._look()
        self._end_child()

    def _look(self) -> None:
        try:
            self._write_waiting()
            if self._forgets and time.monotonic() - self._wrote >= FORGETS_EVERY:
                self._write([])  # what is old is forgotten, though no call comes, or they come from elsewhere
        except Exception as error:  # whatever it is, as memory that is full: what comes later has to be written
            self._trouble = f"what waits could not be taken: {type(error).__name__}"
            self._say(self._trouble)

    def _write_waiting(self) -> None:
        """Write what waits now, as far as it can be written.

        What comes meanwhile waits its half second too: else one call after the other would be a batch of its own, and
        each costs more than all that is in it. Where as much comes as fills batches, or the end has come, it goes on.
        """
        left = len(self.waiting)
        while self.waiting and (left > 0 or self.waiting.fills_a_batch() or self._ending.is_set()):
            batch = self.waiting.batch()
            self._in_hand = length = sum(part.length for part in batch)
            try:
                if not (length and self._write(batch)):
                    return
            except BaseException:  # the thread is ended: what it had in hand waits still
                self.waiting.put_back(batch)
                raise
            finally:
                self._in_hand = 0
            left -= length
            self._written += length
        if self._written >= _MUCH and not self.waiting.fills_a_batch():
            self._written = 0
            give_memory_back()

    def _write(self, batch: list[Pickled]) -> bool:
        """Whether it could be written; where not, calls are dropped, and feedback is tried again."""
        self._wrote = time.monotonic()
        feedback = [one for part in batch for one in part.feedback]
        calls = sum(part.length for part in batch) - len(feedback)
        try:
            refused, unkept = self._handed(batch)
        except Exception as error:  # whatever it is: what comes later has to be written
            self._end_child()
            unkept = 0
            refused = f"the process that writes calls ended ({type(error).__name__})"
        if not refused:
            self._is_made, self._trouble = True, ""
            self._metrics.recorded(calls - unkept)
            return True
        self._trouble = refused
        self._drop(calls, "call", refused)
        if self._ending.is_set() or not self.waiting.add_again(feedback):
            self._drop(len(feedback), "feedback", refused)
        return False

    def _handed(self, batch: list[Pickled]) -> tuple[str, int]:
        """Have the child write; why it could not, and how many calls it could not keep though it did. One that takes
        for ever is ended."""
        child = self._child or self._new_child()
        assert child.stdin is not None
        assert child.stdout is not None
        watchdog = Timer(_MOST_SECONDS, child.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            pickle.dump([part.items for part in batch], child.stdin, pickle.HIGHEST_PROTOCOL)
            child.stdin.flush()
            told: Any = pickle.load(child.stdout)
            refused, unreadable, unkept = told
            self._metrics.not_recorded("texts", unreadable)
            for what, why in unkept:
                self._drop(1, what, why)
            return str(refused), sum(what == "call" for what, _ in unkept)
        finally:
            watchdog.cancel()

    def _new_child(self) -> subprocess.Popen[bytes]:
        child = self._child = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,  # Ctrl-C is for the parent, which lets it write what waits
        )
        assert child.stdin is not None
        pickle.dump((self.path, self.recording, self._is_made), child.stdin)
        child.stdin.flush()  # it gets ready, and makes the store, before the first call
        return child

    def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        for pipe in (child.stdin, child.stdout):
            if pipe:
                with suppress(OSError):  # of what it had not taken yet
                    pipe.close()
        try:
            child.wait(_LAST_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def _drop(self, count: int, what: str, why: str) -> None:
        if not count:
            return
        self._metrics.not_recorded(what, count)
        self._say(why)

    def _say(self, why: str) -> None:
        if why and why not in self._said and len(self._said) < 20:
            self._said.add(why)
            _logger.warning(f"{why}; calls go on, and what cannot be written is dropped")


def readable_encodings(accepted: str) -> str:
    """What may be accepted of an upstream so that its answer can be read; as it was where it can."""
    names = [part.partition(";")[0].strip().lower() for part in accepted.split(",")]
    if all(name in _READABLE for name in names):
        return accepted
    return ", ".join(name for name in names if name in _READABLE) or "identity"
