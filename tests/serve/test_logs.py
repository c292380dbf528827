"""What a server logs, for people and for programs."""

import json
import logging
from collections.abc import Iterator

import pytest

from tfgrpo.serve.logs import configure_logs


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("tfgrpo", "tfgrpo.requests")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


def test_a_call_is_a_line_for_people_or_for_programs_and_none_unasked(capsys: pytest.CaptureFixture[str]) -> None:
    said = {"route": "/models", "status": 200, "key": None}
    configure_logs("text", requests=True)
    logging.getLogger("tfgrpo.requests").info("request", extra=said)
    configure_logs("json", requests=True)
    logging.getLogger("tfgrpo.requests").info("request", extra=said)
    configure_logs("json", requests=False)
    logging.getLogger("tfgrpo.requests").info("request", extra=said)
    text, told = capsys.readouterr().err.splitlines()
    assert text.endswith("INFO request route='/models' status=200")
    line = json.loads(told)
    assert (line["event"], line["level"], line["route"], line["status"]) == ("request", "info", "/models", 200)
