"""Opens a study, and holds it to what it was begun with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from benchmarks.common.errors import ConfigError
from benchmarks.plan.resolve import resolve
from benchmarks.tune.database import Database
from benchmarks.tune.sharing import ERROR, Journal, Sharing
from benchmarks.tune.study import STARTUP, Plan, Sampler, trial_config

# Attribute of a study.
_BASIS = "begun with"
_NOTHING = "nothing"


@dataclass(frozen=True)
class Opened:
    """A study that can be searched.

    Attributes:
        study: of Optuna.
        sharing: where it is kept.
    """

    study: optuna.Study
    sharing: Sharing


def basis_of(plan: Plan, root: Path) -> dict[str, Any]:
    """All that the scores of a plan's trials depend on beside the values that are searched.

    Where a params file has values that the trials replace, their ranges stand, so a study goes on
    after `--apply` wrote there.

    Args:
        plan: of the study.
        root: the sandbox.

    Returns:
        JSON-ready, by name: fold, seeds, settings or their ranges, and digests.

    Raises:
        ConfigError: parameters of the method, or the low end of a range, are refused.
        DataError: data not prepared or not split.
    """
    for r in plan.space:  # of a value that is refused, a trial would tell hours later
        trial_run = trial_config(plan, {r.name: r.highest}, f"{plan.method}-highest")
        resolve(trial_run, plan.dataset, trial_run.grid.methods[0], root)
    config = trial_config(plan, {r.name: r.lowest for r in plan.space}, f"{plan.method}-lowest")
    run = resolve(config, plan.dataset, config.grid.methods[0], root)[0]
    settings = {
        **dict(_leaves("train", run.train.model_dump(mode="json"))),
        **dict(_leaves(f"methods.{plan.method}", run.params.model_dump(mode="json"))),
    }
    for r in plan.space:
        settings[r.name if r.name in settings else f"methods.{plan.method}.{r.name}"] = r.text
    basis = {
        "fold": plan.fold,
        "seeds": plan.seeds,
        **settings,
        "digest of the prepared data": run.data,
        "digest of the split": run.split,
        "digest of the code": run.code,
    }
    plain: dict[str, Any] = json.loads(json.dumps(basis))
    return plain


def _leaves(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Values of nested blocks by dotted name."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(f"{name}.{key}", inner)
    else:
        yield name, value


def open_study(basis: Mapping[str, Any], *, name: str, folder: Path, url: str | None) -> Opened:
    """Open a study, or make it; processes may do so at once.

    Args:
        basis: what is searched, by `basis_of`.
        name: of the study.
        folder: of its journal.
        url: of a database in place of the journal.

    Raises:
        ConfigError: no such database, or the study was begun with something else.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sharing: Sharing = Journal(folder) if url is None else Database(url)
    study = optuna.create_study(
        study_name=name,
        storage=sharing.storage,
        direction="maximize",
        load_if_exists=True,
        sampler=Sampler(),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP),
    )
    _hold(study, basis, sharing.away(name))
    return Opened(study, sharing)


def _hold(study: optuna.Study, basis: Mapping[str, Any], away: str) -> None:
    """Note what a study is begun with, or refuse to go on with something else."""
    # Before the attribute is read: whoever begins a trial has noted it, so it is not missed.
    counted = [t for t in study.get_trials(deepcopy=False) if ERROR not in t.user_attrs]
    begun = study.user_attrs.get(_BASIS)
    if begun == basis:
        return
    if not counted:  # or only mistakes, such as of a method that was mended since
        study.set_user_attr(_BASIS, dict(basis))
        return
    compared = "so its trials cannot be compared with new ones"
    remedy = f"put it away and search anew: `{away}`"
    if begun is None:
        raise ConfigError(
            f"study '{study.study_name}' was begun by a version that did not note with what,"
            f" {compared}; {remedy}"
        )
    names = [name for name in {**begun, **basis} if begun.get(name) != basis.get(name)]
    lines = (f"  {n}: was {begun.get(n, _NOTHING)}, is {basis.get(n, _NOTHING)}" for n in names)
    raise ConfigError(
        "\n".join([f"study '{study.study_name}' was begun with something else:", *lines])
        + f"\n{compared}; give again what it was begun with, or {remedy}"
    )
