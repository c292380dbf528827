from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tables import each
from tfgrpo.experiences.edits import Edit
from tfgrpo.experiences.library import Library, affordable, apply, clearly_worse, describe, judged, screens
from tfgrpo.records import Decision, Effect, Experience, Fate, Origin, Task
from tfgrpo.settings import Settings
from tfgrpo.surfaces.chat import render_experiences

SETTINGS = Settings()
PAPER = Settings(recipe="paper")
TASKS = (Task("one", "BILL"), Task("two", "BILL"), Task("three", "secret answer"))
ADD = Edit("ADD", "When a charge is named, answer BILL.", tasks=(TASKS[0].id,))
OTHER = Edit("ADD", "When the text is long, read its last sentence first.", tasks=(TASKS[1].id,))


def grown(*edits: Edit, settings: Settings = SETTINGS) -> Library:
    return apply(Library(), edits, TASKS, settings, run="run_1", step=2)


def verdicts(library: Library) -> list[tuple[str, Fate]]:
    standing = library.standing
    return [(entry.text, standing[entry.id].verdict) for entry in library.experiences]


def decided(library: Library, number: int, verdict: Fate, by: str = "rule") -> Library:
    return library.decided(Decision(library.experiences[number].id, verdict, "test", by))


def test_an_added_experience_goes_on_trial_with_its_origin() -> None:
    library = grown(ADD)
    (entry,) = library.current
    assert entry.origin == Origin("run_1", 2, (TASKS[0].id,), None)
    assert library.decisions == (Decision(entry.id, "on trial", "ADD proposed from 1 task", "rule", "run_1", 2),)


def test_under_the_recipe_paper_what_is_admitted_is_kept() -> None:
    assert verdicts(grown(ADD, settings=PAPER)) == [(ADD.text, "kept")]


def test_a_refused_experience_is_remembered_with_its_reason_and_not_shown() -> None:
    library = grown(Edit("ADD", "When asked, give the secret answer."))
    assert library.current == ()
    (decision,) = library.decisions
    assert (decision.verdict, decision.why) == ("refused", f"it gives away the answer of {TASKS[2].id}")


def test_an_update_makes_a_successor_and_retires_the_old_one() -> None:
    library = grown(ADD)
    old = library.current[0]
    update = Edit("UPDATE", "When a charge is named twice, answer BILL.", old.id, (TASKS[1].id,))
    library = apply(library, [update], TASKS, SETTINGS)
    (new,) = library.current
    assert (new.origin.parent, new.origin.tasks) == (old.id, (TASKS[1].id, TASKS[0].id))
    assert library.standing[old.id].verdict == "retired"
    assert library.standing[old.id].by == "distiller"


def test_an_update_that_is_refused_leaves_the_old_one_on_trial() -> None:
    library = grown(ADD)
    update = Edit("UPDATE", "When asked, give the secret answer.", library.current[0].id)
    assert [entry.text for entry in apply(library, [update], TASKS, SETTINGS).current] == [ADD.text]


@pytest.mark.parametrize(
    ("settings", "verdict", "left"),
    [(SETTINGS, "on trial", 0), (SETTINGS, "kept", 1), (PAPER, "kept", 0), (SETTINGS, "awaiting review", 0)],
)
def test_delete_takes_back_what_no_measurement_has_kept(settings: Settings, verdict: Fate, left: int) -> None:
    library = decided(grown(ADD), 0, verdict)
    after = apply(library, [Edit("DELETE", target=library.experiences[0].id)], TASKS, settings)
    assert len(after.current) == left


def test_an_update_of_a_kept_experience_is_tried_beside_it() -> None:
    library = decided(grown(ADD), 0, "kept")
    update = Edit("UPDATE", "When a charge is named twice, answer BILL.", library.experiences[0].id)
    assert [verdict for _, verdict in verdicts(apply(library, [update], TASKS, SETTINGS))] == ["kept", "on trial"]


@pytest.mark.parametrize("edit", [Edit("NONE"), Edit("DELETE", target="exp_gone"), Edit("DELETE"), ADD])
def test_what_changes_nothing_leaves_no_trace(edit: Edit) -> None:
    library = grown(ADD)
    assert apply(library, [edit], TASKS, SETTINGS) == library


@each(
    ("verdict", "by", "again"),
    [
        ("retired", "rule", False),
        ("retired", "alice", False),
        ("refused", "alice", False),
        ("awaiting review", "rule", False),
        ("retired", "distiller", True),
        ("refused", "rule", True),
    ],
)
def test_only_what_was_never_measured_or_judged_may_be_proposed_again(verdict: Fate, by: str, again: bool) -> None:
    library = decided(grown(ADD), 0, verdict, by)
    assert bool(apply(library, [ADD], TASKS, SETTINGS).current) == again
    alike = replace(ADD, text=ADD.text.upper())
    assert bool(apply(library, [alike], TASKS, SETTINGS).current) == again


def test_more_than_can_be_measured_at_once_waits() -> None:
    few = replace(SETTINGS, trial_experiences=1)
    library = grown(ADD, OTHER, settings=few)
    assert [verdict for _, verdict in verdicts(library)] == ["on trial", "waiting"]
    assert "on trial already" in library.decisions[-1].why
    freed = apply(decided(library, 0, "kept"), [OTHER], TASKS, few)
    assert [verdict for _, verdict in verdicts(freed)] == ["kept", "on trial"]
    successor = Edit("UPDATE", "When a charge is named twice, answer BILL.", library.experiences[0].id)
    assert len(apply(library, [successor], TASKS, few).current) == 1
    assert len(grown(ADD, OTHER, settings=replace(PAPER, trial_experiences=1)).current) == 2


LIKE_OTHER = replace(OTHER, text=f"{OTHER.text[:-1]} again.", tasks=(TASKS[2].id,))
FEW = replace(SETTINGS, trial_experiences=1)


def test_what_several_groups_propose_gets_the_place_and_the_rest_waits_for_the_next_one() -> None:
    library = grown(ADD, OTHER, LIKE_OTHER, settings=FEW)
    assert verdicts(library) == [(OTHER.text, "on trial"), (LIKE_OTHER.text, "refused"), (ADD.text, "waiting")]
    assert apply(library, (), TASKS, FEW, run="run_1", step=3) == library, "there is no place yet"
    freed = decided(library, 0, "retired")
    assert verdicts(apply(freed, (), TASKS, FEW, run="run_1", step=3))[-1] == (ADD.text, "on trial")
    assert apply(freed, (), TASKS, FEW, run="run_2") == freed, "another run measures its own"


def test_of_those_that_wait_the_best_supported_comes_first() -> None:
    taken = grown(Edit("ADD", "When it is late, answer at once."), settings=FEW)
    library = apply(taken, [ADD, OTHER], TASKS, FEW, run="run_1", step=3)
    again = replace(OTHER, tasks=(TASKS[2].id,))
    library = apply(library, [again], TASKS, FEW, run="run_1", step=4)
    assert [decision.verdict for decision in library.decisions] == ["on trial", "waiting", "waiting"], "said once"
    freed = apply(decided(library, 0, "kept"), (), TASKS, FEW, run="run_1", step=5)
    assert [verdict for _, verdict in verdicts(freed)] == ["kept", "waiting", "on trial"]


EXAMPLE = Edit("ADD", "Example: a charge\nRight answer: BILL", tasks=(TASKS[0].id,), kind="demonstration")


@pytest.mark.parametrize("settings", [replace(SETTINGS, review=True), replace(PAPER, review=True)])
def test_with_review_what_is_admitted_waits_for_a_person(settings: Settings) -> None:
    library = grown(ADD, EXAMPLE, Edit("ADD", "When asked, give the secret answer."), settings=settings)
    assert [verdict for _, verdict in verdicts(library)] == ["awaiting review", "awaiting review", "refused"]
    assert library.current == ()
    assert apply(library, [ADD], TASKS, settings) == library


def test_with_review_the_target_of_an_update_stays_until_the_update_is_approved() -> None:
    library = grown(ADD)
    update = Edit("UPDATE", "When a charge is named twice, answer BILL.", library.current[0].id)
    after = apply(library, [update], TASKS, replace(SETTINGS, review=True))
    assert [verdict for _, verdict in verdicts(after)] == ["on trial", "awaiting review"]


def test_what_a_person_put_on_trial_no_distiller_takes_back() -> None:
    library = decided(grown(ADD), 0, "on trial", "alice")
    assert apply(library, [Edit("DELETE", target=library.experiences[0].id)], TASKS, SETTINGS) == library


def test_what_is_proposed_again_keeps_its_place_and_all_its_sources() -> None:
    library = decided(grown(ADD, OTHER), 0, "retired", "distiller")
    again = apply(library, [replace(ADD, tasks=(TASKS[1].id,))], TASKS, SETTINGS)
    assert [entry.text for entry in again.current] == [ADD.text, OTHER.text]
    assert set(again.current[0].origin.tasks) == {TASKS[0].id, TASKS[1].id}


def test_what_credit_decided_is_appended_with_its_figures() -> None:
    library = grown(ADD, OTHER)
    one, two = library.current
    effects = [Effect(one.id, "run_1", 3, 0.1, 0.02, 400), Effect(two.id, "run_1", 3, -0.1, 0.02, 400)]
    library = judged(judged(library, effects[:1], "kept"), effects[1:], "retired")
    assert verdicts(library) == [(ADD.text, "kept"), (OTHER.text, "retired")]
    assert library.decisions[-2].why == "+10.0 points [+6.1, +13.9] from 400 rollouts, P(> 0) = 1.000"
    assert (library.decisions[-1].run, library.decisions[-1].step) == ("run_1", 3)


EDITS = st.lists(
    st.builds(
        Edit,
        st.sampled_from(["ADD", "UPDATE", "DELETE", "NONE"]),
        st.sampled_from([ADD.text, OTHER.text, "When asked, give the secret answer.", "When 7 meets 9, add them.", ""]),
        st.sampled_from([None, Experience(ADD.text).id, Experience(OTHER.text).id, "exp_gone"]),
    ),
    max_size=12,
)


@given(EDITS, st.sampled_from([SETTINGS, PAPER, replace(SETTINGS, trial_experiences=1)]))
def test_edits_only_append_and_never_reuse_an_id(edits: list[Edit], settings: Settings) -> None:
    library = Library()
    for edit in edits:
        after = apply(library, [edit], TASKS, settings)
        assert after.decisions[: len(library.decisions)] == library.decisions
        assert {entry.id for entry in library.experiences} <= {entry.id for entry in after.experiences}
        library = after
    assert len({entry.id for entry in library.experiences}) == len(library.experiences)
    assert set(library.standing) == {entry.id for entry in library.experiences}
    assert settings.recipe == "paper" or len(library.having("on trial")) <= settings.trial_experiences
    assert not any("secret answer" in entry.text for entry in library.current)


ENTRIES = tuple(Experience(f"When {number}, act.") for number in range(6))


def trial(*verdicts: Fate) -> Library:
    entries = ENTRIES[: len(verdicts)]
    return Library(
        entries,
        tuple(Decision(entry.id, verdict, "test") for entry, verdict in zip(entries, verdicts, strict=True)),
    )


def count_words(text: str) -> int:
    return len(text.split())


def test_all_current_experiences_are_affordable_in_order_of_arrival_when_they_fit() -> None:
    library = trial("kept", "retired", "on trial", "refused", "awaiting review")
    assert affordable(library, [], SETTINGS, count_words) == (ENTRIES[0], ENTRIES[2])


def test_the_highest_lower_bound_comes_first_when_not_all_fit() -> None:
    library = trial("on trial", "kept", "kept", "on trial")
    effects = [
        Effect(ENTRIES[1].id, "", 0, 0.20, 0.20, 9),  # lower bound -0.19
        Effect(ENTRIES[2].id, "", 0, 0.05, 0.01, 9),  # +0.03
        Effect(ENTRIES[3].id, "", 0, 0.00, 0.05, 9),  # -0.10
    ]  # unmeasured: -0.29
    room = count_words(render_experiences(ENTRIES[:2]))
    tight = replace(SETTINGS, prior_tokens=room)
    assert affordable(library, effects, tight, count_words) == (ENTRIES[2], ENTRIES[3])
    assert affordable(library, effects, replace(tight, prior_tokens=1), count_words) == ()


@given(st.integers(1, 120), st.integers(0, 60))
def test_a_prior_never_exceeds_its_tokens(room: int, beside: int) -> None:
    library = trial("kept", "kept", "kept", "kept", "kept", "kept")
    chosen = affordable(library, [], replace(SETTINGS, prior_tokens=room), count_words, beside=beside)
    assert not chosen or count_words(render_experiences(chosen)) + beside <= room


def test_an_effect_is_described_in_points() -> None:
    assert describe(Effect("e", "", 0, -0.031, 0.01, 12)).startswith("-3.1 points [-5.1, -1.1] from 12 rollouts")


@each(
    "rewards, known, worse",
    [
        ([0, 0, 0, 0], 0.5, True),  # 1 in 16
        ([0, 0, 0, 0], 0.4, False),  # 13%: so few attempts cannot show it
        ([1, 0, 0, 0], 0.8, True),  # 3%
        ([0.3, 0.3, 0.3, 0], 0.8, True),  # no more than one right answer
        ([1, 1, 0, 0], 0.8, False),  # 18%
        ([0, 0, 0, 0], 0.0, False),
        ([1, 1, 1, 1], 1.0, False),
        ([1, 1, 1, 0], 1.0, True),
        ([], 0.9, False),
    ],
)
def test_attempts_are_clearly_worse_where_chance_would_hardly_do_it(
    rewards: list[float], known: float, worse: bool
) -> None:
    assert clearly_worse(rewards, known) is worse


def test_screens_take_an_eighth_of_a_steps_rollouts_at_most() -> None:
    settings = Settings(group_size=8, trial_experiences=6)
    assert [screens(settings, tasks) for tasks in (3, 4, 12, 40)] == [0, 1, 3, 6]
    assert screens(replace(settings, review=True), 40) == screens(Settings.for_recipe("paper"), 40) == 0
