"""LiteLLM's proxy before `tfgrpo serve`, and behind it: what a caller of the outer one sees.

    python -m benchmarks.litellm_sides LITELLM

LITELLM is the command `litellm` of an environment with `litellm[proxy]` in it (one of its own: its dependencies are
many). Asked through both orders: a plain call, a stream, an error of the upstream, and whether the header that
feedback goes by comes back. The upstream is a fake one, which tells whether the prior reached it.
"""

import argparse
import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from benchmarks.proxy_ways import free_port, proxy
from tests.live import MODEL, TEXT, go_live
from tfgrpo.records import ChatBody
from tfgrpo.testing import Answer, ScriptedModel, serving

KEY = f"sk-{secrets.token_hex(32)}"
"""LiteLLM starts with none that is weak."""
SECONDS = 90.0
"""For LiteLLM to start."""
INFERENCE = "x-tfgrpo-inference-id"


def answer(body: ChatBody) -> Answer:
    """Whether the prior came along; an error where one is asked for."""
    if "Fail." in json.dumps(body):
        return Answer("no more today", status=429)
    return Answer("with the prior" if TEXT in json.dumps(body) else "without")


@contextmanager
def litellm(command: str, base: str, folder: Path) -> Iterator[str]:
    """LiteLLM's proxy before a base URL; its own."""
    port = free_port()
    parameters = {"model": f"openai/{MODEL}", "api_base": base, "api_key": "none", "max_retries": 0}
    config = {"model_list": [{"model_name": MODEL, "litellm_params": parameters}]}
    (folder / "config.yaml").write_text(json.dumps(config))
    started = [command, "--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": KEY}
    running = subprocess.Popen(started, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        _await(f"http://127.0.0.1:{port}/health/liveliness", running)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        running.terminate()
        running.wait()


def _await(url: str, running: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + SECONDS
    while running.poll() is None and time.monotonic() < until:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise SystemExit("LiteLLM does not start")


def seen(base: str, ours: str) -> Iterator[tuple[str, str]]:
    """What a caller of a base URL sees, by what was asked."""
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "Which queue?"}]}
    with httpx.Client(base_url=base, timeout=60, headers={"authorization": f"Bearer {KEY}"}) as http:
        plain = http.post("/chat/completions", json=asked)
        text = plain.json()["choices"][0]["message"]["content"] if plain.status_code == 200 else plain.text[:200]
        yield "chat", f"{plain.status_code}, {text}"
        with http.stream("POST", "/chat/completions", json=asked | {"stream": True}) as stream:
            events = [line[6:] for line in stream.iter_lines() if line.startswith("data: ")]
        pieces = [json.loads(event) for event in events if event != "[DONE]"]
        told = "".join(one["choices"][0]["delta"].get("content") or "" for one in pieces if one.get("choices"))
        yield "stream", f"{stream.status_code}, {told}, {'to' if events[-1:] == ['[DONE]'] else 'not to'} [DONE]"
        wrong = http.post("/chat/completions", json=asked | {"messages": [{"role": "user", "content": "Fail."}]})
        yield "error of the upstream", f"{wrong.status_code}, {wrong.text[:160]}"
        ids = [name for name in plain.headers if name.endswith(INFERENCE)]
        yield "header for feedback", ", ".join(ids) or "none"
        if ids:
            given = {"inference_id": plain.headers[ids[0]], "reward": 1}
            told = http.post(f"{ours.removesuffix('/v1')}/tfgrpo/v1/feedback", json=given)
            yield "feedback, given to tfgrpo", f"{told.status_code}, {told.text[:100]}"


def main() -> None:
    """Ask through both orders, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("litellm", help="the command of an environment with litellm[proxy]")
    command = parser.parse_args().litellm
    with TemporaryDirectory() as place, serving(ScriptedModel(answer).app) as upstream:
        folder = Path(place)
        cores, store = os.sched_getaffinity(0), str(go_live(folder / "s.db"))
        with proxy(cores, upstream, store) as ours, litellm(command, ours.base, folder) as outer:
            for what, told in seen(outer, ours.base):
                print(f"caller, LiteLLM, tfgrpo | {what}: {told}", flush=True)
        with litellm(command, upstream, folder) as inner, proxy(cores, inner, store) as ours:
            for what, told in seen(ours.base, ours.base):
                print(f"caller, tfgrpo, LiteLLM | {what}: {told}", flush=True)


if __name__ == "__main__":
    main()
