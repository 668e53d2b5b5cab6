"""Opens the network of a finished run; everything that predicts starts here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.device import pick_device
from benchmarks.common.workspace import weights_file
from benchmarks.plan.record import require_finished
from benchmarks.plan.resolve import Run, open_job
from benchmarks.training.one import Place

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from benchmarks.engine.job import Job
    from methods.base import Method

Predict = Callable[["Tensor"], "Tensor"]


@dataclass(frozen=True)
class Trained:
    """The method of a finished run with the weights of one checkpoint, in eval mode.

    Attributes:
        run: that was trained.
        checkpoint: `last` or `best`.
        folder: of the run.
        job: data, fold and training configuration of the run.
        method: with its tested network.
        device: of the network.
    """

    run: Run
    checkpoint: str
    folder: Path
    job: Job
    method: Method[Any]
    device: torch.device

    def probability(self, image: NDArray[np.float32], predict: Predict | None = None) -> Tensor:
        """Class probabilities of the tested network.

        Args:
            image: (C, D, H, W) float32, prepared as the run's data.
            predict: another network of the method, such as a teacher.

        Returns:
            (K, D, H, W) float32 on the CPU.
        """
        from benchmarks.engine.inference import predict_case

        return predict_case(
            predict or self.method.predict,
            image,
            ndim=self.job.data.ndim,
            train=self.job.train,
            device=self.device,
        ).cpu()


def open_trained(
    run: Run, place: Place, *, checkpoint: str = "last", like: Trained | None = None
) -> Trained:
    """Open a finished run.

    Args:
        run: from `plan.resolve`.
        place: where the run is and the device to predict on.
        checkpoint: `last` or `best`.
        like: a run of the same method and configuration that is needed no longer: its networks
            take the weights, which saves making new ones.

    Raises:
        RunError: the run is missing, made from another configuration, or its weights are damaged.
    """
    from benchmarks.engine.job import build_method
    from benchmarks.engine.state import load_weights

    require_finished(run, place.root)
    folder = run.key.folder(place.root)
    job, device = open_job(run, place.root, folder), pick_device(place.device)
    method = build_method(job, device) if like is None else like.method
    load_weights(folder / weights_file(checkpoint), method)
    return Trained(run, checkpoint, folder, job, method.eval(), device)
