"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

# Test workers share the cores; two pools of spinning threads on two cores would crawl.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from numpy.typing import NDArray

FIXTURES_ENV = "EGCL_FIXTURES"
DEFAULT_FIXTURES = Path(__file__).parents[1].parent / "shared/data/fixtures/reference_values.npz"


@pytest.fixture(scope="session")
def reference_values() -> dict[str, NDArray[np.generic]]:
    """Arrays of `reference_values.npz` by key: inputs and the values that public code gives."""
    path = Path(os.environ.get(FIXTURES_ENV, DEFAULT_FIXTURES))
    if not path.is_file():
        pytest.skip(f"reference values not found at {path}; set {FIXTURES_ENV} to the file")
    with np.load(path, allow_pickle=False) as archive:
        return dict(archive)
