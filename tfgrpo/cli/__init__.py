"""The command line. A command parses, calls, prints; it is loaded when it runs, and so is everything heavy.

`root` lists the commands, a module each; `options` are what they are given, `lines` what they print.
"""

from .root import main

__all__ = ["main"]
