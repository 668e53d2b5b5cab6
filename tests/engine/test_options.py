"""Options that change how a run is computed, and not what."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.common.device import cores_per_run
from benchmarks.common.errors import ConfigError
from benchmarks.common.files import read_json
from benchmarks.common.workspace import RECORD
from benchmarks.engine.job import Job, useful_threads
from benchmarks.engine.nets.unet import UNetDecoder
from benchmarks.engine.streams import Stream, StreamConfig
from benchmarks.engine.trainer import Trainer
from benchmarks.plan.resolve import resolve
from benchmarks.scoring.trained import open_trained
from benchmarks.training.many import train_runs
from benchmarks.training.one import Place
from methods.networks import Decoded
from tests.engine.small import QUIET, job_of, make_config, weights

CPU = torch.device("cpu")


@pytest.mark.parametrize("patch", [(16, 40, 16), (64, 24, 8)])
def test_data_on_the_device_give_the_same_batches(
    patch: tuple[int, int, int], solid: Path, tmp_path: Path
) -> None:
    """One gather reads and pads the same voxels as cutting from the mapped file."""
    job = job_of(solid, tmp_path, "supervised", make_config("phantom_brats2019"))
    check_resident(job, patch)


@pytest.mark.parametrize("patch", [None, (16, 40)])
def test_slices_on_the_device_give_the_same_batches(
    patch: tuple[int, int] | None, flat: Path, tmp_path: Path
) -> None:
    check_resident(job_of(flat, tmp_path, "supervised"), patch)


def check_resident(job: Job, patch: tuple[int, ...] | None) -> None:
    cases = job.data.of_patients(job.fold.labeled(2))
    config = StreamConfig("labeled", 2, patch, 0)
    mapped, resident = (
        Stream(job.data, cases, config, with_label=True, device=CPU, resident=kept)
        for kept in (False, True)
    )
    for step in (0, 1, 63, 64, 5):  # over the end of what is drawn at once, and back
        one, other = mapped.read(step), resident.read(step)
        assert one.label is not None and other.label is not None
        assert torch.equal(one.image, other.image) and torch.equal(one.label, other.label)
        assert torch.equal(one.moves.theta, other.moves.theta)


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


@pytest.mark.parametrize("amp", ["off", "bf16"])
def test_networks_compute_in_the_precision_of_the_run_everywhere(
    amp: str, flat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In training, validation and evaluation alike; the record names it."""
    for name in ("data", "datasets", "benchmarks", "methods"):
        (tmp_path / name).symlink_to(flat / name)
    seen: dict[str, set[torch.dtype]] = {"train": set(), "eval": set()}
    decode = UNetDecoder.forward

    def noted(self: UNetDecoder, levels: Sequence[Tensor]) -> Decoded:
        if self.training or not torch.is_grad_enabled():  # the ledger looks once, before the run
            seen["train" if self.training else "eval"].add(levels[0].dtype)
        return decode(self, levels)

    monkeypatch.setattr(UNetDecoder, "forward", noted)
    place = Place(tmp_path, "cpu")
    (run,) = resolve(make_config(amp=amp, iterations=1), "phantom_acdc", "mean_teacher", tmp_path)
    train_runs([run], place, jobs=1)
    expected = torch.bfloat16 if amp == "bf16" else torch.float32
    assert seen == {"train": {expected}, "eval": {expected}}
    record = read_json(run.key.folder(tmp_path) / RECORD)
    assert record["precision"] == str(expected).removeprefix("torch.")
    seen["eval"].clear()
    trained = open_trained(run, place)
    found = trained.probability(trained.job.data.image(trained.job.data.cases[0].case))
    assert seen["eval"] == {expected} and found.dtype == torch.float32


def test_threads_follow_the_size_of_a_step(flat: Path, tmp_path: Path) -> None:
    """2 + 2 images of 32 x 32 with 4 channels are too few for a second thread, not so 512 x 512."""
    job = job_of(flat, tmp_path, "supervised")
    assert useful_threads(job) == 1
    large = make_config(patch=[512, 512], network={"kind": "unet", "channels": [16, 32, 64, 128]})
    assert useful_threads(job_of(flat, tmp_path, "mean_teacher", large)) == 64


@pytest.mark.parametrize("case", [("3", 4, 3), ("", 1, 8), ("", 3, 2), ("", 9, 1)])
def test_cores_of_a_run(case: tuple[str, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    asked, runs, cores = case
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    assert cores_per_run(runs) == cores


@pytest.mark.parametrize(
    ("depth", "amp", "refused"), [(16, "bf16", 1), (32, "bf16", 0), (16, "off", 0)]
)
def test_maps_that_bf16_has_wrong_gradients_of_are_refused(
    depth: int, amp: str, refused: int, solid: Path, tmp_path: Path
) -> None:
    """The network divides by 8; oneDNN's weight gradients are wrong at a depth of 2."""
    config = make_config("phantom_brats2019", patch=[depth, 16, 16], amp=amp, iterations=1)
    job = job_of(solid, tmp_path, "supervised", config)
    with (
        pytest.raises(ConfigError, match=r"16 voxels deep.*train\.amp")
        if refused
        else nullcontext()
    ):
        Trainer(job, torch.device("cpu"), QUIET).train()
