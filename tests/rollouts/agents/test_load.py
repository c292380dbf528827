"""Which agent the options name."""

import pytest

from tests.tables import each
from tfgrpo.errors import InputError
from tfgrpo.rollouts.agents import load_agent


@each(
    ("function", "command", "why"),
    [
        ("tests.own_agents:route", "prog {input}", "give one of them"),
        ("prog.py", None, "must be module:function; a program goes with --command"),
        ("tests.own_agents:nothing", None, "has no nothing"),
        ("tests.nowhere:route", None, "cannot import"),
        ("tests.own_agents:RUNS", None, "is not a function"),
        ("tests.rollouts.agents.made:always", None, "it must take 2 arguments, a client and the task"),
        (None, "prog 'unclosed {input}", "No closing quotation"),
        (None, "cat", "write {input} where the task goes"),
        (None, "", "write {input}"),
        (None, "no-such-program {input}", "there is no program 'no-such-program'"),
    ],
)
def test_what_names_no_agent_is_refused_before_anything_is_spent(
    function: str | None, command: str | None, why: str
) -> None:
    with pytest.raises(InputError, match=why.replace("{", r"\{")):
        load_agent(function, command)


def test_no_agent_is_none() -> None:
    assert load_agent(None, None) is None
