"""Trains one run and moves its folder into place."""

from __future__ import annotations

import gc
import shutil
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.common.blame import in_words
from benchmarks.common.device import cores_per_run, energy_meter, environment, pick_device
from benchmarks.common.errors import BenchError, Held, RunError, StorageError
from benchmarks.common.files import storing, write_json, write_text
from benchmarks.common.lease import BEAT_SECONDS, leased
from benchmarks.common.signals import catching_stops, stop_asked
from benchmarks.common.workers import Report
from benchmarks.common.workspace import (
    CHECKPOINTS,
    MACHINE,
    MECHANISMS,
    METRICS,
    PSEUDO_MASKS,
    weights_file,
)
from benchmarks.plan.record import finished, mismatch, write_record
from benchmarks.plan.resolve import Run, open_job
from benchmarks.training.begun import NOTE, Begun, begun_with
from benchmarks.training.code import refuse_other_code

if TYPE_CHECKING:
    from benchmarks.engine.job import Job
    from benchmarks.engine.state import Position


ERROR = "error.txt"
# Of what PyTorch calls not deterministic on CUDA, two have no part in what is trained: the order in
# which the mean of a cross entropy is summed, of which no gradient depends; and windows of pooling
# that overlap, which those of the networks here do not.
_HARMLESS = r"(nll_loss2d_forward|max_pool3d_with_indices_backward)\w* does not have"


@dataclass(frozen=True)
class Place:
    """Where and how runs are made.

    Attributes:
        root: the checkout.
        device: `auto`, `cpu`, `cuda` or `cuda:<n>`.
        threads: most CPU threads of a run, a small one takes fewer; 0: one for each core. A run
            that was stopped goes on with as many as it was begun with.
        checkpoint_seconds: between resumable states.
    """

    root: Path
    device: str = "auto"
    threads: int = 0
    checkpoint_seconds: float = 60.0


def partial_run(target: Path) -> Path:
    """Where a run is until its folder is complete."""
    return target.with_name(f".{target.name}.partial")


def lease_file(run: Run, root: Path) -> Path:
    """The file that says who trains a run."""
    target = run.key.folder(root)
    return target.with_name(f".{target.name}.lock")


def train_run(run: Run, report: Report, place: Place) -> bool:
    """Train one run, or go on with one that was stopped.

    Returns:
        False if another process finished it before.

    Raises:
        Interrupted: stopped by a signal; the state is kept.
        Held: another process trains this run.
        RunError: another process took it over, a loss is not finite, memory ran out, the code is
            not that of the run, or it was begun in another precision than that of this device.
        DataError: data or split changed since the run was resolved.
        StorageError: the disk is full or `runs/` cannot be written; the last state is kept.
    """
    import torch

    from benchmarks.engine.job import precision, useful_threads
    from benchmarks.engine.state import STATE
    from benchmarks.engine.trainer import Hooks, Trainer
    from benchmarks.training.memory import memory_advice

    device = pick_device(place.device)
    refuse_other_code(run, place.root)
    with catching_stops(), _partial_folder(run, place.root) as claim:
        if claim is None:
            return False
        partial, held = claim
        if not mismatch(run, partial):  # killed just before the folder got its name
            _move(partial, run.key.folder(place.root))
            return True
        job = open_job(run, place.root, partial)
        arithmetic = str(precision(job.train, device)).removeprefix("torch.")
        threads = 0
        if device.type == "cpu":
            threads = min(place.threads or cores_per_run(1), useful_threads(job))
        now = Begun(digest=run.digest, precision=arithmetic, threads=threads)
        threads = begun_with(run, partial, now, device).threads
        if threads:
            torch.set_num_threads(threads)
        hooks = Hooks(
            report=lambda done, note: report(run.key.title, done, run.train.iterations, note),
            stop=_watching(held, run, place.root),
            checkpoint_seconds=place.checkpoint_seconds,
        )
        used = _energy(str(device), whole=not (partial / STATE).exists())
        if device.type == "cuda":
            warnings.filterwarnings("ignore", message=_HARMLESS)
            # The run before in this process, whose trainer and recordings refer to one another.
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        with _naming_code(run, partial), memory_advice(job, device):
            position = Trainer(job, device, hooks).train()
        _refuse_lost(held, run, place.root)
        _write_record(run, job, position, arithmetic, {**environment(str(device)), **used()})
        _move(partial, run.key.folder(place.root))
    return True


def _watching(held: Callable[[], bool], run: Run, root: Path) -> Callable[[], bool]:
    """Whether to stop; after a pause, such as of a machine that slept, the lease is looked at."""
    seen = time.time()

    def stop() -> bool:
        nonlocal seen
        paused, seen = time.time() - seen > BEAT_SECONDS, time.time()
        if paused:
            _refuse_lost(held, run, root)
        return stop_asked()

    return stop


def _refuse_lost(held: Callable[[], bool], run: Run, root: Path) -> None:
    """Raise a RunError if another process has the run now."""
    if not held():
        raise RunError(
            f"another process took '{run.key.folder(root)}' over, since this one stood still for"
            " minutes; nothing of it was changed. Run the same command again"
        )


def _energy(device: str, *, whole: bool) -> Callable[[], dict[str, float]]:
    """What tells the energy that the card has used from now on; empty if that is not all of a run.

    Args:
        device: of the run.
        whole: whether the run begins now; the energy of a resumed one is not known.
    """
    meter = energy_meter(device) if whole else None
    if meter is None:
        return dict
    started = meter()
    return lambda: {"card_energy_j": meter() - started}


@contextmanager
def _partial_folder(run: Run, root: Path) -> Iterator[tuple[Path, Callable[[], bool]] | None]:
    """Hold the run and yield the folder in which it is made; None if somebody finished it.

    The second value says whether the run is still held.
    """
    target = run.key.folder(root)
    if target.is_symlink() or target.is_file():
        raise StorageError(f"'{target}' is a link or file in place of a run's folder; remove it")
    try:
        with leased(lease_file(run, root)) as held, storing(target):
            if finished(run, root):
                yield None
                return
            partial = partial_run(target)
            partial.mkdir(parents=True, exist_ok=True)
            yield partial, held
    except BlockingIOError as error:
        raise Held(
            f"another process is training '{target}' ({error}); wait for it, or stop it first"
        ) from None


@contextmanager
def _naming_code(run: Run, folder: Path) -> Iterator[None]:
    """Say of an error that nobody expected, such as in a new method, which line of ours raised it.

    Raises:
        RunError: in its place; the traceback is kept in the run's folder.
    """
    try:
        yield
    except BenchError:
        raise
    except Exception as error:
        kept = folder / ERROR
        write_text(kept, "".join(traceback.format_exception(error)))
        raise RunError(
            f"{run.key.title}: {in_words(error)}; the traceback is in '{kept}'"
        ) from error


def _write_record(
    run: Run, job: Job, position: Position, arithmetic: str, machine: dict[str, object]
) -> None:
    """Write what the run is, and apart from it what differs between machines and days."""
    reached = asdict(position)
    seconds = reached.pop("seconds")
    for name in ("metrics_bytes", "metrics_digest"):
        del reached[name]  # of the last resumable state; slow machines write more of them
    write_json(
        job.folder / MACHINE,
        {
            "seconds": seconds,
            "environment": machine,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )
    counts = {
        "position": reached,
        "precision": arithmetic,
        "images_seen": position.step * sum(job.batch_sizes),
    }
    made = [*map(weights_file, CHECKPOINTS), METRICS, MECHANISMS]
    made += [PSEUDO_MASKS] * (job.folder / PSEUDO_MASKS).is_file()
    write_record(run, job.folder, made, counts)


def _move(partial: Path, target: Path) -> None:
    """Give a complete run its name; what resumed it is not needed any more."""
    from benchmarks.engine.state import DAMAGED, PREVIOUS, STATE

    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    useless = [target / name for name in (STATE, PREVIOUS, ERROR, NOTE)]
    for rest in (*useless, *target.glob(f"*{DAMAGED}")):
        rest.unlink(missing_ok=True)
