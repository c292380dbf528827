"""The small worlds that `benchmarks.early` explores: what is done in them, what is true of them, and tasks in them."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import ClassVar, NamedTuple

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
LINES = {
    "red": ("parcel", "letter", "stamp", "envelope"),
    "blue": ("loan", "card", "cheque", "deposit"),
    "green": ("tooth", "filling", "brace", "gum"),
    "white": ("train", "ticket", "seat", "carriage"),
    "black": ("boiler", "tap", "pipe", "radiator"),
    "gold": ("cake", "loaf", "roll", "pie"),
}
CALLS = (
    "asks what a {} costs",
    "has trouble with a {}",
    "wants to complain about a {}",
    "was told to ring again about a {}",
    "does not know whom to ask about a {}",
    "needs a {} before Friday",
)
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

    held: ClassVar[Mapping[str, Sequence[str]]] = DRAWERS
    room: str = ""
    wanted: str = ""
    lies: int = 0

    def reset(self, task: Task, /) -> Observation:
        """The beginning of a task."""
        self.room, self.wanted = str(task.metadata.get("room", "")), str(task.metadata["wanted"])
        self.lies = int(str(task.metadata["lies"]))
        return self._shut()

    def step(self, action: str, /) -> Observation:
        """What follows when a drawer is opened, which shuts the others; one that is not there opens none."""
        chosen = action.lower().strip(" .!")
        held = self.held.get(chosen)
        if held is None:
            return self._shut()
        found = self.wanted in held
        return Observation(self._opened(chosen, self.wanted if found else held[self.lies]), found, float(found))

    def clone(self) -> "Cabinet":
        """Another one in the same state."""
        return replace(self)

    def _shut(self) -> Observation:
        return Observation(f"The drawers in the {self.room} are shut.", reward=0.0)

    def _opened(self, drawer: str, thing: str) -> str:
        return f"The {drawer} drawer in the {self.room} is open: there is a {thing}."


@dataclass
class Switchboard(Cabinet):
    """Six lines lead to a desk each, and which is not said; the desk that is asked for ends it, rewarded by 1."""

    held: ClassVar[Mapping[str, Sequence[str]]] = LINES

    def _shut(self) -> Observation:
        return Observation("The caller waits.", reward=0.0)

    def _opened(self, drawer: str, thing: str) -> str:
        return f"The {drawer} line answers: they can help with a {thing}."


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


def tasks_of_switchboard(count: int, seed: int = 0) -> list[Task]:
    """Callers to be put through."""
    draw, found = random.Random(seed), []
    for place in range(count):
        wanted = draw.choice([*chain(*LINES.values())])
        begins = {"wanted": wanted, "lies": draw.randrange(4)}
        found.append(Task(f"Call {place}: the caller {draw.choice(CALLS).format(wanted)}.", metadata=begins))
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
    "switchboard": World(
        Switchboard,
        2,
        _one_word("You put callers through.", "the line that you choose", [*LINES]),
        [*LINES],
        [f"Doing {line} leads to a line that can help with a {' or a '.join(held)}." for line, held in LINES.items()],
        tasks_of_switchboard,
    ),
}
"""`room`: several steps, of which the model that explores has to find each. The others: one step. A sign
shows another thing of the kind that is wanted, a shut drawer and a caller who waits nothing."""
