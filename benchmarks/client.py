"""What the prior costs a client per call: the SDK alone and with the prior, side by side, no network.

    python -m benchmarks.client [CALLS]

Both clients speak to the same in-process transport; calls alternate, so that the machine's moods meet both alike.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter

import httpx2
import openai
from openai.types.chat import ChatCompletionMessageParam

import tfgrpo
from tfgrpo.records import Experience, Frame, Prior, Snapshot, TokenBias
from tfgrpo.store import Store
from tfgrpo.surfaces.http import STANDARD, rewrite

MODEL = "m"
PRIOR = Prior(
    experiences=tuple(Experience(f"When case {n} comes up, {'say so ' * 8}and stop.") for n in range(20)),
    biases=tuple(TokenBias(n, b"t", n / 50 - 1, 3.0, 4) for n in range(100)),
)
ANSWER = {"id": "1", "object": "chat.completion", "created": 0, "model": MODEL, "choices": []}


def live_store(path: Path) -> Path:
    """A store whose live prior has 20 experiences and 100 token biases."""
    with Store(path) as store:
        store.add_prior(PRIOR)
        store.set_state("default", PRIOR.id, "live", frame=Frame(model=MODEL))
    return path


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    start = perf_counter()
    work()
    return perf_counter() - start


def line(name: str, samples: list[float]) -> None:
    """Median and middle half, in microseconds."""
    low, _, high = quantiles(samples, n=4)
    print(f"{name:<34}{median(samples) * 1e6:>10.1f}{low * 1e6:>10.1f}{high * 1e6:>10.1f}{len(samples):>8}")


def compare(calls: int, kilobytes: int, store: Path) -> None:
    """One call of each client in turn."""
    http_client = httpx2.Client(transport=httpx2.MockTransport(lambda request: httpx2.Response(200, json=ANSWER)))
    alone = openai.OpenAI(api_key="k", http_client=http_client)
    ours = tfgrpo.OpenAI(api_key="k", http_client=http_client, store=store)
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "word " * (kilobytes * 205)}]

    def call(client: openai.OpenAI) -> Callable[[], object]:
        return lambda: client.chat.completions.create(model=MODEL, messages=messages)

    for client in (alone, ours):
        call(client)()
    pairs = [(seconds(call(alone)), seconds(call(ours))) for _ in range(calls)]
    line(f"SDK alone, {kilobytes} KB", [direct for direct, _ in pairs])
    line("  with the prior", [through for _, through in pairs])
    line("  difference", [through - direct for direct, through in pairs])
    body = STANDARD.dumps({"model": MODEL, "messages": messages})
    snapshot = Snapshot("default", PRIOR, "live", Frame(model=MODEL))
    assert json.loads(rewrite(body, snapshot).content or b"")["logit_bias"]
    line("  of which the decision", [seconds(lambda: rewrite(body, snapshot)) for _ in range(calls)])


def main() -> None:
    """Print the table."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    print(f"{'microseconds a call':<34}{'median':>10}{'25%':>10}{'75%':>10}{'n':>8}")
    with TemporaryDirectory() as folder:
        store = live_store(Path(folder) / "s.db")
        for kilobytes in (1, 100):
            compare(calls, kilobytes, store)


if __name__ == "__main__":
    main()
