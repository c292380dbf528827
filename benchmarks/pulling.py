"""What a fleet that pulls its prior costs the server that it is pulled from, and how fast a new prior is everywhere.

    python -m benchmarks.pulling [--proxies 200] [--asking 3] [--away 60]

A real `tfgrpo serve` in a process of its own, and so many simulated proxies in this one, each with a source as a proxy
has it, which looks by itself as often as one does. A prior goes live: seconds until each of them has it. The server's
processor time is read from /proc. Beside them are a few real proxies, each a process, and as many clients, which ask an
upstream all the time; it answers with what the prior told it. Then the server is killed for a while: no call may fail
or be without a prior, every proxy must go on with the one that it has, and get the next one once the server is back.
"""

import logging
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from urllib.request import urlopen

import click
import openai

import tfgrpo
from tfgrpo.priors.serving import use
from tfgrpo.records import ChatBody, Experience, Frame, Prior
from tfgrpo.serve.pulled import UrlPlace
from tfgrpo.serve.source import PriorSource
from tfgrpo.store import Store
from tfgrpo.testing import ScriptedModel, serving

logging.getLogger("tfgrpo").setLevel(logging.CRITICAL)  # 200 of them would say that the server is away
TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """One that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def started(port: int, *given: str) -> subprocess.Popen[bytes]:
    """`tfgrpo serve`, ready."""
    command = [sys.executable, "-m", "tfgrpo", "serve", "--port", str(port), *given]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while server.poll() is None:
        try:
            with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1):
                return server
        except OSError:
            time.sleep(0.05)
    raise click.ClickException(f"{' '.join(command)} ended")


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


def told_by_prior(body: ChatBody) -> str:
    """What the upstream answers: the number that the prior says, `none` without a prior."""
    found = re.search(r"number (\d+), say so", str(body["messages"]))
    return found[1] if found else "none"


@dataclass
class Caller:
    """A client that asks all the time, one call after the other; a call that fails is not made again."""

    way: str
    client: openai.OpenAI
    answers: Counter[str] = field(default_factory=Counter)
    last: str = ""
    over: Event = field(default_factory=Event)

    def ask(self) -> None:
        """Until it is over."""
        while not self.over.wait(0.05):
            try:
                reply = self.client.chat.completions.create(
                    model="fake", messages=[{"role": "user", "content": "Hello?"}]
                )
                self.last = str(reply.choices[0].message.content)
            except openai.OpenAIError as error:
                self.last = f"failed: {error}"
            self.answers[self.last] += 1

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Meanwhile."""
        thread = Thread(target=self.ask)
        thread.start()
        try:
            yield
        finally:
            self.over.set()
            thread.join()
            self.client.close()


@contextmanager
def callers(server: str, number: int) -> Iterator[list[Caller]]:
    """So many that ask through a real proxy each, and as many that are clients with the prior in them."""
    with ExitStack() as running:
        upstream = running.enter_context(serving(ScriptedModel(told_by_prior).app))
        made = []
        for _ in range(number):
            port = free_port()
            proxy = started(port, "--upstream", upstream, "--prior-from", server)
            running.callback(ended, proxy)
            through = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="sk-none", max_retries=0)
            direct = tfgrpo.OpenAI(base_url=upstream, api_key="sk-none", max_retries=0, store=server)
            made += [Caller("through proxies", through), Caller("by clients", direct)]
        for caller in made:
            running.enter_context(caller.asking())
        yield made


def until_all_say(callers: list[Caller], number: str, most: float = 30) -> None:
    """Wait for a prior to be in every call."""
    until = time.monotonic() + most
    while any(caller.last != number for caller in callers):
        if time.monotonic() > until:
            raise click.ClickException(f"not {number}: {[caller.last for caller in callers]}")
        time.sleep(0.02)


def counted(callers: list[Caller]) -> Counter[tuple[str, str]]:
    """The calls so far: by way and answer."""
    return sum((Counter({(one.way, said): n for said, n in one.answers.copy().items()}) for one in callers), Counter())


def ended(process: subprocess.Popen[bytes]) -> None:
    """Gone, whatever it was at."""
    process.kill()
    process.wait()


@click.command()
@click.option("--proxies", default=200)
@click.option("--asking", "number", default=3, help="Real proxies, and as many clients, that are asked all the time.")
@click.option("--away", default=60.0, help="Seconds without a server.")
@click.option("--quiet", default=20.0, help="Seconds in which the server's load is read.")
def main(proxies: int, number: int, away: float, quiet: float) -> None:
    """Measure a fleet."""
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        os.environ["XDG_CACHE_HOME"] = str(folder)  # where real proxies and clients keep what they pulled
        store, port = folder / "tfgrpo.db", free_port()
        url, given = f"http://127.0.0.1:{port}", ("--upstream", "http://127.0.0.1:9/v1", "--store", str(store))
        first = live(store, 0)
        server = started(port, *given)
        running.callback(lambda: ended(server))
        fleet = [PriorSource(UrlPlace(url, "default", folder=folder / str(n)), "default") for n in range(proxies)]
        for source in fleet:
            running.callback(source.close)
        assert all(source.current() for source in fleet)
        assert {source.snapshot and source.snapshot.prior.id for source in fleet} == {first}
        before, began = spent(server), time.monotonic()
        time.sleep(quiet)
        share = (spent(server) - before) / (time.monotonic() - began)
        print(f"{proxies} proxies that poll take {share:.1%} of one core of the server", flush=True)
        real = running.enter_context(callers(url, number))
        told("a new prior", reached(fleet, live(store, 1), time.monotonic(), 30), proxies)
        until_all_say(real, "1")
        ended(server)
        stay_away(fleet, real, away)
        following = live(store, 2)
        server = started(port, *given)
        told("once it is back, the next", reached(fleet, following, time.monotonic(), 30), proxies)
        until_all_say(real, "2")
        for (way, said), calls in sorted(counted(real).items()):
            print(f"in all {calls:,} calls {way} were answered: {said}")


def stay_away(fleet: list[PriorSource], real: list[Caller], seconds: float) -> None:
    """The server is gone for so long."""
    lost, before, until = 0, counted(real), time.monotonic() + seconds
    while time.monotonic() < until:
        lost += sum(source.current() is None for source in fleet)
        time.sleep(0.1)
    print(f"the server away for {seconds:g} s: {lost} looks of calls found no prior")
    for (way, said), calls in sorted((counted(real) - before).items()):
        print(f"meanwhile {calls:,} calls {way} were answered: {said}", flush=True)


if __name__ == "__main__":
    main()
