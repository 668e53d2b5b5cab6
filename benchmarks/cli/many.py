"""The commands for whole grids: `plan` and `launch`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.cli.options import (
    PARAMS,
    Datasets,
    Device,
    Labels,
    Methods,
    Params,
    Seeds,
    Sweep,
    example,
    params_file,
    part_of,
    place,
    read_config,
    refuse_document,
    say,
    show,
)  # fmt: skip
from benchmarks.common.errors import ConfigError, RunError
from benchmarks.common.pasting import params_options
from benchmarks.common.workspace import ROOT, params_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.config import BenchmarkConfig
    from benchmarks.launch.backend import Backend, Slots
    from benchmarks.plan.estimate import Estimate

app = typer.Typer(rich_markup_mode=None)


class On(StrEnum):
    """Where workers are."""

    local = "local"
    ray = "ray"
    slurm = "slurm"


@app.command(epilog=example("plan --params paper --datasets acdc --methods egcl_net,bcp"))
def plan(
    params: Params = PARAMS,
    sweep: Sweep = None,
    datasets: Datasets = None,
    methods: Methods = None,
    labels: Labels = None,
    seeds: Seeds = None,
    into: Annotated[
        Path | None, typer.Option(help="Only renew the table of all presets in this Markdown file.")
    ] = None,
) -> None:
    """Count the runs of a benchmark, their core hours and disk, before anything is trained."""
    from benchmarks.plan.restrict import restricted

    if into is not None:
        _renew_table(into)
        return
    config = read_config(params, sweep=sweep)
    _show_plan(restricted(config, part_of(config, datasets, methods, labels, seeds)))


@app.command(epilog=example("launch --params paper --on slurm --workers 8 --datasets acdc"))
def launch(
    params: Params = PARAMS,
    on: Annotated[
        On, typer.Option(help="This machine; Ray, here or at RAY_ADDRESS; jobs of SLURM.")
    ] = On.local,
    shard: Annotated[
        str | None,
        typer.Option(help="Only the i-th of n parts: i/n, for machines without a shared disk."),
    ] = None,
    sweep: Sweep = None,
    datasets: Datasets = None,
    methods: Methods = None,
    labels: Labels = None,
    seeds: Seeds = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Runs at once; default: all cores, cards or slots.")
    ] = None,
    per_card: Annotated[
        int | None,
        typer.Option(min=1, help="Runs at once on a GPU; default: as its memory allows, on Ray 1."),
    ] = None,
    job: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE of submitit, such as timeout_min=600, slurm_partition=gpu."),
    ] = None,
    device: Device = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the plan, of all shards.")
    ] = False,
) -> None:
    """Train a grid with many workers, here or on a cluster; give it twice and it helps itself.

    Finished runs are kept, those of other benchmarks that are the same are taken over, a killed
    worker costs the run it had, which the next one continues. `dvc repro` or `repro` afterwards
    find all runs done. Exit code 0: all are done.
    """
    from benchmarks.common.console import Board
    from benchmarks.common.device import refuse_unknown_device
    from benchmarks.launch.backend import Slots
    from benchmarks.launch.campaign import launch as do
    from benchmarks.launch.campaign import shard_of
    from benchmarks.pipeline import all_runs, make_ready
    from benchmarks.plan.estimate import by_cost
    from benchmarks.plan.restrict import Part, restricted
    from benchmarks.plan.shares import counted
    from benchmarks.training.shared import take_over

    config = read_config(params, sweep=sweep)
    part = part_of(config, datasets, methods, labels, seeds)
    config = restricted(config, part)
    if job and on is not On.slurm:
        raise ConfigError(f"--job '{job[0]}' is for the jobs of --on slurm, not of --on {on}")
    slots, own = Slots(workers, per_card, _pairs(job or [])), shard_of(shard)
    refuse_unknown_device(device, here=on is On.local)
    if dry_run:
        if shard:
            raise ConfigError(
                f"--dry-run with --shard '{shard}': which runs a shard has is known once the data"
                " are split. Leave --shard out for the plan of all shards, which are about equal;"
                " `python -m benchmarks plan` shows that of the whole grid"
            )
        _show_plan(config)
        return
    make_ready(config, ROOT)
    config = counted(config, ROOT)
    runs = by_cost(config, all_runs(config, ROOT))[own]
    with Board() as board:
        take_over(runs, ROOT, board.say)
        backend = _backend(on, slots)
        found = do(runs, backend, place(config, device), report=board.update, say=board.say)
    if found.failed or found.left:
        raise RunError(
            f"{len(found.failed)} runs failed and {len(found.left)} are left, for the reasons"
            " above; what is finished is kept, the same command does the rest"
        )
    options = params_options(params_file(params), sweep)
    say(_afterwards(config, options, shard=bool(shard), whole=not shard and part == Part()))


def _afterwards(config: BenchmarkConfig, options: str, *, shard: bool, whole: bool) -> str:
    """What has been done, and the command to give next.

    Args:
        config: of the runs that are done, in a part of the grid or in all of it.
        options: that name its parameter file and sweep.
        shard: whether other machines train the others.
        whole: whether all runs of the grid are done.
    """
    repro = f"`python -m benchmarks repro {options}`"
    if whole:
        return f"all done; next: {repro}"
    if shard:
        return f"this shard is done; next, with the runs of all shards in one `runs`: {repro}"
    scoring = " and ".join(
        f"`python -m benchmarks evaluate {dataset} --partial {options}`"
        for dataset in config.grid.datasets
    )
    table = f"`python -m benchmarks report --partial {options}`"
    return f"this part is done; next, for a table of it: {scoring}, then {table}"


def _backend(on: On, slots: Slots) -> Backend:
    from benchmarks.launch.local import Local
    from benchmarks.launch.ray import OnRay
    from benchmarks.launch.slurm import OnSlurm

    known: dict[On, Callable[[Slots], Backend]]
    known = {On.local: Local, On.ray: OnRay, On.slurm: OnSlurm}
    return known[on](slots)


def _pairs(given: list[str]) -> dict[str, str]:
    found = {}
    for text in given:
        key, sign, value = text.partition("=")
        if not sign:
            raise ConfigError(f"--job '{text}': give KEY=VALUE, such as timeout_min=600")
        found[key] = value
    return found


def _show_plan(config: BenchmarkConfig) -> None:
    from dataclasses import asdict
    from functools import partial

    from benchmarks.common.console import Board
    from benchmarks.plan.estimate import estimate

    with Board() as board:
        found = estimate(config, partial(board.update, f"plan {config.name}"))
    show([asdict(e) for e in found])
    for dataset in config.grid.datasets:
        say(f"{dataset}: {_total([e for e in found if e.dataset == dataset])}")
    say(f"{config.name}: {_total(found)}; hours of one core of this machine, not of a GPU")


def _total(cells: Sequence[Estimate]) -> str:
    """Sizes of some cells together."""
    runs, steps = sum(e.runs for e in cells), sum(e.runs * e.steps for e in cells)
    hours, disk = sum(e.hours for e in cells), sum(e.disk_gb for e in cells)
    return f"{runs} runs, {steps:,} steps, about {hours:,.1f} hours and {disk:,.1f} GB of weights"


def _renew_table(into: Path) -> None:
    """Write the sizes of all presets into a Markdown file."""
    from functools import partial

    from benchmarks.common.console import Board
    from benchmarks.plan.estimate import estimate, presets_table
    from benchmarks.report.cost import measured_hours
    from benchmarks.report.documents import embed_text

    refuse_document(into, "presets")
    rows, measured = [], dict[str, float]()
    with Board() as board:
        for path in params_files(ROOT):
            config = read_config(path)
            progress = partial(board.update, f"plan {config.name}")
            found = estimate(config, progress)
            rows.append((path.relative_to(ROOT).as_posix(), config, found))
            hours = measured_hours(ROOT, config.name, sum(e.runs for e in found))
            measured |= {config.name: hours} if hours is not None else {}
    embed_text(into, presets_table(rows, measured), name="presets")
