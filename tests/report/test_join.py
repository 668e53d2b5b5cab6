"""New rows beside those of a committed report, which are not trained again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.common.errors import RunError
from benchmarks.common.files import write_json
from benchmarks.config import BenchmarkConfig
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


def edit_runs(root: Path, method: str, column: str, value: str) -> None:
    """Change what the report says of the runs of a row."""
    path = root / "reports/tiny/runs.csv"
    runs = pd.read_csv(path, dtype=str)
    runs.loc[runs["method"] == method, column] = value
    runs.to_csv(path, index=False)


def refused(root: Path, config: BenchmarkConfig, *methods: str, seeds: tuple[int, ...] = ()) -> str:
    """The message of a call with scores of these rows, which must leave the report as it was."""
    before = tables(root)
    scores = write_scores(root, config)
    keep(scores, *methods)
    if seeds:
        keep_seeds(scores, *seeds)
    with pytest.raises(RunError) as told:
        join_rows(config, Source(root))
    shutil.rmtree(scores)
    assert tables(root) == before
    return str(told.value)


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


def vary(scores: Path) -> None:
    """Logs, pseudo-labels and numbers of labels that differ by run, as those of training do."""
    for path in (scores / "heart").glob("*/*.csv"):
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        seed = frame["seed"].astype(int)
        if path.name == "steps.csv":
            frame["loss/supervised"] = 1 / (2 + seed)
            frame["val/dice"] = 0.5 + 0.125 * seed
        elif path.name == "pseudo_labels.csv":
            frame["dice"] = 0.25 + 0.125 * seed
        if path.parent.name == "full_supervised":
            frame["labels"] = 8 - seed % 2
            # It has no images without labels.
            frame = frame.head(0) if path.name == "pseudo_labels.csv" else frame
        frame.to_csv(path, index=False)
    for scored in (scores / "heart").glob("full_supervised/scored.json"):
        cells = {f"l{8 - seed % 2}-f{seed}-s{seed} last": "whole" for seed in range(4)}
        write_json(scored, {"code": "c0de", "weights": cells})
    for folder in (scores / "heart").iterdir():
        seal(folder)


def test_runs_stand_beside_those_of_the_report(tmp_path: Path) -> None:
    """Folds 0 and 1 committed, 2 joined, then 3 while 2 is still scored: as if made together."""
    config = make_config(seeds=[0, 1, 2, 3], folds=[0, 1, 2, 3], bound=True)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    vary(write_scores(whole, config))
    build_report(config, root=whole)
    steps = [((0, 1), [0, 1]), ((2,), [0, 1, 2]), ((2, 3), [0, 1, 2, 3]), ((2, 3), [0, 1, 2, 3])]
    for scored, seeds in steps:
        grid = make_config(seeds=seeds, folds=seeds, bound=True)
        scores = write_scores(parts, config)
        vary(scores)
        keep_seeds(scores, *scored)
        if len(seeds) > 2:
            join_rows(grid, Source(parts))
        build_report(grid, root=parts, kept=len(seeds) > 2)
        shutil.rmtree(scores)
    assert tables(parts) == tables(whole)
    curves = pd.read_csv(parts / "reports/tiny/curves.csv")
    assert set(curves["runs"]) == {4} and set(curves["series"]) == {"val/dice", "loss/supervised"}


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
    edit_runs(tmp_path, "full_supervised", column, value)
    words = f"heart x full_supervised: made with other {word} than now"
    message = refused(tmp_path, make_config(), *NEW)
    assert words in message and "heart x supervised" not in message
    assert "python -m benchmarks run --params params.yaml heart full_supervised" in message
    assert message.endswith("python -m benchmarks evaluate --params params.yaml heart --partial")


def test_what_cannot_be_joined_is_named_and_nothing_written(tmp_path: Path) -> None:
    config = make_config()
    with pytest.raises(RunError, match=r"runs\.csv' to join rows to: `python -m benchmarks repro`"):
        join_rows(config, Source(tmp_path))
    committed(tmp_path, *OLD)
    with pytest.raises(RunError, match="no scores of 'tiny' yet"):
        join_rows(config, Source(tmp_path))
    assert "heart x egcl_net-a5: no such row" in refused(tmp_path, config, "mean_teacher")
    more = make_config(seeds=[0, 1, 2])
    message = refused(tmp_path, more, *NEW)
    assert "heart x supervised: no run l2-f0-s2, l4-f0-s2" in message
    other = make_config(seeds=[1, 2])
    message = refused(tmp_path, other, *NEW, seeds=(2,))
    assert "heart x supervised: no run l2-f0-s2, l4-f0-s2" in message
    assert "runs that are not of the grid: l2-f0-s0, l4-f0-s0" in message
    scores = write_scores(tmp_path, config)
    (scores / "heart/mean_teacher/cases.csv").write_text("changed")
    with pytest.raises(RunError, match=r"(?s)do not count.*heart x mean_teacher: .*was changed"):
        join_rows(config, Source(tmp_path))


def test_a_run_with_other_weights_is_not_joined_alone(tmp_path: Path) -> None:
    config = make_config()
    committed(tmp_path, *SKILL)
    edit_runs(tmp_path, "mean_teacher", "weights", "of another machine")
    told = "scored here again with other weights, but not all of the row: l2-f0-s1, l4-f0-s1"
    assert told in refused(tmp_path, config, "mean_teacher", seeds=(1,))


def test_a_row_that_the_grid_has_no_more_goes(tmp_path: Path) -> None:
    committed(tmp_path, "supervised", "mean_teacher")
    fewer = make_config(methods=["supervised", "egcl_net-a5"])
    keep(write_scores(tmp_path, fewer), "egcl_net-a5")
    join_rows(fewer, Source(tmp_path))
    build_report(fewer, root=tmp_path, kept=True)
    assert b"mean_teacher" not in tables(tmp_path)["runs.csv"]
