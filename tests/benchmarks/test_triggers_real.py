"""The benchmark of triggers on real models in small, on a SIMULATED one that does as the last message says."""

import asyncio
import re

import pytest

from benchmarks.triggers_real import ADVICE, back, measured, order
from tfgrpo.records import Backend, ChatBody, message_text
from tfgrpo.surfaces.triggers import said_text
from tfgrpo.testing import ScriptedModel


def obedient(body: ChatBody) -> str:
    """Fetches what is next, and opens a shelf only where it is told to in the last message."""
    last = message_text(body["messages"][-1])
    if key := re.search(r"key is (\d+)", last):
        return f"OPEN {key[1]}" if said_text(ADVICE) in last else "GET key"
    named = re.findall(r"next: (\w+)", last) or re.findall(r"order: (\w+)", last)
    return f"GET {named[0]}" if named else "GET nothing"


def test_a_tool_gives_the_next_thing_for_its_name_and_behind_a_lock_for_its_key() -> None:
    wanted = order(0)
    assert back(f"GET {wanted[0]}, please", wanted, None) == f"here is the {wanted[0]}; next: {wanted[1]}"
    assert back("GET all", wanted, None) == f"that does nothing; next: {wanted[0]}"
    assert back(f"GET {wanted[0]}", wanted, "12") == "error: the shelf is locked, its key is 12"
    assert back("OPEN 12", wanted[:1], "12") == f"here is the {wanted[0]}; that is all"


def test_who_is_told_at_the_moment_alone_opens_every_shelf(capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(measured(ScriptedModel(obedient), "simulated", Backend("llama.cpp"), 10, 1))
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    solved = {row[0].strip("| "): int(row[1].rstrip("%")) for row in rows}
    assert solved["triggered"] == 100
    assert solved["frozen"] == solved["always on"] == solved["always on, with its condition"] < 50
    assert solved["frozen"] <= solved["random timing"] < 100
