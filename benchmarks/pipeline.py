"""The flow: raw data -> prepared arrays -> split -> runs -> scores -> report.

Each step of `whole_benchmark` is a stage of `dvc.yaml` and a command of its own; here they follow
one another in a single process (`python -m benchmarks repro`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.common.console import Board
from benchmarks.common.device import refuse_unknown_device
from benchmarks.common.errors import DataError, Interrupted
from benchmarks.common.files import read_json
from benchmarks.common.lease import leased
from benchmarks.common.schema import Strict, check
from benchmarks.common.workspace import prepared_folder, raw_folder, split_file
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.beforehand import refuse_wrong_cells
from benchmarks.plan.resolve import Run, prepare_params, resolve
from benchmarks.plan.shares import counted, refuse_too_many_labels
from benchmarks.plan.usable import refuse_torn_patients, refuse_unknown_unit
from benchmarks.report import Report, build_report
from benchmarks.scoring.evaluate import evaluate_dataset
from benchmarks.training.many import LOOK, train_with_others
from benchmarks.training.one import Place
from benchmarks.training.shared import take_over
from datasets import load_dataset
from datasets.fetching.sources import make_available
from datasets.preparing.divide import make_split, patients_of
from datasets.preparing.parts import refuse_bare_tests, refuse_leaks
from datasets.preparing.prepare import prepare, warnings_of_all
from datasets.preparing.raw import refuse_changed
from datasets.preparing.split import save_split
from datasets.preparing.store import Prepared, open_prepared
from datasets.reading.generated import GENERATED


def fetch_stage(
    config: BenchmarkConfig,
    dataset: str,
    root: Path,
    *,
    raw: Path | None = None,
    mirror: str | None = None,
) -> Path:
    """Download open data, of which what is there is kept, or generate a phantom anew.

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
    adapter, options = load_dataset(dataset), _fetch_params(config, dataset)
    target = raw or raw_folder(root, dataset)
    kept = "nothing was changed" if adapter.synthetic else "the bytes that have come stay"
    with _stoppable(kept):
        make_available(adapter, target, options, mirror=mirror)
    return target


def _fetch_params(config: BenchmarkConfig, dataset: str) -> Strict:
    block = config.data.get(dataset)
    given = block.fetch if block else {}
    return check(load_dataset(dataset).FetchParams, given, where=f"data.{dataset}.fetch")


def prepare_stage(
    config: BenchmarkConfig,
    dataset: str,
    root: Path,
    *,
    raw: Path | None = None,
    jobs: int = 2,
    trust_header: bool = False,
) -> Prepared:
    """Read raw data, check every case and write arrays; say what is suspicious of all.

    Args:
        config: of the benchmark.
        dataset: id.
        root: the checkout.
        raw: raw data; None takes data/raw/<dataset>.
        jobs: cases at once.
        trust_header: as `data.<dataset>.prepare.trust_header`.

    Raises:
        ConfigError: wrong parameters of the data set.
        DataError: raw data missing or not usable, or a phantom of other parameters.
    """
    options = prepare_params(config, dataset)
    if raw is None:
        _refuse_missing(dataset, root)
        _refuse_other_phantom(config, dataset, root)
    if trust_header:
        options = options.model_copy(update={"trust_header": True})
    with Board() as board, _stoppable("the cases that are done stay"):
        data = prepare(
            load_dataset(dataset),
            raw or raw_folder(root, dataset),
            prepared_folder(root, config.name, dataset),
            options,
            jobs=jobs,
            progress=partial(board.update, f"prepare {dataset}"),
        )
        for text in warnings_of_all(data):
            board.say(f"warning: {dataset}: {text}")
    return data


def split_stage(config: BenchmarkConfig, dataset: str, root: Path) -> Path:
    """Divide the patients of prepared data and write the split file.

    Raises:
        ConfigError: a split that the data set does not have, or more labelled patients than it
            trains on.
        DataError: data not prepared, too few patients, patients in both of the publisher's parts,
            or distances without a unit.
    """
    data = open_prepared(prepared_folder(root, config.name, dataset))
    refuse_torn_patients(config, dataset, data)
    refuse_unknown_unit(config, dataset, data)
    public = load_dataset(dataset).public_splits()
    made = make_split(patients_of(data), dataset, config.data[dataset].split, public)
    refuse_changed(load_dataset(dataset), data, prepare_params(config, dataset))
    refuse_too_many_labels(config, made)
    refuse_leaks(data, made)
    refuse_bare_tests(data, made)
    target = split_file(root, config.name, dataset)
    save_split(made, target)
    return target


def whole_benchmark(
    config: BenchmarkConfig, place: Place, *, params: Path, jobs: int | None = None
) -> Report:
    """Prepare, split, train, evaluate and report a benchmark in one process.

    Phantoms that are missing are generated first. All runs of the grid share the workers; finished
    runs are kept, those of other benchmarks that are the same are taken over, those that other
    processes train are waited for, and the next call continues a stopped one.

    Args:
        config: of the benchmark.
        place: where, and on which device.
        params: file of the benchmark, for commands in messages.
        jobs: runs at once; None takes `runtime.jobs`.

    Raises:
        BenchError: raw data missing, wrong parameters, or runs that failed.
    """
    # PyTorch takes seconds to import and hides a Ctrl-C meanwhile: single stages do without.
    from benchmarks.plan.estimate import by_cost

    refuse_unknown_device(place.device)
    grid, root = config.grid, place.root
    make_ready(config, root)
    config = counted(config, root)
    runs = by_cost(config, all_runs(config, root))
    with Board() as board:
        take_over(runs, root, board.say)
    train_with_others(runs, place, jobs=jobs or config.runtime.fixed_jobs)
    for dataset in grid.datasets:
        evaluate_dataset(config, dataset, place)
    return build_report(config, root=root, params=params)


def all_runs(config: BenchmarkConfig, root: Path) -> list[Run]:
    """Every run of a benchmark, in the order of its grid.

    Raises:
        ConfigError: wrong parameters.
        DataError: data not prepared or not split.
    """
    grid = config.grid
    return [
        run
        for dataset in grid.datasets
        for method in grid.methods
        for run in resolve(config, dataset, method, root)
    ]


def make_ready(config: BenchmarkConfig, root: Path) -> None:
    """Prepare and split the data sets of the grid where it is not done; generate phantoms.

    A second process waits until the first one has.

    Raises:
        ConfigError: wrong parameters, before anything is fetched or prepared.
        DataError: raw data missing or not usable.
    """
    for dataset in config.grid.datasets:
        _fetch_params(config, dataset)
    refuse_wrong_cells(config)
    lease = prepared_folder(root, config.name, "ready").with_suffix(".lock")
    told = ""
    while True:
        try:
            with leased(lease):
                _make_ready(config, root)
                return
        except BlockingIOError as error:
            if str(error) != told:
                told = str(error)
                with Board() as board:
                    board.say(f"{told}; waiting until the data are ready, Ctrl-C ends it")
            time.sleep(LOOK)


def _make_ready(config: BenchmarkConfig, root: Path) -> None:
    for dataset in config.grid.datasets:
        if load_dataset(dataset).synthetic and not raw_folder(root, dataset).exists():
            fetch_stage(config, dataset, root)
        _refuse_other_phantom(config, dataset, root)
        if not _is_prepared(config, dataset, root):
            prepare_stage(config, dataset, root)
        split_stage(config, dataset, root)


def _refuse_missing(dataset: str, root: Path) -> None:
    """Raise a DataError that names the download if open data are not there."""
    adapter, raw = load_dataset(dataset), raw_folder(root, dataset)
    if adapter.access == "open" and not raw.exists():
        error = adapter.missing(raw, "no such folder")
        raise DataError(f"{error}\n  or download it: `python -m benchmarks fetch {dataset}`")


def _refuse_other_phantom(config: BenchmarkConfig, dataset: str, root: Path) -> None:
    """Refuse a phantom that another benchmark generated.

    Raises:
        ConfigError: wrong parameters of the data set.
        DataError: names both values and the command, or a damaged note.
    """
    raw = raw_folder(root, dataset)
    note = raw / GENERATED
    if not note.is_file():
        return
    asked = _fetch_params(config, dataset).model_dump(mode="json")
    try:
        there = {**read_json(note)}
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"'{note}' does not tell how the phantom was generated ({error}); generate it anew with"
            f" `python -m benchmarks fetch {dataset}`"
        ) from None
    other = [f"{k} {there.get(k)}, not {v}" for k, v in asked.items() if there.get(k) != v]
    if other:
        raise DataError(
            f"'{raw}' was generated with {', '.join(other)}, as another benchmark may need it; give"
            f" data.{dataset}.fetch these values, or generate it anew for all benchmarks with"
            f" `python -m benchmarks fetch {dataset}`"
        )


def _is_prepared(config: BenchmarkConfig, dataset: str, root: Path) -> bool:
    """Whether the data set was prepared with the present parameters, of the present raw files."""
    options = prepare_params(config, dataset)
    folder = prepared_folder(root, config.name, dataset)
    try:
        refuse_changed(load_dataset(dataset), open_prepared(folder), options)
    except DataError:
        return False
    return True


@contextmanager
def _stoppable(kept: str) -> Iterator[None]:
    """Say after a stop what is kept."""
    try:
        yield
    except (KeyboardInterrupt, Interrupted):
        raise Interrupted(f"stopped; {kept}, run the same command again to go on") from None
