"""Commands about experiences: what was proposed, what it is worth, and what a person makes of it."""

from typing import TYPE_CHECKING

import click

from ..errors import InputError
from .command import TextGroup
from .fires import fires, rate_rows, with_trigger
from .lines.experiences import effect_text, experience_json, history_json, history_lines
from .lines.tables import print_table
from .options.shared import by_option, json_option, named_store, person, store_options
from .streams import print_json, tell

if TYPE_CHECKING:
    from ..priors.by_hand import Curator
    from ..records import Experience, Group
    from ..store import ExperienceHistory, Store


_NEXT = "; the next tfgrpo learn measures it"
_STILL = "\nthe live prior still holds it: tfgrpo prior use, prior rollback or learn changes that"


@click.group(cls=TextGroup)
def experience() -> None:
    """Short texts for the prompt, each with its measured effect."""


experience.add_command(fires)


@experience.command("list")
@store_options
@json_option
def list_experiences(store: str | None, namespace: str, as_json: bool) -> None:
    """Every experience that was proposed, its effect on the mean reward, and what became of it."""
    with named_store(store) as opened:
        found = [experience_json(status) for status in opened.experiences(namespace)]
    if as_json:
        print_json(found)
    elif not found:
        click.echo(f"no experience in namespace {namespace} yet; tfgrpo learn proposes and measures them")
    else:
        rows = [(row["id"], row["fate"], effect_text(row["effect"]), row["text"], row["why"]) for row in found]
        print_table(("id", "fate", "effect", "text", "why"), rows)


@experience.command("show")
@click.argument("experience_id", metavar="ID")
@store_options
@json_option
def show_experience(experience_id: str, store: str | None, namespace: str, as_json: bool) -> None:
    """One experience: where it came from, the groups behind it, its effect over time, and every decision."""
    with named_store(store) as opened:
        found = opened.history(namespace, experience_id)
        if not found.origins:
            raise InputError(f"{found.experience.id} is not in namespace {namespace}; name another with --namespace")
        own = {entry.run.id for entry in opened.runs(namespace)}
        told = history_json(found, _source_groups(opened, found), own)
    tell(as_json, told, *history_lines(told))


@experience.command("add")
@click.argument("text")
@click.option("--trigger", metavar="TRIGGER", help="The moment that it waits for, as `tool error` (experience fires).")
@click.option(
    "--quantile",
    type=float,
    metavar="Q",
    help="With --run, and --trigger entropy, margin or `like TEXT`: learn the threshold; it fires at 1 - Q of turns.",
)
@click.option("--run", "run_id", metavar="RUN", help="The run whose rollouts --quantile looks at.")
@by_option
@store_options
@json_option
def add(
    *,
    text: str,
    trigger: str | None,
    quantile: float | None,
    run_id: str | None,
    by: str | None,
    store: str | None,
    namespace: str,
    as_json: bool,
) -> None:
    """Put TEXT on trial: the next learning measures it. It is admitted as a distiller's text would be.

    With --trigger it waits for its moment, and is said at the end of the last message then.
    """
    with named_store(store, create=True) as opened:
        if quantile is not None and not (trigger and run_id):
            raise InputError("--quantile learns the threshold of a --trigger from a --run: name all three")
        waiting, rate = (
            _at_its_moment(opened, text, trigger, quantile, run_id) if trigger is not None or run_id else (text, "")
        )
        _say(as_json, _curator(opened, namespace, by).add(waiting), "on trial", f"{_NEXT}{rate}")


def _at_its_moment(
    store: "Store", text: str, trigger: str | None, quantile: float | None, run_id: str | None
) -> tuple[str, str]:
    """The text behind its trigger, and at how many turns of the run that fires, if one is named."""
    from ..evaluation.fire_rates import turns_of

    if trigger is None:
        raise InputError("--run is for --trigger: its rollouts say how often that fires")
    turns = turns_of(store, store.run(run_id).id) if run_id else ()
    if quantile is not None:
        from ..experiences.moments import learned_trigger

        trigger = learned_trigger(trigger, quantile, turns)
    waiting = with_trigger(trigger, text)
    told = "".join(f"\nin {run_id} {row['told']}" for row in rate_rows([waiting], turns)) if run_id else ""
    return waiting, told


@experience.command("edit")
@click.argument("experience_id", metavar="ID")
@click.argument("text")
@by_option
@store_options
@json_option
def edit(*, experience_id: str, text: str, by: str | None, store: str | None, namespace: str, as_json: bool) -> None:
    """Put TEXT on trial as the successor of an experience.

    The old text is retired if it was on trial; one that was kept stays until you retire it, as its effect is measured.
    """
    with named_store(store) as opened:
        _say(as_json, _curator(opened, namespace, by).edit(experience_id, text), "on trial", _NEXT)


@experience.command("retire")
@click.argument("experience_id", metavar="ID")
@click.option("--why", default="retired by a person", show_default=True, help="Reason to remember.")
@by_option
@store_options
@json_option
def retire(*, experience_id: str, why: str, by: str | None, store: str | None, namespace: str, as_json: bool) -> None:
    """Take an experience out of later learning; priors that hold it stay as they are."""
    with named_store(store) as opened:
        retired, live = _curator(opened, namespace, by).retire(experience_id, why), opened.live(namespace)
    served = live is not None and retired.id in {entry.id for entry in live.prior.experiences}
    _say(as_json, retired, "retired", _STILL if served else "", served=served)


@experience.command("approve")
@click.argument("experience_id", metavar="ID")
@by_option
@store_options
@json_option
def approve(experience_id: str, by: str | None, store: str | None, namespace: str, as_json: bool) -> None:
    """Put on trial what waits for review, or was refused or retired; it still has to be admitted."""
    with named_store(store) as opened:
        _say(as_json, _curator(opened, namespace, by).approve(experience_id), "on trial", _NEXT)


@experience.command("refuse")
@click.argument("experience_id", metavar="ID")
@click.option("--why", required=True, help="Reason to remember.")
@by_option
@store_options
@json_option
def refuse(*, experience_id: str, why: str, by: str | None, store: str | None, namespace: str, as_json: bool) -> None:
    """Refuse what waits for review or is on trial; it is not proposed again."""
    with named_store(store) as opened:
        _say(as_json, _curator(opened, namespace, by).refuse(experience_id, why), "refused")


def _curator(store: "Store", namespace: str, by: str | None) -> "Curator":
    from ..priors.by_hand import Curator

    return Curator(store, namespace, person(by))


def _say(as_json: bool, about: "Experience", fate: str, following: str = "", **more: bool) -> None:
    """What became of an experience; `following` is what comes next, for people."""
    tell(as_json, {"id": about.id, "text": about.text, "fate": fate, **more}, f"{about.id} is {fate}{following}")


def _source_groups(store: "Store", history: "ExperienceHistory") -> "list[Group]":
    """The groups that an experience was distilled from, as far as this store has them."""
    places = {(origin.run, origin.step, task) for _, origin in history.origins for task in origin.tasks}
    return [
        group
        for run in sorted({run for run, _, _ in places})
        for group in store.groups(run)
        if (run, group.step, group.task.id) in places
    ]
