"""A table while runs are missing: what is there is shown and judged, what is not is counted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.common.errors import RunError
from benchmarks.common.files import write_json
from benchmarks.common.workspace import split_file
from benchmarks.report import build_report
from benchmarks.scoring.cases import seal
from tests.report.made import (
    leave_figures_undrawn,
    make_config,
    use_made_datasets,
    write_external,
    write_scores,
)

SEEDS = [0, 1, 2, 3, 4, 5]


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    use_made_datasets(monkeypatch)
    leave_figures_undrawn(monkeypatch)


def keep_seeds(folder: Path, *seeds: int, labels: int | None = None) -> None:
    """Leave scores of these seeds alone, as if `evaluate --partial` had found no other run."""
    for path in folder.glob("*.csv"):
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        kept = frame["seed"].isin(list(map(str, seeds)))
        if labels is not None:
            kept &= frame["labels"] == str(labels)
        frame[kept].to_csv(path, index=False)
    seal(folder)


@pytest.fixture
def tables_alone() -> Iterator[None]:
    """No figures, which take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("figures.dice", "contrasts.forest", "ranks.rank", "mechanism_map.mechanism"):
            patch.setattr(f"benchmarks.report.{name}_figure", lambda *_, **__: [])
        patch.setattr("benchmarks.report.groups.groups_figure", lambda *_, **__: [])
        yield


def remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


@pytest.mark.usefixtures("tables_alone")
def test_rows_are_whole_counted_or_missing(tmp_path: Path) -> None:
    config = make_config(seeds=SEEDS)
    scores = write_scores(tmp_path, config, noise=0.02)
    whole = build_report(config, root=tmp_path)
    assert not any("Runs" in table.header for table in whole.answer.tables)
    full = pd.read_csv(tmp_path / "reports/tiny/table.csv")
    before = {p: p.read_bytes() for p in (tmp_path / "reports/tiny").iterdir()}

    # UA-MT's place: five of six runs with 2 labels and none with 4; the variant has none at all.
    keep_seeds(scores / "heart/mean_teacher", 0, 1, 2, 3, 4, labels=2)
    remove(scores / "heart/egcl_net-a5")
    with pytest.raises(RunError, match="--partial: a report of what is"):
        build_report(config, root=tmp_path)
    report = build_report(config, root=tmp_path, partial=True)
    assert {p.parent for p in report.files} == {tmp_path / "reports/partial/tiny"}
    assert {p: p.read_bytes() for p in (tmp_path / "reports/tiny").iterdir()} == before

    assert report.answer.news[0].startswith(
        "Interim: 23 of 42 runs are scored; 1 row of 7 incomplete, 3 missing."
    )
    two, four = report.answer.tables
    assert two.header[:2] == ("Method", "Runs")
    assert {row[0]: (row[1], row[-1]) for row in two.rows} == {
        "Supervised": ("6 of 6", "baseline"),
        "Mean Teacher": ("5 of 6", "better (convergence not studied)"),
        "EGCL-Net (reconstructed), a5": ("0 of 6", "missing"),
        "Full supervision (8 labelled)": ("6 of 6", "reference"),
    }
    assert {row[0]: row[1:] for row in four.rows}["Mean Teacher"] == ("0 of 6", "", "", "missing")

    # A complete row has the numbers of the whole report; the difference is of the shared runs.
    table = pd.read_csv(tmp_path / "reports/partial/tiny/table.csv")
    keys = ["method", "labels", "checkpoint"]
    alone = ["runs", "patients", "dice", "dice_low", "dice_high", "hd95_mm", "failed"]
    for method in ("supervised", "full_supervised"):
        own, all_ = (t[t["method"] == method].set_index(keys)[alone] for t in (table, full))
        pd.testing.assert_frame_equal(own, all_)
    cases = pd.read_csv(tmp_path / "reports/partial/tiny/cases.csv", keep_default_na=False)
    shared = cases[(cases["labels"] == 2) & (cases["checkpoint"] == "last") & (cases["seed"] < 5)]
    means = shared.groupby("method")["dice"].mean()
    row = table[(table["method"] == "mean_teacher") & (table["checkpoint"] == "last")].iloc[0]
    assert row["difference"] == pytest.approx(means["mean_teacher"] - means["supervised"], abs=2e-6)
    differences = pd.read_csv(tmp_path / "reports/partial/tiny/differences.csv")
    assert set(differences["left_out"]) == {"fold 0 seed 5: only supervised"}

    html = (tmp_path / "reports/partial/tiny/index.html").read_text("utf-8")
    lines = re.findall(r"<tr data-c.*?</tr>", html, re.DOTALL)
    assert len(lines) == 8 and sum("missing" in line for line in lines) == 3
    assert sum("5 of 6" in line for line in lines) == 1
    page = (tmp_path / "reports/partial/tiny/README.md").read_text()
    assert page.index("Interim: 23 of 42") < page.index("What came out")


@pytest.mark.usefixtures("tables_alone")
def test_few_shared_runs_are_a_pilot_and_none_are_no_comparison(tmp_path: Path) -> None:
    config = make_config(seeds=SEEDS)
    scores = write_scores(tmp_path, config, noise=0.02)
    keep_seeds(scores / "heart/supervised", 4, 5)
    keep_seeds(scores / "heart/mean_teacher", 0, 1, 2, 3)
    table = build_report(config, root=tmp_path, partial=True).answer.tables[0]
    outcomes = {row[0]: row[-1] for row in table.rows}
    assert outcomes["EGCL-Net (reconstructed), a5"] == "pilot, 2 runs"
    assert outcomes["Mean Teacher"] == "not tested: no runs in common"

    remove(scores / "heart/supervised")
    table = build_report(config, root=tmp_path, partial=True).answer.tables[0]
    outcomes = {row[0]: row[-1] for row in table.rows}
    assert outcomes["Supervised"] == "missing"
    assert outcomes["Mean Teacher"] == "baseline missing"


@pytest.mark.usefixtures("tables_alone")
def test_data_sets_without_a_run_and_foreign_scores_say_so(tmp_path: Path) -> None:
    claim = {
        "contrasts": [{"name": "gain", "better": "mean_teacher", "than": "supervised"}],
        "claim": {"text": "it helps", "contrasts": ["gain"]},
    }
    config = make_config(claim, datasets=["heart", "patients"], seeds=[0, 1], baseline=None)
    scores = write_scores(tmp_path, config)
    write_external(tmp_path, config, [0])
    for folder in (scores / "patients").iterdir():
        remove(folder)
    remove(scores / "heart/full_supervised")
    report = build_report(config, root=tmp_path, partial=True)
    assert [t.sample for t in report.answer.tables if t.title.startswith("Patients")] == [
        "No run is scored yet."
    ] * 2
    assert report.answer.tables[0].rows[-2][:3] == ("Full supervision", "0 of 2", "missing")
    assert '"it helps" is undecided' in report.answer.result

    write_json(split_file(tmp_path, "tiny", "heart"), {"digest": "0ther"})
    with pytest.raises(RunError) as error:
        build_report(config, root=tmp_path, partial=True, params=Path("my bench.yaml"))
    assert "evaluate --params 'my bench.yaml' heart --partial" in str(error.value)
    assert "heart x supervised: scored runs were made with other split than now" in str(error.value)


def test_figures_show_the_rows_that_are_there(tmp_path: Path) -> None:
    config = make_config()
    remove(write_scores(tmp_path, config) / "heart/egcl_net-a5")
    old = tmp_path / "reports/partial/tiny/heatmap.png"
    old.parent.mkdir(parents=True)
    old.touch()
    names = {path.name for path in build_report(config, root=tmp_path, partial=True).files}
    assert {"dice.pdf", "forest.pdf", "mechanisms.pdf"} <= names
    assert "(../../PITFALLS.md)" in (old.parent / "README.md").read_text()
    assert not old.exists()


@pytest.mark.usefixtures("tables_alone")
def test_a_damaged_case_is_refused_also_in_a_partial_table(tmp_path: Path) -> None:
    config = make_config()
    source = write_scores(tmp_path, config) / "heart/supervised"
    frame = pd.read_csv(source / "cases.csv", keep_default_na=False)
    damages = {
        "missing 2 labelled, fold 0, seed 0, checkpoint best": ~(
            (frame["seed"] == 0) & (frame["labels"] == 2) & (frame["checkpoint"] == "best")
        ),
        "2 of 16 values missing": frame["case"] != "p3_b",
    }
    for words, kept in damages.items():
        frame[kept].to_csv(source / "cases.csv", index=False)
        seal(source)
        with pytest.raises(RunError, match=words):
            build_report(config, root=tmp_path, partial=True)
