"""Requests whose answer cannot be written in chunks, and why. Pure."""

from collections.abc import Mapping

from ..errors import InputError
from ..records import JSON, Frame

_WHOLE: Mapping[str, str] = {
    "stream": "stream",
    **dict.fromkeys(("tools", "functions"), "tools"),
    **dict.fromkeys(("logprobs", "top_logprobs", "prompt_logprobs"), "logprobs"),
    **dict.fromkeys(("audio", "modalities"), "modality"),
    **dict.fromkeys(("continue_final_message", "echo"), "continues"),
    **dict.fromkeys(
        (
            "grammar",
            "json_schema",
            "structured_outputs",
            "guided_json",
            "guided_regex",
            "guided_choice",
            "guided_grammar",
        ),
        "structured",
    ),
}
"""Fields of a request whose answer cannot be cut, and why, in a word."""
_WHY: Mapping[str, str] = {
    "stream": "the answer is put together from several",
    "tools": "a call of a tool cannot be cut",
    "logprobs": "chunks have contexts of their own",
    "modality": "it cuts text alone",
    "continues": "each chunk says itself how it goes on",
    "structured": "an answer of a given form cannot be cut",
}


def uncuttable(request: Mapping[str, JSON]) -> tuple[str, str] | None:
    """A field of a request whose answer cannot be cut, and why, in a word; None where there is none."""
    wanted = request.get("response_format")
    if wanted and not (isinstance(wanted, Mapping) and wanted.get("type") == "text"):
        return "response_format", "structured"
    return next(((name, why) for name, why in _WHOLE.items() if request.get(name)), None)


def refuse_uncuttable(request: Mapping[str, JSON], said: str) -> None:
    """Raise InputError, which begins with what was `said`, for a request whose answer cannot be cut."""
    if found := uncuttable(request):
        name, why = found
        raise InputError(f"{said}{name} goes with no answer in chunks: {_WHY[why]}")


def check_bounded(frame: Frame, *, agent: bool) -> None:
    """Raise InputError where rollouts under a frame, or by an agent, cannot be in bounded context."""
    if agent:
        raise InputError("--bounded cuts answers of plain calls, and an agent makes its own calls; leave one out")
    refuse_uncuttable(frame.request, "--bounded: ")
