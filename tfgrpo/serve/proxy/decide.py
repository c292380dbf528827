"""Answers that leave as others: under the prior's offsets, or with their labels decided again.

They are held until they are whole, but for streams, of which only the tokens of a label are held back.
"""

from collections.abc import Sequence

from ...http1.answers import AnswerBroken, UpstreamAnswer
from ...surfaces.http import STANDARD, Rewrite, answers_decided
from ...surfaces.redecided_stream import RedecidedStream
from ..unpacking import unpacked
from .bodies import EXACT_CODECS

Lines = list[tuple[bytes, bytes]]
"""Headers, as they are sent."""
_UNSEEN = "the prior has no offset for an option that callers ask for: such options keep their probability"
"""It names none: options are what callers write, and may be others in each call."""


async def read_whole(answer: UpstreamAnswer, most: int) -> bytes:
    """An answer of at most so many bytes; a longer one counts as broken off."""
    parts, size = [], 0
    while chunk := await answer.read():
        parts.append(chunk)
        size += len(chunk)
        if size > most:
            raise AnswerBroken("longer than is relayed")
    return b"".join(parts)


def redecided_stream(rewritten: Rewrite) -> RedecidedStream | None:
    """What decides the labels of a stream of events again, where that is to be done."""
    to = rewritten.redeciding
    return RedecidedStream(to, STANDARD.loads, STANDARD.dumps) if to else None


def with_offsets(
    rewritten: Rewrite, status: int, content: bytes, headers: Sequence[tuple[bytes, bytes]], most: int
) -> tuple[bytes, Lines, str | None]:
    """An answer and its headers, as the offsets have it; as it came, where they have nothing to do with it. And what a
    person should be told of it."""
    lines = list(headers)
    encoding = next((value.decode("latin-1") for name, value in lines if name == b"content-encoding"), "")
    plain = unpacked(content, encoding, most) if encoding else content
    found = answers_decided(rewritten, status, plain, EXACT_CODECS) if plain is not None else None
    if found is None:
        return content, lines, None
    lines = [line for line in lines if line[0] not in (b"content-length", b"content-encoding")]
    lines.append((b"content-length", str(len(found[0])).encode()))
    lines += [(name.encode(), value.encode()) for name, value in found[1].marks.items()]
    return found[0], lines, _UNSEEN if found[1].unseen else None
