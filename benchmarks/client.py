"""What the prior costs a client: each call beside the SDK alone, its import, threads, event loops, and memory.

    python -m benchmarks.client [CALLS]
    python -m benchmarks.client growth [CALLS]

The second form makes 100,000 calls and tells the memory of the process on the way, which takes two minutes.

The prior has 12 experiences, 4 demonstrations and 100 biases. For the cost of a call both clients speak to the same
in-process transport, in turn, so that the machine's moods meet both alike. Time on the clock is told, and time of the
processor: where other programs run beside, only the latter tells what a call costs.
"""

import asyncio
import gc
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from resource import getpagesize
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter, thread_time

import openai
from openai.types.chat import ChatCompletionMessageParam

import tfgrpo
from tfgrpo.model.library import http
from tfgrpo.records import Demonstration, Experience, Frame, Prior, TokenBias
from tfgrpo.serve.exchange import CODECS
from tfgrpo.store import Store
from tfgrpo.surfaces.http import rewrite

MODEL = "m"
PRIOR = Prior(
    experiences=tuple(Experience(f"When case {n} comes up, {'say so ' * 8}and stop.") for n in range(12)),
    biases=tuple(TokenBias(n, b"t", n / 50 - 1, 3.0, 4) for n in range(100)),
    demonstrations=tuple(Demonstration(f"Case {n}: " + "word " * 40, "So. " * 10) for n in range(4)),
)
ANSWER = {"id": "1", "object": "chat.completion", "created": 0, "model": MODEL, "choices": []}
THREADS, THREAD_CALLS = 32, 1_000
TARGET = 60.0
"""Microseconds added at the median, at most."""


def live_store(path: Path) -> Path:
    """A store in which the prior is live."""
    with Store(path) as store:
        store.add_prior(PRIOR)
        store.set_state("default", PRIOR.id, "live", frame=Frame(model=MODEL))
    return path


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """How long one call takes, on the clock and of the processor."""
    start, start_cpu = perf_counter(), thread_time()
    work()
    return perf_counter() - start, thread_time() - start_cpu


def line(name: str, samples: list[float]) -> None:
    """Median and middle half, in microseconds."""
    low, _, high = quantiles(samples, n=4)
    print(f"{name:<42}{median(samples) * 1e6:>10.1f}{low * 1e6:>10.1f}{high * 1e6:>10.1f}{len(samples):>8}")


def answering() -> Callable[[http.Request], http.Response]:
    """An upstream that answers every request alike."""
    content = json.dumps(ANSWER).encode()
    return lambda request: http.Response(200, content=content, headers={"content-type": "application/json"})


def asked(kilobytes: int) -> list[ChatCompletionMessageParam]:
    """A question of that size."""
    return [{"role": "user", "content": "word " * (kilobytes * 205)}]


def compare(calls: int, kilobytes: int, store: Path) -> float:
    """One call of each client in turn; the median of what the prior adds, in microseconds of the processor."""
    http_client = http.Client(transport=http.MockTransport(answering()))
    alone = openai.OpenAI(api_key="k", base_url="http://up/v1", http_client=http_client)
    ours = tfgrpo.OpenAI(api_key="k", base_url="http://up/v1", http_client=http_client, store=store)
    messages = asked(kilobytes)

    def call(client: openai.OpenAI) -> Callable[[], object]:
        return lambda: client.chat.completions.create(model=MODEL, messages=messages)

    for client in (alone, ours):
        call(client)()
    pairs = [(seconds(call(alone)), seconds(call(ours))) for _ in range(calls)]
    body = CODECS[0].dumps({"model": MODEL, "messages": messages})
    snapshot = ours.tfgrpo.current()
    assert json.loads(rewrite(body, snapshot, CODECS).content or b"")["logit_bias"]
    decided = [seconds(lambda: rewrite(body, snapshot, CODECS)) for _ in range(calls)]
    added = 0.0
    for clock, name in ((0, "on the clock"), (1, "of the processor")):
        line(f"SDK alone, {kilobytes} KB, {name}", [direct[clock] for direct, _ in pairs])
        line("  with the prior", [through[clock] for _, through in pairs])
        differences = [through[clock] - direct[clock] for direct, through in pairs]
        line("  difference", differences)
        line("  of which the decision", [one[clock] for one in decided])
        bare, carrying = (quantiles([one[clock] for one in side], n=10)[0] * 1e6 for side in zip(*pairs, strict=True))
        print(f"  a tenth of the calls alone take at most {bare:.1f}, with the prior {carrying - bare:.1f} more")
        added = median(differences) * 1e6
    return added


def imported() -> float:
    """Milliseconds that `from tfgrpo import OpenAI` takes once openai is imported, the least of five."""

    def took(program: str) -> float:
        timed = f"import openai, time; a = time.perf_counter(); {program}; print(time.perf_counter() - a)"
        return float(subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True, check=True).stdout)

    return min(took("from tfgrpo import OpenAI") for _ in range(5)) * 1e3


def threads(store: Path, count: int = THREADS, calls: int = THREAD_CALLS) -> tuple[int, float]:
    """How many of all calls of threads that share a client had the prior, and how many there were a second."""
    http_client = http.Client(transport=http.MockTransport(answering()))
    client = tfgrpo.OpenAI(api_key="k", base_url="http://up/v1", http_client=http_client, store=store)

    def work(number: int) -> int:
        found = (client.chat.completions.create(model=MODEL, messages=asked(1)) for _ in range(calls))
        return sum(tfgrpo.info(one).prior == PRIOR.id for one in found)

    start = perf_counter()
    with ThreadPoolExecutor(count) as pool:
        right = sum(pool.map(work, range(count)))
    return right, count * calls / (perf_counter() - start)


def loops(store: Path, count: int = 4, calls: int = 100) -> int:
    """How many calls of event loops, one after the other and in threads at once, had the prior."""

    async def work() -> int:
        http_client = http.AsyncClient(transport=http.MockTransport(answering()))
        async with tfgrpo.AsyncOpenAI(
            api_key="k", base_url="http://up/v1", http_client=http_client, store=store
        ) as client:
            asking = (client.chat.completions.create(model=MODEL, messages=asked(1)) for _ in range(calls))
            return sum(tfgrpo.info(one).prior == PRIOR.id for one in await asyncio.gather(*asking))

    with ThreadPoolExecutor(count) as pool:
        at_once = sum(pool.map(lambda _: asyncio.run(work()), range(count)))
    return at_once + sum(asyncio.run(work()) for _ in range(count))


def memory(store: Path, calls: int) -> float:
    """Bytes that each of so many calls leaves behind, once as many are remembered as ever will be."""
    http_client = http.Client(transport=http.MockTransport(answering()))
    client = tfgrpo.OpenAI(api_key="k", base_url="http://up/v1", http_client=http_client, store=store)
    messages = asked(1)

    def work(count: int) -> None:
        for _ in range(count):
            client.chat.completions.create(model=MODEL, messages=messages)

    tracemalloc.start()
    work(calls)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    work(calls)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return grown / calls


def growth(store: Path, calls: int) -> None:
    """Print how much memory the process has, once as many calls are remembered as ever will be, and in the end."""
    http_client = http.Client(transport=http.MockTransport(answering()))
    client = tfgrpo.OpenAI(api_key="k", base_url="http://up/v1", http_client=http_client, store=store)
    for number in range(1, calls + 1):
        client.chat.completions.create(model=MODEL, messages=asked(1))
        if number in (11_000, calls // 2, calls):
            gc.collect()
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            print(f"after {number:>7,} calls: {pages * getpagesize() / 1e6:.1f} MB resident", flush=True)


def main() -> None:
    """Print the table."""
    if sys.argv[1:2] == ["growth"]:
        with TemporaryDirectory() as folder:
            growth(live_store(Path(folder) / "s.db"), int(sys.argv[2]) if len(sys.argv) > 2 else 100_000)
        return
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    print(f"{'microseconds a call':<42}{'median':>10}{'25%':>10}{'75%':>10}{'n':>8}")
    with TemporaryDirectory() as folder:
        store = live_store(Path(folder) / "s.db")
        added = [compare(calls, kilobytes, store) for kilobytes in (1, 100)]
        print(f"added at the median, 1 KB: {added[0]:.0f} microseconds of the processor (at most {TARGET:.0f} wanted)")
        print(f"import: {imported():.0f} ms over the SDK's")
        right, rate = threads(store, calls=min(calls, THREAD_CALLS))
        print(f"threads: {right} of {THREADS * min(calls, THREAD_CALLS)} calls had the prior, {rate:,.0f} a second")
        print(f"event loops: {loops(store)} of 800 calls had the prior")
        # 10,000 calls are remembered for `info`, so only after as many nothing more may stay
        print(f"memory: {memory(store, max(calls, 11_000)):.1f} bytes a call")


if __name__ == "__main__":
    main()
