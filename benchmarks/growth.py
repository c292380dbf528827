"""How much a day of calls with feedback adds to a store without their texts, and whether retention keeps it there.

    python -m benchmarks.growth [--calls 100000] [--days 3] [--keep-mb 100]

Calls are handed to the process that writes them down as the proxy hands them over, in batches of 500: each with what
chance decided for it while a canary is out and experiences are left out, each with feedback and a comment. Every 700
calls, as many as come in ten minutes, it forgets what is too much. The size is that of the file, its log written back.
Exit code 1 where a day adds 100 MB, or more is there than is to be kept.
"""

import argparse
import random
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from tfgrpo.serve.writing import RecordedCall, Recording, Writing
from tfgrpo.store import Feedback, Store

BATCH, TEN_MINUTES = 500, 700
_MOST = 100e6
LIVE, CANARY = "prior_0123456789abcdef", "prior_fedcba9876543210"
EXPERIENCES = [f"exp_{number:016x}" for number in range(8)]


def traffic(count: int, rng: random.Random) -> Iterator[tuple[RecordedCall, Feedback]]:
    """So many calls, each with its feedback."""
    for _ in range(count):
        arm = rng.choice(("live", "live", "live", "canary"))
        draw = {"of": LIVE, "canary": CANARY, "key": f"key_{rng.getrandbits(64):016x}", "arm": arm, "p": 0.735}
        if arm == "live" and rng.random() < 0.1:
            draw |= {"left_out": rng.sample(EXPERIENCES, 4), "p_left_out": 0.0125}
        made = f"inf_{secrets.token_hex(16)}", "default", CANARY if arm == "canary" else LIVE, arm
        call = RecordedCall(*made, "chat", "gpt-6-luna", 200, rng.random(), rng.random() / 1e3, draw, time.time())
        yield call, Feedback(*made, float(rng.random() < 0.7), "the customer closed the ticket")


def written(path: Path, count: int, keep: float, rng: random.Random) -> None:
    """Write so many calls, and forget as the proxy does."""
    writing = Writing(path, Recording(0.0))
    since = 0
    pairs = list(traffic(count, rng))
    for start in range(0, count, BATCH):
        part = pairs[start : start + BATCH]
        if told := writing.write([call for call, _ in part]) or writing.write([given for _, given in part]):
            raise SystemExit(told)
        since += len(part)
        if since >= TEN_MINUTES:
            since = 0
            with Store(path) as store:
                store.forget_calls(megabytes=keep)
    writing.close()


def main() -> None:
    """A row a day."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100_000, help="A day.")
    parser.add_argument("--days", type=int, default=3)
    parser.add_argument("--keep-mb", type=float, default=100.0)
    given = parser.parse_args()
    rng, fits, before = random.Random(0), True, 0
    with TemporaryDirectory() as folder:
        path = Path(folder) / "s.db"
        for day in range(1, given.days + 1):
            used = time.process_time()
            written(path, given.calls, given.keep_mb, rng)
            with Store(path) as store:
                first, last = store.call_numbers()
            size = path.stat().st_size
            cpu = 1e6 * (time.process_time() - used) / given.calls
            print(f"day {day}: {size / 1e6:6.1f} MB, calls {first:,} to {last:,}; {cpu:.0f} us of a processor a call")
            fits = fits and size - before < _MOST and size <= given.keep_mb * 1e6
            before = size
    sys.exit(not fits)


if __name__ == "__main__":
    main()
