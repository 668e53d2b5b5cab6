"""Commands that look after the checkout: its state, repair and digests, one run trained anew."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import Device, example, place, read_config, say
from benchmarks.cli.remedies import pasteable
from benchmarks.common.errors import BenchError, ConfigError, RunError
from benchmarks.common.workspace import ROOT

app = typer.Typer(rich_markup_mode=None)


@app.command(epilog=example("doctor --params paper"))
def doctor(
    context: typer.Context,
    params: Annotated[
        Path | None,
        typer.Option("--params", help="Also: what this benchmark needs; its file or preset."),
    ] = None,
    device: Device = "auto",
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what killed commands left; asks before.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    reproduce: Annotated[
        Path | None,
        typer.Option(help="Train a run of this benchmark anew, compare it with what is committed."),
    ] = None,
    cell: Annotated[
        str, typer.Option(help="<dataset>/<method>/l<labels>-f<fold>-s<seed>; default: the first.")
    ] = "",
) -> None:
    """Look at versions, devices, data, disk and memory, and say what mends a problem; or mend.

    Exit code 2 tells that something is a problem.
    """
    if cell and reproduce is None:
        raise ConfigError(f"--cell '{cell}' names a run of --reproduce BENCHMARK: give both")
    if yes and not repair:
        raise ConfigError("--yes answers --repair: give both, or neither")
    if repair and (reproduce or params):
        raise ConfigError("--repair mends the whole checkout: leave out --params and --reproduce")
    if reproduce is not None:
        _reproduce(reproduce, cell, device)
        return
    if repair:
        _repair(yes=yes)
        return
    from functools import partial

    from benchmarks.checkup import of_benchmark, of_machine
    from benchmarks.common.console import Board
    from benchmarks.repair import find_repairs

    found = list(of_machine(ROOT))
    if params is not None:
        config = read_config(params)
        with Board() as board:
            progress = partial(board.update, f"plan {config.name}")
            needs = list(of_benchmark(config, ROOT, device, progress))
        found = [f for f in found if f.what not in {need.what for need in needs}] + needs
    command = context.find_root().command
    for finding in found:
        remedy = f" -> {finding.remedy}" if finding.remedy else ""
        text = f"{finding.verdict:8}{finding.what}: {finding.found}{remedy}"
        say(pasteable(text, command, sys.argv[1:]))
    if left := find_repairs(ROOT):
        say(f"note    left by kills: {len(left)} -> `python -m benchmarks doctor --repair`")
    if problems := sum(finding.verdict == "problem" for finding in found):
        raise RunError(f"problems, with what mends them, stand above: {problems}")


@app.command(hidden=True, epilog=example("index"))
def index() -> None:
    """Renew the list of all benchmarks, reports/README.md."""
    from benchmarks.report.index import write_index

    say(f"open {write_index(ROOT)[0]}")


@app.command(hidden=True, epilog=example("code"))
def code() -> None:
    """Write the digests of every stage's code, which the pipeline depends on."""
    from benchmarks.plan.identity import write_digests

    write_digests(ROOT)


def _repair(*, yes: bool) -> None:
    """List what can be mended, ask, and do it."""
    from benchmarks.repair import find_repairs

    found = find_repairs(ROOT)
    for repair in found:
        say(f"{repair.path.relative_to(ROOT)}: {repair.what}")
    if not found:
        say("nothing to mend")
    elif yes or typer.confirm(f"mend these {len(found)}?"):
        failed = []
        for repair in found:
            try:
                repair.mend()
            except (BenchError, OSError) as error:
                failed.append(f"{repair.path.relative_to(ROOT)}: {error}")
        say(f"{len(found) - len(failed)} mended")
        if failed:
            raise RunError(
                f"{len(failed)} could not be mended; see to what each says, then give the same"
                " command again:\n" + "\n".join(failed)
            )


def _reproduce(params: Path, cell: str, device: str) -> None:
    """Compare one run with what is committed."""
    from benchmarks.reproduce import reproduce

    config = read_config(params)
    found = reproduce(config, place(config, device), cell)
    for fact in found.facts:
        say(f"- {fact}")
    say(f"{found.run}: {found.verdict}")
    if found.verdict.startswith("different"):
        raise RunError(f"{found.run} does not come out as committed")
