"""The budget of every method of a study: what a fair comparison of tuned methods must state."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna
import pandas as pd
from optuna.trial import TrialState

from benchmarks.common.errors import ConfigError
from benchmarks.common.files import write_text
from benchmarks.common.lease import waiting_for
from benchmarks.tune.sharing import ERROR
from benchmarks.tune.study import Plan, done


def compare_budgets(plans: Sequence[Plan], path: Path, say: Callable[[str], None]) -> None:
    """Refuse runs of another budget than those of the methods that were tuned before.

    Args:
        plans: of the methods of one command, which have the same options and so the same budget.
        path: of the budgets of methods that were tuned before.
        say: is told of methods that had other numbers of trials, since they can be gone on with.

    Raises:
        ConfigError: others had runs of other seeds or iterations.
    """
    if not path.is_file():
        return
    before, plan = _others([plan.method for plan in plans], path), plans[0]
    planned = len(plan.seeds), _iterations(plan)
    other = before[(before[["seeds", "iterations"]] != planned).any(axis=1)]
    if len(other):
        old = shlex.quote(str(path))
        raise ConfigError(
            f"methods must have equal budgets: {_words(*planned)} are planned, but '{path}' has"
            f" {', '.join(f'{m} with {_words(s, i)}' for m, _, s, i in _rows(other))}; give the"
            " same --seeds and --iterations, tune these methods in the same command, or put the"
            f" table away: `mv {old} {old}.before`"
        )
    short = [f"{method} ({n})" for method, n, *_ in _rows(before) if n != plan.trials]
    if short:
        say(
            f"{plan.trials} trials are planned, other methods of '{path}' had other numbers:"
            f" {', '.join(short)}; search all of them with the same --trials to compare them"
        )


def _words(seeds: int, iterations: int) -> str:
    return f"{seeds} seeds of {iterations} iterations"


def _rows(budgets: pd.DataFrame) -> list[tuple[str, int, int, int]]:
    columns = ["method", "trials", "seeds", "iterations"]
    return list(budgets[columns].itertuples(index=False, name=None))


def _iterations(plan: Plan) -> int:
    return plan.config.train_for(plan.dataset).iterations


def _others(methods: Sequence[str], path: Path) -> pd.DataFrame:
    """Rows of methods that were tuned before and are not tuned now."""
    before = pd.read_csv(path)
    return before[~before["method"].isin(methods)]


def write_budget(studies: Sequence[tuple[Plan, optuna.Study]], path: Path, lease: Path) -> Path:
    """Write the budget of every method; rows of methods that are not among `studies` stay.

    Args:
        studies: searched now.
        path: to write to, as other processes may do at once.
        lease: that they hold meanwhile.
    """
    with waiting_for(lease):
        frame = pd.DataFrame([_row(plan, study) for plan, study in studies])
        if path.is_file():
            others = _others([plan.method for plan, _ in studies], path)
            frame = pd.concat([others, frame]) if len(others) else frame
        write_text(path, frame.sort_values("method").to_csv(index=False, float_format="%.6f"))
    return path


def _row(plan: Plan, study: optuna.Study) -> dict[str, object]:
    whole = study.get_trials(states=(TrialState.COMPLETE,))
    return {
        "method": plan.method,
        "trials": done(study),
        "pruned": done(study) - len(whole),
        "failed": len([t for t in study.trials if ERROR in t.user_attrs]),
        "seeds": len(plan.seeds),
        "iterations": _iterations(plan),
        "parameters": " ".join(r.name for r in plan.space),
        "best_validation_dice": study.best_value if whole else float("nan"),
    }
