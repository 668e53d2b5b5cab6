"""A part of a benchmark as a benchmark of its own, in a parameter file of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from benchmarks.common.errors import ConfigError
from benchmarks.common.files import write_text
from benchmarks.common.schema import check
from benchmarks.config import ROW_BLOCKS, BenchmarkConfig
from benchmarks.plan.grid import base_of
from benchmarks.plan.named import owner
from benchmarks.plan.restrict import Part, restricted


def as_given(config: BenchmarkConfig) -> dict[str, Any]:
    """What a parameter file of a benchmark holds, JSON-ready; without its sweeps."""
    return config.model_dump(mode="json", exclude_unset=True, exclude={"sweeps"})


def as_yaml(config: BenchmarkConfig) -> str:
    """Text of a parameter file of a benchmark."""
    text: str = yaml.safe_dump(as_given(config), sort_keys=False, width=100, allow_unicode=True)
    return text


def excerpt(
    config: BenchmarkConfig, part: Part, *, name: str | None, iterations: int | None = None
) -> BenchmarkConfig:
    """A part of a grid with runs, scores and report of its own.

    Args:
        config: the whole.
        part: what is wanted of it.
        name: of the part; None is `<whole>_part`.
        iterations: of every run, on all data sets; None leaves them.

    Raises:
        ConfigError: something that the grid does not hold, or a name that cannot be used.
    """
    name = f"{config.name}_part" if name is None else name
    if name == config.name:
        raise ConfigError(f"--name '{name}' is that of the whole benchmark; choose another")
    given = as_given(restricted(config, part))
    fields = {key: value for key, value in given.items() if value not in ([], None)}
    compared = {m for c in fields.get("contrasts", ()) for m in (c["better"], c["than"])}
    rows = {*fields["grid"]["methods"], *compared}
    used = rows | {base_of(row) for row in rows}
    for block, wanted in (
        ("data", fields["grid"]["datasets"]),
        ("methods", used),
        ("titles", used),
        *((name, used) for name in ROW_BLOCKS),
    ):
        if block in fields:
            fields[block] = {key: v for key, v in fields[block].items() if key in wanted}
    fields["name"] = name
    fields["grid"].pop("looks", None)  # nobody has read a table of it
    fields["question"] = f"A part of {config.name}. {config.question}".strip()
    if iterations is not None:
        fields["train"]["iterations"] = iterations
        fields.pop("steps", None)
        for block in fields["data"].values():
            block.get("train", {}).pop("iterations", None)
    return check(BenchmarkConfig, fields)


def write_excerpt(part: BenchmarkConfig, folder: Path, root: Path) -> Path:
    """Write `<name>.yaml`, which all commands take as `--params`.

    Args:
        part: from `excerpt`.
        folder: of the file; the same part may be there already.
        root: the checkout, whose benchmarks and sweeps keep their names.

    Raises:
        ConfigError: another benchmark has the name.
    """
    target, text = folder / f"{part.name}.yaml", as_yaml(part)
    other = owner(part.name, root)
    if target.exists() and target.read_text(encoding="utf-8") != text:
        other = target
    if other is not None:
        raise ConfigError(f"'{other}' is another benchmark of that name; choose another --name")
    write_text(target, text)
    return target
