"""The page of findings: every number comes from a report's tables."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pandas as pd

from benchmarks.common.workspace import ROOT, split_file
from benchmarks.config import BenchmarkConfig, load_config
from benchmarks.plan.sweeps import swept
from benchmarks.report.facts import collect_facts
from benchmarks.report.findings import findings_page
from benchmarks.report.leaks import leak_section
from benchmarks.report.told import Told
from datasets.preparing.split import Fold, save_split, sealed


def _row(page: str, *words: str) -> str:
    (found,) = (s for s in page.splitlines() if s.startswith("|") and all(w in s for w in words))
    return found


def load_claim(config: BenchmarkConfig) -> tuple[str, ...]:
    assert config.claim is not None
    return tuple(config.claim.contrasts)


def test_a_changed_table_changes_the_page(tmp_path: Path) -> None:
    known = {
        name: load_config(ROOT / f"benchmarks/presets/{name}/params.yaml")
        for name in ("ablation", "acdc_cpu", "covid19_official", "methods_cpu", "paper")
    }
    for name in ("ablation", "methods_cpu", "published_results.csv"):
        source, target = ROOT / "reports" / name, tmp_path / "reports" / name
        target.parent.mkdir(exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    path = tmp_path / "reports/ablation/differences.csv"
    frame = pd.read_csv(path)
    declared = (frame["family"] == "declared") & (frame["checkpoint"] == "last")
    changes: dict[str, dict[str, float | str]] = {
        "cross term": {
            "mean": 0.0123, "low": -0.0047, "high": 0.0291, "outcome": "undecided", "runs": 10,
        },
        "contribution of high entropy": {"outcome": "pilot", "runs": 3},
        "all of the contrast": {"mean": math.nan, "outcome": "not tested", "runs": 0},
    }  # fmt: skip
    for name, values in changes.items():
        own = declared & (frame["name"] == name)
        for column, value in values.items():
            frame.loc[own, column] = value
    frame.to_csv(path, index=False)
    table = tmp_path / "reports/methods_cpu/table.csv"
    rows = pd.read_csv(table)
    bcp = (rows["method"] == "bcp") & rows["variant"].isna()
    rows.loc[bcp, "difference"] = 0.05
    rows.loc[bcp, "outcome"] = "better"
    rows.loc[rows["method"] == "dan", "outcome"] = "worse"
    ua_mt = (rows["method"] == "ua_mt") & rows["variant"].isna()
    rows.loc[ua_mt, ["difference_low", "difference_high"]] = -0.03, 0.13
    rows.to_csv(table, index=False)

    page = findings_page(tmp_path, known)

    short = page.split("## In short")[1].split("##")[0]
    assert "ablation" not in short  # a contrast of the claim is a pilot
    against = "methods against Supervised: 1 better (BCP), 1 worse (DAN); convergence is not shown."
    assert against in short

    first, second = (declared & (frame["name"] == name) for name in load_claim(known["ablation"]))
    frame.loc[first, "mean"], frame.loc[first, "outcome"] = 0.021, "better"
    frame.loc[second, "mean"], frame.loc[second, "high"] = -0.01, 0.017
    frame.loc[second, "outcome"] = "undecided"
    frame.to_csv(path, index=False)
    short = findings_page(tmp_path, known).split("## In short")[1].split("##")[0]
    assert '"high-entropy features contribute" is undecided' in short
    pair = "(high entropy too minus low entropy only, twice the budget)"
    assert f"contribution of high entropy {pair} +2.1 points, better; entropy against" in short
    random = "(high entropy too, cross term (EGCL-Net) minus random split, cross term)"
    told = f"split {random} -1.0 points, undecided, a gain above 1.7 outside the interval; conv"
    assert told in short

    frame.loc[second, ["mean", "high"]] = -0.02, -0.003
    frame.to_csv(path, index=False)
    none = findings_page(tmp_path, known)
    assert "undecided, any gain outside the interval" in none
    assert "| any | undecided" in _row(none, "| entropy against a random split |")

    row = _row(page, "| cross term |")
    assert "+1.2 [-0.5, +2.9]" in row and "above 2.9" in row and "undecided, 10 runs" in row
    assert "none, pilot" in _row(page, "| contribution of high entropy |")
    assert "|  |  |  |  | not tested, 0 runs |" in _row(page, "| all of the contrast |")
    assert _row(page, "methods_cpu", "equal steps").endswith(
        "| BCP (convergence not studied) | DAN (convergence not studied) |"
    )
    # BCP - U-Net supervised at as many labelled patients, in the sources that give both.
    published = pd.read_csv(ROOT / "reports/published_results.csv", dtype=str)
    labels = str(rows.loc[bcp, "labels"].iloc[0])
    cell = published[(published["dataset"] == "ACDC") & (published["labelled"] == labels)]
    by = cell.assign(dice=cell["dice"].astype(float)).pivot_table(
        index="source", columns="method", values="dice"
    )
    (gain,) = (by["BCP"] - by["U-Net supervised"]).dropna()
    assert f"| {gain:+.1f} | +5.0 [" in _row(page, "methods_cpu", "| BCP |", "our int")
    # Two sources have a supervised row of their own.
    two = [46.04 - 47.83, 61.0 - 41.5]
    both = _row(page, "methods_cpu", "| UA-MT |", "| partly inside our interval, a pilot |")
    assert f"| {two[0]:+.1f}, {two[1]:+.1f} |" in both
    assert _row(page, "`paper`").endswith("| a GPU |") and "| `ablation` |" not in page
    assert _row(page, "`covid19_official`").endswith("| CPU cores |")
    gains = page.split("## Which methods gain over labels alone?")[1].split("##")[0]
    assert "methods_cpu" in gains and "ablation" not in gains


def test_the_leak_of_a_partition_is_told_beside_grouped_folds(tmp_path: Path) -> None:
    """0.9 and 0.6 where a slice of the same patient was trained on, 0.7 and 0.5 elsewhere."""
    there = [("a", "a", 0.9), ("d", "d", 0.7)]
    grouped = [("a", "p", 0.6), ("b", "p", 0.6), ("d", "d", 0.5)]
    names, run = ["covid19_official", "covid19_cpu"], ["labels", "fold", "seed"]
    for name, scores in zip(names, (there, grouped), strict=True):
        rows = [
            ("covid19", method, who, c, labels, 0, 0, "last", dice)
            for c, who, dice in scores
            for method, labels in (("supervised", 5), ("supervised", 6), ("full_supervised", 6))
        ]
        rows += [("another", "supervised", who, c, 5, 0, 0, "last", 0.0) for c, who, _ in scores]
        columns = ["dataset", "method", "patient", "case", *run, "checkpoint", "dice"]
        (tmp_path / "reports" / name).mkdir(parents=True)
        path = tmp_path / "reports" / name / "cases.csv"
        pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    configs = [load_config(ROOT / f"benchmarks/presets/{name}/params.yaml") for name in names]
    empty = pd.DataFrame()
    both = {"covid19": configs[0].data["covid19"].model_copy(update={"labels": (5, 6)})}
    configs[0] = configs[0].model_copy(update={"data": both})
    told = [
        Told(config, collect_facts(config), empty, empty, empty, frozenset()) for config in configs
    ]
    part = configs[0].data["covid19"]
    train = (*(f"other{n}" for n in range(5)), "b")  # of 5 labels that of b is none, of 6 it is
    split = sealed("covid19", part.split, [Fold(train, ("v",), ("a", "d"))])
    save_split(split, split_file(tmp_path, "covid19_official", "covid19"))
    text = leak_section(told[::-1], tmp_path)
    same = "the same, not in these runs"
    assert f"| Supervised | 1 {same} | 1 | 90.0 | 60.0 | +30.0 |" in text
    assert "| Supervised | 1 whose patient was trained on | 1 | 90.0 | 60.0 | +30.0 |" in text
    assert "| Full supervision | 1 whose patient was trained on | 1 | 90.0 | 60.0 | +30.0 |" in text
    assert text.count("| 1 others | 1 | 70.0 | 50.0 | +20.0 |") == 2
    assert leak_section(told[:1], tmp_path) == ""
    shutil.copy(tmp_path / "reports/covid19_cpu/cases.csv", tmp_path / "reports/covid19_official")
    assert leak_section(told, tmp_path) == ""  # all cases of the patient are tested


def test_rows_of_one_method_stand_beside_each_other(tmp_path: Path) -> None:
    known = {
        "acdc_cpu": load_config(ROOT / "benchmarks/presets/acdc_cpu/params.yaml"),
        "ablation_folds_splits": swept(
            load_config(ROOT / "benchmarks/presets/ablation_folds/params.yaml"), "splits"
        ),
    }
    for name in known:
        shutil.copytree(ROOT / "reports" / name, tmp_path / "reports" / name)
    path = tmp_path / "reports/ablation_folds_splits/table.csv"
    rows = pd.read_csv(path)
    border = (rows["variant"] == "border") & (rows["checkpoint"] == "last")
    values: dict[str, float | str] = {
        "difference": 0.0123, "difference_low": -0.01, "difference_high": 0.03, "p_holm": 0.5,
        "outcome": "undecided",
    }  # fmt: skip
    for column, value in values.items():
        rows.loc[border, column] = value
    rows.to_csv(path, index=False)
    section = findings_page(tmp_path, known).split("## What do other groups")[1].split("##")[0]
    pair = "border split, cross term minus high entropy too, cross term (EGCL-Net)"
    assert f"| {pair} | +1.2 [-1.0, +3.0] | 0.500 | undecided, 5 runs |" in section
    assert "acdc_cpu" not in section


def test_a_gain_is_credited_over_labels_alone_and_every_control(tmp_path: Path) -> None:
    known = {"acdc_cpu": load_config(ROOT / "benchmarks/presets/acdc_cpu/params.yaml")}
    shutil.copytree(ROOT / "reports/acdc_cpu", tmp_path / "reports/acdc_cpu")
    table, differences = (
        tmp_path / "reports/acdc_cpu" / name for name in ("table.csv", "differences.csv")
    )
    rows = pd.read_csv(table)
    rows.loc[rows["method"].isin(["cps", "ua_mt"]), "outcome"] = "better"
    rows.to_csv(table, index=False)
    pairs = pd.read_csv(differences)
    over = pairs["family"] == "controls"
    pairs.loc[over & pairs["better"].isin(["cps", "ua_mt"]), "outcome"] = "better"
    pairs.loc[over & (pairs["better"] == "ua_mt"), "outcome"] = "worse"
    pairs.to_csv(differences, index=False)
    assert "better than all of these: CPS; conv" in findings_page(tmp_path, known)
    strong = over & (pairs["better"] == "cps") & (pairs["than"] == "supervised-strong")
    pairs.loc[strong, "outcome"] = "undecided"
    pairs.to_csv(differences, index=False)
    assert "better than all of these: no method; conv" in findings_page(tmp_path, known)
