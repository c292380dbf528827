"""What a person does with experiences from the shell."""

import json

import pytest

from tests.cli.shell import TEXT, works
from tfgrpo.cli.lines.experiences import effect_text
from tfgrpo.records import JSON, Experience, Prior


def test_a_person_adds_edits_refuses_approves_and_retires(priors: tuple[Prior, Prior]) -> None:
    (added,) = [word for word in works("experience", "add", "Think twice.", "--by", "ann").stdout.split()[:1]]
    edited = works("experience", "edit", added, "Think three times.", "--by", "ann").stdout.split()[0]
    works("experience", "refuse", edited, "--why", "too slow", "--by", "ann")
    works("experience", "approve", edited, "--by", "bob")
    told = json.loads(works("experience", "show", edited, "--json").stdout)
    assert [(one["verdict"], one["by"]) for one in told["decisions"]] == [
        ("on trial", "ann"), ("refused", "ann"), ("on trial", "bob"),
    ]  # fmt: skip
    assert told["origins"][0]["parent"] == added
    works("experience", "retire", edited)
    fates = {row["text"]: row["fate"] for row in json.loads(works("experience", "list", "--json").stdout)}
    assert (fates["Think twice."], fates["Think three times."]) == ("retired", "retired")


def test_retiring_what_is_served_says_that_it_is_still_served(priors: tuple[Prior, Prior]) -> None:
    assert "still holds it" in works("experience", "retire", Experience(TEXT).id).stdout


def test_what_becomes_of_an_experience_is_told_to_programs_too(priors: tuple[Prior, Prior]) -> None:
    def told(*arguments: str) -> JSON:
        return json.loads(works("experience", *arguments, "--json").stdout)

    added = told("add", "Think twice.")
    assert (added["text"], added["fate"]) == ("Think twice.", "on trial")
    edited = told("edit", added["id"], "Think three times.")
    assert (edited["text"], edited["fate"]) == ("Think three times.", "on trial")
    refused = told("refuse", edited["id"], "--why", "too slow")
    assert refused == {"id": edited["id"], "text": "Think three times.", "fate": "refused"}
    assert told("approve", edited["id"])["fate"] == "on trial"
    assert told("retire", edited["id"])["served"] is False
    assert told("retire", Experience(TEXT).id)["served"] is True


def test_an_experience_shows_where_it_came_from_and_what_became_of_it(priors: tuple[Prior, Prior]) -> None:
    text = works("experience", "show", Experience(TEXT).id[:9]).stdout
    assert TEXT in text
    assert "step 1" in text
    assert "rewards 1.00, failed" in text
    assert "+0.20 [+0.00, +0.40] n=9" in text
    assert "kept by rule: it helps" in text


@pytest.mark.parametrize(
    ("effect", "text"),
    [
        (None, "not measured"),
        ({"mean": 0.0, "sd": 0.15, "evidence": 0}, "not measured"),
        ({"mean": 0.1, "sd": 0.05, "evidence": 40}, "+0.10 [+0.00, +0.20] n=40"),
        ({"mean": 0.1, "sd": 0.05, "evidence": 40, "imported": True}, "+0.10 [+0.00, +0.20] n=40 (imported)"),
    ],
)
def test_an_effect_without_a_rollout_behind_it_is_none(effect: JSON, text: str) -> None:
    assert effect_text(effect) == text
