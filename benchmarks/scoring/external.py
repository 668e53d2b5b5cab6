"""Scores of predictions that were made outside this suite, for a row of their own in its tables.

They are scored as the suite's own predictions are: on the test patients of the benchmark's split,
in native geometry, and stored where its scores are.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.common.console import Board
from benchmarks.common.errors import ConfigError, DataError
from benchmarks.common.files import digest, file_digest, fill_folder, write_text
from benchmarks.common.lease import waiting_for
from benchmarks.common.schema import check
from benchmarks.common.workspace import (
    CASES,
    external_folder,
    prepared_folder,
    raw_folder,
    split_file,
)
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.grid import fold_of
from benchmarks.scoring.cases import COLUMNS, EXTERNAL, ORIGIN, ORIGIN_COLUMNS
from benchmarks.scoring.leaks import Training, read_training, refuse_trained
from benchmarks.scoring.masks import MaskFile, find_masks, native_mask
from benchmarks.scoring.rows import Row, as_csv, case_rows, tested_cases
from datasets import load_dataset
from datasets.preparing.split import Fold, load_split
from datasets.preparing.store import Case, Prepared, open_prepared
from methods import method_ids

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_RUN = ["labels", "fold", "seed"]
_SHOWN = 5


@dataclass(frozen=True)
class Prediction:
    """What somebody wants to be scored.

    Attributes:
        name: of the row.
        masks: folder of the masks, see `find_masks`.
        labels: labelled patients that the network was trained with; "all"; "" is the only count
            of the benchmark.
        fold: of the benchmark; None is the first, or each of a cross-validation.
        seed: of the benchmark that it stands beside; None is the first of the fold.
        split: file that tells on whom the network was trained, or None.
        raw: raw data, for the affines of the images; None is data/raw/<dataset>.
    """

    name: str
    masks: Path
    labels: str = ""
    fold: int | None = None
    seed: int | None = None
    split: Path | None = None
    raw: Path | None = None


@dataclass(frozen=True)
class Scored:
    """What came of it.

    Attributes:
        folder: with the case table.
        patients: that were scored.
        dice: mean over patients, in [0, 1].
        notes: what a user should know, one line each.
    """

    folder: Path
    patients: int
    dice: float
    notes: tuple[str, ...]


def score_external(config: BenchmarkConfig, dataset: str, given: Prediction, root: Path) -> Scored:
    """Score a folder of masks on the test patients of a benchmark.

    Args:
        config: of the benchmark.
        dataset: id.
        given: the predictions.
        root: the checkout.

    Returns:
        Where the scores are, with `cases.csv` and `external.csv`. Scores of the same name for other
        labelled counts, folds and seeds are kept; equal ones are replaced.

    Raises:
        ConfigError: the name, labelled count, fold or seed is not allowed.
        DataError: data not prepared, a mask of a test case is missing or does not fit its image, or
            the network was trained on a test patient.
    """
    _check_name(given.name)
    source = _open(config, dataset, given, root)
    split = load_split(split_file(root, config.name, dataset))
    rows: list[Row] = []
    origin: list[Row] = []
    for fold, seed in _pairs(config, dataset, given):
        part = fold_of(split, fold)
        run = (_labels(config, dataset, given, part), fold, seed)
        cases = tested_cases(source.data, part.test)
        _refuse_missing(given, cases, source.masks)
        if source.training:
            refuse_trained(source.training, cases, source.masks, fold=fold)
        rows += _scored((config.name, dataset, given.name, EXTERNAL, *run), cases, source)
        origin.append((dataset, given.name, *run, *_origin(given, cases, source)))
    folder = external_folder(root, config.name) / f"{dataset}-{given.name}"
    frame = _written(folder, rows, origin)
    dice = float(frame.groupby("patient")["dice"].mean().mean())
    notes = tuple(_notes(source, set(frame["case"])))
    return Scored(folder, frame["patient"].nunique(), dice, notes)


@dataclass(frozen=True)
class _Source:
    """What is read: the data, the masks, the raw images by case, and who was trained on."""

    data: Prepared
    masks: dict[str, MaskFile]
    images: dict[str, Path]
    training: Training | None


def _open(config: BenchmarkConfig, dataset: str, given: Prediction, root: Path) -> _Source:
    data = open_prepared(prepared_folder(root, config.name, dataset))
    masks = find_masks(given.masks)
    images = _images(config, dataset, given.raw or raw_folder(root, dataset))
    return _Source(data, masks, images, read_training(given.split, data) if given.split else None)


def _scored(run: Row, cases: Sequence[Case], source: _Source) -> list[Row]:
    rows: list[Row] = []
    _, dataset, name, _, _, fold, _ = run
    with Board() as board:
        for number, case in enumerate(cases, 1):
            mask, image = source.masks[case.case], source.images.get(case.case)
            native = native_mask(mask, source.data, case, image)
            rows += case_rows(run, "last", source.data, case, native)
            board.update(f"score {dataset} {name} fold {fold}", number, len(cases))
    return rows


def _origin(given: Prediction, cases: Sequence[Case], source: _Source) -> Row:
    """What is recorded of a run: kind, masks with their digest, and the list it was checked by."""
    files = [[case.case, file_digest(source.masks[case.case].path)] for case in cases]
    split = given.split.name if given.split else ""
    return given.labels == "all", len(cases), digest(files), split


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"--name '{name}': small letters, digits and _, such as my_net")
    if name in method_ids():
        raise ConfigError(f"--name '{name}' is a method of this suite; give another, my_{name}")


def _pairs(config: BenchmarkConfig, dataset: str, given: Prediction) -> list[tuple[int, int]]:
    """Fold and seed that the predictions stand for: one, or one per fold of a cross-validation."""
    pairs = [p for p in config.grid.pairs if given.seed is None or p[1] == given.seed]
    pairs = [p for p in pairs if given.fold is None or p[0] == given.fold]
    if not pairs:
        shown = ", ".join(f"fold {fold} seed {seed}" for fold, seed in config.grid.pairs[:_SHOWN])
        asked = {"fold": given.fold, "seed": given.seed}
        words = " with ".join(f"{name} {n}" for name, n in asked.items() if n is not None)
        raise ConfigError(f"the grid of '{config.name}' has no {words}: {shown}")
    first = {fold: (fold, seed) for fold, seed in reversed(pairs)}
    every = config.data[dataset].split.scheme == "cv"
    return [first[fold] for fold in sorted(first)] if every else [pairs[0]]


def _labels(config: BenchmarkConfig, dataset: str, given: Prediction, part: Fold) -> int:
    """The labelled count of the row.

    Raises:
        ConfigError: the benchmark has no such count, or several and none was given.
    """
    counts = config.data[dataset].labels
    if given.labels == "all":
        return len(part.train) - part.without_mask
    if not given.labels and len(counts) == 1:
        return counts[0]
    if given.labels.isdecimal() and int(given.labels) in counts:
        return int(given.labels)
    raise ConfigError(
        f"--labels '{given.labels}': a row stands beside those of the benchmark with as many"
        f" labelled patients: {', '.join(map(str, counts))}, or all"
    )


def _images(config: BenchmarkConfig, dataset: str, raw: Path) -> dict[str, Path]:
    """Raw NIfTI image of every case; none where the raw data are not here."""
    if not raw.exists():
        return {}
    adapter = load_dataset(dataset)
    options = check(adapter.Params, config.data[dataset].prepare)
    firsts = {case.case: case.images[0] for case in adapter.scan(raw, options)}
    return {c: p for c, p in firsts.items() if p.name.endswith((".nii", ".nii.gz"))}


def _refuse_missing(given: Prediction, cases: Sequence[Case], masks: Collection[str]) -> None:
    missing = [case.case for case in cases if case.case not in masks]
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise DataError(
            f"'{given.masks}' lacks {len(missing)} of {len(cases)} test cases:"
            f" {', '.join(missing[:_SHOWN])}{more}. It holds {', '.join(sorted(masks)[:_SHOWN])},"
            " ...: every test patient counts, so predict these too"
        )


def _written(folder: Path, rows: Sequence[Row], origin: Sequence[Row]) -> pd.DataFrame:
    """Write both tables, with the kept rows of other runs first; returns the new case rows.

    Two processes with runs of one name take turns, so that each keeps the other's.
    """
    from io import StringIO

    new = pd.read_csv(StringIO(as_csv(COLUMNS, rows)), dtype=str, keep_default_na=False)
    table = pd.DataFrame(list(origin), columns=list(ORIGIN_COLUMNS)).astype(str)

    def fill(target: Path) -> None:
        for name, frame in ((CASES, new), (ORIGIN, table)):
            whole = pd.concat([_others(folder / name, frame), frame])
            write_text(target / name, whole.to_csv(index=False, lineterminator="\n"))

    with waiting_for(folder.with_name(f".{folder.name}.lock")):
        fill_folder(folder, fill)
    return new.astype({"dice": float})


def _others(path: Path, new: pd.DataFrame) -> pd.DataFrame:
    """Rows of runs that the new ones do not replace.

    Raises:
        ConfigError: the name stands for another kind of row.
    """
    if not path.is_file():
        return new.iloc[:0]
    old = pd.read_csv(path, dtype=str, keep_default_na=False)
    if path.name == ORIGIN and set(old["all_labels"]) != set(new["all_labels"]):
        raise ConfigError(
            f"'{path}' has a row of this name with other --labels; give another --name, or remove"
            f" '{path.parent}'"
        )
    keys = set(new[_RUN].itertuples(index=False, name=None))
    return old[[key not in keys for key in old[_RUN].itertuples(index=False, name=None)]]


def _notes(source: _Source, used: set[str]) -> Iterator[str]:
    if source.training is None:
        yield (
            "not checked: whether the network was trained on these patients; --split FILE names"
            " those it was trained on"
        )
    if not source.images and any(source.data.case(case).spacing_known for case in used):
        yield "not checked: affines, since the raw images are not here; --raw DIR"
    unused = len(source.masks.keys() - used)
    if unused:
        yield f"left out: {unused} masks of cases that are not tested"
