"""What a caller has not taken yet of the bytes that were written to it, and an end that it sees is none."""

import asyncio
import socket
import struct
import sys
from array import array
from contextlib import suppress

if sys.platform != "win32":
    from fcntl import ioctl
    from termios import TIOCOUTQ

_AT_ONCE = struct.pack("ii", 1, 0)
_FIRST_LOOK, _LAST_LOOK = 0.01, 10.0
"""Seconds from one look to the next at whether a caller takes more: each is twice as long as the one before."""


def untaken_of(transport: asyncio.Transport) -> int:
    """How many bytes the other side has not taken.

    The system's own buffer counts, where it tells: it holds megabytes, and takes more only once a third has gone, so
    that a slow reader would seem to take nothing.
    """
    held = array("i", [0])
    if sys.platform != "win32":
        with suppress(OSError, ValueError):
            ioctl(transport.get_extra_info("socket").fileno(), TIOCOUTQ, held)
    return transport.get_write_buffer_size() + held[0]


def reset(transport: asyncio.Transport) -> None:
    """End a connection at once, with what is on its way: nothing that has come looks whole."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()


class ResetOnceTaken:
    """A connection that ends by a reset as soon as its caller has what was written, or takes no more of it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self._loop = transport, asyncio.get_running_loop()
        self._untaken, self._wait = 0, _FIRST_LOOK
        self._look()

    def _look(self) -> None:
        if self._transport.is_closing():
            return
        before, self._untaken = self._untaken, untaken_of(self._transport)
        self._wait = _FIRST_LOOK if self._untaken < before else self._wait * 2
        if self._untaken and self._wait <= _LAST_LOOK:
            self._loop.call_later(self._wait, self._look)
        else:
            reset(self._transport)
