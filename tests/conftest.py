"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Test workers share the cores; two pools of spinning threads on two cores would crawl.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from numpy.typing import NDArray

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
REFERENCE_VALUES = Path(__file__).parent / "fixtures" / "reference_values.npz"


@pytest.fixture(scope="session")
def reference_values() -> dict[str, NDArray[np.generic]]:
    """Inputs and the values that public code gives, by the keys of `fixtures/README.md`."""
    with np.load(REFERENCE_VALUES, allow_pickle=False) as archive:
        return dict(archive)


@pytest.fixture
def browser() -> Iterator[Any]:
    """A headless Chromium of this machine."""
    driver = pytest.importorskip(
        "playwright.sync_api", reason="no playwright: pip install '.[dev]'"
    )
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    with driver.sync_playwright() as play:
        made = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield made
        made.close()
