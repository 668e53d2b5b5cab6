"""The preset `paper`: every method on each of its data sets, with few steps on small phantoms.

The raw data have the official layout and names, so that the public splits are used. `make rehearse`
runs this and writes reports/scaling/rehearsal.csv. In pieces: REHEARSE_FOLDER=DIR keeps data and
runs from one to the next, `-k "brats2019 and egcl_net"` takes some.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmarks.common.schema import check
from benchmarks.config import BenchmarkConfig, load_config
from benchmarks.pipeline import all_runs, make_ready, whole_benchmark
from benchmarks.plan.grid import base_of
from benchmarks.plan.identity import link_code
from benchmarks.plan.record import finished
from benchmarks.plan.resolve import dimension, method_params, resolve
from benchmarks.plan.restrict import Part, restricted
from benchmarks.scoring.evaluate import evaluate
from benchmarks.training.many import train_runs
from benchmarks.training.one import Place
from datasets import load_dataset
from datasets.reading.generated import Phantom, PhantomParams
from methods import load_method
from tests.launch.kills import FOLDER
from tests.noting import replace_row

pytestmark = pytest.mark.rehearse
ROOT = Path(__file__).parents[2]
PAPER = load_config(ROOT / "benchmarks/presets/paper/params.yaml")
STEPS = 4
MATRIX = 32
COVID_PATIENTS = 20  # of the official release
SHRUNK = {
    "acdc": {"prepare": {"size": [MATRIX, MATRIX]}},
    "covid19": {"prepare": {"size": [MATRIX, MATRIX]}},
    "brats2019": {"train": {"patch": [MATRIX] * 3}},
}


@dataclass(frozen=True)
class Rehearsal:
    """The small benchmark and where it is made."""

    config: BenchmarkConfig
    place: Place
    params: Path


def rehearsed() -> BenchmarkConfig:
    """One number of labelled patients for each data set, one seed, and all sizes small."""
    value = PAPER.model_dump(mode="json", exclude_unset=True)
    value["grid"] |= {"seeds": [0]}
    small = {"iterations": STEPS, "validations": 1}
    value["train"] |= {**small, "network": {"kind": "unet", "channels": [4, 4, 8, 8, 8]}}
    for dataset, shrunk in SHRUNK.items():
        block = value["data"][dataset]
        block["labels"] = block["labels"][:1]
        for part, sizes in shrunk.items():
            block[part] = {**block.get(part, {}), **sizes}
    for method in PAPER.grid.methods:  # a stage of a fixed length is over before so short a run is
        for dataset in SHRUNK:
            params = method_params(PAPER, method, dimension(PAPER, dataset))
            for name in load_method(base_of(method)).stages.values():
                if isinstance(getattr(params, name), int):
                    value["methods"][method][name] = STEPS // 2
    return check(BenchmarkConfig, value)


def write_raw(root: Path, dataset: str) -> None:
    """Phantoms under the names of the patients of the public split."""
    adapter, phantom = load_dataset(dataset), load_dataset(f"phantom_{dataset}")
    assert isinstance(phantom, Phantom)
    public = adapter.public_splits().get("ssl4mis")
    names: list[str] = []
    if public:
        lists = json.loads(public.read_text())
        names = sorted(name for part in ("train", "val", "test") for name in lists[part])
    patients = len(names) or COVID_PATIENTS
    raw = root / "data/raw" / dataset
    options = phantom.FetchParams.model_validate({"patients": patients, "matrix": MATRIX})
    assert isinstance(options, PhantomParams)
    phantom.write(raw, options)
    if dataset == "brats2019":
        folders = sorted(path for path in raw.glob("*/*") if path.is_dir())
        for folder, name in zip(folders, names, strict=True):
            for file in folder.iterdir():
                file.rename(file.with_name(file.name.replace(folder.name, name)))
            folder.rename(folder.with_name(name))


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    """A checkout without data."""
    kept = os.environ.get("REHEARSE_FOLDER")
    root = Path(kept) if kept else tmp_path_factory.mktemp("rehearsal")
    link_code(ROOT, root)
    (root / "datasets/splits").mkdir(exist_ok=True)
    for file in (ROOT / "datasets/splits").glob("*.json"):
        link = root / "datasets/splits" / file.name
        if not link.is_symlink():
            link.symlink_to(file)
    config, params = rehearsed(), root / "params.yaml"
    params.write_text(yaml.safe_dump(config.model_dump(mode="json", exclude_unset=True)))
    return Rehearsal(config, Place(root, "cpu"), params)


@pytest.fixture(scope="module", params=list(SHRUNK))
def dataset(rehearsal: Rehearsal, request: pytest.FixtureRequest) -> str:
    """One that is prepared and split."""
    name, root = str(request.param), rehearsal.place.root
    if not (root / "data/raw" / name).exists():
        write_raw(root, name)
    make_ready(restricted(rehearsal.config, Part(datasets=(name,))), root)
    return name


@pytest.mark.parametrize("method", PAPER.grid.methods)
def test_a_method_trains_and_is_scored(rehearsal: Rehearsal, dataset: str, method: str) -> None:
    config, place = rehearsal.config, rehearsal.place
    started, outcome = time.perf_counter(), "done"
    try:
        (run,) = resolve(config, dataset, method, place.root)
        trained = train_runs([run], place, jobs=1)
        cases = pd.read_csv(evaluate(config, dataset, method, place) / "cases.csv")
        assert finished(run, place.root) and cases["dice"].between(0, 1).all()
    except BaseException as error:
        trained, outcome = 1, f"{type(error).__name__}: {error}"
        raise
    finally:
        row = {
            "dataset": dataset, "method": method, "dimensions": dimension(config, dataset),
            "seconds": f"{time.perf_counter() - started:.1f}", "outcome": outcome,
        }  # fmt: skip
        if trained:  # a run that is kept says nothing about its time
            replace_row(FOLDER / "rehearsal.csv", row, keys=2)


def test_the_whole_preset_is_reported(rehearsal: Rehearsal) -> None:
    config, place = rehearsal.config, rehearsal.place
    assert set(config.grid.datasets) == SHRUNK.keys()
    whole_benchmark(config, place, params=rehearsal.params, jobs=1)
    runs = all_runs(config, place.root)
    assert len(runs) == len(SHRUNK) * len(PAPER.grid.methods)
    assert all(finished(run, place.root) for run in runs)
    table = pd.read_csv(place.root / "reports/paper/table.csv")
    rows = table[["dataset", "method", "variant"]].fillna("").drop_duplicates()
    assert len(rows) == len(runs)
    assert table["dice"].between(0, 1).all()
