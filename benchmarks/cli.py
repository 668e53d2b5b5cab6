"""Command line. Heavy imports stay inside the commands, so that `--help` is instant."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.commands.data import app as data_app
from benchmarks.errors import BenchError, ConfigError

if TYPE_CHECKING:
    from benchmarks.config import BenchmarkConfig

ROOT = Path(__file__).resolve().parents[1]
_out = Console(soft_wrap=True)

app = typer.Typer(
    help="EGCL-Bench: fair comparison of semi-supervised medical image segmentation.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Params = Annotated[Path, typer.Option("--params", help="Parameter file of the benchmark.")]
Dataset = Annotated[str, typer.Argument(help="Data set id; see `datasets`.")]
MethodId = Annotated[str, typer.Argument(help="Method id; see `methods`.")]
Raw = Annotated[Path | None, typer.Option(help="Raw data; default data/raw/<dataset>.")]
Sweep = Annotated[str | None, typer.Option(help="A sweep of the file, in place of its rows.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:<n>.")]
PARAMS = Path("params.yaml")
SHOWN = ("id", "year", "networks", "decoders", "parameters", "cost", "dimensions")
ABLATION = Path("benchmarks/presets/ablation/params.yaml")


def main() -> None:
    """Run a command; an expected error prints one clear message and exits with its code."""
    try:
        app()
    except BenchError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(130)


def _config(path: Path, dataset: str | None = None, *, sweep: str | None = None) -> BenchmarkConfig:
    from benchmarks.config import load_config
    from benchmarks.errors import nearest

    config = load_config(path)
    if dataset is not None and dataset not in config.data:
        raise ConfigError(f"no data set '{dataset}' in '{path}': {nearest(dataset, config.data)}")
    return config if sweep is None else config.swept(sweep)


def _example(command: str) -> str:
    return f"Example: python -m benchmarks {command}"


@app.command(epilog=_example("fetch phantom_acdc"))
def fetch(
    dataset: Dataset,
    params: Params = PARAMS,
    raw: Raw = None,
    mirror: Annotated[str | None, typer.Option(help="Address of a copy of the files.")] = None,
) -> None:
    """Download open data, generate a phantom, or say how to obtain data behind a login."""
    from benchmarks.stages import fetch_dataset

    target = fetch_dataset(_config(params), dataset, ROOT, raw=raw, mirror=mirror)
    _out.print(f"raw data: {target}", highlight=False)


@app.command(epilog=_example("prepare phantom_acdc"))
def prepare(
    dataset: Dataset,
    params: Params = PARAMS,
    raw: Raw = None,
    jobs: Annotated[int, typer.Option(min=1, help="Cases at once.")] = 2,
) -> None:
    """Read raw data, check every case and write memory-mapped arrays."""
    from benchmarks.grid import prepared_folder
    from benchmarks.stages import prepare_dataset

    config = _config(params, dataset)
    data = prepare_dataset(config, dataset, ROOT, raw=raw, jobs=jobs)
    target = prepared_folder(ROOT, config, dataset)
    _out.print(f"{len(data.cases)} cases: {target}", highlight=False)


@app.command(epilog=_example("split phantom_acdc"))
def split(dataset: Dataset, params: Params = PARAMS) -> None:
    """Divide patients into training, validation and test, and order the training patients."""
    from benchmarks.stages import split_dataset

    target = split_dataset(_config(params, dataset), dataset, ROOT)
    _out.print(f"split: {target}", highlight=False)


@app.command(epilog=_example("run phantom_acdc mean_teacher --seed 0"))
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
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs at once.")] = None,
    profile: Annotated[
        int | None, typer.Option(min=1, help="Only profile this number of steps.")
    ] = None,
) -> None:
    """Train the runs of one method on one data set; finished ones are kept, stopped ones resume."""
    from benchmarks.profiling import profile_run
    from benchmarks.resolve import chosen_runs, resolve
    from benchmarks.run import Place, run_cells

    if profile is not None:  # the profiler's own log is no news for a user
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    config = _config(params)
    chosen = chosen_runs(resolve(config, dataset, method, ROOT), config, (labels, fold, seed))
    if profile is not None:
        for line in profile_run(config, chosen[0], Place(ROOT, device), profile):
            _out.print(line, highlight=False)
        return
    run_cells(config, chosen, Place(ROOT, device), jobs=jobs)


@app.command(epilog=_example("diagnose phantom_acdc egcl_net"))
def diagnose(
    dataset: Dataset,
    method: MethodId,
    params: Params = PARAMS,
    labels: Annotated[int | None, typer.Option(help="Labelled patients; default: first.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed; default: first.")] = None,
    sweep: Sweep = None,
    device: Device = "auto",
) -> None:
    """Entropy, calibration and embeddings of one finished run, on validation patients."""
    from benchmarks.diagnose import diagnose as run_diagnose
    from benchmarks.resolve import chosen_runs, resolve
    from benchmarks.run import Place

    config = _config(params, sweep=sweep)
    chosen = chosen_runs(resolve(config, dataset, method, ROOT), config, (labels, None, seed))
    for path in run_diagnose(config, chosen[0], Place(ROOT, device)):
        _out.print(str(path), highlight=False)


@app.command(epilog=_example("predict acdc egcl_net --raw DIR --out masks"))
def predict(
    dataset: Dataset,
    method: MethodId,
    raw: Annotated[Path, typer.Option(help="Images in the raw layout of the data set.")],
    out: Annotated[Path, typer.Option(help="Folder of the masks.")],
    params: Params = PARAMS,
    labels: Annotated[int | None, typer.Option(help="Labelled patients; default: first.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed; default: first.")] = None,
    checkpoint: Annotated[str, typer.Option(help="last or best.")] = "last",
    device: Device = "auto",
) -> None:
    """Write the masks that a finished run gives a folder of images."""
    from benchmarks.predict import predict as run_predict
    from benchmarks.resolve import chosen_runs, resolve
    from benchmarks.run import Place

    if checkpoint not in {"last", "best"}:
        raise ConfigError(f"--checkpoint '{checkpoint}'; allowed: last, best")
    config = _config(params)
    chosen = chosen_runs(resolve(config, dataset, method, ROOT), config, (labels, None, seed))
    files = run_predict(config, chosen[0], Place(ROOT, device), raw, out, checkpoint=checkpoint)
    _out.print(f"{len(files)} masks: {out}", highlight=False)


@app.command(epilog=_example("evaluate phantom_acdc mean_teacher"))
def evaluate(
    dataset: Dataset, method: MethodId, params: Params = PARAMS, device: Device = "auto"
) -> None:
    """Score finished runs on the test patients, per case and class."""
    from benchmarks.evaluate import evaluate as run_evaluate
    from benchmarks.run import Place

    target = run_evaluate(_config(params), dataset, method, Place(ROOT, device))
    _out.print(f"scores: {target}", highlight=False)


@app.command(epilog=_example("report"))
def report(
    params: Params = PARAMS,
    into: Annotated[
        Path | None, typer.Option(help="Only copy the finished table into this Markdown file.")
    ] = None,
    sweep: Sweep = None,
) -> None:
    """Make tables and figures from the scores of the whole grid."""
    from benchmarks.report import build_report
    from benchmarks.report.embed import embed_table

    config = _config(params, sweep=sweep)
    if into is not None:
        source = "verdict.md" if config.claim else "table.md"
        embed_table(into, ROOT / "reports" / config.name / source, name=config.name)
        return
    for path in build_report(config, root=ROOT):
        _out.print(str(path), highlight=False)


@app.command(epilog=_example("ablate --sweep threshold"))
def ablate(
    params: Annotated[
        Path, typer.Option("--params", help="Parameter file of the benchmark.")
    ] = ABLATION,
    sweep: Sweep = None,
    device: Device = "auto",
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs at once.")] = None,
) -> None:
    """Prepare, train, evaluate and report all rows of an ablation; call again to resume."""
    from benchmarks.run import Place
    from benchmarks.stages import whole_benchmark

    config = _config(params, sweep=sweep)
    for path in whole_benchmark(config, Place(ROOT, device), jobs=jobs):
        _out.print(str(path), highlight=False)


@app.command(epilog=_example("compare reports/acdc_cpu/cases.csv mean_teacher supervised"))
def compare(
    cases: Annotated[Path, typer.Argument(help="A cases.csv, of this suite or in its columns.")],
    better: Annotated[str, typer.Argument(help="Method whose score counts positive.")],
    than: Annotated[str, typer.Argument(help="Method that is subtracted.")],
    metric: Annotated[str, typer.Option(help="Column of scores; more is better.")] = "dice",
) -> None:
    """Compare two methods on any case table: tests, intervals, equivalence."""
    from benchmarks.statistics.commands import compare_file

    _show(compare_file(cases, better, than, metric=metric), as_json=False)


@app.command(epilog=_example("tune acdc egcl_net ua_mt --labels 7 --trials 30"))
def tune(
    dataset: Dataset,
    methods: Annotated[list[str], typer.Argument(help="Methods; each gets the same budget.")],
    labels: Annotated[int, typer.Option(min=1, help="Labelled patients.")],
    params: Params = PARAMS,
    trials: Annotated[int, typer.Option(min=1, help="Trials per method.")] = 30,
    seeds: Annotated[str, typer.Option(help="Runs of every trial.")] = "0,1",
    iterations: Annotated[int | None, typer.Option(min=1, help="Of every run.")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option(help="NAME=LOW:HIGH[:log], in place of the declared.")
    ] = None,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds per method.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs at once; 1 allows pruning.")] = None,
    storage: Annotated[str | None, typer.Option(help="Database URL, for several machines.")] = None,
    apply: Annotated[Path | None, typer.Option(help="Params file that takes the values.")] = None,
    device: Device = "auto",
) -> None:
    """Search parameters on validation patients alone; call again to go on."""
    from benchmarks.commands.tuning import TuneOptions
    from benchmarks.commands.tuning import tune as search

    try:
        chosen = tuple(int(seed) for seed in seeds.split(","))
    except ValueError:
        raise ConfigError(f"--seeds '{seeds}': give whole numbers such as 0,1") from None
    options = TuneOptions(
        labels, trials, chosen, iterations, tuple(parameter or ()), timeout, jobs, storage, apply,
        device,
    )  # fmt: skip
    for path in search(_config(params, dataset), dataset, tuple(methods), options, ROOT):
        _out.print(str(path), highlight=False)


@app.command(epilog=_example("methods --json"))
def methods(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    into: Annotated[
        Path | None, typer.Option(help="Only renew the table inside this Markdown file.")
    ] = None,
) -> None:
    """List the methods with size and cost, counted on a small step."""
    from dataclasses import asdict

    from benchmarks.census import markdown, take_census
    from benchmarks.report.embed import embed_text
    from methods import method_ids

    rows = [take_census(name) for name in method_ids()]
    if into is not None:
        embed_text(into, markdown(rows), name="methods")
        return
    counted = [asdict(row) for row in rows]
    _show(
        counted if as_json else [{k: v for k, v in r.items() if k in SHOWN} for r in counted],
        as_json=as_json,
    )


app.add_typer(data_app, name="datasets")


@app.command(epilog=_example("doctor"))
def doctor() -> None:
    """Print versions, devices, free disk and which raw data are here."""
    import shutil

    from benchmarks.device import environment, pick_device
    from datasets import dataset_ids

    facts = environment(str(pick_device("auto")))
    facts["free_disk_gb"] = shutil.disk_usage(ROOT).free // 10**9
    here = [name for name in dataset_ids() if (ROOT / "data" / "raw" / name).exists()]
    facts["raw_data"] = ", ".join(here) or "none; `python -m benchmarks fetch <dataset>`"
    _show([{"what": key, "value": value} for key, value in facts.items()], as_json=False)


def _show(rows: Sequence[Mapping[str, object]], *, as_json: bool) -> None:
    """Print rows as JSON or as a table."""
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    _out.print(table)


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, float):
        return f"{value:.2f}"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
