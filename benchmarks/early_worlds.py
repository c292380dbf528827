"""The small worlds that `benchmarks.early` explores: what is done in them, what is true of them, and tasks in them."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from tfgrpo.records import Observation, Task
from tfgrpo.rollouts.environment import MakeEnvironment
from tfgrpo.testing import LAMPS, StoreRoom

HALLS = ("kitchen", "porch", "study", "hall", "office", "lobby", "garden", "workshop")
STORES = ("cellar", "attic", "pantry", "shed", "vault", "garage", "closet", "barn")
ANIMALS = ("otter", "heron", "badger", "salmon", "lizard", "falcon")
BUTTONS = ("round", "square", "flat", "long", "small", "tall")


class World(NamedTuple):
    """An environment with what is asked of it."""

    make: MakeEnvironment
    turns: int
    """Of a rollout at most."""
    system: str
    actions: Sequence[str]
    by_hand: Sequence[str]
    """The true rules."""
    tasks: Callable[[int], list[Task]]


@dataclass
class Panel:
    """A sign shows an animal, and which button has it show which is not said; the wanted one ends it, rewarded by 1.

    A task's metadata says the `room`, the animal that the sign shows `first`, and the one that is `wanted`.
    """

    room: str = ""
    shown: str = ""
    wanted: str = ""

    def reset(self, task: Task, /) -> Observation:
        """The beginning of a task."""
        self.room, self.shown, self.wanted = (str(task.metadata[name]) for name in ("room", "first", "wanted"))
        return self._observed()

    def step(self, action: str, /) -> Observation:
        """What follows a button; one that is not there changes nothing."""
        word = action.lower().strip(" .!")
        if word in BUTTONS:
            self.shown = ANIMALS[BUTTONS.index(word)]
        return self._observed()

    def clone(self) -> "Panel":
        """Another one in the same state."""
        return replace(self)

    def _observed(self) -> Observation:
        over = self.shown == self.wanted
        return Observation(f"The sign in the {self.room} shows a {self.shown}.", over=over, reward=float(over))


def tasks_of_room(count: int, seed: int = 0) -> list[Task]:
    """Boxes to be fetched, from different beginnings."""
    draw, found = random.Random(seed), []
    for place in range(count):
        rooms = {"hall": draw.choice(HALLS), "store": draw.choice(STORES)}
        begins = {**rooms, "lamp": draw.choice(LAMPS), "open": draw.random() < 0.3}
        found.append(Task(f"Order {place}: fetch the box from the {rooms['store']}.", metadata=begins))
    return found


def tasks_of_panel(count: int, seed: int = 0) -> list[Task]:
    """Animals to be shown, in different rooms."""
    draw, found = random.Random(seed), []
    for place in range(count):
        room, (first, wanted) = draw.choice(HALLS + STORES), draw.sample(ANIMALS, 2)
        begins = {"room": room, "first": first, "wanted": wanted}
        found.append(Task(f"Order {place}: the sign in the {room} is to show a {wanted}.", metadata=begins))
    return found


def _one_word(place: str, named: str, actions: Sequence[str]) -> str:
    return f"{place} Answer with one word, {named}: {', '.join(actions)}."


_ROOM_ACTIONS = ("press", "turn", "go", "take")
WORLDS = {
    "room": World(
        StoreRoom,
        12,
        _one_word("You act in a small world.", "your next action", _ROOM_ACTIONS),
        _ROOM_ACTIONS,
        (
            "When the lamp is red, doing press leads to a green lamp.",
            "When the lamp is green, doing press leads to a blue lamp.",
            "When the lamp is blue, doing press leads to a red lamp.",
            "When the lamp is green, doing turn leads to an open door.",
            "When the lamp is blue, doing turn leads to a shut door.",
            "When the door is open, doing go leads into the other room, and a box is in the store.",
            "When a box is here, doing take leads to having the box.",
        ),
        tasks_of_room,
    ),
    "panel": World(
        Panel,
        2,
        _one_word("You stand before a panel of buttons.", "the button that you press", BUTTONS),
        BUTTONS,
        [
            f"Doing {button} leads to a sign that shows a {animal}."
            for button, animal in zip(BUTTONS, ANIMALS, strict=True)
        ],
        tasks_of_panel,
    ),
}
"""`room`: several steps, of which the model that explores has to find each. `panel`: one step."""
