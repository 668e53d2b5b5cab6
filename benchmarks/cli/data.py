"""The commands `datasets`, `datasets check`, `datasets show` and `datasets add`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.cli.options import TrustHeader, read_config
from benchmarks.common.errors import DataError
from benchmarks.common.workspace import ROOT, contact_sheet_file, raw_folder

if TYPE_CHECKING:
    from datasets.base import Adapter, PrepareParams

Name = Annotated[str, typer.Argument(help="Data set id; see `datasets`.")]
Raw = Annotated[Path | None, typer.Option(help="Raw data; default data/raw/<dataset>.")]
Params = Annotated[
    Path | None, typer.Option("--params", help="Parameter file whose `prepare` block is used.")
]
Jobs = Annotated[int, typer.Option(min=1, help="Cases at once.")]

app = typer.Typer(rich_markup_mode=None)
_out = Console()


@app.callback(
    invoke_without_command=True, epilog="Example: python -m benchmarks datasets check acdc"
)
def datasets(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """List the data sets and whether their raw files are here; check, show or add one."""
    if context.invoked_subcommand is not None:
        return
    from datasets import dataset_ids, load_dataset

    rows = []
    for name in dataset_ids():
        adapter = load_dataset(name)
        here = raw_folder(ROOT, name).exists()
        rows.append((name, adapter.title, adapter.access, here, adapter.licence))
    keys = ("id", "title", "access", "raw", "licence")
    if as_json:
        _out.print_json(json.dumps([dict(zip(keys, row, strict=True)) for row in rows]))
        return
    _print(keys, [tuple(map(str, row)) for row in rows])


@app.command(epilog="Example: python -m benchmarks datasets check acdc")
def check(
    dataset: Name,
    params: Params = None,
    raw: Raw = None,
    jobs: Jobs = 2,
    trust_header: TrustHeader = False,
) -> None:
    """Read every case and print what is wrong or suspicious; exit code 2 if anything is wrong."""
    from benchmarks.common.console import Board
    from datasets.preparing.checks import check_raw

    adapter, options, folder = _opened(dataset, params, raw)
    if trust_header:
        options = options.model_copy(update={"trust_header": True})
    with Board() as board:
        found = check_raw(
            adapter,
            folder,
            options,
            jobs=jobs,
            progress=lambda done, total: board.update(f"check {dataset}", done, total),
        )
    if found:
        _print(("level", "case", "finding"), [(f.level, f.case, f.text) for f in found])
    errors = sum(f.level == "error" for f in found)
    _out.print(f"{dataset}: {errors} errors, {len(found) - errors} warnings", highlight=False)
    if errors:
        raise DataError(f"{dataset}: correct the errors above or leave these cases out")


@app.command(epilog="Example: python -m benchmarks datasets show acdc")
def show(dataset: Name, params: Params = None, raw: Raw = None, jobs: Jobs = 2) -> None:
    """Draw cases with their masks, class shares, voxel sizes and intensities."""
    from benchmarks.report.contact import contact_sheet

    adapter, options, folder = _opened(dataset, params, raw)
    # Pictures of real patients stay on this machine.
    target = contact_sheet_file(ROOT, dataset, synthetic=adapter.synthetic)
    target = contact_sheet(adapter, folder, options, target, jobs=jobs)
    _out.print(str(target), highlight=False)


@app.command(
    epilog="Example: python -m benchmarks datasets add --nnunet /data/Dataset004_Heart --name heart"
)
def add(
    nnunet: Annotated[Path, typer.Option(help="Raw folder in the layout of nnU-Net v2.")],
    name: Annotated[str, typer.Option(help="Id of the new data set.")],
    ndim: Annotated[
        int | None, typer.Option(min=2, max=3, help="2: slices, 3: volumes; default by file type.")
    ] = None,
    patient: Annotated[
        str, typer.Option(help="Regular expression; its group in a case's name is the patient.")
    ] = "",
    title: Annotated[str, typer.Option(help="Name in tables and figures.")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="In place of what was added under this name.")
    ] = False,
) -> None:
    """Make your own folder a data set: writes datasets/<name>.py and links data/raw/<name>."""
    from datasets.reading.adding import add_nnunet

    dimensions: Literal[2, 3] | None = None if ndim is None else (2 if ndim == 2 else 3)
    made = add_nnunet(
        nnunet, name, ROOT, ndim=dimensions, patient=patient, title=title, force=force
    )
    samples = "2D: slices" if made.ndim == 2 else "3D: volumes (--ndim 2 takes their slices)"
    _out.print(
        f"{made.cases} cases of {made.patients} patients, {made.labeled} with masks; {samples}\n"
        f"wrote {made.file}, linked {made.raw}\n"
        f"next: `python -m benchmarks datasets check {name}`, then put '{name}' into grid.datasets"
        f" of a params file, and this into it:\n\n{made.block}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


@app.command(epilog="Example: python -m benchmarks datasets remove heart")
def remove(dataset: Name) -> None:
    """Undo `datasets add`: the adapter and the link go; images, arrays and runs stay."""
    from datasets.reading.adding import remove_added

    for path in remove_added(dataset, ROOT):
        _out.print(f"removed {path}", highlight=False, markup=False, soft_wrap=True)


def _opened(
    dataset: str, params: Path | None, raw: Path | None
) -> tuple[Adapter[Any], PrepareParams, Path]:
    """The adapter, its `prepare` block and the raw folder."""
    from benchmarks.common.schema import check as checked
    from datasets import load_dataset

    adapter = load_dataset(dataset)
    block = read_config(params, dataset).data[dataset].prepare if params else {}
    options: PrepareParams = checked(adapter.Params, block, where=f"data.{dataset}.prepare")
    return adapter, options, raw or raw_folder(ROOT, dataset)


def _print(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    table = Table(*header, box=None)
    for row in rows:
        table.add_row(*row)
    _out.print(table)
