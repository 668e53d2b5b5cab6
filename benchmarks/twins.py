"""How far rounding alone drives a run apart: first steps from weights changed by that little."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.common.device import pick_device
from benchmarks.engine.trainer import Hooks, Trainer
from benchmarks.plan.resolve import Run, open_job
from benchmarks.training.one import Place

# Relative change of a weight: about the rounding of one float32 operation (2^-24 = 6e-8).
CHANGE = 1e-7
TWINS = 3


def parting(run: Run, place: Place, step: int) -> float:
    """Largest relative difference of a loss between a run and its twins.

    A twin has the run's data, order and draws, and initial weights of which each is changed by a
    random share of `CHANGE`. On another processor, sums are taken in another order, which does as
    much in every operation; so what the twins show is the least to be expected there.

    Args:
        run: with prepared data and split in the checkout.
        place: of the checkout and the device.
        step: whose loss is compared, from 1.

    Returns:
        The largest of `TWINS`; 0 where training forgets the change, infinite where it diverges.
    """
    losses = [_loss(run, place, step, twin) for twin in range(TWINS + 1)]
    if not all(map(math.isfinite, losses)):
        return math.inf
    return max(abs(loss - losses[0]) for loss in losses) / abs(losses[0])


def _loss(run: Run, place: Place, step: int, twin: int) -> float:
    """Loss of a step; of the run itself where `twin` is 0."""
    with TemporaryDirectory() as folder:
        job = open_job(run, place.root, Path(folder))
        trainer = Trainer(job, pick_device(place.device), Hooks(lambda *_: None, lambda: False))
        try:
            _change(trainer, twin)
            # A step that is left out since its loss is not finite has none.
            return float([trainer.step(k).get("loss", math.nan) for k in range(step)][-1])
        finally:
            trainer.loader.close()


@torch.no_grad()
def _change(trainer: Trainer, twin: int) -> None:
    random = torch.Generator().manual_seed(twin)
    for weight in trainer.method.parameters() if twin else ():
        share = CHANGE * torch.randn(weight.shape, generator=random)
        weight.mul_(1 + share.to(weight.device))
