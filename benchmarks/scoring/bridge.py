"""A raw data set of nnU-Net: labelled training patients, and the others with a run's pseudo-labels.

The layout is that of nnU-Net 2 (documentation/dataset_format.md of MIC-DKFZ/nnUNet).
"""

from __future__ import annotations

import gzip
import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.common.console import Board
from benchmarks.common.errors import ConfigError, DataError
from benchmarks.common.files import fill_folder, refuse_unwritable, write_bytes, write_json
from benchmarks.common.workspace import raw_folder
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.resolve import prepare_params
from benchmarks.scoring.predict import write_mask
from benchmarks.scoring.trained import Trained
from datasets import load_dataset
from datasets.base import RawCase
from datasets.preparing.store import Case

_NAME = re.compile(r"Dataset\d{3}_\w+")
_FILE = re.compile(r"[\w.+-]+")
_NIFTI = (".nii", ".nii.gz")


@dataclass(frozen=True)
class Bridge:
    """What is written.

    Attributes:
        out: folder to make, `Dataset<three digits>_<name>`.
        root: the checkout.
        raw: raw data; None takes data/raw/<dataset>.
        only: cases that get pseudo-labels; none are all of the unlabelled training patients.
    """

    out: Path
    root: Path
    raw: Path | None = None
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bridged:
    """What was written: the folder, and the numbers of cases with true and with pseudo-labels."""

    folder: Path
    labeled: int
    pseudo: int


def refuse_folder(out: Path) -> None:
    """Refuse a folder that `write_bridge` could not make, before a run is opened.

    Raises:
        ConfigError: it has another form of name, or exists.
        StorageError: it cannot be written.
    """
    if not _NAME.fullmatch(out.name):
        raise ConfigError(
            f"nnU-Net names raw data sets like Dataset501_Heart, not '{out.name}'; give --nnunet"
            f" {out.parent / 'Dataset501_Pseudo'}"
        )
    if out.exists() or out.is_symlink():
        raise ConfigError(f"'{out}' exists; name another --nnunet or remove it")
    refuse_unwritable(out)


def write_bridge(config: BenchmarkConfig, trained: Trained, wanted: Bridge) -> Bridged:
    """Write a folder that `nnUNetv2_plan_and_preprocess` takes.

    `imagesTr/<case>_<channel>` are the raw images as they are, `labelsTr/<case>` masks in their
    geometry: the references of the labelled patients of the run, and what its tested network
    predicts for the other training patients. Validation and test patients are not part of it.

    Args:
        config: of the benchmark.
        trained: the run.
        wanted: what to write.

    Raises:
        ConfigError: the folder exists or has another form of name, or a case is not one that may
            get pseudo-labels.
        DataError: the raw images are not one NIfTI or PNG file per channel, or are missing.
    """
    refuse_folder(wanted.out)
    labeled, pseudo = _chosen(trained, wanted.only)
    dataset = trained.run.key.dataset
    raw = wanted.raw or raw_folder(wanted.root, dataset)
    known = {c.case: c for c in load_dataset(dataset).scan(raw, prepare_params(config, dataset))}
    lost = sorted(case.case for case in (*labeled, *pseudo) if case.case not in known)
    if lost:
        raise DataError(f"'{raw}' does not hold the training cases {', '.join(lost)}")
    files = {case.case: known[case.case] for case in (*labeled, *pseudo)}
    ending = _ending(files.values(), trained)
    fill = partial(_fill, trained, labeled, pseudo, files, ending)
    fill_folder(wanted.out, fill)
    return Bridged(wanted.out, len(labeled), len(pseudo))


def _chosen(trained: Trained, only: Collection[str]) -> tuple[list[Case], list[Case]]:
    """Cases of the labelled patients with a mask, and those that get pseudo-labels.

    Raises:
        ConfigError: one of `only` may not get any.
    """
    data, fold, count = trained.job.data, trained.job.fold, trained.job.labels
    labeled = [c for c in data.of_patients(fold.train[:count]) if c.labeled]
    pseudo = data.of_patients(fold.train[count:])
    parts = {"a labelled training": labeled, "a validation": data.of_patients(fold.val)}
    parts["a test"] = data.of_patients(fold.test)
    for name in only:
        part = next((words for words, own in parts.items() if name in {c.case for c in own}), "")
        if part:
            raise ConfigError(f"'{name}' is {part} case of this run, and gets no pseudo-label")
        data.case(name)
    pseudo = [case for case in pseudo if not only or case.case in only]
    if not pseudo:
        raise ConfigError(
            f"all {len(fold.train)} training patients of this run have labels; take one with fewer"
            " by --labels"
        )
    return labeled, pseudo


def _ending(files: Collection[RawCase], trained: Trained) -> str:
    """Of all files of the new data set.

    Raises:
        DataError: of a layout that nnU-Net does not have.
    """
    channels, kinds = trained.job.data.channels, set()
    for case in files:
        names = [path.name for path in case.images]
        kinds |= {".nii.gz" if name.endswith(_NIFTI) else Path(name).suffix for name in names}
        if len(names) != len(channels) or kinds - {".nii.gz", ".png"} or len(kinds) > 1:
            raise DataError(
                f"case '{case.case}' lies in {', '.join(names)}; nnU-Net needs one NIfTI or PNG"
                f" file for each of the channels {', '.join(channels)}"
            )
        if not _FILE.fullmatch(case.case):
            raise DataError(f"case '{case.case}' has a name that no file can have")
    return kinds.pop()


def _fill(
    trained: Trained,
    labeled: list[Case],
    pseudo: list[Case],
    files: dict[str, RawCase],
    ending: str,
    folder: Path,
) -> None:
    data, key = trained.job.data, trained.run.key
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    with Board() as board:
        for number, case in enumerate((*labeled, *pseudo), 1):
            images = files[case.case].images
            for channel, path in enumerate(images):
                _copy(path, folder / "imagesTr" / f"{case.case}_{channel:04d}{ending}")
            if number <= len(labeled):
                mask = np.asarray(data.reference(case.case))
            else:
                found = trained.probability(data.image(case.case)).argmax(0).numpy()
                mask = data.to_native(case.case, found.astype(np.uint8))
            write_mask(mask, images[0], folder / "labelsTr" / f"{case.case}{ending}")
            board.update(f"export {key.dataset}", number, len(labeled) + len(pseudo))
    adapter = load_dataset(key.dataset)
    described = {
        "channel_names": {str(n): name for n, name in enumerate(data.channels)},
        "labels": {name: n for n, name in enumerate(data.classes)},
        "numTraining": len(labeled) + len(pseudo),
        "file_ending": ending,
        "name": adapter.title,
        "licence": adapter.licence,
        "reference": adapter.citation,
        "pseudo_labels": {
            "method": key.method, "labels": key.labels, "fold": key.fold, "seed": key.seed,
            "checkpoint": trained.checkpoint, "run": trained.run.digest,
            "cases": [case.case for case in pseudo],
        },
    }  # fmt: skip
    write_json(folder / "dataset.json", described)


def _copy(source: Path, target: Path) -> None:
    if source.name.endswith(".nii"):
        write_bytes(target, gzip.compress(source.read_bytes(), 6, mtime=0))
    else:
        shutil.copyfile(source, target)
