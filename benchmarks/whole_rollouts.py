"""Whole rollouts of an agent as demonstrations: the whole loop on a SIMULATED policy that seldom calls its tools.

    python -m benchmarks.whole_rollouts [--tasks 40] [--repeat 4]

`learn` with an agent, then `eval` on as many other tasks, by the command line and over HTTP. A task takes two calls of
a tool: the index names a shelf, and the shelf a label. The policy is assumed to call at all in 40% of rollouts, in 95%
where it is shown a rollout that does, and else to guess one of three labels. Whatever it is shown, a fifth of its calls
names what is not there, and a fifth of those that succeed is made again. What the race makes of that, what shortening
saves and what a success takes is measured.
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

from tfgrpo.cli import main as tfgrpo
from tfgrpo.experiences.trajectories import verified_trajectories
from tfgrpo.hashing import canonical
from tfgrpo.records import JSON, ChatBody, Demonstration, Group, Message, Rollout, Task, message_text
from tfgrpo.report.health import tool_calls
from tfgrpo.settings import Settings
from tfgrpo.store import Store
from tfgrpo.surfaces.chat import token_estimate
from tfgrpo.surfaces.surface import demonstration_tokens
from tfgrpo.testing import Answer, ScriptedModel, serving

LABELS = ("amber", "blue", "green")
CALLS_ALONE, CALLS_SHOWN, WRONG, AGAIN = 0.4, 0.95, 0.2, 0.2
TURNS = 8
WRONG_NAME = "error: no such name"
AGENT = "benchmarks.whole_rollouts:reads"


def reads(client: openai.OpenAI, task: Task) -> str:
    """The agent: reads what the model asks for, until it answers."""
    tools: Any = [{"type": "function", "function": {"name": "read", "parameters": {"type": "object"}}}]
    shelf = f"shelf {task.prompt.split()[0]}"
    known = {"index": f"it is in {shelf}", shelf: f"the label is {task.answer}"}
    messages: list[Any] = [{"role": "user", "content": task.prompt}]
    for _ in range(TURNS):
        said: Any = client.chat.completions.create(model="default", messages=messages, tools=tools).choices[0].message
        if not said.tool_calls:
            return said.content or ""
        messages.append(said.model_dump(exclude_none=True))
        for call in said.tool_calls:
            name = json.loads(call.function.arguments)["name"]
            messages.append({"role": "tool", "tool_call_id": call.id, "content": known.get(name, WRONG_NAME)})
    return ""


def own_turns(messages: Sequence[Message]) -> Sequence[Message]:
    """A conversation from its task on, without what it was shown before."""
    return messages[max(place for place, one in enumerate(messages) if one.get("role") == "user") :]


def policy(body: ChatBody) -> str | Answer:
    """The SIMULATED model."""
    messages: Sequence[Message] = body["messages"]
    own = own_turns(messages)
    draw = Random(canonical([body.get("seed"), own]))
    shown = any(one.get("tool_calls") for one in messages[: -len(own)])
    found = [message_text(one) for one in own if one.get("role") == "tool"]
    right = [told for told in found if not told.startswith("error")]
    if not found and draw.random() > (CALLS_SHOWN if shown else CALLS_ALONE):
        return draw.choice(LABELS)
    again = bool(right) and right.count(right[-1]) < 2 and draw.random() < AGAIN
    steps = ["index", *(told.removeprefix("it is in ") for told in dict.fromkeys(right))]
    if len(steps) == 3 and not again:
        return steps[-1].removeprefix("the label is ")
    name = steps[-2] if again else "register" if draw.random() < WRONG else steps[-1]
    function = {"name": "read", "arguments": json.dumps({"name": name})}
    return Answer("", tool_calls=[{"id": f"call_{len(found)}", "type": "function", "function": function}])


def tokens_of_each(groups: Sequence[Group]) -> tuple[float, float]:
    """Tokens that a demonstration adds: the right rollouts with the fewest turns of each task whole, and as shown."""
    found = verified_trajectories(groups, Settings())
    assert found is not None
    whole = [
        min((Demonstration(one.messages[:-1], one.text) for one in tried), key=lambda made: len(made.messages))
        for group in groups
        if (tried := [one for one in group.scored if one.reward == 1 and tool_calls(one) and is_alone(one)])
    ]
    as_made, shown = ([demonstration_tokens(one, token_estimate) for one in of] for of in (whole, found.demonstrations))
    return sum(as_made) / len(as_made), sum(shown) / len(shown)


def is_alone(rollout: Rollout) -> bool:
    """Whether it was shown nothing."""
    return sum(one.get("role") == "user" for one in rollout.messages) == 1


def learned_and_measured(tasks: int, repeat: int) -> tuple[list[str], dict[str, JSON]]:
    """The ways to prompt that raced, with their rewards, and what `eval` says; in the folder where it is called."""
    draw = Random(0)
    for name in ("learn", "other"):
        lines = (
            json.dumps(
                {"input": f"{name}-{at} : which label is it, of {', '.join(LABELS)}?", "answer": draw.choice(LABELS)}
            )
            for at in range(tasks)
        )
        Path(f"{name}.jsonl").write_text("\n".join(lines))
    with serving(ScriptedModel(policy).app) as url:
        at = ("--base-url", url, "--model", "simulated", "--agent", AGENT, "--json")
        plain = ("--no-token-prior", "--no-experiences", "--gate", "none", "--steps", "3")
        learned = CliRunner().invoke(tfgrpo, ["learn", "learn.jsonl", *at, *plain])
        assert learned.exit_code == 0, learned.output
        beside = ("--no-written", "--repeat", str(repeat), "--save-rollouts", "made.jsonl")
        measured = CliRunner().invoke(tfgrpo, ["eval", "other.jsonl", *at, *beside])
        assert measured.exit_code == 0, measured.output
    arms = json.loads(learned.stdout)["race"][-1]["arms"]
    return [f"{one['source']} {one['reward']:.2f}" for one in arms], json.loads(measured.stdout)


def main() -> None:
    """The race, what shortening saves, and the arms with their tool calls a success."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--repeat", type=int, default=4)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        raced, found = learned_and_measured(asked.tasks, asked.repeat)
        with Store("tfgrpo.db") as store:
            groups = store.groups(store.runs()[0].run.id)
        made = [json.loads(line) for line in Path("made.jsonl").read_text().splitlines()]
        os.chdir("/")
    print("raced:", "; ".join(raced))
    print(
        "tokens of a demonstration: {:.0f} whole, {:.0f} as shown".format(
            *tokens_of_each([one for one in groups if not one.step])
        )
    )
    for arm, mean in found["means"].items():
        of = [own_turns(one["messages"]) for one in made if one["arm"] == arm]
        calls = sum(one.get("role") == "tool" for turns in of for one in turns) / (mean * len(of))
        print(
            f"{arm}: solved {mean:.1%}, {calls:.1f} tool calls a success, {found['tokens'][arm]:.0f} tokens a rollout"
        )
    for name, gap in found["differences"].items():
        print(f"{name}: {100 * gap['mean']:+.1f} [{100 * gap['low']:+.1f}, {100 * gap['high']:+.1f}]")


if __name__ == "__main__":
    main()
