"""Fixtures that several tests of the server share."""

from tests.serve.fronts import front, shelf, written_in_thread

__all__ = ["front", "shelf", "written_in_thread"]
