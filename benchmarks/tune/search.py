"""The command `tune`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.common.console import Board
from benchmarks.common.errors import ConfigError
from benchmarks.common.lease import waiting_for
from benchmarks.common.schema import check
from benchmarks.common.workspace import report_folder, tuning_folder
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.grid import base_of, check_names
from benchmarks.training.one import Place
from benchmarks.tune.results import apply_best, write_budget, write_results
from benchmarks.tune.sandbox import make_sandbox
from benchmarks.tune.space import space_of
from benchmarks.tune.study import Plan, equal_budget, run_study


@dataclass(frozen=True)
class TuneOptions:
    """What the command line says.

    Attributes:
        labels: labelled patients.
        trials: per method.
        seeds: runs of every trial.
        iterations: of every run; None takes the benchmark's.
        parameters: ranges by hand.
        timeout: seconds per method, or None.
        jobs: runs at once.
        storage: URL of a database, or None for a journal file.
        apply: params file that takes the best values, or None.
        device: of the runs.
    """

    labels: int
    trials: int
    seeds: tuple[int, ...]
    iterations: int | None
    parameters: tuple[str, ...]
    timeout: float | None
    jobs: int | None
    storage: str | None
    apply: Path | None
    device: str


def _shortened(config: BenchmarkConfig, dataset: str, iterations: int | None) -> BenchmarkConfig:
    if iterations is None:
        return config
    fields = config.model_dump(mode="json")
    fields["data"][dataset]["train"]["iterations"] = iterations
    return check(BenchmarkConfig, fields, where="--iterations")


def tune(
    config: BenchmarkConfig,
    dataset: str,
    methods: tuple[str, ...],
    options: TuneOptions,
    root: Path,
) -> list[Path]:
    """Search every method's parameters with the same budget; call again to go on.

    Args:
        config: of the benchmark, whose data are prepared and split.
        dataset: id.
        methods: ids.
        options: of the command line.
        root: the checkout.

    Returns:
        The files written.

    Raises:
        BenchError: wrong names or ranges, data not prepared, or runs that failed.
    """
    config = _shortened(config, dataset, options.iterations)
    for method in methods:
        check_names(config, dataset, method)
        if "-" in method:
            raise ConfigError(f"'{method}' is a variant; tune the method '{base_of(method)}'")
    study_name = f"{config.name}-{dataset}-l{options.labels}"
    sandbox = tuning_folder(root, study_name)
    with waiting_for(sandbox.with_name(f"{study_name}.lock")):
        make_sandbox(config, dataset, root, sandbox)
    plans = [
        Plan(
            config, dataset, method, options.labels, options.seeds,
            tuple(space_of(method, options.parameters)), options.trials, options.timeout,
            options.jobs,
        )
        for method in methods
    ]  # fmt: skip
    equal_budget(plans)
    seconds = config.runtime.checkpoint_seconds
    place = Place(sandbox, options.device, checkpoint_seconds=seconds)
    target, files, found = report_folder(root, "tuning") / study_name, [], []
    with Board() as board:
        for plan in plans:
            folder = sandbox / "studies" / plan.method
            study = run_study(
                plan,
                place,
                name=f"{study_name}-{plan.method}",
                folder=folder,
                url=options.storage,
                say=board.say,
            )
            files += write_results(study, plan, target / plan.method)
            found.append((plan, study))
    files.append(write_budget(found, target / "budget.csv"))
    if options.apply is not None:
        for plan, study in found:
            apply_best(study, plan, options.apply)
    return files
