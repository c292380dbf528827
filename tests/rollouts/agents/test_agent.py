"""What an agent says of its failure."""

import pytest

from tfgrpo.rollouts.agents.agent import last_words


def test_what_an_agent_says_of_its_failure_keeps_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_PASSWORD", "correct horse")
    text = "at https://me:pw@host with sk-proj-abcdefghijkl, ghp_0123456789abc, correct horse and more"
    assert last_words(text) == "at https://***@host with ***, ***, *** and more"
    assert last_words("a" * 100_000) == "…" + "a" * 300
