"""`tfgrpo autopilot` and `tfgrpo history`, as a shell runs them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.shell import one_line, tfgrpo, works
from tests.deployment.worlds import World, candidate_in
from tests.learning.test_traffic import call, label
from tests.live import OTHER, go_live
from tests.routing import TOPICS
from tests.tables import each
from tfgrpo.deployment.child import learned_from
from tfgrpo.deployment.lock import alone_at
from tfgrpo.store import Store

pytestmark = pytest.mark.usefixtures("folder")


def test_a_look_a_question_and_a_persons_yes_are_told_in_order() -> None:
    candidate_in(Path("tfgrpo.db"))
    asked = works("autopilot", "--once", "--ask").stdout
    assert f"{OTHER.id} could become the canary" in asked
    assert "`tfgrpo autopilot approve` lets it" in asked
    assert works("autopilot", "--once", "--ask").stdout == "nothing is to be done now\n"
    assert f"{OTHER.id} is approved" in works("autopilot", "approve", "--by", "anna").stdout
    assert json.loads(works("autopilot", "--once", "--ask", "--json").stdout)[0].startswith(f"canary: {OTHER.id}: ")
    told = works("history").stdout.splitlines()
    assert [line.split()[2] for line in told[1:]] == [
        "live", "candidate", "learned", "told", "approved", "canary"
    ]  # fmt: skip
    found = json.loads(works("history", "default", "--json").stdout)
    assert (found[-1]["by"], found[-1]["figures"]["share"]) == ("autopilot", 0.2)
    assert works("history", "other").stdout.startswith("nothing has happened in namespace other yet")


def test_what_cannot_be_is_one_line() -> None:
    one_line(tfgrpo("autopilot", "--once", "--share", "1"), "--share 1.0")
    one_line(tfgrpo("autopilot", "--once", "--learn", "--reward 'exact"), "--learn")
    one_line(tfgrpo("autopilot", "--once", "--interval", "0"), "--interval 0.0")
    one_line(tfgrpo("autopilot", "run", "prior_x"), "approve")
    one_line(tfgrpo("autopilot", "--once"), "no store at tfgrpo.db")
    go_live(Path("tfgrpo.db"))
    one_line(tfgrpo("autopilot", "approve", "--by", "anna"), "nothing waits for approval")
    one_line(tfgrpo("history", "--store", "none.db"), "none.db")


def test_two_autopilots_are_one_too_many_and_the_second_waits_for_the_first() -> None:
    place = Path("tfgrpo.db")
    candidate_in(place)
    with alone_at(place, "default") as alone:
        assert alone
        one_line(tfgrpo("autopilot", "--once"), "another autopilot is at namespace default")
        assert "nothing is to be done" in works("autopilot", "--once", "--namespace", "other").stdout
        waiting = subprocess.Popen(
            [sys.executable, "-m", "tfgrpo", "autopilot", "--interval", "0.1", "--until-alone"],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert waiting.stderr is not None
        assert "this one waits for it to end" in waiting.stderr.readline()
    assert "Ctrl-C stops it" in waiting.stderr.readline()
    assert waiting.stdout is not None
    assert waiting.stdout.readline().startswith("canary: ")
    waiting.communicate()  # standard input ends, as where the proxy that started it is gone
    assert waiting.returncode == 130


def test_traffic_and_labels_become_a_candidate_and_that_a_canary(folder: Path, url: str) -> None:
    topics = list(TOPICS.items()) * 4
    asked = [(number, f"message {number} about {topic}") for number, (topic, _) in enumerate(topics)]
    with Store("tfgrpo.db") as store:
        store.add_calls_in_use(
            [call(number, text) for number, text in asked],
            [label(number, right) for number, (_, right) in enumerate(topics)],
        )
    small = f"--steps 1 --group-size 4 --no-experiences --gate none --base-url {url}"
    said = works("autopilot", "--once", "--learn", small, "--min-feedback", "12").stdout
    assert said.startswith("learned: no gate has tested it")
    rows = json.loads(works("history", "--json").stdout)
    learned = next(row for row in rows if row["what"] == "learned")
    assert learned["figures"]["passed"] is True
    assert learned["figures"]["calls"] >= 48  # and what was probed
    assert works("autopilot", "--once", "--learn", small).stdout.startswith(f"canary: {learned['prior']}: ")


def test_a_canary_that_helps_goes_live_look_by_look() -> None:
    world = World(candidate_in(Path("tfgrpo.db")), lambda prior: 0.95 if prior == OTHER else 0.3, fed_back=1.0)
    assert f"candidate {OTHER.id} waits to be tried" in works("autopilot", "status").stdout
    assert works("autopilot", "--once").stdout.startswith("canary: ")
    assert "number 1, no feedback on it yet" in works("autopilot", "status").stdout
    world.calls(400)
    told = works("autopilot", "status").stdout
    assert "points over " in told
    assert "next: promote: " in told
    found = json.loads(works("autopilot", "status", "--json").stdout)
    assert (found["next"][0]["what"], found["canary"]["number"]) == ("promote", 1)
    assert found["trial"]["benefit"] > 33
    assert found["trial"]["harm"] < 5
    assert works("autopilot", "--once").stdout.startswith("promoted: ")
    assert world.states()[OTHER.id] == "live"


@each(
    ("state", "gate", "ended", "passed"),
    [
        ("candidate", {"verdict": "promoted", "why": "e-value 50"}, None, True),
        ("candidate", None, None, True),
        ("candidate", None, "the budget was reached: 2 of 4 steps were done", True),
        ("candidate", None, "the gate was not finished: the budget allows no pass", False),
        ("candidate", {"verdict": None, "why": "undecided"}, "the gate was not finished: undecided", False),
        ("rejected", {"verdict": "rejected", "why": "no gain"}, None, False),
        (None, None, None, False),
    ],
)
def test_what_a_learning_came_to(
    state: str | None, gate: dict[str, object] | None, ended: str | None, passed: bool
) -> None:
    found = {"candidate": "prior_c" if state else None, "state": state, "gate": gate, "ended": ended}
    learned = learned_from({**found, "usage": {"calls": 7}})
    assert (learned.prior, learned.passed, learned.calls) == (found["candidate"], passed, 7)
    assert learned.said
