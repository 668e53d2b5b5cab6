"""A benchmark so small that a run takes a second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.common.files import file_digest
from benchmarks.common.schema import check
from benchmarks.common.workspace import ROOT, prepared_folder, split_file
from benchmarks.config import BenchmarkConfig
from benchmarks.engine.augment import DRAWS, plan_moves, weak
from benchmarks.engine.job import Job
from benchmarks.engine.trainer import Hooks
from benchmarks.plan.identity import link_code
from benchmarks.plan.resolve import open_job, resolve
from datasets import load_dataset
from datasets.preparing.divide import make_split, patients_of
from datasets.preparing.prepare import prepare
from datasets.preparing.split import save_split
from methods import method_ids

QUIET = Hooks(report=lambda _done, _note: None, stop=lambda: False)


def tiny_data() -> dict[str, Any]:
    """The block `data` of a phantom that is fetched, prepared and divided in seconds."""
    return {
        "phantom_acdc": {
            "labels": [2],
            "fetch": {"patients": 8, "matrix": 32},
            "prepare": {"size": [32, 32]},
            "split": {"scheme": "seeded", "val": 2, "test": 2},
            "train": {},
        }
    }


def make_config(
    dataset: str = "phantom_acdc", *, seeds: Sequence[int] = (0,), **train: object
) -> BenchmarkConfig:
    three_d = dataset == "phantom_brats2019"
    value = {
        "name": "small",
        "grid": {"datasets": [dataset], "methods": method_ids(), "seeds": seeds},
        "data": {
            dataset: {
                "labels": [2],
                "fetch": {"patients": 6, "matrix": 32},
                "prepare": {} if three_d else {"size": [32, 32]},
                "split": {"scheme": "seeded", "val": 1, "test": 1},
            }
        },
        "train": {
            "iterations": 6,
            "labeled_batch": 2,
            "unlabeled_batch": 2,
            "patch": [16, 16, 16] if three_d else None,
            "inference": "whole",
            "network": {"kind": "unet", "channels": [4, 4, 8, 8]},
            "validations": 2,
            **train,
        },
        # The stages of the methods are over before so short a run is.
        "methods": {name: {} for name in method_ids()} | {"ad_mt": {"copy_steps": 2}},
    }
    return check(BenchmarkConfig, value)


def build(root: Path, config: BenchmarkConfig) -> None:
    (dataset,) = config.grid.datasets
    adapter = load_dataset(dataset)
    block = config.data[dataset]
    raw = root / "data/raw" / dataset
    adapter.fetch(raw, check(adapter.FetchParams, block.fetch))
    data = prepare(
        adapter,
        raw,
        prepared_folder(root, config.name, dataset),
        check(adapter.Params, block.prepare),
    )
    split = make_split(patients_of(data), dataset, block.split, adapter.public_splits())
    save_split(split, split_file(root, config.name, dataset))
    link_code(ROOT, root)  # which the identity of a run covers


def stop_at(step: int) -> Hooks:
    """Hooks that ask for a stop once a step has been reported."""
    seen: list[int] = []
    return replace(
        QUIET,
        report=lambda done, _note: seen.append(done),
        stop=lambda: max(seen, default=0) >= step,
    )


def job_of(root: Path, folder: Path, method: str, config: BenchmarkConfig | None = None) -> Job:
    config = config or make_config()
    (run,) = resolve(config, config.grid.datasets[0], method, root)
    folder.mkdir(parents=True, exist_ok=True)
    return open_job(run, root, folder)


def weights(folder: Path) -> dict[str, str]:
    return {name: file_digest(folder / f"{name}.safetensors") for name in ("last", "best")}


def moved(
    image: Tensor,
    label: Tensor | None,
    *,
    policy: str,
    generator: torch.Generator,
    quarter_turns: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """Weak augmentation with numbers from a generator."""
    draw = torch.rand(len(image), DRAWS, generator=generator)
    moves = plan_moves(
        draw, image.shape[2:], quarter_turns=quarter_turns, upright=policy == "rotate"
    )
    return weak(image, label, moves, policy=policy)
