"""Fixtures that several tests of the server share."""

from tests.serve.fronts import front, shelf

__all__ = ["front", "shelf"]
