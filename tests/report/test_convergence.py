"""Trainings of several lengths: the table of the study, and what it withholds in other tables."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.common.workspace import STEPS
from benchmarks.plan.sweeps import swept
from benchmarks.report import build_report
from benchmarks.report.convergence import is_studied, unconverged
from benchmarks.report.doubling import lead_section, study_lines, study_section
from benchmarks.report.facts import collect_facts
from benchmarks.report.told import Told
from benchmarks.scoring.cases import seal
from tests.report.made import (
    leave_figures_undrawn,
    make_config,
    use_made_datasets,
    write_scores,
)

SEEDS = [0, 1, 2, 3, 4]
METHODS = ["supervised", "mean_teacher", "full_supervised"]
SWEEPS = {"length": {"methods": METHODS, "steps": [1, 2], "labels": [4]}}
CONFIG = make_config({"sweeps": SWEEPS}, methods=METHODS, seeds=SEEDS)
# What twice as many steps add, which is no gain of full supervision.
GAINS = {"supervised": 0.005, "mean_teacher": 0.03, "full_supervised": -0.01}


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    use_made_datasets(monkeypatch)
    leave_figures_undrawn(monkeypatch)


def write_study(root: Path) -> Path:
    """Scores of the study; every run logs its validations, of which the last counts."""
    study = swept(CONFIG, "length")
    for folder in (write_scores(root, study) / "heart").iterdir():
        method, steps = folder.name.split("-steps=")
        frame = pd.read_csv(folder / STEPS)
        last = frame["step"] == frame["step"].max()
        end = 0.6 + 0.001 * frame["seed"] + (steps == "2") * GAINS[method]
        frame["val/dice"] = np.where(last, end, 0.99)
        frame.to_csv(folder / STEPS, index=False)
        seal(folder)
    build_report(study, root=root)
    return root / "reports/tiny_length"


def test_a_study_withholds_the_outcome_of_what_is_not_converged(tmp_path: Path) -> None:
    write_scores(tmp_path, CONFIG)
    build_report(CONFIG, root=tmp_path)
    table = pd.read_csv(tmp_path / "reports/tiny/table.csv")
    assert "unconverged" not in set(table["outcome"])
    unknown = "Whether training has converged is not shown"
    assert unknown in (tmp_path / "reports/tiny/README.md").read_text()
    folder = write_study(tmp_path)
    page = (folder / "README.md").read_text()
    rows = {line.split(" | ")[0]: line for line in page.splitlines() if "] | 5 |" in line}
    assert rows["| Supervised"].endswith(
        "| 60.2 | 60.7 | +0.5 [+0.5, +0.5] | 5 | converged at 1 steps |"
    )
    assert rows["| Mean Teacher"].endswith("| +3.0 [+3.0, +3.0] | 5 | unconverged at 1 steps |")
    assert rows["| Full supervision"].endswith(
        "| 59.2 | -1.0 [-1.0, -1.0] | 5 | converged at 1 steps |"
    )
    lead = "| Mean Teacher | +0.0 [+0.0, +0.0] | +2.5 [+2.5, +2.5] |"
    assert lead in page, "the difference to supervision of the same length"
    assert (folder / "convergence.png").is_file() and "(convergence.png)" in page
    build_report(CONFIG, root=tmp_path)
    table = pd.read_csv(tmp_path / "reports/tiny/table.csv").set_index(["method", "labels"])
    last = table[table["checkpoint"] == "last"]["outcome"]
    assert last["mean_teacher", 4] == "unconverged"
    assert last["mean_teacher", 2] != "unconverged", "the study has 4 labelled patients alone"
    longer = CONFIG.model_copy(update={"steps": {"mean_teacher": 2}})
    assert unconverged(CONFIG, tmp_path) == {("heart", 4): frozenset({"mean_teacher"})}
    assert unconverged(longer, tmp_path) == {}, "a row is judged at the length that it has"
    grid = CONFIG.grid.model_copy(update={"methods": (*METHODS, "ua_mt")})
    wider = CONFIG.model_copy(update={"grid": grid})
    assert is_studied(CONFIG, tmp_path) and not is_studied(wider, tmp_path)
    text = (tmp_path / "reports/tiny/README.md").read_text()
    assert unknown not in text and unknown not in (folder / "README.md").read_text()
    assert "unconverged: no verdict" in text
    assert re.search(r"Not converged on .*, 4 labelled: Mean Teacher\. Comparisons", text)


def test_the_findings_tell_what_every_doubling_gains(tmp_path: Path) -> None:
    write_study(tmp_path)
    study, none = swept(CONFIG, "length"), pd.DataFrame()
    told = [
        Told(config, collect_facts(config), none, none, none, True) for config in (CONFIG, study)
    ]
    section = study_section(told, tmp_path)
    assert "| Mean Teacher | 1 to 2 | +3.0 [+3.0, +3.0] | 5 | unconverged |" in section
    assert section.count("| 1 to 2 |") == len(METHODS)
    converged, late = study_lines(told, tmp_path).splitlines()
    assert converged.startswith("- Converged at 1 steps ([`tiny_length`](tiny_length/README.md)): ")
    assert "Supervised (+0.5 [+0.5, +0.5] points from twice as many); Full" in converged
    assert late.endswith(": Mean Teacher (+3.0 [+3.0, +3.0] points from twice as many).")
    leads = lead_section(told, tmp_path)
    assert "| Mean Teacher minus Supervised | 1: +0.0 [+0.0, +0.0]; 2: +2.5 [+2.5, +2.5] |" in leads
    assert leads.count(" minus ") == 1, "full supervision has other labels"
    assert study_section(told[:1], tmp_path) == study_lines(told[:1], tmp_path) == ""
    assert lead_section(told[:1], tmp_path) == ""


def test_a_kept_study_gives_the_same_page(tmp_path: Path) -> None:
    folder = write_study(tmp_path)
    before = {path.name: path.read_bytes() for path in folder.glob("*.*")}
    build_report(swept(CONFIG, "length"), root=tmp_path, kept=True)
    after = {path.name: path.read_bytes() for path in folder.glob("*.*")}
    assert before["convergence.csv"] == after["convergence.csv"]
    assert before["README.md"] == after["README.md"]


def test_too_few_patients_are_a_pilot_whatever_the_runs(tmp_path: Path) -> None:
    config = make_config(methods=METHODS, seeds=SEEDS, pilot=True)
    write_scores(tmp_path, config)
    build_report(config, root=tmp_path)
    table = pd.read_csv(tmp_path / "reports/tiny/table.csv")
    assert set(table["outcome"].dropna()) == {"pilot"}
    page = (tmp_path / "reports/tiny/README.md").read_text()
    assert "pilot, 4 patients" in page and "A pilot: no verdict, whatever the runs" in page
