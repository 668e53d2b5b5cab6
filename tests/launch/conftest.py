"""Prepared phantoms for the tests of launches."""

from __future__ import annotations

from tests.engine.conftest import flat

__all__ = ["flat"]
