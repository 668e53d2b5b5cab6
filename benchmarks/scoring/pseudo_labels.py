"""How right a trained method is on the unlabelled images that it learnt from.

Their references are opened here, after training and by the evaluation alone: a batch has no place
for them. What a teacher or a second network predicts as it does in training is what the tested one
was taught, in the end. So it is asked in train mode: the batch norm of a Mean Teacher takes its
running statistics from noisy images, and with those it is far worse than with the batch's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.metrics import overlap
from benchmarks.scoring.trained import Predict, Trained
from datasets.preparing.store import Case

if TYPE_CHECKING:
    from methods.base import Method

# Patients per run, the first ones of the training part without label: enough for a mean, and a
# small part of what scoring the test patients takes.
_PATIENTS = 5
COLUMNS = ("labels", "fold", "seed", "network", "patients", "dice", "accuracy")

Row = tuple[object, ...]


def pseudo_label_rows(trained: Trained) -> Iterator[Row]:
    """Accuracy of the labels that the networks of a run give to unlabelled training images.

    Args:
        trained: a run with its last checkpoint.

    Yields:
        One row with `COLUMNS` for the tested network and for each companion, in train mode with the
        slices of a case as its batch: mean Dice over patients and foreground classes and mean share
        of right pixels, both in [0, 1] on the prepared grid. None where no unlabelled patient has a
        reference.
    """
    job, key = trained.job, trained.run.key
    count = len(job.fold.train) if job.method.all_labels else job.labels
    cases = [c for c in job.data.of_patients(job.fold.train[count:]) if c.labeled]
    patients = list(dict.fromkeys(c.patient for c in cases))[:_PATIENTS]
    networks = {"tested": trained.method.predict, **trained.method.companions()}
    for name, predict in networks.items() if patients else ():
        with nullcontext() if name == "tested" else _in_training(trained.method):
            scores = [
                np.mean(
                    [_score(trained, predict, c) for c in cases if c.patient == patient], axis=0
                )
                for patient in patients
            ]
        yield key.labels, key.fold, key.seed, name, len(patients), *np.mean(scores, axis=0)


@contextmanager
def _in_training(method: Method[Any]) -> Iterator[None]:
    """Train mode, with the same dropout for all; statistics that it moves are put back."""
    import torch

    kept = {name: value.clone() for name, value in method.named_buffers()}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        try:
            method.train()
            yield
        finally:
            method.eval()
            for name, value in method.named_buffers():
                value.copy_(kept[name])


def _score(trained: Trained, predict: Predict, case: Case) -> tuple[float, float]:
    """Mean Dice over the foreground classes, and share of right pixels."""
    data = trained.job.data
    labels = trained.probability(data.image(case.case), predict).argmax(0).numpy()
    reference = data.label(case.case)
    dice = overlap(labels, reference, len(data.classes))[1:].mean()
    return float(dice), float((labels == reference).mean())
