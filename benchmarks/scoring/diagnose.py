"""What a trained network is unsure of: entropy, errors and embeddings on validation patients.

Statistics of pixels, not images, so that those of real patients may be published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.common.errors import DataError
from benchmarks.plan.resolve import Run
from benchmarks.scoring.trained import Trained, open_trained
from benchmarks.training.one import Place

if TYPE_CHECKING:
    import torch


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


def diagnose(run: Run, place: Place) -> Diagnosis:
    """Predict all validation patients of a finished run with its last checkpoint.

    Args:
        run: from `plan.resolve`.
        place: where the run is and the device to predict on.

    Raises:
        RunError: the run is missing or made from another configuration.
        DataError: there are no labelled validation patients.
    """
    trained = open_trained(run, place)
    data = trained.job.data
    cases = [c.case for c in data.of_patients(trained.job.fold.val) if c.labeled]
    if not cases:
        raise DataError(
            f"{run.key.dataset}: no labelled validation patients; set"
            f" data.{run.key.dataset}.split.val and split again"
        )
    tau = float(getattr(run.params, "tau", _TAU))
    parts, vectors = [], []
    for case in cases:
        parts.append(_pixels(trained.probability(data.image(case)), np.array(data.label(case))))
        vectors.append(_embedded(trained, case))
    entropy, confidence, correct = (np.concatenate(v) for v in zip(*parts, strict=True))
    points = _sample(pd.concat(vectors, ignore_index=True), tau)
    return Diagnosis(entropy, confidence, correct, _projected(points), tau)


def _pixels(p: torch.Tensor, label: Array) -> tuple[Array, Array, Array]:
    """Entropy, confidence and correctness of every pixel of a case."""
    from methods.blocks.entropy import normalized_entropy

    top, predicted = p.max(0)
    correct = predicted.numpy() == label
    return normalized_entropy(p[None])[0].numpy().ravel(), top.numpy().ravel(), correct.ravel()


def _embedded(trained: Trained, case: str) -> pd.DataFrame:
    """Unit feature vectors of the tested network's decoder at stride 4, with class and entropy."""
    import torch
    from torch.nn import functional as F

    from benchmarks.engine.nets import stride
    from methods.blocks.contrast import nearest_at
    from methods.blocks.entropy import normalized_entropy
    from methods.networks import SegNet

    # The contract suite holds every method to building the tested network first.
    net = next(m for m in trained.method.modules() if isinstance(m, SegNet))
    job = trained.job
    image = torch.from_numpy(np.array(job.data.image(case))).to(trained.device)
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
