"""Workers of this machine: what is killed, fails, is held or of other code; parts of a grid."""

from __future__ import annotations

import errno
import multiprocessing
import os
import re
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
import yaml
from torch import Tensor
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.common.errors import ConfigError, Interrupted, RunError
from benchmarks.common.files import storing
from benchmarks.common.lease import is_held, leased
from benchmarks.common.workers import quiet
from benchmarks.config import BenchmarkConfig, load_config
from benchmarks.engine.state import STATE, Position
from benchmarks.launch import campaign
from benchmarks.launch.backend import Slots
from benchmarks.launch.campaign import Summary, launch, shard_of
from benchmarks.launch.local import Local
from benchmarks.launch.ray import OnRay, _outcome
from benchmarks.launch.slurm import _outcomes
from benchmarks.launch.work import Outcome, walk
from benchmarks.plan.estimate import by_cost
from benchmarks.plan.record import finished
from benchmarks.plan.resolve import Run, resolve
from benchmarks.plan.restrict import Part, restricted
from benchmarks.training.one import Place, lease_file
from methods.base import Batch, Progress
from methods.entropy_min import EntropyMin
from methods.supervised import Supervised
from tests.engine.small import make_config
from tests.launch.stub import NoTraining

ROOT = Path(__file__).parents[2]


def plan(root: Path, *methods: str, seeds: tuple[int, ...] = (0, 1)) -> list[Run]:
    config = make_config(iterations=2)
    grid = config.grid.model_copy(update={"seeds": seeds})
    config = config.model_copy(update={"grid": grid})
    return [run for m in methods for run in resolve(config, "phantom_acdc", m, root)]


def go(runs: list[Run], root: Path, workers: int = 2) -> tuple[Summary, list[str]]:
    said: list[str] = []
    local = Local(Slots(workers))
    return launch(runs, local, Place(root, "cpu"), report=quiet, say=said.append), said


@pytest.fixture
def empty(flat: Path) -> Iterator[Path]:
    """The prepared root without runs."""
    shutil.rmtree(flat / "runs", ignore_errors=True)
    yield flat
    shutil.rmtree(flat / "runs", ignore_errors=True)


def test_a_killed_worker_costs_nothing_and_an_error_its_run_alone(
    empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = Supervised.losses

    def die_once(self: Supervised, batch: Batch, t: Progress) -> dict[str, Tensor]:
        mark = tmp_path / "killed"
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return trained(self, batch, t)

    def fail(self: EntropyMin, batch: Batch, t: Progress) -> dict[str, Tensor]:
        del self, batch, t
        raise ValueError("no such thing")

    monkeypatch.setattr(Supervised, "losses", die_once)
    monkeypatch.setattr(EntropyMin, "losses", fail)
    runs = [*plan(empty, "entropy_min", seeds=(0,)), *plan(empty, "supervised", "mean_teacher")]
    found, said = go(runs, empty)
    assert (tmp_path / "killed").exists()
    assert (found.kept, found.trained, found.left) == (0, 4, {})
    assert list(found.failed) == [runs[0].key.title]
    assert said[-2] == "done 4 (4 trained here), failed 1, left 0"
    assert "ValueError: no such thing" in said[-1] and runs[0].key.title in said[-1]
    assert [finished(run, empty) for run in runs] == [False, True, True, True, True]
    assert not list(empty.glob("runs/**/.*.lock*"))

    monkeypatch.undo()
    found, _ = go(runs, empty)
    assert (found.kept, found.trained, found.failed, found.left) == (4, 1, {}, {})


def test_a_full_disk_and_a_lost_folder_fail_their_runs_alone(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The summary and the exit code say so."""

    class OnBadDisk(NoTraining):
        def train(self) -> Position:
            name = self.job.folder.name
            if "s1" in name:
                with storing(self.job.folder / STATE):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if "s2" in name:
                shutil.rmtree(self.job.folder)
            return super().train()

    config = make_config()
    grid = config.grid.model_copy(update={"methods": ("supervised",), "seeds": (0, 1, 2, 3)})
    params = empty / "params.yaml"
    params.write_text(config.model_copy(update={"grid": grid}).model_dump_json())
    monkeypatch.setattr("benchmarks.engine.trainer.Trainer", OnBadDisk)
    for module in ("many", "options"):
        monkeypatch.setattr(f"benchmarks.cli.{module}.ROOT", empty)
    argv = ["launch", "--params", str(params), "--workers", "2", "--device", "cpu"]
    result = CliRunner().invoke(app, argv)
    assert "done 2 (2 trained here), failed 2, left 0" in result.output
    reasons = [line for line in result.output.splitlines() if line.startswith("failed: ")]
    assert len(reasons) == 2
    assert any("s1" in r and "No space left on device; free the disk" in r for r in reasons)
    assert any("s2" in r and "No such file or directory" in r for r in reasons)
    assert isinstance(result.exception, RunError) and result.exception.exit_code == 2
    assert "2 runs failed and 0 are left" in str(result.exception)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "all done; next: `python -m benchmarks repro --params {}`"),
        (["--sweep", "alone"], "all done; next: `python -m benchmarks repro .* --sweep alone`"),
        (["--shard", "1/2"], "this shard is done; .* `python -m benchmarks repro --params {}`"),
        (
            ["--seeds", "0"],
            "this part is done; .* evaluate phantom_acdc --partial --params {}"
            "`, then `python -m benchmarks report --partial --params {}`",
        ),
    ],
)
def test_the_next_command_is_of_what_was_launched(
    more: list[str], words: str, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config()
    grid = config.grid.model_copy(update={"methods": ("supervised",), "seeds": (0, 1)})
    tree = config.model_copy(update={"name": "mine", "grid": grid}).model_dump(mode="json")
    params = empty / "my bench.yaml"
    params.write_text(yaml.safe_dump({**tree, "sweeps": {"alone": {"methods": ["supervised"]}}}))
    monkeypatch.setattr("benchmarks.engine.trainer.Trainer", NoTraining)
    for module in ("many", "options"):
        monkeypatch.setattr(f"benchmarks.cli.{module}.ROOT", empty)
    argv = ["launch", "--params", str(params), "--workers", "1", "--device", "cpu", *more]
    output = " ".join(CliRunner().invoke(app, argv, catch_exceptions=False).output.split())
    assert re.search(words.replace("{}", re.escape(shlex.quote(str(params)))), output), output


def test_a_run_of_which_every_worker_dies_is_given_up(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(self: Supervised, batch: Batch, t: Progress) -> dict[str, Tensor]:
        del self, batch, t
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    monkeypatch.setattr(Supervised, "losses", die)
    runs = plan(empty, "supervised", "mean_teacher", seeds=(0,))
    found, _ = go(runs, empty)
    assert found.trained == 1 and found.left == {}
    assert "killed" in found.failed[runs[0].key.title]


def test_a_second_launcher_helps_and_waits_for_what_is_held(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "LOOK", 0.05)
    runs = plan(empty, "supervised")
    holder = multiprocessing.get_context("fork").Process(target=hold, args=(*runs, empty))
    holder.start()
    while not is_held(lease_file(runs[0], empty)):
        time.sleep(0.01)
    found, _ = go(runs, empty, workers=1)
    holder.join()
    assert (found.kept, found.trained, found.failed, found.left) == (0, 2, {}, {})


def hold(held: Run, other: Run, root: Path) -> None:
    """Hold a run until another launch, which cannot have it, has done the other one."""
    with leased(lease_file(held, root)):
        while not finished(other, root):
            time.sleep(0.02)


def test_workers_refuse_other_code_and_share_what_failed(empty: Path, tmp_path: Path) -> None:
    (run,) = plan(empty, "supervised", seeds=(0,))
    other = replace(run, code="0" * 16, digest="1" * 16)
    place = Place(empty, "cpu", threads=1)
    (first,) = walk([other], place, tmp_path, 0)
    assert first.state == "failed" and "other code for supervised" in first.reason
    (second,) = walk([other, run][:1], place, tmp_path, 1)
    assert second == first
    assert [o.state for o in walk([run], place, tmp_path, 0)] == ["trained"]
    assert [o.state for o in walk([run], place, tmp_path, 1)] == ["kept"]


def paper() -> BenchmarkConfig:
    return load_config(ROOT / "benchmarks/presets/paper/params.yaml")


def test_a_part_of_a_grid() -> None:
    config = paper()
    part = restricted(config, Part(methods=("bcp", "supervised"), labels=(3, 50), seeds=(1,)))
    assert part.grid.datasets == ("acdc", "brats2019")
    assert part.grid.methods == ("supervised", "bcp")
    assert part.data["acdc"].labels == (3,) and part.data["brats2019"].labels == (50,)
    assert part.grid.pairs == ((0, 1),)
    assert restricted(config, Part()) == config
    bound = config.grid.model_copy(update={"seeds": (5, 6), "folds": (0, 1), "bound": True})
    config = config.model_copy(update={"grid": bound})
    assert restricted(config, Part(seeds=(6,))).grid.pairs == ((1, 6),)
    with pytest.raises(ConfigError, match=r"--methods: 'bpc'.*did you mean 'bcp'"):
        restricted(config, Part(methods=("bpc",)))
    with pytest.raises(ConfigError, match=r"--labels: '25'.*Allowed: 3, 7"):
        restricted(config, Part(datasets=("acdc",), labels=(25,)))


def test_shards_are_all_runs_once_and_the_longest_come_first(empty: Path) -> None:
    runs = plan(empty, "supervised", "mean_teacher", seeds=(0, 1, 2))
    ordered = by_cost(make_config(iterations=2), runs)
    # Mean Teacher's step has 7/3 of the operations of a supervised one.
    assert [r.key.method for r in ordered] == ["mean_teacher"] * 3 + ["supervised"] * 3
    shards = [ordered[shard_of(f"{part}/4")] for part in (1, 2, 3, 4)]
    assert [len(s) for s in shards] == [2, 2, 1, 1]
    assert sorted(r.digest for s in shards for r in s) == sorted(r.digest for r in runs)
    for wrong in ("0/4", "5/4", "1", "a/b"):
        with pytest.raises(ConfigError, match="--shard"):
            shard_of(wrong)


def test_the_plan_of_a_grid_is_not_shown_as_that_of_a_shard() -> None:
    result = CliRunner().invoke(app, ["launch", "--shard", "1/2", "--dry-run"])
    assert isinstance(result.exception, ConfigError) and not result.output
    assert "--dry-run with --shard '1/2'" in str(result.exception)


def test_equal_rows_of_a_grid_are_both_told_by_jobs_of_slurm(empty: Path) -> None:
    """They have one digest, and each has an outcome."""
    (run,) = plan(empty, "supervised", seeds=(0,))
    again = replace(run, key=replace(run.key, method="supervised-again"))
    assert again.digest == run.digest
    held = replace(run, key=replace(run.key, method="supervised-held"))
    done = [Outcome(run, "trained"), Outcome(again, "kept"), Outcome(held, "held", "b")]
    job = SimpleNamespace(done=lambda: True, result=lambda: done, job_id="1")
    assert list(_outcomes([job], [run, again, held], empty, empty, quiet)) == done


@pytest.mark.parametrize(
    ("address", "device", "here", "options", "cards"),
    [
        ("auto", "cuda", 0, None, None),  # from a head node without a card
        ("", "cuda:1", 2, (1, 1), "1"),
        ("", "cuda", 2, (2, 2), "0,1"),
    ],
)
def test_tasks_of_ray_take_the_one_card_that_they_see(
    address: str, device: str, here: int, options: tuple[int, int] | None, cards: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A cluster has its own cards; one of this machine has those that the device names."""
    begun: list[tuple[object, str | None]] = []

    def init(**given: object) -> None:
        own = (given["num_cpus"], given["num_gpus"]) if "num_gpus" in given else None
        begun.append((own, os.environ.get("CUDA_VISIBLE_DEVICES")))

    ray = SimpleNamespace(
        init=init,
        shutdown=lambda: None,
        cluster_resources=lambda: {"GPU": 2},
        remote=lambda **_: lambda _: SimpleNamespace(remote=lambda run, place: (run, place)),
        wait=lambda handles, **_: (handles, []),
        get=lambda handle: Outcome(handle[0], "trained", handle[1].device),
        exceptions=SimpleNamespace(RayError=RuntimeError, RayTaskError=RuntimeError),
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: here)
    found = OnRay(Slots()).start([cast("Run", 1)], Place(ROOT, device), quiet)
    assert [(o.state, o.reason) for o in found] == [("trained", "cuda")]
    assert begun == [(options, cards)] and "CUDA_VISIBLE_DEVICES" not in os.environ


def test_a_worker_of_ray_that_was_asked_to_stop_is_no_failure() -> None:
    """Its run is open again, as with other backends."""

    class RayError(Exception):
        cause: BaseException = Interrupted("stopped")

    def get(_handle: object) -> None:
        raise RayError

    ray = SimpleNamespace(get=get, exceptions=SimpleNamespace(RayError=RayError))
    ray.exceptions.RayTaskError = RayError
    found = _outcome(ray, 1, cast("Run", None))
    assert (found.state, found.reason) == ("lost", "stopped")
