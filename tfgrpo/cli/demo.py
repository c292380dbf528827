"""The command that shows the main job on the embedded model."""

import click

from . import main
from .options import check_output, run_async, write_text
from .target import endpoint
from .text import demo_lines


@main.command()
@click.option("--seed", default=0, show_default=True, help="Of sampling and resampling.")
@click.option("--store", metavar="FILE", help="Keep the store here.  [default: in the user's cache]")
@click.option("--json", "json_file", metavar="FILE", help="Also write the figures to this file.")
def demo(*, seed: int, store: str | None, json_file: str | None) -> None:
    """Learn to route support messages on the embedded model, and measure it on messages it has not seen."""
    import json
    from pathlib import Path

    from ..demo.run import Demo, demo_store, run_demo
    from ..model.upstream import Upstream
    from ..progress import Display
    from ..store import Store

    check_output("--json", json_file)
    path = Path(store) if store else demo_store(seed)
    with Store(path) as opened, endpoint("local", None) as (url, name):

        async def work() -> Demo:
            async with Upstream(url, journal=opened) as upstream:
                with Display(lambda: upstream.usage) as display:
                    return await run_demo(opened, upstream, name, seed, display)

        result = run_async(work())
        fates = opened.experiences("demo")
    click.echo("\n".join(demo_lines(result, fates)))
    click.echo(f"\nThe store is {path}. Look at it with: tfgrpo prior show --namespace demo --store {path}")
    if json_file:
        write_text(json_file, json.dumps(result.as_json(), indent=2, ensure_ascii=False))
