"""The GPU path: nothing of it was measured on the machine this project was made on, which has none.

`make speed` on a machine with CUDA runs these and adds their rows to reports/speed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.engine.loader import Loader
from benchmarks.engine.streams import Stream, StreamConfig
from benchmarks.engine.trainer import Trainer
from tests.engine.small import QUIET, build, job_of, make_config
from tests.speed.conftest import Compare

pytestmark = [
    pytest.mark.speed,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CHANNELS = [16, 32, 64, 128, 256]
STEPS = 10  # per timing, so that the wait for the device weighs little


def trainer_of(root: Path, name: str, **train: Any) -> Trainer:
    """The protocol's 2D step: 12 + 12 slices of 256 through its U-Net."""
    config = make_config(
        labeled_batch=12, unlabeled_batch=12, iterations=10_000,
        network={"kind": "unet", "channels": CHANNELS}, **train,
    )  # fmt: skip
    block = config.data["phantom_acdc"].model_copy(
        update={"prepare": {"size": [256, 256]}, "fetch": {"patients": 6, "matrix": 256}}
    )
    config = config.model_copy(update={"data": {"phantom_acdc": block}})
    if not (root / "data").exists():
        build(root, config)
    return Trainer(job_of(root, root / name, "mean_teacher", config), torch.device("cuda"), QUIET)


def several(trainer: Trainer) -> Callable[[], None]:
    count = itertools.count()

    def steps() -> None:
        for _ in range(STEPS):
            trainer.step(next(count))
        torch.cuda.synchronize()

    return steps


@pytest.mark.parametrize(
    ("name", "ours", "other"),
    [
        ("bf16 / float32", {"amp": "bf16"}, {"amp": "off"}),
        ("channels_last / contiguous", {"channels_last": True}, {"channels_last": False}),
        ("compiled / plain", {"compile": True}, {"compile": False}),
        ("augmented / not augmented", {"augment": "suite"}, {"augment": "none"}),
    ],
)
def test_step_on_cuda(
    name: str, ours: dict[str, object], other: dict[str, object], compare: Compare, tmp_path: Path
) -> None:
    first, second = trainer_of(tmp_path, "a", **ours), trainer_of(tmp_path, "b", **other)
    ratio = compare(
        f"CUDA step, {name} (2D, 256, 12 + 12)", several(first), several(second),
        most=float("nan"), rounds=7,
    )  # fmt: skip
    assert 0.05 < ratio < 20


def test_resident_data_on_cuda(compare: Compare, tmp_path: Path) -> None:
    """Batches from arrays on the device against arrays that are mapped, pinned and copied."""
    cuda = torch.device("cuda")
    job = trainer_of(tmp_path, "a").job
    cases = job.data.of_patients(job.fold.train)
    loaders = []
    for resident in (True, False):
        streams = [
            Stream(
                job.data, cases, StreamConfig(name, 12, None, 0), with_label=name == "labeled",
                device=cuda, resident=resident,
            )
            for name in ("labeled", "unlabeled")
        ]  # fmt: skip
        loaders.append(
            Loader(streams[0], streams[1], policy="suite", device=cuda, ahead=not resident)
        )
    count = itertools.count()

    def read(loader: Loader) -> Callable[[], None]:
        def call() -> None:
            for _ in range(STEPS):
                loader.batch(next(count))
            torch.cuda.synchronize()

        return call

    ratio = compare(
        "CUDA loader, resident / pinned copies (24 slices of 256)", read(loaders[0]),
        read(loaders[1]), most=float("nan"), rounds=7,
    )  # fmt: skip
    assert 0.01 < ratio < 10
