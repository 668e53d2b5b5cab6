"""Damaged states, losses that are not finite, and what else goes wrong during a run."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.common.errors import Interrupted, Lost, RunError, StorageError
from benchmarks.engine.state import PREVIOUS, STATE
from benchmarks.engine.trainer import Trainer
from benchmarks.plan.record import finished
from benchmarks.plan.resolve import Run, resolve
from benchmarks.scoring.evaluate import evaluate
from benchmarks.training.many import train_runs
from benchmarks.training.one import Place
from methods.base import Batch, Progress
from methods.supervised import Supervised
from tests.engine.small import QUIET, job_of, make_config, stop_at, weights
from tests.noting import noted

CPU = torch.device("cpu")


def test_damaged_state_is_set_aside_and_the_one_before_it_used(flat: Path, tmp_path: Path) -> None:
    Trainer(job_of(flat, tmp_path / "whole", "mean_teacher"), CPU, QUIET).train()
    job = job_of(flat, tmp_path / "cut", "mean_teacher")
    for stop in (2, 4):
        with pytest.raises(Interrupted):
            Trainer(job, CPU, stop_at(stop)).train()
    state = job.folder / STATE
    before = torch.load(job.folder / PREVIOUS, weights_only=True)["position"]["step"]
    assert (before, torch.load(state, weights_only=True)["position"]["step"]) == (2, 4)
    state.write_bytes(state.read_bytes()[:-500])
    with pytest.warns(UserWarning, match=r"state\.pt' is no readable state.*damaged") as seen:
        Trainer(job, CPU, QUIET).train()
    noted("run: damaged state", seen[0].message)
    assert (job.folder / f"{STATE}.damaged").is_file()
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_run_with_nothing_but_a_damaged_state_starts_anew(flat: Path, tmp_path: Path) -> None:
    Trainer(job_of(flat, tmp_path / "whole", "supervised"), CPU, QUIET).train()
    job = job_of(flat, tmp_path / "cut", "supervised")
    (job.folder / STATE).write_bytes(b"not a state")
    with pytest.warns(UserWarning, match="starts anew"):
        Trainer(job, CPU, QUIET).train()
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_state_with_code_in_it_is_not_unpickled(flat: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.system, (f"touch {tmp_path}/owned",))

    job = job_of(flat, tmp_path / "run", "supervised")
    torch.save({"digest": job.digest, "position": Evil()}, tmp_path / "run" / "state.pt")
    with pytest.warns(UserWarning, match="no readable state") as seen:
        Trainer(job, CPU, QUIET).train()
    noted("run: state with code in it", seen[0].message)
    assert not (tmp_path / "owned").exists()


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss of iterations 1 and 3 is not finite."""
    original = Supervised.losses

    def losses(self: Supervised, batch: Batch, t: Progress) -> dict[str, Tensor]:
        terms = original(self, batch, t)
        factor = float("nan") if t.step in (1, 3) else 1.0
        return {name: term * factor for name, term in terms.items()}

    monkeypatch.setattr(Supervised, "losses", losses)


@pytest.mark.usefixtures("broken")
def test_loss_that_is_not_finite_names_iteration_term_and_cases(flat: Path, tmp_path: Path) -> None:
    job = job_of(flat, tmp_path, "supervised")
    with pytest.raises(RunError, match=r"iteration 2: loss/supervised.*patient\d+.* slice") as seen:
        Trainer(job, CPU, QUIET).train()
    noted("run: loss is not finite", seen.value)
    assert not (tmp_path / "last.safetensors").exists()


@pytest.mark.usefixtures("broken")
def test_iterations_that_are_not_finite_can_be_left_out_up_to_a_number(
    flat: Path, tmp_path: Path
) -> None:
    two = job_of(flat, tmp_path / "two", "supervised", make_config(skip_nonfinite=2))
    assert Trainer(two, CPU, QUIET).train().skipped == 2
    lines = (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()
    assert sum('"loss": NaN' in line for line in lines) == 0
    one = job_of(flat, tmp_path / "one", "supervised", make_config(skip_nonfinite=1))
    with pytest.raises(RunError, match=r"iteration 4.*left out before: 1") as seen:
        Trainer(one, CPU, QUIET).train()
    noted("run: more losses are not finite than train.skip_nonfinite allows", seen.value)


def test_an_iteration_that_is_left_out_moves_no_statistics(
    flat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One image that overflows, as a damaged volume may; batch norm has seen it when that shows."""
    job = job_of(flat, tmp_path, "supervised", make_config(skip_nonfinite=1))
    trainer = Trainer(job, CPU, QUIET)
    trainer.step(0)
    before = {name: value.clone() for name, value in trainer.method.state_dict().items()}
    drawn = trainer.loader.batch

    def overflowing(step: int) -> Batch:
        batch = drawn(step)
        return replace(batch, image=batch.image * torch.inf)

    monkeypatch.setattr(trainer.loader, "batch", overflowing)
    assert trainer.step(1) == {"skipped": 1}
    trainer.loader.close()
    after = trainer.method.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_in_a_method_names_run_file_and_line(
    jobs: int, flat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def soft(logits: Tensor) -> Tensor:
        return logits.reshape(-1, 7)  # as a mistake in a method would

    monkeypatch.setattr("methods.entropy_min.softmax32", soft)
    config = make_config(seeds=(3, 4))
    wanted = resolve(config, "phantom_acdc", "entropy_min", flat)
    with pytest.raises(RunError) as seen:
        train_runs(wanted, Place(flat, "cpu"), jobs=jobs)
    lines = str(seen.value).splitlines()
    assert len(lines) == 2
    for line, seed in zip(sorted(lines), (3, 4), strict=True):
        assert f"entropy_min l2-f0-s{seed}: methods/entropy_min.py:" in line
        kept = Path(line.rpartition("'")[0].rpartition("'")[2])
        assert "Traceback" in kept.read_text() and "in soft" in kept.read_text()
    noted("run: an error in a method", seen.value)


@pytest.mark.usefixtures("broken")
def test_a_failed_run_does_not_keep_others_from_being_trained(flat: Path) -> None:
    config = make_config()
    wanted = [
        r for m in ("supervised", "entropy_min") for r in resolve(config, "phantom_acdc", m, flat)
    ]
    with pytest.raises(RunError, match="not finite at iteration 2"):
        train_runs(wanted, Place(flat, "cpu"), jobs=1)
    assert [finished(r, flat) for r in wanted] == [False, True]


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize("jobs", [1, 2])
def test_errors_of_all_kinds_are_told_and_the_others_are_trained(jobs: int, flat: Path) -> None:
    """A loss that is not finite, then a file in place of a folder, then a run that is well."""
    config = make_config()
    methods = ("supervised", "mean_teacher", "cps")
    wanted = [r for m in methods for r in resolve(config, "phantom_acdc", m, flat)]
    for run in wanted[1:]:
        shutil.rmtree(run.key.folder(flat), ignore_errors=True)
    target = wanted[1].key.folder(flat)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch()
    try:
        with pytest.raises(RunError) as seen:
            train_runs(wanted, Place(flat, "cpu", threads=1), jobs=jobs)
        with pytest.raises(StorageError, match="is a link or file in place of a run's folder"):
            train_runs(wanted[1:2], Place(flat, "cpu"))
    finally:
        target.unlink()
    assert type(seen.value) is RunError and len(str(seen.value).splitlines()) == 2
    assert "not finite at iteration 2" in str(seen.value)
    assert f"'{target}' is a link or file" in str(seen.value)
    assert finished(wanted[2], flat)


def test_an_error_of_the_suite_itself_in_a_worker_is_told_with_its_line(
    flat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: Run, *_: object) -> None:
        raise {11: MemoryError(), 12: KeyError("a")}[run.key.seed]

    monkeypatch.setattr("benchmarks.training.one.begun_with", fail)
    config = make_config(seeds=(11, 12))
    wanted = resolve(config, "phantom_acdc", "supervised", flat)
    with pytest.raises(RunError) as seen:
        train_runs(wanted, Place(flat, "cpu", threads=1), jobs=2)
    line = fail.__code__.co_firstlineno + 1
    assert sorted(str(seen.value).splitlines()) == [
        f"{__file__}:{line}: KeyError: 'a'",
        f"{__file__}:{line}: MemoryError",
    ]


def _pickle(path: Path, mark: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.system, (f"touch {mark}",))

    torch.save({"net.weight": Evil()}, path)


def _cut(path: Path, mark: Path) -> None:
    del mark
    path.write_bytes(path.read_bytes()[:-100])


def _other_network(path: Path, mark: Path) -> None:
    del mark
    save_file({"net.weight": torch.zeros(3)}, path)


def _huge_header(path: Path, mark: Path) -> None:
    del mark
    path.write_bytes((2**62).to_bytes(8, "little") + path.read_bytes()[8:])


@pytest.mark.parametrize("damage", [_pickle, _cut, _other_network, _huge_header])
@pytest.mark.parametrize("name", ["last", "best"])
def test_weights_that_cannot_be_trusted_are_refused(
    name: str, damage: Callable[[Path, Path], None], flat: Path, tmp_path: Path
) -> None:
    for part in ("data", "datasets", "benchmarks", "methods"):
        (tmp_path / part).symlink_to(flat / part)
    config, place = make_config(), Place(tmp_path, "cpu")
    (wanted,) = resolve(config, "phantom_acdc", "supervised", tmp_path)
    train_runs([wanted], place, jobs=1)
    path = wanted.key.folder(tmp_path) / f"{name}.safetensors"
    damage(path, tmp_path / "owned")
    with pytest.raises(RunError, match=rf"its {name}\.safetensors is not the file") as seen:
        evaluate(config, "phantom_acdc", "supervised", place)
    noted(f"evaluate: weights, {damage.__name__.strip('_').replace('_', ' ')}", seen.value)
    assert not (tmp_path / "owned").exists()
    assert not list(tmp_path.rglob("reports/**/*.csv"))


def test_a_worker_that_is_killed_is_named(flat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system does where memory runs out."""

    def losses(self: Supervised, batch: Batch, t: Progress) -> dict[str, Tensor]:
        del self, batch, t
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    config = make_config(seeds=(7, 8))
    wanted = resolve(config, "phantom_acdc", "supervised", flat)
    monkeypatch.setattr(Supervised, "losses", losses)
    with pytest.raises(Lost, match=r"worker process was killed.*--jobs") as seen:
        train_runs(wanted, Place(flat, "cpu"), jobs=2)
    noted("run: a worker is killed", seen.value)
    monkeypatch.undo()
    assert train_runs(wanted, Place(flat, "cpu"), jobs=2) == 2
