"""What a data set is: where its files lie, how a case is read, what its classes are.

Axes are (D, H, W): slices, rows, columns; `C` channels, `K` classes with the background first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, Literal, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from benchmarks.common.errors import DataError
from benchmarks.common.schema import Strict

Access = Literal["open", "login", "generated"]
Shape = tuple[int, int, int]
Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

MIN_SIZE = 16  # the U-Net halves four times
SPLITS = Path(__file__).parent / "splits"


@dataclass(frozen=True)
class RawCase:
    """Files of one case.

    Attributes:
        case: id, unique in the data set.
        patient: id of the unit that is split and tested.
        images: one file per channel, or one with several channels or cases.
        label: mask file, or None for an unlabelled case.
        group: stratum such as a diagnosis, or "".
        source: origin within the data set, or "".
        sealed: in the test part that the data set's publisher set apart.
    """

    case: str
    patient: str
    images: tuple[Path, ...]
    label: Path | None
    group: str = ""
    source: str = ""
    sealed: bool = False


@dataclass(frozen=True)
class Volume:
    """One case in native geometry.

    Attributes:
        image: (C, D, H, W) float32, normalised.
        label: (D, H, W) uint8 in [0, K), or None.
        spacing: (D, H, W) in mm; (1, 1, 1) where `spacing_known` is False.
        box: [low, high) per axis of the part worth keeping; None keeps everything.
        spacing_known: False for images without physical size, whose distances are in pixels.
    """

    image: NDArray[np.float32]
    label: NDArray[np.uint8] | None
    spacing: tuple[float, float, float]
    box: Box | None = None
    spacing_known: bool = True


@dataclass(frozen=True)
class DatasetInfo:
    """What networks need to know.

    Attributes:
        ndim: 2 where slices are the samples, 3 where volumes are.
        channels: names of the image channels.
        classes: names of the classes, background first.
    """

    ndim: Literal[2, 3]
    channels: tuple[str, ...]
    classes: tuple[str, ...]


class PrepareParams(Strict):
    """Base of the block `data.<dataset>.prepare`."""

    interpolation: Literal["linear", "nearest"] = Field(
        "linear", description="of images; nearest is the SSL4MIS habit. Masks are always nearest"
    )

    # Left out where it is not set, so that it does not change the digest of other data.
    trust_header: bool = Field(
        False,
        exclude_if=lambda given: not given,
        description="headers that contradict each other are warnings: array and pixdim are right",
    )

    def crop(self, box: Box) -> Box:
        """Part of the native box that is kept, [low, high) per axis."""
        return box

    def grid(self, shape: Shape) -> Shape:
        """Shape (D, H, W) of the grid for a cropped native shape (D, H, W)."""
        return shape


class SliceParams(PrepareParams):
    """2D data sets: the grid that every slice is brought to."""

    size: tuple[int, int] | None = Field(
        (256, 256), description="rows and columns; null keeps the native pixels"
    )
    field: float = Field(
        1.0, gt=0, le=1, description="share of rows and columns kept around the image centre"
    )

    @field_validator("size")
    @classmethod
    def _large_enough(cls, size: tuple[int, int] | None) -> tuple[int, int] | None:
        if size is not None and min(size) < MIN_SIZE:
            raise ValueError(f"rows and columns must be at least {MIN_SIZE}")
        return size

    def crop(self, box: Box) -> Box:
        """All slices, `field` of rows and columns around the centre."""
        return box[0], _centre(box[1], self.field), _centre(box[2], self.field)

    def grid(self, shape: Shape) -> Shape:
        """Every slice brought to `size`."""
        return shape if self.size is None else (shape[0], *self.size)


class VolumeParams(PrepareParams):
    """3D data sets: the grid that every volume is brought to."""

    shrink: float = Field(1.0, ge=1, description="divides the length of every axis")

    def grid(self, shape: Shape) -> Shape:
        """Every axis divided by `shrink` and rounded, at least 1."""
        depth, rows, columns = (max(round(n / self.shrink), 1) for n in shape)
        return depth, rows, columns


def first_alike(name: str, groups: Iterable[Sequence[str]]) -> str:
    """The first name of the group that a case or patient belongs to; else its own."""
    return next((group[0] for group in groups if name in group), name)


def _centre(bounds: tuple[int, int], share: float) -> tuple[int, int]:
    length = bounds[1] - bounds[0]
    kept = max(round(length * share), 1)
    low = bounds[0] + (length - kept) // 2
    return low, low + kept


P = TypeVar("P", bound=PrepareParams)


class NoFetchParams(Strict):
    """Data that a person has to obtain take no parameters."""


class Adapter(ABC, Generic[P]):
    """One data set.

    Attributes:
        id: name of the file that defines the adapter.
        title: name in tables and figures.
        modality: imaging modality.
        citation: what a user of the data must cite.
        licence: terms of use.
        access: open (direct download), login (registration) or generated.
        synthetic: True for generated data.
        intensity: how images are normalised, for whoever uses a trained network elsewhere.
        unit: of the spacing.
        tolerance: largest surface distance that NSD accepts, in the unit of the spacing; in pixels
            for cases whose spacing is unknown.
        Params: model of the block `data.<id>.prepare`.
        FetchParams: model of the block `data.<id>.fetch`.
        tree: the expected raw folder.
        steps: how to obtain the data.
    """

    id: ClassVar[str]
    title: ClassVar[str]
    modality: ClassVar[str]
    citation: ClassVar[str]
    licence: ClassVar[str]
    access: ClassVar[Access]
    synthetic: ClassVar[bool] = False
    intensity: ClassVar[str]
    unit: ClassVar[str] = "mm"
    tolerance: ClassVar[float] = 2.0
    Params: ClassVar[type[PrepareParams]]
    FetchParams: ClassVar[type[Strict]] = NoFetchParams
    tree: ClassVar[str]
    steps: ClassVar[str]

    @abstractmethod
    def info(self, params: P) -> DatasetInfo:
        """Channels and classes for these parameters."""

    @abstractmethod
    def scan(self, raw: Path, params: P) -> list[RawCase]:
        """List the cases in a raw folder, sorted by id, without opening images.

        Raises:
            DataError: nothing usable is there or a file is missing; names the expected folder tree
                and the steps that mend it.
        """

    @abstractmethod
    def read(self, case: RawCase, params: P) -> Volume:
        """Read one case: normalised intensities, labels mapped to [0, K).

        Raises:
            DataError: a file is unreadable, image and mask differ in shape, a value is not finite
                or a label is not allowed; names the file, what was found and what is allowed.
        """

    def fetch(self, raw: Path, params: Strict) -> None:
        """Make the raw data available; data that a person obtains are only checked to be there.

        Args:
            raw: folder of the raw data.
            params: an instance of `FetchParams`.

        Raises:
            DataError: the data are not there; gives the steps to obtain them.
        """
        del params
        self.scan(raw, cast(P, self.Params()))

    def open_source(self, params: Strict) -> str:
        """Name in `datasets/fetching/sources.py` of what is downloaded for these parameters."""
        del params
        return self.id

    def public_splits(self) -> dict[str, Path]:
        """Published patient lists by scheme name, from `datasets/splits/<id>.<scheme>.json`."""
        return {path.name.split(".")[1]: path for path in sorted(SPLITS.glob(f"{self.id}.*.json"))}

    def missing(self, raw: Path, found: str) -> DataError:
        """The error for a raw folder that cannot be used.

        Args:
            raw: folder that was given.
            found: what is wrong with it.
        """
        tree = "\n".join(f"    {line}" for line in self.tree.strip().splitlines())
        return DataError(
            f"no usable {self.title} data in '{raw}': {found}\n"
            f"  expected:\n{tree}\n"
            f"  to obtain it: {self.steps}\n"
            f"  then: {self.remedy(raw)}"
        )

    def remedy(self, raw: Path) -> str:
        """What to do once the data are there: commands that make them known.

        Args:
            raw: folder that could not be used.
        """
        del raw
        return (
            f"`mkdir -p data/raw && ln -s DIR data/raw/{self.id}`, or `python -m benchmarks prepare"
            f" {self.id} --raw DIR`"
        )
