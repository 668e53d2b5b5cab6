"""Scores finished runs on test patients, in native geometry, one CSV row per case and class.

Nothing that trains, tunes or selects reads test data; this module, `external` and pictures do.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks.common.console import Board
from benchmarks.common.errors import RunError
from benchmarks.common.files import (
    fill_folder,
    known_digest,
    read_json,
    write_json,
    write_text,
)
from benchmarks.common.ledger import to_csv
from benchmarks.common.workspace import (
    CASES,
    CHECKPOINTS,
    MECHANISMS,
    METRICS,
    PSEUDO_LABELS,
    PSEUDO_MASKS,
    RUNS,
    SCORED,
    SHOWCASE,
    STEPS,
    scored_folder,
    scores_folder,
    weights_file,
)  # fmt: skip
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.grid import RunKey
from benchmarks.plan.identity import scoring_digest
from benchmarks.plan.record import finished, require_finished
from benchmarks.plan.resolve import Run, resolve, settings_digest
from benchmarks.scoring.cases import COLUMNS, MADE_WITH, broken_seal, seal
from benchmarks.scoring.kept import kept_rows
from benchmarks.scoring.pseudo_labels import COLUMNS as PSEUDO_COLUMNS
from benchmarks.scoring.pseudo_labels import probed_entries, pseudo_label_rows
from benchmarks.scoring.rows import Row, as_csv, case_rows, tested_cases
from benchmarks.scoring.slices import Slice, Slices, cut_slice, write_slices
from benchmarks.scoring.trained import Trained, open_trained
from benchmarks.training.one import Place
from datasets.preparing.store import Case

if TYPE_CHECKING:
    from torch import Tensor


def evaluate_dataset(
    config: BenchmarkConfig, dataset: str, place: Place, *, partial: bool = False
) -> Path:
    """Score all methods of a grid on a data set; scores that would come out equal are kept.

    Args:
        config: of the benchmark.
        dataset: id.
        place: where the runs are and the device to predict on.
        partial: score the runs that are finished, whatever else is missing.

    Returns:
        The folder with a folder per method, and none of a method that is not of the grid.

    Raises:
        RunError, DataError: as `evaluate`; or no run is finished.
    """
    found = 0
    for method in config.grid.methods:
        runs = resolve(config, dataset, method, place.root)
        if partial:
            runs = [run for run in runs if finished(run, place.root)]
        found += len(runs)
        if runs and not _is_scored(runs, place.root):
            _score_runs(config, runs, place)
    if not found:
        method = config.grid.methods[0]
        raise RunError(
            f"no run of {dataset} in '{config.name}' is finished for the present parameters and"
            f" code; `python -m benchmarks run {dataset} {method}` trains those of a method"
        )
    target = scored_folder(place.root, config.name, dataset)
    target.mkdir(parents=True, exist_ok=True)
    for folder in target.iterdir():
        # Hidden ones are being written.
        if folder.name not in config.grid.methods and not folder.name.startswith("."):
            shutil.rmtree(folder, ignore_errors=True)
    return target


def evaluate(config: BenchmarkConfig, dataset: str, method: str, place: Place) -> Path:
    """Score all runs of a method on a data set.

    Args:
        config: of the benchmark.
        dataset: id.
        method: id, with variant.
        place: where the runs are and the device to predict on.

    Returns:
        The folder with all that the report reads of these runs: `cases.csv`, their digests
        `runs.csv`, those of code and weights `scored.json`, the values logged while training
        `steps.csv`, the mechanism ledgers `mechanisms.csv`, what the networks make of unlabelled
        training images `pseudo_labels.csv`, and a slice of every test case for pictures
        `showcase.npz`, of the first run.

    Raises:
        RunError: a run is missing or was made from another configuration.
        DataError: a test patient has no mask.
    """
    return _score_runs(config, resolve(config, dataset, method, place.root), place)


def _score_runs(config: BenchmarkConfig, runs: Sequence[Run], place: Place) -> Path:
    """Score these runs of one method on one data set, as `evaluate`."""
    key = runs[0].key
    for run in runs:
        require_finished(run, place.root)
    target = scores_folder(place.root, config.name, key.dataset, key.method)
    known = kept_rows(target, runs, _identities(runs), _scored(runs, place.root))
    fill_folder(target, lambda folder: _fill(folder, runs, place, known))
    return target


def _fill(
    folder: Path,
    runs: Sequence[Run],
    place: Place,
    known: Mapping[RunKey, tuple[list[Row], list[Row]]],
) -> None:
    """Score the first run, of which a slice is shown, and all whose rows are not known."""
    rows: list[Row] = []
    pseudo: list[Row] = []
    slices: list[Slice] = []
    name = f"evaluate {runs[0].key.dataset} {runs[0].key.method}"
    trained: Trained | None = None
    with Board() as board:
        for number, run in enumerate(runs, 1):
            own: list[Row] = []
            if number > 1 and run.key in known:
                rows, pseudo = rows + known[run.key][0], pseudo + known[run.key][1]
                board.update(name, number, len(runs))
                continue
            for checkpoint in CHECKPOINTS:
                if own and _equal_weights(run.key.folder(place.root)):
                    own += [_of_checkpoint(row, checkpoint) for row in own]
                    continue
                trained = open_trained(run, place, checkpoint=checkpoint, like=trained)
                cases = tested_cases(trained.job.data, trained.job.fold.test)
                shown = number == 1 and checkpoint == CHECKPOINTS[0]
                for case in cases:
                    probability = trained.probability(trained.job.data.image(case.case))
                    own += _score(trained, case, probability)
                    slices += [cut_slice(trained, case.case, probability)] if shown else []
                if checkpoint == CHECKPOINTS[0]:
                    pseudo += pseudo_label_rows(trained)
            rows += own
            board.update(name, number, len(runs))
    write_slices(Slices(runs[0].key.labels, runs[0].key.seed, tuple(slices)), folder / SHOWCASE)
    write_text(folder / CASES, as_csv(COLUMNS, rows))
    write_text(folder / PSEUDO_LABELS, as_csv(PSEUDO_COLUMNS, pseudo))
    write_text(folder / RUNS, _identities(runs))
    write_json(folder / SCORED, _scored(runs, place.root))
    for table, read in ((STEPS, _logged), (MECHANISMS, _ledger)):
        frame = pd.concat([read(run, place.root) for run in runs], ignore_index=True)
        text = frame.to_csv(index=False, lineterminator="\n", float_format="%.6g")
        write_text(folder / table, text)
    seal(folder)


def _is_scored(runs: Sequence[Run], root: Path) -> bool:
    """Whether a method's scores are those of exactly these runs, by the present code."""
    key = runs[0].key
    folder = scores_folder(root, key.benchmark, key.dataset, key.method)
    try:
        equal = read_json(folder / SCORED) == _scored(runs, root)
        known = (folder / RUNS).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
    return equal and known == _identities(runs) and not broken_seal(folder)


def _scored(runs: Sequence[Run], root: Path) -> dict[str, Any]:
    """Digests of the code that scores, of the weights that are scored, and of what else is read."""
    key = runs[0].key
    code = scoring_digest(root, key.dataset, key.base)
    read = (METRICS, MECHANISMS, PSEUDO_MASKS)
    files = [run.key.folder(root) / name for run in runs for name in read]
    logs = {f"{f.parent.name} {f.name}": known_digest(f) for f in files if f.is_file()}
    return {"code": code, "weights": weights_digests(runs, root), "logs": logs}


def weights_digests(runs: Sequence[Run], root: Path) -> dict[str, str]:
    """Digests of the weights of finished runs, by `<cell> <checkpoint>`."""
    files = [run.key.folder(root) / weights_file(c) for run in runs for c in CHECKPOINTS]
    return {f"{file.parent.name} {file.stem}": known_digest(file) for file in files}


def _equal_weights(folder: Path) -> bool:
    return len({known_digest(folder / weights_file(c)) for c in CHECKPOINTS}) == 1


def _identities(runs: Sequence[Run]) -> str:
    """Digests of the runs and of what they were made with, as CSV."""
    rows = [
        (
            *(run.key.labels, run.key.fold, run.key.seed, run.code, run.digest),
            *(settings_digest(run.train, run.params), run.split, run.data),
        )
        for run in runs
    ]
    columns = ["labels", "fold", "seed", "code", "digest", *MADE_WITH]
    text: str = pd.DataFrame(rows, columns=columns).to_csv(index=False, lineterminator="\n")
    return text


def _logged(run: Run, root: Path) -> pd.DataFrame:
    """What a run logged while it was trained, with the run's labelled count, fold and seed."""
    lines = (run.key.folder(root) / METRICS).read_text(encoding="utf-8").splitlines()
    return _of_run(run, pd.DataFrame([json.loads(line) for line in lines]))


def _ledger(run: Run, root: Path) -> pd.DataFrame:
    """The mechanism ledger of a run, with how right its pseudo-labels were at the probe steps."""
    kept = pd.read_csv(run.key.folder(root) / MECHANISMS)
    labels = pd.read_csv(StringIO(to_csv(probed_entries(run, root))))
    return _of_run(run, pd.concat([kept, labels]) if len(labels) else kept)


def _of_run(run: Run, frame: pd.DataFrame) -> pd.DataFrame:
    for place, name in enumerate(("labels", "fold", "seed")):
        frame.insert(place, name, getattr(run.key, name))
    return frame


def _score(trained: Trained, case: Case, probability: Tensor) -> list[Row]:
    """Rows of all foreground classes of a case, in native geometry."""
    key, data = trained.run.key, trained.job.data
    labels = probability.argmax(0).numpy().astype(np.uint8)
    run = (key.benchmark, key.dataset, key.base, key.variant, key.labels, key.fold, key.seed)
    native = data.to_native(case.case, labels)
    return case_rows(run, trained.checkpoint, data, case, native)


def _of_checkpoint(row: Row, checkpoint: str) -> Row:
    """The same scores of another checkpoint, whose weights are equal."""
    return tuple(
        checkpoint if name == "checkpoint" else value
        for name, value in zip(COLUMNS, row, strict=True)
    )
