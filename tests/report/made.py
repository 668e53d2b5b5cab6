"""A benchmark on made-up hearts, and scores as `evaluate` would write them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import benchmarks.report.facts as facts_module
import benchmarks.report.stale as stale_module
from benchmarks.common.files import write_json
from benchmarks.common.ledger import COLUMNS as ENTRY
from benchmarks.common.workspace import (
    CASES,
    MECHANISMS,
    PSEUDO_LABELS,
    RUNS,
    SCORED,
    SHOWCASE,
    STEPS,
    external_folder,
    scores_folder,
)
from benchmarks.config import BenchmarkConfig
from benchmarks.report.facts import DatasetFacts
from benchmarks.scoring.cases import COLUMNS, ORIGIN_COLUMNS, seal
from benchmarks.scoring.pseudo_labels import COLUMNS as PSEUDO
from benchmarks.scoring.slices import Slice, Slices, write_slices

# Mean Dice of each method; the last one has all labels.
SKILL = {"supervised": 0.6, "mean_teacher": 0.7, "egcl_net-a5": 0.75, "full_supervised": 0.9}
SETTINGS = "5e77"
LOGGED = {
    "high_share": 0.123456, "high_foreground": 0.5, "low_known": 0.8, "high_known": 0.2,
    "low_correct": 0.8, "high_correct": 0.1, "positive_similarity": 0.9,
    "negative_similarity": 0.1, "inert_low": 0.25, "inert_high": 0.0, "inert_cross": 0.5,
}  # fmt: skip


def make_config(more: Mapping[str, Any] | None = None, **grid: Any) -> BenchmarkConfig:
    """Two seeds, 2 and 4 labelled patients, unless `grid` says otherwise."""
    values = {"datasets": ["heart"], "methods": list(SKILL), "baseline": "supervised"} | grid
    return BenchmarkConfig.model_validate(
        {
            "name": "tiny",
            "grid": {"seeds": [0, 1], **values},
            "data": {d: {"labels": [2, 4], "split": {}} for d in values["datasets"]},
            "train": {"iterations": 1, "labeled_batch": 1, "unlabeled_batch": 1},
            "methods": {name: {} for name in values["methods"]},
            **(more or {}),
        }
    )


def use_made_datasets(monkeypatch: pytest.MonkeyPatch, word: str = DatasetFacts.word) -> None:
    """Data sets exist by name alone; `heart` is a phantom, `patients` is not."""

    def fake(_: BenchmarkConfig, dataset: str) -> DatasetFacts:
        title = "Heart (synthetic phantom)" if dataset == "heart" else dataset.title()
        unit = "mm" if dataset == "heart" else "voxels"
        return DatasetFacts(dataset, title, dataset == "heart", unit, ("LV", "RV"), 2.0, word=word)

    monkeypatch.setattr(facts_module, "dataset_facts", fake)
    monkeypatch.setattr(stale_module, "settings_of", lambda *_: SETTINGS)


def leave_figures_undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are laid out, but their files stay empty: rendering takes most of a report's time."""

    def save(_: object, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path

    monkeypatch.setattr("benchmarks.report.style.save", save)


def case_rows(
    config: BenchmarkConfig, dataset: str, key: str, *, patients: int = 4, noise: float = 0.05
) -> pd.DataFrame:
    """Two frames and two classes per patient; other patients in every fold of a `cv` split."""
    name, _, variant = key.partition("-")
    rng = np.random.default_rng(len(key))
    labels = (8,) if name == "full_supervised" else config.data[dataset].labels
    rows = []
    for count, (fold, seed), check in itertools.product(
        labels, config.grid.pairs, ("best", "last")
    ):
        first = fold * patients if config.data[dataset].split.scheme == "cv" else 0
        for patient, frame, part in itertools.product(range(patients), "ab", ("LV", "RV")):
            who = f"p{first + patient}"
            dice = float(np.clip(SKILL.get(key, 0.7) + noise * rng.normal(), 0, 1))
            rows.append(
                (
                    *(config.name, dataset, name, variant, count, fold, seed, check),
                    *(f"{who}_{frame}", who, part, dice, dice / (2 - dice)),
                    *(3.0 + patient, 1.0, 1.5, 0.8, 90, 80, "none"),
                )
            )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def write_scores(root: Path, config: BenchmarkConfig, **options: Any) -> Path:
    """All scores of the grid; methods of EGCL-Net have logged a split of pixels."""
    for dataset, key in itertools.product(config.grid.datasets, config.grid.methods):
        folder = scores_folder(root, config.name, dataset, key)
        folder.mkdir(parents=True, exist_ok=True)
        frame = case_rows(config, dataset, key, **options)
        frame.to_csv(folder / CASES, index=False)
        runs = frame[["labels", "fold", "seed"]].drop_duplicates()
        steps = runs.merge(pd.DataFrame({"step": [50, 100], "loss": 1.0}), how="cross")
        made = {"code": "c0de", "digest": "1d", "settings": SETTINGS, "split": "", "data": ""}
        runs.assign(**made).to_csv(folder / RUNS, index=False)
        cells = [f"l{n}-f{fold}-s{seed}" for n, fold, seed in runs.itertuples(index=False)]
        weights = dict.fromkeys((f"{cell} last" for cell in cells), f"3e16 of {key}")
        write_json(folder / SCORED, {"code": "c0de", "weights": weights})
        write_ledger(folder, runs, key)
        split = LOGGED if key.startswith("egcl_net") else {}
        steps.assign(**split).to_csv(folder / STEPS, index=False)
        seal(folder)
    return root / "data/scores" / config.name


def write_ledger(folder: Path, runs: pd.DataFrame, key: str, **term: float) -> None:
    """Ten probes of every run; a method with unlabelled images has a second term, and a teacher."""
    probes = pd.DataFrame({"step": range(10, 101, 10)})
    base: Any = {"kind": "reference", "name": "supervised", "value": 1.0, "elements": np.nan}
    frames = [probes.assign(**base, gradient=2.0, relative=1.0, cosine=1.0)]
    networks = {"tested": 0.5}
    if "supervised" not in key:
        other = {"kind": "term", "name": "pull", "value": 0.1, "elements": 64.0}
        values: Any = {**other, "gradient": 0.5, "relative": 0.25, "cosine": -0.5, **term}
        frames.append(probes.assign(**values))
        networks["teacher"] = 0.625
    entries = runs.merge(pd.concat(frames), how="cross")
    entries[["labels", "fold", "seed", *ENTRY]].to_csv(folder / MECHANISMS, index=False)
    names = pd.DataFrame({"network": list(networks), "dice": list(networks.values())})
    labels = runs.merge(names.assign(patients=3, accuracy=0.75), how="cross")
    labels[list(PSEUDO)].to_csv(folder / PSEUDO_LABELS, index=False)


def put(frame: pd.DataFrame, source: Path) -> None:
    """Write scores as if they had been made so."""
    frame.to_csv(source, index=False)
    seal(source.parent)


def write_external(root: Path, config: BenchmarkConfig, seeds: list[int], split: str = "") -> Path:
    """Scores of `my_net` with 2 labels, 30 points above everybody, as `score` leaves them."""
    folder = external_folder(root, config.name) / "heart-my_net"
    folder.mkdir(parents=True, exist_ok=True)
    frame = case_rows(config, "heart", "my_net-external", noise=0.02)
    chosen = frame["seed"].isin(seeds) & (frame["labels"] == 2) & (frame["checkpoint"] == "last")
    frame = frame[chosen].assign(dice=lambda f: np.clip(f["dice"] + 0.25, 0, 1))
    frame = frame.assign(jaccard=frame["dice"] / (2 - frame["dice"]))
    frame.to_csv(folder / "cases.csv", index=False)
    rows = [("heart", "my_net", 2, 0, seed, False, 8, f"d{seed}", split) for seed in seeds]
    pd.DataFrame(rows, columns=list(ORIGIN_COLUMNS)).to_csv(folder / "external.csv", index=False)
    return folder


def write_showcase(
    root: Path, config: BenchmarkConfig, dataset: str, key: str, *, index: int = 3
) -> None:
    """A slice with two rings, predicted a little too low."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    truth = np.where(np.hypot(y, x) < 0.3, 1, np.where(np.hypot(y, x) < 0.5, 2, 0))
    folder = scores_folder(root, config.name, dataset, key)
    one = Slice(
        "p0_a",
        index,
        (255 * np.exp(-(y**2) - x**2)).astype(np.uint8),
        truth.astype(np.uint8),
        np.roll(truth, 3, axis=0).astype(np.uint8),
        (255 * np.hypot(y, x).clip(0, 1)).astype(np.uint8),
    )
    write_slices(Slices(2, 0, (one,)), folder / SHOWCASE)
    seal(folder)
