"""The autopilot beside the proxy: a process of its own, which lives as long as the proxy does."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread

import click

_AGAIN_SECONDS = 60.0


@contextmanager
def autopilot_beside(store: str | None, namespace: str) -> Iterator[None]:
    """An autopilot as a process of its own, begun anew where it ends by itself, which ends with the proxy, however that
    ends; no call depends on it."""
    environment = {**os.environ, **({"TFGRPO_STORE": store} if store else {})}  # all see a command line
    command = [sys.executable, "-m", "tfgrpo", "autopilot", "--namespace", namespace, "--until-alone"]
    over, starting, running = Event(), Lock(), list[subprocess.Popen[bytes]]()

    def start() -> None:
        running[:] = [subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, env=environment)]

    def let_go() -> int:
        """Of the one that is running, which knows by that; its status."""
        if held := running[0].stdin:
            held.close()
        return running[0].wait()

    def keep() -> None:
        while True:
            running[0].wait()
            if over.is_set():
                return
            told = f"the autopilot ended with status {let_go()}, and is begun anew in {_AGAIN_SECONDS:g} s; calls go on"
            click.echo(told, err=True)
            over.wait(_AGAIN_SECONDS)
            with starting, suppress(OSError):  # no process is to be had now
                if over.is_set():
                    return
                start()

    start()
    keeper = Thread(target=keep, name="tfgrpo-autopilot", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        with starting:
            over.set()
        let_go()
        keeper.join()
