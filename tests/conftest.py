"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

# Test workers share the cores; two pools of spinning threads on two cores would crawl.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from numpy.typing import NDArray

REFERENCE_VALUES = Path(__file__).parent / "fixtures" / "reference_values.npz"


@pytest.fixture(scope="session")
def reference_values() -> dict[str, NDArray[np.generic]]:
    """Inputs and the values that public code gives, by the keys of `fixtures/README.md`."""
    with np.load(REFERENCE_VALUES, allow_pickle=False) as archive:
        return dict(archive)
