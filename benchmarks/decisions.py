"""How good offsets of decisions are: held-out accuracy and calls, beside the frozen model and a token prior.

    python -m benchmarks.decisions                    # the embedded model, four small label sets, three seeds
    python -m benchmarks.decisions --tiny             # one set, one seed, no token prior: under a minute
    python -m benchmarks.decisions --speed            # what rewriting a response costs

For each set and seed the tasks are split into those that teach and those that are held out. *Offsets* are learned from
one decision a training task and applied to one decision a held-out task; the *token prior* is learned by
`tfgrpo.learn` (`--gate none`, no experiences, no race) from rollouts, and measured by rollouts at temperature 0. Both
see the same tasks and the same model. Written as JSON lines; differences are over held-out tasks, paired.
"""

import argparse
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tfgrpo.model.local import model_path, serve_local
from tfgrpo.model.local.decisions import Decider
from tfgrpo.model.questions import answered, read_question
from tfgrpo.records import Backend, Frame, OptionOffset, Prior, QuestionOffsets, Snapshot, Task, TokenBias
from tfgrpo.serve.exchange import CODECS
from tfgrpo.surfaces.decided import deciding
from tfgrpo.surfaces.http import answers_decided, rewrite
from tfgrpo.token_prior.decisions import Answered, Fitted, decided_rewards, learned_offsets

SETS: dict[str, tuple[str, dict[str, list[str]]]] = {
    "sentiment": (
        "What is the sentiment of the text?",
        {
            "positive": ["I loved every minute", "A wonderful gift", "Friendly people", "The best pizza in town"],
            "negative": ["I hated every minute", "An awful gift", "Rude people", "The worst pizza in town"],
            "neutral": [
                "The shop opens at nine",
                "It weighs two kilos",
                "The film lasts two hours",
                "It is made of wood",
            ],
        },
    ),
    "queue": (
        "Which team should answer the message?",
        {
            "billing": ["I was charged twice", "Where is my invoice", "My refund has not come", "The price is wrong"],
            "technical": ["The app crashes at start", "I cannot log in", "The page stays white", "Sync is broken"],
            "sales": [
                "Do you have an offer for ten seats",
                "Can I see a demo",
                "What does the large plan cost",
                "We would like to buy",
            ],
        },
    ),
    "subject": (
        "What is the text about?",
        {
            "sports": [
                "The team won the final",
                "She ran a marathon",
                "The goalkeeper was injured",
                "A new record in the sprint",
            ],
            "science": [
                "The telescope saw a new star",
                "Cells divide by mitosis",
                "The vaccine passed its trial",
                "Electrons have spin",
            ],
            "business": [
                "Shares fell by a tenth",
                "The firm was sold",
                "Profits rose last quarter",
                "The bank raised its rates",
            ],
            "music": ["The choir sang at dusk", "Her album is out", "He plays the cello", "The band is on tour"],
        },
    ),
    "priority": (
        "How urgent is the request?",
        {
            "high": [
                "The server room is on fire",
                "Nobody can pay",
                "We lose data right now",
                "The plant stands still",
            ],
            "normal": ["Please add a user this week", "The report lacks a column", "A link is broken", "My seat moved"],
            "low": ["A nicer shade of blue", "Some day a dark mode", "No hurry, a typo", "Just an idea for later"],
        },
    ),
}
ENDINGS = (".", "!", ", they said.", ", as I wrote yesterday.", " (sent from my phone)", ", and that is all.")


def tasks_of(name: str, seed: int, endings: int = len(ENDINGS)) -> tuple[list[Task], list[Task]]:
    """Tasks that teach and tasks that are held out; a text is on one side, whatever its ending."""
    drawn = random.Random(seed)
    train: list[Task] = []
    held: list[Task] = []
    for label, texts in SETS[name][1].items():
        for place, text in enumerate(drawn.sample(texts, len(texts))):
            side = train if place % 2 else held
            side.extend(Task(f"{text}{ending}", label) for ending in ENDINGS[:endings])
    return train, held


def question_of(name: str) -> dict[str, Any]:
    """The question of a set, as the API takes it."""
    words, labels = SETS[name]
    return {"type": "choice", "instructions": words, "choices": [{"value": label} for label in labels]}


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


def offsets_row(decider: Decider, name: str, seed: int, endings: int = len(ENDINGS)) -> tuple[dict[str, Any], Fitted]:
    """Offsets on one set and seed: held-out accuracy, calls and seconds."""
    train, held = tasks_of(name, seed, endings)
    began = time.perf_counter()
    found = ask(decider, question_of(name), train)
    fitted = learned_offsets(found)
    seconds = time.perf_counter() - began
    fresh = ask(decider, question_of(name), held)
    frozen, after = (decided_rewards(fresh, each) for each in (np.zeros(fresh.logs.shape[1]), fitted.offsets))
    gain = after - frozen
    row = {
        "set": name, "seed": seed, "arm": "offsets", "train": len(train), "held_out": len(held), "calls": len(train),
        "kept": fitted.kept, "frozen": round(float(frozen.mean()), 3), "learned": round(float(after.mean()), 3),
        "gain": round(float(gain.mean()), 3), "se": round(float(gain.std(ddof=1) / math.sqrt(len(gain))), 3),
        "learning_seconds": round(seconds, 1),
    }  # fmt: skip
    return row, fitted


def token_row(base_url: str, model: str, name: str, seed: int) -> dict[str, Any]:
    """A token prior by logit_bias on the same tasks, measured by rollouts."""
    import tfgrpo

    train, held = tasks_of(name, seed)
    labels = ", ".join(SETS[name][1])
    frame: dict[str, Any] = {"system": f"{SETS[name][0]} Answer with one of: {labels}.", "request": {"max_tokens": 4}}
    with TemporaryDirectory() as folder:
        store = Path(folder) / "s.db"
        learned = tfgrpo.learn(
            train, reward="choice", model=model, base_url=base_url, store=store, gate=False, experiences=False,
            race=False, seed=seed, **frame,
        )  # fmt: skip
        measured = tfgrpo.evaluate(
            held, reward="choice", model=model, base_url=base_url, store=store, repeat=1, temperature=0.0,
            written=False, few_shot=False,
        )  # fmt: skip
    return {
        "set": name, "seed": seed, "arm": "token prior", "calls": learned.usage.calls,
        "frozen": round(measured.means["frozen"], 3), "learned": round(measured.means["learned"], 3),
    }  # fmt: skip


def speed() -> dict[str, float]:
    """Microseconds that a response of 20 questions costs, in parts, at the best of 2,000."""
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

    content = json.dumps(payload)
    return {
        "find offsets": best(lambda: deciding(body, prior)),
        "move answers": best(lambda: known.decided(payload)),
        "read and write JSON (json)": best(lambda: json.dumps(json.loads(content))),
        "decide a label again, JSON read and written": best(a_label()),
    }


def a_label() -> Callable[[], object]:
    """A chat answer of three tokens with 20 alternatives each, whose label is decided again."""
    shares = {"b": 0.4, "tech": 0.2, "sales": 0.1, **{f"x{place}": 0.3 / 17 for place in range(17)}}
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
    asked = json.dumps({"model": "m", "messages": [{"role": "user", "content": "?"}], "seed": 3}).encode()
    backend = Backend("other", "rejected", token_ids=True, logprobs=True)
    rewritten, content = rewrite(asked, snapshot, CODECS, {"m": backend}), json.dumps({"choices": [choice]}).encode()
    return lambda: answers_decided(rewritten, 200, content, CODECS)


def rows(tiny: bool) -> Iterator[dict[str, Any]]:
    """All that was asked for, as it is measured."""
    names, seeds = (["sentiment"], [0]) if tiny else (list(SETS), [0, 1, 2])
    with serve_local(model_path(), slots=1) as server:
        decider = Decider(server.endpoint.base_url.removesuffix("/v1"), server.endpoint.model)
        for name in names:
            for seed in seeds:
                yield offsets_row(decider, name, seed, 2 if tiny else len(ENDINGS))[0]
                if not tiny:
                    yield token_row(*server.endpoint, name, seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="one set, one seed, no token prior")
    parser.add_argument("--speed", action="store_true", help="what rewriting a response costs; no model")
    given = parser.parse_args()
    for row in [speed()] if given.speed else rows(given.tiny):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
