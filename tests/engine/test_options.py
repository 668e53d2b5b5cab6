"""Options that change how a run is computed, and not what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks.engine.loader import Stream, StreamConfig
from benchmarks.engine.trainer import Trainer
from tests.engine.small import QUIET, job_of, make_config, weights

CPU = torch.device("cpu")


def test_data_on_the_device_give_the_same_batches(solid: Path, tmp_path: Path) -> None:
    config = make_config("phantom_brats2019", patch=[16, 40, 16])
    job = job_of(solid, tmp_path, "supervised", config)
    cases = job.data.of_patients(job.fold.labeled(2))
    stream = StreamConfig("labeled", 2, (16, 40, 16), 0)
    mapped, resident = (
        Stream(job.data, cases, stream, with_label=True, resident=place) for place in (None, CPU)
    )
    for step in range(4):
        (image, label), (other, same) = mapped.read(step), resident.read(step)
        assert label is not None and same is not None
        assert torch.equal(image, other) and torch.equal(label, same)


def test_compiled_networks_compute_the_same(
    flat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a compiler that changes nothing; `make speed` runs the real one."""
    calls: list[object] = []

    def compiled(function: Callable[..., object], **options: object) -> Callable[..., object]:
        calls.append(options)
        return function

    monkeypatch.setattr(torch, "compile", compiled)
    Trainer(job_of(flat, tmp_path / "plain", "mean_teacher"), CPU, QUIET).train()
    assert not calls
    job = job_of(flat, tmp_path / "compiled", "mean_teacher", make_config(compile=True))
    Trainer(job, CPU, QUIET).train()
    assert len(calls) == 4, "encoder and decoder of student and teacher"
    assert weights(tmp_path / "compiled") == weights(tmp_path / "plain")
