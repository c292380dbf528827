"""How good decision priors are: held-out accuracy and calls, beside the frozen model and a token prior by `logit_bias`.

    python -m benchmarks.decisions --out FILE                    # the embedded model, four label sets, three seeds
    python -m benchmarks.decisions --out FILE --model M.gguf     # another model, in the same file if you like
    python -m benchmarks.decisions --out FILE --seconds 230      # begin nothing more after so long; go on later
    python -m benchmarks.decisions --out FILE --priors FOLDER    # re-deciding alone, with priors that are there
    python -m benchmarks.decisions --summary FILE                # what the rows of a file come to, for each model
    python -m benchmarks.decisions --speed                       # what rewriting a response costs; no model

For each set and seed (`label_sets`) there are three rows, each of which is written as soon as it is there and never
made again: *decisions* (offsets, learned from one decision a training task, on one decision a held-out task), *raced*
(`tfgrpo learn --surface decisions`, with examples and written instructions in the race) and *chat* (`redeciding`: a
token prior by `tfgrpo.learn` from listed answers, by `logit_bias` and by re-deciding). All see the same tasks.
Differences are over held-out texts, paired; a text's seeds count together.
"""

import argparse
import asyncio
import gzip
import json
import math
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np

from benchmarks.alternatives import file_of
from benchmarks.label_sets import HELD, QUESTIONS, TRAIN, LabelTasks, label_tasks
from benchmarks.redeciding import Asked, both_ways, cell, request
from tfgrpo.evaluation.decisions import WantedDecisionEvaluation
from tfgrpo.evaluation.difference import paired_difference
from tfgrpo.learning.decisions import WantedDecisions
from tfgrpo.model.endpoints import Endpoint, Endpoints
from tfgrpo.model.local import model_path, serve_local
from tfgrpo.model.local.decisions import Decider
from tfgrpo.model.local.front import decisions_front
from tfgrpo.model.questions import answered, read_question
from tfgrpo.observer import Silent
from tfgrpo.records import Backend, Frame, OptionOffset, Prior, QuestionOffsets, Snapshot, Task, TokenBias
from tfgrpo.serve.exchange import CODECS
from tfgrpo.settings import LISTED_FOR_LABELS, MOST_LISTED
from tfgrpo.store import Store
from tfgrpo.surfaces.decided import deciding
from tfgrpo.surfaces.http import STANDARD, answers_decided, rewrite
from tfgrpo.surfaces.redecided_stream import RedecidedStream
from tfgrpo.tasks.split import Sides
from tfgrpo.token_prior.decisions import Answered, decided_rewards, learned_offsets

SEEDS = 3
SAMPLED = 8 * 4
"""Calls for each training task that a token prior takes from sampled rollouts, by the default settings."""
PAIRS = (
    ("offsets", "token prior 0"), ("raced", "token prior 0"), ("again 0", "bias 0"), ("again 0.7", "bias 0.7"),
    ("again of 20 0", "bias 0"), ("again of 20 0.7", "bias 0.7"),
    ("offsets", "decided"), ("raced", "decided"), ("raced", "offsets"), ("token prior 0", "frozen 0"),
    ("again 0", "frozen 0"), ("offsets 0", "bias 0"),
)  # fmt: skip
"""What is compared; `decided` is the frozen model's decision, and `offsets 0` are those of a chat's labels."""
Row: TypeAlias = dict[str, Any]


def ask(decider: Decider, body: dict[str, Any], tasks: Sequence[Task]) -> Answered:
    """One decision a task."""
    question = read_question(body, "question")
    logs, rewards = [], []
    for task in tasks:
        found = decider.decide({"input": str(task.input), "questions": [body]})
        shares = answered(found["answers"][0]) or {}
        logs.append([math.log(max(shares.get(option, 0.0), 1e-300)) for option in question.options])
        rewards.append([float(option == task.answer) for option in question.options])
    return Answered(np.array(logs), np.array(rewards))


def decisions_row(asked: Asked, one: LabelTasks) -> Row:
    """The frozen model's decisions, and offsets on them."""
    decider = Decider(asked.url.removesuffix("/v1"), asked.name)
    fitted = learned_offsets(ask(decider, one.question, one.train))
    fresh = ask(decider, one.question, one.held)
    none = np.zeros(fresh.logs.shape[1])
    arms = {arm: decided_rewards(fresh, each) for arm, each in (("decided", none), ("offsets", fitted.offsets))}
    told = {"kept": fitted.kept, "why": fitted.why, "offsets": [round(each, 2) for each in fitted.offsets.tolist()]}
    return {"calls": {"offsets": len(one.train)}, "arms": {arm: each.tolist() for arm, each in arms.items()}, **told}


def raced_row(asked: Asked, one: LabelTasks) -> Row:
    """As `tfgrpo learn --surface decisions` learns it, without a gate, and as `tfgrpo eval` measures it."""
    endpoints = Endpoints(Endpoint(asked.url, asked.name, "none"))
    with TemporaryDirectory() as folder, Store(Path(folder) / "s.db") as store:
        file = Path(folder) / "question.json"
        file.write_text(json.dumps(one.question))
        watch, frame = (lambda _: nullcontext(Silent())), Frame(asked.name)
        wanted = WantedDecisions(str(file), list(one.train), endpoints, frame, sides=Sides(gated=False))
        learned = asyncio.run(wanted.prepared().learn(store, watch))
        live = store.live("default")
        measuring = WantedDecisionEvaluation(str(file), list(one.held), endpoints)
        found = asyncio.run(measuring.prepared(store).measure(store, watch)) if live else None
    told = {"calls": {"raced": learned.usage.calls}, "learned": learned.as_json()}
    if found is None:
        return {"arms": {}, **told}
    rewards = {rollout.task.prompt: rollout.reward for rollout in found.rollouts["learned"]}
    return {"arms": {"raced": [rewards[task.prompt] for task in one.held]}, **told}


def chat_row(asked: Asked, one: LabelTasks) -> Row:
    """The frozen model in a chat, a token prior by biases, and the same by re-deciding."""
    return cell(asked, one, repeat=1, steps=4, exact=True)


def again_row(folder: Path, asked: Asked, one: LabelTasks) -> Row:
    """Biases and re-deciding by a prior that `benchmarks.alternatives` has kept; four answers a task at 0.7."""
    kept = json.loads(gzip.decompress(file_of(folder, one.name, one.seed).read_bytes()))
    assert kept["texts"] == [str(task.input) for task in one.held]
    known = []
    for name, bias in kept["biases"]:
        piece = bytes.fromhex(name)
        (token,) = tokens_of(asked, piece.decode())
        known.append(TokenBias(token, piece, bias, 9.0, 1))
    frozen = asked.answers([request(one.system, task, 0.0, one.seed) for task in one.held])
    told, arms = both_ways(asked, one, Prior(biases=tuple(known)), frozen, repeat=4)
    return {"calls": {"token prior": kept["calls"]}, "tokens": len(known), "redecided": told, "arms": arms}


def tokens_of(asked: Asked, text: str) -> list[int]:
    """The ids of a text, by the server's own tokenizer."""
    body = json.dumps({"content": text, "add_special": False}).encode()
    sent = urllib.request.Request(
        asked.url.removesuffix("/v1") + "/tokenize", body, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(sent, timeout=30) as response:
        return list(json.load(response)["tokens"])


PARTS: Mapping[str, Callable[[Asked, LabelTasks], Row]] = {
    "decisions": decisions_row, "chat": chat_row, "raced": raced_row,
}  # fmt: skip


def rows_in(file: Path) -> list[Row]:
    """The rows of a file; none where there is no file yet."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def run(
    asked: Asked, file: Path, *, parts: Mapping[str, Callable[[Asked, LabelTasks], Row]], seeds: int, seconds: float,
    small: bool,
) -> None:  # fmt: skip
    """Make the rows that the file has not, until the time is over; each is printed and appended."""
    began, longest = time.monotonic(), dict.fromkeys(parts, 0.0)
    there = {(row["model"], row["set"], row["seed"], row["part"]) for row in rows_in(file)}
    for seed in range(seeds):
        for part in parts:
            for name in QUESTIONS:
                now = time.monotonic()
                if (asked.name, name, seed, part) in there or now - began + longest[part] > seconds:
                    continue
                one = label_tasks(name, seed, *((6, 6) if small else (TRAIN, HELD)))
                made = parts[part](asked, one)
                longest[part] = max(longest[part], time.monotonic() - now)
                row: Row = {"model": asked.name, "part": part, "seconds_all": round(time.monotonic() - now, 1)}
                row |= {"set": name, "seed": seed, "train": len(one.train), **made}
                row["texts"] = [task.prompt for task in one.held]
                with file.open("a") as out:
                    out.write(json.dumps(row) + "\n")
                means = {arm: round(float(np.mean(found)), 3) for arm, found in row["arms"].items()}
                print(json.dumps({**row, "arms": means, "texts": len(row["texts"])}), flush=True)


def summary(rows: Sequence[Row]) -> Iterator[Row]:
    """For each model: the accuracy of each arm, its calls, and the differences with their intervals over texts."""
    for model in sorted({row["model"] for row in rows}):
        own = [row for row in rows if row["model"] == model]
        arms = by_arm(own)
        accuracy = {arm: round(100 * float(np.mean(list(found.values()))), 1) for arm, found in arms.items()}
        yield {"model": model, "rows": len(own), "accuracy": accuracy, **calls_of(own)}
        for first, other in PAIRS:
            shared = sorted(set(arms.get(first, {})) & set(arms.get(other, {})))
            texts = defaultdict(list)
            for name, seed, text in shared:
                both = (arms[arm][name, seed, text] for arm in (first, other))
                texts[name, text].append(next(both) - next(both))
            if len(texts) > 1:
                found = paired_difference(np.array([float(np.mean(each)) for each in texts.values()]))
                ends = [round(100 * each, 1) for each in (found.low, found.high)]
                told = {"points": round(100 * found.mean, 1), "interval": ends, "texts": len(texts)}
                yield {"difference": f"{first} - {other}", **told}


def by_arm(rows: Sequence[Row]) -> dict[str, dict[tuple[str, int, str], float]]:
    """By arm: the reward of each set, seed and text."""
    found: dict[str, dict[tuple[str, int, str], float]] = defaultdict(dict)
    for row in rows:
        for arm, rewards in row["arms"].items():
            found[arm] |= {
                (row["set"], row["seed"], text): reward for text, reward in zip(row["texts"], rewards, strict=True)
            }
    return found


def calls_of(rows: Sequence[Row]) -> Row:
    """The calls of learning a training task by each way; what sampled rollouts take is by the default settings."""
    each: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        for way, calls in row["calls"].items():
            each[way].append(calls / row["train"])
    return {
        "calls a task": {way: round(float(np.mean(found)), 2) for way, found in each.items()} | {"sampled": SAMPLED}
    }


def speed() -> dict[str, float]:
    """Microseconds that a response of 20 questions costs, in parts, and a label, at the best of 2,000."""
    offsets = tuple(OptionOffset(value, 0.5, 2.0, 9) for value in "abc")
    prior = Prior(questions=(QuestionOffsets("choice", "Which?", offsets),))
    body = {"questions": [{"type": "choice", "instructions": "Which?"}] * 20}
    listed = [{"value": value, "probability": 1 / 3} for value in "abc"]
    answer = {"type": "choice", "choice": "a", "confidence": 1 / 3, "probabilities": listed}
    payload: Any = {"model": "m", "answers": [answer] * 20}
    known = deciding(body, prior)
    assert known is not None

    def best(work: Any) -> float:
        took = []
        for _ in range(2_000):
            began = time.perf_counter()
            work()
            took.append(time.perf_counter() - began)
        return round(min(took) * 1e6, 1)

    content, codec = json.dumps(payload).encode(), CODECS[0]

    def all_of_it() -> None:
        found = deciding(body, prior)
        assert found is not None
        codec.dumps(found.decided(codec.loads(content)).payload)

    return {
        "find offsets": best(lambda: deciding(body, prior)),
        "move answers": best(lambda: known.decided(payload)),
        "all of it, JSON read and written as the proxy does": best(all_of_it),
        **{
            f"decide a label again among {many} alternatives at {heat}, {kind}": best(work)
            for many in (LISTED_FOR_LABELS, MOST_LISTED)
            for heat in (0.0, 1.0)
            for kind, work in zip(
                ("JSON read and written", "in a stream of 8 tokens"), a_label(many, heat), strict=True
            )
        },
    }


def a_label(alternatives: int, heat: float) -> tuple[Callable[[], object], Callable[[], object]]:
    """A chat answer of three tokens with so many alternatives each, whose label is decided again; and one of eight in a
    stream."""
    others = alternatives - 3
    shares = {"b": 0.4, "tech": 0.2, "sales": 0.1, **{f"x{place}": 0.3 / others for place in range(others)}}
    listed = [
        {"token": token, "bytes": list(token.encode()), "logprob": math.log(share)} for token, share in shares.items()
    ]
    entries = [
        {"token": token, "bytes": list(token.encode()), "logprob": -0.1, "top_logprobs": listed}
        for token in ("b", "illing", ".")
    ]
    choice = {"index": 0, "message": {"role": "assistant", "content": "billing."}, "logprobs": {"content": entries}}
    biases = tuple(TokenBias(place, b"tech" if not place else b"t%d" % place, 1.0, 3.0, 9) for place in range(100))
    snapshot = Snapshot("default", Prior(biases=biases), "live", Frame("m", labels=("billing", "technical", "sales")))
    asked = json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": "?"}], "seed": 3, "temperature": heat}
    ).encode()
    backend = Backend("other", "rejected", token_ids=True, logprobs=True)
    rewritten, content = rewrite(asked, snapshot, CODECS, {"m": backend}), json.dumps({"choices": [choice]}).encode()
    to = rewritten.redeciding
    assert to is not None
    events = [
        b"data: "
        + json.dumps(
            {"choices": [{"index": 0, "delta": {"content": one["token"]}, "logprobs": {"content": [one]}}]}
        ).encode()
        + b"\n\n"
        for one in (*entries, *[{**entries[2], "token": " x", "bytes": [32, 120]}] * 5)
    ]

    def stream() -> None:
        told = RedecidedStream(to, STANDARD.loads, STANDARD.dumps)
        for event in events:
            told.feed(event)
        told.end()

    return lambda: answers_decided(rewritten, 200, content, CODECS), stream


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", metavar="FILE", type=Path, help="JSON lines; what is there is not made again")
    parser.add_argument("--model", metavar="GGUF", help="[default: the embedded model]")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--priors", metavar="FOLDER", type=Path, help="of benchmarks.alternatives: re-deciding alone")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no further row after so many")
    parser.add_argument("--small", action="store_true", help="6 tasks on each side")
    parser.add_argument("--summary", metavar="FILE", type=Path)
    parser.add_argument("--speed", action="store_true", help="what rewriting a response costs; no model")
    given = parser.parse_args()
    if given.speed or given.summary:
        for line in [speed()] if given.speed else summary(rows_in(given.summary)):
            print(json.dumps(line), flush=True)
        return
    if not given.out:
        parser.error("--out FILE, --summary FILE or --speed?")
    with serve_local(model_path(given.model), slots=1) as server, decisions_front(*server.endpoint) as url:
        asked = Asked(url, server.endpoint.model, 1)
        parts = {part: PARTS[part] for part in given.parts.split(",")}
        if given.priors:
            parts = {"again": partial(again_row, given.priors)}
        run(asked, given.out, parts=parts, seeds=given.seeds, seconds=given.seconds, small=given.small)
    for line in summary(rows_in(given.out)):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
