"""What the benchmark of early experience says of its worlds."""

import pytest

from benchmarks.early_worlds import WORLDS, tasks_of_panel


@pytest.mark.parametrize("name", WORLDS)
def test_the_actions_are_named_to_the_model_and_each_has_a_true_rule(name: str) -> None:
    world = WORLDS[name]
    for action in world.actions:
        assert action in world.system
        assert any(f"doing {action} leads" in rule.lower() for rule in world.by_hand)


def test_each_button_shows_what_the_rule_says_and_the_wanted_animal_is_the_end() -> None:
    world, seen = WORLDS["panel"], set[bool]()
    for task in tasks_of_panel(12):
        for button, rule in zip(world.actions, world.by_hand, strict=True):
            panel = world.make()
            assert not panel.reset(task).over
            after = panel.step(button)
            animal = rule.rpartition(" ")[2].rstrip(".")
            assert after.text == f"The sign in the {task.metadata['room']} shows a {animal}."
            assert (after.over, after.reward) == ((True, 1.0) if animal == task.metadata["wanted"] else (False, 0.0))
            seen.add(after.over)
    assert seen == {True, False}
