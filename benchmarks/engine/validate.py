"""Dice on the validation patients, on the prepared grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.engine.inference import predict_case
from benchmarks.engine.job import Job
from benchmarks.metrics import overlap
from datasets.preparing.store import Case


def validation_dice(
    predict: Callable[[Tensor], Tensor], *, job: Job, cases: Sequence[Case], device: torch.device
) -> tuple[float, list[float]]:
    """Foreground Dice in [0, 1], cases averaged inside a patient first.

    Args:
        predict: images (N, C, *S) to logits (N, K, *S), in eval mode.
        job: gives data and patch.
        cases: labelled validation cases, at least one.
        device: of the network.

    Returns:
        Mean over patients and foreground classes, and the mean over patients per foreground class.
    """
    data = job.data
    by_patient: dict[str, list[NDArray[np.float64]]] = {}
    for case in cases:
        probability = predict_case(
            predict, data.image(case.case), ndim=data.ndim, train=job.train, device=device
        )
        dice = overlap(
            probability.argmax(0).cpu().numpy(), data.label(case.case), len(data.classes)
        )
        by_patient.setdefault(case.patient, []).append(dice[1:])
    patients = np.stack([np.mean(own, axis=0) for own in by_patient.values()])
    return float(patients.mean()), [float(v) for v in patients.mean(0)]
