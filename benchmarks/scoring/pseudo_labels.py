"""How right a trained method is on the unlabelled images that it learnt from.

Their references are opened here, after training and by the evaluation alone: a batch has no place
for them. What a teacher or a second network predicts as it does in training is what the tested one
was taught, in the end. So it is asked in train mode: the batch norm of a Mean Teacher takes its
running statistics from noisy images, and with those it is far worse than with the batch's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.ledger import PROBED, Entry
from benchmarks.metrics import overlap
from benchmarks.plan.resolve import Run, open_job
from benchmarks.scoring.trained import Predict, Trained
from datasets.preparing.store import Case

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
    from benchmarks.engine.pseudo_labels import TESTED, in_training, unlabeled_cases

    job, key = trained.job, trained.run.key
    cases = unlabeled_cases(job)
    patients = list(dict.fromkeys(c.patient for c in cases))[:_PATIENTS]
    networks = {TESTED: trained.method.predict, **trained.method.companions()}
    for name, predict in networks.items() if patients else ():
        with nullcontext() if name == TESTED else in_training(trained.method):
            scores = [
                np.mean(
                    [_score(trained, predict, c) for c in cases if c.patient == patient], axis=0
                )
                for patient in patients
            ]
        yield key.labels, key.fold, key.seed, name, len(patients), *np.mean(scores, axis=0)


def _score(trained: Trained, predict: Predict, case: Case) -> tuple[float, float]:
    """Mean Dice over the foreground classes, and share of right pixels."""
    data = trained.job.data
    labels = trained.probability(data.image(case.case), predict).argmax(0).numpy()
    return _right(labels, data.label(case.case), len(data.classes))


def probed_entries(run: Run, root: Path) -> Iterator[Entry]:
    """Accuracy of the masks that a run kept of a few unlabelled training images while it trained.

    Args:
        run: a finished one.
        root: the checkout, with the run's prepared data.

    Yields:
        For every probe step and network two observed values, means over the images, both in [0, 1]
        on the prepared grid: mean Dice over the foreground classes, and share of right pixels. None
        of a run that is older than this file.
    """
    import torch

    from benchmarks.engine.pseudo_labels import read_masks, samples

    folder = run.key.folder(root)
    kept = list(read_masks(folder))
    if not kept:
        return
    job = open_job(run, root, folder)
    data = job.data
    references = [
        one.of(torch.from_numpy(np.array(data.label(one.case)))).numpy() for one in samples(job)
    ]
    for step, network, masks in kept:
        pairs = zip(masks, references, strict=True)
        scores = [_right(mask, reference, len(data.classes)) for mask, reference in pairs]
        for name, value in zip(("dice", "accuracy"), np.mean(scores, axis=0), strict=True):
            yield Entry(step, "observed", f"{PROBED}{name}_{network}", float(value))


def _right(labels: NDArray[Any], reference: NDArray[Any], classes: int) -> tuple[float, float]:
    """Mean Dice over the foreground classes, and share of right pixels."""
    dice = overlap(labels, reference, classes)[1:].mean()
    return float(dice), float((labels == reference).mean())
