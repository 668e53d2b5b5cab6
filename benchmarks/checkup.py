"""What is here and what a benchmark takes (`doctor`): versions, devices, data, disk, memory."""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch

from benchmarks.common.device import default_jobs, environment, on_cpu, pick_device
from benchmarks.common.errors import BenchError
from benchmarks.common.workspace import prepared_folder, raw_folder, split_file
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.cost import step_cost
from benchmarks.plan.estimate import Estimate, estimate, image_size, network_info, untrained
from benchmarks.plan.grid import base_of
from benchmarks.plan.resolve import dimension, method_params, prepare_params
from benchmarks.training.memory import available, gigabytes, need
from datasets import dataset_ids, load_dataset
from datasets.preparing.parts import refuse_other_split
from datasets.preparing.raw import refuse_changed
from datasets.preparing.split import load_split
from datasets.preparing.store import open_prepared
from methods import load_method

Verdict = Literal["ok", "note", "problem"]
Progress = Callable[[int, int], None]

# Packages whose versions decide numbers or formats, and those that only some commands need.
_PACKAGES = ("torch", "monai", "numpy", "scipy", "nibabel", "optuna", "dvc")
_EXTRAS = {
    "ray": "launch --on ray",
    "submitit": "launch --on slurm",
    "psycopg": "tune --storage postgresql://...",
    "dvc-s3": "dvc push and pull with S3",
    "onnx": "export",
    "optuna-dashboard": "watching studies",
}
_LITTLE_DISK = 10 * 10**9


@dataclass(frozen=True)
class Finding:
    """One line of a check-up.

    Attributes:
        what: was looked at.
        verdict: `problem` if a command will fail of it, `note` if it may matter.
        found: what is there.
        remedy: what mends it, or "".
    """

    what: str
    verdict: Verdict
    found: str
    remedy: str = ""


def of_machine(root: Path) -> Iterator[Finding]:
    """Versions, devices, disk and raw data."""
    yield from _versions(root)
    facts = environment(str(pick_device("auto")))
    memory = (
        f"{gigabytes(available(torch.device('cpu')))} of {facts['memory_mb'] / 1024:.0f} GB free"
    )
    yield Finding("processor", "ok", f"{facts['processor']}, {facts['cores']} cores, {memory}")
    yield Finding("bfloat16", "ok", facts["bf16"])
    yield from _cards()
    yield _room(root)
    for name in dataset_ids():
        yield _raw(name, root, load_dataset(name).Params())


def _versions(root: Path) -> Iterator[Finding]:
    here = {name: _version(name) for name in (*_PACKAGES, *_EXTRAS)}
    text = ", ".join(f"{name} {here[name]}" for name in _PACKAGES)
    lock = root / "requirements.lock"
    pins = re.findall(r"^([\w-]+)==([^ ;]+)", lock.read_text(), re.M) if lock.is_file() else []
    # Some have a version for every Python.
    locked = {name: [v for n, v in pins if n == name] for name in _PACKAGES}
    other = [f"{n} {' or '.join(v)}" for n, v in locked.items() if v and here[n] not in v]
    found = f"Python {platform.python_version()}, {text}"
    if other:
        found += f"; requirements.lock has {', '.join(other)}"
    remedy = "`make setup` installs those of the lock" if other else ""
    yield Finding("versions", "note" if other else "ok", found, remedy)
    absent = [f"{name} ({use})" for name, use in _EXTRAS.items() if not here[name]]
    if absent:
        yield Finding("optional", "ok", f"not installed: {', '.join(absent)}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _cards() -> Iterator[Finding]:
    for number in range(torch.cuda.device_count()):
        free, whole = torch.cuda.mem_get_info(number)
        found = (
            f"{torch.cuda.get_device_name(number)}, {gigabytes(free)} of {gigabytes(whole)} free"
        )
        yield Finding(f"cuda:{number}", "ok", found)
    if not torch.cuda.is_available():
        driver = not on_cpu("auto")
        built = torch.version.cuda or "no CUDA"
        remedy = f"PyTorch is built for {built}: see if `nvidia-smi` works and the driver is newer"
        yield Finding(
            "cuda", "problem" if driver else "ok",
            "a driver, but PyTorch sees no card" if driver else "no card",
            remedy if driver else "",
        )  # fmt: skip


def _raw(name: str, root: Path, params: Any) -> Finding:
    """Whether raw data can be read, by the names of their files."""
    adapter, folder, what = load_dataset(name), raw_folder(root, name), f"raw {name}"
    if not folder.exists():
        if adapter.synthetic:
            return Finding(what, "ok", "not here; generated when it is needed")
        return Finding(what, "note", "not here", f"`python -m benchmarks fetch {name}`")
    try:
        cases = adapter.scan(folder, params)
    except BenchError as error:
        found = str(error).splitlines()[0]
        return Finding(what, "problem", found, f"`python -m benchmarks datasets check {name}`")
    patients, masks = len({c.patient for c in cases}), sum(c.label is not None for c in cases)
    return Finding(what, "ok", f"{len(cases)} cases of {patients} patients, {masks} with masks")


def of_benchmark(
    config: BenchmarkConfig, root: Path, device: str, progress: Progress
) -> Iterator[Finding]:
    """What a benchmark needs, against what is here.

    Args:
        config: of the benchmark.
        root: the checkout.
        device: `auto`, `cpu`, `cuda` or `cuda:<n>`.
        progress: called with the finished and all cells of the grid.

    Raises:
        ConfigError: wrong parameters.
    """
    for dataset in config.grid.datasets:
        yield from _data(config, dataset, root)
    cells = estimate(config, progress)
    for dataset in config.grid.datasets:
        yield from _size(config, [e for e in cells if e.dataset == dataset], device)
    yield _disk(cells, root)


def _data(config: BenchmarkConfig, dataset: str, root: Path) -> Iterator[Finding]:
    raw = _raw(dataset, root, prepare_params(config, dataset))
    folder = prepared_folder(root, config.name, dataset)
    if not folder.exists():
        missing = not load_dataset(dataset).synthetic and raw.verdict == "note"
        yield Finding(raw.what, "problem", raw.found, raw.remedy) if missing else raw
        yield Finding(f"prepared {dataset}", "ok", "not yet; `launch` and `repro` do it")
        return
    yield raw
    remedy = f"`python -m benchmarks prepare {dataset}`"
    try:
        data = open_prepared(folder)
        refuse_changed(load_dataset(dataset), data, prepare_params(config, dataset))
        remedy = f"`python -m benchmarks split {dataset}`"
        file = split_file(root, config.name, dataset)
        if file.is_file():
            refuse_other_split(load_split(file), config.data[dataset].split)
        split = "split" if file.is_file() else "not split yet"
        yield Finding(f"prepared {dataset}", "ok", f"{len(data.cases)} cases, {split}")
    except BenchError as error:
        yield Finding(f"prepared {dataset}", "problem", str(error), remedy)


def _size(config: BenchmarkConfig, cells: list[Estimate], device: str) -> Iterator[Finding]:
    """Hours of a data set, and the memory of its costliest method."""
    dataset, hours = cells[0].dataset, sum(e.hours for e in cells)
    found = f"{sum(e.runs for e in cells)} runs, about {hours:,.1f} hours of one core"
    yield Finding(f"time {dataset}", "ok", f"{found}; a card is not estimated")
    ndim, info = dimension(config, dataset), network_info(config, dataset)

    def cost(method: str) -> float:
        return step_cost(load_method(base_of(method)), method_params(config, method, ndim))

    method = max((e.method for e in cells), key=cost)
    train, size = config.train_for(dataset), image_size(config, dataset)
    made = untrained(config, dataset, method)
    wanted = need(made, train, size, len(info.channels), len(info.classes))
    chosen, at_once = pick_device(device), config.runtime.fixed_jobs or default_jobs(device)
    free = available(chosen)
    fits = int(free // wanted.total)
    found = f"{method}, the costliest: {wanted}; {gigabytes(free)} free on {chosen}"
    verdict: Verdict = "problem" if not fits else "note" if fits < at_once else "ok"
    remedy = {
        "problem": "lower train.labeled_batch, train.unlabeled_batch or train.patch",
        "note": f"{at_once} runs at once need more: give --jobs {fits}, to `launch` --workers",
        "ok": "",
    }[verdict]
    yield Finding(f"memory {dataset}", verdict, found, remedy)


@dataclass(frozen=True)
class _Disk:
    """That a folder lies on or will be made on, also behind a link."""

    folder: Path
    device: int
    free: int

    @classmethod
    def of(cls, folder: Path) -> _Disk:
        there = folder.resolve()
        while not there.exists():
            there = there.parent
        return cls(there, there.stat().st_dev, shutil.disk_usage(there).free)

    def __str__(self) -> str:
        return f"{gigabytes(self.free)} free at {self.folder}"


def _room(root: Path) -> Finding:
    """The disks of all that grows."""
    found = [_Disk.of(root / name) for name in ("data", "runs", ".dvc/cache")]
    disks = {disk.device: disk for disk in reversed(found)}.values()
    text = ", ".join(str(disk) for disk in disks)
    if all(disk.free > _LITTLE_DISK for disk in disks):
        return Finding("disk", "ok", text)
    remedy = "free some, or put `data`, `runs` and `.dvc/cache` elsewhere by links"
    return Finding("disk", "note", text, remedy)


def _disk(cells: list[Estimate], root: Path) -> Finding:
    """Weights of all runs, which DVC's cache may hold once more."""
    wanted = int(sum(e.disk_gb for e in cells) * 1e9)
    runs, cache = _Disk.of(root / "runs"), _Disk.of(root / ".dvc/cache")
    shared = runs.device == cache.device
    free = str(runs) if shared else f"{runs}, {cache}"
    found = f"weights {gigabytes(wanted)}, twice that after `dvc repro`; {free}"
    if wanted < runs.free and wanted < (cache.free - wanted if shared else cache.free):
        return Finding("disk of runs", "ok", found)
    remedy = "link `runs` and `.dvc/cache` to a larger disk, or take a part: `launch --datasets`"
    return Finding("disk of runs", "problem" if wanted > runs.free else "note", found, remedy)
