"""Make a folder in nnU-Net's layout a data set of this checkout."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import invalidate_caches
from keyword import iskeyword
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np
from PIL import Image

from benchmarks.common.errors import ConfigError, DataError
from benchmarks.common.files import storing, write_text
from benchmarks.common.workspace import raw_folder
from datasets import dataset_ids, load_dataset
from datasets.base import MIN_SIZE, RawCase
from datasets.reading.description import Description, read_description

# Sides that a usual card has memory for, by dimension.
_LARGEST = {2: 256, 3: 96}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_TEMPLATE = '''"""Own data in nnU-Net's layout, added by `python -m benchmarks datasets add`."""

from __future__ import annotations

from datasets.reading.nnunet import NnUNet, {params}


class Own(NnUNet[{params}]):
    """Classes and channels as in `dataset.json`."""

{fields}
'''
_WIDTH = 100  # of a line, as ruff formats this checkout


@dataclass(frozen=True)
class Added:
    """What `add` made.

    Attributes:
        file: the new adapter.
        raw: link to the folder.
        cases: found, labelled and not.
        patients: found.
        labeled: cases with a mask.
        block: lines for the `data` of a params file.
        ndim: 2 where slices are the samples, 3 where volumes are.
    """

    file: Path
    raw: Path
    cases: int
    patients: int
    labeled: int
    block: str
    ndim: Literal[2, 3]


def add_nnunet(
    folder: Path,
    name: str,
    root: Path,
    *,
    ndim: Literal[2, 3] | None = None,
    patient: str = "",
    title: str = "",
    force: bool = False,
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
        force: in place of a data set that was added before under this name.

    Raises:
        ConfigError: the name is taken or no identifier, or the pattern has no group.
        DataError: the folder cannot be used; nothing is written then.
    """
    file, raw = root / "datasets" / f"{name}.py", raw_folder(root, name)
    found = read_description(folder)
    dimensions: Literal[2, 3] = ndim or (2 if found.file_ending == ".png" else 3)
    source = _source(found, name, dimensions, patient, title)
    _check(name, patient, root, force=force)
    older = file.read_text(encoding="utf-8") if _was_added(file) else None
    try:
        write_text(file, source)
        invalidate_caches()
        adapter = load_dataset(name)
        cases = adapter.scan(folder, adapter.Params())
        labeled = [case for case in cases if case.label is not None]
        count = len({case.patient for case in labeled})
        block = _block(name, dimensions, count, _median_shape(labeled))
        block += "    unit: pixels\n" * (found.file_ending == ".png")  # they carry no spacing
        _link(raw, folder)
    except BaseException:
        if older is None:
            file.unlink(missing_ok=True)
        elif file.read_text(encoding="utf-8") != older:
            write_text(file, older)
        raise
    patients = {case.patient for case in cases}
    return Added(file, raw, len(cases), len(patients), len(labeled), block, dimensions)


def _link(raw: Path, folder: Path) -> None:
    """Link the folder, in place of an older link once the new one is there."""
    draft = raw.with_name(f".{raw.name}.{os.getpid()}.tmp")
    with storing(raw):
        raw.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.symlink_to(folder.resolve(), target_is_directory=True)
            draft.replace(raw)
        finally:
            draft.unlink(missing_ok=True)


def remove_added(name: str, root: Path) -> list[Path]:
    """Undo `add_nnunet`: remove the adapter and the link; images, arrays and runs stay.

    Args:
        name: id of the data set.
        root: the checkout.

    Returns:
        What was removed.

    Raises:
        ConfigError: the data set was not made by `add_nnunet`.
    """
    file, raw = root / "datasets" / f"{name}.py", raw_folder(root, name)
    if not _was_added(file):
        own = [n for n in dataset_ids() if _was_added(root / "datasets" / f"{n}.py")]
        known = f"added were {', '.join(own)}" if own else "none was added"
        raise ConfigError(f"'{name}' was not made by `datasets add`, so it stays; {known}")
    file.unlink()
    removed = [file]
    if raw.is_symlink():
        raw.unlink()
        removed.append(raw)
    return removed


def _was_added(file: Path) -> bool:
    """Whether a module is of `add_nnunet`."""
    first = _TEMPLATE.partition("\n")[0]
    return file.is_file() and file.read_text(encoding="utf-8").startswith(first)


def _check(name: str, patient: str, root: Path, *, force: bool) -> None:
    if not _NAME.fullmatch(name) or iskeyword(name):
        raise ConfigError(
            f"name '{name}' is not allowed; use lower-case letters, digits and _, at most 64, and"
            " no word of Python"
        )
    places = (root / "datasets" / name, root / "datasets" / f"{name}.py")
    again = _was_added(places[1])
    if again and not force:
        raise ConfigError(
            f"'{name}' was added before; --force adds it anew, or choose another --name"
        )
    known = name in dataset_ids() or any(path.exists() or path.is_symlink() for path in places)
    if known and not again:
        raise ConfigError(f"there is a file or folder 'datasets/{name}'; choose another --name")
    taken = raw_folder(root, name)
    if (taken.exists() or taken.is_symlink()) and not (again and taken.is_symlink()):
        raise ConfigError(f"'{taken}' exists; remove it or choose another --name")
    try:
        groups = re.compile(patient).groups
    except re.error as error:
        raise ConfigError(f"--patient '{patient}' is no regular expression: {error}") from None
    if patient and groups < 1:
        raise ConfigError(f"--patient '{patient}' needs a group, such as (patient\\d+)")


def _source(found: Description, name: str, ndim: int, patient: str, title: str) -> str:
    params = "NnUNetSliceParams" if ndim == 2 else "NnUNetVolumeParams"
    fields = {
        "id": _quoted(name),
        "title": _quoted(title or name),
        "Params": params,
        "ndim": str(ndim),
        "channels": _listed("channels", found.channels),
        "classes": _listed("classes", found.classes),
        "ending": _quoted(found.file_ending),
        "patient": _quoted(patient),
    }
    lines = [f"    {key} = {text}" for key, text in fields.items()]
    return _TEMPLATE.format(params=params, fields="\n".join(lines))


def _quoted(text: str) -> str:
    """A string as ruff writes it, with double quotes where that needs no further backslash."""
    plain = repr(text)
    return plain if '"' in plain else f'"{plain[1:-1]}"'


def _listed(key: str, names: Sequence[str]) -> str:
    """A tuple of strings as ruff writes it."""
    items = [_quoted(name) for name in names]
    line = f"({', '.join(items)}{',' if len(items) == 1 else ''})"
    if len(f"    {key} = {line}") <= _WIDTH:
        return line
    return "\n".join(["(", *(f"        {item}," for item in items), "    )"])


def _median_shape(cases: Sequence[RawCase]) -> tuple[int, int, int]:
    """Median of the images' slices, rows and columns, of which only headers are read."""
    shapes = [_shape(case.images[0]) for case in cases]
    depth, rows, columns = (int(np.median(axis)) for axis in zip(*shapes, strict=True))
    return depth, rows, columns


def _shape(path: Path) -> tuple[int, ...]:
    """(D, H, W) of an image.

    Raises:
        DataError: it cannot be read, or has no three axes.
    """
    try:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                return (1, picture.height, picture.width)
        shape = tuple(int(n) for n in nib.nifti1.load(path).shape)[::-1]
    except (OSError, ValueError, nib.filebasedimages.ImageFileError) as error:
        raise DataError(f"'{path}' cannot be read: {error}") from None
    if len(shape) != 3:
        raise DataError(f"'{path}' has {len(shape)} axes; nnU-Net's images have three")
    return shape


def _block(name: str, ndim: int, count: int, shape: tuple[int, int, int]) -> str:
    """A block in which a fifth of the labelled patients tests and a tenth validates.

    Slices are brought to, and patches cut at, the median size in steps that the U-Net can halve.
    """
    test, val = max(count // 5, 1), max(count // 10, int(count > 3))
    if count < 3:
        raise DataError(f"{count} labelled patients; at least 3 are needed to train and test")
    labels = max((count - test - val) // 10, 1)
    most = _LARGEST[ndim]
    sides = [min(max(n // MIN_SIZE, 1) * MIN_SIZE, most) for n in shape[3 - ndim :]]
    size = f"prepare: {{size: {sides}}}" if ndim == 2 else f"train: {{patch: {sides}}}"
    return (
        f"data:\n  {name}:\n    labels: [{labels}]\n    {size}\n"
        f"    split: {{scheme: seeded, seed: 0, val: {val}, test: {test}}}\n"
    )
