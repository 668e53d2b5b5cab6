"""What runs cost, collected from their machines, and the same report from the same files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from benchmarks.common.errors import RunError
from benchmarks.config import BenchmarkConfig
from benchmarks.report import build_report
from benchmarks.report.cost import COLUMNS, measured_hours, read_cost, write_cost
from benchmarks.report.cost_front import front
from benchmarks.report.facts import collect_facts
from benchmarks.report.load import Source
from benchmarks.report.provenance import read_provenance
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


def test_precisions_of_runs_are_kept_and_mixed_ones_told_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, folder = make_config(), tmp_path / "reports/tiny"
    write_scores(tmp_path, config)
    write_runs(tmp_path, config)
    leave_figures_undrawn(monkeypatch)
    build_report(config, root=tmp_path)
    assert "different precisions" not in (folder / "README.md").read_text()  # older records
    for record in (tmp_path / "runs/tiny/heart").glob("*/*/run.json"):
        precision = "bfloat16" if record.parts[-3] == "supervised" else "float32"
        record.write_text(json.dumps({"digest": "1d", "precision": precision}))
    build_report(config, root=tmp_path)
    page = (folder / "README.md").read_text()
    assert "**Trained in different precisions on Heart" in page
    assert "(bfloat16: Supervised; float32: " in page
    first = (folder / "runs.csv").read_bytes()
    shutil.rmtree(tmp_path / "runs")
    build_report(config, root=tmp_path)
    assert (folder / "runs.csv").read_bytes() == first
    build_report(config, root=tmp_path, kept=True)
    assert (folder / "README.md").read_text() == page


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
    on_card = {"device": "NVIDIA X", "peak_device_memory_mb": 4000, "card_energy_j": 12_345.0}
    write_runs(tmp_path, config, **on_card)
    build_report(config, root=tmp_path, cost=True)
    page = (folder / "README.md").read_text()
    # Four runs of 90, 180, 90 and 180 seconds.
    assert "| Mean Teacher | 1.17 | 4 | 2.25 | 0.15 | 4000 | 12.3 |" in page
    assert "card, kJ a run" in page and "14 runs on NVIDIA X (1 thread)" in page
    assert "![Dice over the cost" in page
    first = {p.name: p.read_bytes() for p in folder.iterdir()}
    build_report(config, root=tmp_path)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == first
    assert {"cost.csv", "cost.png", "cost.pdf"} <= first.keys()


def test_cost_of_runs_that_are_gone_is_kept_and_a_damaged_table_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where rows are joined to a report that was made on another machine."""
    config, table = make_config(), tmp_path / "reports/tiny/cost.csv"
    write_scores(tmp_path, config)
    leave_figures_undrawn(monkeypatch)
    write_runs(tmp_path, config)
    build_report(config, root=tmp_path, cost=True)
    before = table.read_bytes()
    shutil.rmtree(tmp_path / "runs/tiny/heart/mean_teacher")
    build_report(config, root=tmp_path, cost=True)
    assert table.read_bytes() == before
    table.write_text("damaged")
    build_report(config, root=tmp_path, cost=True)
    assert "mean_teacher" not in table.read_text() and "supervised" in table.read_text()


def test_core_hours_are_those_of_all_runs_on_cpus(tmp_path: Path) -> None:
    path = tmp_path / "reports/tiny/cost.csv"
    assert measured_hours(tmp_path, "tiny", 2) is None
    path.parent.mkdir(parents=True)
    table = pd.DataFrame({"seconds": [3600, 1800], "device": "cpu", "threads": [1, 2]})
    table.reindex(columns=COLUMNS).to_csv(path, index=False)
    assert measured_hours(tmp_path, "tiny", 2) == 2
    assert measured_hours(tmp_path, "tiny", 3) is None
    table["device"] = ["cpu", "NVIDIA X"]
    table.reindex(columns=COLUMNS).to_csv(path, index=False)
    assert measured_hours(tmp_path, "tiny", 2) is None
    path.write_text("seconds,device\n3600,cpu\n")
    with pytest.raises(RunError, match=r"cost.csv' has the columns .*make it anew with `report"):
        measured_hours(tmp_path, "tiny", 2)


def test_times_of_two_machines_are_not_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config()
    write_scores(tmp_path, config)
    leave_figures_undrawn(monkeypatch)
    write_runs(tmp_path, config)
    for machine in (tmp_path / "runs/tiny/heart").glob("*/*-s1/machine.json"):
        about = json.loads(machine.read_text())
        about["environment"]["device"] = "NVIDIA X"
        machine.write_text(json.dumps(about))
    (tmp_path / "runs/tiny/heart/supervised/l2-f0-s1/machine.json").unlink()
    build_report(config, root=tmp_path, cost=True)
    page = (tmp_path / "reports/tiny/README.md").read_text()
    # Two runs of 90 seconds on the processor; those of 180 on the card are told, and no more.
    assert "| Mean Teacher | 1.17 | 2 | 1.50 | 0.05 | 700 |" in page
    assert "Measured: 7 runs on P (1 thread). Not shown" in page
    assert "do not compare: 6 runs on NVIDIA X (1 thread)." in page


def test_the_legend_names_the_rows_that_have_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, seen = make_config(), list[list[str]]()
    write_scores(tmp_path, config)
    leave_figures_undrawn(monkeypatch)
    write_runs(tmp_path, config)
    for machine in (tmp_path / "runs/tiny/heart/mean_teacher").glob("*/machine.json"):
        machine.write_text(machine.read_text().replace('"cpu"', '"NVIDIA X"'))

    def save(figure: Figure, stem: Path) -> list[Path]:
        seen.append([text.get_text() for text in figure.legends[0].get_texts()])
        return [stem]

    monkeypatch.setattr("benchmarks.report.cost_front.save_both", save)
    build_report(config, root=tmp_path, cost=True)
    titles = {m.title for m in collect_facts(config).methods}
    assert titles - {"Mean Teacher"} == set(seen[0]) and "Mean Teacher" in titles


def test_dice_is_over_operations_where_the_times_of_one_row_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, seen = make_config(), list[tuple[str, set[float]]]()
    write_scores(tmp_path, config)
    leave_figures_undrawn(monkeypatch)
    write_runs(tmp_path, config)

    def save(figure: Figure, stem: Path) -> list[Path]:
        axes = figure.axes[0]
        marks = [line for line in axes.lines if line.get_linestyle() == "None"]
        seen.append(
            (axes.get_xlabel(), {round(float(np.ravel(m.get_xdata())[0]), 2) for m in marks})
        )
        return [stem]

    def told(seconds: float) -> str:
        path = tmp_path / "runs/tiny/heart/mean_teacher/l2-f0-s1/machine.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": seconds}))
        build_report(config, root=tmp_path, cost=True)
        return (tmp_path / "reports/tiny/README.md").read_text()

    for folder in (tmp_path / "runs/tiny/heart").glob("*/*/machine.json"):
        folder.write_text(json.dumps(json.loads(folder.read_text()) | {"seconds": 120}))
    monkeypatch.setattr("benchmarks.report.cost_front.save_both", save)
    assert "minutes do not compare rows" not in told(180)
    assert "the slowest run took 2.0 times as long as the fastest, so minutes do not" in told(240)
    assert seen[0] == ("minutes a run", {2.0})
    assert seen[1][0].startswith("operations of a run") and {0.5, 1.17} < seen[1][1]


def test_other_runs_are_not_counted(tmp_path: Path) -> None:
    config, folder = make_config(), tmp_path / "reports/tiny"
    write_scores(tmp_path, config)
    runs = read_provenance(config, collect_facts(config), Source(tmp_path))
    with pytest.raises(RunError, match="leave out --cost"):
        write_cost(config, runs, tmp_path, folder)
    write_runs(tmp_path, config)
    for record in (tmp_path / "runs/tiny/heart/supervised").glob("*/run.json"):
        record.write_text(json.dumps({"digest": "another"}))
    table = pd.read_csv(write_cost(config, runs, tmp_path, folder))
    assert list(table.columns) == COLUMNS and set(table["memory_mb"]) == {700}
    assert table["method"].value_counts().to_dict() == {
        "mean_teacher": 4, "egcl_net-a5": 4, "full_supervised": 2,
    }  # fmt: skip
    kept = read_cost(runs, folder)
    assert kept is not None and len(kept) == 10 and runs is not None
    assert read_cost(runs.assign(digest="trained again"), folder) is None


def test_the_front_is_what_nothing_cheaper_reaches() -> None:
    points = [(2.0, 70.0), (1.0, 60.0), (3.0, 65.0), (4.0, 71.0), (1.0, 50.0), (5.0, 71.0)]
    assert front(points) == [(1.0, 60.0), (2.0, 70.0), (4.0, 71.0)]
