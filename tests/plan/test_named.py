"""Runs, scores and reports lie under a benchmark's name, which belongs to one parameter file."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from benchmarks.cli.options import read_config
from benchmarks.common.errors import ConfigError

PRESETS = "benchmarks/presets"
KNOWN = ("methods_quick", "acdc_cpu")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = Path(__file__).parents[2]
    for name in KNOWN:
        (tmp_path / PRESETS / name).mkdir(parents=True)
        file = f"{PRESETS}/{name}/params.yaml"
        shutil.copy(root / file, tmp_path / file)
    monkeypatch.setattr("benchmarks.cli.options.ROOT", tmp_path)
    return tmp_path


def preset(checkout: Path, name: str) -> Path:
    return checkout / PRESETS / name / "params.yaml"


def write(file: Path, known: Path, **changes: object) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(yaml.safe_dump({**yaml.safe_load(known.read_text()), **changes}))


@pytest.mark.parametrize(
    ("name", "of", "file"),
    [
        ("methods_quick", "methods_quick", "my.yaml"),
        ("acdc_cpu_convergence", "acdc_cpu", "my.yaml"),  # a sweep
        ("methods_quick", "methods_quick", f"{PRESETS}/mine/params.yaml"),
    ],
)
def test_a_changed_copy_under_the_name_of_another_benchmark_is_refused(
    name: str, of: str, file: str, checkout: Path
) -> None:
    """Its splits and reports would replace committed ones."""
    mine, known = checkout / file, preset(checkout, "methods_quick")
    write(mine, known, name=name, question="Mine?")
    words = f"'{mine}' is named '{name}' as another benchmark, '{preset(checkout, of)}'"
    with pytest.raises(ConfigError, match=f"{re.escape(words)}.*change `name:` in '"):
        read_config(mine)


def test_a_copy_that_differs_in_nothing_has_the_name(checkout: Path) -> None:
    shutil.copy(preset(checkout, "methods_quick"), checkout / "copy.yaml")
    assert read_config(checkout / "copy.yaml").name == "methods_quick"


def test_a_preset_keeps_its_name_though_a_sweep_of_another_file_has_it(checkout: Path) -> None:
    known = preset(checkout, "methods_quick")
    sweeps = {"quick": {"methods": ["supervised"]}}
    write(checkout / "params.yaml", known, name="methods", sweeps=sweeps)
    assert read_config(known).name == "methods_quick"
    with pytest.raises(ConfigError, match="another benchmark"):
        read_config(checkout / "params.yaml", sweep="quick")
