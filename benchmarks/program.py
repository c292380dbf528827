"""The demo's program with its import changed, beside what `tfgrpo eval` says, on the embedded model
as `tfgrpo local serve` has it.

    python -m benchmarks.program [TASKS] [URL MODEL]

A program sorts the messages of the demo's test part, as many as TASKS says, by chat completions and by responses, once
with the SDK alone and once with `from tfgrpo import OpenAI`. The prior is an instruction, an experience and two
examples (responses have no place for biases), written by hand: what it is worth does not matter here, only that the
program scores what the evaluation of frozen model and prior says. All calls are greedy and made one at a time, on one
slot of the model: with several, where a prompt lies in their cache tips an answer now and then.
"""

import asyncio
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import openai

import tfgrpo
from tfgrpo.demo.run import DEMO_REWARD, demo_frame, part
from tfgrpo.evaluation.measure import Measurement, measure
from tfgrpo.model.local import model_path, serve_local
from tfgrpo.model.local.front import decisions_front
from tfgrpo.model.upstream import Upstream
from tfgrpo.observer import Silent
from tfgrpo.records import Demonstration, Experience, Frame, Prior, Rollout, Task
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.settings import Settings
from tfgrpo.store import Store

PRIOR = Prior(
    experiences=(Experience("When a message is about money, answer payment."),),
    instruction="Most messages are about delivery: when in doubt, answer delivery.",
    demonstrations=(
        Demonstration("My card was refused at the last step.", "payment"),
        Demonstration("The password link never came.", "login"),
    ),
)

ONE_AT_A_TIME = Settings(concurrency=1)
"""As the program asks: what stands in a batch beside it tips greedy answers of so small a model."""


def by_chat(client: openai.OpenAI, frame: Frame, task: Task) -> str:
    """What the program does, over chat completions."""
    messages: Any = [{"role": "system", "content": frame.system}, *task.messages]
    answer = client.chat.completions.create(model=frame.model, messages=messages, max_tokens=8, temperature=0)
    return answer.choices[0].message.content or ""


def by_responses(client: openai.OpenAI, frame: Frame, task: Task) -> str:
    """The same over responses."""
    given: Any = list(task.messages)
    answer = client.responses.create(
        model=frame.model, instructions=frame.system, input=given, max_output_tokens=8, temperature=0
    )
    return answer.output_text


async def evaluated(tasks: tuple[Task, ...], frame: Frame, url: str, store: Store) -> dict[str, float]:
    """The mean rewards of the arms, as `tfgrpo eval` has them."""
    wanted = Measurement(tasks, load_reward(DEMO_REWARD), DEMO_REWARD, frame, PRIOR, repeats=1, settings=ONE_AT_A_TIME)
    async with Upstream(url) as upstream:
        return dict((await measure(wanted, store, upstream, Silent())).means)


def main() -> None:
    """Print the scores side by side."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 48
    tasks, reward = part("test")[:count], load_reward(DEMO_REWARD)
    with TemporaryDirectory() as folder, ExitStack() as until_the_end:
        if len(sys.argv) > 3:
            url, model = sys.argv[2:4]
        else:
            endpoint = until_the_end.enter_context(serve_local(model_path(), slots=1)).endpoint
            url, model = until_the_end.enter_context(decisions_front(*endpoint)), endpoint.model
        frame = replace(demo_frame(model), temperature=0.0)
        path = Path(folder) / "s.db"
        with Store(path) as store:
            store.add_prior(PRIOR)
            store.set_state("default", PRIOR.id, "live", frame=frame)
            means = asyncio.run(evaluated(tasks, frame, url, store))
        alone = openai.OpenAI(api_key="none", base_url=url)
        ours = tfgrpo.OpenAI(api_key="none", base_url=url, store=path)

        def score(say: Callable[[openai.OpenAI, Frame, Task], str], client: openai.OpenAI) -> float:
            rewards = [reward(Rollout(task, 0, 0, PRIOR.id, text=say(client, frame, task))) for task in tasks]
            return sum(map(float, rewards)) / len(rewards)  # pyrefly: ignore[bad-argument-type]  # this reward waits for nobody

        print(f"{len(tasks)} messages, points{'frozen':>12}{'prior':>10}")
        print(f"{'tfgrpo eval':<24}{100 * means['frozen']:>9.1f}{100 * means['learned']:>10.1f}")
        for name, say in (("chat completions", by_chat), ("responses", by_responses)):
            print(f"{name:<24}{100 * score(say, alone):>9.1f}{100 * score(say, ours):>10.1f}")


if __name__ == "__main__":
    main()
