"""What an upstream's failures are called: one line each, which says what to do next and quotes no secret. No I/O."""

import re
from base64 import b64encode
from dataclasses import dataclass, field

import openai

from ..errors import ModelError, UpstreamError
from ..text import shortened
from .asking import error_field, what_it_says
from .library import http


@dataclass(frozen=True, slots=True)
class Failures:
    """The errors of one endpoint, worded."""

    name: str
    """What the endpoint is called."""
    options: str
    """What the options that name it begin with: `--`, `--distiller-`."""
    seconds: float
    """How long a call may take."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What no error may quote: the key, and the password of the base URL."""

    def lost(self, error: openai.APIConnectionError, *, answered: bool) -> ModelError:
        """No answer came; final while the upstream has never `answered`, and when it no longer takes connections."""
        cause = error.__cause__ or error
        unreachable = isinstance(cause, http.ConnectError | http.ConnectTimeout)
        kind = UpstreamError if unreachable or not answered else ModelError
        if isinstance(error, openai.APITimeoutError) and not unreachable:
            return kind(f"{self.name} did not answer within {self.seconds:g} s; is {self.options}base-url right?")
        words = self._safe(cause) or type(cause).__name__
        if isinstance(cause, http.DecodingError):
            return kind(f"{self.name} gave an answer that cannot be read: {words}; is {self.options}base-url right?")
        if isinstance(cause, http.TooManyRedirects):
            return kind(f"cannot reach {self.name}: {words}, which is not followed; is {self.options}base-url right?")
        return kind(f"cannot reach {self.name}: {words}; is it running, and is {self.options}base-url right?")

    def refused(self, error: openai.APIStatusError) -> ModelError:
        """The answer was a refusal; final where no other call can fare better."""
        status = error.status_code
        if status in (401, 403):
            named = "OPENAI_API_KEY" + (f" (or {self.options}key-env)" if self.options != "--" else "")
            why = f"it refuses the key in {named}" if self.secrets else f"it wants a key; set {named}"
            return UpstreamError(f"{self.name} answered {status}: {why}")
        if status == 402 or error_field(error, "code") == "insufficient_quota":
            return UpstreamError(f"{self.name} answered {status}: the account's quota is spent")
        words = self._safe(what_it_says(error))
        if status == 404:
            named = f"{self.options}model and {self.options}base-url"
            return UpstreamError(f"{self.name} answered 404: {words}; are {named} right?")
        return ModelError(f"{self.name} answered {status}: {words}", status)

    def unreadable(self, response: str, wanted: str) -> ModelError:
        """The answer is not what the route gives."""
        return ModelError(f"{self.name} gave no {wanted}: {self._safe(response, 120) or 'its answer is empty'}")

    def _safe(self, text: object, limit: int = 300) -> str:
        """An upstream's words fit for an error: short, printable, and without what is secret."""
        words = str(text)
        for secret in self.secrets:
            words = _without(words, secret)
        return shortened(words, limit)


_PIECE = 8
"""Characters of a secret that are one still: its beginning or end is what servers like to quote."""


def _without(words: str, secret: str) -> str:
    """The words without a secret: whole, in base64 wherever it begins there, a piece of it, or starred within."""
    forms = [secret]
    for before in range(3):  # base64 of `user:secret` depends on how many bytes stand before it
        coded = b64encode(b" " * before + secret.encode()).decode().rstrip("=")
        forms.append(coded[before + (before > 0) : -1] if len(coded) > 2 * _PIECE else secret)
    for form in forms:
        words = words.replace(form, "***")
    if len(secret) < 2 * _PIECE:
        return words
    starred = rf"{re.escape(secret[:3])}[\w.-]{{0,40}}(?:\*{{2,}}|\.{{2,}}|\u2026+|\u2022{{2,}})[\w.-]{{0,40}}"
    words = re.sub(starred, "***", words)
    for start in range(len(secret) - _PIECE + 1):
        if secret[start : start + _PIECE] in words:
            words = re.sub(rf"[\w-]*{re.escape(secret[start : start + _PIECE])}[\w-]*", "***", words)
    return words
