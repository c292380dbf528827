"""Logs of a server: lines for people, or JSON for programs. Neither ever holds a body, a header or a key.

What is logged goes through the loggers `tfgrpo` and `tfgrpo.requests` of the standard library; here is how it looks.
"""

import logging
import sys
from typing import Literal, TypeAlias

LogFormat: TypeAlias = Literal["text", "json"]


def configure_logs(form: LogFormat, *, requests: bool) -> None:
    """Write what the package logs to stderr; `requests`: a line for each call, too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_json() if form == "json" else _Lines("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("tfgrpo")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logging.getLogger("tfgrpo.requests").setLevel(logging.INFO if requests else logging.WARNING)


class _Lines(logging.Formatter):
    """A line for people; what was logged beside the message follows it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        beside = {name: value for name, value in vars(record).items() if name not in _STANDARD and value is not None}
        beside = {
            name: value for name, value in beside.items() if not name.startswith("_")
        }  # of other libraries, as Ray
        return " ".join([super().format(record), *(f"{name}={value!r}" for name, value in beside.items())])


_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime"}


def _json() -> logging.Formatter:
    import structlog

    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    )
