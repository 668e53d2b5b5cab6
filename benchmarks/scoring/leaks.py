"""Which patients somebody else's network was trained on, by the lists that its user names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common.errors import DataError
from benchmarks.scoring.masks import MaskFile
from datasets.preparing.store import Case, Prepared

_SHOWN = 5
_FORMS = (
    "a split of this suite, nnU-Net's splits_final.json, a published list with `train`, or a text"
    " file with one patient or case per line"
)


@dataclass(frozen=True)
class Training:
    """On whom a network was trained.

    Attributes:
        path: of the file that says so.
        folds: patients by fold; a list without folds counts as one.
        own: the folds are those of a split of this suite.
    """

    path: Path
    folds: tuple[frozenset[str], ...]
    own: bool


def read_training(path: Path, data: Prepared) -> Training:
    """Read the patients that a network was trained on.

    Args:
        path: file in one of the forms that `_FORMS` names.
        data: whose patients and cases the file names.

    Raises:
        DataError: the file is missing or of another form, or names nobody of the data.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--split '{path}' cannot be read ({error}); it takes {_FORMS}") from None
    lists, own = _lists(text, path)
    patient = {c.case: c.patient for c in data.cases} | {c.patient: c.patient for c in data.cases}
    known = tuple(frozenset(patient[n] for n in names if n in patient) for names in lists)
    if not any(known):
        named = next((name for names in lists for name in names), "nobody")
        raise DataError(
            f"--split '{path}' names no patient of {data.dataset}: it says '{named}', the data"
            f" '{data.cases[0].patient}' and '{data.cases[0].case}'"
        )
    return Training(path, known, own)


def _lists(text: str, path: Path) -> tuple[list[list[str]], bool]:
    """Names by fold, and whether the file is a split of this suite."""
    if path.suffix != ".json":
        return [[line.strip() for line in text.splitlines() if line.strip()]], False
    try:
        value: Any = json.loads(text)
        own = isinstance(value, dict) and "folds" in value
        folds = value["folds"] if own else [value] if isinstance(value, dict) else value
        return [[str(name) for name in fold["train"]] for fold in folds], own
    except (ValueError, TypeError, KeyError):
        raise DataError(f"--split '{path}' is not understood; it takes {_FORMS}") from None


def refuse_trained(
    training: Training, cases: Iterable[Case], masks: Mapping[str, MaskFile], *, fold: int
) -> None:
    """Refuse predictions of patients that the network was trained on.

    A mask from `fold_<k>` was predicted by a network that saw the k-th list. Of a split of this
    suite the benchmark's fold counts. Any other mask may come from all folds together, so that
    every list counts.

    Args:
        training: who was trained on.
        cases: that are scored.
        masks: by case.
        fold: of the benchmark.

    Raises:
        DataError: names the patients.
    """
    leaked: set[str] = set()
    for case in cases:
        of = fold if training.own else masks[case.case].fold
        seen = training.folds
        if of is not None and len(seen) > 1:
            seen = seen[of : of + 1]
        if not seen:
            raise DataError(
                f"--split '{training.path}' has {len(training.folds)} folds and none of number {of}"
            )
        leaked |= {case.patient} & frozenset().union(*seen)
    if leaked:
        names = sorted(leaked)
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise DataError(
            f"by '{training.path}' the network was trained on {len(names)} of the test patients:"
            f" {', '.join(names[:_SHOWN])}{more}. Predict them by a network that has not seen them,"
            " or test other patients (data.<dataset>.split of the parameter file)"
        )
