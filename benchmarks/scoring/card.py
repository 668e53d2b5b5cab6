"""What somebody needs to know to use a trained network without this suite."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.common.files import read_json
from benchmarks.common.workspace import RECORD, ROOT, weights_file
from benchmarks.engine.nets import stride
from benchmarks.scoring.plain import grid_of
from benchmarks.scoring.trained import Trained
from datasets import load_dataset

_USE = "for research; not a medical device"


def card(trained: Trained) -> dict[str, Any]:
    """Facts of a trained network.

    Args:
        trained: the run.

    Returns:
        JSON-ready: what goes in and comes out (`channels`, `classes`, `dimension`, `plane`,
        `network`,
        `intensity`, voxel sizes (D, H, W) of the training images on their grid as smallest, median
        and largest), what it is (`weights`, `code`, `data` and `split` as digests, `run`), and whom
        to cite.
    """
    job, run = trained.job, trained.run
    data, adapter = job.data, load_dataset(run.key.dataset)
    record = read_json(trained.folder / RECORD)
    return {
        "dataset": adapter.title,
        "method": job.method.title,
        "method_paper": job.method.paper,
        "method_note": job.method.footnote,
        "data_citation": adapter.citation,
        "data_licence": adapter.licence,
        "suite_citation": (ROOT / "CITATION.cff").read_text(encoding="utf-8"),
        "use": _USE,
        "channels": list(data.channels),
        "classes": list(data.classes),
        "dimension": data.ndim,
        "plane": _plane(data.ndim),
        "orientation": grid_of(trained, "").orientation or "as stored",
        "unit": adapter.unit,
        "voxel_size": _voxels(trained),
        "intensity": adapter.intensity,
        "preparation": data.params,
        "network": job.train.network.model_dump(mode="json"),
        "multiple": stride(job.train.network),
        "patch": job.train.patch and list(job.train.patch),
        "inference": job.train.inference,
        "labeled_patients": run.key.labels,
        "fold": run.key.fold,
        "seed": run.key.seed,
        "checkpoint": trained.checkpoint,
        "weights": record["files"][weights_file(trained.checkpoint)],
        "run": run.digest,
        "code": run.code,
        "data": run.data,
        "split": run.split,
    }


def _plane(ndim: int) -> str:
    if ndim == 3:
        return "whole volumes (slices, rows, columns)"
    return "slices along the third axis (x, y, z) of the image, each (rows, columns) = (y, x)"


def _voxels(trained: Trained) -> dict[str, list[float]]:
    """Smallest, median and largest voxel size (D, H, W) on the grid; empty where unknown."""
    cases = trained.job.data.of_patients(trained.job.fold.train)
    sizes = [case.grid_spacing for case in cases if case.spacing_known]
    if not sizes:
        return {}
    found = {
        "smallest": np.min(sizes, 0),
        "median": np.median(sizes, 0),
        "largest": np.max(sizes, 0),
    }
    return {name: [float(f"{v:.6g}") for v in values] for name, values in found.items()}
