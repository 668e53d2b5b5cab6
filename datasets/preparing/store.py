"""Prepared data on disk: arrays that are memory-mapped, and what is known about each case."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from benchmarks.common.errors import DataError
from benchmarks.common.files import digest, known_digest, read_json
from benchmarks.common.workspace import PREPARED
from datasets.base import Box, Shape
from datasets.preparing.resample import placed, resize_nearest

FINGERPRINT = PREPARED
FORMAT = 2


@dataclass(frozen=True)
class Case:
    """One prepared case.

    Attributes:
        case: id.
        patient: id of the patient.
        group: stratum, or "".
        source: origin within the data set, or "".
        labeled: a mask exists.
        native_shape: (D, H, W) of the raw image.
        spacing: (D, H, W) of the raw image, in mm.
        box: [low, high) per native axis that the grid covers.
        grid_shape: (D, H, W) of the prepared arrays.
        spacing_known: False where distances are in pixels, not mm.
        sealed: in the test part that the data set's publisher set apart.
    """

    case: str
    patient: str
    group: str
    source: str
    labeled: bool
    native_shape: Shape
    spacing: tuple[float, float, float]
    box: Box
    grid_shape: Shape
    spacing_known: bool = True
    sealed: bool = False

    @property
    def grid_spacing(self) -> NDArray[np.float64]:
        """Size (D, H, W) of a voxel of the grid, in the unit of the spacing."""
        extent = np.array([high - low for low, high in self.box]) * self.spacing
        return np.asarray(extent / self.grid_shape)


@dataclass(frozen=True)
class CaseRecord(Case):
    """A case with its statistics, as written to disk.

    Attributes:
        intensity: minimum, maximum, mean and standard deviation of the grid, per channel.
        class_shares: share of native voxels by class, (K), empty where there is no mask.
        files: digest of each array file by name.
    """

    intensity: tuple[tuple[float, float, float, float], ...] = ()
    class_shares: tuple[float, ...] = ()
    files: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Fingerprint:
    """Content of `dataset.json`; `digest` covers every other field.

    `warnings` are the findings of `datasets/checks.py`, `<cases>: <text>`.
    """

    format: int
    dataset: str
    title: str
    synthetic: bool
    ndim: Literal[2, 3]
    channels: tuple[str, ...]
    classes: tuple[str, ...]
    params: dict[str, Any]
    cases: tuple[CaseRecord, ...]
    warnings: tuple[str, ...] = ()
    digest: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value with the digest filled in."""
        value: dict[str, Any] = TypeAdapter(Fingerprint).dump_python(self, mode="json")
        del value["digest"]
        return {"digest": digest(value), **value}


@dataclass(frozen=True)
class Prepared:
    """A prepared data set.

    Attributes:
        root: its folder.
        dataset: id of the adapter.
        ndim: 2 or 3.
        channels: names of the image channels.
        classes: names of the classes, background first.
        digest: of all arrays and everything known about them.
        cases: in order of id.
        params: that it was prepared with, JSON-ready.
    """

    root: Path
    dataset: str
    ndim: Literal[2, 3]
    channels: tuple[str, ...]
    classes: tuple[str, ...]
    digest: str
    cases: tuple[CaseRecord, ...]
    params: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def _by_id(self) -> dict[str, Case]:
        return {case.case: case for case in self.cases}

    @cached_property
    def _digests(self) -> dict[tuple[str, str], str]:
        return {(case.case, name): code for case in self.cases for name, code in case.files}

    def case(self, case: str) -> Case:
        """What is known about a case; DataError for an unknown id."""
        if case not in self._by_id:
            raise DataError(f"no case '{case}' in the prepared data '{self.root}'")
        return self._by_id[case]

    def image(self, case: str) -> np.memmap[Any, np.dtype[np.float32]]:
        """Image (C, D, H, W) float32 on the grid, read-only.

        The bytes of every array are compared with its digest when a process first opens it.

        Raises:
            DataError: the file is missing or was changed.
        """
        return self._load(case, "image", (len(self.channels), *self.case(case).grid_shape))

    def label(self, case: str) -> np.memmap[Any, np.dtype[np.uint8]]:
        """Mask (D, H, W) uint8 on the grid, read-only; DataError for an unlabelled case."""
        return self._load(case, "label", self.case(case).grid_shape)

    def reference(self, case: str) -> np.memmap[Any, np.dtype[np.uint8]]:
        """Mask (D, H, W) uint8 in native geometry, read-only; DataError for an unlabelled case."""
        return self._load(case, "reference", self.case(case).native_shape)

    def of_patients(self, patients: Collection[str]) -> list[Case]:
        """Cases of some patients, in order of id.

        Raises:
            DataError: a patient is not in the data.
        """
        unknown = sorted(set(patients) - {case.patient for case in self.cases})
        if unknown:
            raise DataError(
                f"patients not in the prepared data '{self.root}': {', '.join(unknown)}; the split "
                f"belongs to other data: run `python -m benchmarks split {self.dataset}` again"
            )
        wanted = set(patients)
        return [case for case in self.cases if case.patient in wanted]

    def to_native(self, case: str, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Bring a label map from the grid back to native geometry by nearest neighbour.

        Args:
            case: id.
            labels: `grid_shape` uint8.

        Returns:
            `native_shape` uint8, 0 outside the case's box.

        Raises:
            ValueError: `labels` is not on the case's grid.
        """
        known = self.case(case)
        if labels.shape != known.grid_shape:
            raise ValueError(f"labels have shape {labels.shape}, the grid has {known.grid_shape}")
        return placed(labels, known.box, known.native_shape, resize_nearest)

    def _load(self, case: str, kind: str, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
        if kind != "image" and not self.case(case).labeled:
            raise DataError(
                f"case '{case}' of {self.dataset} has no mask, so nothing can be tested on it"
            )
        path = self.root / case / f"{kind}.npy"
        try:
            if known_digest(path) != self._digests[case, path.name]:
                found = f"'{path}' was changed after it was written"
                raise _damaged(self.root, self.dataset, found)
            array: np.memmap[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise _damaged(self.root, self.dataset, f"'{path}' cannot be read ({error})") from None
        if array.shape != shape:
            found = f"'{path}' has shape {array.shape}, not {shape}"
            raise _damaged(self.root, self.dataset, found)
        return array


def _damaged(root: Path, dataset: str, found: str) -> DataError:
    return DataError(
        f"prepared data '{root}' are missing or damaged: {found}; "
        f"make them with `python -m benchmarks prepare {dataset}`"
    )


def open_prepared(root: Path) -> Prepared:
    """Open a folder written by `prepare`; arrays are not read.

    Args:
        root: folder holding `dataset.json`.

    Raises:
        DataError: the folder is missing, incomplete, changed by hand or of another format.
    """
    path = root / FINGERPRINT
    if not path.is_file():
        raise _damaged(root, root.name, f"there is no '{path}'")
    try:
        value = read_json(path)
        if value.get("format") != FORMAT:
            found = f"'{path}' has format {value.get('format')}, this code reads {FORMAT}"
            raise _damaged(root, root.name, found)
        fingerprint = TypeAdapter(Fingerprint).validate_python(value)
    except (ValueError, AttributeError, ValidationError) as error:
        raise _damaged(root, root.name, f"'{path}' is not as written ({error})") from None
    if fingerprint.to_json()["digest"] != fingerprint.digest:
        raise _damaged(root, fingerprint.dataset, f"'{path}' was changed after it was written")
    for case in fingerprint.cases:
        for name, _ in case.files:
            if not (root / case.case / name).is_file():
                raise _damaged(
                    root, fingerprint.dataset, f"there is no '{root / case.case / name}'"
                )
    return Prepared(
        root=root,
        dataset=fingerprint.dataset,
        ndim=fingerprint.ndim,
        channels=fingerprint.channels,
        classes=fingerprint.classes,
        digest=fingerprint.digest,
        cases=fingerprint.cases,
        params=fingerprint.params,
    )
