"""What a run records of its cost, what is told of its memory, and networks that are compiled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.engine import memory
from benchmarks.engine.job import build_method
from benchmarks.engine.loader import Stream, StreamConfig
from benchmarks.engine.memory import estimate, kept_bytes
from benchmarks.engine.trainer import Trainer
from benchmarks.errors import ConfigError, Interrupted, RunError
from benchmarks.files import read_json
from benchmarks.identity import code_digest
from benchmarks.resolve import RECORD, resolve
from benchmarks.run import Place, run_cells
from methods.base import Batch, Progress
from methods.supervised import Supervised
from tests.engine.small import QUIET, job_of, make_config, stop_at, weights
from tests.noting import noted

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("method", "forward", "backward"),
    # Six steps of 2 + 2 images; Mean Teacher's teacher sees the unlabelled ones, UA-MT's eight
    # Monte Carlo passes see them again.
    [("supervised", 12, 12), ("mean_teacher", 36, 24), ("ua_mt", 6 * (4 + 2 + 16), 24)],
)
def test_passes_of_a_step_are_counted(
    method: str, forward: int, backward: int, flat: Path, tmp_path: Path
) -> None:
    position = Trainer(job_of(flat, tmp_path, method), CPU, QUIET).train()
    assert (position.forward, position.backward) == (forward, backward)


def test_a_resumed_run_counts_every_pass_once(flat: Path, tmp_path: Path) -> None:
    job = job_of(flat, tmp_path, "mean_teacher")
    with pytest.raises(Interrupted):
        Trainer(job, CPU, stop_at(3)).train()
    position = Trainer(job, CPU, QUIET).train()
    assert (position.forward, position.backward) == (36, 24)


def test_the_record_holds_what_a_run_cost(flat: Path) -> None:
    config = make_config()
    (resolved,) = resolve(config, "phantom_acdc", "mean_teacher", flat)
    run_cells(config, [resolved], Place(flat, "cpu"), jobs=1)
    record = read_json(resolved.key.folder(flat) / RECORD)
    assert record["images_seen"] == 24
    assert (record["position"]["forward"], record["position"]["backward"]) == (36, 24)
    assert record["position"]["seconds"] > 0
    machine = record["environment"]
    assert machine["peak_memory_mb"] > 0 and machine["cores"] >= 1 and machine["processor"]
    assert machine["memory_mb"] > machine["peak_memory_mb"]
    assert record["code"] == code_digest(flat, "mean_teacher")


@pytest.mark.parametrize("method", ["supervised", "mean_teacher", "egcl_net", "bcp", "ctct"])
def test_estimate_agrees_with_what_a_step_keeps(method: str, flat: Path, tmp_path: Path) -> None:
    """Extrapolated to four times the voxels and twice the images."""
    config = make_config(labeled_batch=4, unlabeled_batch=4, patch=[192, 192])
    job = job_of(flat, tmp_path, method, config)
    real = kept_bytes(build_method(job, CPU), memory._batch(job, job.batch_sizes, (192, 192)))
    need = estimate(job)
    assert need.activations == pytest.approx(real, rel=0.25)
    trained = sum(p.numel() for p in build_method(job, CPU).parameters() if p.requires_grad)
    assert need.weights >= 3 * 4 * trained


@pytest.mark.parametrize("error", ["device", "allocator"])
def test_out_of_memory_names_keys_and_estimate(
    error: str, flat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def losses(self: Supervised, batch: Batch, t: Progress) -> dict[str, Tensor]:
        del self, batch
        if error == "device":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
        return {"supervised": torch.empty(1 << 50) if t.step < 900 else torch.zeros(())}

    config = make_config()
    (resolved,) = resolve(config, "phantom_acdc", "supervised", flat)
    monkeypatch.setattr("benchmarks.engine.memory.estimate", lambda _job: memory.Need(2**30, 2**31))
    monkeypatch.setattr("benchmarks.engine.memory.available", lambda _device: 2**30)
    monkeypatch.setattr(Supervised, "losses", losses)
    with pytest.raises(
        RunError,
        match=r"needs about 3\.00 GB .* 1\.00 GB were free.*labeled_batch \(2\).*train\.patch",
    ) as seen:
        run_cells(config, [resolved], Place(flat, "cpu"), jobs=1)
    noted(f"run: out of memory ({error})", seen.value)


def test_a_size_that_does_not_fit_is_refused_before_anything_is_estimated(flat: Path) -> None:
    config = make_config(patch=[20, 20])
    (resolved,) = resolve(config, "phantom_acdc", "supervised", flat)
    with pytest.raises(ConfigError, match="needs multiples of 8"):
        run_cells(config, [resolved], Place(flat, "cpu"), jobs=1)


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
    position = Trainer(job, CPU, QUIET).train()
    assert len(calls) == 4, "encoder and decoder of student and teacher"
    assert position.forward == 36
    assert weights(tmp_path / "compiled") == weights(tmp_path / "plain")
