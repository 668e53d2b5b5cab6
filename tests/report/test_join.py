"""New rows beside those of a committed report, which are not trained again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.common.errors import RunError
from benchmarks.report import build_report
from benchmarks.report.join import join_rows
from benchmarks.report.load import Source
from benchmarks.report.pool import pool
from benchmarks.scoring.cases import seal
from benchmarks.statistics.mechanisms import SUMMARY
from tests.report.made import (
    SKILL,
    leave_figures_undrawn,
    make_config,
    use_made_datasets,
    write_scores,
)

NEW = ("mean_teacher", "egcl_net-a5")
OLD = tuple(name for name in SKILL if name not in NEW)
PICTURES = {".png", ".pdf"}


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    use_made_datasets(monkeypatch)
    leave_figures_undrawn(monkeypatch)
    monkeypatch.setattr("benchmarks.report.join.code_digest", lambda *_: "c0de")


def committed(root: Path, *methods: str) -> None:
    """A report of some rows, of which no scores are here any more."""
    config = make_config(methods=list(methods), baseline="supervised")
    scores = write_scores(root, config)
    build_report(config, root=root)
    shutil.rmtree(scores)


def keep(scores: Path, *methods: str) -> None:
    for folder in (scores / "heart").iterdir():
        if folder.name not in methods:
            shutil.rmtree(folder)


def keep_seeds(scores: Path, *seeds: int) -> None:
    """As if no other run had been trained."""
    for path in (scores / "heart").glob("*/*.csv"):
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        frame[frame["seed"].isin(list(map(str, seeds)))].to_csv(path, index=False)
        seal(path.parent)


def tables(root: Path) -> dict[str, bytes]:
    folder = root / "reports/tiny"
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix not in PICTURES}


def test_joined_rows_give_the_report_of_all_runs(tmp_path: Path) -> None:
    """Whether a row stood last or first, and however often it is joined."""
    whole, parts, config = tmp_path / "whole", tmp_path / "parts", make_config()
    write_scores(whole, config)
    build_report(config, root=whole)
    committed(parts, *OLD)
    keep(write_scores(parts, config), *NEW)
    for _ in range(2):
        join_rows(config, Source(parts))
        build_report(config, root=parts, kept=True)
        assert tables(parts) == tables(whole)


def test_a_row_that_is_scored_again_replaces_the_kept_one(tmp_path: Path) -> None:
    config = make_config()
    committed(tmp_path, *SKILL)
    before = pd.read_csv(tmp_path / "reports/tiny/cases.csv")
    scores = write_scores(tmp_path, config, noise=0.0)
    keep(scores, "mean_teacher")
    join_rows(config, Source(tmp_path))
    after = pd.read_csv(tmp_path / "reports/tiny/cases.csv")
    own = after["method"] == "mean_teacher"
    assert set(after.loc[own, "dice"]) == {SKILL["mean_teacher"]}
    pd.testing.assert_frame_equal(after[~own], before[before["method"] != "mean_teacher"])


def test_runs_stand_beside_those_of_the_report(tmp_path: Path) -> None:
    """Two seeds of a row committed, two more scored here: all but medians as if made together."""
    config = make_config(seeds=[0, 1, 2, 3])
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    write_scores(whole, config)
    build_report(config, root=whole)
    scores = write_scores(parts, config)
    keep_seeds(scores, 0, 1)
    build_report(make_config(seeds=[0, 1]), root=parts)
    shutil.rmtree(scores)
    keep_seeds(write_scores(parts, config), 2, 3)
    for _ in range(2):
        join_rows(config, Source(parts))
        build_report(config, root=parts, kept=True)
        assert tables(parts) == tables(whole)


def test_a_call_that_was_killed_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After every table but that of runs was written: nothing is counted twice."""
    config = make_config(seeds=[0, 1, 2])
    scores = write_scores(tmp_path, config)
    keep_seeds(scores, 0, 1)
    build_report(make_config(seeds=[0, 1]), root=tmp_path)
    shutil.rmtree(scores)
    keep_seeds(write_scores(tmp_path, config), 2)
    with monkeypatch.context() as patch:

        def write(path: Path, text: str) -> None:
            if path.name == "runs.csv":
                raise KeyboardInterrupt
            path.write_text(text)

        patch.setattr("benchmarks.report.join.write_text", write)
        with pytest.raises(KeyboardInterrupt):
            join_rows(config, Source(tmp_path))
    join_rows(config, Source(tmp_path))
    ledger = pd.read_csv(tmp_path / "reports/tiny/mechanisms.csv")
    assert set(ledger["runs"]) == {3}
    assert len(pd.read_csv(tmp_path / "reports/tiny/runs.csv")) == 3 * (3 * 2 + 1)


def test_summaries_of_parts_weigh_runs() -> None:
    """Counts add up, means weigh runs, and the state is judged anew."""
    term = {"dataset": "heart", "method": "x", "labels": 2, "kind": "term", "name": "pull"}
    parts = pd.DataFrame(
        [
            {**term, "runs": 1, "start": 0.1, "probes": 10, "silent": 5, "elements": 4.0},
            {**term, "runs": 3, "start": 0.5, "probes": 30, "silent": 0, "elements": 8.0},
        ]
    ).assign(relative=[0.1, 0.3], cosine=[float("nan"), 0.5], value=1.0, state=["inert", ""])
    (row,) = pool("mechanisms.csv", parts[SUMMARY]).to_dict("records")
    assert (row["runs"], row["probes"], row["silent"], row["state"]) == (4, 40, 5, "")
    assert (row["start"], row["elements"], row["relative"]) == (0.4, 7.0, 0.25)
    assert row["cosine"] == 0.5  # of the part that has one
    worse = parts.assign(silent=[5, 4])
    assert pool("mechanisms.csv", worse[SUMMARY])["state"].tolist() == ["inert"]  # 9 of 40
    point = {"dataset": "heart", "method": "x", "labels": 2, "series": "loss/pull", "step": 50}
    curve = pd.DataFrame([point, point]).assign(
        runs=[1, 3], mean=[1.0, 0.2], low=[1.0, 0.1], high=[1.0, 0.3]
    )
    (line,) = pool("curves.csv", curve).to_dict("records")
    assert (line["runs"], line["mean"], line["low"], line["high"]) == (4, 0.4, 0.1, 1.0)


@pytest.mark.parametrize(
    ("column", "value", "word"),
    [("code", "01d", "code"), ("settings", "bad", "parameters of training or method")],
)
def test_rows_of_another_making_are_not_joined(
    tmp_path: Path, column: str, value: str, word: str
) -> None:
    """The message names row, reason and commands, and the report stays as it was."""
    committed(tmp_path, *OLD)
    path = tmp_path / "reports/tiny/runs.csv"
    runs = pd.read_csv(path, dtype=str)
    runs.loc[runs["method"] == "full_supervised", column] = value
    runs.to_csv(path, index=False)
    before = tables(tmp_path)
    config = make_config()
    keep(write_scores(tmp_path, config), *NEW)
    with pytest.raises(
        RunError, match=f"heart x full_supervised: made with other {word} than"
    ) as e:
        join_rows(config, Source(tmp_path))
    assert "python -m benchmarks run --params params.yaml heart full_supervised" in str(e.value)
    assert "heart x supervised" not in str(e.value) and tables(tmp_path) == before


def test_without_a_report_or_scores_or_with_a_row_missing_it_says_so(tmp_path: Path) -> None:
    config = make_config()
    with pytest.raises(RunError, match=r"runs\.csv' to join rows to: `python -m benchmarks repro`"):
        join_rows(config, Source(tmp_path))
    committed(tmp_path, *OLD)
    with pytest.raises(RunError, match="no scores of 'tiny' yet"):
        join_rows(config, Source(tmp_path))
    keep(write_scores(tmp_path, config), "mean_teacher")
    before = tables(tmp_path)
    with pytest.raises(RunError, match=r"heart x egcl_net-a5: no such row"):
        join_rows(config, Source(tmp_path))
    assert tables(tmp_path) == before
