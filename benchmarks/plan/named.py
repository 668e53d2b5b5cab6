"""Which parameter file of the checkout a name belongs to: runs, scores and reports lie under it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from benchmarks.common.errors import ConfigError
from benchmarks.common.workspace import PRESETS, params_files
from benchmarks.config import BenchmarkConfig, load_config
from benchmarks.plan.sweeps import sweep_name


def owner(name: str, root: Path) -> Path | None:
    """The parameter file of the checkout whose benchmark, or a sweep of it, has a name.

    Of several it is the preset in the folder of that name, else the first.
    """
    own = root / PRESETS / name / "params.yaml"
    for path in sorted(params_files(root), key=lambda file: file != own):
        with suppress(ConfigError):  # one that cannot be read has made nothing
            known = load_config(path)
            if name in {known.name, *(sweep_name(known, sweep) for sweep in known.sweeps)}:
                return path
    return None


def refuse_taken(config: BenchmarkConfig, file: Path, root: Path) -> None:
    """Refuse a benchmark that would write over what another one of the checkout has made.

    Args:
        config: the benchmark, or a sweep of it.
        file: its parameter file; a copy that differs in nothing may have the name.
        root: the checkout.

    Raises:
        ConfigError: names both files.
    """
    other = owner(config.name, root)
    if other is None or other.samefile(file) or load_config(other) == load_config(file):
        return
    raise ConfigError(
        f"'{file}' is named '{config.name}' as another benchmark, '{other}', whose splits, scores"
        f" and reports it would replace: change `name:` in '{file}'"
    )
