"""Prepared phantoms for the tests of training."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.small import build, make_config


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root with a prepared 2D phantom."""
    root = tmp_path_factory.mktemp("flat")
    build(root, make_config())
    return root


@pytest.fixture(scope="module")
def solid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root with a prepared 3D phantom."""
    root = tmp_path_factory.mktemp("solid")
    build(root, make_config("phantom_brats2019"))
    return root
