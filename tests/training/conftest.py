"""Prepared phantoms for the tests of runs."""

from __future__ import annotations

from tests.engine.conftest import flat, solid

__all__ = ["flat", "solid"]
