"""Batches of both streams of a run, augmented, on its device.

The unlabelled stream opens no mask, but for a method that declares itself an oracle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from benchmarks.common.errors import ConfigError
from benchmarks.engine.augment import weak
from benchmarks.engine.job import Job
from benchmarks.engine.streams import Samples, Stream, StreamConfig
from datasets.preparing.store import Case, Prepared
from methods.base import Batch, OracleBatch

_IMAGE_BYTES = 4  # float32; masks have one byte

_Read = tuple[Samples, Samples | None]


def resident_on(device: torch.device, data: Prepared, patients: Sequence[str]) -> bool:
    """Whether the training arrays are kept on the device: CUDA with four times the memory free."""
    if device.type != "cuda":
        return False
    voxels = sum(math.prod(c.grid_shape) for c in data.of_patients(patients))
    size = voxels * (_IMAGE_BYTES * len(data.channels) + 1)
    return 4 * size < torch.cuda.mem_get_info(device)[0]


class Loader:
    """Batches of both streams.

    Args:
        labeled: stream with masks.
        unlabeled: stream without, or None; with masks for an oracle.
        policy: augmentation policy.
        device: where batches go; memory is pinned for CUDA.
        ahead: whether a thread reads the next batch while this one is trained on; there is nothing
            to gain where the device holds the arrays.
    """

    def __init__(
        self,
        labeled: Stream,
        unlabeled: Stream | None,
        *,
        policy: str,
        device: torch.device,
        ahead: bool = True,
    ) -> None:
        self._labeled, self._unlabeled = labeled, unlabeled
        self._policy, self._device = policy, device
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="loader") if ahead else None
        self._ahead: tuple[int, Future[_Read]] | None = None

    def batch(self, step: int) -> Batch:
        """The batch of an iteration; the same step always gives the same batch."""
        labeled, unlabeled = self._next(step)
        image, label = self._augmented(labeled)
        if label is None:
            raise ValueError("the labelled stream was opened without its masks")
        if unlabeled is None:
            return Batch(image=image, label=label.long(), unlabeled=image[:0])
        other, truth = self._augmented(unlabeled)
        if truth is None:
            return Batch(image, label.long(), other)
        return OracleBatch(image, label.long(), other, truth.long())

    def ids(self, step: int) -> list[str]:
        """Cases of both streams that a step reads, labelled first."""
        streams = [s for s in (self._labeled, self._unlabeled) if s is not None]
        return [name for stream in streams for name in stream.ids(step)]

    def close(self) -> None:
        """Stop the reading thread."""
        if self._reader is not None:
            self._reader.shutdown(cancel_futures=True)

    def _next(self, step: int) -> _Read:
        if self._reader is None:
            return self._read(step)
        if self._ahead is not None and self._ahead[0] == step:
            read = self._ahead[1].result()
        else:
            if self._ahead is not None:
                self._ahead[1].result()  # streams serve one reader at a time
            read = self._read(step)
        self._ahead = (step + 1, self._reader.submit(self._read, step + 1))
        return read

    def _read(self, step: int) -> _Read:
        other = None if self._unlabeled is None else self._unlabeled.read(step)
        return self._labeled.read(step), other

    def _augmented(self, samples: Samples) -> tuple[Tensor, Tensor | None]:
        image = self._sent(samples.image)
        label = None if samples.label is None else self._sent(samples.label)
        return weak(image, label, samples.moves, policy=self._policy)

    def _sent(self, part: Tensor) -> Tensor:
        """Copy to the device without waiting for it."""
        if self._device.type == "cuda" and part.device.type == "cpu":
            part = part.pin_memory()
        return part.to(self._device, non_blocking=True)


def make_loader(job: Job, device: torch.device) -> Loader:
    """Both streams of a run: the labelled patients with masks, the other training patients without.

    Args:
        job: the run.
        device: where batches go.

    Raises:
        ConfigError: an oracle lacks masks.
    """
    train, turns, upright = job.train, job.method.quarter_turns, job.train.augment == "rotate"
    sizes = job.batch_sizes
    known = job.fold.labeled(job.labels)
    rest = [patient for patient in job.fold.train if patient not in set(known)]
    resident = resident_on(device, job.data, job.fold.train)
    labeled = Stream(
        job.data,
        [c for c in job.data.of_patients(known) if c.labeled],
        StreamConfig("labeled", sizes[0], train.patch, job.seed, turns, upright),
        with_label=True,
        device=device,
        resident=resident,
    )
    unlabeled = None
    if sizes[1]:
        unlabeled = Stream(
            job.data,
            _unlabeled_cases(job, rest),
            StreamConfig("unlabeled", sizes[1], train.patch, job.seed, turns, upright),
            with_label=job.method.oracle,
            device=device,
            resident=resident,
        )
    return Loader(labeled, unlabeled, policy=train.augment, device=device, ahead=not resident)


def _unlabeled_cases(job: Job, patients: Sequence[str]) -> Sequence[Case]:
    cases = job.data.of_patients(patients)
    bare = [case.case for case in cases if not case.labeled]
    if job.method.oracle and bare:
        raise ConfigError(
            f"{job.method.title} reads true labels of all training images, but {len(bare)} of"
            f" {job.data.dataset} have none, such as '{bare[0]}': leave it out of grid.methods"
        )
    return cases
