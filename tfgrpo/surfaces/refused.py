"""A prior is never the reason for a failure: what an upstream refuses with it goes once more without. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock

from ..model.templates import is_template_error
from ..records import Backend
from ..settings import LISTED_FOR_LABELS
from ..text import shortened
from .http import NO_PRIOR, Rewrite

REFUSALS = (400, 413, 422)
"""Statuses by which an upstream refuses the request itself."""
IN_A_ROW = 3
"""So many requests that fail for the prior alone, one after the other, are enough."""
_MOST = 1_000
"""Models that are kept count of: their names may come from strangers."""


@dataclass(frozen=True, slots=True)
class _Count:
    prior: str
    refused: int


class PriorRefusals:
    """Counts, for each model and surface, the requests in a row that an upstream took only without the prior.

    After IN_A_ROW of them the requests there ask for fewer alternatives, where they asked for many, else go without,
    until `forget` is called (after a probe), or another prior is live. One is kept for each upstream, and may be shared
    by threads. A `strict` one lets every refusal stand.

    Its use, around `http.rewrite`: where `goes_again` says so of the answer, send what the caller wrote, and go on with
    what `without` makes of the Rewrite.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self._strict, self._lock = strict, Lock()
        self._counts: dict[tuple[str, str], _Count] = {}
        self._few: set[str] = set()
        """Models that were asked for more alternatives than they list."""

    def forget(self) -> None:
        """Begin anew: the upstream was probed."""
        with self._lock:
            self._counts.clear()
            self._few.clear()

    def heeded(self, backends: Mapping[str, Backend]) -> Mapping[str, Backend]:
        """What is known of the upstream, model by model, less what it has refused since."""
        if not self._few:
            return backends
        return {name: replace(one, alternatives=0) if name in self._few else one for name, one in backends.items()}

    def suspends(self, model: str, surface: str, prior: str) -> bool:
        """Whether requests go without this prior there."""
        known = self._counts.get((model, surface))
        return known is not None and known.prior == prior and known.refused >= IN_A_ROW

    def goes_again(self, rewritten: Rewrite, status: int, answer: bytes = b"") -> bool:
        """Whether a request that came to this status is to be sent once more, as the caller wrote it.

        `answer` is needed for a 500 alone, which may be that of a chat template.
        """
        if rewritten.content is None or self._strict:
            return False
        if status < 400:
            if self._counts:  # else there is nothing to begin anew
                self._settle(rewritten, 0)
            return False
        return status in REFUSALS or (status == 500 and is_template_error(answer.decode(errors="replace")))

    def without(self, rewritten: Rewrite, status: int) -> Rewrite:
        """What is told of a request that went once more, without the prior, and came to this status."""
        plain = rewritten._replace(content=None, prior=NO_PRIOR, left_out=None, deciding=None, way=None)
        told = plain._replace(reason="refused", notice=None)
        if status >= 400:  # the prior was not the reason
            return told
        where = f"model {shortened(rewritten.model)!r} by {rewritten.surface}"
        if rewritten.way == "resample":  # which one caller asked for: the prior of all others stays
            return told._replace(notice=f"several answers were refused for {where}, and the call went without a prior")
        count = self._settle(rewritten, 1)
        notice = f"prior {rewritten.prior} was refused for {where}, and the call went without it"
        again = rewritten.redeciding
        if count >= IN_A_ROW and again and again.listed > LISTED_FOR_LABELS and not again.is_told:
            self._settle(rewritten, 0)
            self._few.add(rewritten.model)
            notice = (
                f"{again.listed} alternatives a token were refused for {where} {IN_A_ROW} times in a row:"
                f" {LISTED_FOR_LABELS} are asked for from now on (tfgrpo probe looks anew)"
            )
        elif count >= IN_A_ROW:
            notice = (
                f"prior {rewritten.prior} was refused for {where} {IN_A_ROW} times in a row: calls there go without it"
                " until the upstream is probed anew (tfgrpo probe) or another prior is live"
            )
        return told._replace(notice=notice)

    def _settle(self, rewritten: Rewrite, refused: int) -> int:
        """Count on, or begin anew where none was refused; the count."""
        key = rewritten.model, str(rewritten.surface)
        with self._lock:
            known = self._counts.pop(key, None)
            if not refused:
                return 0
            before = known.refused if known and known.prior == rewritten.prior else 0
            if len(self._counts) >= _MOST:
                self._counts.pop(next(iter(self._counts)))
            self._counts[key] = _Count(rewritten.prior, before + refused)
            return before + refused
