"""The HTTP library that the installed openai SDK speaks through: httpx2 since its version 3, httpx before.

What is used of it here is the same in both.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx2 as http
else:
    from importlib import import_module

    import openai

    http = import_module(openai.DefaultHttpxClient.__base__.__module__.partition(".")[0])

__all__ = ["http"]
