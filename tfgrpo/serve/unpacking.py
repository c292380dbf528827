"""Bodies in a Content-Encoding, unpacked within bounds. Pure."""

import zlib


def unpacked(content: bytes, encoding: str, limit: int) -> bytes | None:
    """What was packed by a Content-Encoding; None where that is not known, not true, or gives over `limit` bytes."""
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return None
    reader = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        plain = reader.decompress(content, limit)
    except zlib.error:
        return None
    return plain if reader.eof and not reader.unused_data else None
