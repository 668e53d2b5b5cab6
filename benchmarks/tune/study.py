"""The search: one Optuna study per method, scored by mean validation Dice over several seeds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from benchmarks.common.errors import ConfigError, Held, Interrupted, Lost
from benchmarks.common.files import digest, read_json
from benchmarks.common.schema import check
from benchmarks.common.signals import STOPPED
from benchmarks.common.workspace import RECORD
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.resolve import resolve
from benchmarks.training.many import train_runs
from benchmarks.training.one import Place
from benchmarks.tune.database import first_number
from benchmarks.tune.sharing import ERROR, Sharing
from benchmarks.tune.space import Range, put

# Trials before TPE takes over from random draws and before the median is trusted.
STARTUP = 8
# As often as this a trial loses its worker processes to chance; then it has itself to blame.
_LOSSES, _LOST = 5, "lost"
_LOOK = 1.0  # seconds between two looks for a trial, where other processes have all that are left


@dataclass(frozen=True)
class Plan:
    """One study.

    Attributes:
        config: of the benchmark.
        dataset: id.
        method: id.
        labels: labelled patients.
        fold: that the search is done in.
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
    fold: int
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
        put(fields["data"][plan.dataset], name.split("."), values[name])  # wins over `train`
    base = plan.config.methods.get(plan.method, {})
    fields["methods"] = {plan.method: base, variant: own}
    fields["data"][plan.dataset]["labels"] = [plan.labels]
    fields["grid"] = {
        "datasets": [plan.dataset], "methods": [variant], "seeds": list(plan.seeds),
        "folds": [plan.fold],
    }  # fmt: skip
    fields |= {"titles": {}, "steps": {}, "sweeps": {}, "contrasts": [], "claim": None}
    amp = fields["amp"].get(plan.method)
    fields["amp"] = {variant: amp} if amp else {}
    return check(BenchmarkConfig, fields, where=f"trial {variant}")


def score(plan: Plan, trial: optuna.Trial, place: Place) -> float:
    """Mean validation Dice of the last checkpoint over the seeds, in [0, 1].

    With one run at a time, the mean so far is reported after every seed and the trial may be
    pruned; runs at once are trained to their end. A trial that is done again goes on with the runs
    of the first one.
    """
    values = {r.name: r.draw(trial) for r in plan.space}
    config = trial_config(plan, values, f"{plan.method}-t{first_number(trial):04d}")
    runs = resolve(config, plan.dataset, config.grid.methods[0], place.root)
    step = 1 if plan.jobs == 1 else len(runs)
    told = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
    dice: list[float] = []
    for first in range(0, len(runs), step):
        train_runs(runs[first : first + step], place, jobs=plan.jobs)
        for r in runs[first : first + step]:
            seen = read_json(r.key.folder(place.root) / RECORD)["position"]["validations"]
            dice.append(float(seen[max(seen, key=int)]))
        mean = sum(dice) / len(dice)
        if len(dice) not in told:  # by a call that was stopped
            trial.report(mean, len(dice))
        if len(dice) < len(runs) and trial.should_prune():
            raise optuna.TrialPruned
    trial.set_user_attr("dice", dice)
    return mean


class Sampler(optuna.samplers.BaseSampler):
    """TPE whose draw depends on study, trial, parameter and finished trials alone.

    So a search that was stopped or killed draws what it would have drawn.
    """

    def infer_relative_search_space(self, study: object, trial: object) -> dict[str, Any]:
        """None: TPE draws every parameter by itself."""
        del study, trial
        return {}

    def sample_relative(self, study: object, trial: object, search_space: object) -> dict[str, Any]:
        """None."""
        del study, trial, search_space
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: optuna.trial.FrozenTrial,
        param_name: str,
        param_distribution: optuna.distributions.BaseDistribution,
    ) -> Any:
        """A value."""
        seed = int(digest([study.study_name, trial.number, param_name])[:8], 16)
        tpe = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)
        return tpe.sample_independent(study, trial, param_name, param_distribution)


def done(study: optuna.Study) -> int:
    """Trials that count towards the budget."""
    return sum(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in study.trials)


def run_study(
    plan: Plan, place: Place, study: optuna.Study, sharing: Sharing, say: Callable[[str], None]
) -> None:
    """Search until the plan's number of trials is reached; call again to go on.

    Any number of processes may do so at once; each does trials until all are done.

    Args:
        plan: what is searched.
        place: the sandbox.
        study: opened with this plan.
        sharing: where it is kept.
        say: prints a line of progress.

    Raises:
        Interrupted: stopped by a signal; finished trials are kept, the one that ran is gone on with
            by the next call, or by another process.
    """
    try:
        _search(plan, place, study, sharing, say)
    except KeyboardInterrupt:
        raise Interrupted(STOPPED) from None


def _search(
    plan: Plan, place: Place, study: optuna.Study, sharing: Sharing, say: Callable[[str], None]
) -> None:
    """Do trials that no other process does until there are as many as planned, or no time."""
    end = math.inf if plan.timeout is None else time.monotonic() + plan.timeout
    while done(study) < plan.trials and time.monotonic() < end:
        with sharing.trial(study, plan.trials) as trial:
            if trial is not None:
                _evaluate(plan, place, study, trial, say)
                continue
        time.sleep(_LOOK)


def _evaluate(
    plan: Plan, place: Place, study: optuna.Study, trial: optuna.Trial, say: Callable[[str], None]
) -> None:
    """Do a trial; one that is stopped, or whose workers were killed, stays open."""
    try:
        told = study.tell(trial, _score_alone(plan, trial, place, say))
    except optuna.TrialPruned:
        told = study.tell(trial, state=TrialState.PRUNED)
    except UpdateFinishedTrialError:
        say(f"{study.study_name}: this process stood still, so another one has its trial")
        return
    except Interrupted:
        raise
    except Exception as error:
        if isinstance(error, Lost) and _lost(trial) < _LOSSES:
            raise
        trial.set_user_attr(ERROR, str(error))
        study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        raise
    _say(plan, study, told, say)


def _score_alone(
    plan: Plan, trial: optuna.Trial, place: Place, say: Callable[[str], None]
) -> float:
    """`score`; runs that workers of a killed process still hold are waited for."""
    told = False
    while True:
        try:
            return score(plan, trial, place)
        except Held as error:
            if not told:
                say(f"{trial.study.study_name}: waiting, since {error}")
            told = True
            time.sleep(_LOOK)


def _lost(trial: optuna.Trial) -> int:
    """Count one more loss of workers; returns how many there were."""
    trial.set_user_attr(_LOST, trial.user_attrs.get(_LOST, 0) + 1)
    return int(trial.user_attrs[_LOST])


def _say(
    plan: Plan, study: optuna.Study, trial: optuna.trial.FrozenTrial, say: Callable[[str], None]
) -> None:
    shown = ", ".join(f"{key}={value:.4g}" for key, value in trial.params.items())
    value = "pruned" if trial.state == TrialState.PRUNED else f"{trial.value:.4f}"
    say(f"{study.study_name} {done(study)}/{plan.trials}: {value}  {shown}")
