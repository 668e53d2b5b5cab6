"""Scores finished runs on test patients, in native geometry, one CSV row per case and class.

The only module that reads test data.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.common.console import Board
from benchmarks.common.errors import DataError
from benchmarks.common.files import atomic_open, file_digest, fill_folder, write_text
from benchmarks.common.workspace import (
    CASES,
    METRICS,
    RUNS,
    SHOWCASE,
    STEPS,
    prepared_folder,
    scores_folder,
)  # fmt: skip
from benchmarks.config import BenchmarkConfig
from benchmarks.metrics import score_labels
from benchmarks.plan.resolve import Run, require_finished, resolve
from benchmarks.scoring.cases import COLUMNS, MEASURED
from benchmarks.scoring.trained import CHECKPOINTS, Trained, open_trained, weights
from benchmarks.training.one import Place
from datasets import load_dataset
from datasets.preparing.store import Case, open_prepared

Row = tuple[object, ...]


def evaluate(config: BenchmarkConfig, dataset: str, method: str, place: Place) -> Path:
    """Score all runs of a method on a data set.

    Args:
        config: of the benchmark.
        dataset: id.
        method: id, with variant.
        place: where the runs are and the device to predict on.

    Returns:
        The folder with all that the report reads of these runs: `cases.csv`, their digests
        `runs.csv`, the values logged while training `steps.csv`, and one slice for overlay figures
        `showcase.npz`.

    Raises:
        RunError: a run is missing or was made from another configuration.
        DataError: a test patient has no mask.
    """
    runs = resolve(config, dataset, method, place.root)
    for run in runs:
        require_finished(run, place.root)
    _check_unit(config, dataset, place.root)
    target = scores_folder(place.root, config.name, dataset, method)
    fill_folder(target, lambda folder: _fill(folder, runs, place))
    return target


def _check_unit(config: BenchmarkConfig, dataset: str, root: Path) -> None:
    """Refuse distances whose unit the report would not tell.

    Raises:
        DataError: the files have spacings of their own, but the parameters call them nominal; or
            none, and the parameters do not say so.
    """
    cases = open_prepared(prepared_folder(root, config.name, dataset)).cases
    given = config.data[dataset].unit
    spacings = {case.spacing for case in cases}
    if given in {"voxels", "pixels"} and len(spacings) > 1:
        raise DataError(
            f"data.{dataset}.unit is {given}, but the files carry {len(spacings)} different"
            " spacings: delete that line, distances are in mm then"
        )
    unknown = sum(not case.spacing_known for case in cases)
    if unknown and given is None:
        raise DataError(
            f"{unknown} of {len(cases)} cases of {dataset} have no voxel spacing, so distances are"
            f" not in mm: set data.{dataset}.unit to pixels"
        )


def _fill(folder: Path, runs: Sequence[Run], place: Place) -> None:
    rows: list[Row] = []
    name = f"evaluate {runs[0].key.dataset} {runs[0].key.method}"
    with Board() as board:
        for number, run in enumerate(runs, 1):
            own: list[Row] = []
            for checkpoint in CHECKPOINTS:
                trained = open_trained(run, place, checkpoint=checkpoint)
                cases = _test_cases(trained)
                if (
                    own
                    and len({file_digest(trained.folder / weights(c)) for c in CHECKPOINTS}) == 1
                ):
                    own += [_of_checkpoint(row, checkpoint) for row in own]
                    continue
                for case in cases:
                    own += _score(trained, case)
                if number == 1 and checkpoint == CHECKPOINTS[0]:
                    _write_showcase(trained, cases, folder / SHOWCASE)
            rows += own
            board.update(name, number, len(runs))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    write_text(folder / CASES, text.getvalue())
    write_text(folder / RUNS, _identities(runs))
    steps = pd.concat([_logged(run, place.root) for run in runs], ignore_index=True)
    write_text(folder / STEPS, steps.to_csv(index=False, lineterminator="\n", float_format="%.6g"))


def _identities(runs: Sequence[Run]) -> str:
    """Digests of the runs and of the code that trained them, as CSV."""
    rows = [(r.key.labels, r.key.fold, r.key.seed, r.code, r.digest) for r in runs]
    frame = pd.DataFrame(rows, columns=["labels", "fold", "seed", "code", "digest"])
    text: str = frame.to_csv(index=False, lineterminator="\n")
    return text


def _logged(run: Run, root: Path) -> pd.DataFrame:
    """What a run logged while it was trained, with the run's labelled count, fold and seed."""
    lines = (run.key.folder(root) / METRICS).read_text(encoding="utf-8").splitlines()
    frame = pd.DataFrame([json.loads(line) for line in lines])
    for place, name in enumerate(("labels", "fold", "seed")):
        frame.insert(place, name, getattr(run.key, name))
    return frame


def _test_cases(trained: Trained) -> list[Case]:
    """Test cases of a run's fold.

    Raises:
        DataError: a test case has no mask, or there is none.
    """
    cases = trained.job.data.of_patients(trained.job.fold.test)
    bare = [c.case for c in cases if not c.labeled]
    if bare or not cases:
        name = trained.run.key.dataset
        raise DataError(
            f"{name}: test cases without a mask: {', '.join(bare) or 'no test cases at all'};"
            f" change data.{name}.split and run `python -m benchmarks split {name}`"
        )
    return cases


def _score(trained: Trained, case: Case) -> list[Row]:
    """Rows of all foreground classes of a case, in native geometry."""
    key, data = trained.run.key, trained.job.data
    labels = trained.probability(data.image(case.case)).argmax(0).numpy().astype(np.uint8)
    scores = score_labels(
        data.to_native(case.case, labels),
        data.reference(case.case),
        case.spacing,
        range(1, len(data.classes)),
        tolerance=load_dataset(key.dataset).tolerance,
    )
    run = (key.benchmark, key.dataset, key.base, key.variant, key.labels, key.fold, key.seed)
    rows: list[Row] = []
    for index, s in scores.items():
        what = (trained.checkpoint, case.case, case.patient, data.classes[index])
        values = (_number(getattr(s, name)) for name in MEASURED)
        rows.append((*run, *what, *values, s.ref_voxels, s.pred_voxels, s.empty))
    return rows


def _of_checkpoint(row: Row, checkpoint: str) -> Row:
    """The same scores of another checkpoint, whose weights are equal."""
    return tuple(
        checkpoint if name == "checkpoint" else value
        for name, value in zip(COLUMNS, row, strict=True)
    )


def _number(value: float) -> str:
    """Six decimals; a value that does not count is an empty cell."""
    return "" if np.isnan(value) else f"{value:.6f}"


def _write_showcase(trained: Trained, cases: Sequence[Case], target: Path) -> None:
    """Keep one slice for overlay figures: of the first test case by name, the fullest in reference.

    The choice looks at no prediction, and is the same for every method.
    """
    from methods.blocks.entropy import normalized_entropy

    data, key = trained.job.data, trained.run.key
    case = min(c.case for c in cases)
    image = data.image(case)
    depth = int((np.asarray(data.label(case)) > 0).sum((1, 2)).argmax())
    probability = trained.probability(image)[:, depth]
    arrays: dict[str, NDArray[Any]] = {
        "image": np.asarray(image[0, depth], dtype=np.float32),
        "truth": np.asarray(data.label(case)[depth]),
        "prediction": probability.argmax(0).numpy().astype(np.uint8),
        "entropy": normalized_entropy(probability[None])[0].numpy(),
        "case": np.array(case),
        "slice": np.array(depth),
        "labels": np.array(key.labels),
        "seed": np.array(key.seed),
    }
    with atomic_open(target) as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)
