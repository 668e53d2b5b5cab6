"""A stream of training samples; a sample is a slice (2D) or a volume (3D).

A sample's identity, crop and motion are functions of (seed, stream, position) alone: every method
sees the same data in the same order, and a resumed run continues where it stopped. They are drawn
for many steps at once, so that a device gets them in one copy and is asked nothing in between.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from benchmarks.common.errors import ConfigError
from benchmarks.engine.augment import DRAWS, Moves, plan_moves
from benchmarks.engine.resident import Resident
from benchmarks.engine.seeding import derive, generator
from datasets.preparing.store import Case, Prepared

# Steps that are drawn at once; a run shorter than that pays for them all, about 30 us each.
_STEPS = 64


@dataclass(frozen=True)
class StreamConfig:
    """How a stream is drawn.

    Attributes:
        name: `labeled` or `unlabeled`, part of its random stream.
        batch: samples per step.
        patch: random crop (*S, voxels), or None for the whole grid.
        seed: of the run.
        quarter_turns: whether images may be turned by multiples of 90 degrees.
        upright: whether they are only rotated by small angles.
    """

    name: str
    batch: int
    patch: tuple[int, ...] | None
    seed: int
    quarter_turns: bool = True
    upright: bool = False


@dataclass(frozen=True)
class Samples:
    """Samples of one step.

    Attributes:
        image: (N, C, *S) float32.
        label: (N, *S) uint8, or None.
        moves: their weak augmentation, on the device.
    """

    image: Tensor
    label: Tensor | None
    moves: Moves


@dataclass(frozen=True)
class _Table:
    """What is drawn for steps in a row, one row for every sample.

    Attributes:
        first: step of the first row.
        sample: (R,) int64, number of the sample.
        start: (R, ndim) int64, first voxel of the crop; None for the whole grid.
        moves: of all rows.
    """

    first: int
    sample: Tensor
    start: Tensor | None
    moves: Moves


class Stream:
    """Endless shuffled passes over the samples of some cases.

    Args:
        data: prepared data set.
        cases: where the samples come from.
        config: how they are drawn.
        with_label: False opens no mask file.
        device: where the moves are needed.
        resident: whether the device holds all arrays; else they stay on disk, mapped.

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
        device: torch.device,
        resident: bool = False,
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
        self._config, self._device = config, device
        self._cases = list(cases)
        self._samples = [
            (i, d)
            for i, c in enumerate(cases)
            for d in (range(c.grid_shape[0]) if data.ndim == 2 else (-1,))
        ]
        self._shapes = [c.grid_shape[-data.ndim :] for c in cases]
        self._images = [_tensor(data.image(c.case)) for c in cases]
        self._labels = [_tensor(data.label(c.case)) for c in cases] if with_label else []
        self._table: _Table | None = None
        self._epoch, self._permutation = -1, np.empty(0, np.int64)
        self._on_device: list[Resident] = []
        if resident:
            kinds = [self._images] + [[label[None] for label in self._labels]] * with_label
            self._on_device = [
                Resident(kind, ndim=data.ndim, patch=config.patch, device=device) for kind in kinds
            ]

    def __len__(self) -> int:
        """Number of samples in one pass."""
        return len(self._samples)

    def ids(self, step: int) -> list[str]:
        """Cases, with slices in 2D, that a step reads."""
        first = step * self._config.batch
        chosen = [self._samples[self._order(p)] for p in range(first, first + self._config.batch)]
        return [self._cases[c].case + (f" slice {d}" if d >= 0 else "") for c, d in chosen]

    def read(self, step: int) -> Samples:
        """Samples of one step: on the device if it holds the arrays, else on the CPU."""
        if self._table is None or not 0 <= step - self._table.first < _STEPS:
            self._table = self._draw(step - step % _STEPS)
        table, batch = self._table, self._config.batch
        first = (step - table.first) * batch
        rows = slice(first, first + batch)
        sample, start = table.sample[rows], None if table.start is None else table.start[rows]
        moves = table.moves.rows(rows)
        if self._on_device:
            image, *labels = (kind.read(sample, start) for kind in self._on_device)
            return Samples(image, labels[0][:, 0] if labels else None, moves)
        starts = [None] * batch if start is None else start.tolist()
        read = [self._mapped(n, s) for n, s in zip(sample.tolist(), starts, strict=True)]
        labels = [label for _, label in read if label is not None]
        image = torch.stack([image for image, _ in read])
        return Samples(image, torch.stack(labels) if labels else None, moves)

    def _mapped(self, sample: int, start: list[int] | None) -> tuple[Tensor, Tensor | None]:
        case, depth = self._samples[sample]
        image = self._images[case]
        label = self._labels[case] if self._labels else None
        if depth >= 0:
            image, label = image[:, depth], None if label is None else label[depth]
        patch = self._config.patch
        if patch is None or start is None:
            return image, label
        return cut(image, start, patch), None if label is None else cut(label, start, patch)

    def _draw(self, first: int) -> _Table:
        """Everything that is random in the steps from `first` on."""
        config, device = self._config, self._device
        positions = range(first * config.batch, (first + _STEPS) * config.batch)
        samples = [self._order(position) for position in positions]
        starts = None
        if config.patch is not None:
            starts = torch.tensor(
                [self._start(p, n) for p, n in zip(positions, samples, strict=True)]
            )
        steps = range(first, first + _STEPS)
        random = [generator(config.seed, config.name, "weak", step) for step in steps]
        draws = [torch.rand(config.batch, DRAWS, generator=g) for g in random]
        size = config.patch or self._shapes[0]
        moves = plan_moves(
            torch.cat(draws), size, quarter_turns=config.quarter_turns, upright=config.upright
        )
        sample = torch.tensor(samples)
        if self._on_device:
            sample, starts = sample.to(device), None if starts is None else starts.to(device)
        return _Table(first, sample, starts, moves.to(device))

    def _start(self, position: int, sample: int) -> list[int]:
        """First voxel of a uniformly drawn crop; 0 on an axis shorter than the patch."""
        config = self._config
        rng = np.random.default_rng(derive(config.seed, config.name, "crop", position))
        shape, patch = self._shapes[self._samples[sample][0]], config.patch or ()
        return [int(rng.integers(0, max(s - p, 0) + 1)) for s, p in zip(shape, patch, strict=True)]

    def _order(self, position: int) -> int:
        epoch, index = divmod(position, len(self._samples))
        if self._epoch != epoch:
            rng = np.random.default_rng(derive(self._config.seed, self._config.name, epoch))
            self._epoch, self._permutation = epoch, rng.permutation(len(self._samples))
        return int(self._permutation[index])


def cut(array: Tensor, start: Sequence[int], patch: Sequence[int]) -> Tensor:
    """Crop the last axes, from `start` on, and pad their ends with zeros."""
    for axis, (first, size) in enumerate(zip(start, patch, strict=True), array.ndim - len(patch)):
        array = array.narrow(axis, first, min(size, array.shape[axis]))
    missing = [p - s for p, s in zip(patch, array.shape[-len(patch) :], strict=True)]
    if any(missing):
        array = F.pad(array, [n for m in reversed(missing) for n in (0, m)])
    return array


def _tensor(array: NDArray[Any]) -> Tensor:
    """A mapped array as a tensor on its pages."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the pages are read-only, and nobody writes
        return torch.from_numpy(array)
