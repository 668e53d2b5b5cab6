"""Times of steps on a device: every method, SSL4MIS's step, and several runs at once.

`make gpu` calls it at the size of the protocol; a test rehearses it on the CPU with small images.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.errors import BenchError
from benchmarks.common.workers import Report, run_tasks
from benchmarks.engine.graph import CudaRecording, Graphed, Recording, why_eager
from benchmarks.engine.nets import Builder
from benchmarks.engine.trainer import Trainer
from tests.engine.small import QUIET, build, job_of, make_config
from tests.engine.tape import Tape, tensors
from tests.gpu.baseline import stepper

Row = dict[str, str | float]
DATASETS = {2: "phantom_acdc", 3: "phantom_brats2019"}
# Late in a run, when all terms are at work, and between two steps that are logged or probed.
_TOTAL, _FIRST = 10_000, 9_001
_PATIENCE = 120.0  # seconds that a run waits for those that are to run with it
_WARM = 5  # steps: three before a recording, its own, and one that is played


@dataclass(frozen=True)
class Size:
    """Of a step.

    Attributes:
        ndim: 2 or 3.
        voxels: along every axis of an image.
        images: labelled ones, and as many unlabelled.
        channels: of the U-Net.
        steps: in a timing.
        rounds: timings, of which the median counts.
    """

    ndim: int
    voxels: int
    images: int
    channels: tuple[int, ...] = (16, 32, 64, 128, 256)
    steps: int = 6
    rounds: int = 3

    @property
    def norm(self) -> str:
        """That of SSL4MIS's network of the dimension."""
        return "batch" if self.ndim == 2 else "instance"

    @property
    def words(self) -> str:
        """Such as "2D, 256, 12 + 12"."""
        return f"{self.ndim}D, {self.voxels}, {self.images} + {self.images}"


# SSL4MIS: 24 slices of 256 x 256, 4 crops of 96^3, one half labelled.
PAPER = (Size(2, 256, 12), Size(3, 96, 2, steps=4))
# Of the preset `acdc_cpu`: a step that does not fill a card.
SMALL = Size(2, 96, 4, channels=(16, 32, 64, 128), steps=20)


def prepared(root: Path, size: Size) -> Path:
    """A root with a prepared phantom for a size."""
    if not (root / "data").exists():
        build(root, _config(size))
    return root


def _config(size: Size, **train: Any) -> Any:
    dataset = DATASETS[size.ndim]
    config = make_config(
        dataset, labeled_batch=size.images, unlabeled_batch=size.images, iterations=_TOTAL,
        patch=[size.voxels] * 3 if size.ndim == 3 else None, augment="ssl4mis",
        network={"kind": "unet", "channels": list(size.channels), "norm": size.norm}, **train,
    )  # fmt: skip
    matrix = size.voxels if size.ndim == 2 else max(32, size.voxels * 3 // 2)
    block = config.data[dataset].model_copy(
        update={
            "fetch": {"patients": 6, "matrix": matrix},
            "prepare": {"size": [size.voxels] * 2} if size.ndim == 2 else {},
        }
    )
    return config.model_copy(update={"data": {dataset: block}})


def make_trainer(
    root: Path, name: str, size: Size, device: torch.device, folder: str, **train: Any
) -> Trainer:
    """A run that is ready for its first step."""
    job = job_of(root, root / folder, name, _config(size, **train))
    return Trainer(job, device, QUIET)


def _recording(trainer: Trainer) -> Recording:
    """A CUDA graph, or on the CPU what stands for one in tests."""
    if trainer.device.type == "cuda":
        return CudaRecording()
    return Tape(lambda: tensors([trainer.method.state_dict(), trainer.optimizer.state_dict()]))


def _played(trainer: Trainer) -> Callable[[int], object]:
    return partial(trainer.played_step, Graphed(partial(_recording, trainer), trainer.device))


def wait(device: torch.device) -> None:
    """Until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def milliseconds(step: Callable[[int], object], size: Size, device: torch.device) -> float:
    """Median time of a step, warmed up, with the wait for the device at the end of each timing."""
    for number in range(_FIRST, _FIRST + _WARM):
        step(number)
    wait(device)
    spent, number = [], _FIRST + _WARM
    for _ in range(size.rounds):
        started = time.perf_counter()
        for _ in range(size.steps):
            step(number)
            number += 1
        wait(device)
        spent.append(1e3 * (time.perf_counter() - started) / size.steps)
    return statistics.median(spent)


def _peak(device: torch.device) -> float:
    """Megabytes that PyTorch has taken of the device since the last call; NaN on a CPU."""
    if device.type != "cuda":
        return math.nan
    found = torch.cuda.max_memory_reserved(device) / 2**20
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    return found


def _row(method: str, size: Size, mode: str, ms: float = math.nan, **more: Any) -> Row:
    blank = {"memory_mb": math.nan, "runs": 1, "steps_per_s": 1e3 / ms, "note": ""}
    return {"method": method, "step": size.words, "mode": mode, "ms": ms, **blank, **more}


def method_rows(name: str, root: Path, size: Size, device: torch.device) -> Iterator[Row]:
    """A method's step in float32, in bf16, and in bf16 from a recording."""
    job = job_of(root, root / name, name, _config(size))  # opened once: its arrays are verified
    for amp in ("off", "bf16"):
        trainer = Trainer(
            replace(job, train=job.train.model_copy(update={"amp": amp})), device, QUIET
        )
        modes: dict[str, Callable[[int], object]]
        modes = {"eager float32" if amp == "off" else "eager bf16": trainer.step}
        why = trainer.job.method.uncaptured
        if amp == "bf16" and not why:
            modes["graph bf16"] = _played(trainer)
        try:
            for mode, step in modes.items():
                _peak(device)
                ms = milliseconds(step, size, device)
                yield _row(name, size, mode, ms, memory_mb=_peak(device))
        finally:
            trainer.loader.close()
            del trainer, modes
    if why:
        yield _row(name, size, "graph bf16", note=f"never recorded: {why}")


def baseline_rows(root: Path, size: Size, device: torch.device) -> Iterator[Row]:
    """SSL4MIS's own Mean Teacher step on a batch of the same size."""
    trainer = make_trainer(root, "mean_teacher", size, device, "baseline")
    batch, job = trainer.loader.batch(0), trainer.job
    trainer.loader.close()
    build_net = Builder(
        job.train.network, ndim=size.ndim, in_channels=batch.image.shape[1],
        classes=len(job.data.classes), seed=0,
    )  # fmt: skip
    student, teacher = build_net().to(device), build_net().to(device)
    images, label = torch.cat([batch.image, batch.unlabeled]).cpu(), batch.label.cpu()
    del trainer
    # Its own switches; a trainer has set stricter ones.
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = True
    _peak(device)
    ms = milliseconds(stepper(student, teacher, images, label, device), size, device)
    torch.backends.cudnn.deterministic = False
    yield _row("mean_teacher", size, "SSL4MIS", ms, memory_mb=_peak(device))


@dataclass(frozen=True)
class Share:
    """One of several runs at once.

    Attributes:
        root: with prepared data.
        number: of this run.
        count: of runs.
        size: of a step.
        device: by name.
        seconds: that are counted once all are ready.
        mps: see `at_once_rows`.
    """

    root: Path
    number: int
    count: int
    size: Size
    device: str
    seconds: float
    mps: str


def stepping(share: Share, report: Report) -> float:
    """Steps a second of one run while the others run; called in a process of its own."""
    del report
    folder = share.root / f"at-once-{share.count}{'-mps' if share.mps else ''}"
    device = torch.device(share.device)
    own = folder.relative_to(share.root) / str(share.number)
    trainer = make_trainer(share.root, "mean_teacher", share.size, device, str(own), amp="bf16")
    step = trainer.step if why_eager(trainer.job, device) else _played(trainer)
    for number in range(_FIRST, _FIRST + _WARM):
        step(number)
    wait(device)
    (folder / f"ready-{share.number}").touch()
    patience = time.monotonic() + _PATIENCE
    while len(list(folder.glob("ready-*"))) < share.count:
        if time.monotonic() > patience:
            raise RuntimeError("the other runs do not start")
        time.sleep(0.01)
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < share.seconds:
        for _ in range(share.size.steps):
            step(_FIRST + done % 80)
            done += 1
        wait(device)
    spent = time.perf_counter() - started
    trainer.loader.close()
    return done / spent


def at_once_rows(
    root: Path, size: Size, device: torch.device, count: int, seconds: float, mps: str
) -> Iterator[Row]:
    """Mean Teacher, bf16 and recorded where that is possible, in several processes on one card.

    Args:
        root: with prepared data.
        size: of a step.
        device: of all.
        count: of processes.
        seconds: that are counted.
        mps: pipe directory of NVIDIA's MPS, through which the processes share the card; "": they
            take turns on it.
    """
    shares = [Share(root, n, count, size, str(device), seconds, mps) for n in range(count)]
    around = {"CUDA_MPS_PIPE_DIRECTORY": mps} if mps else {}
    fork = device.type == "cpu"
    outcomes = run_tasks(
        stepping, shares, count, fork=fork, variables=None if fork else lambda _number: around
    )
    rate = sum(outcome.value() for outcome in outcomes)
    ms = 1e3 * count / rate
    mode = "at once, MPS" if mps else "at once"
    yield _row("mean_teacher", size, mode, ms, runs=count, steps_per_s=rate)


def measure(
    root: Path,
    sizes: Sequence[Size],
    names: Sequence[str],
    device: torch.device,
    *,
    until: float = math.inf,
    packed: Sequence[Size] = (),
    at_once: Sequence[int] = (1, 4),
    seconds: float = 3.0,
    mps: str = "",
) -> Iterator[Row]:
    """All rows, the most wanted first; what time is too short for is a row that says so.

    Args:
        root: empty folder.
        sizes: of steps.
        names: methods, the most wanted first.
        device: that is timed.
        until: `time.monotonic()` after which nothing more is timed.
        packed: sizes of steps that several runs make at once.
        at_once: numbers of runs on one card.
        seconds: of each of these.
        mps: see `at_once_rows`; with it, several runs are timed in both ways.
    """
    roots = {s: prepared(root / s.words.replace(" ", ""), s) for s in (*sizes, *packed)}
    parts = [("mean_teacher", s, partial(baseline_rows, roots[s], s, device)) for s in sizes]
    for size, count in product(packed, at_once):
        for shared in ("", mps) if mps and count > 1 else ("",):
            together = partial(at_once_rows, roots[size], size, device, count, seconds, shared)
            parts.append(("mean_teacher", size, together))
    for name in names:
        parts += [(name, s, partial(method_rows, name, roots[s], s, device)) for s in sizes]
    for name, size, rows in parts:
        if time.monotonic() > until:
            yield _row(name, size, "", note="not timed: the time was over")
            continue
        try:
            yield from rows()
        except (RuntimeError, BenchError) as error:  # of the device, such as its memory
            yield _row(name, size, "", note=f"failed: {str(error).splitlines()[0]}")


TINY = tuple(replace(s, voxels=v, images=1, channels=(4, 8, 8, 8), steps=1, rounds=1)
             for s, v in zip(PAPER, (32, 16), strict=True))  # fmt: skip
