"""Times of steps on a device: those of every method, and SSL4MIS's.

`make gpu` takes the size of the protocol; a test rehearses it on the CPU with small images.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.engine.graph import CudaRecording, Graphed, Recording
from benchmarks.engine.nets import Builder
from benchmarks.engine.trainer import Trainer
from tests.engine.small import QUIET, build, job_of, make_config
from tests.engine.tape import Tape, state
from tests.gpu.baseline import stepper

Row = dict[str, str | float]
DATASETS = {2: "phantom_acdc", 3: "phantom_brats2019"}
# Late in a run, when all terms are at work, and between two steps that are logged or probed.
_TOTAL, FIRST = 10_000, 9_001
WARM = 5  # steps: three before a recording, its own, and one that is played


@dataclass(frozen=True)
class Size:
    """Of a step.

    Attributes:
        ndim: 2 or 3.
        voxels: along every axis of an image.
        images: labelled ones, and as many unlabelled.
        channels: of the U-Net.
        steps: in a timing.
        rounds: timings, of which the median counts.
    """

    ndim: int
    voxels: int
    images: int
    channels: tuple[int, ...] = (16, 32, 64, 128, 256)
    steps: int = 6
    rounds: int = 3

    @property
    def norm(self) -> str:
        """That of SSL4MIS's network of the dimension."""
        return "batch" if self.ndim == 2 else "instance"

    @property
    def words(self) -> str:
        """Such as "2D, 256, 12 + 12"."""
        return f"{self.ndim}D, {self.voxels}, {self.images} + {self.images}"


# SSL4MIS: 24 slices of 256 x 256, 4 crops of 96^3, one half labelled.
PAPER = (Size(2, 256, 12), Size(3, 96, 2, steps=4))
# Of the preset `acdc_cpu`: a step that does not fill a card.
SMALL = Size(2, 96, 4, channels=(16, 32, 64, 128), steps=20)


def prepared(root: Path, size: Size) -> Path:
    """A root with a prepared phantom for a size."""
    if not (root / "data").exists():
        build(root, _config(size))
    return root


def _config(size: Size, **train: Any) -> Any:
    dataset = DATASETS[size.ndim]
    config = make_config(
        dataset, labeled_batch=size.images, unlabeled_batch=size.images, iterations=_TOTAL,
        patch=[size.voxels] * 3 if size.ndim == 3 else None, augment="ssl4mis",
        network={"kind": "unet", "channels": list(size.channels), "norm": size.norm}, **train,
    )  # fmt: skip
    matrix = size.voxels if size.ndim == 2 else max(32, size.voxels * 3 // 2)
    block = config.data[dataset].model_copy(
        update={
            "fetch": {"patients": 6, "matrix": matrix},
            "prepare": {"size": [size.voxels] * 2} if size.ndim == 2 else {},
        }
    )
    return config.model_copy(update={"data": {dataset: block}})


def make_trainer(
    root: Path, name: str, size: Size, device: torch.device, folder: str, **train: Any
) -> Trainer:
    """A run that is ready for its first step."""
    job = job_of(root, root / folder, name, _config(size, **train))
    return Trainer(job, device, QUIET)


def _recording(trainer: Trainer) -> Recording:
    """A CUDA graph, or on the CPU what stands for one in tests."""
    if trainer.device.type == "cuda":
        return CudaRecording()
    return Tape(partial(state, trainer))


def played(trainer: Trainer) -> Callable[[int], object]:
    return partial(trainer.played_step, Graphed(partial(_recording, trainer), trainer.device))


def wait(device: torch.device) -> None:
    """Until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def milliseconds(step: Callable[[int], object], size: Size, device: torch.device) -> float:
    """Median time of a step, warmed up, with the wait for the device at the end of each timing."""
    for number in range(FIRST, FIRST + WARM):
        step(number)
    wait(device)
    spent, number = [], FIRST + WARM
    for _ in range(size.rounds):
        started = time.perf_counter()
        for _ in range(size.steps):
            step(number)
            number += 1
        wait(device)
        spent.append(1e3 * (time.perf_counter() - started) / size.steps)
    return statistics.median(spent)


def _peak(device: torch.device) -> float:
    """Megabytes that PyTorch has taken of the device since the last call; NaN on a CPU."""
    if device.type != "cuda":
        return math.nan
    found = torch.cuda.max_memory_reserved(device) / 2**20
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    return found


def blank_row(method: str, size: Size, mode: str, ms: float = math.nan, **more: Any) -> Row:
    blank = {"memory_mb": math.nan, "runs": 1, "steps_per_s": 1e3 / ms, "note": ""}
    return {"method": method, "step": size.words, "mode": mode, "ms": ms, **blank, **more}


def method_rows(name: str, root: Path, size: Size, device: torch.device) -> Iterator[Row]:
    """A method's step in float32, in bf16, and in bf16 from a recording."""
    job = job_of(root, root / name, name, _config(size))  # opened once: its arrays are verified
    for amp in ("off", "bf16"):
        trainer = Trainer(
            replace(job, train=job.train.model_copy(update={"amp": amp})), device, QUIET
        )
        modes: dict[str, Callable[[int], object]]
        modes = {"eager float32" if amp == "off" else "eager bf16": trainer.step}
        why = trainer.job.method.uncaptured
        if amp == "bf16" and not why:
            modes["graph bf16"] = played(trainer)
        try:
            for mode, step in modes.items():
                _peak(device)
                ms = milliseconds(step, size, device)
                yield blank_row(name, size, mode, ms, memory_mb=_peak(device))
        finally:
            trainer.loader.close()
            del trainer, modes
    if why:
        yield blank_row(name, size, "graph bf16", note=f"never recorded: {why}")


def baseline_rows(root: Path, size: Size, device: torch.device) -> Iterator[Row]:
    """SSL4MIS's own Mean Teacher step on a batch of the same size."""
    trainer = make_trainer(root, "mean_teacher", size, device, "baseline")
    batch, job = trainer.loader.batch(0), trainer.job
    trainer.loader.close()
    build_net = Builder(
        job.train.network, ndim=size.ndim, in_channels=batch.image.shape[1],
        classes=len(job.data.classes), seed=0,
    )  # fmt: skip
    student, teacher = build_net().to(device), build_net().to(device)
    images, label = torch.cat([batch.image, batch.unlabeled]).cpu(), batch.label.cpu()
    del trainer
    # Its own switches; a trainer has set stricter ones.
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = True
    _peak(device)
    ms = milliseconds(stepper(student, teacher, images, label, device), size, device)
    torch.backends.cudnn.deterministic = False
    yield blank_row("mean_teacher", size, "SSL4MIS", ms, memory_mb=_peak(device))


TINY = tuple(replace(s, voxels=v, images=1, channels=(4, 8, 8, 8), steps=1, rounds=1)
             for s, v in zip(PAPER, (32, 16), strict=True))  # fmt: skip
