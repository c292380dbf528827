"""Commands that show what is in the store: prior, experience, tokens."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from ..errors import InputError
from ..records import JSON, Prior, TokenBias
from . import main
from .options import json_option, open_store, print_json, store_options

if TYPE_CHECKING:
    from ..store import ExperienceStatus


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on stdout; as wide as its longest text where stdout is not a terminal."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(_plain(cell) for cell in row))
    console = Console(highlight=False, markup=False)
    console.print(table, width=console.width if console.is_terminal else max(400, console.width), crop=False)


def _plain(cell: object) -> str:
    """Text of models and users, with control characters made visible: a terminal must not obey them."""
    text = "" if cell is None else str(cell)
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def token_text(piece: bytes) -> str:
    """A token's bytes as quoted text; bytes that are not UTF-8 by their escapes."""
    return repr(piece.decode("utf-8", "backslashreplace"))


def biases_json(biases: Iterable[TokenBias]) -> list[JSON]:
    """Token biases for people and programs, strongest first."""
    ordered = sorted(biases, key=lambda entry: (-abs(entry.bias), entry.token))
    return [
        {
            "token": entry.token,
            "text": entry.piece.decode("utf-8", "backslashreplace"),
            "bias": entry.bias,
            "z": round(entry.z, 2),
            "tasks": entry.evidence,
        }
        for entry in ordered
    ]


def prior_lines(prior: Prior) -> list[str]:
    """A prior as readable lines."""
    lines = [f"prior {prior.id}", f"{len(prior.experiences)} experiences, {len(prior.biases)} token biases"]
    lines += [f"- {_plain(experience.text)}" for experience in prior.experiences]
    ordered = sorted(prior.biases, key=lambda entry: (-abs(entry.bias), entry.token))
    lines += [f"{token_text(entry.piece):>16} {entry.bias:+.2f}  (z {entry.z:+.1f})" for entry in ordered[:20]]
    if len(ordered) > 20:
        lines.append(f"... and {len(ordered) - 20} more: tfgrpo tokens show")
    return lines


def experience_json(status: "ExperienceStatus") -> dict[str, JSON]:
    """One experience with its effect and fate."""
    effect, decision = status.effect, status.decision
    return {
        "id": status.experience.id,
        "text": status.experience.text,
        "kind": status.experience.kind,
        "fate": decision.verdict if decision else None,
        "why": decision.why if decision else None,
        "by": decision.by if decision else None,
        "effect": None if effect is None else {"mean": effect.mean, "sd": effect.sd, "evidence": effect.evidence},
    }


@main.group()
def prior() -> None:
    """What was learned, version by version."""


@prior.command("list")
@store_options
@json_option
def list_priors(store: str | None, namespace: str, as_json: bool) -> None:
    """All events of a namespace, oldest first; the last one that is live or ungated is served."""
    with open_store(store) as opened:
        events = [
            {"at": entry.at, "prior": entry.prior, "state": entry.state, "run": entry.run, "by": entry.by, "why": entry.why}
            for entry in opened.lineage(namespace)
        ]
    if as_json:
        print_json(events)
    elif not events:
        click.echo(f"no prior in namespace {namespace} yet; tfgrpo learn makes one")
    else:
        print_table(("at", "prior", "state", "run", "by", "why"), [list(event.values()) for event in events])


@prior.command("show")
@click.argument("prior_id", required=False)
@store_options
@json_option
def show_prior(prior_id: str | None, store: str | None, namespace: str, as_json: bool) -> None:
    """One prior, by id or the beginning of it; the live one when none is named."""
    with open_store(store) as opened:
        snapshot = opened.live(namespace)
        if prior_id is None and snapshot is None:
            raise InputError(f"no prior is live in namespace {namespace}; tfgrpo prior list shows what there is")
        shown = opened.prior(prior_id) if prior_id is not None else snapshot.prior if snapshot else Prior()
    if as_json:
        experiences = [{"id": entry.id, "kind": entry.kind, "text": entry.text} for entry in shown.experiences]
        print_json(
            {
                "id": shown.id,
                "parent": shown.parent,
                "tokenizer": shown.tokenizer,
                "experiences": experiences,
                "biases": biases_json(shown.biases),
            }
        )
    else:
        click.echo("\n".join(prior_lines(shown)))


@main.group()
def experience() -> None:
    """Short texts for the prompt, each with its measured effect."""


@experience.command("list")
@store_options
@json_option
def list_experiences(store: str | None, namespace: str, as_json: bool) -> None:
    """Every experience that was proposed, its effect on the mean reward, and what became of it."""
    with open_store(store) as opened:
        found = [experience_json(status) for status in opened.experiences(namespace)]
    if as_json:
        print_json(found)
    elif not found:
        click.echo(f"no experience in namespace {namespace} yet; tfgrpo learn proposes and measures them")
    else:
        rows = [(row["id"], row["fate"], effect_text(row["effect"]), row["text"], row["why"]) for row in found]
        print_table(("id", "fate", "effect", "text", "why"), rows)


def effect_text(effect: JSON) -> str:
    """Mean and 95% interval of an effect, and the rollouts behind it."""
    if effect is None:
        return "not measured"
    low, high = effect["mean"] - 1.96 * effect["sd"], effect["mean"] + 1.96 * effect["sd"]
    return f"{effect['mean']:+.2f} [{low:+.2f}, {high:+.2f}] n={effect['evidence']}"


@main.group()
def tokens() -> None:
    """The token prior: a learned `logit_bias` map."""


@tokens.command("show")
@click.argument("prior_id", required=False)
@store_options
@json_option
def show_tokens(prior_id: str | None, store: str | None, namespace: str, as_json: bool) -> None:
    """Each token with its bias (nats), z and the tasks that moved it; of the live prior unless one is named."""
    with open_store(store) as opened:
        snapshot = opened.live(namespace)
        shown = opened.prior(prior_id) if prior_id else snapshot.prior if snapshot else Prior()
    found = biases_json(shown.biases)
    if as_json:
        print_json(found)
    elif not found:
        click.echo(f"no token prior in namespace {namespace}")
    else:
        rows = [(repr(row["text"]), row["token"], f"{row['bias']:+.2f}", row["z"], row["tasks"]) for row in found]
        print_table(("text", "token", "bias", "z", "tasks"), rows)
