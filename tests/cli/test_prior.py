"""What a person does with priors from the shell: look, compare, choose, go back."""

import getpass
import json
import os
import re

import pytest

from tests.cli.shell import FRAME, live, one_line, tfgrpo, works
from tests.surfaces.vectors import drawn, embedded
from tfgrpo.cli import main
from tfgrpo.records import Backend, Demonstration, Experience, Prior
from tfgrpo.store import Store


def test_priors_are_listed_as_a_tree_with_the_served_one_starred(priors: tuple[Prior, Prior]) -> None:
    first, second = priors
    head, *rows = works("prior", "list").stdout.splitlines()
    assert head.split()[:2] == ["prior", "state"]
    assert [row.split()[0] for row in rows] == [first.id, "└─"]
    assert rows[0].split()[1] == "superseded"
    assert f"└─ {second.id} *" in rows[1]
    assert rows[0].split()[4:7] == ["1", "0", "1"]
    events = json.loads(works("prior", "list", "--json").stdout)
    assert [event["state"] for event in events] == ["ungated", "ungated", "superseded"]
    assert [event["parent"] for event in events] == [None, first.id, None]


def test_a_prior_is_shown_with_where_it_comes_from_and_what_became_of_it(priors: tuple[Prior, Prior]) -> None:
    first, second = priors
    works("prior", "use", first.id, "--by", "ann", "--why", "shorter")
    told = json.loads(works("prior", "show", first.id, "--json").stdout)
    (run,) = json.loads(works("runs", "list", "--json").stdout)
    assert (told["state"], told["served"], told["run"], told["model"]) == ("ungated", True, run["id"], "m")
    assert [event["state"] for event in told["lineage"]] == ["ungated", "superseded", "ungated"]
    assert told["experiences"][0]["origin"]["run"] == run["id"]
    lines = works("prior", "show", first.id).stdout.splitlines()
    assert f"learned on m by {run['id']}" in lines
    assert "in namespace default, where it is served:" in lines
    assert lines[-1].endswith("ungated by ann: shorter")
    assert f"learned on m by no run that is known, from {first.id}" in works("prior", "show", second.id).stdout
    other = json.loads(works("prior", "show", first.id, "--namespace", "math", "--json").stdout)
    assert (other["state"], other["served"], other["run"], other["lineage"]) == (None, False, "", [])
    assert "never a candidate in namespace math" in works("prior", "show", first.id, "--namespace", "math").stdout


def test_a_difference_is_told_to_people_and_to_programs(priors: tuple[Prior, Prior]) -> None:
    first, second = priors
    lines = works("prior", "diff", first.id[:10]).stdout.splitlines()
    assert lines[:3] == [f"--- {first.id}", f"+++ {second.id}", "+ When in doubt, ask."]
    assert "+0.50 -> none" in lines[3]
    assert lines[4] == "tokenizer: tokenizer -> none"
    told = json.loads(works("prior", "diff", second.id, first.id, "--json").stdout)
    assert [entry["text"] for entry in told["removed"]] == ["When in doubt, ask."]
    assert told["biases"] == [{"token": 7, "text": "\\xff", "before": None, "after": 0.5}]


SHOWN = tuple(Demonstration(f"영수증 {number}은\n어디 있나요?", f"BILL {number}", "task_1") for number in range(5))


@pytest.fixture
def prompting(priors: tuple[Prior, Prior]) -> Prior:
    """A prior with a way to prompt, live after the others."""
    third = Prior(instruction="Answer with\none word.", demonstrations=SHOWN, nearest=2, parent=priors[1].id)
    with Store("tfgrpo.db") as store:
        store.add_prior(third)
        store.set_state("default", third.id, "ungated", frame=FRAME, why="it won the race")
    return third


def test_a_way_to_prompt_is_shown_with_what_it_costs(prompting: Prior) -> None:
    lines = works("prior", "show").stdout.splitlines()
    assert lines[1] == "an instruction, the 2 nearest of 5 demonstrations, 0 experiences, 0 token biases"
    assert lines[2].startswith("adds about ")
    assert lines[3:6] == [
        "instruction: Answer with\\none word.",
        "the 2 nearest of 5 demonstrations:",
        "  영수증 0은 어디 있나요? -> BILL 0",
    ]
    assert lines[8] == f"  ... and 2 more: tfgrpo prior export {prompting.id} --format text"
    told = json.loads(works("prior", "show", "--json").stdout)
    assert (told["nearest"], told["instruction"], len(told["demonstrations"])) == (2, "Answer with\none word.", 5)
    assert told["demonstrations"][1] == {
        "id": SHOWN[1].id, "input": SHOWN[1].input, "answer": "BILL 1", "task": "task_1"
    }  # fmt: skip
    assert f"adds about {told['tokens']} tokens to a request" == lines[2]
    (row,) = (line for line in works("prior", "list").stdout.splitlines() if f"{prompting.id} *" in line)
    assert row.split("2 of 5")[1].split()[:2] == ["0", str(told["tokens"])]


def test_a_difference_names_the_demonstrations(priors: tuple[Prior, Prior], prompting: Prior) -> None:
    lines = works("prior", "diff", priors[1].id).stdout.splitlines()
    assert "+ 영수증 4은 어디 있나요? -> BILL 4" in lines
    assert "instruction: none -> Answer with\\none word." in lines
    assert "nearest: none -> 2" in lines
    told = json.loads(works("prior", "diff", prompting.id, priors[1].id, "--json").stdout)
    assert [entry["answer"] for entry in told["no_longer_shown"]] == [entry.answer for entry in SHOWN]
    assert (told["shown"], told["reshuffled"]) == ([], False)


def test_a_way_to_prompt_travels_to_another_machine(prompting: Prior) -> None:
    works("prior", "export", "-o", "p.json")
    result = works("prior", "import", "p.json", "--store", "other.db", "--by", "ann")
    assert f"{prompting.id}: an instruction, the 2 nearest of 5 demonstrations" in result.stdout
    assert "adds about" in result.stdout
    with Store("other.db") as store:
        found = store.prior(prompting.id)
        assert (found, found.demonstrations[0].task) == (prompting, "task_1")
        assert store.verify() == ()
    text = works("prior", "export", "--format", "text").stdout
    assert "user: 영수증 0은\n어디 있나요?\nassistant: BILL 0" in text
    assert "demonstrations left out" in works("prior", "export", "--format", "youtu-agent").stderr


def test_using_and_rolling_back_are_remembered_with_a_name(priors: tuple[Prior, Prior]) -> None:
    first, second = priors
    assert f"{first.id} is ungated" in works("prior", "use", first.id, "--by", "ann", "--why", "shorter").stdout
    assert live() == first.id
    assert f"{second.id} is ungated again" in works("prior", "rollback", "--by", "ann").stdout
    assert live() == second.id
    events = json.loads(works("prior", "list", "--json").stdout)
    assert {"prior": first.id, "state": "ungated", "run": "", "by": "ann", "why": "shorter"}.items() <= events[
        3
    ].items()
    assert [event["state"] for event in events[4:]] == ["superseded", "ungated", "superseded", "rolled back"]


def test_a_second_rollback_in_a_row_that_leaves_no_prior_is_asked_for(priors: tuple[Prior, Prior]) -> None:
    works("prior", "rollback")
    one_line(tfgrpo("prior", "rollback"), "rolled back already", "without a prior", "--yes")
    assert live() == priors[0].id
    assert "calls go out without a prior" in works("prior", "rollback", "--yes").stdout
    assert live() is None
    one_line(tfgrpo("prior", "rollback"), "nothing to roll back")


def test_a_decision_carries_the_login_name_unless_another_is_given(
    priors: tuple[Prior, Prior], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "bob")
    works("prior", "rollback")
    assert json.loads(works("prior", "list", "--json").stdout)[-1]["by"] == "bob"

    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)
    one_line(tfgrpo("prior", "rollback"), "--by NAME")


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("y", 0)])
def test_on_a_terminal_a_person_is_asked_before_the_prior_is_off(
    priors: tuple[Prior, Prior],
    answer: str,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    works("prior", "rollback")
    ours, theirs = os.openpty()
    with os.fdopen(theirs) as terminal, pytest.raises(SystemExit) as ended:
        monkeypatch.setattr("sys.stdin", terminal)
        os.write(ours, f"{answer}\n".encode())
        main(["prior", "rollback"])
    os.close(ours)
    assert "Turn it off? [y/N]" in "".join(capfd.readouterr())
    assert ended.value.code == code
    assert (live() is None) == (answer == "y")


def test_a_choice_is_told_to_programs_too(priors: tuple[Prior, Prior]) -> None:
    first, second = priors
    used = json.loads(works("prior", "use", first.id, "--json").stdout)
    assert used == {"prior": first.id, "state": "ungated", "namespace": "default"}
    back = json.loads(works("prior", "rollback", "--json").stdout)
    assert back == {"rolled_back": first.id, "prior": second.id, "namespace": "default"}
    works("prior", "rollback", "--yes")
    assert live() is None


def test_a_prior_tells_which_of_its_experiences_a_task_is_shown_and_why(priors: tuple[Prior, Prior]) -> None:
    first, _ = priors
    said = works("prior", "show", "--for", "How do I add?").stdout
    assert "2 of 2 experiences to be shown" in said
    assert "its condition names nothing that tells tasks apart" in said
    told = json.loads(works("prior", "show", first.id, "--for", "x", "--analogy", "0.1", "--json").stdout)
    assert (told["prior"], told["task"], len(told["shown"]), told["contradictions"]) == (first.id, "x", 1, [])
    for analogy in ("nan", "inf"):
        refused = tfgrpo("prior", "show", first.id, "--for", "x", "--analogy", analogy)
        one_line(refused, f"--analogy is {analogy}; give a finite number of at least 0")
    one_line(tfgrpo("prior", "show", "--analogy", "0.1"), "--analogy goes with --for TASK")
    one_line(tfgrpo("prior", "show", "--for", "task_0123"), "has learned from no task task_0123")
    with Store("tfgrpo.db") as store:
        bare = Prior(biases=first.biases, tokenizer="tokenizer")
        store.add_prior(bare)
        narrow = Prior((Experience("When adding, count."), Experience("[on asks apples] Count the apples.")))
        store.add_prior(narrow)
    waiting = works("prior", "show", narrow.id).stdout
    assert re.search(r"adds about \d+ to \d+ tokens to a request, by what it has of what", waiting)
    tokens = json.loads(works("prior", "show", narrow.id, "--for", "pears", "--json").stdout)["tokens"]
    assert tokens["served"] < tokens["all"]
    tokens = json.loads(works("prior", "show", narrow.id, "--for", "apples", "--json").stdout)["tokens"]
    assert tokens["shown"] == tokens["served"] == tokens["all"], "a trigger is no part of what is said"
    with Store("tfgrpo.db") as store:
        moment = Prior((Experience("When adding, count."), Experience("[on tool error] When adding, read it.")))
        store.add_prior(moment)
    said = works("prior", "show", moment.id, "--for", "pears").stdout
    assert "1 of 2 experiences to be shown" in said
    assert "1 to be shown once its moment has come" in said
    assert "    waiting: waits for its moment, tool error; " in said
    one_line(tfgrpo("prior", "show", bare.id, "--for", "x"), "no experience")


def test_a_prior_whose_model_leaves_soon_says_so(priors: tuple[Prior, Prior]) -> None:
    with Store("tfgrpo.db") as store:
        store.add_probe("http://up/v1", FRAME.model, Backend(shutdown_date="2020-01-01"))
    shown = works("prior", "show")
    assert f"{FRAME.model} has left http://up/v1 on 2020-01-01; to take its prior to a successor" in shown.stderr


def test_a_prior_that_chooses_by_vectors_names_the_model_and_travels(priors: tuple[Prior, Prior]) -> None:
    shown = tuple(embedded(f"case {number}", "BILL", drawn(number)) for number in range(5))
    plain, chosen = (Prior(demonstrations=shown, nearest=2, embedding=model) for model in ("", "near"))
    with Store("tfgrpo.db") as store:
        for prior in (plain, chosen):
            store.add_prior(prior)
            store.set_state("default", prior.id, "ungated", frame=FRAME, why="it won the race")
    lines = works("prior", "show").stdout.splitlines()
    assert lines[1] == "the 2 nearest of 5 demonstrations by near, 0 experiences, 0 token biases"
    assert "costs one embeddings call of near a request, the first time that its text comes" in lines
    assert "embedding: none -> near" in works("prior", "diff", plain.id).stdout
    works("prior", "export", "-o", "p.json")
    works("prior", "import", "p.json", "--store", "other.db", "--by", "ann")
    for path in ("tfgrpo.db", "other.db"):
        with Store(path) as store:
            kept = store.prior(chosen.id)
            assert store.verify() == ()
        assert kept == chosen
        assert [entry.vector for entry in kept.demonstrations] == [entry.vector for entry in shown]
