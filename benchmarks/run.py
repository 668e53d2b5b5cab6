"""Trains the runs of one data set and method: skips finished ones, works in parallel, resumes."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.config import BenchmarkConfig
from benchmarks.console import Board
from benchmarks.device import default_jobs, environment, pick_device
from benchmarks.errors import RunError
from benchmarks.files import claimed, storing, write_json
from benchmarks.grid import RunKey, fold_of, prepared_folder, split_file
from benchmarks.identity import code_digest
from benchmarks.pool import Report, failures, run_pool
from benchmarks.resolve import RECORD, Resolved, finished, train_config
from benchmarks.signals import StopFlag
from datasets.split import load_split
from datasets.store import open_prepared
from methods import load_method

_CPU_FULL = "can't allocate memory"  # how PyTorch's CPU allocator says it

if TYPE_CHECKING:
    import torch

    from benchmarks.engine.job import Job
    from benchmarks.engine.state import Position


@dataclass(frozen=True)
class Place:
    """Where and how runs are made.

    Attributes:
        root: the checkout.
        device: `auto`, `cpu`, `cuda` or `cuda:<n>`.
        threads: CPU threads of a run; 0 leaves the default.
    """

    root: Path
    device: str = "auto"
    threads: int = 0


def make_job(config: BenchmarkConfig, resolved: Resolved, root: Path, folder: Path) -> Job:
    """Everything the engine needs to train or rebuild a run.

    Args:
        config: of the benchmark.
        resolved: the run.
        root: the checkout.
        folder: where the run's files are.
    """
    from benchmarks.engine.job import Job

    key = resolved.key
    split = load_split(split_file(root, config, key.dataset))
    return Job(
        method=load_method(key.base),
        params=resolved.params,
        train=train_config(config, key.dataset, key.method),
        data=open_prepared(prepared_folder(root, config, key.dataset)),
        fold=fold_of(split, key.fold),
        labels=key.labels,
        seed=key.seed,
        digest=resolved.digest,
        folder=folder,
    )


def train_one(config: BenchmarkConfig, resolved: Resolved, place: Place, report: Report) -> None:
    """Train one run and move its folder into place.

    Raises:
        Interrupted: stopped by a signal; the state is kept.
        RunError: another process trains this run, a loss is not finite, or memory ran out.
        StorageError: the disk is full or `runs/` cannot be written; the last state is kept.
    """
    target = resolved.key.folder(place.root)
    try:
        with claimed(target.with_name(f".{target.name}.lock")), storing(target):
            _train_claimed(config, resolved, place, report)
    except BlockingIOError:
        raise RunError(
            f"another process is training '{target}'; wait for it, or stop it first"
        ) from None


def _train_claimed(
    config: BenchmarkConfig, resolved: Resolved, place: Place, report: Report
) -> None:
    import torch

    from benchmarks.engine.state import PREVIOUS, STATE

    if place.threads:
        torch.set_num_threads(place.threads)
    device = pick_device(place.device)
    target = resolved.key.folder(place.root)
    partial = target.with_name(f".{target.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    job = make_job(config, resolved, place.root, partial)
    position = _train_job(config, resolved.key, job, device, report)
    write_json(
        partial / RECORD,
        {
            "digest": resolved.digest,
            "code": code_digest(place.root, resolved.key.base),
            "key": asdict(resolved.key),
            "train": job.train.model_dump(mode="json"),
            "params": resolved.params.model_dump(mode="json"),
            "position": asdict(position),
            "images_seen": position.step * sum(job.batch_sizes),
            "environment": environment(str(device)),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )
    for name in (STATE, PREVIOUS):
        (partial / name).unlink(missing_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def _train_job(
    config: BenchmarkConfig, key: RunKey, job: Job, device: torch.device, report: Report
) -> Position:
    """The loop with its hooks; a signal stops it after the present step."""
    import torch

    from benchmarks.engine.job import check_grid
    from benchmarks.engine.memory import available, estimate, gigabytes
    from benchmarks.engine.trainer import Hooks, Trainer

    name = f"{key.dataset} {key.method} {key.cell}"
    check_grid(job)
    need, free = estimate(job), available(device)
    if need.total > free:
        report(name, 0, job.train.iterations, f"needs {need}, {gigabytes(free)} are free")
    with StopFlag() as flag:
        hooks = Hooks(
            report=lambda done, note: report(name, done, job.train.iterations, note),
            stop=lambda: flag.raised,
            checkpoint_seconds=config.runtime.checkpoint_seconds,
            tensorboard=config.runtime.tensorboard,
        )
        try:
            return Trainer(job, device, hooks).train()
        except RuntimeError as error:
            if not isinstance(error, torch.OutOfMemoryError) and _CPU_FULL not in str(error):
                raise
            train = job.train
            raise RunError(
                f"out of memory on {device}: the run needs {need}, {gigabytes(free)} were free"
                f" when it started. Lower train.labeled_batch ({train.labeled_batch}),"
                f" train.unlabeled_batch ({train.unlabeled_batch}) or train.patch"
                f" ({train.patch or 'whole images'}), or run fewer at once with --jobs"
            ) from None


def run_cells(
    config: BenchmarkConfig, wanted: list[Resolved], place: Place, *, jobs: int | None = None
) -> int:
    """Train what is not finished.

    Args:
        config: of the benchmark.
        wanted: runs.
        place: where.
        jobs: worker processes; None takes `runtime.jobs`.

    Returns:
        Number of runs trained; the others were finished before.

    Raises:
        Interrupted: stopped by a signal.
        RunError: runs failed; the others are finished.
    """
    todo = [r for r in wanted if not finished(r, place.root)]
    with Board() as board:
        for r in wanted:
            if r not in todo:
                board.say(f"{r.key.dataset} {r.key.method} {r.key.cell}: finished before, kept")
        configured = (
            default_jobs(place.device) if config.runtime.jobs == "auto" else config.runtime.jobs
        )
        count = min(jobs or configured, len(todo))
        if count <= 1:
            _train_in_turn(config, todo, place, board.update)
        else:
            on_cpu = pick_device(place.device).type == "cpu"
            run_pool(partial(_train_task, config, place), todo, count, board, fork=on_cpu)
        for r in todo:
            board.say(f"{r.key.folder(place.root)}")
    return len(todo)


def _train_in_turn(
    config: BenchmarkConfig, todo: list[Resolved], place: Place, report: Report
) -> None:
    """Train runs in this process; failures are raised together after the others are done."""
    errors = []
    for r in todo:
        try:
            train_one(config, r, place, report)
        except RunError as error:
            errors.append(error)
    if errors:
        raise failures(errors)


def _train_task(
    config: BenchmarkConfig, place: Place, resolved: Resolved, threads: int, report: Report
) -> None:
    train_one(config, resolved, replace(place, threads=place.threads or threads), report)
