"""Commands that answer what a case table says, what it could have said, and how often wrongly."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import Verbose, example, say, show
from benchmarks.cli.shown import show_comparison
from benchmarks.common.workspace import ROOT, report_folder

Cases = Annotated[Path, typer.Argument(help="A cases.csv, of this suite or in its columns.")]
Metric = Annotated[str, typer.Option(help="Column of scores, such as dice, nsd or hd95_mm.")]

app = typer.Typer(rich_markup_mode=None)
statistics_app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Error rates of the rule behind all verdicts."
)
app.add_typer(statistics_app, name="statistics")


@app.command(epilog=example("compare reports/acdc_cpu/cases.csv mean_teacher supervised"))
def compare(
    cases: Cases,
    better: Annotated[
        str,
        typer.Argument(help="Method that is judged; positive is better, but for distances."),
    ],
    than: Annotated[str, typer.Argument(help="Method that is subtracted.")],
    metric: Metric = "dice",
    verbose: Verbose = False,
) -> None:
    """Compare two methods of any case table by the rule of all tables and verdicts."""
    from benchmarks.statistics.files import compare_file

    found = compare_file(cases, better, than, metric=metric)
    show_comparison(found, verbose=verbose)


@app.command(epilog=example("power reports/acdc_cpu/cases.csv --effect 2"))
def power(
    cases: Cases,
    effect: Annotated[float, typer.Option(help="Wanted difference, in points or mm.")] = 2.0,
    metric: Metric = "dice",
    comparisons: Annotated[
        int | None,
        typer.Option(min=1, help="In the family of tests; default: as in the report beside it."),
    ] = None,
) -> None:
    """How many runs, folds and patients an effect needs, and what this table could have seen."""
    from benchmarks.statistics.files import power_file, power_notes, power_rows, table_rows

    found = power_file(cases, effect=effect, metric=metric, comparisons=comparisons)
    show(power_rows(found, metric=metric))
    for note in power_notes(found, metric=metric):
        say(f"- {note}")
    for cell in found:
        say(f"\n{cell.dataset} {cell.labels} {cell.checkpoint}: detectable by runs and patients")
        show(table_rows(cell, metric=metric))


@app.command(
    epilog=example("leak reports/covid19_official/cases.csv reports/covid19_cpu/cases.csv")
)
def leak(
    partition: Annotated[
        Path, typer.Argument(help="A cases.csv in which every case is a patient.")
    ],
    grouped: Annotated[Path, typer.Argument(help="That of folds which keep patients together.")],
) -> None:
    """What Dice gains where other cases of tested patients were trained on."""
    from benchmarks.report.leaks import HEADER, NOTE, leak_cells
    from benchmarks.statistics.leak import leak_effect

    rows = [
        {"method": part.method, **dict(zip(HEADER, leak_cells(part), strict=True))}
        for part in leak_effect(partition, grouped)
    ]
    show(rows)
    say(f"- {NOTE}")


@statistics_app.command(epilog=example("statistics simulate --benchmarks 500"))
def simulate(
    benchmarks: Annotated[int, typer.Option(min=10, help="Simulated per scenario.")] = 5000,
    out: Annotated[
        Path | None, typer.Option(help="Default: reports/statistics/calibration.csv.")
    ] = None,
) -> None:
    """Simulate benchmarks with known effects, and count how often the rule is wrong."""
    from benchmarks.common.console import Board
    from benchmarks.common.files import refuse_unwritable
    from benchmarks.report.documents import embed_text
    from benchmarks.report.tables import pipe_table
    from benchmarks.statistics.simulate import (
        CALIBRATION,
        OVERLAP_HEADER,
        overlap_rows,
        simulate_all,
        write_rates,
    )

    folder = report_folder(ROOT, "statistics")
    target = out or folder / CALIBRATION
    refuse_unwritable(target)
    with Board() as board:
        found = simulate_all(
            benchmarks,
            progress=lambda name, done, total: board.update("simulate", done, total, name),
        )
    write_rates(found, target)
    if out is None:
        table = pipe_table(OVERLAP_HEADER, overlap_rows(found))
        embed_text(folder / "README.md", table, name="overlap")
    say(f"open {target}")
