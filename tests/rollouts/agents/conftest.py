"""Programs to be agents, and agents of the user's that are let go after each test."""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import own_agents
from tests.rollouts.agents.made import Program
from tfgrpo.rollouts.agents import Agent, CommandAgent


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """An agent of the source of a Python program."""

    def made(source: str, words: str = "{input}") -> Agent:
        path = tmp_path / f"agent {abs(hash(source))}.py"
        path.write_text(source, encoding="utf-8")
        return CommandAgent(f"{shlex.quote(sys.executable)} {shlex.quote(str(path))} {words}")

    return made


@pytest.fixture(autouse=True)
def released() -> Iterator[None]:
    own_agents.RUNS.clear()
    own_agents.release.clear()
    own_agents.over.clear()
    yield
    own_agents.release.set()
