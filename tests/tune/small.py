"""A benchmark of a phantom that trains for two steps, and studies of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna

from benchmarks.common.workspace import ROOT
from benchmarks.config import BenchmarkConfig
from benchmarks.pipeline import prepare_stage, split_stage
from benchmarks.plan.identity import link_code
from benchmarks.training.one import Place
from benchmarks.tune.opening import open_study
from benchmarks.tune.search import TuneOptions
from benchmarks.tune.space import Range
from benchmarks.tune.study import Plan, run_study
from datasets import load_dataset
from tests.engine.small import tiny_data

DATA = "phantom_acdc"
PARAMS: dict[str, Any] = {
    "name": "tiny",
    "grid": {"datasets": [DATA], "methods": ["mean_teacher", "egcl_net"], "seeds": [0]},
    "data": tiny_data(),
    "train": {
        "iterations": 2, "labeled_batch": 2, "unlabeled_batch": 2, "validations": 1,
        "network": {"kind": "unet", "channels": [4, 4, 8, 8]},
    },
    "methods": {"mean_teacher": {}, "egcl_net": {"anchors": 8, "keys": 16}},
}  # fmt: skip
CONFIG = BenchmarkConfig.model_validate(PARAMS)
OPTIONS = TuneOptions(
    labels=2, trials=3, seeds=(0, 1), iterations=None, parameters=(), timeout=None, jobs=1,
    storage=None, apply=None, device="cpu", fold=None,
)  # fmt: skip
BASIS = {"seeds": [0, 1]}


def changed(tree: Mapping[str, Any], **values: object) -> dict[str, Any]:
    """Parameters with other values, by names with __ for a block."""
    made = dict(tree)
    for name, value in values.items():
        key, _, inner = name.partition("__")
        made[key] = changed(made.get(key, {}), **{inner: value}) if inner else value
    return made


def make_checkout(root: Path, *configs: BenchmarkConfig) -> Path:
    """A folder with the code linked, and the phantom prepared and split for benchmarks."""
    link_code(ROOT, root)
    adapter = load_dataset(DATA)
    options = adapter.FetchParams.model_validate(CONFIG.data[DATA].fetch)
    adapter.fetch(root / "data/raw" / DATA, options)
    for config in configs:
        prepare_stage(config, DATA, root, jobs=1)
        split_stage(config, DATA, root)
    return root


def make_plan(**given: Any) -> Plan:
    """Two trials of one parameter of Mean Teacher, or what is given."""
    space = (Range("weight", 0.01, 1.0, log=True),)
    fields = {"config": CONFIG, "fold": 0, "seeds": (0, 1), "space": space, "trials": 2, "jobs": 1}
    return Plan(dataset=DATA, method="mean_teacher", labels=2, **{**fields, **given})


def search(
    plan: Plan, folder: Path, url: str | None = None, say: Callable[[str], None] = print
) -> optuna.Study:
    """Open the study "s" in a folder and do its trials."""
    opened = open_study(BASIS, name="s", folder=folder, url=url)
    run_study(plan, Place(folder), opened.study, opened.sharing, say)
    return opened.study


def drawn(plan: Plan, trial: optuna.Trial, _: Place) -> float:
    """In place of a score: the values that are drawn, and nothing trained."""
    return float(sum(r.draw(trial) for r in plan.space))
