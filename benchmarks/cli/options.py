"""Options that several commands share, and how a command prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.common.errors import ConfigError, RunError, nearest
from benchmarks.common.workspace import CHECKPOINTS, PRESETS, ROOT

if TYPE_CHECKING:
    from benchmarks.config import BenchmarkConfig
    from benchmarks.plan.resolve import Run
    from benchmarks.plan.restrict import Part
    from benchmarks.training.one import Place

PARAMS = Path("params.yaml")

Params = Annotated[
    Path, typer.Option("--params", help="Parameter file of the benchmark, or a preset's name.")
]
Dataset = Annotated[str, typer.Argument(help="Data set id; see `datasets`.")]
MethodId = Annotated[str, typer.Argument(help="Method id; see `methods`.")]
Raw = Annotated[Path | None, typer.Option(help="Raw data; default data/raw/<dataset>.")]
TrustHeader = Annotated[
    bool,
    typer.Option("--trust-header", help="Headers that contradict each other are only warnings."),
]
Sweep = Annotated[str | None, typer.Option(help="A sweep of the file, in place of its rows.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:<n>.")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Runs at once.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="All details and files.")]
OneLabels = Annotated[int | None, typer.Option(help="Labelled patients; default: first.")]
OneFold = Annotated[int | None, typer.Option(help="Fold; default: first.")]
OneSeed = Annotated[int | None, typer.Option(help="Seed; default: first.")]
Checkpoint = Annotated[str, typer.Option(help="last or best.")]


def _part(text: str, option: str) -> str:
    return f"Only these {text}, with commas: --{option} A,B."


Datasets = Annotated[str | None, typer.Option(help=_part("data sets", "datasets"))]
Methods = Annotated[str | None, typer.Option(help=_part("methods", "methods"))]
Labels = Annotated[str | None, typer.Option(help=_part("labelled counts", "labels"))]
Seeds = Annotated[str | None, typer.Option(help=_part("seeds", "seeds"))]

# Options whose own errors say what is allowed, of an empty value too.
_TELLING = ("--name", "--shard")
_out = Console(soft_wrap=True)


def example(command: str) -> str:
    """Last line of a command's help."""
    return f"Example: python -m benchmarks {command}"


def say(text: object) -> None:
    """Print a line as it is."""
    _out.print(str(text), highlight=False, markup=False)


def checked(checkpoint: str) -> str:
    """The name of a checkpoint; ConfigError for any other."""
    if checkpoint not in CHECKPOINTS:
        raise ConfigError(f"--checkpoint '{checkpoint}'; allowed: {', '.join(CHECKPOINTS)}")
    return checkpoint


def refuse_empty(given: Sequence[str]) -> None:
    """Refuse options with an empty value, which would be the default, or the folder '.'.

    Args:
        given: words of a command.

    Raises:
        ConfigError: names the option.
    """
    values = [(a, b) for a, b in pairwise(given) if a.startswith("--") and "=" not in a]
    values += [w.partition("=")[::2] for w in given if w.startswith("--") and "=" in w]
    for option, text in values:
        if not text.strip() and option not in _TELLING:
            raise ConfigError(f"{_empty(option, text)}; give a value, or leave {option} out")


def refuse_document(into: Path, *tables: str) -> None:
    """Refuse a Markdown file without a place for tables, before the work that makes them.

    Args:
        into: that --into names.
        tables: names of their markers.

    Raises:
        RunError: the file is missing or no UTF-8, or a marker is missing.
    """
    from benchmarks.report.documents import embedded, read_document

    if not into.is_file():
        raise RunError(f"--into '{into}': no such file; give a Markdown file that is there")
    text = read_document(into)
    for name in tables:
        embedded(text, "", name=name, where=str(into))


def part_of(
    config: BenchmarkConfig,
    datasets: str | None,
    methods: str | None,
    labels: str | None,
    seeds: str | None,
) -> Part:
    """The part of a grid that the options name, each with commas; None is all.

    Raises:
        ConfigError: an option that names nothing, a share of labels, or labels or seeds that are no
            numbers.
    """
    from benchmarks.plan.restrict import Part

    if labels is not None and "%" in labels:
        raise ConfigError(_no_shares(config, labels))
    numbers = _numbers("labels", labels), _numbers("seeds", seeds)
    return Part(chosen("datasets", datasets), chosen("methods", methods), *numbers)


def _no_shares(config: BenchmarkConfig, labels: str) -> str:
    """What is said of a share: the counts that can be given, and what tells those that cannot."""
    blocks = {dataset: config.data[dataset] for dataset in config.grid.datasets}
    known = sorted({n for block in blocks.values() for n in block.labels})
    numbers = f": {', '.join(map(str, known))}" if known else ""
    told = [
        f"; `python -m benchmarks split {dataset}` tells how many its shares are"
        for dataset, block in blocks.items()
        if any(share.patients is None for share in block.shares)
    ]
    return "".join(
        [f"--labels '{labels}': shares cannot be selected, give patients{numbers}", *told]
    )


def chosen(option: str, text: str | None) -> tuple[str, ...]:
    """What an option such as "a,b" names; () where it is None.

    Raises:
        ConfigError: it names nothing, which would be all.
    """
    found = tuple(name.strip() for name in (text or "").split(",") if name.strip())
    if text is not None and not found:
        raise ConfigError(f"{_empty(f'--{option}', text)}; leave --{option} out for all")
    return found


def _empty(option: str, text: str) -> str:
    return f"{option} '{text}' names nothing, perhaps by an unset variable of the shell"


def _numbers(option: str, text: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(name) for name in chosen(option, text))
    except ValueError:
        raise ConfigError(f"--{option} '{text}': give whole numbers such as 3,7") from None


def params_file(given: Path) -> Path:
    """The parameter file that is meant: a path, or the name of a preset or of `params.yaml`.

    Raises:
        ConfigError: there is neither.
    """
    if given.is_file():
        return given
    presets = _presets()
    if str(given) in presets:
        return presets[str(given)]
    raise ConfigError(
        f"no parameter file '{given}', and no preset of that name: {nearest(str(given), presets)}."
        f" The default is params.yaml in the checkout: cd {ROOT}"
    )


def _presets() -> dict[str, Path]:
    """Parameter files of the presets and of `params.yaml`, by name."""
    from benchmarks.config import load_config

    presets = {path.parent.name: path for path in (ROOT / PRESETS).glob("*/params.yaml")}
    default = ROOT / "params.yaml"
    with suppress(ConfigError):
        presets.setdefault(load_config(default).name, default)
    return presets


def presets_with(dataset: str) -> list[str]:
    """Presets that hold a data set, first the one whose name is most like its id."""
    from benchmarks.config import load_config

    held = []
    for name, path in sorted(_presets().items()):
        with suppress(ConfigError):
            held += [name] if dataset in load_config(path).data else []
    return get_close_matches(dataset, held, n=len(held) or 1, cutoff=0)


def read_config(
    params: Path, dataset: str | None = None, *, sweep: str | None = None
) -> BenchmarkConfig:
    """The benchmark of a parameter file or of one of its sweeps.

    Args:
        params: file or preset.
        dataset: must be a block of the file's `data`.
        sweep: name of a sweep, or None.

    Raises:
        ConfigError: file, data set or sweep is wrong, or another benchmark has the name.
    """
    from benchmarks.config import load_config
    from benchmarks.plan.named import refuse_taken
    from benchmarks.plan.shares import counted
    from benchmarks.plan.sweeps import swept

    file = params_file(params)
    config = load_config(file)
    if dataset is not None and dataset not in config.data:
        held = [f"--params {name}" for name in presets_with(dataset)]
        elsewhere = f"; '{dataset}' is in {', '.join(held)}" if held else ""
        raise ConfigError(
            f"no data set '{dataset}' in '{params}': {nearest(dataset, config.data)}{elsewhere}"
        )
    if sweep is not None:
        config = swept(config, sweep)
    refuse_taken(config, file, ROOT)
    return counted(config, ROOT)


def place(config: BenchmarkConfig, device: str) -> Place:
    """Where runs are made: in this checkout, on this device."""
    from benchmarks.training.one import Place

    return Place(ROOT, device, checkpoint_seconds=config.runtime.checkpoint_seconds)


def pick_runs(
    config: BenchmarkConfig,
    dataset: str,
    method: str,
    *,
    labels: int | None = None,
    fold: int | None = None,
    seed: int | None = None,
) -> list[Run]:
    """Runs of a stage with the wanted labelled count, fold and seed; None is any."""
    from benchmarks.plan.resolve import chosen_runs, resolve

    return chosen_runs(resolve(config, dataset, method, ROOT), config, (labels, fold, seed))


def show(rows: Sequence[Mapping[str, object]], *, as_json: bool = False) -> None:
    """Print rows as JSON or as a table."""
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return
    table = Table(box=None, padding=(0, 1, 0, 0))
    for number, name in enumerate(rows[0]):
        table.add_column(name, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    Console().print(table)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
