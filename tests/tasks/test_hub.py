"""Rows of a data set on Hugging Face, from a small server that answers as its viewer does."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from tfgrpo.errors import InputError
from tfgrpo.records import JSON
from tfgrpo.tasks.hub import hub_entries, parse_hub, viewer
from tfgrpo.tasks.read import read_tasks, tasks_of

ROWS = [{"text": f"Review {number}.", "label": number % 2} for number in range(130)]
FEATURES = [{"name": "label", "type": {"names": ["neg", "pos"], "_type": "ClassLabel"}}]
SPLITS = {"one/set": [("main", "test"), ("main", "train")], "two/sets": [("a", "train"), ("b", "train")]}


class Viewer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        status, found = self._found(url.path, asked)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def _found(self, path: str, asked: dict[str, str]) -> tuple[int, JSON]:
        if asked["dataset"] not in SPLITS:
            return 404, {"error": "The dataset does not exist."}
        if path == "/splits":
            return 200, {"splits": [{"config": config, "split": split} for config, split in SPLITS[asked["dataset"]]]}
        start = int(asked["offset"])
        rows = ROWS[start : start + int(asked["length"])]
        return 200, {"features": FEATURES, "rows": [{"row_idx": 0, "row": row, "truncated_cells": []} for row in rows]}

    def log_message(self, format: str, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Viewer) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


def test_rows_come_page_by_page_with_their_labels_by_name(server: str) -> None:
    rows = [row for _, row in hub_entries("hf:one/set", server)]
    assert [task.answer for task in tasks_of(rows).tasks[:2]] == ["neg", "pos"]
    assert len(rows) == 130
    places = [place for place, _ in hub_entries("hf:one/set?split=test&size=120", server)]
    assert (len(places), places[-1]) == (120, "row 120")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("hf:two/sets", "has several configurations; add ?config= and one of a, b"),
        ("hf:one/set?split=no", "there is no such configuration and split; it has main/test, main/train"),
        ("hf:no/set", "from Hugging Face: The dataset does not exist.; a gated set needs a token in HF_TOKEN"),
    ],
)
def test_what_is_not_there_is_one_line(server: str, source: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        list(hub_entries(source, server))
    assert words in str(caught.value)


def test_a_source_that_is_malformed_or_out_of_reach_is_one_line() -> None:
    for source in ("hf:", "hf:a/b/c", "hf:a/b?size=0", "hf:a/b?size=x", "hf:a/b?rows=1"):
        with pytest.raises(InputError, match="a source looks like hf:OWNER/NAME"):
            parse_hub(source)
    with pytest.raises(InputError, match="where there is no internet, give a file"):
        list(hub_entries("hf:a/b", "http://127.0.0.1:9"))
    with pytest.raises(InputError, match=r"a data set of Hugging Face's is hf:openai/gsm8k"):
        read_tasks("openai/gsm8k")


def test_a_mirror_is_asked_where_the_environment_names_one(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert viewer() == "https://datasets-server.huggingface.co"
    monkeypatch.setenv("HF_ENDPOINT", f"{server}/")
    assert [task.answer for task in read_tasks("hf:one/set?size=3").tasks] == ["neg", "pos", "neg"]
    monkeypatch.setenv("HF_ENDPOINT", "not a url")
    with pytest.raises(InputError, match=r"cannot read hf:one/set from Hugging Face: .*give a file"):
        read_tasks("hf:one/set")
