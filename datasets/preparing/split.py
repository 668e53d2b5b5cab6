"""Division of patients into training, validation and test parts.

Patients are ranked by a hash of seed, part and id. So a split depends on no random number
generator, and a patient who is added does not change the order of the others.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError

from benchmarks.common.errors import ConfigError, DataError, nearest
from benchmarks.common.files import digest, read_json, write_json
from benchmarks.common.schema import Strict
from datasets.preparing.store import Prepared


class SplitConfig(Strict):
    """How patients are divided. Labelled subsets are the first n of each fold's training order."""

    scheme: str = Field("seeded", description="seeded, cv, or the name of a public split")
    seed: int = Field(0, ge=0)
    val: int = Field(0, ge=0, description="validation patients (seeded, cv)")
    test: int = Field(0, ge=0, description="test patients (seeded)")
    folds: int = Field(1, ge=1, description="seeded: labelled orders; cv: test parts")


@dataclass(frozen=True)
class Patient:
    """What a split must know of a patient.

    Attributes:
        id: unique.
        labeled: at least one case has a mask.
        group: stratum, or "".
    """

    id: str
    labeled: bool
    group: str = ""


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


@dataclass(frozen=True)
class PublicList:
    """A published division as stored in `datasets/splits`."""

    dataset: str
    scheme: str
    source: str
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]


def patients_of(prepared: Prepared) -> list[Patient]:
    """Patients of prepared data, sorted by id; the group is that of the first case."""
    cases = defaultdict(list)
    for case in prepared.cases:
        cases[case.patient].append(case)
    return [
        Patient(name, any(case.labeled for case in own), own[0].group)
        for name, own in sorted(cases.items())
    ]


def make_split(
    patients: Iterable[Patient],
    dataset: str,
    config: SplitConfig,
    public: Mapping[str, Path],
) -> Split:
    """Divide patients by the configured scheme.

    `seeded`: test and validation parts are drawn once by the seed and shared by all folds; each
    fold has its own order of the remaining patients. `cv`: every patient is tested in one of k
    folds. The name of a public split: its published lists and order. Parts and orders hold groups
    in proportion. Patients without a mask stand in train only, after those with one.

    Args:
        patients: who there is.
        dataset: id of the data set.
        config: scheme and sizes.
        public: file of each public split by scheme.

    Raises:
        ConfigError: unknown scheme, or sizes that do not go with it.
        DataError: too few patients, or patients of a public split are missing.
    """
    everyone = sorted(patients, key=lambda patient: patient.id)
    twice = [name for name, count in Counter(p.id for p in everyone).items() if count > 1]
    if twice:
        raise DataError(f"patients are listed twice: {', '.join(twice)}")
    known = [patient for patient in everyone if patient.labeled]
    if config.scheme == "seeded":
        folds = _seeded(known, config)
    elif config.scheme == "cv":
        folds = _cross_validation(known, config)
    elif config.scheme in public:
        folds = _published(known, config, public[config.scheme])
    else:
        hint = nearest(config.scheme, ["seeded", "cv", *public])
        raise ConfigError(f"unknown split scheme '{config.scheme}' for {dataset}: {hint}")
    bare = [patient for patient in everyone if not patient.labeled]
    folds = [
        _extended(fold, _ranked(bare, f"{config.seed}/bare/{i}")) for i, fold in enumerate(folds)
    ]
    return sealed(dataset, config, folds)


def sealed(dataset: str, config: SplitConfig, folds: Sequence[Fold]) -> Split:
    """A split with its digest."""
    body = {"dataset": dataset, "scheme": config.scheme, "seed": config.seed}
    code = digest({**body, "folds": [asdict(fold) for fold in folds]})
    return Split(dataset, config.scheme, config.seed, tuple(folds), code)


def _extended(fold: Fold, bare: tuple[str, ...]) -> Fold:
    """The fold with patients without mask at the end of train."""
    return replace(fold, train=(*fold.train, *bare), without_mask=len(bare))


def _seeded(patients: Sequence[Patient], config: SplitConfig) -> list[Fold]:
    if config.test < 1:
        raise ConfigError(
            "split scheme 'seeded' needs `test` of at least 1 patient, given 0; "
            "set `data.<dataset>.split.test` in params.yaml"
        )
    _enough(len(patients), config.val + config.test + 1, f"{config.val} val, {config.test} test")
    order = _ranked(patients, f"{config.seed}/held out")
    test, val = order[: config.test], order[config.test : config.test + config.val]
    held_out = {*test, *val}
    rest = [patient for patient in patients if patient.id not in held_out]
    return [
        Fold(_ranked(rest, f"{config.seed}/train/{fold}"), val, test)
        for fold in range(config.folds)
    ]


def _cross_validation(patients: Sequence[Patient], config: SplitConfig) -> list[Fold]:
    count = config.folds
    if count < 2 or config.test:
        raise ConfigError(
            "split scheme 'cv' needs `folds` of at least 2 and no `test` (each fold tests its own "
            f"part), given folds: {count}, test: {config.test}"
        )
    largest = -(-len(patients) // count)
    need = max(count, largest + config.val + 1)
    _enough(len(patients), need, f"{count} test parts, {config.val} val")
    # Dealt group by group, so that each part gets its share of every group.
    groups = [_ranked(group, f"{config.seed}/deal") for group in _by_group(patients)]
    dealt = [name for group in groups for name in group]
    folds = []
    for fold in range(count):
        test = tuple(sorted(dealt[fold::count]))
        rest = [patient for patient in patients if patient.id not in test]
        order = _ranked(rest, f"{config.seed}/cv/{fold}")
        folds.append(Fold(order[config.val :], order[: config.val], test))
    return folds


def _published(patients: Sequence[Patient], config: SplitConfig, path: Path) -> list[Fold]:
    if (config.val, config.test, config.folds) != (0, 0, 1):
        raise ConfigError(
            f"split scheme '{config.scheme}' fixes its parts; remove `val`, `test` and `folds`"
        )
    lists = _read_public(path)
    parts = (lists.train, lists.val, lists.test)
    missing = sorted({name for part in parts for name in part} - {p.id for p in patients})
    if missing:
        raise DataError(
            f"public split '{config.scheme}' names {len(missing)} patients with masks that are not "
            f"in the data: {', '.join(missing)}; complete the data and prepare them again, or use "
            "`split: {scheme: seeded}`"
        )
    fold = Fold(*parts)
    _check_disjoint(fold, path)
    return [fold]


def _read_public(path: Path) -> PublicList:
    try:
        return TypeAdapter(PublicList).validate_python(read_json(path))
    except (OSError, ValueError, ValidationError) as error:
        raise DataError(f"'{path}' is no public split ({error}); restore it with git") from None


def _enough(there: int, needed: int, parts: str) -> None:
    if there < needed:
        raise DataError(
            f"{there} patients with masks are there, {needed} are needed ({parts}, at least 1 to "
            "train); prepare more patients or make `data.<dataset>.split` smaller"
        )


def _by_group(patients: Sequence[Patient]) -> list[list[Patient]]:
    groups: dict[str, list[Patient]] = defaultdict(list)
    for patient in patients:
        groups[patient.group].append(patient)
    return [groups[name] for name in sorted(groups)]


def _ranked(patients: Sequence[Patient], key: str) -> tuple[str, ...]:
    """Order by hash; any stretch of it holds the groups in proportion to their sizes."""

    def rank(name: str) -> str:
        return hashlib.sha256(f"{key}/{name}".encode()).hexdigest()

    turns = []
    for group in _by_group(patients):
        ordered = sorted((patient.id for patient in group), key=rank)
        turns += [
            ((turn + 0.5) / len(group), rank(group[0].group), name)
            for turn, name in enumerate(ordered)
        ]
    return tuple(name for _, _, name in sorted(turns))


def _check_disjoint(fold: Fold, path: Path) -> None:
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
    remedy = "make it with `python -m benchmarks split`"
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
        _check_disjoint(fold, path)
    return split
