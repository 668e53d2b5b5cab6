"""What the networks of a run make of a few unlabelled training images while it is trained.

Masks alone are kept here, and no reference is opened: how right they are is for the evaluation to
say, after training.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.common.files import atomic_open
from benchmarks.common.workspace import PSEUDO_MASKS
from benchmarks.engine.job import Job, autocast
from benchmarks.engine.streams import cut
from datasets.preparing.store import Case
from methods.base import Method

# Images, of as many patients: what they cost is a part of a step.
_MOST = 4
TESTED = "tested"


@dataclass(frozen=True)
class Sample:
    """A training image of which masks are kept.

    Attributes:
        case: it is of.
        depth: its slice, the middle one; -1 for a volume.
        start: first voxel of the central patch, by axis; empty for the whole image.
        patch: size of the patch; empty for the whole image.
    """

    case: str
    depth: int
    start: tuple[int, ...] = ()
    patch: tuple[int, ...] = ()

    def of(self, array: Tensor) -> Tensor:
        """The sample (..., *S) of an array (..., D, H, W) of the case, padded with zeros."""
        part = array if self.depth < 0 else array[..., self.depth, :, :]
        return cut(part, self.start, self.patch) if self.patch else part


def unlabeled_cases(job: Job) -> list[Case]:
    """Cases with references of the training patients that the run has no labels of."""
    count = len(job.fold.train) if job.method.all_labels else job.labels
    return [c for c in job.data.of_patients(job.fold.train[count:]) if c.labeled]


def samples(job: Job) -> tuple[Sample, ...]:
    """One image of each of the first unlabelled training patients that have references."""
    ndim, patch, cases = job.data.ndim, job.train.patch or (), unlabeled_cases(job)
    firsts = {c.patient: c for c in reversed(cases)}
    patients = list(dict.fromkeys(c.patient for c in cases))
    found = []
    for case in [firsts[p] for p in patients[: min(_MOST, job.train.unlabeled_batch)]]:
        depth = case.grid_shape[0] // 2 if ndim == 2 else -1
        shape = case.grid_shape[-ndim:]
        start = tuple(max(s - p, 0) // 2 for s, p in zip(shape, patch, strict=False))
        found.append(Sample(case.case, depth, start, patch))
    return tuple(found)


class PseudoLabels:
    """Masks that the tested network and its companions give at some steps of a run.

    Args:
        method: that is trained; left as it is.
        job: of the run.
        device: of the method.
    """

    def __init__(self, method: Method[Any], job: Job, device: torch.device) -> None:
        self._method, self._job, self._device = method, job, device
        # Images of another size would have networks compiled anew, to other code.
        chosen = () if job.train.compile else samples(job)
        images = [one.of(torch.from_numpy(np.array(job.data.image(one.case)))) for one in chosen]
        self._images = torch.stack(images).to(device) if images else None
        self._kept: dict[str, Tensor] = {}

    @torch.inference_mode()
    def note(self, done: int) -> None:
        """Keep the masks of all networks after `done` steps.

        A companion is asked in train mode, as what teaches is: its batch norm is that of these
        images. Weights, statistics and random streams are the same bits afterwards.
        """
        if self._images is None:
            return
        networks = {TESTED: self._method.predict, **self._method.companions()}
        self._method.eval()
        for name, predict in networks.items():
            mode = nullcontext() if name == TESTED else in_training(self._method)
            with mode, autocast(self._job.train, self._device):
                masks = predict(self._images).argmax(1).to(torch.uint8).cpu()
            self._kept[f"{done}/{name}"] = _packed(masks)

    def state_dict(self) -> dict[str, Tensor]:
        """The masks so far, for a state that is resumed."""
        return dict(self._kept)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up the masks of a stopped run."""
        self._kept = dict(state)

    def write(self, folder: Path) -> None:
        """Write the masks of the run, if there are unlabelled patients with references."""
        if self._images is None:
            return
        shape = (len(self._images), *self._images.shape[2:])
        arrays = {name: _unpacked(value, shape) for name, value in self._kept.items()}
        with atomic_open(folder / PSEUDO_MASKS) as stream:
            np.savez_compressed(stream, allow_pickle=False, **arrays)


def _packed(masks: Tensor) -> Tensor:
    """Masks as few bytes: a state is written every minute."""
    return torch.frombuffer(bytearray(zlib.compress(masks.numpy().tobytes())), dtype=torch.uint8)


def _unpacked(value: Tensor, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.frombuffer(zlib.decompress(value.numpy().tobytes()), np.uint8).reshape(shape)


def read_masks(folder: Path) -> Iterator[tuple[int, str, NDArray[np.uint8]]]:
    """Steps done, network and masks (N, *S) that a finished run kept; none of an older run."""
    path = folder / PSEUDO_MASKS
    if not path.is_file():
        return
    with np.load(path, allow_pickle=False) as kept:
        for name in kept.files:
            step, network = name.split("/")
            yield int(step), network, kept[name]


@contextmanager
def in_training(method: Method[Any]) -> Iterator[None]:
    """Train mode, with the same dropout each time; statistics that it moves are put back.

    Args:
        method: in eval mode, and so again afterwards.
    """
    kept = {name: value.clone() for name, value in method.named_buffers()}
    cards = {p.device for p in method.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(cards):
        torch.manual_seed(0)
        try:
            method.train()
            yield
        finally:
            method.eval()
            for name, value in method.named_buffers():
                value.copy_(kept[name])
