"""A copy of a benchmark's data in which the test patients of a fold do not exist.

Trials are trained there, so no mistake in the search can read a test case: neither its arrays nor
its name are inside.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter

from benchmarks.common.files import fill_folder, read_json, write_json
from benchmarks.common.workspace import prepared_folder, split_file
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.grid import fold_of
from benchmarks.plan.identity import link_code
from datasets.preparing.parts import refuse_other_split
from datasets.preparing.split import load_split, save_split, sealed
from datasets.preparing.store import FINGERPRINT, Fingerprint, open_prepared


def make_sandbox(
    config: BenchmarkConfig, dataset: str, root: Path, sandbox: Path, fold: int
) -> Path:
    """Make the folder, or renew what is not as it should be; runs that are in it stay.

    A search that runs meanwhile goes on with what it has opened.

    Args:
        config: of the benchmark; its data must be prepared and split.
        dataset: id.
        root: the checkout.
        sandbox: folder to fill, on the same disk as the prepared data.
        fold: that is searched in; patients that it tests stay outside.

    Returns:
        The folder, to be used in place of the checkout.

    Raises:
        ConfigError: the split has no such fold.
        DataError: data not prepared, or not split as the configuration says.
    """
    source = open_prepared(prepared_folder(root, config.name, dataset))
    split = load_split(split_file(root, config.name, dataset))
    refuse_other_split(split, config.data[dataset].split)
    searched = fold_of(split, fold)
    kept = {case.case for case in source.cases if case.patient not in searched.test}
    whole = TypeAdapter(Fingerprint).validate_python(read_json(source.root / FINGERPRINT))
    # Warnings are left out, since they name cases.
    cases = tuple(case for case in whole.cases if case.case in kept)
    boxed = replace(whole, cases=cases, warnings=())
    target = prepared_folder(sandbox, config.name, dataset)
    if not _is(target, source.root, boxed):
        fill_folder(target, lambda folder: _copy_cases(source.root, folder, boxed))
    # In every place, since other folds name tested patients, while the fold keeps its number and
    # the split the number of folds that it is configured with.
    folds = [replace(searched, test=())] * len(split.folds)
    save_split(
        sealed(dataset, config.data[dataset].split, folds),
        split_file(sandbox, config.name, dataset),
    )
    link_code(root, sandbox)
    return sandbox


def _is(folder: Path, source: Path, wanted: Fingerprint) -> bool:
    """Whether a folder holds just the wanted cases, and their very files."""
    files = [Path(case.case) / name for case in wanted.cases for name, _ in case.files]
    try:
        return bool(read_json(folder / FINGERPRINT) == wanted.to_json()) and all(
            (folder / file).samefile(source / file) for file in files
        )
    except (OSError, ValueError):
        return False


def _copy_cases(source: Path, target: Path, boxed: Fingerprint) -> None:
    """Hard links to the arrays of the cases, and their fingerprint."""
    for case in boxed.cases:
        for name, _ in case.files:
            file = target / case.case / name
            file.parent.mkdir(parents=True, exist_ok=True)
            os.link(source / case.case / name, file)
    write_json(target / FINGERPRINT, boxed.to_json())
