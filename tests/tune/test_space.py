"""What is searched: ranges, the benchmark of a trial, and where values are written."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import optuna
import pytest
import yaml
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import create_trial

from benchmarks.common.errors import ConfigError
from benchmarks.common.workspace import PRESETS, ROOT
from benchmarks.config import BenchmarkConfig, MonaiConfig, load_config
from benchmarks.plan.grid import base_of
from benchmarks.plan.resolve import dimension, method_params
from benchmarks.tune.results import apply_best
from benchmarks.tune.space import Range, declared_ranges, parse_range, space_of
from benchmarks.tune.study import Plan, trial_config
from methods import load_method
from tests.tune.small import CONFIG, DATA, PARAMS, changed, make_plan

TRAIN = CONFIG.train
SHIPPED = [ROOT / "params.yaml", *sorted((ROOT / PRESETS).glob("*/params.yaml"))]


def test_ranges_are_declared_or_given() -> None:
    params = load_method("egcl_net").Params
    assert declared_ranges(params) == [
        Range("tau", 0.1, 0.75),
        Range("tau_c", 0.05, 0.5, log=True),
        Range("lam_con", 0.01, 1.0, log=True),
    ]
    assert parse_range("tau_c=0.1:1:log", "egcl_net", TRAIN) == Range("tau_c", 0.1, 1, log=True)
    assert parse_range("anchors=16:64", "egcl_net", TRAIN) == Range("anchors", 16, 64, integer=True)
    with pytest.raises(ConfigError, match="declares a range"):
        space_of("supervised", [], TRAIN)


def test_settings_of_training_have_the_type_of_their_field() -> None:
    lr = parse_range("train.optimizer.lr=0.01:0.2:log", "supervised", TRAIN)
    assert lr == Range("train.optimizer.lr", 0.01, 0.2, log=True)
    batch = parse_range("train.labeled_batch=1:4", "supervised", TRAIN)
    trial = optuna.create_study().ask()
    assert batch.integer and type(batch.draw(trial)) is int
    monai = TRAIN.model_copy(update={"network": MonaiConfig(kind="monai")})
    dropout = parse_range("train.network.dropout=0.1:0.5", "supervised", monai)
    assert dropout == Range("train.network.dropout", 0.1, 0.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tau=1", "LOW:HIGH"),
        ("tau=0.5:0.1", "LOW:HIGH"),
        ("tau=a:b", "LOW:HIGH"),
        ("tau=nan:1", "LOW:HIGH"),
        ("tau_c=0:1:log", "LOW:HIGH"),
        ("tau=0.1:0.2:lin", "LOW:HIGH"),
        ("tau=0.1:0.2:log:x", "LOW:HIGH"),
        ("train.labeled_batch=1.5:4", "whole numbers"),
        ("tauc=0.1:0.2", "did you mean 'tau_c'"),
        ("train.optimizer.lrr=0.1:0.2", "did you mean 'train.optimizer.lr'"),
        ("train.labelled_batch=1:4", "did you mean 'train.labeled_batch'"),
        ("train.network.dropout=0.1:0.5", "Allowed: train.network.channels"),
        ("train.validations.x=1:4", "no setting"),
        ("train.augment=0:1", "is no number"),
        ("train.compile=0:1", "is no number"),
        ("train.network.channels=1:4", "is no number"),
        ("train.optimizer=0:1", "is no number"),
        ("split=0:1", "is no number"),
        ("train.iterations=10:20", "budgets would not be equal.*--iterations"),
    ],
)
def test_bad_ranges_are_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_range(text, "egcl_net", TRAIN)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda path: path.parent.name)
def test_every_shipped_benchmark_can_be_tuned(file: Path) -> None:
    """A trial's values are those of the method, and all else is as in the file."""
    config = load_config(file)
    dataset = config.grid.datasets[0]
    ids = [base_of(method) for method in config.grid.methods]
    found = {m: declared_ranges(load_method(m).Params) for m in ids}
    method = next((m for m, ranges in found.items() if ranges), ids[0])
    values = {r.name: r.high for r in found[method]}
    plan = Plan(config, dataset, method, 3, config.grid.folds[-1], (0, 1), (), 1)
    trial = trial_config(plan, {**values, "train.optimizer.lr": 0.5}, f"{method}-t0000")
    (row,) = trial.grid.methods
    params = method_params(trial, row, dimension(trial, dataset))
    usual = method_params(config, method, dimension(config, dataset))
    assert params == usual.model_copy(update=values)
    train = trial.train_for(dataset)
    assert train.optimizer.lr == 0.5
    assert train.model_copy(update={"optimizer": None}) == config.train_for(dataset).model_copy(
        update={"optimizer": None}
    )
    assert trial.grid.pairs == tuple((config.grid.folds[-1], seed) for seed in (0, 1))


OVERRIDES: list[dict[str, Any]] = [
    {},
    {"optimizer": {"lr": 0.2}},
    {"optimizer": {"kind": "adam"}},  # another kind replaces the block of `train`
    {"optimizer": {"kind": "sgd", "power": 1.0}},
]


def overridden(train: dict[str, Any]) -> dict[str, Any]:
    return changed(PARAMS, **{f"data__{DATA}__train": train})


@pytest.mark.parametrize("train", OVERRIDES)
def test_values_of_a_trial_win(train: dict[str, Any]) -> None:
    config = BenchmarkConfig.model_validate(overridden({**train, "labeled_batch": 3}))
    values = {"train.optimizer.lr": 0.05, "train.labeled_batch": 1}
    made = trial_config(make_plan(config=config), values, "mean_teacher-t0000")
    usual = config.train_for(DATA)
    lr = usual.optimizer.model_copy(update={"lr": 0.05})
    assert made.train_for(DATA) == usual.model_copy(update={"labeled_batch": 1, "optimizer": lr})


def apply_values(best: dict[str, float], file: Path, method: str = "mean_teacher") -> None:
    """As a search does whose only trial had these values."""
    ends: dict[str, BaseDistribution] = {name: FloatDistribution(0, 1) for name in best}
    study = optuna.create_study(direction="maximize")
    study.add_trial(create_trial(params=best, distributions=ends, value=0.5))
    config = BenchmarkConfig.model_validate(yaml.safe_load(file.read_text("ascii", "ignore")))
    plan = replace(make_plan(config=config), method=method)
    apply_best(study, plan, file, file.with_name(".apply.lock"))


@pytest.mark.parametrize("train", OVERRIDES)
def test_best_values_are_written_where_they_win(train: dict[str, Any], tmp_path: Path) -> None:
    """In `train`, unless the data set overrides it."""
    tree = changed(overridden(train), train__optimizer={"lr": 0.1})
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(tree))
    apply_values({"train.optimizer.lr": 1.2345678e-5, "weight": 0.5}, file)
    made = load_config(file)
    assert made.train_for(DATA).optimizer.lr == 1.23457e-5
    wins = train in OVERRIDES[1:3]
    assert made.train.optimizer.lr == (0.1 if wins else 1.23457e-5)
    inside = made.data[DATA].train.get("optimizer", {})
    assert ("lr" in inside) == wins
    assert made.methods["mean_teacher"] == {"weight": 0.5}


APPLY = """
import sys
from pathlib import Path
from tests.tune.test_space import apply_values

apply_values({"weight": 0.5}, Path(sys.argv[1]))
"""


def test_a_file_of_another_language_takes_values_in_every_locale(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(f"# Größe\n{yaml.safe_dump(PARAMS)}", encoding="utf-8")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", APPLY, str(file)]
    subprocess.run(command, env={**os.environ, **ascii_only}, cwd=ROOT, check=True)
    assert file.read_text(encoding="utf-8").startswith("# Größe\n")
    assert load_config(file).methods["mean_teacher"] == {"weight": 0.5}
    file.write_bytes(file.read_bytes() + "# Größe".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"cannot read '.*params\.yaml': 'utf-8' codec"):
        apply_values({"weight": 0.5}, file)


def test_searches_that_apply_at_once_keep_each_other_s_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one comes when the first one has read the file and not written it yet."""
    file, second = tmp_path / "params.yaml", list[Thread]()
    file.write_text(yaml.safe_dump(PARAMS))

    def read(path: Path) -> BenchmarkConfig:
        if not second:
            second.append(Thread(target=apply_values, args=({"tau": 0.25}, file, "egcl_net")))
            second[0].start()
            second[0].join(1)
        return load_config(path)

    monkeypatch.setattr("benchmarks.tune.results.load_config", read)
    apply_values({"weight": 0.5}, file)
    second[0].join()
    made = load_config(file)
    assert made.methods["mean_teacher"] == {"weight": 0.5}
    assert made.methods["egcl_net"]["tau"] == 0.25
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
