"""What a GPU must do as the CPU does, and again in the same way; `make gpu` runs it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.common.device import environment, pick_device
from benchmarks.common.errors import Interrupted
from benchmarks.engine.graph import why_eager
from benchmarks.engine.trainer import Trainer
from methods import method_ids
from tests.engine.conftest import flat
from tests.engine.small import QUIET, job_of, make_config, weights
from tests.gpu.agree import difference
from tests.gpu.exact import exact

__all__ = ["flat"]

pytestmark = pytest.mark.gpu
STEPS = 12


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
    assert found.loss < 1e-3 and found.gradient < 1e-2, found


def trained_in(root: Path, folder: Path, method: str, stop: int = 0) -> Path:
    """Train a run on the GPU, stopped after some steps unless that is 0."""
    left = iter(range(stop - 1))
    hooks = replace(QUIET, stop=lambda: next(left, None) is None) if stop else QUIET
    job = job_of(root, folder, method, make_config(iterations=STEPS, validations=1))
    try:
        Trainer(job, pick_device("cuda"), hooks).train()
    except Interrupted:
        assert stop
    return folder


@pytest.mark.parametrize("method", method_ids())
def test_again_and_resumed_with_the_same_bits(method: str, flat: Path, tmp_path: Path) -> None:
    """With recorded steps where the method can be recorded: stopped at a played one."""
    straight = weights(trained_in(flat, tmp_path / "straight", method))
    assert weights(trained_in(flat, tmp_path / "again", method)) == straight
    trained_in(flat, tmp_path / "stopped", method, stop=7)
    assert weights(trained_in(flat, tmp_path / "stopped", method)) == straight


@pytest.mark.parametrize("method", ["supervised", "mean_teacher", "egcl_net"])
def test_recorded_steps_train_as_others_do(method: str, flat: Path, tmp_path: Path) -> None:
    made = {}
    for graph in ("off", "auto"):
        config = make_config(iterations=200, amp="off", graph=graph)
        job = job_of(flat, tmp_path / graph, method, config)
        assert why_eager(job, torch.device("cuda")) == ("off" if graph == "off" else "")
        trainer = Trainer(job, pick_device("cuda"), QUIET)
        for step in range(100, 112):
            row = trainer._step(step)
        made[graph] = float(row["loss"])
    assert made["auto"] == pytest.approx(made["off"], rel=1e-2)


def test_the_card_is_noted(float32: torch.device) -> None:
    noted = environment(str(float32))
    assert noted["device"] == torch.cuda.get_device_name(0)
    assert noted["card"] == os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    assert noted["peak_device_memory_mb"] >= 0
