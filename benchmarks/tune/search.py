"""The command `tune`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common.console import Board
from benchmarks.common.errors import ConfigError
from benchmarks.common.lease import waiting_for
from benchmarks.common.pasting import params_options
from benchmarks.common.schema import check
from benchmarks.common.workspace import report_folder, split_file, tuning_folder
from benchmarks.config import BenchmarkConfig, load_config
from benchmarks.plan.grid import base_of, check_names, fold_of
from benchmarks.training.one import Place
from benchmarks.tune.budget import compare_budgets, write_budget
from benchmarks.tune.effect import with_effect
from benchmarks.tune.opening import basis_of, open_study
from benchmarks.tune.results import apply_best, best_words, write_results
from benchmarks.tune.sandbox import make_sandbox
from benchmarks.tune.space import space_of
from benchmarks.tune.study import Plan, run_study
from datasets.preparing.split import Fold, load_split

_CV = "cv"  # every patient is tested in one fold


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
        fold: to search in; None takes the grid's first.
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
    fold: int | None


def _shortened(config: BenchmarkConfig, dataset: str, iterations: int | None) -> BenchmarkConfig:
    if iterations is None:
        return config
    fields = config.model_dump(mode="json")
    fields["data"][dataset]["train"]["iterations"] = iterations
    return check(BenchmarkConfig, fields, where="--iterations")


def _check_methods(config: BenchmarkConfig, dataset: str, methods: tuple[str, ...]) -> None:
    for method in methods:
        check_names(config, dataset, method)
        if methods.count(method) > 1:
            raise ConfigError(f"'{method}' is named twice; each method is searched once")
        if "-" in method:
            raise ConfigError(f"'{method}' is a variant; tune the method '{base_of(method)}'")


def _fold(config: BenchmarkConfig, options: TuneOptions) -> int:
    allowed = config.grid.folds
    fold = allowed[0] if options.fold is None else options.fold
    if fold not in allowed:
        raise ConfigError(
            f"--fold {fold} is not in the grid of '{config.name}': allowed are"
            f" {', '.join(map(str, allowed))}"
        )
    return fold


def _study_name(config: BenchmarkConfig, dataset: str, labels: int, fold: int) -> str:
    """Names the fold, unless it is the first and tests whom all folds test."""
    named = fold or config.data[dataset].split.scheme == _CV
    return f"{config.name}-{dataset}-l{labels}" + f"-f{fold}" * bool(named)


def _refuse_tested(
    config: BenchmarkConfig, dataset: str, searched: Fold, root: Path, params: Path
) -> None:
    """Refuse values for a benchmark that tests patients by whom they were chosen.

    Args:
        config: of the benchmark that would get the values.
        dataset: id; a benchmark without it gets none.
        searched: whose training and validation patients choose.
        root: the checkout, with the split of the benchmark.
        params: the file that values are applied to.

    Raises:
        ConfigError: some of these patients are tested there, or its split is not known or has
            fewer folds than its grid.
    """
    if dataset not in config.grid.datasets:
        return
    path = split_file(root, config.name, dataset)
    if not path.is_file():
        raise ConfigError(
            f"--apply: whom '{config.name}' tests is not known, since there is no '{path}'. Make it"
            f" with `python -m benchmarks split {dataset} {params_options(params)}`, or leave"
            " --apply out"
        )
    split = load_split(path)
    tested = {who for number in config.grid.folds for who in fold_of(split, number).test}
    common = sorted(tested & {*searched.train, *searched.val})
    if common:
        raise ConfigError(
            f"--apply: '{config.name}' tests {len(common)} of the patients who choose these values"
            f" ({', '.join(common[:3])}{', ...' * (len(common) > 3)}). Leave --apply out, or use a"
            " benchmark that trains only folds which test none of them, by `grid: {folds: [...]}`"
        )


def _plans(
    config: BenchmarkConfig,
    dataset: str,
    methods: tuple[str, ...],
    options: TuneOptions,
    fold: int,
    say: Callable[[str], None],
) -> list[Plan]:
    """What is searched of every method."""
    plans, train = [], config.train_for(dataset)
    for method in methods:
        plan = Plan(
            config, dataset, method, options.labels, fold, options.seeds,
            tuple(space_of(method, options.parameters, train)), options.trials, options.timeout,
            options.jobs,
        )  # fmt: skip
        plans.append(with_effect(plan, given=bool(options.parameters), say=say))
    return plans


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
        BenchError: wrong names or ranges, data not prepared, a study that was begun with something
            else, or runs that failed.
    """
    config = _shortened(config, dataset, options.iterations)
    _check_methods(config, dataset, methods)
    fold = _fold(config, options)
    study_name = _study_name(config, dataset, options.labels, fold)
    sandbox = tuning_folder(root, study_name)
    lease = sandbox.with_name(f"{study_name}.lock")
    with waiting_for(lease):
        make_sandbox(config, dataset, root, sandbox, fold)
    searched = load_split(split_file(root, config.name, dataset)).folds[fold]
    if not searched.val:
        raise ConfigError(
            f"trials are compared on validation patients, and fold {fold} has none: set"
            f" data.{dataset}.split.val to 1 or more"
        )
    if options.apply is not None:
        for other in (config, load_config(options.apply)):
            _refuse_tested(other, dataset, searched, root, options.apply)
    budget = report_folder(root, "tuning") / study_name / "budget.csv"
    notes: list[str] = []
    plans = _plans(config, dataset, methods, options, fold, notes.append)
    compare_budgets(plans, budget, notes.append)
    studies = [  # all of them before one is searched, since each may be refused
        open_study(
            basis_of(plan, sandbox), name=f"{study_name}-{plan.method}",
            folder=sandbox / "studies" / plan.method, url=options.storage,
        )
        for plan in plans
    ]  # fmt: skip
    seconds = config.runtime.checkpoint_seconds
    place = Place(sandbox, options.device, checkpoint_seconds=seconds)
    files, found = list[Path](), []
    with Board() as board:
        for note in notes:
            board.say(note)
        for plan, opened in zip(plans, studies, strict=True):
            run_study(plan, place, opened.study, opened.sharing, board.say)
            files += write_results(opened.study, plan, budget.with_name(plan.method))
            board.say(best_words(opened.study, plan))
            found.append((plan, opened.study))
    files.append(write_budget(found, budget, lease))
    if options.apply is not None:
        for plan, study in found:
            apply_best(study, plan, options.apply, sandbox.with_name(".apply.lock"))
    return files
