"""Make a folder in nnU-Net's layout a data set of this checkout."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import invalidate_caches
from keyword import iskeyword
from pathlib import Path
from typing import Literal

from benchmarks.common.errors import ConfigError, DataError
from benchmarks.common.files import storing
from benchmarks.common.workspace import raw_folder
from datasets import dataset_ids, load_dataset
from datasets.reading.description import Description, read_description

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_TEMPLATE = '''"""Own data in nnU-Net's layout, added by `python -m benchmarks datasets add`."""

from __future__ import annotations

from datasets.reading.nnunet import NnUNet, {params}


class Own(NnUNet[{params}]):
    """Classes and channels as in `dataset.json`."""

    id = {name!r}
    title = {title!r}
    Params = {params}
    ndim = {ndim}
    channels = {channels!r}
    classes = {classes!r}
    ending = {ending!r}
    patient = {patient!r}
'''


@dataclass(frozen=True)
class Added:
    """What `add` made.

    Attributes:
        file: the new adapter.
        raw: link to the folder.
        cases: found, labelled and not.
        patients: found.
        labeled: patients with a mask.
        block: lines for the `data` of a params file.
    """

    file: Path
    raw: Path
    cases: int
    patients: int
    labeled: int
    block: str


def add_nnunet(
    folder: Path,
    name: str,
    root: Path,
    *,
    ndim: Literal[2, 3] | None = None,
    patient: str = "",
    title: str = "",
) -> Added:
    """Write `datasets/<name>.py` and link `data/raw/<name>` to the folder.

    Args:
        folder: nnU-Net raw folder with `dataset.json`.
        name: id of the new data set.
        root: the checkout.
        ndim: 2 for slices, 3 for volumes; None: 2 for PNG files, else 3.
        patient: regular expression whose first group in a case's name is the patient; "": every
            case is a patient.
        title: in tables and figures; "" takes the name.

    Raises:
        ConfigError: the name is taken or no identifier, or the pattern has no group.
        DataError: the folder cannot be used; nothing is written then.
    """
    _check(name, patient, root)
    found = read_description(folder)
    dimensions = ndim or (2 if found.file_ending == ".png" else 3)
    file, raw = root / "datasets" / f"{name}.py", raw_folder(root, name)
    source = _source(found, name, dimensions, patient, title)
    with storing(file), file.open("x", encoding="utf-8") as stream:
        stream.write(source)  # "x": never in place of a file that is there
    try:
        invalidate_caches()
        adapter = load_dataset(name)
        cases = adapter.scan(folder, adapter.Params())
        labeled = {case.patient for case in cases if case.label is not None}
        block = _block(name, dimensions, len(labeled))
    except BaseException:
        file.unlink()
        raise
    raw.parent.mkdir(parents=True, exist_ok=True)
    raw.symlink_to(folder.resolve(), target_is_directory=True)
    patients = {case.patient for case in cases}
    return Added(file, raw, len(cases), len(patients), len(labeled), block)


def _check(name: str, patient: str, root: Path) -> None:
    if not _NAME.fullmatch(name) or iskeyword(name):
        raise ConfigError(
            f"name '{name}' is not allowed; use lower-case letters, digits and _, at most 64, and"
            " no word of Python"
        )
    places = (root / "datasets" / name, root / "datasets" / f"{name}.py")
    if name in dataset_ids() or any(path.exists() or path.is_symlink() for path in places):
        raise ConfigError(f"there is a file or folder 'datasets/{name}'; choose another --name")
    taken = raw_folder(root, name)
    if taken.exists() or taken.is_symlink():
        raise ConfigError(f"'{taken}' exists; remove it or choose another --name")
    try:
        groups = re.compile(patient).groups
    except re.error as error:
        raise ConfigError(f"--patient '{patient}' is no regular expression: {error}") from None
    if patient and groups < 1:
        raise ConfigError(f"--patient '{patient}' needs a group, such as (patient\\d+)")


def _source(found: Description, name: str, ndim: int, patient: str, title: str) -> str:
    return _TEMPLATE.format(
        params="NnUNetSliceParams" if ndim == 2 else "NnUNetVolumeParams",
        name=name,
        title=title or name,
        ndim=ndim,
        channels=found.channels,
        classes=found.classes,
        ending=found.file_ending,
        patient=patient,
    )


def _block(name: str, ndim: int, count: int) -> str:
    """A block in which a fifth of the labelled patients tests and a tenth validates."""
    test, val = count // 5, count // 10
    if count < 3:
        raise DataError(f"{count} labelled patients; at least 3 are needed to train and test")
    labels = max((count - test - val) // 10, 1)
    size = "prepare: {size: [256, 256]}" if ndim == 2 else "train: {patch: [96, 96, 96]}"
    return (
        f"data:\n  {name}:\n    labels: [{labels}]\n    {size}\n"
        f"    split: {{scheme: seeded, seed: 0, val: {val}, test: {max(test, 1)}}}\n"
    )
