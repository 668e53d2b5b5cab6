"""Scores finished runs on test patients, in native geometry, one CSV row per case and class.

The only module that reads test data.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.config import BenchmarkConfig
from benchmarks.console import Board
from benchmarks.device import pick_device
from benchmarks.errors import DataError
from benchmarks.files import atomic_open, write_text
from benchmarks.metrics import score_labels
from benchmarks.resolve import Resolved, require_finished, resolve
from benchmarks.run import Place, make_job
from datasets.store import Case

if TYPE_CHECKING:
    from torch import Tensor

COLUMNS = (
    "benchmark", "dataset", "method", "variant", "labels", "fold", "seed", "checkpoint", "case",
    "patient", "class", "dice", "jaccard", "hd95_mm", "asd_mm", "ref_voxels", "pred_voxels",
    "empty",
)  # fmt: skip
CHECKPOINTS = ("last", "best")


def cases_file(root: Path, config: BenchmarkConfig, dataset: str, method: str) -> Path:
    """Per-case scores of one method on one data set."""
    return root / "reports" / config.name / "cases" / f"{dataset}-{method}.csv"


def showcase_file(root: Path, config: BenchmarkConfig, dataset: str, method: str) -> Path:
    """Prediction of one method on the slice shown in overlay figures."""
    return root / "data" / "showcase" / config.name / f"{dataset}-{method}.npz"


def evaluate(config: BenchmarkConfig, dataset: str, method: str, place: Place) -> Path:
    """Score all runs of a method on a data set.

    Args:
        config: of the benchmark.
        dataset: id.
        method: id, with variant.
        place: where the runs are and the device to predict on.

    Returns:
        The CSV file.

    Raises:
        RunError: a run is missing or was made from another configuration.
        DataError: a test patient has no mask.
    """
    root = place.root
    wanted = resolve(config, dataset, method, root)
    for r in wanted:
        require_finished(r, root)
    rows: list[tuple[object, ...]] = []
    with Board() as board:
        for number, r in enumerate(wanted, 1):
            for checkpoint in CHECKPOINTS:
                tested = Tested(config, r, checkpoint, place)
                rows += _score(tested)
                if number == 1 and checkpoint == CHECKPOINTS[0]:
                    _write_showcase(tested, showcase_file(root, config, dataset, method))
            board.update(f"evaluate {dataset} {method}", number, len(wanted))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    target = cases_file(root, config, dataset, method)
    write_text(target, text.getvalue())
    return target


class Tested:
    """The tested network of one checkpoint of a run, and the cases it is tested on.

    Args:
        config: of the benchmark.
        resolved: the run.
        checkpoint: `last` or `best`.
        place: where the run is and the device to predict on.

    Raises:
        DataError: a test case has no mask, or there is none.
    """

    def __init__(
        self, config: BenchmarkConfig, resolved: Resolved, checkpoint: str, place: Place
    ) -> None:
        from benchmarks.engine.job import build_method
        from benchmarks.engine.state import load_weights

        self.key, self.checkpoint = resolved.key, checkpoint
        folder = resolved.key.folder(place.root)
        self._job = make_job(config, resolved, place.root, folder)
        self._device = pick_device(place.device)
        self._method = build_method(self._job, self._device)
        load_weights(folder / f"{checkpoint}.safetensors", self._method)
        self._method.eval()
        self.data = self._job.data
        self.cases = self._labeled_test_cases()

    def _labeled_test_cases(self) -> list[Case]:
        cases = self.data.of_patients(self._job.fold.test)
        bare = [c.case for c in cases if not c.labeled]
        if bare or not cases:
            name = self.key.dataset
            raise DataError(
                f"{name}: test cases without a mask: {', '.join(bare) or 'no test cases at all'};"
                f" change data.{name}.split and run `python -m benchmarks split {name}`"
            )
        return cases

    def probability(self, case: str) -> Tensor:
        """Class probabilities (K, D, H, W) float32 on the prepared grid."""
        from benchmarks.engine.inference import predict_case

        return predict_case(
            self._method.predict,
            self.data.image(case),
            ndim=self.data.ndim,
            train=self._job.train,
            device=self._device,
        ).cpu()


def _score(tested: Tested) -> list[tuple[object, ...]]:
    """Rows of all test cases and foreground classes, in native geometry."""
    key, data = tested.key, tested.data
    run = (key.benchmark, key.dataset, key.base, key.variant, key.labels, key.fold, key.seed)
    rows: list[tuple[object, ...]] = []
    for case in tested.cases:
        labels = tested.probability(case.case).argmax(0).numpy().astype(np.uint8)
        scores = score_labels(
            data.to_native(case.case, labels),
            data.reference(case.case),
            case.spacing,
            range(1, len(data.classes)),
        )
        for index, s in scores.items():
            values = (_number(v) for v in (s.dice, s.jaccard, s.hd95_mm, s.asd_mm))
            what = (tested.checkpoint, case.case, case.patient, data.classes[index])
            rows.append((*run, *what, *values, s.ref_voxels, s.pred_voxels, s.empty))
    return rows


def _number(value: float) -> str:
    """Six decimals; a value that does not count is an empty cell."""
    return "" if np.isnan(value) else f"{value:.6f}"


def _write_showcase(tested: Tested, target: Path) -> None:
    """Keep one slice for overlay figures: of the first test case by name, the fullest in reference.

    The choice looks at no prediction, and is the same for every method.
    """
    from methods.blocks.entropy import normalized_entropy

    data, key = tested.data, tested.key
    case = min(c.case for c in tested.cases)
    depth = int((np.asarray(data.label(case)) > 0).sum((1, 2)).argmax())
    probability = tested.probability(case)[:, depth]
    arrays: dict[str, NDArray[Any]] = {
        "image": np.asarray(data.image(case)[0, depth], dtype=np.float32),
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
