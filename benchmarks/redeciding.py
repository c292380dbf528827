"""A token prior by `logit_bias`, the same biases by re-deciding, and a decision prior, beside each other on one model.

    python -m benchmarks.redeciding --model http://HOST:PORT/v1 --name MODEL     # four label sets, three seeds
    python -m benchmarks.redeciding --local --tiny                               # the embedded model, one small cell

`benchmarks.decisions` runs the same cells on a machine without an accelerator, its rows kept in a file.

The server has to honour `logit_bias` and to give log-probabilities, so that both ways can be had of it. For each set
and seed a token prior is learned by `tfgrpo.learn` (no experiences, race or gate) from sampled rollouts, or with
`--exact` from listed answers where they can be listed; where it keeps none, biases are made of the offsets, and the
row says `made`. Then held-out tasks are asked:

- *frozen*: as the model answers;
- *bias*: with the token prior as `logit_bias`;
- *again*: the frozen answers, their labels decided again as client and proxy do it, at no further call, by the 100
  alternatives that are asked for where an upstream lists as many, and by the first 20 of them (*again of 20*);
- *offsets*: learned from one frozen call a training task; a label has what the tokens have that begin it alone.

At temperature 0 each task is asked once, at 0.7 `--repeat` times. Written as JSON lines; in the summary each difference
has an interval over texts (endings, seeds and repeats of a text together), in points.
"""

import argparse
import json
import math
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import tfgrpo
from benchmarks.label_sets import HELD, QUESTIONS, TRAIN, LabelTasks, label_tasks
from tfgrpo.evaluation.difference import paired_difference
from tfgrpo.hashing import derive_seed
from tfgrpo.model.replies import parse_trace
from tfgrpo.records import Backend, Prior, Task, TokenBias
from tfgrpo.rollouts.executor import SAMPLERS_OFF
from tfgrpo.rollouts.rewards.choice import choice
from tfgrpo.settings import LISTED_FOR_LABELS, MOST_LISTED
from tfgrpo.surfaces.label_set import LabelSet, label_set
from tfgrpo.surfaces.labels import ListedToken
from tfgrpo.surfaces.redecided import REDECIDED_HEADER, listed_tokens, redeciding
from tfgrpo.token_prior.decisions import Answered, decided_rewards, learned_offsets

WARM, MOST_TOKENS = 0.7, 1
RAISED = 4.0
"""Nats, where no token prior was learned: the most that one may have."""
PAIRS = (
    ("again 0", "bias 0"), ("again 0.7", "bias 0.7"), ("offsets 0", "bias 0"), ("bias 0", "frozen 0"),
    ("again 0", "frozen 0"), ("offsets 0", "frozen 0"), ("bias 0.7", "frozen 0.7"), ("again 0.7", "frozen 0.7"),
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """A model at a base URL, and how its requests look."""

    url: str
    name: str
    at_once: int

    def samplers(self) -> Mapping[str, Any]:
        """What switches hidden sampling defaults off, by who owns the model."""
        with urllib.request.urlopen(f"{self.url}/models") as response:
            owners = [one.get("owned_by") for one in json.load(response)["data"]]
        kind = "llama.cpp" if "llamacpp" in owners else "vllm" if "vllm" in owners else ""
        return SAMPLERS_OFF.get(kind, {})

    def answers(self, bodies: Sequence[Mapping[str, Any]]) -> list[Any]:
        """The responses to these requests, in order."""
        off = self.samplers()
        with ThreadPoolExecutor(self.at_once) as pool:
            return list(pool.map(lambda body: self._post({"model": self.name, **off, **body}), bodies))

    def _post(self, body: Mapping[str, Any]) -> Any:
        headers = {"content-type": "application/json"}
        sent = urllib.request.Request(f"{self.url}/chat/completions", json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(sent, timeout=120) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            if error.code != 400 or body.get("top_logprobs", 0) <= LISTED_FOR_LABELS:
                raise
        return self._post({**body, "top_logprobs": LISTED_FOR_LABELS})  # it lists no more


def request(system: str, task: Task, heat: float, seed: int) -> dict[str, Any]:
    """One call of a task, with log-probabilities."""
    messages = [{"role": "system", "content": system}, {"role": "user", "content": str(task.input)}]
    listed = {"logprobs": True, "top_logprobs": MOST_LISTED}
    return {"messages": messages, "max_tokens": MOST_TOKENS, "temperature": heat, "top_p": 1.0, "seed": seed, **listed}


def drawn(one: LabelTasks, task: Task, place: int) -> int:
    """The seed of one answer: with one for all tasks, one number would be drawn for all of them."""
    return derive_seed(one.seed, "answer", task.id, place)


def text_of(payload: Any) -> str:
    return str(payload["choices"][0]["message"]["content"] or "")


def label_logs(payload: Any, labels: LabelSet) -> list[float]:
    """log p of each label, by the tokens listed first that begin it alone; the least listed stands for what is not."""
    entries = (payload["choices"][0].get("logprobs") or {}).get("content")
    found = np.zeros(len(labels.labels))
    least = 1.0

    class Looking:
        is_looking = True

    for sampled, others in listed_tokens(entries, {}, Looking()):
        for one in {token.piece: token for token in (sampled, *map(ListedToken, *others))}.values():
            place, _ = labels.seen(one.piece)
            least = min(least, math.exp(one.logprob))
            if place >= 0:
                found[place] += math.exp(one.logprob)
        break
    shares = np.maximum(found, max(1e-12, min(least, 1e-3)))
    return [float(each) for each in np.log(shares / shares.sum())]


def cell(asked: Asked, one: LabelTasks, *, repeat: int, steps: int, exact: bool = False) -> dict[str, Any]:
    """All arms on one set and seed: by arm, the reward of each held-out task."""
    train, held, words = one.train, one.held, one.labels
    prior, calls, seconds = learned_prior(asked, one, steps, exact)
    labels = label_set(words)
    assert labels
    frozen = asked.answers([request(one.system, task, 0.0, one.seed) for task in held])
    taught = asked.answers([request(one.system, task, 0.0, one.seed) for task in train])
    rewards = np.array([[float(label == task.answer) for label in words] for task in train])
    fitted = learned_offsets(Answered(np.array([label_logs(each, labels) for each in taught]), rewards))
    fresh = Answered(
        np.array([label_logs(each, labels) for each in frozen]),
        np.array([[float(label == task.answer) for label in words] for task in held]),
    )
    arms = {"offsets 0": decided_rewards(fresh, fitted.offsets).tolist()}
    if made := not prior.biases:
        bodies = [request(one.system, task, 0.0, one.seed) for task in train]
        prior = made_prior(asked, bodies, labels, fitted.offsets.tolist())
    told, under = both_ways(asked, one, prior, frozen, repeat=repeat)
    arms |= under
    arms["token prior 0"] = arms["frozen 0" if made else "bias 0"]
    return {
        "set": one.name, "seed": one.seed, "train": len(train), "held_out": len(held), "tokens": len(prior.biases),
        "calls": {"token prior": calls, "offsets": len(train)}, "offsets_kept": fitted.kept,
        "seconds": round(seconds, 1), "redecided": told, "arms": arms, 
        "texts": [str(task.input) for task in held], "made": made,
    }  # fmt: skip


def both_ways(
    asked: Asked, one: LabelTasks, prior: Prior, frozen: Sequence[Any], *, repeat: int
) -> tuple[dict[str, int], dict[str, list[float]]]:
    """What becomes of labels under a prior, and by arm and temperature the rewards; `frozen` are answers at 0."""
    told: dict[str, int] = defaultdict(int)
    arms, held = {}, one.held
    for heat, times in ((0.0, 1), (WARM, repeat)):
        bodies = [request(one.system, task, heat, drawn(one, task, place)) for task in held for place in range(times)]
        plain = frozen if not heat else asked.answers(bodies)
        biased = asked.answers([{**body, "logit_bias": dict(prior.logit_bias)} for body in bodies])
        found: dict[str, Sequence[Any]] = {"frozen": plain, "bias": biased}
        for arm, listed in (("again", plain), ("again of 20", [of_twenty(answer) for answer in plain])):
            decided = [
                decided_again(body, answer, prior, one.labels) for body, answer in zip(bodies, listed, strict=True)
            ]
            found[arm] = [answer for answer, _ in decided]
            for _, tag in decided if arm == "again" else ():
                told[tag] += 1
        for arm, answers in found.items():
            right = [float(choice(held[at // times].answer)(text_of(each))) for at, each in enumerate(answers)]
            arms[f"{arm} {heat:g}"] = np.array(right).reshape(len(held), times).mean(axis=1).tolist()
    return dict(told), arms


def decided_again(body: Mapping[str, Any], payload: Any, prior: Prior, words: tuple[str, ...]) -> tuple[Any, str]:
    """An answer with its label decided again, and what became of it."""
    to = redeciding(body, prior, words, Backend(logprobs=True), "chat") if prior.biases else None
    done = to.decided(payload) if to else None
    return (done.payload, done.marks.get(REDECIDED_HEADER, "")) if done else (payload, "no biases")


def of_twenty(payload: Any) -> Any:
    """An answer as a server gives it that lists no more alternatives."""
    one = payload["choices"][0]
    listed = (one.get("logprobs") or {}).get("content")
    if not listed:  # of an answer that ended at once
        return payload
    entries = [{**each, "top_logprobs": each["top_logprobs"][:LISTED_FOR_LABELS]} for each in listed]
    return {**payload, "choices": [{**one, "logprobs": {"content": entries}}]}


def made_prior(asked: Asked, bodies: Sequence[Mapping[str, Any]], labels: LabelSet, offsets: Sequence[float]) -> Prior:
    """Biases where none were learned: each token that begins one label alone has RAISED, and that label's offset."""
    known: dict[int, TokenBias] = {}
    for payload in asked.answers([{**body, "return_tokens_as_token_ids": True} for body in bodies]):
        trace = parse_trace(((payload["choices"][0].get("logprobs") or {}).get("content") or [])[:1])
        for token, piece in trace.pieces.items() if trace else ():
            place, said = labels.seen(piece)
            if place >= 0 and said:
                known[token] = TokenBias(token, piece, RAISED + offsets[place], 9.0, 1)
    return Prior(biases=tuple(known.values()))


def learned_prior(asked: Asked, one: LabelTasks, steps: int, exact: bool) -> tuple[Prior, int, float]:
    """A token prior by rollouts, sampled or drawn from listed answers, the calls that it took, and the seconds."""
    began = time.perf_counter()
    with TemporaryDirectory() as folder:
        found = tfgrpo.learn(
            one.train, reward="choice", model=asked.name, base_url=asked.url, store=Path(folder) / "s.db", gate=False,
            experiences=False, race=False, exact_groups="auto" if exact else "off", seed=one.seed, steps=steps,
            concurrency=asked.at_once, system=one.system, stop_hopeless=False, api_key="none",
            request={"max_tokens": MOST_TOKENS},
        )  # fmt: skip
    return found.prior, found.usage.calls, time.perf_counter() - began


def summary(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The means of each arm, and the differences with their intervals over texts."""
    by_text: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for arm, rewards in row["arms"].items():
            for text, reward in zip(row["texts"], rewards, strict=True):
                by_text[arm][f"{row['set']}: {text}"].append(reward)
    means = {arm: {text: float(np.mean(found)) for text, found in texts.items()} for arm, texts in by_text.items()}
    overall = {arm: round(100 * float(np.mean(list(texts.values()))), 1) for arm, texts in means.items()}
    yield {"cells": len(rows), "texts": len(next(iter(means.values()))), "accuracy": overall}
    calls = {each: sum(row["calls"][each] for row in rows) for each in ("token prior", "offsets")}
    yield {"calls": calls, "share": round(calls["offsets"] / max(1, calls["token prior"]), 3)}
    for one, other in PAIRS:
        found = paired_difference(np.array([means[one][text] - means[other][text] for text in means[one]]))
        ends = [round(100 * each, 1) for each in (found.low, found.high)]
        yield {"difference": f"{one} - {other}", "points": round(100 * found.mean, 1), "interval": ends}


@contextmanager
def model_of(given: argparse.Namespace) -> Iterator[Asked]:
    if not given.local:
        yield Asked(given.model.rstrip("/"), given.name, given.at_once)
        return
    from tfgrpo.model.local import model_path, serve_local

    with serve_local(model_path(), slots=1) as server:
        yield Asked(server.endpoint.base_url, server.endpoint.model, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", metavar="URL", default="")
    parser.add_argument("--name", default="")
    parser.add_argument("--local", action="store_true", help="the embedded model")
    parser.add_argument("--tiny", action="store_true", help="one set, one seed, few tasks")
    parser.add_argument("--exact", action="store_true", help="list answers in place of sampling them, where it can be")
    parser.add_argument("--sets", default=",".join(QUESTIONS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no further cell after so many")
    given = parser.parse_args()
    began, rows, longest = time.monotonic(), [], 0.0
    names, seeds = (["labels"], 1) if given.tiny else (given.sets.split(","), given.seeds)
    with model_of(given) as asked:
        for seed in range(seeds):
            for name in names:
                now = time.monotonic()
                if now - began + longest > given.seconds:
                    break
                one = label_tasks(name, seed, *((6, 6) if given.tiny else (TRAIN, HELD)))
                rows.append(cell(asked, one, repeat=given.repeat, steps=given.steps, exact=given.exact))
                longest = max(longest, time.monotonic() - now)
                means = {arm: round(float(np.mean(found)), 3) for arm, found in rows[-1]["arms"].items()}
                print(json.dumps({**rows[-1], "arms": means, "texts": len(rows[-1]["texts"])}), flush=True)
    for line in summary(rows) if rows else ():
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
