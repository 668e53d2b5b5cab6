"""How patients are divided into training, validation and test parts.

Patients are ranked by a hash of seed, part and id. So a split depends on no random number
generator, and a patient who is added does not change the order of the others.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from benchmarks.common.errors import ConfigError, DataError, nearest
from benchmarks.common.files import read_json
from datasets.preparing.split import Fold, Patient, Split, SplitConfig, check_disjoint, sealed
from datasets.preparing.store import Prepared

# Schemes whose sizes the configuration decides.
OWN = ("seeded", "cv", "official")


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
        Patient(name, any(case.labeled for case in own), own[0].group, own[0].sealed)
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
    folds. `official`: tested is the part that the publisher set apart, validation patients are
    drawn from the others; folds as in `seeded`. The name of a public split: its published lists and
    order. Parts and orders hold groups in proportion. Patients without a mask stand in train only,
    after those with one.

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
    elif config.scheme == "official":
        folds = _official(known, config)
    elif config.scheme in public:
        folds = _published(known, config, public[config.scheme])
    else:
        hint = nearest(config.scheme, [*OWN, *public])
        raise ConfigError(f"unknown split scheme '{config.scheme}' for {dataset}: {hint}")
    bare = [patient for patient in everyone if not patient.labeled]
    folds = [
        _extended(fold, _ranked(bare, f"{config.seed}/bare/{i}")) for i, fold in enumerate(folds)
    ]
    return sealed(dataset, config, folds)


def _extended(fold: Fold, bare: tuple[str, ...]) -> Fold:
    """The fold with patients without mask at the end of train."""
    return replace(fold, train=(*fold.train, *bare), without_mask=len(bare))


def _seeded(patients: Sequence[Patient], config: SplitConfig) -> list[Fold]:
    if config.test < 1:
        raise ConfigError(
            "split scheme 'seeded' needs `test` of at least 1 patient, given 0; "
            "set `data.<dataset>.split.test` of the parameter file"
        )
    _enough(len(patients), config.val + config.test + 1, f"{config.val} val, {config.test} test")
    order = _ranked(patients, f"{config.seed}/held out")
    test, val = order[: config.test], order[config.test : config.test + config.val]
    return _orders(patients, config, val, test)


def _orders(
    patients: Sequence[Patient],
    config: SplitConfig,
    val: tuple[str, ...],
    test: tuple[str, ...],
) -> list[Fold]:
    """Folds that share their held-out parts, each with an order of its own for the rest."""
    held_out = {*test, *val}
    rest = [patient for patient in patients if patient.id not in held_out]
    return [
        Fold(_ranked(rest, f"{config.seed}/train/{fold}"), val, test)
        for fold in range(config.folds)
    ]


def _official(patients: Sequence[Patient], config: SplitConfig) -> list[Fold]:
    if config.test:
        raise ConfigError(
            "split scheme 'official' tests the part that the publisher set apart; remove `test`,"
            f" given {config.test}"
        )
    test = tuple(patient.id for patient in patients if patient.sealed)
    if not test:
        raise DataError(
            "no patient is of the publisher's test part; add it to the raw data (`python -m"
            " benchmarks datasets` shows the layout), prepare it with `prepare: {testing: true}`"
            " where the data set asks for it, or use `split: {scheme: seeded}`"
        )
    others = [patient for patient in patients if not patient.sealed]
    _enough(len(others), config.val + 1, f"{config.val} val")
    val = _ranked(others, f"{config.seed}/held out")[: config.val]
    return _orders(patients, config, val, test)


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
    check_disjoint(fold, path)
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
