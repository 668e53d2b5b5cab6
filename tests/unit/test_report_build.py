"""The whole report from fabricated case tables."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import benchmarks.report.facts as facts_module
from benchmarks.config import BenchmarkConfig
from benchmarks.errors import RunError
from benchmarks.report import build_report
from benchmarks.report.facts import DatasetFacts, Facts, MethodFacts
from benchmarks.report.load import COLUMNS
from benchmarks.report.style import method_looks

NAMES = {"supervised": False, "mean_teacher": False, "egcl_net-a5": False, "full_supervised": True}
SKILL = dict(zip(NAMES, (0.6, 0.7, 0.75, 0.9), strict=True))


def method(key: str, *, all_labels: bool = False, baseline: bool = False) -> MethodFacts:
    name, _, variant = key.partition("-")
    note = f"{name}: a caveat of 100 %." if variant else ""
    return MethodFacts(key, name, variant, key.replace("_", " "), note, all_labels, baseline)


def make_config(**grid: list[str]) -> BenchmarkConfig:
    values = {"datasets": ["heart"], "methods": list(NAMES)} | grid
    return BenchmarkConfig.model_validate(
        {
            "name": "tiny",
            "grid": {"seeds": [0, 1], **values},
            "data": {d: {"labels": [2, 4], "split": {}} for d in values["datasets"]},
            "train": {"iterations": 1, "labeled_batch": 1, "unlabeled_batch": 1},
            "methods": {name: {} for name in NAMES},
        }
    )


def case_rows(
    config: BenchmarkConfig, dataset: str, name: str, *, patients: int = 4
) -> pd.DataFrame:
    key, rng = method(name), np.random.default_rng(len(name))
    counts = (8,) if NAMES[name] else config.data[dataset].labels
    runs = itertools.product(counts, config.grid.folds, config.grid.seeds, ("best", "last"))
    rows = []
    for labels, fold, seed, checkpoint in runs:
        for patient, phase, part in itertools.product(range(patients), "ab", ("LV", "RV")):
            dice = float(np.clip(SKILL[name] + rng.normal(0, 0.05), 0, 1))
            rows.append(
                (
                    *(config.name, dataset, key.id, key.variant, labels, fold, seed, checkpoint),
                    *(f"p{patient}_{phase}", f"p{patient}", part, dice, dice / (2 - dice)),
                    *(3.0, 1.0, 90, 80, "none"),
                )
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def write_cases(root: Path, config: BenchmarkConfig, *, patients: int = 4) -> Path:
    folder = root / "reports" / config.name / "cases"
    folder.mkdir(parents=True, exist_ok=True)
    for dataset, name in itertools.product(config.grid.datasets, config.grid.methods):
        frame = case_rows(config, dataset, name, patients=patients)
        frame.to_csv(folder / f"{dataset}-{name}.csv", index=False)
    return folder


def write_showcase(root: Path, config: BenchmarkConfig, dataset: str, name: str) -> None:
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    truth = np.where(np.hypot(y, x) < 0.3, 1, np.where(np.hypot(y, x) < 0.5, 2, 0))
    path = root / "data" / "showcase" / config.name / f"{dataset}-{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        image=np.exp(-(y**2) - x**2).astype(np.float32),
        truth=truth.astype(np.uint8),
        prediction=np.roll(truth, 3, axis=0).astype(np.uint8),
        entropy=np.hypot(y, x).clip(0, 1).astype(np.float32),
        case="p0_a",
        slice=3,
        labels=2,
        seed=0,
    )


@pytest.fixture(autouse=True)
def known_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(config: BenchmarkConfig) -> Facts:
        return Facts(
            tuple(
                DatasetFacts(d, "Heart (synthetic phantom)", d == "heart", "mm", ("LV", "RV"))
                for d in config.grid.datasets
            ),
            tuple(
                method(m, all_labels=NAMES[m], baseline=m == "supervised")
                for m in config.grid.methods
            ),
        )

    monkeypatch.setattr(facts_module, "collect_facts", fake)


def test_files_columns_and_metrics(tmp_path: Path) -> None:
    config = make_config()
    write_cases(tmp_path, config)
    for name in ("supervised", "egcl_net-a5"):
        write_showcase(tmp_path, config, "heart", name)
    written = build_report(config, root=tmp_path)
    assert all(path.is_file() for path in written)
    names = {path.name for path in written}
    assert {"cases.csv", "table.csv", "dice.svg", "dice.pdf", "overlay-heart.png"} <= names
    folder = tmp_path / "reports/tiny"
    header = "dataset,method,variant,labels,checkpoint,seeds,patients,dice,dice_low,dice_high"
    lines = (folder / "table.csv").read_text().splitlines()
    assert lines[0] == f"{header},jaccard,hd95_mm,asd_mm"
    assert [line.split(",")[1:5] for line in lines[1:4]] == [
        ["supervised", "", "2", "last"],
        ["supervised", "", "2", "best"],
        ["supervised", "", "4", "last"],
    ]
    assert len(lines) == 1 + 2 * (3 * 2 + 1)
    tree = json.loads((folder / "metrics.json").read_text())
    assert set(tree["heart"]) == set(NAMES)
    assert set(tree["heart"]["full_supervised"]) == {"8"}
    merged = pd.read_csv(folder / "cases.csv")
    assert list(merged.columns) == COLUMNS
    assert len(merged) == 14 * 2 * 16
    source = pd.read_csv(folder / "cases/heart-supervised.csv", dtype=str)
    assert set(pd.read_csv(folder / "cases.csv", dtype=str)["dice"]) >= set(source["dice"])


def test_same_input_gives_same_bytes_whatever_the_row_order(tmp_path: Path) -> None:
    config = make_config()
    folder = write_cases(tmp_path, config)
    write_showcase(tmp_path, config, "heart", "supervised")
    first = {path: path.read_bytes() for path in build_report(config, root=tmp_path)}
    source = folder / "heart-supervised.csv"
    pd.read_csv(source).sort_values(["seed", "case"], ascending=False, kind="stable").to_csv(
        source, index=False
    )
    second = {path: path.read_bytes() for path in build_report(config, root=tmp_path)}
    assert [p.name for p in first if first[p] != second[p]] == []


def test_markdown_says_what_a_reader_must_know(tmp_path: Path) -> None:
    config = make_config()
    folder = write_cases(tmp_path, config)
    source = folder / "heart-mean_teacher.csv"
    frame = pd.read_csv(source)
    row = frame.index[(frame["checkpoint"] == "last") & (frame["labels"] == 2)][0]
    frame.loc[row, "dice"] = 0.0
    frame.loc[row, "empty"] = "prediction"
    frame.to_csv(source, index=False)
    build_report(config, root=tmp_path)
    page = (tmp_path / "reports/tiny/table.md").read_text()
    assert page.startswith("# Results of benchmark `tiny`")
    assert page.count("## ") == 2
    assert "exactly one (mean teacher 1)" in page
    assert "exactly one." in page
    for text in ("synthetic phantom", "Selection rule", "Seeds (0, 1)", "n = 4", "caveat of 100 %"):
        assert text in page
    assert "full supervised (8 labelled)" in page
    assert "**" not in page
    widths = {line.count("|") for line in page.splitlines() if line.startswith("|")}
    assert widths == {7, 6}


def test_latex_is_balanced_and_escaped(tmp_path: Path) -> None:
    config = make_config()
    write_cases(tmp_path, config)
    build_report(config, root=tmp_path)
    text = (tmp_path / "reports/tiny/table.tex").read_text()
    assert text.count("{") == text.count("}")
    for name in ("table", "tabular", "minipage"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") > 0
    assert not re.search(r"(?<!\\)[%_#$]", text)
    assert r"caveat of 100 \%" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in rows} == {5, 4}


def test_missing_file_and_run_name_the_cells_and_the_commands(tmp_path: Path) -> None:
    config = make_config()
    folder = write_cases(tmp_path, config)
    (folder / "heart-mean_teacher.csv").unlink()
    source = folder / "heart-supervised.csv"
    frame = pd.read_csv(source)
    gone = (frame["labels"] == 4) & (frame["seed"] == 1) & (frame["checkpoint"] == "best")
    frame[~gone].to_csv(source, index=False)
    with pytest.raises(RunError) as error:
        build_report(config, root=tmp_path)
    text = str(error.value)
    assert "no file reports/tiny/cases/heart-mean_teacher.csv" in text
    assert "missing 4 labelled, fold 0, seed 1, checkpoint best" in text
    for command in ("run", "evaluate"):
        assert f"python -m benchmarks {command} --params FILE heart supervised" in text


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: f[f["case"] != "p3_b"], "2 of 16 values missing"),
        (lambda f: pd.concat([f, f.iloc[:1]]), "1 values twice"),
        (lambda f: pd.concat([f, f.assign(seed=9)]), "not of the grid: .*seed 9"),
        (lambda f: f.rename(columns={"dice": "dsc"}), "has the columns"),
        (lambda f: f.assign(dataset="liver"), "holds rows of"),
        (lambda f: f.assign(dice=np.nan), "no number"),
        (lambda f: f.iloc[:0], "no rows"),
        (lambda f: f.assign(checkpoint="middle"), "not of the grid: .*checkpoint middle"),
    ],
)
def test_wrong_case_table_is_refused(
    tmp_path: Path, damage: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    config = make_config()
    source = write_cases(tmp_path, config) / "heart-supervised.csv"
    damage(pd.read_csv(source, keep_default_na=False)).to_csv(source, index=False)
    with pytest.raises(RunError, match=message):
        build_report(config, root=tmp_path)


@pytest.mark.parametrize("methods", [["mean_teacher"], ["full_supervised"]])
def test_one_method_one_patient_no_distance(tmp_path: Path, methods: list[str]) -> None:
    config = make_config(methods=methods)
    source = write_cases(tmp_path, config, patients=1) / f"heart-{methods[0]}.csv"
    frame = pd.read_csv(source, keep_default_na=False)
    frame.assign(hd95_mm="", asd_mm="", dice=1.0, empty="both").to_csv(source, index=False)
    build_report(config, root=tmp_path)
    page = (tmp_path / "reports/tiny/table.md").read_text()
    assert "100.0 [100.0, 100.0]" in page
    assert "n/a" in page
    assert "`grid.baseline` names no method" in page
    differences = (tmp_path / "reports/tiny/differences.csv").read_text()
    assert differences.count("\n") == 1


def test_pictures_of_patients_stay_local(tmp_path: Path) -> None:
    config = make_config(datasets=["patients"])
    write_cases(tmp_path, config)
    write_showcase(tmp_path, config, "patients", "mean_teacher")
    written = [p for p in build_report(config, root=tmp_path) if p.name.startswith("overlay")]
    assert written == [tmp_path / "reports/tiny/local/overlay-patients.png"]


def test_damaged_or_unequal_showcase_is_refused(tmp_path: Path) -> None:
    config = make_config()
    write_cases(tmp_path, config)
    for name in ("supervised", "mean_teacher"):
        write_showcase(tmp_path, config, "heart", name)
    path = tmp_path / "data/showcase/tiny/heart-mean_teacher.npz"
    arrays = dict(np.load(path))
    np.savez(path, **(arrays | {"slice": np.asarray(4)}))
    with pytest.raises(RunError, match="slice 4 of p0_a"):
        build_report(config, root=tmp_path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(RunError, match="no readable showcase"):
        build_report(config, root=tmp_path)


def test_looks_are_distinct_and_mark_the_references() -> None:
    many = [method(f"m{i}") for i in range(30)] + [method("supervised")]
    looks = method_looks(Facts((), (*many, replace(method("full"), all_labels=True))))
    assert len(set(looks.values())) == 32
