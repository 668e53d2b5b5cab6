"""Code that is edited while a command runs is neither trained nor scored under its new digest."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.common.errors import RunError
from benchmarks.plan.resolve import resolve
from benchmarks.scoring.evaluate import evaluate
from benchmarks.training.many import train_runs
from benchmarks.training.one import Place
from tests.engine.small import build, make_config


def edit(link: Path, line: str) -> None:
    """Put a longer copy of a file in place of the link that leads to it."""
    text = link.read_text()
    link.unlink()
    link.write_text(f"{text}\n{line}\n")


def test_code_edited_during_a_command_is_not_what_was_trained_or_scored(tmp_path: Path) -> None:
    config, place = make_config(iterations=2), Place(tmp_path, "cpu")
    build(tmp_path, config)
    (run,) = runs = resolve(config, "phantom_acdc", "supervised", tmp_path)
    code = tmp_path / "methods"
    checkout = code.resolve()
    code.unlink()
    code.mkdir()
    for path in checkout.iterdir():
        (code / path.name).symlink_to(path)
    with pytest.raises(RunError, match=rf"other code for supervised \({run.code}\).*\(0{{16}}\)"):
        train_runs([replace(run, code="0" * 16)], place)
    train_runs(runs, place)

    edit(tmp_path / "datasets/phantom_acdc.py", "CHANGED = 1")
    with pytest.raises(RunError, match=r"scores supervised on phantom_acdc .* was changed"):
        evaluate(config, "phantom_acdc", "supervised", place)

    edit(code / "supervised.py", "CHANGED = 1")
    shutil.rmtree(run.key.folder(tmp_path))
    (edited,) = resolve(config, "phantom_acdc", "supervised", tmp_path)
    assert edited.code != run.code
    with pytest.raises(RunError, match=rf"other code for supervised \({run.code}\)"):
        train_runs([edited], place)
    assert not run.key.folder(tmp_path).exists()
