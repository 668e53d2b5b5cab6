"""What a division of patients into training, validation and test parts is, and its file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError

from benchmarks.common.errors import DataError
from benchmarks.common.files import digest, read_json, write_json
from benchmarks.common.schema import Strict


class SplitConfig(Strict):
    """How patients are divided. Labelled subsets are the first n of each fold's training order."""

    scheme: str = Field("seeded", description="seeded, cv, official, or the name of a public split")
    seed: int = Field(0, ge=0)
    val: int = Field(0, ge=0, description="validation patients (seeded, cv, official)")
    test: int = Field(0, ge=0, description="test patients (seeded)")
    folds: int = Field(1, ge=1, description="seeded, official: labelled orders; cv: test parts")


@dataclass(frozen=True)
class Patient:
    """What a split must know of a patient.

    Attributes:
        id: unique.
        labeled: at least one case has a mask.
        group: stratum, or "".
        sealed: in the test part that the data set's publisher set apart.
    """

    id: str
    labeled: bool
    group: str = ""
    sealed: bool = False


@dataclass(frozen=True)
class Fold:
    """One division.

    Attributes:
        train: patients in labelling order; the first n are the labelled subset of size n.
        val: validation patients.
        test: test patients.
        without_mask: number of patients at the end of `train` who have no mask.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    without_mask: int = 0

    def labeled(self, count: int) -> tuple[str, ...]:
        """The labelled subset of `count` patients; smaller subsets are part of larger ones.

        Raises:
            DataError: fewer than 1 or more than the training patients with masks.
        """
        most = len(self.train) - self.without_mask
        if not 1 <= count <= most:
            raise DataError(
                f"{count} labelled patients were asked for, 1 to {most} are possible; "
                "change `labels` of the data set in params.yaml"
            )
        return self.train[:count]


@dataclass(frozen=True)
class Split:
    """All folds of a data set; `digest` covers the other fields."""

    dataset: str
    scheme: str
    seed: int
    folds: tuple[Fold, ...]
    digest: str


def sealed(dataset: str, config: SplitConfig, folds: Sequence[Fold]) -> Split:
    """A split with its digest."""
    body = {"dataset": dataset, "scheme": config.scheme, "seed": config.seed}
    code = digest({**body, "folds": [asdict(fold) for fold in folds]})
    return Split(dataset, config.scheme, config.seed, tuple(folds), code)


def check_disjoint(fold: Fold, path: Path) -> None:
    """Raise a DataError naming the file if a patient has two parts."""
    counts = Counter((*fold.train, *fold.val, *fold.test))
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        raise DataError(f"'{path}' names patients twice: {', '.join(twice)}; each has one part")


def save_split(split: Split, path: Path) -> None:
    """Write a split as readable JSON, atomically."""
    write_json(path, asdict(split))


def load_split(path: Path) -> Split:
    """Read a split written by `save_split`.

    Raises:
        DataError: the file is missing, damaged or changed by hand, or a patient is in two parts.
    """
    remedy = f"make it with `python -m benchmarks split {path.stem}`"
    if not path.is_file():
        raise DataError(f"no split file '{path}'; {remedy}")
    try:
        value: Any = read_json(path)
        split = TypeAdapter(Split).validate_python(value)
    except (json.JSONDecodeError, UnicodeDecodeError, ValidationError) as error:
        raise DataError(f"'{path}' is no split file ({error}); {remedy}") from None
    body = asdict(split)
    given = body.pop("digest")
    if digest(body) != given:
        raise DataError(f"'{path}' was changed after it was written; {remedy}")
    for fold in split.folds:
        check_disjoint(fold, path)
    return split
