"""From a predicted label map to rows of the case table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.errors import DataError
from benchmarks.metrics import score_labels
from benchmarks.scoring.cases import MEASURED
from datasets import load_dataset
from datasets.preparing.store import Case, Prepared

Row = tuple[object, ...]


def tested_cases(data: Prepared, patients: Iterable[str]) -> list[Case]:
    """Cases of a fold's test patients.

    Raises:
        DataError: a case has no mask, or there is none.
    """
    cases, name = data.of_patients(tuple(patients)), data.dataset
    bare = [c.case for c in cases if not c.labeled]
    if bare or not cases:
        raise DataError(
            f"{name}: test cases without a mask: {', '.join(bare) or 'no test cases at all'};"
            f" change data.{name}.split and run `python -m benchmarks split {name}`"
        )
    return cases


def case_rows(
    run: Row, checkpoint: str, data: Prepared, case: Case, labels: NDArray[np.uint8]
) -> list[Row]:
    """Rows of all foreground classes of a case.

    Args:
        run: benchmark, data set, method, variant, labels, fold, seed.
        checkpoint: name.
        data: with the reference mask.
        case: of the data.
        labels: prediction in native geometry, (D, H, W) in [0, K).
    """
    scores = score_labels(
        labels,
        data.reference(case.case),
        case.spacing,
        range(1, len(data.classes)),
        tolerance=load_dataset(data.dataset).tolerance,
    )
    rows: list[Row] = []
    for index, s in scores.items():
        what = (checkpoint, case.case, case.patient, data.classes[index])
        values = (_number(getattr(s, name)) for name in MEASURED)
        rows.append((*run, *what, *values, s.ref_voxels, s.pred_voxels, s.empty))
    return rows


def as_csv(columns: Sequence[str], rows: Iterable[Row]) -> str:
    """Rows as CSV with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def _number(value: float) -> str:
    """Six decimals; a value that does not count is an empty cell."""
    return "" if np.isnan(value) else f"{value:.6f}"
