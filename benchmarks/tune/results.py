"""What a search leaves behind: trials, best values, figures, and values put into a params file."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
import optuna.visualization.matplotlib as draw
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from optuna.trial import TrialState
from ruamel.yaml import YAML

from benchmarks.common.errors import ConfigError
from benchmarks.common.files import write_text
from benchmarks.common.lease import waiting_for
from benchmarks.common.schema import merge
from benchmarks.config import BenchmarkConfig, load_config
from benchmarks.report.style import figure_style, save
from benchmarks.tune.space import put
from benchmarks.tune.study import Plan

# What Optuna calls "Objective Value" unless told.
_TARGET = {"target_name": "validation Dice"}


def write_results(study: optuna.Study, plan: Plan, folder: Path) -> list[Path]:
    """Write `trials.csv`, `best.yaml` and the figures of one method.

    Args:
        study: with at least one finished trial, or nothing but `trials.csv` is written.
        plan: of the study.
        folder: to write to.

    Returns:
        The files.
    """
    write_text(folder / "trials.csv", _trials(study, plan).to_csv(index=False, float_format="%.6g"))
    files = [folder / "trials.csv"]
    if not study.get_trials(states=(TrialState.COMPLETE,)):
        return files
    best = {
        "method": plan.method, "dataset": plan.dataset, "labels": plan.labels,
        "fold": plan.fold,
        "validation_dice": round(study.best_value, 6), "values": study.best_params,
    }  # fmt: skip
    stream = io.StringIO()
    YAML().dump(best, stream)
    write_text(folder / "best.yaml", stream.getvalue())
    return [*files, folder / "best.yaml", *_figures(study, plan, folder)]


def best_words(study: optuna.Study, plan: Plan) -> str:
    """The best trial of a method, for the terminal."""
    if not study.get_trials(states=(TrialState.COMPLETE,)):
        return f"{plan.method}: no trial has finished"
    values = ", ".join(f"{name} = {value:.4g}" for name, value in study.best_params.items())
    dice = f"{100 * study.best_value:.1f} %"
    return f"{plan.method}: validation Dice {dice} in trial {study.best_trial.number}: {values}"


def _trials(study: optuna.Study, plan: Plan) -> pd.DataFrame:
    """One row per trial: number, state, mean Dice, Dice by seed, values."""
    rows = []
    for trial in study.trials:
        dice = trial.user_attrs.get("dice", [float("nan")] * len(plan.seeds))
        rows.append(
            {
                "number": trial.number,
                "state": trial.state.name.lower(),
                "validation_dice": trial.value if trial.value is not None else float("nan"),
                **{f"dice_seed{s}": d for s, d in zip(plan.seeds, dice, strict=True)},
                **trial.params,
            }
        )
    return pd.DataFrame(rows)


def _figures(study: optuna.Study, plan: Plan, folder: Path) -> list[Path]:
    """History always; importance, parallel coordinates and contour where there is enough."""
    finished = len(study.get_trials(states=(TrialState.COMPLETE,)))
    plots: dict[str, Callable[..., object]] = {"history": draw.plot_optimization_history}
    if finished > 2:
        plots["parallel_coordinate"] = draw.plot_parallel_coordinate
        if len(plan.space) > 1:
            plots |= {"importance": draw.plot_param_importances, "contour": draw.plot_contour}
    files = []
    for name, plot in plots.items():
        with figure_style(), warnings.catch_warnings():
            # Optuna calls its matplotlib figures experimental; layouts of several axes are its own.
            warnings.simplefilter("ignore")
            made: Any = plot(study, **_TARGET)
            axes = made if hasattr(made, "figure") else made.flat[0]
            figure: Figure = axes.figure
            _lay_out(figure, f"{plan.method} on {plan.dataset}, {plan.labels} labelled", name)
            files.append(save(figure, folder / f"{name}.png"))
            plt.close(figure)
    return files


def _lay_out(figure: Figure, title: str, name: str) -> None:
    """Size, title and, for the contour's grid, a colour bar beside it instead of on it."""
    for ax in figure.axes:
        ax.set_title("")
    figure.suptitle(f"{title}: {name.replace('_', ' ')}", x=0.02, ha="left", fontsize="medium")
    if name != "contour":
        figure.set_size_inches(7.2, 4.2)
        figure.tight_layout()
        return
    figure.set_size_inches(9, 9)
    *_, bar = figure.axes
    figure.tight_layout(rect=(0, 0, 0.88, 1))
    bar.set_position((0.91, 0.1, 0.02, 0.8))
    for ax in figure.axes[:-1]:
        ax.tick_params(which="minor", labelbottom=False, labelleft=False)


def apply_best(study: optuna.Study, plan: Plan, params: Path, lease: Path) -> None:
    """Write the best values into a params file; everything else, comments included, stays.

    Args:
        study: with a finished trial.
        plan: of the study.
        params: to write to, as other processes may do at once.
        lease: that they hold meanwhile.

    Raises:
        ConfigError: no finished trial, or the file cannot be read.
    """
    if not study.get_trials(states=(TrialState.COMPLETE,)):
        raise ConfigError(f"no finished trial of {plan.method} to apply; run more trials")
    yaml = YAML()
    yaml.width = 100
    yaml.preserve_quotes = True
    with waiting_for(lease):
        try:
            tree: Any = yaml.load(params.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot read '{params}': {error}") from None
        config = load_config(params)
        for name, value in study.best_params.items():
            given = float(f"{value:.6g}") if isinstance(value, float) else value
            put(tree, _way(name, plan, config), given)
        stream = io.StringIO()
        yaml.dump(tree, stream)
        write_text(params, stream.getvalue())


def _way(name: str, plan: Plan, config: BenchmarkConfig) -> tuple[str, ...]:
    """Where in a params file a value is the one that counts for the data set."""
    if not name.startswith("train."):
        return ("methods", plan.method, name)
    way = tuple(name.split("."))
    if plan.dataset not in config.data:
        return way
    mark = object()
    train = {"train": config.train.model_dump(mode="json")}
    put(train, way, mark)
    kept: Any = merge(train, {"train": config.data[plan.dataset].train})
    for part in way:
        kept = kept.get(part) if isinstance(kept, Mapping) else None
    return way if kept is mark else ("data", plan.dataset, *way)
