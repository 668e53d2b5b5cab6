"""Incomplete, foreign and damaged scores are refused with the commands that mend them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import benchmarks.report.stale as stale_module
from benchmarks.common.errors import RunError
from benchmarks.common.files import write_json
from benchmarks.common.workspace import prepared_folder, split_file
from benchmarks.plan.sweeps import swept
from benchmarks.report import build_report
from benchmarks.report.facts import Facts, method_facts
from benchmarks.report.load import with_cell_labels
from benchmarks.scoring.cases import seal
from tests.report.made import (
    leave_figures_undrawn,
    make_config,
    put,
    use_made_datasets,
    write_scores,
    write_showcase,
)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    use_made_datasets(monkeypatch)
    leave_figures_undrawn(monkeypatch)


def test_of_what_nobody_ran_one_line_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError) as error:
        build_report(make_config(), root=tmp_path)
    assert str(error.value) == (
        "no run of 'tiny' is scored here: `python -m benchmarks repro` trains and scores all"
    )


@pytest.mark.parametrize("name", ["cases.csv", "steps.csv"])
def test_missing_file_and_run_name_the_cells_and_the_commands(tmp_path: Path, name: str) -> None:
    config = make_config()
    folder = write_scores(tmp_path, config)
    (folder / "heart/mean_teacher" / name).unlink()
    source = folder / "heart/supervised/cases.csv"
    frame = pd.read_csv(source)
    gone = (frame["labels"] == 4) & (frame["seed"] == 1) & (frame["checkpoint"] == "best")
    put(frame[~gone], source)
    with pytest.raises(RunError) as error:
        build_report(config, root=tmp_path, params=Path("my bench/params.yaml"))
    text = str(error.value)
    assert f"no file data/scores/tiny/heart/mean_teacher/{name}" in text
    assert "missing 4 labelled, fold 0, seed 1, checkpoint best" in text
    for command in ("run", "evaluate"):
        options = "--params 'my bench/params.yaml'"
        assert f"python -m benchmarks {command} {options} heart supervised" in text


def test_a_sweep_is_made_by_one_command(tmp_path: Path) -> None:
    params = tmp_path / "my bench.yaml"
    sweeps = {"tau": {"methods": ["egcl_net-a5"], "values": {"tau": [0.1, 0.2]}}}
    config = make_config({"sweeps": sweeps})
    params.write_text(json.dumps(config.model_dump(mode="json")))
    with pytest.raises(RunError) as error:
        build_report(swept(config, "tau"), root=tmp_path, params=params)
    assert f"python -m benchmarks repro --params '{params}' --sweep tau" in str(error.value)
    assert "benchmarks evaluate" not in str(error.value)


DAMAGES = [
    (lambda f: f[f["case"] != "p3_b"], "2 of 16 values missing"),
    (lambda f: pd.concat([f, f.iloc[:1]]), "1 values twice"),
    (lambda f: pd.concat([f, f.assign(seed=9)]), "not of the grid: .*seed 9"),
    (lambda f: f.rename(columns={"dice": "dsc"}), "has the columns"),
    (lambda f: f.drop(columns="nsd"), "has the columns"),
    (lambda f: f.assign(dataset="liver"), "holds rows of"),
    (lambda f: f.assign(dice=np.nan), "no number"),
    (lambda f: f.iloc[:0], "no rows"),
    (lambda f: f.assign(checkpoint="middle"), "not of the grid: .*checkpoint middle"),
    (lambda f: f.assign(dice=1.7, jaccard=1.7 / 0.3), r"'dice' outside of \[0, 1\]"),
    (lambda f: f.assign(dice=-3.0), r"'dice' outside of \[0, 1\]"),
    (lambda f: f.assign(dice=np.inf), "no number"),
    (lambda f: f.assign(dice=0.99), "'dice' and 'jaccard' that contradict each other"),
    (lambda f: f.assign(nsd=1.01), r"'nsd' outside of \[0, 1\]"),
    (lambda f: f.assign(hd95_mm=-5), "'hd95_mm' negative or infinite"),
    (lambda f: f.assign(assd_mm=np.inf), "'assd_mm' negative or infinite"),
    (lambda f: f.assign(ref_voxels=0), "numbers of voxels that contradict 'empty'"),
    (lambda f: f.assign(empty="nothing"), "numbers of voxels that contradict 'empty'"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_wrong_case_table_is_refused(
    tmp_path: Path, damage: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    config = make_config()
    source = write_scores(tmp_path, config) / "heart/supervised/cases.csv"
    put(damage(pd.read_csv(source, keep_default_na=False)), source)
    with pytest.raises(RunError, match=message):
        build_report(config, root=tmp_path)


@pytest.mark.parametrize("name", ["cases.csv", "steps.csv", "runs.csv"])
def test_scores_that_were_changed_or_are_of_other_runs_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    config = make_config()
    folder = write_scores(tmp_path, config) / "heart/supervised"
    text = (folder / name).read_text()
    (folder / name).write_text(text.replace("1", "2", 1))
    with pytest.raises(RunError, match=rf"{name} was changed after it was written"):
        build_report(config, root=tmp_path)
    (folder / name).write_text(text)
    build_report(config, root=tmp_path)
    monkeypatch.setattr(stale_module, "settings_of", lambda *_: "other")
    with pytest.raises(RunError, match="made with other parameters of training or method than now"):
        build_report(config, root=tmp_path)


def test_scores_of_another_split_or_of_other_data_are_refused(tmp_path: Path) -> None:
    config = make_config()
    write_scores(tmp_path, config)
    for path, words in (
        (split_file(tmp_path, "tiny", "heart"), "other split"),
        (prepared_folder(tmp_path, "tiny", "heart") / "dataset.json", "other data"),
    ):
        write_json(path, {"digest": "0ld"})
        with pytest.raises(RunError, match=f"made with {words} than now"):
            build_report(config, root=tmp_path)
        path.unlink()
    build_report(config, root=tmp_path)


def test_bound_folds_need_their_own_seed_alone(tmp_path: Path) -> None:
    config = make_config(folds=[0, 1], bound=True)
    source = write_scores(tmp_path, config) / "heart/supervised/cases.csv"
    frame = pd.read_csv(source)
    pairs = set(frame[["fold", "seed"]].itertuples(index=False, name=None))
    assert pairs == {(0, 0), (1, 1)}
    build_report(config, root=tmp_path)
    put(pd.concat([frame, frame[frame["fold"] == 0].assign(seed=1)]), source)
    with pytest.raises(RunError, match="not of the grid: 2 labelled, fold 0, seed 1"):
        build_report(config, root=tmp_path)


def test_kept_tables_may_be_older_but_must_be_of_the_grid(tmp_path: Path) -> None:
    config = make_config()
    with pytest.raises(RunError, match="without --kept"):
        build_report(config, root=tmp_path, kept=True)
    write_scores(tmp_path, config)
    build_report(config, root=tmp_path)
    folder = tmp_path / "reports/tiny"
    table = pd.read_csv(folder / "cases.csv", keep_default_na=False)
    older = table.drop(columns=["assd_mm", "nsd"])
    older.to_csv(folder / "cases.csv", index=False)
    (folder / "groups.csv").unlink()
    build_report(config, root=tmp_path, kept=True)
    page = (folder / "README.md").read_text()
    assert "NSD and ASSD are n/a" in page and "entropy split" not in page
    assert list(pd.read_csv(folder / "cases.csv").columns) == list(older.columns)
    fewer = make_config(methods=["supervised", "mean_teacher"])
    with pytest.raises(RunError, match="not of the grid"):
        build_report(fewer, root=tmp_path, kept=True)
    older[older["seed"] == 0].to_csv(folder / "cases.csv", index=False)
    with pytest.raises(RunError, match="missing 2 labelled, fold 0, seed 1"):
        build_report(config, root=tmp_path, kept=True)


def test_damaged_or_unequal_showcase_is_refused(tmp_path: Path) -> None:
    config = make_config()
    folder = write_scores(tmp_path, config)
    for name in ("supervised", "mean_teacher"):
        write_showcase(tmp_path, config, "heart", name)
    path = folder / "heart/mean_teacher/showcase.npz"
    write_showcase(tmp_path, config, "heart", "mean_teacher", index=4)
    with pytest.raises(RunError, match="slice 4 of p0_a"):
        build_report(config, root=tmp_path)
    path.write_bytes(path.read_bytes()[:200])
    seal(path.parent)
    with pytest.raises(RunError, match="no readable file of slices"):
        build_report(config, root=tmp_path)


def test_folds_of_unequal_size_share_the_cell_of_a_method_with_all_labels() -> None:
    config = make_config()
    facts = Facts((), tuple(method_facts(config, m) for m in config.grid.methods))
    rows = [("full_supervised", 10), ("full_supervised", 9), ("supervised", 3)]
    frame = pd.DataFrame(rows, columns=["method", "labels"]).assign(dataset="heart", variant="")
    assert with_cell_labels(frame, facts)["labels"].tolist() == [10, 10, 3]
