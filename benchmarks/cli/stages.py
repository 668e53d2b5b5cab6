"""The commands of the flow: fetch, prepare, split, run, evaluate, report, and all of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from benchmarks.cli.options import (
    PARAMS,
    Dataset,
    Datasets,
    Device,
    Jobs,
    Labels,
    MethodId,
    Methods,
    Params,
    Raw,
    Seeds,
    Sweep,
    TrustHeader,
    Verbose,
    chosen,
    example,
    params_file,
    part_of,
    pick_runs,
    place,
    read_config,
    say,
)  # fmt: skip
from benchmarks.cli.shown import show_report
from benchmarks.common.errors import ConfigError
from benchmarks.common.pasting import params_options
from benchmarks.common.workspace import ROOT, prepared_folder

app = typer.Typer(rich_markup_mode=None)


@app.command(epilog=example("fetch phantom_acdc"))
def fetch(
    dataset: Dataset,
    params: Params = PARAMS,
    raw: Raw = None,
    mirror: Annotated[str | None, typer.Option(help="Address of a copy of the files.")] = None,
) -> None:
    """Download open data, generate a phantom, or say how to obtain data behind a login."""
    from benchmarks.pipeline import fetch_stage

    target = fetch_stage(read_config(params), dataset, ROOT, raw=raw, mirror=mirror)
    say(f"raw data: {target}")


@app.command(epilog=example("prepare phantom_acdc"))
def prepare(
    dataset: Dataset,
    params: Params = PARAMS,
    raw: Raw = None,
    jobs: Annotated[int, typer.Option(min=1, help="Cases at once.")] = 2,
    trust_header: TrustHeader = False,
) -> None:
    """Read raw data, check every case and write memory-mapped arrays."""
    from benchmarks.pipeline import prepare_stage

    config = read_config(params, dataset)
    data = prepare_stage(config, dataset, ROOT, raw=raw, jobs=jobs, trust_header=trust_header)
    say(f"{len(data.cases)} cases: {prepared_folder(ROOT, config.name, dataset)}")


@app.command(epilog=example("split phantom_acdc"))
def split(dataset: Dataset, params: Params = PARAMS) -> None:
    """Divide patients into training, validation and test, and order the training patients."""
    from benchmarks.pipeline import split_stage
    from benchmarks.plan.shares import label_words
    from datasets.preparing.split import load_split
    from datasets.preparing.store import open_prepared

    config = read_config(params, dataset)
    made = split_stage(config, dataset, ROOT)
    say(f"split: {made}")
    data = open_prepared(prepared_folder(ROOT, config.name, dataset))
    for line in label_words(read_config(params, dataset), data, load_split(made)):
        say(line)


@app.command(epilog=example("run phantom_acdc mean_teacher --seed 0"))
def run(
    dataset: Dataset,
    method: MethodId,
    params: Params = PARAMS,
    labels: Annotated[
        int | None, typer.Option(help="Only this number of labelled patients.")
    ] = None,
    fold: Annotated[int | None, typer.Option(help="Only this fold.")] = None,
    seed: Annotated[int | None, typer.Option(help="Only this seed.")] = None,
    device: Device = "auto",
    jobs: Jobs = None,
    profile: Annotated[
        int | None, typer.Option(min=1, help="Only profile this number of steps.")
    ] = None,
) -> None:
    """Train the runs of one method on one data set; finished ones are kept, stopped ones resume."""
    config = read_config(params)
    runs = pick_runs(config, dataset, method, labels=labels, fold=fold, seed=seed)
    if profile is not None:
        # The profiler's own log is no news for a user.
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
        from benchmarks.training.profile import profile_run

        for line in profile_run(runs[0], place(config, device), profile):
            say(line)
        return
    from benchmarks.training.many import train_runs
    from benchmarks.training.shared import take_over

    take_over(runs, ROOT, say)
    train_runs(runs, place(config, device), jobs=jobs or config.runtime.fixed_jobs)


@app.command(epilog=example("evaluate phantom_acdc"))
def evaluate(
    dataset: Dataset,
    method: Annotated[
        str | None, typer.Argument(help="Default: all of the grid whose scores are not up to date.")
    ] = None,
    params: Params = PARAMS,
    device: Device = "auto",
    sweep: Sweep = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Those that are finished, also while others train.")
    ] = False,
) -> None:
    """Score finished runs on the test patients, per case and class."""
    from benchmarks.scoring import evaluate as scoring

    config = read_config(params, sweep=sweep)
    where = place(config, device)
    if method is None:
        say(f"scores: {scoring.evaluate_dataset(config, dataset, where, partial=partial)}")
    elif partial:
        raise ConfigError(f"--partial is of all methods: leave '{method}' out")
    else:
        say(f"scores: {scoring.evaluate(config, dataset, method, where)}")


@app.command(epilog=example("score acdc --masks DIR --name my_net --params acdc_cpu --labels 3"))
def score(
    dataset: Dataset,
    masks: Annotated[
        Path, typer.Option(help="<case>.nii.gz or .png, or an nnU-Net results folder.")
    ],
    name: Annotated[str, typer.Option(help="Of the row, such as my_net.")],
    params: Params = PARAMS,
    labels: Annotated[
        str, typer.Option(help="Labelled patients it was trained with, or all; default: the only.")
    ] = "",
    fold: Annotated[int | None, typer.Option(help="Default: first; cross-validation: all.")] = None,
    seed: Annotated[int | None, typer.Option(help="Run it stands beside; default: first.")] = None,
    split: Annotated[
        Path | None, typer.Option(help="On whom it was trained; such as splits_final.json.")
    ] = None,
    raw: Raw = None,
) -> None:
    """Score masks that another program predicted, for a row of their own in the next report."""
    from benchmarks.report.tables import plural
    from benchmarks.scoring.external import Prediction, score_external

    given = Prediction(name, masks, labels, fold, seed, split, raw)
    found = score_external(read_config(params, dataset), dataset, given, ROOT)
    for note in found.notes:
        say(f"- {note}")
    say(f"{name}: mean Dice {100 * found.dice:.1f} % over {plural(found.patients, 'patient')}")
    say(f"scores: {found.folder}; next: `python -m benchmarks report {params_options(params)}`")


@app.command(epilog=example("report --params acdc_cpu --kept"))
def report(
    params: Params = PARAMS,
    into: Annotated[
        Path | None, typer.Option(help="Only copy the finished table into this Markdown file.")
    ] = None,
    kept: Annotated[
        bool, typer.Option("--kept", help="From the committed cases.csv, without scores or runs.")
    ] = False,
    partial: Annotated[
        bool,
        typer.Option("--partial", help="Of the runs scored so far, into reports/partial."),
    ] = False,
    join: Annotated[bool, typer.Option("--join", help="Add runs to the committed report.")] = False,
    cost: Annotated[
        bool, typer.Option("--cost", help="Collect time and memory of the runs that are here.")
    ] = False,
    sweep: Sweep = None,
    out: Annotated[
        Path | None, typer.Option(help="Only write tables and figures for print into this folder.")
    ] = None,
    release: Annotated[
        Path | None, typer.Option(help="Only write the results as data to publish, here.")
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="With --out: rows, such as ua_mt,egcl_net.")
    ] = None,
    columns: Annotated[str | None, typer.Option(help="With --out: such as dice,hd95,nsd.")] = None,
    spread: Annotated[
        Literal["interval", "sd"] | None,
        typer.Option(help="With --out: beside every mean; default: interval."),
    ] = None,
    style: Annotated[
        Literal["paper", "slides"] | None,
        typer.Option(help="With --out: size of text and tables; default: paper."),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Make tables and figures from the scores of the whole grid, and say what came out."""
    from benchmarks.report import build_report
    from benchmarks.report.documents import embed_report
    from benchmarks.report.join import join_rows
    from benchmarks.report.load import Source

    config, file = read_config(params, sweep=sweep), params_file(params)
    if (partial or join) and (into or out or kept or release or partial is join):
        raise ConfigError(
            "--partial and --join go neither together nor with --into, --out, --kept, --release"
        )
    targets = {"--into": into, "--out": out, "--release": release}
    if len(given := [name for name, path in targets.items() if path is not None]) > 1:
        raise ConfigError(f"{' and '.join(given)} are written by calls of their own: give one")
    if out is None and (methods or columns or spread or style):
        raise ConfigError(
            "--methods, --columns, --spread and --style choose what is printed: name a folder by"
            " --out"
        )
    if into is not None:
        embed_report(config, into, root=ROOT)
        return
    source = Source(ROOT, file, kept)
    if release is not None:
        from benchmarks.report.release import write_release

        for path in write_release(config, release, source):
            say(f"wrote {path}")
        return
    if out is not None:
        from benchmarks.report.paper import Manuscript, write_manuscript

        shown = chosen("methods", methods), chosen("columns", columns)
        wanted = Manuscript(*shown, spread or "interval", style or "paper")
        for path in write_manuscript(config, wanted, out, source):
            say(f"wrote {path}")
        return
    if join:
        join_rows(config, source)
    kept = kept or join
    made = build_report(config, root=ROOT, params=file, kept=kept, partial=partial, cost=cost)
    show_report(made, verbose=verbose)


@app.command(epilog=example("repro --params paper --datasets acdc --seeds 0 --iterations 2000"))
def repro(
    params: Params = PARAMS,
    sweep: Sweep = None,
    datasets: Datasets = None,
    methods: Methods = None,
    labels: Labels = None,
    seeds: Seeds = None,
    iterations: Annotated[int | None, typer.Option(min=1, help="Of every run.")] = None,
    name: Annotated[
        str | None, typer.Option(help="Of a part with runs and report of its own; default: *_part.")
    ] = None,
    device: Device = "auto",
    jobs: Jobs = None,
    verbose: Verbose = False,
) -> None:
    """Do all of the above for a whole benchmark in one process; call again to continue.

    With one of --datasets to --name: for a part of it, as a benchmark of its own.
    """
    from benchmarks.pipeline import whole_benchmark
    from benchmarks.plan.excerpt import excerpt, write_excerpt
    from benchmarks.plan.restrict import Part

    config, file = read_config(params, sweep=sweep), params_file(params)
    part = part_of(config, datasets, methods, labels, seeds)
    if name is not None or iterations or part != Part():
        own = excerpt(config, part, name=name, iterations=iterations)
        file = write_excerpt(own, Path(), ROOT)
        config = read_config(file)
        say(f"wrote {file}: all other commands know this part by `{params_options(file)}`")
    made = whole_benchmark(config, place(config, device), params=file, jobs=jobs)
    show_report(made, verbose=verbose)
