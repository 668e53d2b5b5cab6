"""What to change when memory ran out: what the run needs against what was free."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.common.errors import RunError
from benchmarks.config import TrainConfig
from benchmarks.engine.job import Job, build_method
from benchmarks.engine.nets import stride
from methods.base import Batch, Method, Progress

_CPU_FULL = "can't allocate memory"  # how PyTorch's CPU allocator says it
_MEMINFO = Path("/proc/meminfo")  # of Linux alone
_FLOAT = 4  # bytes
# Copies of every trained weight: itself, its gradient, and the optimiser's momenta.
_COPIES = {"sgd": 3, "adam": 4, "adamw": 4}
# The step that is measured: at most so many voxels per axis, and so many images.
_SIZE = {2: 96, 3: 32}
_IMAGES = 4
_LATE = Progress(999, 1000)


@dataclass(frozen=True)
class Need:
    """Estimated memory of training.

    Attributes:
        weights: bytes of all networks, gradients and momenta.
        activations: bytes that one step keeps for its backward pass, in float32.
    """

    weights: int
    activations: int

    @property
    def total(self) -> int:
        """Bytes of both."""
        return self.weights + self.activations

    def __str__(self) -> str:
        parts = f"networks {gigabytes(self.weights)}, activations {gigabytes(self.activations)}"
        return f"about {gigabytes(self.total)} ({parts})"


def gigabytes(count: int) -> str:
    """Bytes as text."""
    return f"{count / 2**30:.2f} GB"


@contextmanager
def memory_advice(job: Job, device: torch.device) -> Iterator[None]:
    """Turn PyTorch's error into one that says what the run needs and which values to lower.

    Args:
        job: the run that is trained inside.
        device: where.

    Raises:
        RunError: memory ran out.
    """
    free = available(device)
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and _CPU_FULL not in str(error):
            raise
        train = job.train
        raise RunError(
            f"out of memory on {device}: the run needs {estimate(job)}, {gigabytes(free)} were"
            f" free when it started. Lower train.labeled_batch ({train.labeled_batch}),"
            f" train.unlabeled_batch ({train.unlabeled_batch}) or train.patch"
            f" ({train.patch or 'whole images'}), or run fewer at once (--jobs, of launch"
            " --workers)"
        ) from None


def estimate(job: Job) -> Need:
    """Memory of a run's step.

    Args:
        job: the run.
    """
    size = job.train.patch or job.data.cases[0].grid_shape[-job.data.ndim :]
    method = build_method(job, torch.device("cpu"))
    return need(method, job.train, size, len(job.data.channels), len(job.data.classes))


def need(
    method: Method[Any], train: TrainConfig, size: tuple[int, ...], channels: int, classes: int
) -> Need:
    """Memory of a step, from two smaller steps of the same method and network.

    What a step keeps is taken to be a constant, such as sampled features, and a part that grows
    with images and voxels; the two smaller steps differ in their voxels.

    Args:
        method: with networks of the wanted size.
        train: how it is trained.
        size: voxels of a training image along every axis.
        channels: of an image.
        classes: with the background.
    """
    trained = sum(p.numel() for p in method.parameters() if p.requires_grad)
    every = sum(t.numel() for t in method.state_dict().values())
    weights = _FLOAT * (every + (_COPIES[train.optimizer.kind] - 1) * trained)
    small = tuple(min(s, _SIZE[len(size)]) for s in size)
    half = (*small[:-1], small[-1] // 2)
    sizes = method.batch_sizes(method.params, _IMAGES // 2, _IMAGES // 2)
    kept = kept_bytes(method, _batch(method, sizes, small, channels, classes))
    less = 0
    if half[-1] % stride(train.network) == 0:
        less = kept_bytes(method, _batch(method, sizes, half, channels, classes))
    voxels = sum(sizes) * math.prod(small)
    slope = (kept - less) / (voxels / 2 if less else voxels)
    constant = kept - slope * voxels
    images = method.batch_sizes(method.params, train.labeled_batch, train.unlabeled_batch)
    return Need(weights, round(constant + slope * sum(images) * math.prod(size)))


def kept_bytes(method: Method[Any], batch: Batch) -> int:
    """Bytes that autograd keeps of a step's forward pass, weights left out."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            kept[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        terms = method.train().losses(batch, _LATE)
    del terms
    return sum(kept.values())


def _batch(
    method: Method[Any], sizes: tuple[int, int], size: tuple[int, ...], channels: int, classes: int
) -> Batch:
    """Noise, and labels in equal stripes."""
    stripes = (torch.arange(size[-1]) * classes // size[-1]).expand(sum(sizes), *size)
    image = torch.randn(sum(sizes), channels, *size)
    return method.batch_of(image, stripes, sizes[0])


def available(device: torch.device) -> int:
    """Bytes that are free on the device, or in the machine for CPU.

    Without Linux's `/proc` they are the pages that no process has, or all of the machine's where
    the system does not count those.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if not _MEMINFO.is_file():
        pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf(pages)
    lines = dict(line.split(":") for line in _MEMINFO.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024
