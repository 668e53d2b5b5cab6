"""Trainings of several lengths: the table of the study, and what it withholds in other tables."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmarks.common.errors import RunError
from benchmarks.common.workspace import CONVERGENCE, STEPS
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.studies import all_studies
from benchmarks.plan.sweeps import swept
from benchmarks.report import build_report
from benchmarks.report.convergence import told_runs_needed
from benchmarks.report.doubling import lead_section, study_lines, study_section
from benchmarks.report.facts import collect_facts
from benchmarks.report.join import join_rows
from benchmarks.report.load import Source
from benchmarks.report.studied import Studied, studied_rows
from benchmarks.report.told import Told
from benchmarks.report.web.leaderboard import write_leaderboard
from benchmarks.scoring.cases import seal
from benchmarks.statistics.convergence import Gain
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


def rows_of(config: BenchmarkConfig, root: Path) -> Studied:
    return studied_rows(config, collect_facts(config), all_studies(config, root))


def test_a_study_withholds_the_outcome_of_what_is_not_converged(tmp_path: Path) -> None:
    write_scores(tmp_path, CONFIG)
    build_report(CONFIG, root=tmp_path)
    table = pd.read_csv(tmp_path / "reports/tiny/table.csv")
    assert "unconverged" not in set(table["outcome"])
    page = (tmp_path / "reports/tiny/README.md").read_text()
    assert "No row has a study of longer training" in page
    folder = write_study(tmp_path)
    page = (folder / "README.md").read_text()
    shown = (
        "**What came out.** Heart (synthetic phantom), 4 labelled patients: 2 of 3 rows shown to"
    )
    assert f"{shown} be converged at 1 steps, by the gain of twice as many." in page
    rows = {line.split(" | ")[0]: line for line in page.splitlines() if "] | 5 |" in line}
    assert rows["| Supervised"].endswith(
        "| 60.2 | 60.7 | +0.5 [+0.5, +0.5] | 5 |  | converged at 1 steps |"
    )
    assert rows["| Mean Teacher"].endswith("| +3.0 [+3.0, +3.0] | 5 |  | unconverged at 1 steps |")
    assert rows["| Full supervision"].endswith(
        "| 59.2 | -1.0 [-1.0, -1.0] | 5 |  | converged at 1 steps |"
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
    assert rows_of(CONFIG, tmp_path).late == {("heart", 4): frozenset({"mean_teacher"})}
    assert rows_of(longer, tmp_path).late == {}, "a row is judged at the length that it has"
    text = (tmp_path / "reports/tiny/README.md").read_text()
    unknown = "Without a study of longer training, and so taken as they are at this length: "
    two = "2 labelled patients are not studied, but full supervision is the same there"
    assert f"{unknown}Supervised; Mean Teacher.\n" in text, two
    assert unknown not in page and "No row has" not in page
    told = " unconverged: a row of the pair is not shown to be converged."
    assert told in text and told not in page
    assert "unconverged: no verdict" in text
    assert re.search(
        r"Not shown to be converged on .*, 4 labelled patients: Mean Teacher\. Com", text
    )


def test_the_first_report_of_a_study_is_judged_by_its_own_lengths(tmp_path: Path) -> None:
    folder = write_study(tmp_path)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(CONFIG.model_dump(mode="json")))
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    told = b"Not shown to be converged on Heart (synthetic phantom), 4 labelled patients: "
    assert told + b"Mean Teacher, steps 1" in first["README.md"], "its table was not there before"
    build_report(swept(CONFIG, "length"), root=tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


def test_a_study_judges_rows_that_are_trained_alike_in_every_benchmark(tmp_path: Path) -> None:
    write_study(tmp_path)
    written = yaml.safe_dump(CONFIG.model_dump(mode="json"))
    (tmp_path / "params.yaml").write_text(written)
    rows = {"supervised": {}, "mean_teacher-same": {}, "mean_teacher-other": {"decay": 0.5}}

    def other(labels: int = 4, **more: object) -> BenchmarkConfig:
        data = {"heart": {"labels": [labels], "split": {}}}
        changed = {"name": "other", "methods": rows, "data": data, **more}
        return make_config(changed, methods=list(rows), seeds=SEEDS)

    mine = rows_of(other(), tmp_path)
    assert mine.late == {("heart", 4): frozenset({"mean_teacher-same"})}
    assert mine.unstudied == ("mean_teacher-other",)
    del rows["mean_teacher-other"]
    assert rows_of(other(), tmp_path).unstudied == ()
    train = {"iterations": 1, "labeled_batch": 2, "unlabeled_batch": 1}
    for unlike in (
        other(labels=2),
        other(train=train),
        other(data={"heart": {"labels": [4], "split": {"seed": 1}}}),
        other(data={"heart": {"labels": [4], "split": {}, "prepare": {"size": [8, 8]}}}),
    ):
        assert rows_of(unlike, tmp_path) == Studied({}, tuple(rows))


def test_a_row_has_not_converged_if_one_that_is_trained_for_longer_has_not(tmp_path: Path) -> None:
    table = write_study(tmp_path) / CONVERGENCE
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(CONFIG.model_dump(mode="json")))
    kept = pd.read_csv(table)
    kept.assign(steps=10 * kept["steps"]).to_csv(table, index=False)
    for steps, late in ((1, True), (9, True), (10, True), (11, False), (20, False)):
        rows = rows_of(CONFIG.model_copy(update={"steps": dict.fromkeys(METHODS, steps)}), tmp_path)
        expected = {("heart", 4): frozenset({"mean_teacher"})}
        assert rows.late == (expected if late else {}), steps
    train = CONFIG.train.model_copy(update={"iterations": 9})
    shorter = rows_of(CONFIG.model_copy(update={"train": train}), tmp_path)
    assert rows_of(CONFIG, tmp_path).references == {}
    kept.loc[(kept["method"] == "full_supervised") & (kept["steps"] == 2), "dice"] += 0.1
    kept.to_csv(table, index=False)
    assert rows_of(CONFIG, tmp_path).references == {"heart": ("full_supervised",)}
    assert rows_of(swept(CONFIG, "length"), tmp_path).references == {}
    assert "full_supervised" in shorter.unstudied, "what has converged later tells nothing"
    assert "mean_teacher" in shorter.unstudied, "2 labelled patients are not studied"


def test_the_findings_tell_what_every_doubling_gains(tmp_path: Path) -> None:
    write_study(tmp_path)
    study, none = swept(CONFIG, "length"), pd.DataFrame()
    told = [
        Told(config, collect_facts(config), none, none, none, frozenset())
        for config in (CONFIG, study)
    ]
    section = study_section(told, tmp_path)
    assert "| Mean Teacher | 1 to 2 | +3.0 [+3.0, +3.0] | 5 |  | unconverged |" in section
    assert section.count("| 1 to 2 |") == len(METHODS)
    converged, late = study_lines(told, tmp_path).splitlines()
    link = "[`tiny_length`](tiny_length/README.md)"
    assert converged.startswith(f"- Shown to be converged at 1 steps ({link}), by validation Dice")
    assert "Supervised (+0.5 [+0.5, +0.5] points from twice as many); Full" in converged
    assert late.startswith("- Not shown to be") and late.endswith(
        ": Mean Teacher (+3.0 [+3.0, +3.0] points from twice as many)."
    )
    leads = lead_section(told, tmp_path)
    assert "| Mean Teacher minus Supervised | 1: +0.0 [+0.0, +0.0]; 2: +2.5 [+2.5, +2.5] |" in leads
    assert leads.count(" minus ") == 1, "full supervision has other labels"
    assert study_section(told[:1], tmp_path) == study_lines(told[:1], tmp_path) == ""
    assert lead_section(told[:1], tmp_path) == ""


def test_a_study_tells_how_many_runs_would_show_it() -> None:
    """A standard deviation of 2 points is Cohen's .5 of a margin of one: 27 runs by G*Power 3.1."""
    half = 2.131847 * 0.02 / np.sqrt(5)
    told = [
        told_runs_needed(Gain("heart", 4, "a", 1, 5, mean, mean - half * by, mean + half * by))
        for mean, by in ((0.0, 1), (0.1, 1), (-0.1, 1), (0.0, 10))
    ]
    assert told == ["27", "", "", "above 1,000"]


def test_runs_are_not_joined_to_a_study(tmp_path: Path) -> None:
    """Its table of lengths would stay at the old runs, and decide elsewhere."""
    write_study(tmp_path)
    with pytest.raises(RunError, match=r"'tiny_length' is a study .*`python -m benchmarks repro"):
        join_rows(swept(CONFIG, "length"), Source(tmp_path))


def test_the_leaderboard_tells_the_length_of_every_row(tmp_path: Path) -> None:
    folder, study = write_study(tmp_path), swept(CONFIG, "length")
    page = write_leaderboard(tmp_path, {study.name: study}, [(study.name, folder.name, *"????")])
    (text,) = re.findall(r'<script[^>]*id="data"[^>]*>(.*?)</script>', page.read_text(), re.DOTALL)
    steps = {row["key"]: row["steps"] for row in json.loads(text)["rows"]}
    assert steps == {f"{method}-steps={n}": n for method in METHODS for n in (1, 2)}


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
