"""The command that shows the main job on the embedded model."""

from typing import TYPE_CHECKING

import click

from .command import TextCommand
from .lines.demo import demo_lines
from .options.target import endpoint
from .streams import check_output, write_text

if TYPE_CHECKING:
    from ..demo.run import Demo
    from ..store import Store


@click.command(cls=TextCommand)
@click.option("--seed", default=0, show_default=True, help="Of sampling and resampling.")
@click.option("--store", metavar="FILE", help="Keep the store here.  [default: in the user's cache]")
@click.option("--json", "json_file", metavar="FILE", help="Also write the figures to this file.")
def demo(*, seed: int, store: str | None, json_file: str | None) -> None:
    """Learn to route support messages on the embedded model, and measure it on messages it has not seen.

    A demo that was interrupted goes on. One that is finished is made anew; the store before it is kept beside it, as
    demo-SEED.previous.db.
    """
    import asyncio
    import json

    from ..demo.demo_store import demo_path, demo_store
    from ..store import Store
    from ..store.opened import store_place

    check_output("--json", json_file)
    path = store_place(store) if store else demo_path(seed)
    with endpoint("local", None) as (url, name), Store(path) if store else demo_store(demo_path(seed)) as opened:
        result = asyncio.run(_shown(url, name, opened, seed))
        fates = opened.experiences("demo")
    click.echo("\n".join(demo_lines(result, fates)))
    click.echo(f"\nThe store is {path}. Look at it with: tfgrpo prior show --namespace demo --store {path}")
    if json_file:
        write_text(json_file, json.dumps(result.as_json(), indent=2, ensure_ascii=False))


async def _shown(url: str | None, model: str, store: "Store", seed: int) -> "Demo":
    """Run the demo, with a display of how it goes."""
    from ..demo.run import run_demo
    from ..model.upstream import Upstream
    from ..progress import Display

    async with Upstream(url, journal=store) as upstream:
        with Display(lambda: upstream.usage) as display:
            return await run_demo(store, upstream, model, seed, display)
