"""Commands about who may call the proxy: keys add, keys list, keys revoke."""

from typing import TYPE_CHECKING

import click

from .command import TextGroup
from .lines.tables import print_table
from .options.shared import json_option, named_store, store_option, visible_name
from .streams import print_json, tell

if TYPE_CHECKING:
    from ..store import AccessKey


@click.group(cls=TextGroup)
def keys() -> None:
    """Who may call the proxy, with which namespace and budget."""


@keys.command("add")
@click.argument("name")
@click.option(
    "--namespace", metavar="NAME", callback=visible_name, help="The only one whose prior its calls get.  [default: any]"
)
@click.option("--admin", is_flag=True, help="It may also read the proxy's figures and any prior.")
@click.option("--max-calls", type=int, help="Calls that it may make in all.")
@click.option("--max-tokens", type=int, help="Tokens that its calls may cost in all.")
@store_option
@json_option
def add(
    *,
    name: str,
    namespace: str | None,
    admin: bool,
    max_calls: int | None,
    max_tokens: int | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Make a key for NAME, and show it once: the store keeps its hash alone.

    As soon as a store has a key, its proxies ask every caller for one.
    """
    from ..serve.keys import new_key

    text, key = new_key(name, namespace=namespace, admin=admin, max_calls=max_calls, max_tokens=max_tokens)
    with named_store(store, create=True) as opened:
        first = not opened.access_keys()
        opened.add_key(key)
    lines = [text, f"key {key.id}: keep it now, it is shown once; callers send it as their API key"]
    if first:
        lines.append("from now on every call through a proxy of this store needs a key")
    tell(as_json, {"id": key.id, "key": text, "name": name, "namespace": namespace, "admin": admin}, *lines)


@keys.command("list")
@store_option
@json_option
def list_keys(store: str | None, as_json: bool) -> None:
    """All keys, with what each may spend and has spent."""
    with named_store(store) as opened:
        found = opened.access_keys()
    if as_json:
        print_json([{**_plain(key), "revoked": key.revoked} for key in found])
        return
    print_table(
        ("key", "name", "namespace", "calls", "tokens", "since", ""),
        (
            (
                key.id,
                key.name,
                key.namespace or "any",
                _of(key.spent.calls, key.max_calls),
                _of(key.spent.tokens, key.max_tokens),
                key.at[:10],
                "revoked" if key.revoked else "admin" if key.admin else "",
            )
            for key in found
        ),
    )


@keys.command("revoke")
@click.argument("key_id", metavar="ID")
@store_option
@json_option
def revoke(key_id: str, store: str | None, as_json: bool) -> None:
    """Refuse a key from now on: proxies heed it within a second or two."""
    with named_store(store) as opened:
        opened.revoke_key(key_id)
    tell(as_json, {"revoked": key_id}, f"key {key_id} is revoked")


def _plain(key: "AccessKey") -> dict[str, object]:
    return {
        "id": key.id, "name": key.name, "namespace": key.namespace, "admin": key.admin, "calls": key.spent.calls,
        "max_calls": key.max_calls, "tokens": key.spent.tokens, "max_tokens": key.max_tokens, "at": key.at,
    }  # fmt: skip


def _of(spent: int, most: int | None) -> str:
    return f"{spent:,}" if most is None else f"{spent:,} of {most:,}"
