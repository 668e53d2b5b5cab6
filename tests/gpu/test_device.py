"""What a GPU must do as the CPU does, and again in the same way; `make gpu` runs it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks.common.device import environment, pick_device
from benchmarks.common.errors import Interrupted
from benchmarks.engine.graph import why_eager
from benchmarks.engine.trainer import Trainer
from methods import method_ids
from tests.engine.conftest import flat
from tests.engine.small import QUIET, job_of, make_config
from tests.engine.tape import state
from tests.gpu.agree import difference
from tests.gpu.exact import exact

__all__ = ["flat"]

pytestmark = pytest.mark.gpu
# Every tenth step is logged, so eager; of the others all but the first of a stage are played.
LENGTH, HALF, STEPS = 1000, 7, 14


@pytest.fixture
def float32() -> Iterator[torch.device]:
    with exact() as device:
        yield device


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("method", method_ids())
def test_losses_and_gradients_are_those_of_the_cpu(
    method: str, ndim: int, float32: torch.device
) -> None:
    found = difference(method, ndim, float32)
    assert found.loss < 1e-3 and found.gradient < 1e-2 and found.running < 1e-2, found


def stretch(root: Path, folder: Path, method: str, device: torch.device, steps: int) -> Trainer:
    """A run after some more steps of it, stopped and saved."""
    left = iter(range(steps - 1))
    hooks = replace(QUIET, stop=lambda: next(left, None) is None)
    job = job_of(root, folder, method, make_config(iterations=LENGTH, validations=1))
    trainer = Trainer(job, device, hooks)
    with pytest.raises(Interrupted):
        trainer.train()
    return trainer


def recorded(trainer: Trainer) -> bool:
    """Whether some steps of a run were played."""
    graphed = trainer._step.args[0] if isinstance(trainer._step, partial) else None
    return graphed is not None and any(p.recording is not None for p in graphed._phases)


def same(first: Trainer, second: Trainer) -> bool:
    return all(torch.equal(a, b) for a, b in zip(state(first), state(second), strict=True))


@pytest.mark.parametrize("method", method_ids())
def test_again_and_resumed_with_the_same_bits(method: str, flat: Path, tmp_path: Path) -> None:
    """Stopped at a step that was played, where the method can be recorded."""
    device = pick_device("cuda")
    straight = stretch(flat, tmp_path / "straight", method, device, STEPS)
    assert recorded(straight) == (not why_eager(straight.job, device))
    assert same(stretch(flat, tmp_path / "again", method, device, STEPS), straight)
    stretch(flat, tmp_path / "stopped", method, device, HALF)
    assert same(stretch(flat, tmp_path / "stopped", method, device, STEPS - HALF), straight)


@pytest.mark.parametrize("method", ["supervised", "mean_teacher", "egcl_net"])
def test_recorded_steps_train_as_others_do(method: str, flat: Path, tmp_path: Path) -> None:
    made = {}
    for graph in ("off", "auto"):
        config = make_config(iterations=LENGTH, amp="off", graph=graph)
        job = job_of(flat, tmp_path / graph, method, config)
        assert why_eager(job, torch.device("cuda")) == ("off" if graph == "off" else "")
        trainer = Trainer(job, pick_device("cuda"), QUIET)
        for step in range(LENGTH // 2, LENGTH // 2 + 12):
            row = trainer._step(step)
        assert recorded(trainer) == (graph == "auto")
        made[graph] = float(row["loss"])
    assert made["auto"] == pytest.approx(made["off"], rel=1e-2)


def test_the_card_is_noted(float32: torch.device) -> None:
    noted = environment(str(float32))
    assert noted["device"] == torch.cuda.get_device_name(0)
    assert noted["card"] == os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    assert noted["peak_device_memory_mb"] >= 0
