"""Rows predicted elsewhere stand in the tables, marked, and change no outcome of the others."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.common.errors import RunError
from benchmarks.report import build_report
from tests.report.made import (
    leave_figures_undrawn,
    make_config,
    use_made_datasets,
    write_external,
    write_scores,
)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    use_made_datasets(monkeypatch)
    leave_figures_undrawn(monkeypatch)


def table(root: Path) -> pd.DataFrame:
    return pd.read_csv(root / "reports/tiny/table.csv", keep_default_na=False)


def test_an_external_row_is_marked_everywhere_and_changes_no_other(tmp_path: Path) -> None:
    config = make_config(seeds=[0, 1, 2, 3, 4])
    write_scores(tmp_path, config, noise=0.02)
    folder = write_external(tmp_path, config, [0, 1, 2, 3, 4], split="splits_final.json")
    report = build_report(config, root=tmp_path)
    after = table(tmp_path)
    own = after["variant"] == "external"
    assert after.loc[own, ["method", "outcome", "labels"]].values.tolist() == [
        ["my_net", "better", 2]
    ]
    page = (tmp_path / "reports/tiny/README.md").read_text()
    assert page.count("| my_net (external) | ") == 1  # of the cell with two labelled patients alone
    assert "trained on no test patient" in page and "a family of their own" in page
    assert r"my\_net (external)" in (tmp_path / "reports/tiny/table.tex").read_text()
    assert [r[-1] for r in report.answer.tables[0].rows if "external" in r[0]] == [
        "better (convergence not studied)"
    ]

    first = {path: path.read_bytes() for path in report.files}
    folder.parent.rename(tmp_path / "elsewhere")
    kept = build_report(config, root=tmp_path, kept=True).files
    assert {p.name for p in first} - {p.name for p in kept} == {"cases.csv"}
    assert [p.name for p in kept if p.read_bytes() != first[p]] == []
    build_report(config, root=tmp_path)
    assert table(tmp_path).equals(after[~own].reset_index(drop=True))
    assert not (tmp_path / "reports/tiny/external.csv").exists()


def test_one_prediction_is_a_pilot_and_says_what_was_not_checked(tmp_path: Path) -> None:
    config = make_config(seeds=[0, 1, 2, 3, 4])
    write_scores(tmp_path, config, noise=0.02)
    write_external(tmp_path, config, [3])
    report = build_report(config, root=tmp_path)
    assert [r[-1] for r in report.answer.tables[0].rows if "external" in r[0]] == ["pilot, 1 run"]
    assert "pilot" not in report.answer.result
    page = (tmp_path / "reports/tiny/README.md").read_text()
    assert "on whom it was trained was not checked" in page
    assert "5 runs per method" in page


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [("labels", 3, "no such cell"), ("seed", 9, "no such cell"), ("case", "p9_a", "other cases")],
)
def test_rows_of_another_grid_are_refused(
    tmp_path: Path, column: str, value: int | str, words: str
) -> None:
    config = make_config()
    write_scores(tmp_path, config)
    path = write_external(tmp_path, config, [0]) / "cases.csv"
    frame = pd.read_csv(path)
    frame[column] = value
    frame.to_csv(path, index=False)
    with pytest.raises(RunError, match=f"my_net.*{words}"):
        build_report(config, root=tmp_path)
