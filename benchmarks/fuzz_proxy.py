"""Anything that callers may send, by schemathesis, through `tfgrpo serve`: does the proxy itself ever fail?

    python -m benchmarks.fuzz_proxy [--examples 200] [--seed 0] [--schemathesis COMMAND]

What is sent follows `data/surfaces.yaml`, or breaks it on purpose: chat, responses, messages and completions. The
upstream answers whatever comes with 200, but refuses each second request that has a prior in it, so that what goes once
more is met too. Whatever has a status of 500 or more is ours, then. The prior is one with everything in it. Needs
schemathesis, on the path or as COMMAND (`uvx schemathesis`).
"""

import argparse
import multiprocessing
import shlex
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import uvicorn

from benchmarks.client import MODEL, PRIOR
from benchmarks.conformance import served
from benchmarks.proxy import process, run_proxy
from tests.live import go_live
from tfgrpo.serve.proxy.asgi import Receive, Scope, Send
from tfgrpo.serve.proxy.listening import listen

DESCRIPTION = Path(__file__).parent / "data" / "surfaces.yaml"
ANSWER = orjson.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": "BILL"}}], "usage": {}})


class Upstream:
    """Answers with 200, and each second request that has a prior in it with 400."""

    def __init__(self) -> None:
        self._biased = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        while (await receive()).get("more_body", False):
            pass
        self._biased += (biased := dict(scope["headers"]).get(b"x-tfgrpo-prior", b"none") != b"none")
        status = 400 if biased and self._biased % 2 else 200
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": ANSWER})


def run_upstream(ready: Connection) -> None:
    """The upstream, as a process."""
    with listen("127.0.0.1", 0) as listener:
        ready.send(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")
        config = uvicorn.Config(Upstream(), interface="asgi3", log_level="warning", access_log=False, lifespan="off")
        uvicorn.Server(config).run(sockets=[listener])


def main() -> None:
    """Start both, send, and tell what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--schemathesis", default="schemathesis")
    given = parser.parse_args()
    multiprocessing.set_start_method("spawn", force=True)
    with TemporaryDirectory() as folder:
        store = go_live(Path(folder) / "s.db", PRIOR, model=MODEL)
        go_live(store, PRIOR, namespace="support", model=MODEL)
        with process(run_upstream) as direct, process(run_proxy, direct, str(store)) as proxy:
            command = [
                *shlex.split(given.schemathesis), "run", str(DESCRIPTION), "--url", proxy, "--seed", str(given.seed),
                "--checks", "not_a_server_error", "--max-examples", str(given.examples), "--continue-on-failure",
                "--generation-database", "none", "--warnings", "off",
            ]  # fmt: skip
            failed = subprocess.run(command, cwd=folder, check=False).returncode
            for what, calls in sorted(served(proxy.removesuffix("/v1")).items()):
                print(f"  {calls:>6} calls of surface {what}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
