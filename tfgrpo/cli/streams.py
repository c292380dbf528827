"""What commands read and write: files, standard input and standard output."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from ..text import named_file

if TYPE_CHECKING:
    from ..records import JSON


def read_text(path: str, limit: int) -> str:
    """The text of a file, or of standard input for `-`, of at most so many bytes."""
    name = "standard input" if path == "-" else named_file(path)
    try:
        with click.open_file(path, "rb") as file:
            raw = file.read(limit + 1)
        text = "" if len(raw) > limit else str(raw, "utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"cannot read {name}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    if len(raw) > limit:
        raise InputError(f"{name} is too large: at most {limit:,} bytes are read")
    return text


def check_output(option: str, path: str | None) -> None:
    """Refuse an output file that could not be written, before anything is spent for it."""
    if path and (Path(path).is_dir() or not Path(path).absolute().parent.is_dir()):
        what = "there is no such folder, or it is one; name a file in a folder that exists"
        raise InputError(f"{option} {named_file(path)}: {what}")


def write_text(path: str | None, text: str) -> None:
    """A text to a file, or to standard output."""
    if path is None:
        return click.echo(text, nl=False)
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {named_file(path)}: {error.strerror}") from error


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP end what is done within as Ctrl-C does: what was done is kept, and agents end too.

    Who ignores hang-ups (nohup) goes on ignoring them.
    """
    import signal
    import threading

    def interrupt(*_: object) -> None:
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as shells start what is to run in the background
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_when_alone() -> None:
    """End with who started this process, who is at the other end of standard input, however that one ends."""
    import os
    import signal
    import sys
    from threading import Thread

    def wait() -> None:
        while os.read(read, 4096):  # sys.stdin's own reading would hold its lock, and the exit fail for that
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    read = sys.stdin.fileno()
    Thread(target=wait, daemon=True).start()


def print_json(value: "JSON") -> None:
    """JSON on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def tell(as_json: bool, figures: "JSON", *lines: str) -> None:
    """A result on stdout: its figures with --json, else its lines for people."""
    if as_json:
        print_json(figures)
    else:
        click.echo("\n".join(lines))
