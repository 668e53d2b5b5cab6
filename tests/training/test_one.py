"""What a run leaves, and what is said when memory runs out."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from benchmarks.common.device import cores_per_run, default_jobs
from benchmarks.common.errors import ConfigError, DataError, RunError
from benchmarks.common.files import read_json, write_json
from benchmarks.common.workspace import MACHINE, RECORD, split_file
from benchmarks.config import OptimizerConfig
from benchmarks.engine import job as job_module
from benchmarks.engine.job import build_method
from benchmarks.engine.trainer import Trainer
from benchmarks.plan.identity import code_digest
from benchmarks.plan.record import finished
from benchmarks.plan.resolve import resolve
from benchmarks.training import memory
from benchmarks.training.many import train_runs
from benchmarks.training.memory import estimate, kept_bytes
from benchmarks.training.one import Place, _watching, partial_run
from methods.base import Batch, Progress
from methods.supervised import Supervised
from tests.engine.small import build, job_of, make_config
from tests.noting import noted

CPU = torch.device("cpu")


def test_every_optimiser_has_an_estimate_of_its_memory() -> None:
    assert memory._COPIES.keys() == set(get_args(OptimizerConfig.model_fields["kind"].annotation))


def test_what_differs_between_machines_stands_apart_from_the_record(flat: Path) -> None:
    config = make_config()
    (resolved,) = resolve(config, "phantom_acdc", "mean_teacher", flat)
    train_runs([resolved], Place(flat, "cpu"), jobs=1)
    folder = resolved.key.folder(flat)
    record, beside = read_json(folder / RECORD), read_json(folder / MACHINE)
    assert record["images_seen"] == 24 and record["position"]["step"] == 6
    assert beside["seconds"] > 0
    machine = beside["environment"]
    assert machine["peak_memory_mb"] > 0 and machine["cores"] >= 1 and machine["processor"]
    assert machine["memory_mb"] > machine["peak_memory_mb"]
    assert record["code"] == code_digest(flat, "mean_teacher")


def test_equal_runs_leave_equal_bytes_but_for_the_machine(flat: Path) -> None:
    config = make_config(iterations=5)
    (run,) = resolve(config, "phantom_acdc", "supervised", flat)
    folder, seen = run.key.folder(flat), []
    for seconds in (60.0, 60.0, 0.0):  # also where the machine is slow and states are written
        shutil.rmtree(folder, ignore_errors=True)
        train_runs([run], Place(flat, "cpu", checkpoint_seconds=seconds), jobs=1)
        seen.append({p.name: p.read_bytes() for p in folder.iterdir() if p.name != MACHINE})
    assert seen[0] == seen[1] == seen[2]


def test_a_complete_folder_without_its_name_is_adopted(
    flat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As left by a process that was killed between the record and the rename."""
    config = make_config(iterations=5)
    (run,) = resolve(config, "phantom_acdc", "supervised", flat)
    place = Place(flat, "cpu")
    train_runs([run], place, jobs=1)
    folder = run.key.folder(flat)
    folder.rename(folder.with_name(f".{folder.name}.partial"))

    def losses(self: Supervised, batch: Batch, t: Progress) -> dict[str, Tensor]:
        del self, batch, t
        raise AssertionError("it is trained again")

    monkeypatch.setattr(Supervised, "losses", losses)
    assert not finished(run, flat)
    train_runs([run], place, jobs=1)
    assert finished(run, flat)


def test_data_that_change_between_two_runs_stop_the_command(tmp_path: Path) -> None:
    config = make_config(seeds=(0, 1))
    build(tmp_path, config)
    runs = resolve(config, "phantom_acdc", "supervised", tmp_path)
    train_runs(runs[:1], Place(tmp_path, "cpu"), jobs=1)
    path = split_file(tmp_path, "small", "phantom_acdc")
    other = make_config()
    block = other.data["phantom_acdc"]
    split = block.split.model_copy(update={"seed": 1})
    data = {"phantom_acdc": block.model_copy(update={"split": split})}
    path.unlink()
    shutil.rmtree(tmp_path / "data")
    for link in (*tmp_path.iterdir(), *(tmp_path / "datasets").iterdir()):
        if link.is_symlink():  # to the code, which `build` links again
            link.unlink()
    build(tmp_path, other.model_copy(update={"data": data}))
    from benchmarks.plan import resolve as module

    module._loaded.cache_clear()  # as in a worker process that starts now
    with pytest.raises(DataError, match="changed since this command started"):
        train_runs(runs[1:], Place(tmp_path, "cpu"), jobs=1)
    assert not finished(runs[1], tmp_path)


def test_a_run_is_not_gone_on_with_in_another_precision(
    flat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As begun on a card and resumed on a processor, where `amp: auto` is something else."""
    (run,) = resolve(make_config(), "phantom_acdc", "supervised", flat)
    partial, place = partial_run(run.key.folder(flat)), Place(flat, "cpu", checkpoint_seconds=0.0)
    trained = Supervised.losses

    def losses(self: Supervised, batch: Batch, t: Progress) -> dict[str, Tensor]:
        if t.step == 3:
            raise ValueError("no such thing")
        return trained(self, batch, t)

    monkeypatch.setattr(Supervised, "losses", losses)
    with pytest.raises(RunError, match="no such thing"):
        train_runs([run], place, jobs=1)
    monkeypatch.undo()
    note = partial / "begun.json"
    begun = read_json(note)
    assert (begun["digest"], begun["precision"]) == (run.digest, "float32")
    write_json(note, begun | {"precision": "bfloat16"})
    with pytest.raises(RunError, match=r"begun in bfloat16 and would go on in float32 on cpu"):
        train_runs([run], place, jobs=1)
    # What is left of another run does not bind this one.
    write_json(note, begun | {"precision": "bfloat16", "digest": "another"})
    train_runs([run], place, jobs=1)
    assert finished(run, flat) and not (run.key.folder(flat) / note.name).exists()
    shutil.rmtree(flat / "runs")


def test_a_run_goes_on_with_the_threads_it_was_begun_with(
    flat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the last run of a grid, which gets all cores, was begun beside others."""
    (run,) = resolve(make_config(), "phantom_acdc", "supervised", flat)
    monkeypatch.setattr(job_module, "useful_threads", lambda _: 8)
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    trained, stops = Supervised.losses, [3]

    def losses(self: Supervised, batch: Batch, t: Progress) -> dict[str, Tensor]:
        if t.step in stops:
            raise ValueError("no such thing")
        return trained(self, batch, t)

    monkeypatch.setattr(Supervised, "losses", losses)
    with pytest.raises(RunError, match="no such thing"):
        train_runs([run], Place(flat, "cpu", threads=1, checkpoint_seconds=0.0), jobs=1)
    stops.clear()
    train_runs([run], Place(flat, "cpu", threads=2), jobs=1)
    assert finished(run, flat) and asked == [1, 1]
    shutil.rmtree(flat / "runs")
    train_runs([run], Place(flat, "cpu", threads=2), jobs=1)
    assert asked[2:] == [2]
    shutil.rmtree(flat / "runs")


def test_the_time_of_a_run_holds_its_last_validation(
    flat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = resolve(make_config(validations=1), "phantom_acdc", "supervised", flat)
    monkeypatch.setattr(time, "monotonic", clock := _Clock())
    scored = Trainer.score_validation

    def slow(self: Trainer) -> tuple[float, list[float]]:
        clock.now += 1000
        return scored(self)

    monkeypatch.setattr(Trainer, "score_validation", slow)
    train_runs([run], Place(flat, "cpu"), jobs=1)
    assert 1000 <= read_json(run.key.folder(flat) / MACHINE)["seconds"] < 1100
    shutil.rmtree(flat / "runs")


class _Clock:
    """A monotonic clock that may be put on."""

    def __init__(self) -> None:
        self.now, self._real = 0.0, time.monotonic

    def __call__(self) -> float:
        return self.now + self._real()


@pytest.mark.parametrize("method", ["supervised", "mean_teacher", "egcl_net", "bcp", "ctct"])
def test_estimate_agrees_with_what_a_step_keeps(method: str, flat: Path, tmp_path: Path) -> None:
    """Extrapolated to four times the voxels and twice the images."""
    config = make_config(labeled_batch=4, unlabeled_batch=4, patch=[192, 192])
    job = job_of(flat, tmp_path, method, config)
    channels, classes = len(job.data.channels), len(job.data.classes)
    built = build_method(job, CPU)
    batch = memory._batch(built, job.batch_sizes, (192, 192), channels, classes)
    real = kept_bytes(built, batch)
    need = estimate(job)
    assert need.activations == pytest.approx(real, rel=0.25)
    trained = sum(p.numel() for p in build_method(job, CPU).parameters() if p.requires_grad)
    assert need.weights >= 3 * 4 * trained


def test_a_run_is_trained_where_the_system_tells_as_little_as_macos(
    flat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {key: value for key, value in os.sysconf_names.items() if key != "SC_AVPHYS_PAGES"}
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sysconf_names", names)
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "none", raising=False)
    assert default_jobs("cpu") == os.cpu_count() and cores_per_run(10**6) == 1
    assert memory.available(CPU) == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    (run,) = resolve(make_config(iterations=2), "phantom_acdc", "supervised", flat)
    train_runs([run], Place(flat, "cpu"), jobs=1)
    assert finished(run, flat)
    shutil.rmtree(flat / "runs")


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
    monkeypatch.setattr(
        "benchmarks.training.memory.estimate", lambda _job: memory.Need(2**30, 2**31)
    )
    monkeypatch.setattr("benchmarks.training.memory.available", lambda _device: 2**30)
    monkeypatch.setattr(Supervised, "losses", losses)
    with pytest.raises(
        RunError,
        match=r"needs about 3\.00 GB .* 1\.00 GB were free.*labeled_batch \(2\).*train\.patch",
    ) as seen:
        train_runs([resolved], Place(flat, "cpu"), jobs=1)
    noted(f"run: out of memory ({error})", seen.value)


def test_a_size_that_does_not_fit_is_refused_before_anything_is_estimated(flat: Path) -> None:
    config = make_config(patch=[20, 20])
    (resolved,) = resolve(config, "phantom_acdc", "supervised", flat)
    with pytest.raises(ConfigError, match="needs multiples of 8"):
        train_runs([resolved], Place(flat, "cpu"), jobs=1)


def test_code_that_was_edited_after_the_command_began_is_not_trained(flat: Path) -> None:
    """The file as it is now would be trained under the digest of what it was."""
    (run,) = resolve(make_config(), "phantom_acdc", "supervised", flat)
    with pytest.raises(RunError, match=r"other code for supervised \(\w+\) than .* \(0ld\)"):
        train_runs([replace(run, code="0ld")], Place(flat, "cpu"), jobs=1)


def test_a_process_that_was_paused_looks_whether_the_run_is_its_own_still(
    flat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = resolve(make_config(), "phantom_acdc", "supervised", flat)
    now, looked = [0.0], list[bool]()

    def held() -> bool:
        looked.append(True)
        return False

    monkeypatch.setattr("benchmarks.training.one.time.time", lambda: now[0])
    stop = _watching(held, run, flat)
    assert not stop() and not looked
    now[0] = 1000.0
    with pytest.raises(RunError, match=r"another process took .* over, since this one stood still"):
        stop()
