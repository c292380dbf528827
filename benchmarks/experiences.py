"""What experiences alone are worth on a real model, policy and distiller in one: `measured` beside `paper`.

    TFGRPO_TEST_GGUF=model.gguf python -m benchmarks.experiences [--sets reviews,facts] [--recipes measured,paper]
        [--seeds 1] [--folder experience-runs] [--report FILE]

Without TFGRPO_TEST_GGUF the model is SmolLM2-135M. The tasks are those of `benchmarks/conventions.py`. Each run has its
own store and JSON file in the folder: a run whose JSON is there is not made again, and one that was interrupted goes on
from its store. Prints a row a run; the report says what was proposed, measured, kept, retired and refused in each. No
token prior: what is gained, experiences have gained.
"""

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path

import click

from tfgrpo.evaluation.measure import Measurement, measure
from tfgrpo.experiences.library import describe
from tfgrpo.learning.plan import Plan
from tfgrpo.learning.run import carry_out
from tfgrpo.model.local import LocalEndpoint, model_path, serve_local
from tfgrpo.model.upstream import Upstream
from tfgrpo.progress import Display
from tfgrpo.records import JSON, Frame, Prior
from tfgrpo.rollouts.rewards.built_in import load_reward
from tfgrpo.settings import Recipe, Settings
from tfgrpo.store import Store

from .conventions import CONVENTIONS

REWARD = "exact"
REPEATS = 2
"""Attempts at each held-out task under each arm."""
COLUMNS = ("set", "recipe", "seed", "calls", "frozen", "learned", "difference", "low", "high", "constant", "kept")
SHARED: dict[str, JSON] = {
    "token_prior": False,
    "proposals": 1,
    "summary_chars": 400,
    "distiller_tokens": 120,
    "distiller_retries": 1,
    "stop_hopeless": False,
    "concurrency": 8,
}
OWN: dict[Recipe, dict[str, JSON]] = {"measured": {"distilled_groups": 8}, "paper": {"steps": 4}}
"""512 rollouts and at most 32 groups distilled, against 320 rollouts, their summaries, and 64 groups distilled."""


@click.command()
@click.option("--sets", default="reviews,facts", show_default=True, help="Of benchmarks/conventions.py.")
@click.option("--recipes", default="measured,paper", show_default=True)
@click.option("--seeds", default=1, show_default=True, help="Seeds 0, 1, ...")
@click.option("--folder", default="experience-runs", show_default=True, help="Where stores and figures are kept.")
@click.option("--report", type=click.Path(path_type=Path), help="Write the whole way of every run here, as Markdown.")
def main(sets: str, recipes: str, seeds: int, folder: str, report: Path | None) -> None:
    """Run what is missing, then print the table."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    wanted = [
        (name, recipe, seed) for name in sets.split(",") for recipe in recipes.split(",") for seed in range(seeds)
    ]
    results = {key: Path(folder) / f"{'-'.join(map(str, key))}.json" for key in wanted}
    if missing := [key for key, path in results.items() if not path.exists()]:
        with serve_local(model_path(os.environ.get("TFGRPO_TEST_GGUF"))) as server:
            for name, recipe, seed in missing:
                given: Recipe = "paper" if recipe == "paper" else "measured"
                found = asyncio.run(figures(server.endpoint, name, given, seed, Path(folder)))
                results[name, recipe, seed].write_text(json.dumps(found, indent=1))
    rows = [json.loads(path.read_text()) for path in results.values()]
    print("\n".join(table(rows)))
    if report:
        report.write_text("\n".join(line for row in rows for line in way(row)) + "\n")


async def figures(endpoint: LocalEndpoint, name: str, recipe: Recipe, seed: int, folder: Path) -> dict[str, JSON]:
    """Learn on the set's training part, measure on the rest; all that a row and its way need."""
    convention, reward = CONVENTIONS[name], load_reward(REWARD)
    settings = Settings.for_recipe(recipe, seed=seed, **SHARED, **OWN[recipe])
    frame = Frame(endpoint.model, convention.system, {"max_tokens": 8})
    with Store(folder / f"{name}-{recipe}-{seed}.db") as store:
        async with Upstream(endpoint.base_url, settings=settings, journal=store) as upstream:
            with Display(lambda: upstream.usage) as display:
                plan = Plan(convention.training, reward, REWARD, frame, settings=settings)
                learning = _finished(store) or (await carry_out(plan, store, upstream, display)).as_json()
                prior = store.prior(learning["prior"]) if learning["changed"] else Prior()
                wanted = Measurement(convention.held_out, reward, REWARD, frame, prior, repeats=REPEATS, seed=seed)
                measured = await measure(wanted, store, upstream, display)
        decisions = store.decisions("default", learning["run"])
        statuses = store.experiences("default")
    return {
        "set": name,
        "recipe": recipe,
        "seed": seed,
        "model": endpoint.model,
        "calls": learning["usage"]["calls"],
        "constant": measured.constant_mean,
        "kept": len(prior.experiences),
        "learning": learning,
        "evaluation": measured.as_json(),
        "experiences": [
            {
                "text": status.experience.text,
                "kind": status.experience.kind,
                "effect": describe(status.effect) if status.effect else None,
                "decisions": [
                    {"step": entry.step, "verdict": entry.verdict, "why": entry.why}
                    for entry in decisions
                    if entry.experience == status.experience.id
                ],
            }
            for status in statuses
        ],
    }


def _finished(store: Store) -> dict[str, JSON] | None:
    """What a run came to that was finished before the benchmark was stopped; a store has one at most."""
    results = [
        entry.run.result for entry in store.runs() if (entry.run.kind, entry.run.status) == ("learn", "finished")
    ]
    return dict(results[0]) if results else None


def table(rows: Sequence[dict[str, JSON]]) -> list[str]:
    """A Markdown row a run; rewards in percent."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    for row in rows:
        means, difference = row["evaluation"]["means"], row["evaluation"]["difference"]
        percent = [means["frozen"], means["learned"], difference["mean"], difference["low"], difference["high"]]
        cells = [row["set"], row["recipe"], row["seed"], row["calls"]]
        cells += [f"{100 * share:.1f}" for share in (*percent, row["constant"])]
        lines.append(f"| {' | '.join(map(str, (*cells, row['kept'])))} |")
    return lines


def way(row: dict[str, JSON]) -> list[str]:
    """What one run proposed, and what became of it."""
    lines = [f"## {row['set']}, {row['recipe']}, seed {row['seed']}, {row['model']}", ""]
    for step in row["learning"]["steps"]:
        lines.append(
            f"- step {step['step'] + 1}: mean reward {100 * step['mean_reward']:.1f}%, groups {step['groups']}, "
        )
        lines[-1] += f"{step['proposed']} proposals, {len(step['undistilled'])} groups without a usable one"
    lines += ["", "| experience | effect | decisions |", "|---|---|---|"]
    for entry in row["experiences"]:
        text = " / ".join(entry["text"].splitlines()).replace("|", "\\|")
        decisions = "; ".join(
            f"step {made['step'] + 1} {made['verdict']}: {made['why']}" for made in entry["decisions"]
        )
        lines.append(f"| {text} | {entry['effect'] or ''} | {decisions} |".replace("\n", " "))
    return [*lines, ""]


if __name__ == "__main__":
    main()
