"""Options that say which calls of production are learned from, and the tasks and the frame that are made of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from ...errors import InputError
from .frame import FrameOptions
from .gathered import LEARN_FROM, gathered, titled
from .shared import named_store
from .tasks import TaskOptions

if TYPE_CHECKING:
    from ...learning.traffic import TrafficTasks
    from ...records import Frame


@dataclass(frozen=True, slots=True)
class TrafficOptions:
    """The options as they were given."""

    from_traffic: bool
    traffic_limit: int
    half_life: float
    shadow_answers: bool

    def taken(
        self, tasks: TaskOptions, frame: FrameOptions, store: str | None, namespace: str
    ) -> "TrafficTasks | None":
        """The tasks that calls of a namespace make, told on stderr; None where TASKS are given in their place."""
        if not self.from_traffic:
            if not tasks.tasks:
                raise InputError("which TASKS? Name a file, or learn from recorded calls with --from-traffic")
            return None
        if tasks.tasks:
            raise InputError(f"--from-traffic takes the place of TASKS; leave it or {tasks.tasks!r} out")
        if frame.system or frame.request:
            raise InputError("the frame is the one that recorded calls had; leave --system and --request out")
        from ...learning.traffic import Fading, traffic_tasks
        from ...rollouts.rewards.built_in import reward_of

        fading, reward = Fading(self.traffic_limit, self.half_life), reward_of(tasks.scored_by, ())[0]
        with named_store(store) as opened:
            found = traffic_tasks(opened, namespace, reward, fading, by_shadows=self.shadow_answers)
        for line in found.told:
            click.echo(line, err=True)
        return found


def frame_of_traffic(given: FrameOptions, found: "Frame", model: str) -> "Frame":
    """The frame that production had, for a model by the name it has here; a temperature or top-p of one's own wins."""
    from ...rollouts.executor import request_frame

    fields = {**found.request, "temperature": found.temperature, "top_p": found.top_p}
    own = {"temperature": given.temperature, "top_p": given.top_p}
    return request_frame(model, found.system, fields, source="the recorded calls", labels=given.closed_set, **own)


_option = titled(LEARN_FROM)

traffic_options = gathered(
    "traffic",
    TrafficOptions,
    _option("--from-traffic", is_flag=True, help="Learn from what `serve --record` kept."),
    _option(
        "--traffic-limit", default=200, show_default=True, rare=True, metavar="N", help="Recorded calls that are taken."
    ),
    _option(
        "--half-life",
        default=14.0,
        show_default=True,
        rare=True,
        metavar="DAYS",
        help="Age at which a call is taken half as often.",
    ),
    _option(
        "--shadow-answers",
        is_flag=True,
        rare=True,
        help="Where nobody said what is right: what most of a call's further rollouts answered (--shadow-groups).",
    ),
)
"""--from-traffic and what goes with it; the command gets them as `traffic`."""
