"""The flow: raw data -> prepared arrays -> split -> runs -> scores -> report.

Each step of `whole_benchmark` is a stage of `dvc.yaml` and a command of its own; here they follow
one another in a single process (`python -m benchmarks repro`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.common.console import Board
from benchmarks.common.errors import Interrupted
from benchmarks.common.files import read_json
from benchmarks.common.schema import check
from benchmarks.common.workspace import prepared_folder, raw_folder, split_file
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.resolve import resolve
from benchmarks.report import build_report
from benchmarks.scoring.evaluate import evaluate
from benchmarks.training.many import train_runs
from benchmarks.training.one import Place
from datasets import load_dataset
from datasets.base import PrepareParams
from datasets.fetching.sources import make_available
from datasets.preparing.checks import refuse_leaks
from datasets.preparing.divide import make_split, patients_of
from datasets.preparing.prepare import prepare
from datasets.preparing.split import save_split
from datasets.preparing.store import FINGERPRINT, FORMAT, Prepared, open_prepared


def fetch_stage(
    config: BenchmarkConfig,
    dataset: str,
    root: Path,
    *,
    raw: Path | None = None,
    mirror: str | None = None,
) -> Path:
    """Download open data or generate a phantom; what is already there is kept.

    Args:
        config: of the benchmark.
        dataset: id.
        root: the checkout.
        raw: target; None takes data/raw/<dataset>.
        mirror: address of a copy of the files.

    Returns:
        The folder with the raw data.

    Raises:
        ConfigError: wrong parameters of the data set.
        DataError: the data stand behind a login; says how to obtain them.
    """
    adapter, block = load_dataset(dataset), config.data.get(dataset)
    given = block.fetch if block else {}
    options = check(adapter.FetchParams, given, where=f"data.{dataset}.fetch")
    target = raw or raw_folder(root, dataset)
    kept = "nothing was changed" if adapter.synthetic else "the bytes that have come stay"
    with _stoppable(kept):
        make_available(adapter, target, options, mirror=mirror)
    return target


def prepare_stage(
    config: BenchmarkConfig, dataset: str, root: Path, *, raw: Path | None = None, jobs: int = 2
) -> Prepared:
    """Read raw data, check every case and write memory-mapped arrays.

    Args:
        config: of the benchmark.
        dataset: id.
        root: the checkout.
        raw: raw data; None takes data/raw/<dataset>.
        jobs: cases at once.

    Raises:
        ConfigError: wrong parameters of the data set.
        DataError: raw data missing or not usable.
    """
    with Board() as board, _stoppable("the cases that are done stay"):
        return prepare(
            load_dataset(dataset),
            raw or raw_folder(root, dataset),
            prepared_folder(root, config.name, dataset),
            _prepare_params(config, dataset),
            jobs=jobs,
            progress=partial(board.update, f"prepare {dataset}"),
        )


def split_stage(config: BenchmarkConfig, dataset: str, root: Path) -> Path:
    """Divide the patients of prepared data and write the split file.

    Raises:
        ConfigError: a split that the data set does not have.
        DataError: data not prepared, or too few patients.
    """
    data = open_prepared(prepared_folder(root, config.name, dataset))
    public = load_dataset(dataset).public_splits()
    made = make_split(patients_of(data), dataset, config.data[dataset].split, public)
    refuse_leaks(data, made)
    target = split_file(root, config.name, dataset)
    save_split(made, target)
    return target


def whole_benchmark(
    config: BenchmarkConfig, place: Place, *, params: Path, jobs: int | None = None
) -> list[Path]:
    """Prepare, split, train, evaluate and report a benchmark in one process.

    Phantoms that are missing are generated first. All runs of the grid share the workers; finished
    runs are kept, and the next call continues a stopped one.

    Args:
        config: of the benchmark.
        place: where, and on which device.
        params: file of the benchmark, for commands in messages.
        jobs: runs at once; None takes `runtime.jobs`.

    Returns:
        The files of the report.

    Raises:
        BenchError: raw data missing, wrong parameters, or runs that failed.
    """
    grid, root = config.grid, place.root
    for dataset in grid.datasets:
        if load_dataset(dataset).synthetic and not raw_folder(root, dataset).exists():
            fetch_stage(config, dataset, root)
        if not _is_prepared(config, dataset, root):
            prepare_stage(config, dataset, root)
        split_stage(config, dataset, root)
    cells = [(dataset, method) for dataset in grid.datasets for method in grid.methods]
    runs = [run for dataset, method in cells for run in resolve(config, dataset, method, root)]
    train_runs(runs, place, jobs=jobs or config.runtime.fixed_jobs)
    for dataset, method in cells:
        evaluate(config, dataset, method, place)
    return build_report(config, root=root, params=params)


def _prepare_params(config: BenchmarkConfig, dataset: str) -> PrepareParams:
    where = f"data.{dataset}.prepare"
    params: PrepareParams = check(
        load_dataset(dataset).Params, config.data[dataset].prepare, where=where
    )
    return params


def _is_prepared(config: BenchmarkConfig, dataset: str, root: Path) -> bool:
    """Whether the data set was prepared with the present parameters."""
    options = _prepare_params(config, dataset)
    try:
        record = read_json(prepared_folder(root, config.name, dataset) / FINGERPRINT)
    except (OSError, ValueError):
        return False
    return bool(record["format"] == FORMAT and record["params"] == options.model_dump(mode="json"))


@contextmanager
def _stoppable(kept: str) -> Iterator[None]:
    """Say after a stop what is kept."""
    try:
        yield
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(f"stopped; {kept}, run the same command again to go on") from None
