"""Small task sets; two with a convention that no task states and only the ground truth shows. No text is copied.

In `reviews` what a guest or customer wrote is to be answered with PRAISE or COMPLAINT; in `facts` a plain question is
to be answered with `yes` or `no` and not one word more. A model that is told neither talks instead, and scores near
zero by exact match. Both answers are equally frequent in each part; the first 16 are for learning, the others held out.
`support` has no such convention: messages of the demo with its three worked examples, which SmolLM2 answers rightly
about half of the time, so that an experience that hurts can be seen to; held out is the demo's validation part.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tfgrpo.demo.run import demo_frame, part
from tfgrpo.records import Task

TRAINING = 16
"""Tasks to learn from; those after them are held out."""


@dataclass(frozen=True, slots=True)
class Convention:
    """A task set: its system prompt, and all its tasks."""

    system: str
    tasks: tuple[Task, ...]

    @property
    def training(self) -> tuple[Task, ...]:
        """What is learned from."""
        return self.tasks[:TRAINING]

    @property
    def held_out(self) -> tuple[Task, ...]:
        """What is measured on."""
        return self.tasks[TRAINING:]


_COMPLAINTS = """\
The soup was cold and the waiter was rude.
The lift was broken and the bed was dirty.
My parcel came late and the box was crushed.
The pool was closed and nobody told us.
The phone stopped working after two days.
We waited an hour and the food was burnt.
The room smelled of smoke and the window did not open.
They charged me twice and never answered my letters.
The tour was cancelled on the day and we got no refund.
The shoes fell apart in the first week.
Our table was sticky and the glasses were not clean.
The music next door kept us awake all night.
The driver got lost and we missed our train.
The jacket has a hole in the sleeve.
Breakfast was over at eight and there was no coffee.
The printer jams on every second page.
The staff ignored us and the line was endless.
The cake was dry and far too sweet.
The heating failed and they gave us no blankets.
The hairdresser cut my hair much too short.
The app crashes whenever I open my basket.
The seats were torn and the film was out of focus.
The plumber left the kitchen flooded.
The steak was raw and the fries were cold."""
_PRAISE = """\
Lovely room, friendly staff, we will come back.
The best pizza that I have had in years.
The guide was funny and knew every street.
Great value, and the breakfast was delicious.
The show made us laugh all evening.
Clean, quiet and close to the beach.
The parcel came a day early and everything was perfect.
Our waiter was charming and the wine was excellent.
The repair took ten minutes and cost me nothing.
A wonderful garden, my children did not want to leave.
The new phone is fast and the battery lasts for days.
The teacher is patient and explains everything well.
The bread is fresh and smells like heaven.
Thank you for the kind help with my order.
The view from the terrace is breathtaking.
These boots are warm, light and beautiful.
The concert was magical from the first note.
The doctor took her time and I feel much better.
A cosy little shop with very good prices.
The dentist was gentle and I felt no pain.
Our flat was spotless and the host brought us flowers.
The mechanic was honest and saved me a lot of money.
The dumplings were fantastic and so was the service.
My son loves the bicycle, it is just right for him."""
_TRUE = """\
Can birds fly?
Do fish live in water?
Is the sky blue on a clear day?
Is Berlin in Germany?
Is 7 greater than 3?
Do cows eat grass?
Is ice cold?
Do bees make honey?
Is gold a metal?
Do trees have roots?
Is Tokyo in Japan?
Do cats have tails?
Is sugar sweet?
Does a week have seven days?
Is the sun hot?
Can a dolphin swim?
Is a rose a flower?
Do spiders have eight legs?
Is Rome in Italy?
Is a piano a musical instrument?
Do humans have two eyes?
Is an elephant heavier than a mouse?
Does rain make things wet?
Is Shakespeare known for his plays?"""
_FALSE = """\
Is fire cold?
Is Paris in Spain?
Can a dog read books?
Is the moon made of cheese?
Do snakes have legs?
Is a carrot an animal?
Is snow black?
Is 2 greater than 9?
Can stones talk?
Do fish ride bicycles?
Is London in China?
Is a spoon alive?
Do horses lay eggs?
Is milk blue?
Does a year have five months?
Is the sun made of ice?
Is a chair a kind of fruit?
Can cats drive cars?
Is Cairo in Canada?
Do cars run on orange juice?
Is a mountain smaller than an ant?
Do plants eat pizza?
Is salt sweet?
Does a triangle have six sides?"""


def _alternating(system: str, one: tuple[str, str], other: tuple[str, str]) -> Convention:
    """Tasks of two answers in turn, from one text of lines each."""
    (these, this), (those, that) = one, other
    pairs = zip(these.splitlines(), those.splitlines(), strict=True)
    return Convention(system, tuple(task for a, b in pairs for task in (Task(a, this), Task(b, that))))


CONVENTIONS: Mapping[str, Convention] = {
    "reviews": _alternating("You sort what guests write.", (_COMPLAINTS, "COMPLAINT"), (_PRAISE, "PRAISE")),
    "facts": _alternating("You answer questions.", (_TRUE, "yes"), (_FALSE, "no")),
    "support": Convention(demo_frame("").system or "", (*part("train")[:TRAINING], *part("validation"))),
}
