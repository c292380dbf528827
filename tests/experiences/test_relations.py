"""Which experiences apply to a task, give way to others or contradict them; every answer with its reason."""

import numpy as np
import pytest

from tests.tables import each
from tfgrpo.errors import InputError
from tfgrpo.experiences.admission import refusal
from tfgrpo.experiences.conditions import condition, contradicting, waiting_for_words
from tfgrpo.experiences.edits import Edit
from tfgrpo.experiences.relations import Relations, relate
from tfgrpo.records import Experience, Origin, Task
from tfgrpo.settings import Settings

OF_INVOICES = (
    "where is my invoice for goods",
    "an invoice came twice for one pair of shoes",
    "message: the invoice is too high",
)
INVOICES = [Task(text, "billing") for text in OF_INVOICES]
CRASHES = [Task(f"message {n} about a crash of the program", "technical") for n in range(3)]
KNOWN = [*INVOICES, *CRASHES]


def learned(text: str, *tasks: Task, parent: Experience | None = None) -> Experience:
    return Experience(text, origin=Origin(tasks=tuple(task.id for task in tasks), parent=parent.id if parent else None))


BILLING = learned("When a message is about an invoice, answer billing.", *INVOICES)
CRASH = learned("When a message is about a crash, answer technical.", *CRASHES)
ALWAYS = learned("When a message is routed, answer with one word.")
BARE = learned("Answer with one word.")
BETTER = learned("When a message is about an invoice, answer the label alone.", parent=BILLING)
BEST = learned("When a message is about an invoice, answer the label in small letters.", parent=BETTER)
UP = learned("When a crash is told, put the first cause before all.")
DOWN = learned("When a crash is told, put the last cause before all.")


def found(*experiences: Experience, asked: str = "my invoice is wrong", temperature: float = 0.0) -> Relations:
    return relate(experiences, [asked], KNOWN, temperature=temperature)


def test_a_task_is_shown_what_names_its_words_and_what_names_none() -> None:
    relations = found(BILLING, CRASH, ALWAYS, BARE)
    assert relations.shown() == (BILLING, ALWAYS, BARE)
    assert relations.why(BILLING) == "the task says 'invoice'"
    assert relations.why(CRASH) == "the task does not say 'crash'"
    assert relations.why(ALWAYS) == "its condition names nothing that tells tasks apart"


def test_equality_of_symbols_is_no_likeness_and_analogy_is() -> None:
    asked = "both invoices for goods are too high"
    assert found(BILLING, CRASH, asked=asked).shown() == ()
    alike = found(BILLING, CRASH, asked=asked, temperature=0.05)
    assert alike.shown() == (BILLING,)
    assert alike.why(BILLING) == "by analogy, 'invoices' for 'invoice': degree 1.00"
    assert "does not say 'crash'; by analogy, 'are' for 'crash': degree 0.00, not above 0.50" in alike.why(CRASH)
    assert found(BILLING, asked="", temperature=0.05).shown() == ()


def test_of_several_analogies_each_costs_more_the_higher_the_temperature_is() -> None:
    both = Experience("[on asks crash invoice] Answer billing.")
    asked = "invoices and crashes"
    degrees = [found(both, asked=asked, temperature=at).degrees[0, 0] for at in (0.01, 0.1, 0.3, 10.0)]
    assert degrees == sorted(degrees, reverse=True)
    assert degrees[-1] == pytest.approx(0.25, abs=0.01)  # two words that are hardly the symbols, nor other ones
    assert found(both, asked=asked, temperature=0.1).shown() == (both,)
    high = found(both, asked=asked, temperature=0.3)
    assert high.shown() == ()
    assert "'crashes' for 'crash', 'invoices' for 'invoice': degree 0.4" in high.why(both)
    assert found(both, asked="an invoice and crashes", temperature=0.3).shown() == (both,)


def test_a_word_of_a_task_without_the_symbol_stands_for_no_symbol() -> None:
    asked, voices = "my voice is wrong", [Task("a voice is heard", "other")]
    assert relate([BILLING], [asked], KNOWN, temperature=0.05).shown() == (BILLING,)
    for temperature in (0.001, 0.05, 1.0):
        assert relate([BILLING], [asked], [*KNOWN, *voices], temperature=temperature).shown() == ()


def test_what_waits_for_a_moment_is_not_shown_before_it() -> None:
    waits = Experience("[on tool error] When a message is routed, read the error.")
    pattern = Experience("[on matches refund] When an invoice is sent, answer billing.")
    relations = found(waits, pattern, BILLING)
    assert relations.shown() == (BILLING,)
    assert relations.waiting() == (waits, pattern)
    assert (
        relations.why(waits) == "waits for its moment, tool error; its condition names nothing that tells tasks apart"
    )
    assert relations.why(pattern).startswith("waits for its moment, matches refund; ")


def test_an_experience_applies_to_the_tasks_that_taught_it() -> None:
    taught = learned("When a crash is no crash, ask.", *INVOICES[:1])
    assert found(taught, asked=INVOICES[0].prompt).shown() == (taught,)
    assert found(BILLING, asked=INVOICES[1].prompt).shown() == (BILLING,)


def test_a_word_that_its_own_tasks_do_not_all_have_is_no_condition() -> None:
    refused = learned("When a message tells of a crash, answer technical.", *CRASHES[:2])
    assert found(refused, asked="a crash").why(refused) == "the task says 'crash'"
    untaught = learned("When a pair has a crash, answer technical.")
    assert found(untaught, asked="a crash").why(untaught) == "the task does not say 'pair'"


def test_edits_wait_for_the_words_that_tell_their_tasks_apart_and_apply_by_them() -> None:
    told = Edit("ADD", BILLING.text, tasks=BILLING.origin.tasks)
    narrower = Edit("UPDATE", "When an invoice is about goods, say so.", BILLING.id, (INVOICES[0].id,))
    as_it_is = [Edit("ADD", ALWAYS.text), Edit("ADD", "[on turn 2] When a crash is told, stop."), Edit("DELETE")]
    waiting = waiting_for_words([told, narrower, *as_it_is], [BILLING], KNOWN)
    assert [edit.text for edit in waiting[:2]] == [f"[on asks invoice] {edit.text}" for edit in (told, narrower)]
    assert waiting[2:] == tuple(as_it_is)
    assert waiting_for_words(waiting, [BILLING], KNOWN) == waiting
    waits = Experience("[on asks goods] When an invoice is sent, answer billing.")
    assert found(waits, asked="goods").shown() == (waits,)
    assert found(waits, asked="my invoice").why(waits) == "the task does not say 'goods'"
    as_long_as_may_be = " ".join(f"word{n}" for n in range(Settings().experience_words))
    assert refusal(Experience(f"[on asks goods] {as_long_as_may_be}"), (), (), Settings()) is None


def test_what_is_superseded_gives_way_only_where_its_successor_applies() -> None:
    relations = found(BILLING, BETTER, BEST)
    assert relations.shown() == (BEST,)
    assert relations.withheld() == (BILLING, BETTER)
    assert relations.why(BILLING) in {f"superseded by {one.id}, which applies too" for one in (BETTER, BEST)}
    narrower = learned("When an invoice is about a crash, answer technical.", parent=BILLING)
    assert found(BILLING, narrower).shown() == (BILLING,)


def test_what_waits_for_its_moment_takes_no_place_before_it() -> None:
    waits = learned(f"[on tool error] {BETTER.text}", parent=BILLING)
    relations = found(BILLING, waits)
    assert (relations.shown(), relations.waiting()) == ((BILLING,), (waits,))
    same = learned(f"[on tool error] {BILLING.text}"), learned(f"[on tool error] {BEST.text}", parent=waits)
    assert found(waits, same[1]).withheld() == (waits,)
    assert found(same[0], learned(BEST.text, parent=same[0])).withheld() == (same[0],)
    crash = learned(f"[on repetition] {UP.text}"), DOWN
    assert found(*crash, asked="a crash").shown() == (DOWN,)


def test_an_update_goes_back_over_those_that_are_no_more() -> None:
    gone = relate([BILLING, BEST], ["my invoice"], KNOWN, earlier=[BILLING, BETTER, BEST])
    assert gone.shown() == (BEST,)
    assert gone.why(BILLING) == f"superseded by {BEST.id}, which applies too"
    assert relate([BILLING, BEST], ["my invoice"], KNOWN).shown() == (BILLING, BEST)  # nothing is known between them
    absent = [learned(BETTER.text, parent=BEST), learned(BEST.text, parent=BETTER)]
    apart = learned("When an invoice is sent, answer at once.", parent=BETTER)
    assert relate([BILLING, apart], ["my invoice"], KNOWN, earlier=absent).shown() == (BILLING, apart)


def test_of_two_that_contradict_each_other_the_stronger_is_shown() -> None:
    relations = found(UP, DOWN, asked="a crash")
    assert relations.contradictions() == [(UP, DOWN)]
    assert relations.shown() == (UP,)
    assert relations.why(DOWN) == f"it contradicts {UP.id}"
    measured = relate([UP, DOWN], ["a crash"], KNOWN, effects={DOWN.id: 0.1})
    assert measured.shown() == (DOWN,)


def test_a_circle_of_successors_is_an_error_that_names_it() -> None:
    first, second = learned("When adding, count."), learned("When adding, count twice.")
    circle = [learned(first.text, parent=second), learned(second.text, parent=first)]
    with pytest.raises(InputError, match=f"in a circle: {first.id} -> {second.id} -> {first.id}"):
        found(*circle)


@each(
    ("one", "other", "at_odds"),
    [
        ("When adding, write it down.", "When adding, do not write it down.", True),
        ("When adding, don't round.", "When adding, round.", True),
        ("When adding, answer YES.", "When adding, answer NO.", True),
        ("When adding, answer first.", "When subtracting, answer last.", False),
        ("When adding, answer first.", "When adding, check twice.", False),
        ("Answer first.", "Answer last.", False),
    ],
)
def test_texts_are_at_odds_under_the_same_condition_alone(one: str, other: str, at_odds: bool) -> None:
    assert contradicting([one, other]).tolist() == [[False, at_odds], [at_odds, False]]


def test_conditions_are_the_words_that_carry_them() -> None:
    assert condition("When the order is overdue, ask.") == {"order", "overdue"}
    assert condition("If there is a crash: ask.") == {"crash"}
    assert condition("Answer first, then ask.") == frozenset()


def test_many_tasks_are_related_at_once_as_one_by_one() -> None:
    asked = [task.prompt for task in KNOWN]
    together = relate([BILLING, CRASH, BETTER], asked, KNOWN, temperature=0.1)
    for place, text in enumerate(asked):
        alone = relate([BILLING, CRASH, BETTER], [text], KNOWN, temperature=0.1)
        assert together.shown(place) == alone.shown()
    assert together.deduced.tensors["shown"].dtype == np.bool_
    assert relate([BILLING], ["an invoice"], []).shown() == (BILLING,)
