"""A report of 30 methods in 10 folds: how long it takes, how large its page is and how fast."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.common.files import write_text
from benchmarks.report import build_report
from benchmarks.report.tables import csv
from methods import load_method, method_ids
from tests.report.made import make_config, use_made_datasets, write_scores
from tests.speed.conftest import FOLDER

pytestmark = pytest.mark.speed
METHODS, FOLDS, PATIENTS = 30, 10, 10


def test_thirty_methods_in_ten_folds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, browser: Any
) -> None:
    """At most 60 s, 10 MB, and 2 s until the page has loaded and its table can be used."""
    use_made_datasets(monkeypatch)
    usual = [name for name in method_ids() if not load_method(name).all_labels]
    names = ["supervised", *(name for name in usual if name != "supervised")][:METHODS]
    data = {"heart": {"labels": [2, 4], "split": {"scheme": "cv", "folds": FOLDS}}}
    config = make_config({"data": data}, methods=names, seeds=[0], folds=list(range(FOLDS)))
    write_scores(tmp_path, config, patients=PATIENTS)
    started = time.perf_counter()
    file = build_report(config, root=tmp_path).files[0]
    made = time.perf_counter() - started
    page = browser.new_page()
    started = time.perf_counter()
    page.goto(file.as_uri())
    loaded = time.perf_counter() - started
    assert page.locator("#table tbody tr").count() == 2 * METHODS
    page.wait_for_function("document.documentElement.dataset.drawn === 'yes'", timeout=60_000)
    drawn = time.perf_counter() - started
    size = file.stat().st_size / 1e6
    values = {
        "report, s": made, "page, MB": size, "page loaded, s": loaded, "all charts drawn, s": drawn,
    }  # fmt: skip
    rows = [{"what": what, "value": value, "methods": len(names), "folds": FOLDS,
             "patients": FOLDS * PATIENTS} for what, value in values.items()]  # fmt: skip
    write_text(FOLDER / "page.csv", csv(pd.DataFrame(rows), decimals=1))
    assert made < 60 and size < 10 and loaded < 2
