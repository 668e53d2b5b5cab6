"""The search: one Optuna study per method, scored by mean validation Dice over several seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, RetryFailedTrialCallback
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from benchmarks.common.errors import ConfigError
from benchmarks.common.files import claimed, digest, read_json
from benchmarks.common.schema import check
from benchmarks.common.workspace import RECORD
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.resolve import resolve
from benchmarks.training.many import train_runs
from benchmarks.training.one import Place
from benchmarks.tune.space import Range

# Trials before TPE takes over from random draws and before the median is trusted.
_STARTUP = 8
_HEARTBEAT = 60  # seconds between signs of life of a worker with a database


@dataclass(frozen=True)
class Plan:
    """One study.

    Attributes:
        config: of the benchmark.
        dataset: id.
        method: id.
        labels: labelled patients.
        seeds: of the runs of every trial, at least two.
        space: ranges.
        trials: number of trials to reach, finished or pruned.
        timeout: seconds after which no further trial starts, or None.
        jobs: runs at once.
    """

    config: BenchmarkConfig
    dataset: str
    method: str
    labels: int
    seeds: tuple[int, ...]
    space: tuple[Range, ...]
    trials: int
    timeout: float | None = None
    jobs: int | None = None

    def __post_init__(self) -> None:
        if len(set(self.seeds)) < 2:
            raise ConfigError(f"a trial needs two seeds or more, given {list(self.seeds)}")


def trial_config(plan: Plan, values: dict[str, Any], variant: str) -> BenchmarkConfig:
    """The benchmark with one method: the tuned one with a trial's values.

    Raises:
        ConfigError: a value that the parameters refuse.
    """
    fields = plan.config.model_dump(mode="json")
    own = {name: value for name, value in values.items() if not name.startswith("train.")}
    for name in values.keys() - own.keys():
        *path, last = name.split(".")
        block = fields
        for part in path:
            block = block.setdefault(part, {})
        block[last] = values[name]
    base = plan.config.methods.get(plan.method, {})
    fields["methods"] = {plan.method: base, variant: own}
    fields["data"][plan.dataset]["labels"] = [plan.labels]
    fields["grid"] = {"datasets": [plan.dataset], "methods": [variant], "seeds": list(plan.seeds)}
    fields |= {"sweeps": {}, "contrasts": [], "claim": None}
    return check(BenchmarkConfig, fields, where=f"trial {variant}")


def score(plan: Plan, trial: optuna.Trial, place: Place) -> float:
    """Mean validation Dice of the last checkpoint over the seeds, in [0, 1].

    With one run at a time, the mean so far is reported after every seed and the trial may be
    pruned; runs at once are trained to their end.
    """
    values = {r.name: r.draw(trial) for r in plan.space}
    config = trial_config(plan, values, f"{plan.method}-t{trial.number:04d}")
    runs = resolve(config, plan.dataset, config.grid.methods[0], place.root)
    step = 1 if plan.jobs == 1 else len(runs)
    dice: list[float] = []
    for first in range(0, len(runs), step):
        train_runs(runs[first : first + step], place, jobs=plan.jobs)
        for r in runs[first : first + step]:
            seen = read_json(r.key.folder(place.root) / RECORD)["position"]["validations"]
            dice.append(float(seen[max(seen, key=int)]))
        mean = sum(dice) / len(dice)
        trial.report(mean, len(dice))
        if len(dice) < len(runs) and trial.should_prune():
            raise optuna.TrialPruned
    trial.set_user_attr("dice", dice)
    return mean


def open_storage(folder: Path, url: str | None) -> BaseStorage:
    """A journal file in the study's folder, or a database shared by several machines."""
    if url is not None:
        return RDBStorage(
            url, heartbeat_interval=_HEARTBEAT, failed_trial_callback=RetryFailedTrialCallback()
        )
    folder.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(folder / "journal.log")))


def done(study: optuna.Study) -> int:
    """Trials that count towards the budget."""
    return sum(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in study.trials)


def run_study(
    plan: Plan,
    place: Place,
    *,
    name: str,
    folder: Path,
    url: str | None,
    say: Callable[[str], None],
) -> optuna.Study:
    """Search until the plan's number of trials is reached; call again to go on.

    Args:
        plan: what is searched.
        place: the sandbox.
        name: of the study.
        folder: of its journal.
        url: of a database in place of the journal.
        say: prints a line of progress.

    Raises:
        RunError: another process works on this journal.
        Interrupted: stopped by a signal; finished trials are kept.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(folder, url)
    if url is None:
        with claimed(folder / "journal.claim"):
            return _search(plan, place, storage, name, say, alone=True)
    return _search(plan, place, storage, name, say, alone=False)


def _search(
    plan: Plan,
    place: Place,
    storage: BaseStorage,
    name: str,
    say: Callable[[str], None],
    *,
    alone: bool,
) -> optuna.Study:
    study = optuna.create_study(
        study_name=name, storage=storage, direction="maximize", load_if_exists=True
    )
    if alone:
        _take_up_abandoned(study)
    # A sampler that starts anew must not repeat its first draws.
    seed = int(digest([name, len(study.trials)])[:8], 16)
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP)
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=_STARTUP)

    def tell(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        shown = ", ".join(f"{key}={value:.4g}" for key, value in trial.params.items())
        value = "pruned" if trial.value is None else f"{trial.value:.4f}"
        say(f"{name} {done(study)}/{plan.trials}: {value}  {shown}")
        if done(study) >= plan.trials:
            study.stop()

    if done(study) < plan.trials:
        study.optimize(
            lambda trial: score(plan, trial, place), timeout=plan.timeout, callbacks=[tell]
        )
    return study


def _take_up_abandoned(study: optuna.Study) -> None:
    """Close trials that a dead process left running and queue their values again."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        if trial.params:
            study.enqueue_trial(trial.params)


def equal_budget(plans: Sequence[Plan]) -> None:
    """Refuse plans whose methods would get different budgets.

    Raises:
        ConfigError: trials, seeds or iterations differ.
    """
    budgets = {(p.trials, p.seeds, p.config.train_for(p.dataset).iterations) for p in plans}
    if len(budgets) > 1:
        raise ConfigError(f"methods must have equal budgets, given {sorted(budgets, key=str)}")
