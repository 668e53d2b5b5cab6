"""Plain NIfTI images of anywhere: turned, brought to the grid of a network, and the way back.

A network has seen images with axes in one order and direction, and voxels of certain sizes. An
image is turned to that order, read by the data set's own rule, and resized so that its voxels lie
within the sizes of the training images; so images of the data set itself get the grid that
training would give them.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.errors import ConfigError, DataError
from benchmarks.scoring.trained import Trained
from datasets.base import Adapter, Box, PrepareParams, RawCase, Shape
from datasets.preparing.geometry import check_headers
from datasets.preparing.raw import orientation_of
from datasets.preparing.resample import placed, resize_linear, resize_nearest
from datasets.preparing.store import Case, Prepared
from datasets.reading.images import is_nifti, read_header

_ENDING = re.compile(r"\.nii(\.gz)?$")
_CHANNEL = re.compile(r"(.+)_(\d{4})$")
_MASK = re.compile(r"(.+)_(gt|seg|label|mask)$")  # names of ACDC, BraTS and others
# Voxels larger or smaller by this factor than any of training are left as they are (our choice):
# other patients of the same data set differ so much.
_SLACK = 1.25
_AXES = ("LR", "PA", "IS")  # both directions of every axis of a patient
Resize = Callable[[NDArray[Any], tuple[int, ...]], NDArray[Any]]


@dataclass(frozen=True)
class Grid:
    """What images have to look like for a network.

    Attributes:
        orientation: axis codes (x, y, z) of the training images, such as RAS; "" leaves images as
            they are stored.
        voxels: smallest and largest size (D, H, W) of a voxel of the training images on their grid,
            in mm; None where it is unknown.
    """

    orientation: str
    voxels: tuple[NDArray[np.float64], NDArray[np.float64]] | None

    def shape(self, natural: Shape, extent: NDArray[np.float64], ndim: int) -> Shape:
        """Shape of the grid of an image.

        Args:
            natural: (D, H, W) that the data set's rule gives.
            extent: (D, H, W) of the image in mm.
            ndim: 2 leaves the number of slices as it is.
        """
        if self.voxels is None:
            return natural
        size = extent / np.array(natural)
        seen = np.clip(size, *self.voxels)
        wanted = np.maximum(np.round(extent / seen), 1).astype(int)
        kept = np.abs(np.log(size / seen)) <= math.log(_SLACK)
        kept[: 3 - ndim] = True
        depth, rows, columns = (int(n) for n in np.where(kept, natural, wanted))
        return depth, rows, columns


@dataclass(frozen=True)
class Laid:
    """An image on the grid of a network.

    Attributes:
        image: (C, D, H, W) float32, prepared.
        box: part of the native image that the grid covers, [low, high) per axis.
        shape: (D, H, W) of the native image.
        files: of the native image, one per channel.
        back: turns an array (x, y, z) to the axes of the file; None: they are the same.
    """

    image: NDArray[np.float32]
    box: Box
    shape: Shape
    files: tuple[Path, ...]
    back: NDArray[np.float64] | None = None

    def labels(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Labels (D, H, W) of the grid in the geometry of the file, 0 outside the grid."""
        return self._native(labels, resize_nearest)

    def values(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values (D, H, W) of the grid in the geometry of the file, 0 outside the grid."""
        return self._native(values, resize_linear)

    def _native(self, values: NDArray[Any], resize: Resize) -> NDArray[Any]:
        native = placed(values, self.box, self.shape, resize)
        if self.back is None:
            return native
        from nibabel.orientations import apply_orientation

        turned: NDArray[Any] = apply_orientation(native.transpose(2, 1, 0), self.back)
        return turned.transpose(2, 1, 0)


def laid(data: Prepared, case: Case, files: tuple[Path, ...]) -> Laid:
    """A prepared case of these files on its grid."""
    return Laid(np.asarray(data.image(case.case)), case.box, case.native_shape, files)


def find_images(path: Path, channels: tuple[str, ...]) -> dict[str, tuple[Path, ...]]:
    """Files by case, one per channel.

    Args:
        path: a folder of NIfTI files, or one file. `<case>.nii.gz` where there is one channel, or
            `<case>_0000.nii.gz`, `<case>_0001.nii.gz`, ... as nnU-Net names channels. In a folder,
            `<case>_gt` (or `_seg`, `_label`, `_mask`) is the mask of a case, and no image.
        channels: that the network reads.

    Raises:
        DataError: nothing is there, or a channel is missing.
    """
    near = sorted(path.iterdir()) if path.is_dir() else sorted(path.parent.glob("*"))
    files = [p for p in near if p.is_file() and is_nifti(p) and not p.name.startswith(".")]
    found: dict[str, dict[int, Path]] = defaultdict(dict)
    for file in files:
        name = _ENDING.sub("", file.name)
        match = _CHANNEL.match(name)
        numbered = match is not None and (len(channels) > 1 or int(match[2]) == 0)
        case, number = (match[1], int(match[2])) if match and numbered else (name, 0)
        if number in found[case]:
            raise DataError(f"'{found[case][number]}' and '{file}' are one image; remove one")
        found[case][number] = file
    if path.is_dir():
        masks = [c for c in found if (match := _MASK.match(c)) and match[1] in found]
        found = defaultdict(dict, {c: f for c, f in found.items() if c not in masks})
    else:
        found = defaultdict(dict, {c: f for c, f in found.items() if path in f.values()})
    if not found:
        raise DataError(
            f"no image '{path}': --images takes a folder of NIfTI files (.nii, .nii.gz), or one;"
            " for a folder in the raw layout of the data set, give --raw"
        )
    for case, own in found.items():
        if own.keys() != set(range(len(channels))):
            names = ", ".join(f"_{n:04d} ({c})" for n, c in enumerate(channels))
            raise DataError(
                f"case '{case}' in '{path}' has other channels than the network reads: {names};"
                f" name its files {case}_0000.nii.gz, ..."
            )
    return {case: tuple(own[n] for n in sorted(own)) for case, own in found.items()}


def grid_of(trained: Trained, orientation: str) -> Grid:
    """What the training images of a run look like.

    Args:
        trained: the run.
        orientation: axis codes; "" looks at the raw images, if they are here.

    Raises:
        ConfigError: these are no axis codes.
    """
    data, fold = trained.job.data, trained.job.fold
    codes = orientation.upper() or orientation_of(data)
    if codes and sorted("".join(p for p in _AXES if c in p) for c in codes) != sorted(_AXES):
        raise ConfigError(
            f"--orientation '{orientation}': give three axis codes, one of each pair"
            f" {', '.join(_AXES)}, such as RAS"
        )
    sizes = [c.grid_spacing for c in data.of_patients(fold.train) if c.spacing_known]
    return Grid(codes, (np.min(sizes, 0), np.max(sizes, 0)) if sizes else None)


def lay(
    adapter: Adapter[Any],
    params: PrepareParams,
    grid: Grid,
    files: tuple[Path, ...],
    folder: Path,
) -> Laid:
    """Read an image and bring it to the grid of a network.

    Args:
        adapter: data set whose rule normalises it.
        params: of preparing it.
        grid: of the network.
        files: NIfTI, one per channel.
        folder: for turned copies of the files.

    Raises:
        DataError: a file is damaged, headers contradict each other, or it has no contrast.
    """
    case = _ENDING.sub("", files[0].name)
    _refuse_headers(RawCase(case, case, files, None), params)
    back = None
    if grid.orientation:
        files, back = _turned(files, grid.orientation, folder)
    volume = adapter.read(RawCase(case, case, files, None), params)
    shape: Shape = (volume.image.shape[1], volume.image.shape[2], volume.image.shape[3])
    ndim = adapter.info(params).ndim
    box = params.crop(volume.box or ((0, shape[0]), (0, shape[1]), (0, shape[2])))
    lengths = tuple(high - low for low, high in box)
    extent = np.array(lengths) * volume.spacing
    wanted = grid.shape(params.grid((lengths[0], lengths[1], lengths[2])), extent, ndim)
    resize = resize_linear if params.interpolation == "linear" else resize_nearest
    window = tuple(slice(*bounds) for bounds in box)
    image = resize(volume.image[(slice(None), *window)], wanted)
    return Laid(np.ascontiguousarray(image, dtype=np.float32), box, shape, files, back)


def _refuse_headers(raw: RawCase, params: PrepareParams) -> None:
    found, _ = check_headers(raw, trust=params.trust_header)
    wrong = [text for level, text in found if level == "error"]
    if wrong:
        raise DataError(wrong[0])


def _turned(
    files: tuple[Path, ...], codes: str, folder: Path
) -> tuple[tuple[Path, ...], NDArray[np.float64] | None]:
    """Copies of the files with axes turned to `codes`, and the turn back; no copies if they fit."""
    import nibabel as nib
    from nibabel.orientations import (
        apply_orientation,
        axcodes2ornt,
        inv_ornt_aff,
        io_orientation,
        ornt_transform,
    )

    own, wanted = io_orientation(read_header(files[0]).affine), axcodes2ornt(tuple(codes))
    turn = ornt_transform(own, wanted)
    if np.array_equal(own, wanted):
        return files, None
    made = []
    for number, file in enumerate(files):
        image = nib.nifti1.load(file)
        array = apply_orientation(np.asanyarray(image.dataobj), turn)
        affine = image.affine @ inv_ornt_aff(turn, image.shape[:3])
        folder.mkdir(parents=True, exist_ok=True)
        made.append(folder / f"turned_{number:04d}.nii")
        nib.save(nib.nifti1.Nifti1Image(array, affine), made[-1])
    return tuple(made), ornt_transform(wanted, own)
