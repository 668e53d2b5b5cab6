"""How a benchmark was made: commands, configuration, packages and digests, for its page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.common.files import digest, file_digest
from benchmarks.common.workspace import CASES, PRESETS
from benchmarks.config import BenchmarkConfig, load_config
from benchmarks.plan.excerpt import as_given, as_yaml
from benchmarks.report.checklist import open_pitfalls
from benchmarks.report.facts import Facts
from benchmarks.report.load import Source

_LOCK = "requirements.lock"
# Packages whose version may change a number.
_PACKAGES = (
    "torch", "numpy", "scipy", "monai", "segmentation-models-pytorch", "pandas", "nibabel",
)  # fmt: skip


def made_with(
    config: BenchmarkConfig, facts: Facts, runs: pd.DataFrame | None, source: Source
) -> dict[str, Any]:
    """Everything that makes the page again, JSON-ready.

    Args:
        config: the benchmark.
        facts: its methods.
        runs: identity of every run, or None where it was not recorded.
        source: of the scores.
    """
    return {
        "commands": _commands(config, source),
        "configuration": as_yaml(config),
        "packages": packages(source.root),
        "digests": {
            "configuration": digest(as_given(config)),
            CASES: file_digest(source.target(config.name) / CASES),
            **_file(source.root / _LOCK),
        },
        "open": open_pitfalls(config),
        "code": {} if runs is None else code_digests(facts, runs),
    }


def _commands(config: BenchmarkConfig, source: Source) -> list[tuple[str, str]]:
    """What is done, and by which command."""
    options = _options(config, source.params)
    commands = {
        "What it takes: runs, hours, disk": "plan",
        "All of it: train, score, report": "repro",
        "This page from finished scores": "report --partial" if source.partial else "report",
        **({} if source.partial else {"This page from the committed tables": "report --kept"}),
    }
    return [(words, f"python -m benchmarks {what}{options}") for words, what in commands.items()]


def _options(config: BenchmarkConfig, params: Path) -> str:
    preset = params.parent.name if params.parent.parent.name == PRESETS.name else params.name
    options = "" if preset == "params.yaml" else f" --params {preset}"
    own = load_config(params).name if params.is_file() else config.name
    sweep = config.name.removeprefix(f"{own}_") if own != config.name else ""
    return options + (f" --sweep {sweep}" if sweep else "")


def packages(root: Path) -> dict[str, str]:
    """Locked versions of the packages that numbers depend on; none where there is no lock."""
    path = root / _LOCK
    text = path.read_text("utf-8") if path.is_file() else ""
    found = {name: re.search(rf"^{name}==(\S+)", text, re.MULTILINE) for name in _PACKAGES}
    return {name: match[1] for name, match in found.items() if match}


def _file(path: Path) -> dict[str, str]:
    return {path.name: file_digest(path)} if path.is_file() else {}


def code_digests(facts: Facts, runs: pd.DataFrame) -> dict[str, list[str]]:
    """Digests of the code that trained each row; more than one: by different versions."""
    return {m.key: sorted(set(runs.loc[runs["method"] == m.key, "code"])) for m in facts.methods}
