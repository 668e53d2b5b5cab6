"""Case tables on disk: what is said of bad ones, and rows that fit a terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from rich.table import Table
from scipy import stats
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.common.errors import BenchError, ConfigError, DataError
from benchmarks.config import ContrastConfig
from benchmarks.report.frames import differences_frame
from benchmarks.report.results import Results
from benchmarks.statistics.case_table import read_cases
from benchmarks.statistics.difference import EXPLORATORY, UNSTUDIED, limited, pilot_of_patients
from benchmarks.statistics.files import (
    compare_file,
    power_file,
    power_notes,
    power_rows,
    table_rows,
)
from benchmarks.statistics.rule import against, compare
from tests.statistics.tables import disjoint, table
from tests.statistics.test_rule import noisy


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two methods at 7 labels, one more at 50."""
    scores = noisy({"a": 0.05, "b-x": 0.0})
    whole = table({"full": np.full((5, 20), 0.8)}).assign(labels=50)
    target = tmp_path / "cases.csv"
    pd.concat([table(scores), whole]).to_csv(target, index=False)
    return target


def lines(rows: list[dict[str, str]]) -> list[str]:
    """The rows as printed at 80 columns."""
    text = StringIO()
    shown = Table(*rows[0])
    for row in rows:
        shown.add_row(*row.values())
    Console(file=text, width=80).print(shown)
    return text.getvalue().splitlines()


def test_a_comparison_is_one_line_at_80_columns(path: Path) -> None:
    found = compare_file(path, "a", "b-x")
    (row,) = found.rows
    assert list(row) == ["cell", "points [95 %]", "p", "p false", "runs x n", "outcome"]
    assert row["cell"] == "acdc 7 last" and row["outcome"] == "better"
    assert row["points [95 %]"].startswith("+4.9 [+4.9, +") and row["runs x n"] == "5 x 20"
    assert row["p"] == row["p false"] == "<.001"
    assert len(lines(found.rows)) == 5
    assert found.notes == [
        "patients of acdc 7 last: 20 better by more than 1 point, 0 alike, 0 worse;"
        " Hodges-Lehmann +4.9 points; the tenth worst off +4.9 points (description, not a test)"
    ]


def test_cells_with_one_method_are_notes_not_rows(path: Path) -> None:
    cases = pd.read_csv(path)
    more = cases[(cases["method"] == "a")].assign(labels=3)
    pd.concat([cases, more]).to_csv(path, index=False)
    found = compare_file(path, "a", "b-x")
    assert len(found.rows) == 1
    assert found.news == ["not compared: acdc 3 last, where only one method has runs"]


def test_pilots_and_missing_runs_are_told(path: Path) -> None:
    cases = pd.read_csv(path)
    cases[(cases["seed"] < 3) | (cases["method"] == "a")].to_csv(path, index=False)
    found = compare_file(path, "a", "b-x")
    assert found.rows[0]["outcome"] == "pilot"
    assert found.news == [
        "pilot, 3 runs: acdc 7 last",
        "left out: acdc 7 last: fold 0 seed 3: only a; fold 0 seed 4: only a",
    ]


def test_a_table_of_somebody_else_is_checked_with_and_without_the_chance_of_runs(
    tmp_path: Path,
) -> None:
    """A gain that is the luck of one run: sure by its patients, unlikely over five runs."""
    rng = np.random.default_rng(1)
    patients, runs = rng.normal(0, 0.05, 20), np.array([0.05, -0.05, 0.03, -0.04, 0.02])
    scores = {
        "theirs": 0.7 + patients + runs[:, None] + rng.normal(0, 0.01, (5, 20)),
        "baseline": 0.7 + patients + rng.normal(0, 0.01, (5, 20)),
    }
    whole = table(scores)[["method", "seed", "patient", "dice"]]
    path = tmp_path / "theirs.csv"
    whole[whole["seed"] == 0].drop(columns="seed").rename(columns={"patient": "case"}).to_csv(
        path, index=False
    )
    found = compare_file(path, "theirs", "baseline")
    assert found.rows[0]["cell"] == "data 0 last" and found.rows[0]["outcome"] == "pilot"
    assert found.claims == [
        "probability of a false claim in data 0 last: unknown from a single run with runs and"
        " patients drawn at random; <.001 with patients alone; p is corrected over 1 comparison"
        " with baseline (Holm)"
    ]
    assert [words[:20] for words in found.news] == [
        "pilot, 1 run: data 0", "no column 'patient':", "no column 'seed' or "
    ]  # fmt: skip

    whole.to_csv(path, index=False)
    found = compare_file(path, "theirs", "baseline")
    means = whole.groupby(["method", "seed"])["dice"].mean()
    gains = (means["theirs"] - means["baseline"]).to_numpy()
    # With so many alike patients the runs decide: Student's test over the five of them.
    p = stats.ttest_1samp(gains, 0).pvalue / 2
    told = re.findall(r"last: (\S+) with runs and patients.*; (\S+) with patients", found.claims[0])
    assert float(told[0][0]) == pytest.approx(p, abs=0.002) and float(told[0][0]) > 0.2
    assert found.rows[0]["outcome"] == "undecided"

    doubled = pd.concat([whole, whole]).drop(columns="seed").assign(case="a")
    doubled.to_csv(path, index=False)
    with pytest.raises(DataError, match=r"there twice.*tell runs apart by a column 'seed'"):
        compare_file(path, "theirs", "baseline")


def test_a_pair_picked_from_many_gets_the_outcome_of_their_table(tmp_path: Path) -> None:
    """p of all four against the same one, by Bonferroni's first step: the smallest times four."""
    path, g = tmp_path / "cases.csv", np.random.default_rng(5)
    scores = noisy({"a": 0.03, "b": 0.0, "c": 0.001, "d": 0.002, "base": 0.0})
    cases = table({k: v + 0.015 * g.standard_normal((5, 1)) for k, v in scores.items()})
    cases.to_csv(path, index=False)
    cases[cases["method"].isin(["a", "base"])].to_csv(tmp_path / "two.csv", index=False)
    alone = compare_file(tmp_path / "two.csv", "a", "base")
    found = compare_file(path, "a", "base")
    rule = {d.better: d for d in against(cases, "base")}
    assert found.rows[0]["p"] == f"{rule['a'].p_holm:.3f}"
    assert rule["a"].p_holm == pytest.approx(min(1, 4 * rule["a"].p))
    assert (found.rows[0]["outcome"], alone.rows[0]["outcome"]) == ("undecided", "better")
    assert "p is corrected over 4 comparisons with base (Holm)" in found.claims[0]


@pytest.mark.parametrize("looks", [1, 3])
def test_the_report_beside_a_table_decides_for_its_pairs(tmp_path: Path, looks: int) -> None:
    """Without its list of comparisons a reference counts, and nothing is known of the rows."""
    path, g = tmp_path / "cases.csv", np.random.default_rng(5)
    scores = noisy({"a": 0.03, "late": 0.04, "idle": 0.05, "reference": 0.01, "base": 0.0})
    cases = table({k: v + 0.015 * g.standard_normal((5, 1)) for k, v in scores.items()})
    cases.to_csv(path, index=False)
    alone = {name: compare_file(path, name, "base").rows[0] for name in ("a", "late", "idle")}
    assert not {"unconverged", "not tested"} & {row["outcome"] for row in alone.values()}
    compared = cases[cases["method"] != "reference"]
    told = against(compared, "base", unconverged=["late"], inert={"idle": "kl"}, looks=looks)
    for word in (None, "patient", "labelled slice"):  # too few of these, or enough
        listed = tuple(told if word is None else [pilot_of_patients(d, word) for d in told])
        families = {"baseline": listed, "declared": (), "controls": (), "external": ()}
        frame = differences_frame(cast(Results, SimpleNamespace(**families)))
        assert ("looks" in frame) == (looks > 1)
        frame.to_csv(path.with_name("differences.csv"), index=False)
        for d in listed:
            (row,) = compare_file(path, d.better, "base").rows
            assert row["outcome"] == d.outcome
            assert row["p"] == ("n/a" if math.isnan(d.p_holm) else f"{d.p_holm:.3f}")
        assert compare_file(path, "a", "base").rows[0]["p"] != alone["a"]["p"]
    path.with_name("differences.csv").write_text("better,than\n")
    with pytest.raises(DataError, match=r"no list of comparisons.*report --kept"):
        compare_file(path, "a", "base")


def test_the_report_beside_a_table_limits_verdicts_on_its_pairs(tmp_path: Path) -> None:
    """With a control in the report's own family, and other pairs were picked by who saw them."""
    path = tmp_path / "cases.csv"
    scores = noisy({"a": 0.2, "b": 0.1, "c": 0.0, "control": -0.1, "base": -0.2, "ext": 0.1})
    cases = table(scores)
    cases.to_csv(path, index=False)
    pairs = [ContrastConfig(name=f"{m}-", better=m, than="control") for m in ("a", "b", "c")]
    control = [limited(d, EXPLORATORY, UNSTUDIED) for d in compare(cases, pairs)]
    grid = cases[cases["method"] != "ext"]
    baseline = [
        limited(d, *(UNSTUDIED,) * (d.better in {"a", "control"})) for d in against(grid, "base")
    ]
    external = compare(cases, [ContrastConfig(name="ext - base", better="ext", than="base")])
    families = {
        "baseline": baseline, "declared": (), "controls": control, "external": external
    }  # fmt: skip
    frame = differences_frame(cast(Results, SimpleNamespace(**families)))
    frame.to_csv(path.with_name("differences.csv"), index=False)
    told = {
        ("a", "base"): "better (convergence not studied): acdc 7 last",
        ("b", "control"): "better (exploratory; convergence not studied): acdc 7 last",
        ("b", "c"): "better (exploratory): acdc 7 last",
        ("c", "a"): "worse (exploratory; convergence not studied): acdc 7 last",
        ("b", "base"): None,
        ("base", "a"): "worse (convergence not studied): acdc 7 last",
        ("ext", "base"): None,
    }
    for pair, words in told.items():
        assert compare_file(path, *pair).news == ([words] if words else []), pair
    found = compare_file(path, "c", "control")
    (row,) = (d for d in control if d.better == "c")
    assert found.rows[0]["p"] == ("<.001" if row.p_holm < 0.001 else f"{row.p_holm:.3f}")
    assert "corrected over 3 comparisons with control (Holm)" in found.claims[0]


def test_power_is_asked_as_the_report_beside_a_table_decides(tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    scores = noisy({"a": 0.03, "b": 0.02, "c": 0.0, "base": 0.0})
    cases = table({**scores, "none": 0 * scores["a"]})  # predicts nothing and is not tested
    cases.to_csv(path, index=False)
    (alone,) = power_file(path, effect=2)
    listed = tuple(against(cases, "base", looks=3))
    families = {"baseline": listed, "declared": (), "controls": (), "external": ()}
    frame = differences_frame(cast(Results, SimpleNamespace(**families)))
    frame.to_csv(path.with_name("differences.csv"), index=False)
    (found,), (asked,) = power_file(path, effect=2), power_file(path, effect=2, comparisons=1)
    (once,) = power_file(path, effect=2, comparisons=3)
    assert (alone.comparisons, found.comparisons, found.looks) == (1, 3, 3)
    assert asked == alone and found.seen > 1.2 * once.seen > 1.4 * alone.seen
    assert replace(found, seen=once.seen, looks=1) == once, "what is needed is read once"
    over = "corrected over 3 comparisons, times 12 for 3 looks at growing data"
    assert power_notes([found])[1].endswith(over)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda c: c.assign(dice=100 * c["dice"]), "line 2: dice is .*fraction.*divide percent by"),
        (lambda c: c.assign(dice=np.inf), "line 2: dice is inf; it must be a fraction from 0"),
        (lambda c: c.assign(hd95_mm=-1.0), "line 2: hd95_mm is -1; it must be millimetres"),
    ],
)
def test_scores_that_no_masks_have_are_refused(
    path: Path, edit: Callable[[pd.DataFrame], pd.DataFrame], words: str
) -> None:
    cases = edit(pd.read_csv(path))
    cases.to_csv(path, index=False)
    with pytest.raises(DataError, match=words):
        read_cases(path, metric="hd95_mm" if "hd95_mm" in cases else "dice")


def test_the_line_of_a_word_is_told_not_that_of_a_blank(path: Path) -> None:
    cases = pd.read_csv(path).astype({"dice": object})
    cases.loc[0, "dice"], cases.loc[2, "dice"] = "", "oops"
    cases.to_csv(path, index=False)
    with pytest.raises(DataError, match="line 4: dice is 'oops'"):
        read_cases(path)


def test_a_table_that_is_empty_or_not_there_is_told(path: Path) -> None:
    pd.read_csv(path).head(0).to_csv(path, index=False)
    with pytest.raises(DataError, match="has no rows"):
        read_cases(path)
    path.unlink()
    with pytest.raises(DataError, match="it is not there; a report writes it"):
        read_cases(path)


def test_distances_are_in_millimetres(path: Path) -> None:
    cases = pd.read_csv(path)
    cases.assign(hd95_mm=100 * cases["dice"]).to_csv(path, index=False)
    found = compare_file(path, "a", "b-x", metric="hd95_mm")
    assert found.rows[0]["mm [95 %]"].startswith("+4.9")
    assert found.rows[0]["outcome"] == "worse"
    assert "0 better at all, 0 alike, 20 worse" in found.notes[0]
    assert found.sign == "negative is better: hd95_mm is a distance"
    assert not compare_file(path, "a", "b-x").sign
    for metric, count in (("hd95_mm", 1), ("dice", 0)):
        done = CliRunner().invoke(app, ["compare", str(path), "a", "b-x", "--metric", metric])
        assert done.output.count("- negative is better") == count


@pytest.mark.parametrize(
    ("methods", "metric", "words"),
    [
        (("a", "b-y"), "dice", "no method 'b-y': did you mean 'b-x'"),
        (("a", "a"), "dice", "given twice"),
        (("a", "full"), "dice", "a in acdc 7 last; full in acdc 50 last"),
        (("a", "b-x"), "dize", "no metric 'dize': did you mean 'dice'"),
    ],
)
def test_wrong_names_are_explained(
    path: Path, methods: tuple[str, str], metric: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        compare_file(path, *methods, metric=metric)


def edited(path: Path, kind: str) -> None:
    cases = pd.read_csv(path)
    if kind == "column":
        cases.drop(columns="method").to_csv(path, index=False)
    elif kind == "word":
        cases.astype({"dice": object}).replace({"dice": {cases["dice"].iloc[2]: "good"}}).to_csv(
            path, index=False
        )
    elif kind == "share":
        cases.assign(labels=0.05).to_csv(path, index=False)
    elif kind == "twice":
        pd.concat([cases, cases.tail(1)]).to_csv(path, index=False)
    elif kind == "text":
        path.write_bytes(b'a,"b\n')
    else:
        path.unlink()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("column", r"lacks the columns \['method'\]"),
        ("word", "line 4: dice is 'good'; it must be a number"),
        ("share", "line 2: labels is 0.05; it must be a whole number"),
        ("twice", "line 302: there twice: dataset acdc, labels 50"),
        ("text", "no readable case table"),
        ("absent", "no readable case table"),
    ],
)
def test_bad_tables_are_explained(path: Path, kind: str, words: str) -> None:
    edited(path, kind)
    with pytest.raises(DataError, match=words) as caught:
        read_cases(path)
    assert "\n" not in str(caught.value)


def test_missing_distances_and_numbers_as_names_survive(path: Path) -> None:
    cases = pd.read_csv(path)
    cases.assign(
        hd95_mm=[math.nan, *[1.0] * (len(cases) - 1)], patient="007", **{"class": "LV"}
    ).drop(columns="case").to_csv(path, index=False)
    found = read_cases(path, metric="hd95_mm")
    assert found["hd95_mm"].isna().tolist() == [True] + [False] * (len(cases) - 1)
    assert set(found["patient"]) == {"007"} and set(found["variant"]) == {"", "x"}


def test_power_rows_fit_and_answer(path: Path) -> None:
    found = power_file(path, effect=2)
    (row,) = power_rows(found)
    assert list(row) == ["cell", "runs x n", "sd", "seen", "runs", "folds", "patients"]
    assert row["cell"] == "acdc 7 last" and row["runs"] == "5"
    assert float(row["seen"]) < 2
    assert len(lines([row])) == 5
    assert any("what 2 points would need" in note for note in power_notes(found))
    rows = table_rows(found[0])
    assert [r["runs"] for r in rows] == ["3 (pilot)", "5", "10", "15", "20"]
    assert float(rows[1]["20 patients"]) == pytest.approx(float(row["seen"]), abs=0.11)


def test_power_of_a_single_run_says_so(path: Path) -> None:
    cases = pd.read_csv(path)
    cases[cases["seed"] == 0].to_csv(path, index=False)
    found = power_file(path, effect=2)
    assert set(list(power_rows(found)[0].values())[3:]) == {"n/a"}
    assert power_notes(found)[-1].endswith("the variation between runs is unknown; train 5 seeds")
    assert table_rows(found[0]) == [{"nothing to tell": found[0].note}]


@pytest.mark.parametrize(
    ("folds", "words"),
    [
        (True, "^1 test patient in each fold: take folds of 2 or more"),
        (False, "^a single patient: test 2 or more"),
    ],
)
def test_power_of_single_patients_says_so(tmp_path: Path, folds: bool, words: str) -> None:
    """More seeds would not tell what runs and patients do; the words fit a line."""
    path, rng = tmp_path / "cases.csv", np.random.default_rng(0)
    one = {name: rng.uniform(0.5, 0.9, (8, 1)) for name in "ab"}
    apart = {name: block[..., None] for name, block in one.items()}
    (disjoint(apart) if folds else table(one)).to_csv(path, index=False)
    (found,) = power_file(path, effect=2)
    assert found.runs == 8 and re.search(words, found.note) and len(found.note) < 80


@pytest.mark.parametrize(
    ("options", "words"),
    [({"effect": 0}, "above 0"), ({"effect": 1, "comparisons": 0}, "give 1 or more")],
)
def test_wrong_questions_are_explained(path: Path, options: dict[str, int], words: str) -> None:
    with pytest.raises(BenchError, match=words):
        power_file(path, **options)  # type: ignore[arg-type]


def test_power_without_two_methods_is_an_error(path: Path) -> None:
    cases = pd.read_csv(path)
    cases[cases["method"] == "full"].to_csv(path, index=False)
    with pytest.raises(ConfigError, match="no two methods"):
        power_file(path, effect=2)
