"""What a trained network is unsure of: entropy, errors and embeddings on validation patients.

Statistics of pixels, not images, so that those of real patients may be published.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.config import BenchmarkConfig
from benchmarks.device import pick_device
from benchmarks.errors import DataError
from benchmarks.files import write_text
from benchmarks.resolve import Resolved, require_finished
from benchmarks.run import Place, make_job

if TYPE_CHECKING:
    import torch

    from benchmarks.engine.job import Job
    from methods.base import Method

BINS = 20
# Embedded pixels per class and group; t-SNE slows down with their square.
_POINTS = 120
# Where a method has no entropy threshold of its own.
_TAU = 0.5

Array = NDArray[Any]


@dataclass(frozen=True)
class Diagnosis:
    """Pixels of all validation patients of one run.

    Attributes:
        entropy: (P,) float32 in [0, 1], normalised, of the tested network.
        confidence: (P,) float32, largest class probability.
        correct: (P,) bool.
        points: sampled pixels with columns `x`, `y` (t-SNE), `class` and `high` (entropy above
            the threshold).
        tau: that threshold.
    """

    entropy: Array
    confidence: Array
    correct: Array
    points: pd.DataFrame
    tau: float

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: mean over pixels of |accuracy - confidence| by bin."""
        table = self.by("confidence")
        gap = (table["correct"] / table["pixels"] - table["confidence"]).abs()
        return float((gap * table["pixels"]).sum() / table["pixels"].sum())

    def by(self, name: str) -> pd.DataFrame:
        """Pixels, correct ones and mean value in equal bins of `entropy` or `confidence`."""
        value = getattr(self, name)
        index = np.minimum((value * BINS).astype(int), BINS - 1)
        frame = pd.DataFrame({"bin": index, name: value, "correct": self.correct})
        groups = frame.groupby("bin")
        return pd.DataFrame(
            {
                "low": groups[name].size().index / BINS,
                "pixels": groups.size().to_numpy(),
                "correct": groups["correct"].sum().to_numpy(),
                name: groups[name].mean().to_numpy(),
            }
        )


def diagnose(config: BenchmarkConfig, resolved: Resolved, place: Place) -> list[Path]:
    """Write `entropy.csv`, `confidence.csv` and `diagnosis.{svg,pdf,png}` of a finished run.

    Args:
        config: of the benchmark.
        resolved: the run; its last checkpoint is read.
        place: where the run is and the device to predict on.

    Returns:
        The files, in `reports/<name>/diagnosis/<dataset>-<method>-l<n>-f<f>-s<s>`.

    Raises:
        RunError: the run is missing or made from another configuration.
        DataError: there are no labelled validation patients.
    """
    from benchmarks.report.diagnosis import diagnosis_figure

    key = resolved.key
    require_finished(resolved, place.root)
    found = inspect(config, resolved, place)
    name = f"{key.dataset}-{key.method}-l{key.labels}-f{key.fold}-s{key.seed}"
    folder = place.root / "reports" / config.name / "diagnosis" / name
    for part in ("entropy", "confidence"):
        text = found.by(part).to_csv(index=False, float_format="%.6g")
        write_text(folder / f"{part}.csv", text)
    title = f"{key.dataset}, {key.method}, {key.labels} labelled, fold {key.fold}, seed {key.seed}"
    return [
        *(folder / f"{part}.csv" for part in ("entropy", "confidence")),
        *diagnosis_figure(found, title, folder),
    ]


def inspect(config: BenchmarkConfig, resolved: Resolved, place: Place) -> Diagnosis:
    """Predict all validation patients of a run.

    Args:
        config: of the benchmark.
        resolved: the run.
        place: where the run is and the device to predict on.
    """
    from benchmarks.engine.inference import predict_case
    from benchmarks.engine.job import build_method
    from benchmarks.engine.state import load_weights

    folder = resolved.key.folder(place.root)
    job, device = make_job(config, resolved, place.root, folder), pick_device(place.device)
    method = build_method(job, device)
    load_weights(folder / "last.safetensors", method)
    method.eval()
    cases = [c.case for c in job.data.of_patients(job.fold.val) if c.labeled]
    if not cases:
        raise DataError(
            f"{resolved.key.dataset}: no labelled validation patients; set"
            f" data.{resolved.key.dataset}.split.val and split again"
        )
    tau = float(getattr(resolved.params, "tau", _TAU))
    parts, vectors = [], []
    for case in cases:
        p = predict_case(
            method.predict, job.data.image(case), ndim=job.data.ndim, train=job.train, device=device
        ).cpu()
        label = np.array(job.data.label(case))
        parts.append(_pixels(p, label))
        vectors.append(_embedded(job, method, case, device))
    entropy, confidence, correct = (np.concatenate(v) for v in zip(*parts, strict=True))
    points = _sample(pd.concat(vectors, ignore_index=True), tau)
    return Diagnosis(entropy, confidence, correct, _projected(points), tau)


def _pixels(p: torch.Tensor, label: Array) -> tuple[Array, Array, Array]:
    """Entropy, confidence and correctness of every pixel of a case."""
    from methods.blocks.entropy import normalized_entropy

    top, predicted = p.max(0)
    correct = predicted.numpy() == label
    return normalized_entropy(p[None])[0].numpy().ravel(), top.numpy().ravel(), correct.ravel()


def _embedded(job: Job, method: Method[Any], case: str, device: torch.device) -> pd.DataFrame:
    """Unit feature vectors of the tested network's decoder at stride 4, with class and entropy."""
    import torch
    from torch.nn import functional as F

    from benchmarks.engine.nets import stride
    from methods.base import SegNet
    from methods.blocks.contrast import nearest_at
    from methods.blocks.entropy import normalized_entropy

    # The contract suite holds every method to building the tested network first.
    net = next(m for m in method.modules() if isinstance(m, SegNet))
    image = torch.from_numpy(np.array(job.data.image(case))).to(device)
    label = torch.from_numpy(np.array(job.data.label(case)).astype(np.int64))
    batch, truth = (
        (image.transpose(0, 1), label) if job.data.ndim == 2 else (image[None], label[None])
    )
    step = stride(job.train.network)
    pad = [n for size in reversed(batch.shape[2:]) for n in (0, -size % step)]
    with torch.inference_mode():
        view = net.decode(net.encode(F.pad(batch, pad)))
        features = F.normalize(view.features.float(), dim=1).cpu()
        h = normalized_entropy(view.logits.float().softmax(1)).cpu()
    grid = features.shape[2:]
    rows = features.movedim(1, -1).flatten(0, -2).numpy()
    frame = pd.DataFrame(rows)
    # Padding has no class.
    frame["class"] = nearest_at(F.pad(truth, pad, value=-1), grid).flatten().numpy()
    frame["entropy"] = nearest_at(h, grid).flatten().numpy()
    return frame[frame["class"] >= 0]


def _sample(frame: pd.DataFrame, tau: float) -> pd.DataFrame:
    """At most `_POINTS` pixels of every class and group."""
    frame = frame.assign(high=frame["entropy"] > tau)
    drawn = frame.sample(frac=1, random_state=0)
    return drawn.groupby(["class", "high"]).head(_POINTS).sort_index()


def _projected(points: pd.DataFrame) -> pd.DataFrame:
    """Two dimensions of the feature vectors (van der Maaten and Hinton 2008)."""
    from sklearn.manifold import TSNE

    vectors = points.drop(columns=["class", "high", "entropy"]).to_numpy()
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    flat = TSNE(perplexity=perplexity, random_state=0, init="pca").fit_transform(vectors)
    return pd.DataFrame(
        {
            "x": flat[:, 0], "y": flat[:, 1],
            "class": points["class"].to_numpy(), "high": points["high"].to_numpy(),
        }
    )  # fmt: skip
