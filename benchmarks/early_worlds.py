"""The small worlds that `benchmarks.early` explores: what is done in them, what is true of them, and tasks in them."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

from tfgrpo.records import Observation, Task
from tfgrpo.rollouts.environment import MakeEnvironment
from tfgrpo.testing import LAMPS, StoreRoom

HALLS = ("kitchen", "porch", "study", "hall", "office", "lobby", "garden", "workshop")
STORES = ("cellar", "attic", "pantry", "shed", "vault", "garage", "closet", "barn")
ANIMALS = ("otter", "heron", "badger", "salmon", "lizard", "falcon")
DRAWERS = {
    "red": ("fork", "spoon", "ladle", "whisk"),
    "blue": ("shirt", "scarf", "glove", "sock"),
    "green": ("hammer", "saw", "wrench", "drill"),
    "white": ("pencil", "crayon", "ruler", "eraser"),
}
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
    tasks: Callable[..., list[Task]]
    """So many, by a seed."""


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


@dataclass
class Cabinet:
    """Four drawers hold things of a kind each, and which is not said; the wanted thing ends it, rewarded by 1.

    A task's metadata says the `room`, what is `wanted`, and the number of the thing that `lies` in the other drawers.
    """

    room: str = ""
    wanted: str = ""
    lies: int = 0

    def reset(self, task: Task, /) -> Observation:
        """The beginning of a task."""
        self.room, self.wanted = str(task.metadata["room"]), str(task.metadata["wanted"])
        self.lies = int(str(task.metadata["lies"]))
        return self._shut()

    def step(self, action: str, /) -> Observation:
        """What follows when a drawer is opened, which shuts the others; one that is not there opens none."""
        drawer = action.lower().strip(" .!")
        held = DRAWERS.get(drawer)
        if held is None:
            return self._shut()
        found = self.wanted in held
        thing = self.wanted if found else held[self.lies]
        shown = f"The {drawer} drawer in the {self.room} is open: there is a {thing}."
        return Observation(shown, over=found, reward=float(found))

    def clone(self) -> "Cabinet":
        """Another one in the same state."""
        return replace(self)

    def _shut(self) -> Observation:
        return Observation(f"The drawers in the {self.room} are shut.", reward=0.0)


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


def tasks_of_cabinet(count: int, seed: int = 0) -> list[Task]:
    """Things to be brought."""
    draw, found = random.Random(seed), []
    for place in range(count):
        room, wanted = draw.choice(HALLS + STORES), draw.choice([*chain(*DRAWERS.values())])
        begins = {"room": room, "wanted": wanted, "lies": draw.randrange(4)}
        found.append(Task(f"Order {place}: bring a {wanted} from the {room}.", metadata=begins))
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
    "cabinet": World(
        Cabinet,
        2,
        _one_word("You stand before a cabinet of drawers.", "the drawer that you open", [*DRAWERS]),
        [*DRAWERS],
        [f"Doing {drawer} leads to an open drawer with a {' or a '.join(held)}." for drawer, held in DRAWERS.items()],
        tasks_of_cabinet,
    ),
}
"""`room`: several steps, of which the model that explores has to find each. `panel` and `cabinet`: one step. A sign
shows another thing of the kind that is wanted, a shut drawer nothing."""
