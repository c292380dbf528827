"""The whole loop on a SIMULATED policy whose tool fails: is advice proposed for its moment, kept, and worth the moment?

    python -m benchmarks.tool_errors [--tasks 60] [--seeds 3] [--repeat 4]

Each run is `learn --only-what-applies` with an agent, then `eval --moments` on as many other tasks, by the command line
and over HTTP. A task takes five calls of a tool, of which each fails at a rate of its own (5 to 35%) and is then made
again, at most twice; what the policy makes of the advice is assumed, as in `benchmarks.triggers`. The distiller always
writes the same text, without any trigger, and the product is to find its moment.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import openai
from click.testing import CliRunner

from benchmarks.triggers import MENDS, MENDS_BEFORE, MENDS_TOLD, SLIPS, SLIPS_TOLD
from tfgrpo.cli import main as tfgrpo
from tfgrpo.hashing import canonical
from tfgrpo.records import JSON, ChatBody, Message, Task, message_text
from tfgrpo.testing import ScriptedModel, serving

ADVICE = "When a call fails, read what it says and change what it names before the next one."
CALLS, RETRIES = 5, 2
AGENT = "benchmarks.tool_errors:calls_a_tool"


def calls_a_tool(client: openai.OpenAI, task: Task) -> str:
    """The agent: all calls, each once more where it failed; solved where every one was right in the end."""
    said: list[Any] = [{"role": "system", "content": "Call the tool."}, {"role": "user", "content": task.prompt}]
    for number in range(CALLS):
        for _ in range(1 + RETRIES):
            reply = client.chat.completions.create(model="default", messages=said).choices[0].message.content or ""
            back = "error: no such file" if "wrong" in reply else "ok"
            said += [{"role": "assistant", "content": reply}]
            said += [{"role": "tool", "tool_call_id": f"call_{number}", "content": back}]
            if back == "ok":
                break
        else:
            return "failed"
    return "solved"


def policy(body: ChatBody) -> str:
    """The SIMULATED model: makes the next call, and as distiller writes its advice."""
    messages: Sequence[Message] = body["messages"]
    if "<attempts>" in message_text(messages[-1]):
        return json.dumps([{"operation": "ADD", "text": ADVICE}])
    draw = Random(canonical([body.get("seed"), [[one.get("role"), message_text(one)] for one in messages]]))
    asked = next(message_text(one) for one in messages if one.get("role") == "user")
    last, first = ADVICE in message_text(messages[-1]), ADVICE in message_text(messages[0])
    if message_text(messages[-1]).startswith("error"):
        right = MENDS_TOLD if last else MENDS_BEFORE if first else MENDS
    else:
        failing = Random(asked.partition("\n")[0]).uniform(0.05, 0.35)
        right = (1 - failing) * (1 - (SLIPS_TOLD if last else SLIPS))
    return f"{'right' if draw.random() < right else 'wrong'} call {draw.random():.6f}"


def write_tasks(name: str, tasks: int) -> None:
    """A file of so many."""
    lines = (json.dumps({"input": f"Job {name} {number}.", "answer": "solved"}) for number in range(tasks))
    Path(f"{name}.jsonl").write_text("\n".join(lines))


def learned_and_measured(url: str, seed: int, tasks: int, repeat: int, *more: str) -> tuple[list[str], dict[str, JSON]]:
    """The texts of the prior that one run learns, and what `eval --moments` says of it; none where none waits."""
    at = ("--base-url", url, "--model", "simulated", "--store", f"{seed}.db", "--agent", AGENT, "--json")
    for name in ("learn", "other"):
        write_tasks(name, tasks)
    plain = ("--no-token-prior", "--no-race", "--gate", "none", "--seed", str(seed), "--only-what-applies", *more)
    learned = CliRunner().invoke(tfgrpo, ["learn", "learn.jsonl", *at, *plain])
    assert learned.exit_code == 0, learned.output
    shown = CliRunner().invoke(tfgrpo, ["prior", "show", "--store", f"{seed}.db", "--json"])
    texts = [str(one["text"]) for one in json.loads(shown.stdout)["experiences"]]
    if not any(text.startswith("[on ") for text in texts):
        return texts, {}
    beside = ("--moments", "--no-written", "--no-few-shot", "--repeat", str(repeat))
    measured = CliRunner().invoke(tfgrpo, ["eval", "other.jsonl", *at, *beside])
    assert measured.exit_code == 0, measured.output
    return texts, json.loads(measured.stdout)


def main() -> None:
    """The table: arms over all runs, and what each learned."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=4)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving(ScriptedModel(policy).app) as url:
        os.chdir(folder)
        for seed in range(asked.seeds):
            texts, found = learned_and_measured(url, seed, asked.tasks, asked.repeat)
            print(f"seed {seed}: {texts}")
            for name in ("means", "tokens"):
                print("  ", name, {arm: round(mean, 3) for arm, mean in found.get(name, {}).items()})
            worth = {"a moment": found["moment_worth"]} if found.get("moment_worth") else {}
            for name, gap in {**found.get("differences", {}), **worth}.items():
                print(f"   {name}: {100 * gap['mean']:+.1f} [{100 * gap['low']:+.1f}, {100 * gap['high']:+.1f}]")
        os.chdir("/")


if __name__ == "__main__":
    main()
