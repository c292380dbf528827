"""`deploy/compose.postgres.yaml` without containers: its commands as processes, on a new database of a PostgreSQL.

    python -m benchmarks.compose --store postgresql://...

A key is made, two proxies start before a scripted upstream, the learner learns (with fewer steps, and no gate): what it
makes live must be in force in both proxies, and a call without a key refused.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import yaml

from benchmarks.kill import TASKS, in_databases, script
from tfgrpo.model.library import http
from tfgrpo.store import Store, StorePath, StoreUrl
from tfgrpo.testing import ScriptedModel, serving

FILE = Path(__file__).parent.parent / "deploy" / "compose.postgres.yaml"
LESS = ("--no-race", "--steps", "2", "--gate", "none")


def words(service: str, given: Mapping[str, str]) -> list[str]:
    """The command of a service, with its variables."""
    command = yaml.safe_load(FILE.read_text())["services"][service]["command"]
    return [re.sub(r"\$\{(\w+):-[^}]*\}", lambda found: given[found[1]], word) for word in command]


def tfgrpo(arguments: list[str], place: StorePath) -> subprocess.Popen[str]:
    """A process at the store."""
    dsn = place.dsn if isinstance(place, StoreUrl) else str(place)
    environment = {**os.environ, "TFGRPO_STORE": dsn, "UPSTREAM_KEY": "sk-theirs", "OPENAI_API_KEY": "sk-theirs"}
    command = [sys.executable, "-m", "tfgrpo", *arguments]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def said(process: subprocess.Popen[str]) -> str:
    """What a command printed, all being well."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


@contextmanager
def proxy(arguments: list[str], place: StorePath) -> Iterator[str]:
    """Its URL, once it listens; it ends as `docker stop` ends it."""
    process, told = tfgrpo([*arguments, "--host=127.0.0.1", "--port=0"], place), ""
    try:
        assert process.stderr
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", told)):
            line = process.stderr.readline()
            assert line, f"{arguments[0]} ended: {told}"
            told += line
        yield found[0]
    finally:
        process.terminate()
        process.communicate(timeout=30)


def in_force(url: str, key: str, prior: str) -> float:
    """Seconds until a call through a proxy is answered with a prior."""
    begun, found = time.monotonic(), None
    while found != prior:
        assert time.monotonic() - begun < 5, f"{found} in place of {prior}"
        body = {"model": "fake", "messages": [{"role": "user", "content": "message 9 about invoice"}]}
        answer = http.post(f"{url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})
        assert answer.status_code == 200, answer.text
        found = answer.headers.get("x-tfgrpo-prior")
    return time.monotonic() - begun


@click.command()
@click.option("--store", required=True, type=StoreUrl)
def main(store: StoreUrl) -> None:
    """Start all of it, once."""
    model = ScriptedModel(script, owner="llamacpp")
    with ExitStack() as running:
        folder = Path(running.enter_context(TemporaryDirectory()))
        upstream = running.enter_context(serving(model.app))
        place = running.enter_context(in_databases(store)(folder))
        given, tasks = {"UPSTREAM": upstream, "MODEL": "fake"}, folder / "tasks.jsonl"
        tasks.write_text("".join(f"{json.dumps(task)}\n" for task in TASKS))
        key = re.findall(r"tfgrpo-\S+", said(tfgrpo(["keys", "add", "my-app"], place)))[0]
        urls = [running.enter_context(proxy(words(name, given), place)) for name in ("proxy-1", "proxy-2")]
        learner = [word.replace("/tasks/tasks.jsonl", str(tasks)) for word in words("learner", given)]
        said(tfgrpo([*learner, *LESS], place))
        with Store(place) as opened:
            live = opened.live("default")
        assert live, "the learner made nothing live"
        for url in urls:
            print(f"{live.prior.id} is in force in {url} within {in_force(url, key, live.prior.id):.1f} s")
            assert http.post(f"{url}/v1/chat/completions", json={}).status_code == 401
        print("a call without a key is refused by both")


if __name__ == "__main__":
    main()
