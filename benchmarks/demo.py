"""The demo over several seeds: `python -m benchmarks.demo [--seeds 5] [--folder demo-runs]`.

Each seed has its own store and JSON file in the folder; a seed whose JSON file is there is not run again, and one that
was interrupted goes on from its store. Prints a row a seed, and what the demo must reach.
"""

import json
import subprocess
import sys
from pathlib import Path

import click

COLUMNS = ("seed", "frozen", "learned", "difference", "low", "high", "constant", "seconds", "calls", "tokens")


@click.command()
@click.option("--seeds", default=5, show_default=True, help="Seeds 0, 1, ...")
@click.option("--folder", default="demo-runs", show_default=True, help="Where stores and figures are kept.")
def main(seeds: int, folder: str) -> None:
    """Run what is missing, then print the table."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    rows = [figures(seed, Path(folder)) for seed in range(seeds)]
    print("  ".join(f"{name:>10}" for name in COLUMNS))
    for row in rows:
        points = [
            f"{100 * row[name]:10.1f}" for name in ("frozen", "learned", "difference", "low", "high", "best_constant")
        ]
        counts = [f"{row['seconds']:10.0f}", f"{row['calls']:10,}", f"{row['tokens']:10,}"]
        print("  ".join([f"{row['seed']:>10}", *points, *counts]))
    gained = sum(row["difference"] >= 0.2 and row["low"] > 0 for row in rows)
    above = sum(row["learned"] > row["best_constant"] for row in rows)
    print(f"+20 points or more, interval above zero: {gained} of {seeds}; above the best constant: {above} of {seeds}")


def figures(seed: int, folder: Path) -> dict[str, float]:
    """What one seed measured, now or earlier."""
    result = folder / f"{seed}.json"
    if not result.exists():
        arguments = ["--seed", str(seed), "--store", str(folder / f"{seed}.db"), "--json", str(result)]
        subprocess.run([sys.executable, "-m", "tfgrpo", "demo", *arguments], check=True, stdout=subprocess.DEVNULL)
    return dict(json.loads(result.read_text()))


if __name__ == "__main__":
    main()
