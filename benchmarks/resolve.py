"""Runs of the grid with their parameters and identities, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.config import BenchmarkConfig, TrainConfig, check
from benchmarks.errors import ConfigError, RunError
from benchmarks.files import read_json
from benchmarks.grid import RunKey, check_names, expand, prepared_folder, split_file
from benchmarks.identity import code_digest, run_digest
from datasets.split import load_split
from datasets.store import open_prepared
from methods import load_method

if TYPE_CHECKING:
    from methods.base import MethodParams

# Written last: a folder with it is a finished run.
RECORD = "run.json"


@dataclass(frozen=True)
class Resolved:
    """A run with everything its identity depends on.

    Attributes:
        key: names the run.
        params: parameters of the method.
        digest: identity.
    """

    key: RunKey
    params: MethodParams
    digest: str


def method_params(config: BenchmarkConfig, method: str) -> MethodParams:
    """Checked parameters of a method: its own block, on top of the base method's for a variant.

    Raises:
        ConfigError: unknown method, key or value.
    """
    base = method.partition("-")[0]
    block = {**config.methods.get(base, {}), **config.methods[method]}
    params: MethodParams = check(load_method(base).Params, block, where=f"methods.{method}")
    return params


def train_config(config: BenchmarkConfig, dataset: str, method: str) -> TrainConfig:
    """How a method is trained on a data set; `grid.equal: operations` changes the iterations.

    Raises:
        ConfigError: unknown method, wrong key or value.
    """
    train = config.train_for(dataset)
    if config.grid.equal == "steps":
        return train
    from benchmarks.census import step_cost

    cost = step_cost(load_method(method.partition("-")[0]), method_params(config, method))
    return train.model_copy(update={"iterations": max(1, round(train.iterations / cost))})


def resolve(config: BenchmarkConfig, dataset: str, method: str, root: Path) -> list[Resolved]:
    """All runs of a method on a data set, with their identities.

    Raises:
        ConfigError: names outside the grid, or wrong parameters.
        DataError: data not prepared or not split.
    """
    check_names(config, dataset, method)
    params = method_params(config, method)
    train = train_config(config, dataset, method).model_dump(mode="json")
    data = open_prepared(prepared_folder(root, config, dataset))
    split = load_split(split_file(root, config, dataset))
    code = code_digest(root, method.partition("-")[0])
    return [
        Resolved(
            key,
            params,
            run_digest(
                key,
                train=train,
                params=params.model_dump(mode="json"),
                split=split.digest,
                data=data.digest,
                code=code,
            ),
        )
        for key in expand(config, split, method)
    ]


def chosen_runs(
    runs: list[Resolved], config: BenchmarkConfig, wanted: tuple[int | None, int | None, int | None]
) -> list[Resolved]:
    """Those runs of one stage that have the wanted labelled count, fold and seed; None is any.

    Raises:
        ConfigError: there is none.
    """
    kept = [
        r
        for r in runs
        if all(
            w in {None, v}
            for w, v in zip(wanted, (r.key.labels, r.key.fold, r.key.seed), strict=True)
        )
    ]
    if not kept:
        key, (labels, fold, seed) = runs[0].key, wanted
        raise ConfigError(
            f"no run of {key.dataset} {key.method} has labels={labels}, fold={fold}, seed={seed};"
            f" the grid has labels {list(config.data[key.dataset].labels)},"
            f" folds {list(config.grid.folds)}, seeds {list(config.grid.seeds)}"
        )
    return kept


def finished(resolved: Resolved, root: Path) -> bool:
    """Whether the run's folder is complete and made from exactly this configuration."""
    record = resolved.key.folder(root) / RECORD
    try:
        return bool(read_json(record)["digest"] == resolved.digest)
    except (OSError, ValueError, KeyError, TypeError):
        return False  # no record, or one that cannot be trusted


def require_finished(resolved: Resolved, root: Path) -> None:
    """Raise a RunError unless the run is complete and made from the present configuration."""
    key = resolved.key
    if not finished(resolved, root):
        raise RunError(
            f"no finished run '{key.folder(root)}' for the present parameters and code;"
            f" run `python -m benchmarks run {key.dataset} {key.method}` first (same --params)"
        )
