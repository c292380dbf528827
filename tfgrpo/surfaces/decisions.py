"""Decisions: how a prior enters a request. No I/O.

All that the prior says goes to the end of each question's `instructions`, demonstrations as text. There is no
`logit_bias`; what is learned of options is applied to the probabilities of the answer, elsewhere.
"""

from collections.abc import Mapping, Sequence

from ..records import JSON, ChatBody, Prior
from .parts import appended
from .surface import PLAIN, Manner, Surface, Told, count_in, objects_in, text_in
from .triggers import as_said
from .whole_text import whole_text


def decision_with_prior(body: ChatBody, prior: Prior, manner: Manner = PLAIN) -> ChatBody:
    """The same request with the prior added; the body is not altered."""
    asked = _asked(body)
    if not (text := whole_text(as_said(prior, asked), asked, manner)):
        return body
    questions = [
        {**question, "instructions": appended(question.get("instructions"), text, "input_text")}
        for question in body["questions"]
    ]
    return {**body, "questions": questions}


def _asked(body: ChatBody) -> Sequence[JSON]:
    given = body.get("input")
    return [{"role": "user", "content": given}] if isinstance(given, str) else given or []


def _fits(body: JSON) -> bool:
    questions = objects_in(body, "questions")
    if not questions or len(questions) != len(body["questions"]):
        return False
    given = body.get("input")
    return (given is None or isinstance(given, (str, list))) and all(
        _can_be_told(one.get("instructions")) for one in questions
    )


def _can_be_told(instructions: JSON) -> bool:
    return appended(instructions, "") is not None


def _told(payload: JSON) -> Told:
    """The answer to each question on a line: a choice, a score or a probability."""
    usage = payload.get("usage") if isinstance(payload, Mapping) else None
    lines = [_answer(answer) for answer in objects_in(payload, "answers")]
    counted = count_in(usage, "input_tokens"), count_in(usage, "output_tokens")
    return Told(text_in(payload, "id"), text_in(payload, "model"), "\n".join(lines), "", *counted)


def _answer(answer: Mapping[str, JSON]) -> str:
    found = (answer.get(name) for name in ("choice", "score", "probability"))
    return next((str(value) for value in found if value is not None), str(answer.get("type") or ""))


DECISIONS = Surface("decisions", "/decisions", _fits, decision_with_prior, _asked, _told, takes_biases=False)
