"""What a run needs before its loop starts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.common.errors import ConfigError
from benchmarks.config import Network, TrainConfig
from benchmarks.engine.nets import Builder, stride, widths
from benchmarks.engine.seeding import derive
from datasets.preparing.split import Fold
from datasets.preparing.store import Prepared
from methods.base import Method, MethodParams
from methods.networks import SegNet

# Activations of the finest level for each thread of a step: with half as many (48 x 48 with 16
# channels, 8 images, two threads) the threads spent a quarter more CPU time than one.
_PER_THREAD = 1 << 18
# On CPUs with bf16, oneDNN 3.12 (PyTorch 2.14) leaves the weight gradient of 3 x 3 x 3 convolutions
# of stride 1 on maps of this depth unwritten: compared with float32, at all widths and heights, at
# no other depth up to 6, and not in 2D (channels 4 to 256, batches 1 to 8). Kernels of depth 5 are
# wrong up to a depth of 4, and may write beyond their memory; no network here has such.
_BROKEN_DEPTH = 2


@dataclass(frozen=True)
class Job:
    """Everything one run needs.

    Attributes:
        method: class to train.
        params: its parameters.
        train: training configuration.
        data: prepared data set.
        fold: patients of the fold; its test patients are not read here.
        labels: labelled patients.
        seed: of the run.
        digest: identity of the run.
        folder: where files of the unfinished run are kept.
    """

    method: type[Method[Any]]
    params: MethodParams
    train: TrainConfig
    data: Prepared
    fold: Fold
    labels: int
    seed: int
    digest: str
    folder: Path

    @property
    def batch_sizes(self) -> tuple[int, int]:
        """Labelled and unlabelled images of a step."""
        train = self.train
        return self.method.batch_sizes(self.params, train.labeled_batch, train.unlabeled_batch)


def build_method(job: Job, device: torch.device) -> Method[Any]:
    """The method with freshly initialised networks on the device.

    Weights depend on the seed and the order in which a method builds its networks alone.
    """
    data = job.data
    builder = Builder(
        job.train.network,
        ndim=data.ndim,
        in_channels=len(data.channels),
        classes=len(data.classes),
        seed=job.seed,
    )
    torch.manual_seed(derive(job.seed, "heads"))
    method: Method[Any] = job.method(builder, job.params, classes=len(data.classes), ndim=data.ndim)
    for net in method.modules():
        if isinstance(net, SegNet):
            net.to(memory_format=memory_format(job.train, data.ndim))
    return method.to(device)


def blank_image(job: Job, device: torch.device) -> Tensor:
    """Zeros (1, C, *S) of the size of a training image."""
    size = job.train.patch or job.data.cases[0].grid_shape[-job.data.ndim :]
    return torch.zeros(1, len(job.data.channels), *size, device=device)


def memory_format(train: TrainConfig, ndim: int) -> torch.memory_format:
    """Layout of the networks' weights, which their activations follow."""
    if not train.channels_last:
        return torch.contiguous_format
    return torch.channels_last if ndim == 2 else torch.channels_last_3d


def precision(train: TrainConfig, device: torch.device) -> torch.dtype:
    """Type in which networks compute; `amp: auto` is bf16 on CUDA and fp32 on CPU."""
    half = train.amp == "bf16" or (train.amp == "auto" and device.type == "cuda")
    return torch.bfloat16 if half else torch.float32


def autocast(train: TrainConfig, device: torch.device) -> torch.autocast:
    """Context in which networks compute in the run's precision."""
    dtype = precision(train, device)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def useful_threads(job: Job) -> int:
    """Threads that a step keeps busy on a CPU: a function of its size alone."""
    size = job.train.patch or job.data.cases[0].grid_shape[-job.data.ndim :]
    finest = sum(job.batch_sizes) * math.prod(size) * widths(job.train.network)[0]
    return max(1, finest // _PER_THREAD)


def check_sizes(job: Job, device: torch.device) -> None:
    """Refuse training images whose size the network or its arithmetic does not fit.

    Raises:
        ConfigError: names the size and the keys to change.
    """
    whole = sorted({c.grid_shape[-job.data.ndim :] for c in job.data.cases})
    sizes = [job.train.patch] if job.train.patch else whole
    for size in sizes:
        check_size(size, job.train.network, job.data.dataset)
    if len(sizes) > 1:
        raise ConfigError(
            f"cases of {job.data.dataset} differ in size {sizes[:3]}: set train.patch"
        )
    if device.type == "cpu" and precision(job.train, device) == torch.bfloat16:
        _refuse_shallow(job, sizes[0])


def check_size(size: Sequence[int], network: Network, dataset: str) -> None:
    """Refuse images that the network cannot halve often enough, or halves to one voxel.

    Raises:
        ConfigError: names the size, the multiple and the keys to change.
    """
    multiple = stride(network)
    if any(s % multiple for s in size):
        raise ConfigError(
            f"training images of {dataset} are {tuple(size)} voxels, but the network needs"
            f" multiples of {multiple}: set train.patch or data.{dataset}.prepare.size"
        )
    if getattr(network, "norm", "batch") == "instance" and all(s == multiple for s in size):
        raise ConfigError(
            f"training images of {dataset} are {tuple(size)} voxels, of which the network leaves"
            " one at its coarsest level, where instance norm has nothing to average: set"
            f" train.patch or data.{dataset}.prepare.size to more, or train.network.norm to batch"
        )


def _refuse_shallow(job: Job, size: Sequence[int]) -> None:
    """Refuse volumes of which the network makes maps that bf16 has no right gradient of.

    Raises:
        ConfigError: names the depth and the keys to change.
    """
    multiple = stride(job.train.network)
    depths = {size[0] // 2**k for k in range(multiple.bit_length())}
    if len(size) == 3 and _BROKEN_DEPTH in depths:
        raise ConfigError(
            f"training volumes of {job.data.dataset} are {size[0]} voxels deep, which the network"
            f" divides by {multiple}: convolutions on maps of depth {_BROKEN_DEPTH} have wrong"
            " gradients in bf16 on a CPU. Set train.amp to off, or a larger first number of"
            " train.patch"
        )
