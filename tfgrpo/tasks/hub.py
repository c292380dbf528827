"""Rows of a data set on Hugging Face, by its viewer's HTTP API: `hf:OWNER/NAME?config=main&split=train&size=100`."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from ..errors import InputError
from ..records import JSON
from ..text import shortened
from .containers import listed

if TYPE_CHECKING:
    from ..model.library import http

_AT = "huggingface.co"
_VIEWER = "datasets-server.huggingface.co"
DEFAULT_ROWS = 200
_MOST_ROWS = 10_000
_PAGE = 100
"""Rows that one request may ask for."""
_MOST_BYTES = 50_000_000
_FORM = "a source looks like hf:OWNER/NAME?config=main&split=train&size=100"


@dataclass(frozen=True, slots=True)
class HubSource:
    """Which rows are wanted."""

    dataset: str
    config: str | None = None
    split: str | None = None
    size: int = DEFAULT_ROWS


def parse_hub(source: str) -> HubSource:
    """What a source asks for; raises InputError for any other form."""
    dataset, _, query = source.partition(":")[2].partition("?")
    given = dict(parse_qsl(query, keep_blank_values=True))
    size = given.get("size", str(DEFAULT_ROWS))
    whole = size.isascii() and size.isdecimal() and 1 <= int(size[:9]) <= _MOST_ROWS
    if not dataset or dataset.count("/") > 1 or given.keys() - {"config", "split", "size"} or not whole:
        raise InputError(f"{shortened(source)}: {_FORM}, with a size from 1 to {_MOST_ROWS:,}")
    return HubSource(dataset, given.get("config"), given.get("split"), int(size))


def viewer() -> str:
    """Where the viewer answers; beside a mirror that HF_ENDPOINT names, at the same address, as `datasets` has it."""
    return (os.environ.get("HF_ENDPOINT", "").rstrip("/") or f"https://{_AT}").replace(_AT, _VIEWER)


def hub_entries(source: str, server: str | None = None) -> Iterator[tuple[str, JSON]]:
    """The rows of a source, each with its place; raises InputError where there are none, or no internet."""
    from ..model.library import http

    wanted, server = parse_hub(source), server or viewer()
    token = os.environ.get("HF_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with http.Client(base_url=server, headers=headers, timeout=30.0, follow_redirects=False) as client:
        config, split = _which(wanted, source, client)
        for offset in range(0, wanted.size, _PAGE):
            length = min(_PAGE, wanted.size - offset)
            asked = {"dataset": wanted.dataset, "config": config, "split": split, "offset": offset, "length": length}
            page = listed(_got(client, source, "/rows", asked)) or []
            yield from ((f"row {number}", row) for number, row in enumerate(page, offset + 1))
            if len(page) < length:
                return


def _which(wanted: HubSource, source: str, client: "http.Client") -> tuple[str, str]:
    """The configuration and the split; InputError where there are several and none is named."""
    found = _got(client, source, "/splits", {"dataset": wanted.dataset}).get("splits")
    pairs = [(str(one["config"]), str(one["split"])) for one in found or () if isinstance(one, Mapping)]
    fit = [pair for pair in pairs if wanted.config in (None, pair[0]) and wanted.split in (None, pair[1])]
    configs = list(dict.fromkeys(config for config, _ in fit))
    if len(configs) > 1:
        raise InputError(
            f"{source} has several configurations; add ?config= and one of {shortened(', '.join(configs))}"
        )
    splits = [split for _, split in fit]
    if len(splits) > 1 and "train" not in splits:
        raise InputError(f"{source} has several splits; add split= and one of {shortened(', '.join(splits))}")
    if not fit:
        there = ", ".join(f"{config}/{split}" for config, split in pairs) or "nothing"
        raise InputError(f"{source}: there is no such configuration and split; it has {shortened(there)}")
    return configs[0], "train" if "train" in splits else splits[0]


def _got(client: "http.Client", source: str, path: str, asked: Mapping[str, JSON]) -> dict[str, JSON]:
    """The object that a request is answered with."""
    from ..model.library import http

    try:
        with client.stream("GET", path, params=dict(asked)) as response:
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > _MOST_BYTES:
                    raise InputError(f"{source}: its rows are too large; take fewer (size=20) or a file of yours")
            status = response.status_code
        found = json.loads(bytes(body)) if body else {}
    except (http.HTTPError, ValueError) as error:
        hint = "where there is no internet, give a file"
        raise InputError(f"cannot read {source} from Hugging Face: {shortened(error)}; {hint}") from error
    if status != http.codes.OK or not isinstance(found, dict):
        told = found.get("error") if isinstance(found, dict) else None
        hint = "; a gated set needs a token in HF_TOKEN" if status in (401, 403, 404) else ""
        raise InputError(f"cannot read {source} from Hugging Face: {shortened(told or f'status {status}')}{hint}")
    return found
