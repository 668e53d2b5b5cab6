"""The preset `paper`: every method on each of its data sets, with few steps on small phantoms.

The raw data have the official layout and names, so that the public splits are used. `make rehearse`
runs this.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmarks.common.schema import check
from benchmarks.config import BenchmarkConfig, load_config
from benchmarks.pipeline import all_runs, whole_benchmark
from benchmarks.plan.grid import base_of
from benchmarks.plan.identity import link_code
from benchmarks.plan.record import finished
from benchmarks.plan.resolve import dimension, method_params
from benchmarks.training.one import Place
from datasets import load_dataset
from datasets.reading.generated import Phantom, PhantomParams
from methods import load_method

pytestmark = pytest.mark.rehearse
ROOT = Path(__file__).parents[2]
STEPS = 4
MATRIX = 32
COVID_PATIENTS = 20  # of the official release
SHRUNK = {
    "acdc": {"prepare": {"size": [MATRIX, MATRIX]}},
    "covid19": {"prepare": {"size": [MATRIX, MATRIX]}},
    "brats2019": {"train": {"patch": [MATRIX] * 3}},
}


def rehearsed(paper: BenchmarkConfig, dataset: str) -> BenchmarkConfig:
    """One data set with one number of labelled patients, one seed, and all sizes small."""
    value = paper.model_dump(mode="json", exclude_unset=True)
    value["grid"] |= {"seeds": [0], "datasets": [dataset]}
    small = {"iterations": STEPS, "validations": 1}
    value["train"] |= {**small, "network": {"kind": "unet", "channels": [4, 4, 8, 8, 8]}}
    block = value["data"][dataset]
    block["labels"] = block["labels"][:1]
    for part, sizes in SHRUNK[dataset].items():
        block[part] = {**block.get(part, {}), **sizes}
    for method in paper.grid.methods:  # a stage of a fixed length is over before so short a run is
        params = method_params(paper, method, dimension(paper, dataset))
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


@pytest.mark.parametrize("dataset", list(SHRUNK))
def test_every_method_of_the_paper(dataset: str, tmp_path: Path) -> None:
    paper = load_config(ROOT / "benchmarks/presets/paper/params.yaml")
    assert set(paper.grid.datasets) == SHRUNK.keys()
    config = rehearsed(paper, dataset)
    link_code(ROOT, tmp_path)
    write_raw(tmp_path, dataset)
    (tmp_path / "datasets/splits").mkdir()
    for file in (ROOT / "datasets/splits").glob(f"{dataset}.*.json"):
        (tmp_path / "datasets/splits" / file.name).symlink_to(file)
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump(config.model_dump(mode="json", exclude_unset=True)))
    jobs = int(os.environ.get("REHEARSE_JOBS", "1"))
    whole_benchmark(config, Place(tmp_path, "cpu"), params=params, jobs=jobs)
    runs = all_runs(config, tmp_path)
    assert len(runs) == len(paper.grid.methods)
    assert all(finished(run, tmp_path) for run in runs)
    table = pd.read_csv(tmp_path / "reports/paper/table.csv")
    rows = table[["method", "variant"]].fillna("").drop_duplicates()
    assert len(rows) == len(runs)
    assert table["dice"].between(0, 1).all()
