"""What results depend on: the code behind every stage of the pipeline, and the identity of a run.

What code belongs to a stage is found by following imports from where the stage starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.common.errors import RunError
from benchmarks.common.files import digest, file_digest, read_json, write_json, write_text
from benchmarks.common.workspace import params_files
from benchmarks.config import ROW_BLOCKS
from benchmarks.plan.grid import RunKey, base_of
from benchmarks.plan.imported import code_at_start
from benchmarks.plan.same_bits import same_bits
from benchmarks.plan.studies import Study, kept_studies
from benchmarks.plan.syntax import Code

if TYPE_CHECKING:
    from benchmarks.config import BenchmarkConfig

# Decide what is done, when, and what is said of it, but no number.
_BESIDE = (
    "benchmarks.common",
    "benchmarks.config",
    "benchmarks.plan",
    "benchmarks.training",
    "datasets.fetching",
)
# What a stage reads has digests of its own, so the code that made it is left out.
_MAKING_RAW = (*_BESIDE, "datasets.preparing", "datasets.reading.images", "datasets.reading.nnunet")
_READING_RAW = (*_BESIDE, "datasets.phantoms", "datasets.preparing.split")
_READING_PREPARED = (*_BESIDE, "datasets.phantoms", "datasets.reading")
_TRAINING = (*_BESIDE, "datasets.base")

# DVC hashes the note alone (.dvcignore): the stages record the digests that they depend on, so a
# method that a benchmark does not contain leaves its lock as it is.
_NOTE = "README.md"
_DIGESTS = "digests.json"
_SPLITS = "splits"  # of whole data, test patients among them: no code


def code_digest(root: Path, method: str) -> str:
    """Digest of the code that decides the numbers of a method's runs.

    That is the engine, the method's file, and what these import: metrics, networks, blocks, and how
    prepared data and splits are read. Code that trains the same bits as older code
    (`plan/same_bits.csv`) has the digest of that.

    Args:
        root: the checkout.
        method: id without variant.

    Raises:
        ConfigError: there is no such method.
    """
    own = own_digest(root, method)
    return same_bits(root).get((method, own), own)


def own_digest(root: Path, method: str) -> str:
    """Digest of the code itself, as `code_digest`, whatever older code trains the same bits."""
    return _run_digest(Code(root), method)


def digest_at_start(root: Path, method: str) -> str:
    """`code_digest` of the code with which this process began."""
    own = _run_digest(code_at_start(root), method)
    return same_bits(root).get((method, own), own)


def scoring_digest(root: Path, dataset: str, method: str) -> str:
    """Digest of the code that decides the scores of a method's finished runs on a data set.

    Other than in `code_digest`, code that trains the same bits is not the same here: what the
    method predicts from them, and which networks stand beside the tested one, is in its file.

    Args:
        root: the checkout.
        dataset: id.
        method: id without variant.

    Raises:
        RunError: it was changed since this process began, which has imported the older code.
    """
    here = _scoring_digest(Code(root), dataset, method)
    begun = _scoring_digest(code_at_start(root), dataset, method)
    if here != begun:
        raise RunError(
            f"the code that scores {method} on {dataset} in '{root}' was changed since this command"
            f" started: it is {here} now and was {begun}, so scores would be named after code that"
            " did not make them. Nothing of them was kept; run the same command again"
        )
    return here


def stage_digests(root: Path) -> dict[str, Any]:
    """Digests of the code of all stages, for all benchmarks of the checkout.

    Args:
        root: the checkout.

    Returns:
        JSON-ready: `fetch`, `prepare` and `split` by data set, `run` by method and variant, equal
        to `code_digest`, `evaluate` by benchmark and data set, of all its methods, `report` by
        benchmark, and `index`. Beside them stand
        parameters that stages cannot name, since a file need not hold them: in
        `cells.<benchmark>.<dataset>` which runs there are, in `implied.<benchmark>.<method>` what a
        method takes from elsewhere, in `settings.<benchmark>.<dataset>.<method>` a digest of all
        values of training and method, defaults among them.

    Raises:
        ConfigError: a parameter file is wrong, or names a method or data set without a file.
    """
    from benchmarks.config import load_config

    configs = [load_config(path) for path in params_files(root)]
    code = Code(root)

    def by_dataset(beside: tuple[str, ...], *starts: str) -> dict[str, str]:
        names = _names(config.data for config in configs)
        return {d: code.digest([*starts, f"datasets.{d}"], beside=beside) for d in names}

    split = by_dataset(_READING_PREPARED, "datasets.preparing.split", "datasets.preparing.parts")
    methods, same = _names(config.methods for config in configs), same_bits(root)
    studies = kept_studies(configs, root)
    own_digests = {m: _run_digest(code, base_of(m)) for m in methods}
    return {
        "fetch": by_dataset(_MAKING_RAW),
        "prepare": by_dataset(_READING_RAW, "datasets.preparing.prepare"),
        "split": {d: _with_files(value, _public_splits(root, d)) for d, value in split.items()},
        "run": {m: same.get((base_of(m), own), own) for m, own in own_digests.items()},
        "evaluate": {config.name: _scoring_digests(code, config) for config in configs},
        "report": {config.name: _report_digest(root, code, config, studies) for config in configs},
        "index": _with_files(
            code.digest(["benchmarks.report.index"], beside=_READING_PREPARED), _page_files(root)
        ),
        "cells": {config.name: _cells(config) for config in configs},
        "implied": {config.name: _implied(config) for config in configs},
        "settings": {config.name: _settings(config) for config in configs},
    }


def write_digests(root: Path) -> Path:
    """Write `data/code`, which the pipeline depends on; equal digests leave it alone.

    Returns:
        The file with the digests.

    Raises:
        ConfigError: as `stage_digests`.
    """
    found = stage_digests(root)
    target = root / "data" / "code" / _DIGESTS
    try:
        same = read_json(target) == found
    except (OSError, ValueError):
        same = False
    if not same:
        write_json(target, found)
    if not (note := target.with_name(_NOTE)).is_file():
        write_text(note, "Digests of the code of every stage, by `python -m benchmarks code`.\n")
    return target


def link_code(root: Path, sandbox: Path) -> None:
    """Link the code into a folder, which is a checkout with data, splits and runs of its own.

    Args:
        root: the checkout.
        sandbox: the folder; links that lead elsewhere are made anew.
    """
    links = {sandbox / name: root / name for name in ("benchmarks", "methods")}
    for path in (root / "datasets").iterdir():
        if path.name != _SPLITS:
            links[sandbox / "datasets" / path.name] = path
    for link, path in links.items():
        renew_link(link, path)


def renew_link(link: Path, path: Path) -> None:
    """Link to a path; a link that leads elsewhere, as in a copied checkout, is made anew."""
    if link.is_symlink() and link.readlink() == path:
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(path)


def _run_digest(code: Code, method: str) -> str:
    return code.digest([*code.names("benchmarks.engine"), f"methods.{method}"], beside=_TRAINING)


def _scoring_digest(code: Code, dataset: str, method: str) -> str:
    starts = ["benchmarks.scoring.evaluate", f"datasets.{dataset}", f"methods.{method}"]
    return code.digest(starts, beside=_READING_PREPARED)


def _scoring_digests(code: Code, config: BenchmarkConfig) -> dict[str, str]:
    bases = _names([map(base_of, config.grid.methods)])
    return {d: digest([_scoring_digest(code, d, m) for m in bases]) for d in config.grid.datasets}


def _report_digest(
    root: Path, code: Code, config: BenchmarkConfig, studies: Iterable[Study]
) -> str:
    """Names, notes and citations are in the files of methods and data sets.

    Studies of convergence, which withhold outcomes of rows trained alike, are other benchmarks'
    reports, of other parameters.
    """
    starts = {"benchmarks.report", *(f"methods.{base_of(m)}" for m in config.grid.methods)}
    starts |= {f"datasets.{d}" for d in config.grid.datasets}
    own = [s for s in studies if set(s.config.grid.datasets) & set(config.grid.datasets)]
    known = [study.config.model_dump(mode="json", exclude={"runtime"}) for study in own]
    made = digest([code.digest(starts, beside=_READING_PREPARED), *known])
    return _with_files(made, (*_page_files(root), *(study.table for study in own)))


def _page_files(root: Path) -> list[Path]:
    """Templates, styles, scripts and libraries of the pages, and the versions that they tell."""
    folder = root / "benchmarks" / "report" / "web"
    files = [path for path in folder.rglob("*") if path.suffix in {".j2", ".css", ".js", ".txt"}]
    return sorted(path for path in (*files, root / "requirements.lock") if path.is_file())


def _public_splits(root: Path, dataset: str) -> list[Path]:
    return sorted((root / "datasets" / "splits").glob(f"{dataset}.*.json"))


def _with_files(code: str, files: Iterable[Path]) -> str:
    return digest([code, *([file.name, file_digest(file)] for file in files)])


def _cells(config: BenchmarkConfig) -> dict[str, Any]:
    grid = config.grid.model_dump(mode="json", include={"seeds", "folds", "bound"})

    def counts(dataset: str) -> dict[str, Any]:
        block = config.data[dataset]
        shares = {"shares": [share.percent for share in block.shares]} if block.shares else {}
        return {"labels": list(block.labels), **shares}

    return {d: {**counts(d), **grid} for d in config.grid.datasets}


def _implied(config: BenchmarkConfig) -> dict[str, Any]:
    """A variant takes the block of its base method."""
    bases = {m: config.methods.get(base_of(m), {}) for m in config.grid.methods if base_of(m) != m}
    found: dict[str, dict[str, Any]]
    found = {m: {"base": bases.get(m, {}), "equal": config.grid.equal} for m in config.grid.methods}
    for name in ROW_BLOCKS:
        block = getattr(config, name)
        for method in found.keys() & block.keys():
            found[method][name] = block[method]
    return found


def _settings(config: BenchmarkConfig) -> dict[str, dict[str, str]]:
    from benchmarks.plan.resolve import settings_of

    methods = config.grid.methods
    return {d: {m: settings_of(config, d, m) for m in methods} for d in config.grid.datasets}


def _names(blocks: Iterable[Iterable[str]]) -> list[str]:
    return sorted({name for block in blocks for name in block})


def run_digest(
    key: RunKey, *, train: object, params: object, split: str, data: str, code: str
) -> str:
    """Identity of a run.

    Args:
        key: which run; its benchmark's name does not count.
        train: resolved training configuration, JSON-ready.
        params: resolved method parameters, JSON-ready.
        split: digest of the split file.
        data: digest of the prepared data.
        code: digest of the code.
    """
    cell = [key.dataset, key.base, key.labels, key.fold, key.seed]
    return digest(
        {"cell": cell, "train": train, "params": params, "split": split, "data": data, "code": code}
    )
