"""Two streams of training samples read from memory-mapped arrays.

A sample's identity and crop are functions of (seed, stream, position) alone: every method sees the
same data in the same order, and a resumed run continues where it stopped. The unlabelled stream
never opens a mask.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from benchmarks.common.errors import ConfigError
from benchmarks.engine.augment import weak
from benchmarks.engine.job import Job
from benchmarks.engine.seeding import derive, generator
from datasets.preparing.store import Case, Prepared
from methods.base import Batch

_IMAGE_BYTES = 4  # float32; masks have one byte


@dataclass(frozen=True)
class StreamConfig:
    """How a stream is drawn.

    Attributes:
        name: `labeled` or `unlabeled`, part of its random stream.
        batch: samples per step.
        patch: random crop (*S, voxels), or None for the whole grid.
        seed: of the run.
    """

    name: str
    batch: int
    patch: tuple[int, ...] | None
    seed: int


class Stream:
    """Endless shuffled passes over the samples of some cases.

    A sample is a slice (2D) or a volume (3D).

    Args:
        data: prepared data set.
        cases: where the samples come from.
        config: how they are drawn.
        with_label: False opens no mask file.
        resident: device that holds all arrays from the start; None leaves them on disk, mapped.

    Raises:
        ConfigError: no cases, or a patch of the wrong number of axes.
    """

    def __init__(
        self,
        data: Prepared,
        cases: Sequence[Case],
        config: StreamConfig,
        *,
        with_label: bool,
        resident: torch.device | None = None,
    ) -> None:
        if not cases:
            raise ConfigError(
                f"no cases for the {config.name} stream of {data.dataset}; label fewer patients"
                " (data.<dataset>.labels) or take fewer for validation and test"
            )
        if config.patch is not None and len(config.patch) != data.ndim:
            raise ConfigError(
                f"train.patch has {len(config.patch)} axes, {data.dataset} needs {data.ndim}"
            )
        self._config = config
        self._ids = [c.case for c in cases]
        self._images = [_tensor(data.image(c.case), resident) for c in cases]
        self._labels = [_tensor(data.label(c.case), resident) for c in cases] if with_label else []
        self._samples = [
            (i, d)
            for i, c in enumerate(cases)
            for d in (range(c.grid_shape[0]) if data.ndim == 2 else (-1,))
        ]

    def __len__(self) -> int:
        """Number of samples in one pass."""
        return len(self._samples)

    def ids(self, step: int) -> list[str]:
        """Cases, with slices in 2D, that a step reads."""
        first = step * self._config.batch
        chosen = [self._samples[self._order(p)] for p in range(first, first + self._config.batch)]
        return [self._ids[c] + (f" slice {d}" if d >= 0 else "") for c, d in chosen]

    def read(self, step: int) -> tuple[Tensor, Tensor | None]:
        """Samples of one step: images (N, C, *S) float32 and labels (N, *S) uint8 or None."""
        first = step * self._config.batch
        samples = [self._sample(p) for p in range(first, first + self._config.batch)]
        labels = [label for _, label in samples if label is not None]
        return torch.stack([image for image, _ in samples]), torch.stack(labels) if labels else None

    def _sample(self, position: int) -> tuple[Tensor, Tensor | None]:
        rng = np.random.default_rng(derive(self._config.seed, self._config.name, "crop", position))
        case, depth = self._samples[self._order(position)]
        image = self._images[case]
        label = self._labels[case] if self._labels else None
        if depth >= 0:
            image, label = image[:, depth], None if label is None else label[depth]
        patch = self._config.patch
        if patch is None:
            return image, label
        window = _window(rng, image.shape[1:], patch)
        return _cut(image, window, patch), None if label is None else _cut(label, window, patch)

    def _order(self, position: int) -> int:
        epoch, index = divmod(position, len(self._samples))
        if getattr(self, "_epoch", None) != epoch:
            rng = np.random.default_rng(derive(self._config.seed, self._config.name, epoch))
            self._epoch, self._permutation = epoch, rng.permutation(len(self._samples))
        return int(self._permutation[index])


def _window(
    rng: np.random.Generator, shape: Sequence[int], patch: Sequence[int]
) -> tuple[slice, ...]:
    """A uniformly drawn crop window; an axis shorter than the patch is taken whole."""
    starts = [int(rng.integers(0, max(s - p, 0) + 1)) for s, p in zip(shape, patch, strict=True)]
    return tuple(slice(a, a + min(s, p)) for a, s, p in zip(starts, shape, patch, strict=True))


def _cut(array: Tensor, window: tuple[slice, ...], patch: Sequence[int]) -> Tensor:
    """Crop the spatial axes (after C, if there is one) and pad their ends with zeros."""
    crop = array[:, *window] if array.ndim > len(window) else array[window]
    missing = [p - s for p, s in zip(patch, crop.shape[-len(patch) :], strict=True)]
    if any(missing):
        crop = F.pad(crop, [n for m in reversed(missing) for n in (0, m)])
    return crop


def _tensor(array: NDArray[Any], resident: torch.device | None) -> Tensor:
    """A mapped array as a tensor on its pages, or as a copy on a device."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the pages are read-only, and nobody writes
        tensor = torch.from_numpy(array)
    return tensor if resident is None else tensor.to(resident)


def resident_on(device: torch.device, data: Prepared, patients: Sequence[str]) -> bool:
    """Whether the training arrays are kept on the device: CUDA with four times the memory free."""
    if device.type != "cuda":
        return False
    voxels = sum(math.prod(c.grid_shape) for c in data.of_patients(patients))
    size = voxels * (_IMAGE_BYTES * len(data.channels) + 1)
    return 4 * size < torch.cuda.mem_get_info(device)[0]


class Loader:
    """Batches of both streams on the device, augmented; the next one is read ahead in a thread.

    Args:
        labeled: stream with masks.
        unlabeled: stream without, or None.
        policy: augmentation policy.
        device: where batches go; memory is pinned for CUDA.
        seed: of the run.
        quarter_turns: whether images may be turned by multiples of 90 degrees.
    """

    def __init__(
        self,
        labeled: Stream,
        unlabeled: Stream | None,
        *,
        policy: str,
        device: torch.device,
        seed: int,
        quarter_turns: bool = True,
    ) -> None:
        self._labeled, self._unlabeled = labeled, unlabeled
        self._policy, self._device, self._seed = policy, device, seed
        self._quarter_turns = quarter_turns
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="loader")
        self._ahead: tuple[int, Future[tuple[Tensor, Tensor, Tensor]]] | None = None

    def batch(self, step: int) -> Batch:
        """The batch of an iteration; the same step always gives the same batch."""
        if self._ahead is not None and self._ahead[0] == step:
            image, label, unlabeled = self._ahead[1].result()
        else:
            image, label, unlabeled = self._read(step)
        self._ahead = (step + 1, self._reader.submit(self._read, step + 1))
        image, label, unlabeled = (
            x.to(self._device, non_blocking=True) for x in (image, label, unlabeled)
        )
        image, augmented = weak(
            image,
            label,
            policy=self._policy,
            generator=generator(self._seed, "labeled", "weak", step),
            quarter_turns=self._quarter_turns,
        )
        unlabeled, _ = weak(
            unlabeled,
            None,
            policy=self._policy,
            generator=generator(self._seed, "unlabeled", "weak", step),
            quarter_turns=self._quarter_turns,
        )
        label = label if augmented is None else augmented
        return Batch(image=image, label=label.long(), unlabeled=unlabeled)

    def ids(self, step: int) -> list[str]:
        """Cases of both streams that a step reads, labelled first."""
        streams = [s for s in (self._labeled, self._unlabeled) if s is not None]
        return [name for stream in streams for name in stream.ids(step)]

    def close(self) -> None:
        """Stop the reading thread."""
        self._reader.shutdown(cancel_futures=True)

    def _read(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        image, label = self._labeled.read(step)
        if label is None:
            raise ValueError("the labelled stream was opened without its masks")
        unlabeled = image[:0] if self._unlabeled is None else self._unlabeled.read(step)[0]
        if self._device.type == "cuda" and image.device.type == "cpu":
            # Lets the copy overlap with computing.
            return image.pin_memory(), label.pin_memory(), unlabeled.pin_memory()
        return image, label, unlabeled


def make_loader(job: Job, device: torch.device) -> Loader:
    """Both streams of a run: the labelled patients with masks, the other training patients without.

    Args:
        job: the run.
        device: where batches go.
    """
    train = job.train
    sizes = job.batch_sizes
    known = job.fold.labeled(job.labels)
    rest = [patient for patient in job.fold.train if patient not in set(known)]
    resident = device if resident_on(device, job.data, job.fold.train) else None
    labeled = Stream(
        job.data,
        [c for c in job.data.of_patients(known) if c.labeled],
        StreamConfig("labeled", sizes[0], train.patch, job.seed),
        with_label=True,
        resident=resident,
    )
    unlabeled = None
    if sizes[1]:
        config = StreamConfig("unlabeled", sizes[1], train.patch, job.seed)
        cases = job.data.of_patients(rest)
        unlabeled = Stream(job.data, cases, config, with_label=False, resident=resident)
    return Loader(
        labeled,
        unlabeled,
        policy=train.augment,
        device=device,
        seed=job.seed,
        quarter_turns=job.method.quarter_turns,
    )
