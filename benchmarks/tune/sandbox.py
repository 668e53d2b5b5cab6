"""A copy of a benchmark's data in which the test patients do not exist.

Trials are trained there, so no mistake in the search can read a test case: neither its arrays nor
its name are inside.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter

from benchmarks.common.files import fill_folder, read_json, write_json
from benchmarks.common.workspace import prepared_folder, split_file
from benchmarks.config import BenchmarkConfig
from datasets.preparing.split import load_split, save_split, sealed
from datasets.preparing.store import FINGERPRINT, Fingerprint, open_prepared

_CODE = ("benchmarks", "methods")
SPLITS = "splits"  # of whole data, test patients among them


def make_sandbox(config: BenchmarkConfig, dataset: str, root: Path, sandbox: Path) -> Path:
    """Make or renew the folder; runs that are in it stay.

    Args:
        config: of the benchmark; its data must be prepared and split.
        dataset: id.
        root: the checkout.
        sandbox: folder to fill, on the same disk as the prepared data.

    Returns:
        The folder, to be used in place of the checkout.

    Raises:
        DataError: data not prepared or not split.
    """
    source = open_prepared(prepared_folder(root, config.name, dataset))
    split = load_split(split_file(root, config.name, dataset))
    tested = {patient for fold in split.folds for patient in fold.test}
    kept = {case.case for case in source.cases if case.patient not in tested}
    target = prepared_folder(sandbox, config.name, dataset)
    shutil.rmtree(target, ignore_errors=True)
    fill_folder(target, lambda folder: _copy_cases(source.root, folder, kept))
    folds = [replace(fold, test=()) for fold in split.folds]
    save_split(
        sealed(dataset, config.data[dataset].split, folds),
        split_file(sandbox, config.name, dataset),
    )
    _link_code(root, sandbox)
    return sandbox


def _copy_cases(source: Path, target: Path, kept: set[str]) -> None:
    """Hard links to the arrays of the kept cases, and a fingerprint of them alone."""
    whole = TypeAdapter(Fingerprint).validate_python(read_json(source / FINGERPRINT))
    cases = tuple(case for case in whole.cases if case.case in kept)
    for case in cases:
        for name, _ in case.files:
            file = target / case.case / name
            file.parent.mkdir(parents=True, exist_ok=True)
            os.link(source / case.case / name, file)
    write_json(target / FINGERPRINT, replace(whole, cases=cases).to_json())


def _link_code(root: Path, sandbox: Path) -> None:
    """A run's identity covers the code beside its data."""
    links = {sandbox / name: root / name for name in _CODE}
    for path in (root / "datasets").iterdir():
        if path.name != SPLITS:
            links[sandbox / "datasets" / path.name] = path
    for link, path in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(path)
