"""What runs cost, collected from their machines, and the same report from the same files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.common.errors import RunError
from benchmarks.config import BenchmarkConfig
from benchmarks.report import build_report
from benchmarks.report.cost import COLUMNS, front
from tests.report.made import leave_figures_undrawn, make_config, use_made_datasets, write_scores

SECONDS = {"supervised": 60.0, "mean_teacher": 90.0, "egcl_net-a5": 120.0, "full_supervised": 60.0}


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    use_made_datasets(monkeypatch)


def write_runs(root: Path, config: BenchmarkConfig, **environment: Any) -> None:
    """Runs of 1 to 2 minutes; those of seed 1 take twice as long."""
    for method, seconds in SECONDS.items():
        scores = root / "data/scores/tiny/heart" / method / "runs.csv"
        for row in pd.read_csv(scores)[["labels", "fold", "seed"]].to_numpy().tolist():
            name, seed = "l{}-f{}-s{}".format(*row), row[2]
            folder = root / "runs" / config.name / "heart" / method / name
            folder.mkdir(parents=True, exist_ok=True)
            about = {"peak_memory_mb": 700, "processor": "P", "device": "cpu", "threads": 1}
            machine = {"seconds": seconds * (1 + seed), "environment": about | environment}
            (folder / "machine.json").write_text(json.dumps(machine))
            (folder / "run.json").write_text(json.dumps({"digest": "1d"}))


def test_costs_are_kept_and_the_report_is_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, folder = make_config(), tmp_path / "reports/tiny"
    write_scores(tmp_path, config)
    leave_figures_undrawn(monkeypatch)
    build_report(config, root=tmp_path)
    page = (folder / "README.md").read_text()
    assert "| Supervised | 0.50 |" in page and "| Mean Teacher | 1.17 |" in page
    assert "`report --cost` collects them" in page
    write_runs(tmp_path, config)
    build_report(config, root=tmp_path, cost=True)
    table = pd.read_csv(folder / "cost.csv")
    assert list(table.columns) == COLUMNS and len(table) == 2 * (3 * 2 + 1)
    page = (folder / "README.md").read_text()
    # Four runs of 90, 180, 90 and 180 seconds.
    assert "| Mean Teacher | 1.17 | 4 | 2.25 | 0.15 | 700 |" in page
    assert "14 runs on P (1 thread)" in page and "![Dice over the time" in page
    first = {p.name: p.read_bytes() for p in folder.iterdir()}
    build_report(config, root=tmp_path)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == first
    assert {"cost.csv", "cost.png", "cost.pdf"} <= first.keys()
    (folder / "cost.csv").unlink()
    build_report(config, root=tmp_path)
    assert not list(folder.glob("cost.*"))


def test_cards_tell_memory_and_energy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, folder = make_config(), tmp_path / "reports/tiny"
    write_scores(tmp_path, config)
    on_card = {"device": "NVIDIA X", "peak_device_memory_mb": 4000, "card_energy_j": 12_345.0}
    write_runs(tmp_path, config, **on_card)
    leave_figures_undrawn(monkeypatch)
    build_report(config, root=tmp_path, cost=True)
    page = (folder / "README.md").read_text()
    assert "| Supervised | 0.50 | 4 | 1.50 | 0.10 | 4000 | 12.3 |" in page
    assert "card, kJ a run" in page and "14 runs on NVIDIA X" in page


def test_other_runs_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config()
    write_scores(tmp_path, config)
    leave_figures_undrawn(monkeypatch)
    with pytest.raises(RunError, match="leave out --cost"):
        build_report(config, root=tmp_path, cost=True)
    write_runs(tmp_path, config)
    for record in (tmp_path / "runs/tiny/heart/supervised").glob("*/run.json"):
        record.write_text(json.dumps({"digest": "another"}))
    build_report(config, root=tmp_path, cost=True)
    page = (tmp_path / "reports/tiny/README.md").read_text()
    assert "| Supervised | 0.50 | 0 | n/a | 0.00 | n/a |" in page


def test_the_front_is_what_nothing_cheaper_reaches() -> None:
    points = [(2.0, 70.0), (1.0, 60.0), (3.0, 65.0), (4.0, 71.0), (1.0, 50.0), (5.0, 71.0)]
    assert front(points) == [(1.0, 60.0), (2.0, 70.0), (4.0, 71.0)]
