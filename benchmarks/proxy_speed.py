"""How fast the proxy is beside the bare stack it is built on: the same libraries, relaying with no logic of ours.

    python -m benchmarks.proxy_speed [SECONDS [--gateway NAME=COMMAND] ...]

Upstream, relays and load are processes of their own, on cores of their own as far as the machine has them, asked in
turns, each once the one before has written down what it had to: directly, through nginx where it is installed, the
bare stack, the proxy, it recording, it recording with a canary out, a holdback and experiences left out by coins, two
workers of it, and whatever gateway a COMMAND starts (in it {base} is the upstream's URL, {port} where it is to
listen). The prior has 12 experiences, 4 demonstrations and 100 biases. Streams are 64 at once, of 30 chunks, one
every 2 ms. A figure is of one machine and one run: the ratios are what counts.
"""

import argparse
import multiprocessing
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import orjson

from benchmarks.client import MODEL, PRIOR
from benchmarks.load import load
from benchmarks.proxy_ways import (
    CHUNK_SECONDS,
    CHUNKS,
    Cores,
    Way,
    gateway,
    nginx,
    on,
    process,
    proxy,
    run_bare,
    run_upstream,
)  # fmt: skip
from tests.live import go_live
from tfgrpo.deployment.autopilot import do_in_store
from tfgrpo.deployment.step import Action
from tfgrpo.records import Demonstration, Frame, Prior
from tfgrpo.store import Store

ROUNDS = 3
STREAMS = 64
IDEAL = STREAMS / (CHUNKS * CHUNK_SECONDS)
"""Streams a second where nothing takes time but the waiting for chunks."""


@dataclass
class Measured:
    """What was measured of one way to the upstream, a figure a round."""

    latency: list[float] = field(default_factory=list)
    """Median seconds of a call, one at a time."""
    rate: list[float] = field(default_factory=list)
    """Calls a second, 32 at a time."""
    cpu: list[float] = field(default_factory=list)
    """Seconds that one of these calls is computed at."""
    streams: list[float] = field(default_factory=list)
    """Streams a second."""
    failed: int = 0


def measured(ways: Mapping[str, Way], seconds: float, rounds: int) -> Mapping[str, Measured]:
    """Every way, in turns."""
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "word " * 200}]}
    body, streaming = orjson.dumps(asked), orjson.dumps({**asked, "stream": True})
    found = {name: Measured() for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            url, told = f"{way.base}/chat/completions", found[name]
            load(url, body, connections=8, seconds=0.1, headers=way.headers)
            way.settle()
            one, bad = load(url, body, connections=1, seconds=seconds, headers=way.headers)
            before, began = way.cpu_seconds(), perf_counter()
            many, worse = load(url, body, connections=32, seconds=seconds, headers=way.headers)
            told.rate.append(len(many) / (perf_counter() - began))
            told.cpu.append((way.cpu_seconds() - before) / len(many))
            began = perf_counter()
            streams, broken = load(url, streaming, connections=STREAMS, seconds=seconds, headers=way.headers)
            told.streams.append(len(streams) / (perf_counter() - began))
            told.latency.append(median(one))
            told.failed += bad + worse + broken
            way.settle()
    return found


def table(found: Mapping[str, Measured], ways: Mapping[str, Way]) -> Iterator[str]:
    """The figures, as Markdown."""
    yield (
        "| | median, us | added, us | 32 at a time, a second | of the bare stack | computed, us | 64 streams, a second"
        " | of the ideal | MB | failed |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    direct, bare = found["direct"], found["bare stack"]
    for name, way in found.items():
        latency, rate, streams = median(way.latency), median(way.rate), median(way.streams)
        added, share = latency - median(direct.latency), rate / median(bare.rate)
        calls = f"{latency * 1e6:.0f} | {added * 1e6:.0f} | {rate:,.0f} | {share:.0%} | {median(way.cpu) * 1e6:.0f}"
        rest = f"{streams:,.0f} | {streams / IDEAL:.0%} | {ways[name].megabytes():.0f} | {way.failed}"
        yield f"| {name} | {calls} | {rest} |"


def _put_canary_out(path: str, live: Prior) -> None:
    """A prior that is tried on a quarter of the callers' keys."""
    tried = replace(live, experiences=live.experiences[1:])
    with Store(Path(path)) as store:
        store.add_prior(tried)
        store.set_state("default", tried.id, "candidate", frame=Frame(model=MODEL))
        figures = {"canary": 1, "level": 0.03, "share": 0.25, "live": live.id}
        do_in_store(store, "default", Action("canary", "to see", tried.id, figures))


def compare(
    folder: Path, seconds: float, gateways: Sequence[tuple[str, str]] = (), rounds: int = ROUNDS
) -> Iterator[str]:
    """Start the processes, measure each way, and tell."""
    shown = tuple(Demonstration(f"Where is invoice {number}?", "BILL") for number in range(4))
    prior = replace(PRIOR, experiences=PRIOR.experiences[:12], demonstrations=shown)
    names = ("s.db", "m.db", "drawn.db", "kept.db")
    store, kept, drawn, all_kept = (str(go_live(folder / name, prior, model=MODEL)) for name in names)
    _put_canary_out(drawn, prior)
    cores = Cores.found()
    relay, two = (cores.relay,), cores.two
    yield f"{cores}; {rounds} rounds of {seconds:g} s"
    yield ""
    with ExitStack() as running, on((cores.load,)):
        direct = running.enter_context(process((cores.upstream,), run_upstream))
        ways = {"direct": direct}
        if shutil.which("nginx"):
            ways["nginx"] = running.enter_context(nginx(relay, direct.base))
        ways["bare stack"] = running.enter_context(process(relay, run_bare, direct.base))
        began = perf_counter()
        ways["tfgrpo serve"] = running.enter_context(proxy(relay, direct.base, store))
        ready = perf_counter() - began
        for name, where, told in (
            ("... recording", relay, (kept, "--record", "0")),
            ("... and drawing", relay, (drawn, "--record", "0", "--holdback", "0.05", "--leave-out", "0.1")),
            ("... recording all texts", relay, (all_kept, "--record", "1")),
            ("... two workers", two, (store, "--workers", "2")),
        ):
            ways[name] = running.enter_context(proxy(where, direct.base, *told))
        for name, command in gateways:
            ways[name] = running.enter_context(gateway(relay, command, direct.base))
        found = measured(ways, seconds, rounds)
        yield from table(found, ways)
    yield ""
    yield f"64 streams, where nothing takes time: {IDEAL:,.0f} a second"
    one, both = found["tfgrpo serve"], found["... two workers"]
    gain, dearer = median(both.rate) / median(one.rate), median(both.cpu) / median(one.cpu)
    apart = len({*two, cores.upstream, cores.load}) == 4
    yield f"two workers: {gain:.2f} times one" + ("" if apart else ", with upstream and load on the same two cores")
    yield f"a call is computed at {dearer:.2f} times as much: on cores of their own they are {2 / dearer:.2f} of one"
    yield f"ready {ready:.2f} s after its process was started, Python and its libraries included"


def machine() -> str:
    """What was measured on, and how busy it was."""
    names = ("uvicorn", "aiohttp", "httptools", "uvloop", "orjson")
    libraries = ", ".join(f"{name} {version(name)}" for name in names)
    busy = f"load {os.getloadavg()[0]:.1f}"
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {libraries}, {busy}"


def main() -> None:
    """Start the processes, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", nargs="?", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--gateway", action="append", default=[], metavar="NAME=COMMAND")
    given = parser.parse_args()
    gateways = [(name, command) for name, _, command in (one.partition("=") for one in given.gateway)]
    print(machine(), flush=True)
    multiprocessing.set_start_method("spawn", force=True)
    with TemporaryDirectory() as folder:
        for line in compare(Path(folder), given.seconds, gateways, given.rounds):
            print(line, flush=True)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
