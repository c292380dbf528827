"""What a fleet that pulls its prior costs the server that it is pulled from, and how fast a new prior is everywhere.

    python -m benchmarks.pulling [--proxies 200] [--away 60]

A real `tfgrpo serve` in a process of its own, and so many simulated proxies in this one, each with a source as a proxy
has it, which looks by itself as often as one does. A prior goes live: seconds until each of them has it. The server's
processor time is read from /proc. Then the server is killed for a while: every proxy must go on with the prior that it
has, and get the next one once the server is back.
"""

import logging
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

import click

from tfgrpo.priors.serving import use
from tfgrpo.records import Experience, Frame, Prior
from tfgrpo.serve.pulled import UrlPlace
from tfgrpo.serve.source import PriorSource
from tfgrpo.store import Store

logging.getLogger("tfgrpo").setLevel(logging.CRITICAL)  # 200 of them would say that the server is away
TICKS = os.sysconf("SC_CLK_TCK")


def started(store: Path, port: int) -> subprocess.Popen[bytes]:
    """`tfgrpo serve`, ready."""
    command = [sys.executable, "-m", "tfgrpo", "serve", "--upstream", "http://127.0.0.1:9/v1", "--port", str(port)]
    server = subprocess.Popen([*command, "--store", str(store)], stderr=subprocess.DEVNULL)
    while True:
        try:
            with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1):
                return server
        except OSError:
            time.sleep(0.05)


def spent(server: subprocess.Popen[bytes]) -> float:
    """Seconds of processor time that it has taken."""
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def live(store: Path, number: int) -> str:
    """A new prior, live from now on."""
    prior = Prior((Experience(f"When asked for number {number}, say so."),))
    with Store(store) as opened:
        opened.add_prior(prior)
        opened.set_state("default", prior.id, "candidate", frame=Frame("fake"))
        use(opened, "default", prior.id, by="benchmark", why="")
    return prior.id


def reached(proxies: list[PriorSource], prior: str, began: float, most: float) -> list[float]:
    """Seconds until each proxy has a prior; those that do not get it in time are left out."""
    found: dict[int, float] = {}
    while len(found) < len(proxies) and time.monotonic() < began + most:
        for number, source in enumerate(proxies):
            if number not in found and source.snapshot and source.snapshot.prior.id == prior:
                found[number] = time.monotonic() - began
        time.sleep(0.02)
    return list(found.values())


def told(what: str, seconds: list[float], proxies: int) -> None:
    """A line on how fast a prior was everywhere."""
    half, last = statistics.median(seconds), max(seconds)
    print(f"{what}: {len(seconds)} of {proxies} proxies have it, half after {half:.1f} s, the last after {last:.1f} s")


@click.command()
@click.option("--proxies", default=200)
@click.option("--away", default=60.0, help="Seconds without a server.")
@click.option("--quiet", default=20.0, help="Seconds in which the server's load is read.")
def main(proxies: int, away: float, quiet: float) -> None:
    """Measure a fleet."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "tfgrpo.db"
        first = live(store, 0)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        server = started(store, port)
        try:
            places = [
                UrlPlace(f"http://127.0.0.1:{port}", "default", folder=Path(folder) / str(n)) for n in range(proxies)
            ]
            fleet = [PriorSource(place, "default") for place in places]
            assert all(source.current() for source in fleet)
            assert {source.snapshot.prior.id for source in fleet} == {first}
            before, began = spent(server), time.monotonic()
            time.sleep(quiet)
            share = (spent(server) - before) / (time.monotonic() - began)
            print(f"{proxies} proxies that poll take {share:.1%} of one core of the server")
            told("a new prior", reached(fleet, live(store, 1), time.monotonic(), 30), proxies)
            server.send_signal(signal.SIGKILL)
            server.wait()
            lost, until = 0, time.monotonic() + away
            while time.monotonic() < until:
                lost += sum(source.current() is None for source in fleet)
                time.sleep(0.1)
            print(f"the server away for {away:g} s: {lost} looks of calls found no prior")
            following = live(store, 2)
            server = started(store, port)
            told("once it is back, the next", reached(fleet, following, time.monotonic(), 30), proxies)
            for source in fleet:
                source.close()
        finally:
            server.kill()
            server.wait()


if __name__ == "__main__":
    main()
