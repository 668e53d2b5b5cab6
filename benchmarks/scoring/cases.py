"""The scores of a method on a data set: their columns, and whether the files are as written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.common.files import file_digest, read_json, write_json

# What names a row, what was measured, and which masks were empty.
IDENTITY = (
    "benchmark", "dataset", "method", "variant", "labels", "fold", "seed", "checkpoint", "case",
    "patient", "class",
)  # fmt: skip
SHARES = ("dice", "jaccard", "nsd")
DISTANCES = ("hd95_mm", "asd_mm", "assd_mm")
MEASURED = ("dice", "jaccard", "hd95_mm", "asd_mm", "assd_mm", "nsd")
VOXELS = ("ref_voxels", "pred_voxels")
COLUMNS = (*IDENTITY, *MEASURED, *VOXELS, "empty")
# Columns of the runs' table that tell what the runs were made with.
MADE_WITH = ("settings", "split", "data")
# Variant of rows that were predicted outside this suite, so that their key says so in every file.
EXTERNAL = "external"
# Table beside the case table of such rows: one row per run, what was read and what was checked.
ORIGIN = "external.csv"
ORIGIN_COLUMNS = (
    "dataset", "method", "labels", "fold", "seed", "all_labels", "masks", "digest", "split",
)  # fmt: skip

_SEAL = "digests.json"
# Scores have six decimals, and the Jaccard index changes at most twice as fast as Dice.
_ROUNDING = 3e-6


def seal(folder: Path) -> None:
    """Write the digests of all files of a scores folder, the last step of making it."""
    files = sorted(path for path in folder.iterdir() if path.name != _SEAL)
    write_json(folder / _SEAL, {path.name: file_digest(path) for path in files})


def broken_seal(folder: Path) -> str:
    """What of a scores folder is not as it was written; "" if all is."""
    try:
        known = read_json(folder / _SEAL)
        for name, code in known.items():
            if file_digest(folder / name) != code:
                return f"{folder / name} was changed after it was written"
    except FileNotFoundError as error:
        return f"no file {error.filename}"
    except (OSError, ValueError, AttributeError, TypeError):
        return f"{folder / _SEAL} cannot be read"
    return ""


def value_problems(frame: pd.DataFrame) -> Iterator[str]:
    """Scores that no masks can have, in words.

    Dice D, Jaccard D / (2 - D) and NSD are shares; distances are not negative, and there are none
    only where both masks are empty; masks are empty where they have no voxel.

    Args:
        frame: of `COLUMNS`; a column of NaN was not measured.
    """
    for name in SHARES:
        if not frame[name].dropna().between(0, 1).all():
            yield f"'{name}' outside of [0, 1]"
    for name in DISTANCES:
        if not frame[name].dropna().between(0, np.finfo(float).max).all():
            yield f"'{name}' negative or infinite"
    dice = frame["dice"]
    if not ((dice / (2 - dice) - frame["jaccard"]).abs() <= _ROUNDING).all():
        yield "'dice' and 'jaccard' that contradict each other"
    reference, predicted = (frame[name] for name in VOXELS)
    empty = np.select(
        [(reference == 0) & (predicted == 0), reference == 0, predicted == 0],
        ["both", "reference", "prediction"],
        "none",
    )
    if (reference < 0).any() or (predicted < 0).any() or (empty != frame["empty"]).any():
        yield "numbers of voxels that contradict 'empty'"
