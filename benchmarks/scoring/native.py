"""Segmented cases in the voxels of their files, with what tells how a patient lies in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.scoring.plain import Laid
from datasets.base import Adapter, PrepareParams, RawCase
from datasets.reading.images import is_nifti, read_header


@dataclass(frozen=True)
class Segmented:
    """A case and what networks made of it, with axes as the networks saw them.

    Attributes:
        case: id.
        image: (D, H, W) float32, the first channel, normalised, at the resolution of the file.
        labels: (D, H, W) uint8 in [0, K), predicted.
        entropy: (D, H, W) float32 in [0, 1], 1 a uniform distribution over the classes; or None.
        spacing: (D, H, W), size of a voxel.
        axes: where the axes x, y, z (W, H, D) point to, such as RAS; "" where that is unknown.
        back: turns an array (x, y, z) to the axes of the file; None: they are the same.
    """

    case: str
    image: NDArray[np.float32]
    labels: NDArray[np.uint8]
    entropy: NDArray[np.float32] | None
    spacing: tuple[float, float, float]
    axes: str = ""
    back: NDArray[np.float64] | None = None

    def place(self, index: int) -> tuple[int, int]:
        """Axis (x, y, z counted from 0) and place of a slice in the file."""
        if self.back is None:
            return 2, index
        axis, direction = (int(v) for v in self.back[2])
        return axis, index if direction > 0 else len(self.image) - 1 - index


def segmented(
    adapter: Adapter[Any],
    params: PrepareParams,
    raw: RawCase,
    seen: Laid,
    labels: NDArray[np.uint8],
    entropy: NDArray[np.float32] | None,
) -> Segmented:
    """Read the image of a case again, as it is before it is brought to the grid of networks.

    Args:
        adapter: data set that reads it.
        params: of preparing it.
        raw: the case.
        seen: the same on the grid.
        labels: (D, H, W) on the grid.
        entropy: the same.

    Raises:
        DataError: a file is damaged.
    """
    volume = adapter.read(replace(raw, images=seen.files, label=None), params)
    upright = replace(seen, back=None)
    return Segmented(
        raw.case,
        volume.image[0],
        upright.labels(labels),
        None if entropy is None else upright.values(entropy),
        volume.spacing,
        _axes(seen.files[0]),
        seen.back,
    )


def _axes(file: Path) -> str:
    """Where the axes of a NIfTI file point to; "" of other files, or where it does not say."""
    if not is_nifti(file):
        return ""
    from nibabel.orientations import aff2axcodes

    header = read_header(file)
    return "".join(aff2axcodes(header.affine)) if header.placed else ""
