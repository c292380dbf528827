"""Options of the proxy as a server: where it listens, who may call, what calls may take, what it logs."""

from dataclasses import dataclass
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, Literal

import click

from ...errors import InputError
from .gathered import gathered, titled

if TYPE_CHECKING:
    from ...serve.drawing import DrawShares
    from ...serve.proxy import Limits, Listening, Recording


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """The options as they were given."""

    host: str
    port: int
    workers: int
    grace: float
    share_port: bool
    allow_host: tuple[str, ...]
    allow_origin: tuple[str, ...]
    log_format: Literal["text", "json"]
    log_requests: bool
    connect_timeout: float | None
    first_byte_timeout: float | None
    idle_timeout: float | None
    total_timeout: float | None
    max_request_mb: float | None
    max_answer_mb: float | None
    max_in_flight: int | None
    bounded: str | None
    holdback: float
    leave_out: float
    record: float | None
    report_to: str | None
    keep_days: float | None
    keep_mb: float | None
    shadow_groups: float
    group_size: int
    shadow_budget: int

    @property
    def listening(self) -> "Listening":
        """How the server is run; raises InputError for what cannot be."""
        from ...serve.proxy import Listening

        return Listening(
            self.host,
            self.port,
            self.workers,
            self.grace,
            self.share_port,
            tuple(name.lower() for name in self.allow_host),
            self.allow_origin,
            self.log_format,
            self.log_requests,
        )

    @property
    def limits(self) -> "Limits":
        """What calls may take; raises InputError for a limit of nothing."""
        from ...serve.proxy import Limits

        given: dict[str, Any] = {
            "connect": self.connect_timeout,
            "first_byte": self.first_byte_timeout,
            "silence": self.idle_timeout,
            "total": self.total_timeout,
            "request": _bytes(self.max_request_mb),
            "response": _bytes(self.max_answer_mb),
            "in_flight": self.max_in_flight,
        }
        return Limits(**{name: value for name, value in given.items() if value is not None})

    @property
    def shares(self) -> "DrawShares":
        """What chance may decide of calls; raises InputError for what is no share."""
        from ...serve.drawing import DrawShares

        return DrawShares(self.holdback, self.leave_out)

    @property
    def recording(self) -> "Recording":
        """What is recorded of calls; raises InputError for what cannot be."""
        from ...serve.writing import Recording, Shadowing

        if self.record is None and (self.keep_days, self.keep_mb) != (None, None):
            raise InputError("--keep-days and --keep-mb are about what --record keeps; give that too")
        if self.report_to:
            from ...serve.reporting import Collector

            Collector(self.report_to)
        share = 0.0 if self.record is None and self.report_to else self.record
        shadows = Shadowing(self.shadow_groups, self.group_size, self.shadow_budget, self.workers)
        days, megabytes = (inf if given is None else given for given in (self.keep_days, self.keep_mb))
        return Recording(share, days, megabytes, shadows, self.report_to)


def _bytes(megabytes: float | None) -> float | None:
    """As many whole bytes; what is no number stays so, for Limits to refuse."""
    return round(megabytes * 2**20) if megabytes is not None and isfinite(megabytes) else megabytes


_door, _limit, _log = titled("Who may call, and where"), titled("What calls may take"), titled("Logs")
_measured, _record = titled("What stays measured"), titled("What is recorded")

serve_options = gathered(
    "server",
    ServeOptions,
    _door("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
    _door("--port", default=8000, show_default=True, help="Port to listen on."),
    _door("--workers", default=1, show_default=True, help="Processes that share the port, one core each."),
    _door(
        "--grace", default=30.0, show_default=True, metavar="SECONDS", help="For calls in flight when it is stopped."
    ),
    _door("--share-port", is_flag=True, rare=True, help="Another server may have the port too: the one it replaces."),
    _door(
        "--allow-host", multiple=True, rare=True, metavar="NAME", help="A name that callers without keys know it by."
    ),
    _door("--allow-origin", multiple=True, rare=True, metavar="URL", help="Web pages that may call without a key."),
    _log(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="Lines for people, or for programs.",
    ),
    _log("--log-requests", is_flag=True, help="A line for each call; never a body, a header or a key."),
    _limit("--connect-timeout", type=float, rare=True, metavar="SECONDS", help="To an upstream.  [default: 10]"),
    _limit("--first-byte-timeout", type=float, rare=True, metavar="SECONDS", help="Of an answer.  [default: 600]"),
    _limit(
        "--idle-timeout",
        type=float,
        rare=True,
        metavar="SECONDS",
        help="Within an answer or request.  [default: 600]",
    ),
    _limit("--total-timeout", type=float, rare=True, metavar="SECONDS", help="Of a call.  [default: 3600]"),
    _limit("--max-request-mb", type=float, rare=True, metavar="MB", help="Of a request body.  [default: 512]"),
    _limit("--max-answer-mb", type=float, rare=True, metavar="MB", help="Of an answer.  [default: 1024]"),
    _limit("--max-in-flight", type=int, rare=True, metavar="N", help="Calls at once in a worker.  [default: 1000]"),
    _limit(
        "--bounded",
        metavar="CHUNK:CARRY:CHUNKS",
        rare=True,
        help="Have long chat answers written in chunks of so many tokens, each from the question and the last CARRY.",
    ),
    _measured(
        "--holdback", default=0.0, show_default=True, metavar="SHARE", help="Of callers' keys, that get no prior."
    ),
    _measured(
        "--leave-out",
        default=0.0,
        show_default=True,
        metavar="SHARE",
        help="Of the rest, that get the prior with each experience left out half the time.",
    ),
    _record(
        "--record",
        type=float,
        metavar="SHARE",
        help="Keep of every call what it was (no texts), and of this share what was asked and answered, less secrets."
        "  [default: nothing]",
    ),
    _record("--report-to", metavar="URL", help="Send what is recorded to a `tfgrpo collect`, in place of the store."),
    _record("--keep-days", type=float, metavar="DAYS", help="Forget calls and feedback after that.  [default: never]"),
    _record("--keep-mb", type=float, metavar="MB", help="Forget the oldest where they take more.  [default: no limit]"),
    _record(
        "--shadow-groups",
        default=0.0,
        show_default=True,
        metavar="SHARE",
        help="Of the calls that only ask: further rollouts of each, off its path, under the upstream's key.",
    ),
    _record("--group-size", default=4, show_default=True, rare=True, help="Rollouts of these, the call itself too."),
    _record(
        "--shadow-budget", default=1_000, show_default=True, rare=True, metavar="N", help="Further rollouts a day."
    ),
)
"""All of them; the command gets them as `server`."""
