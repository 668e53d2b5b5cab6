"""One slice of every test case as a network saw it, for pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.errors import RunError
from benchmarks.common.files import atomic_open

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.scoring.trained import Trained

Pixels = NDArray[np.uint8]
_IMAGES = ("image", "truth", "prediction", "entropy")
_LEVELS = 255
# Brightness between these percentiles, so that a bright spot does not darken a slice.
_DARK, _BRIGHT = 1, 99


@dataclass(frozen=True)
class Slice:
    """One slice of a case and what a network made of it.

    Attributes:
        case: id.
        index: of the slice.
        image: (H, W) uint8, between dark and bright.
        truth: (H, W) uint8 in [0, K).
        prediction: (H, W) uint8 in [0, K).
        entropy: (H, W) uint8; 255 is a uniform distribution over the classes.
    """

    case: str
    index: int
    image: Pixels
    truth: Pixels
    prediction: Pixels
    entropy: Pixels


@dataclass(frozen=True)
class Slices:
    """Slices of one run.

    Attributes:
        labels: labelled patients of the run.
        seed: of the run.
        all: one per case.
    """

    labels: int
    seed: int
    all: tuple[Slice, ...]


def cut_slice(trained: Trained, case: str, probability: Tensor, index: int | None = None) -> Slice:
    """A slice of a case.

    Args:
        trained: the run.
        case: id, with a reference mask.
        probability: (K, D, H, W) of the whole case.
        index: of the slice; None takes the fullest in the reference, which looks at no prediction
            and is the same for every method.
    """
    from methods.blocks.entropy import normalized_entropy

    data = trained.job.data
    truth = np.asarray(data.label(case))
    depth = int((truth > 0).sum((1, 2)).argmax()) if index is None else index
    own = probability[:, depth]
    entropy = normalized_entropy(own[None])[0].numpy()
    return Slice(
        case,
        depth,
        _brightness(np.asarray(data.image(case)[0, depth], dtype=np.float32)),
        truth[depth].astype(np.uint8),
        own.argmax(0).numpy().astype(np.uint8),
        (entropy.clip(0, 1) * _LEVELS).round().astype(np.uint8),
    )


def _brightness(image: NDArray[np.float32]) -> Pixels:
    low, high = np.percentile(image, [_DARK, _BRIGHT])
    shades: Pixels = (
        (((image - low) / max(high - low, 1e-6)).clip(0, 1) * _LEVELS).round().astype(np.uint8)
    )
    return shades


def write_slices(found: Slices, target: Path) -> None:
    """Write the slices of a run, ordered by case, in one file."""
    ordered = sorted(found.all, key=lambda one: one.case)
    arrays: dict[str, NDArray[Any]] = {
        "case": np.array([one.case for one in ordered]),
        "slice": np.array([one.index for one in ordered]),
        "labels": np.array(found.labels),
        "seed": np.array(found.seed),
    }
    for place, one in enumerate(ordered):
        arrays |= {f"{name}{place}": getattr(one, name) for name in _IMAGES}
    with atomic_open(target) as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def read_slices(path: Path) -> Slices:
    """Read what `write_slices` wrote.

    Raises:
        RunError: the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
        cases: Sequence[str] = [str(case) for case in arrays["case"]]
        places = [int(place) for place in arrays["slice"]]
        images = [[arrays[f"{name}{i}"] for name in _IMAGES] for i in range(len(cases))]
        labels, seed = int(arrays["labels"]), int(arrays["seed"])
    except (OSError, EOFError, ValueError, KeyError, IndexError, BadZipFile) as error:
        raise RunError(f"'{path}' is no readable file of slices: {error}; evaluate again") from None
    if any(len({image.shape for image in four}) != 1 or four[0].ndim != 2 for four in images):
        raise RunError(f"'{path}' holds images of unequal shapes; evaluate again")
    found = [Slice(c, i, *four) for c, i, four in zip(cases, places, images, strict=True)]
    return Slices(labels, seed, tuple(found))
