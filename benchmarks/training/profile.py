"""Where the time of a training step goes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.common.device import pick_device
from benchmarks.common.errors import ConfigError
from benchmarks.common.workspace import report_folder
from benchmarks.engine.job import Job
from benchmarks.engine.trainer import SECTIONS, Hooks, Trainer
from benchmarks.plan.resolve import Run, open_job
from benchmarks.training.one import Place

# Steps before the measured ones: memory is allocated and kernels are chosen in the first.
_WARM_UP = 3


@dataclass(frozen=True)
class Share:
    """One section of the training loop.

    Attributes:
        name: as in `SECTIONS`, or "rest".
        milliseconds: per step.
        share: of the whole, in [0, 1].
    """

    name: str
    milliseconds: float
    share: float


def profile_run(run: Run, place: Place, steps: int) -> list[str]:
    """Profile the first steps of a run; the run itself is neither made nor changed.

    Args:
        run: from `plan.resolve`.
        place: where, and on which device.
        steps: measured iterations.

    Returns:
        Lines of a summary; the last names the trace.

    Raises:
        ConfigError: the run has fewer steps than are to be measured.
    """
    key, length = run.key, run.train.iterations
    most = length - _WARM_UP
    if steps > most:
        given = f"--profile {steps} measures {steps} steps after {_WARM_UP} that warm up"
        mend = (
            f"give at most `python -m benchmarks run {key.dataset} {key.method} --profile {most}`"
            if most > 0
            else f"set train.iterations to {steps + _WARM_UP} or more"
        )
        raise ConfigError(f"{given}, but a run has {length} (train.iterations): {mend}")
    trace = report_folder(place.root, "profile") / f"{key.dataset}-{key.method}.json"
    with TemporaryDirectory() as folder:
        job, device = open_job(run, place.root, Path(folder)), pick_device(place.device)
        hooks = Hooks(report=lambda _done, _note: None, stop=lambda: False)
        shares = profile_job(job, device, hooks, steps=steps, trace=trace)
    total = sum(s.milliseconds for s in shares)
    lines = [f"{s.name:24}{s.milliseconds:9.2f} ms {100 * s.share:5.1f} %" for s in shares]
    whole = f"{'whole':24}{total:9.2f} ms per step"
    host = ["times of the host, launch by launch; those of the card are in the trace"]
    return [*lines, whole, *host * (device.type == "cuda"), f"trace: {trace}"]


def profile_job(
    job: Job, device: torch.device, hooks: Hooks, *, steps: int, trace: Path
) -> list[Share]:
    """Train the first steps of a run, and one validation if it has any, under the profiler.

    Args:
        job: what to train; nothing is kept of it but the trace.
        device: where.
        hooks: progress.
        steps: measured iterations, at least 1.
        trace: file for chrome://tracing or ui.perfetto.dev.

    Returns:
        Sections in the order of a step, then the rest; validation is counted once per run's
        validation, so its share is that of a whole run.
    """
    trainer = Trainer(job, device, hooks)
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    try:
        for step in range(_WARM_UP):
            trainer.step(step)
        with profile(activities=activities) as found:
            for step in range(_WARM_UP, _WARM_UP + steps):
                trainer.step(step)
            if trainer.val_cases:
                trainer.score_validation()
    finally:
        trainer.loader.close()
    trace.parent.mkdir(parents=True, exist_ok=True)
    found.export_chrome_trace(str(trace))
    events = {event.key: event.cpu_time_total / 1000 for event in found.key_averages()}
    return _shares(events, job, steps)


def _shares(events: dict[str, float], job: Job, steps: int) -> list[Share]:
    """Milliseconds per step by section."""
    train = job.train
    spent = {name: events.get(name, 0.0) / steps for name in SECTIONS if name != "validation"}
    looks = min(train.validations, train.iterations)
    spent["validation"] = events.get("validation", 0.0) * looks / train.iterations
    spent["rest"] = max(events.get("step", 0.0) / steps - sum(
        value for name, value in spent.items() if name != "validation"), 0.0)  # fmt: skip
    total = sum(spent.values()) or 1.0
    return [Share(name, value, value / total) for name, value in spent.items()]
