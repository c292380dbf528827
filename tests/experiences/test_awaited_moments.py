"""Proposed texts wait for the moment that their condition speaks of, where rollouts that earned less had it."""

from collections.abc import Sequence

from tests.surfaces.test_triggers import AGAIN, ASKED, CALL, DONE, ERROR, OTHER
from tests.tables import each
from tfgrpo.experiences.awaited_moments import waiting_for_moments
from tfgrpo.experiences.edits import Edit
from tfgrpo.records import Group, Message, Rollout, Task

TASK = Task("Book the room.")
FAILED, FINE = (ASKED, CALL, ERROR, OTHER), (ASKED, CALL, DONE, OTHER)
READ = Edit("ADD", "When a call fails, read what it says before the next one.", tasks=(TASK.id,))
STOP = Edit("ADD", "If the same call is made twice, do something else.", tasks=(TASK.id,))


def group(*made: tuple[Sequence[Message], float]) -> Group:
    """The rollouts of the task, each with its reward."""
    rolled = [Rollout(TASK, 0, at, "p", messages=tuple(said), reward=won) for at, (said, won) in enumerate(made)]
    return Group(TASK, 0, tuple(rolled))


def test_it_waits_where_lesser_rollouts_had_the_moment_and_the_text_speaks_of_it() -> None:
    mixed = group((FAILED, 0.0), (FINE, 1.0))
    other = Edit("ADD", "When a room is booked, read the errors.", tasks=(TASK.id,))
    as_it_is = (other, Edit("ADD", f"[on turn 2] {READ.text}", tasks=(TASK.id,)), Edit("DELETE"))
    found = waiting_for_moments([READ, *as_it_is], [mixed])
    assert [edit.text for edit in found] == [f"[on tool error] {READ.text}", *(edit.text for edit in as_it_is)]
    assert waiting_for_moments(found, [mixed]) == found


def test_doing_the_same_again_is_another_moment() -> None:
    circle = (ASKED, CALL, ERROR, AGAIN, ERROR, OTHER)
    (found,) = waiting_for_moments([STOP], [group((circle, 0.0), (FINE, 1.0))])
    assert found.text == f"[on repetition] {STOP.text}"
    assert waiting_for_moments([STOP], [group((FAILED, 0.0), (FINE, 1.0))]) == (STOP,)


def test_it_does_not_wait_for_what_only_the_better_had_or_all_have_all_the_time() -> None:
    assert waiting_for_moments([READ], [group((FAILED, 1.0), (FINE, 0.0))]) == (READ,)
    often = (CALL, ERROR, AGAIN, ERROR, CALL, ERROR, OTHER)
    assert waiting_for_moments([READ], [group((often, 0.0), (often, 1.0))]) == (READ,)
    assert waiting_for_moments([READ], []) == (READ,)


@each("said", ["nothing fails", "there is no error", "a call doesn't fail", "it goes on without errors"])
def test_what_is_said_of_no_error_does_not_wait_for_one(said: str) -> None:
    edit = Edit("ADD", f"When {said}, be brief.", tasks=(TASK.id,))
    assert waiting_for_moments([edit], [group((FAILED, 0.0), (FINE, 1.0))]) == (edit,)


def test_where_all_failed_alike_all_of_them_are_the_lesser_ones() -> None:
    (found,) = waiting_for_moments([READ], [group((FAILED, 0.0), (FINE, 0.0))])
    assert found.text.startswith("[on tool error]")
    assert waiting_for_moments([READ], [group((FAILED, 1.0), (FINE, 1.0))]) == (READ,)
