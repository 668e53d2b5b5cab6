"""What a run costs beside its steps, at as many runs as `RUNS` says (1,000 take ten minutes)."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.common.files import write_text
from benchmarks.engine.trainer import Trainer
from benchmarks.plan.record import finished
from benchmarks.plan.resolve import resolve
from benchmarks.report.tables import csv
from benchmarks.scoring import evaluate as scoring
from benchmarks.scoring import trained
from benchmarks.training import many, one
from benchmarks.training.one import Place
from tests.engine.small import build, make_config
from tests.speed.conftest import FOLDER

pytestmark = pytest.mark.speed
RUNS = int(os.environ.get("RUNS", "50"))
# Part by the function that does it.
TRAINING: dict[str, tuple[Any, str]] = {
    "networks, optimiser, streams": (Trainer, "__init__"),
    "last weights": (Trainer, "_finish"),
    "data and split": (one, "open_job"),
    "record": (one, "_write_record"),
    "steps": (Trainer, "step"),
    "validation": (Trainer, "_validate"),
}
SCORING: dict[str, tuple[Any, str]] = {
    "evaluate: opening": (scoring, "open_trained"),
    "evaluate: predicting": (trained.Trained, "probability"),
    "evaluate: scoring": (scoring, "_score"),
}


def timed(
    parts: dict[str, tuple[Any, str]], spent: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def clock(part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return work(*args, **options)
            finally:
                spent[part] += time.perf_counter() - started

        return call

    for part, (owner, name) in parts.items():
        monkeypatch.setattr(owner, name, clock(part, getattr(owner, name)))


def test_cost_of_a_run_beside_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most 0.3 s, validation included; the CPU presets' network, two images a step."""
    config = make_config(
        iterations=1, validations=1, network={"kind": "unet", "channels": [16, 32, 64, 128]}
    )
    grid = config.grid.model_copy(update={"seeds": tuple(range(RUNS))})
    config = config.model_copy(update={"grid": grid})
    build(tmp_path, config)
    place, spent = Place(tmp_path, "cpu"), defaultdict[str, float](float)
    many.train_runs(resolve(config, "phantom_acdc", "egcl_net", tmp_path)[:1], place, jobs=1)
    timed({**TRAINING, **SCORING}, spent, monkeypatch)
    started = time.perf_counter()
    runs = resolve(config, "phantom_acdc", "egcl_net", tmp_path)
    assert sum(finished(run, tmp_path) for run in runs) == 1
    spent["plan, and look for finished runs"] += time.perf_counter() - started
    started = time.perf_counter()
    assert many.train_runs(runs, place, jobs=1) == RUNS - 1
    whole = time.perf_counter() - started
    spent["rest of a run"] += whole - sum(spent[part] for part in TRAINING)
    started = time.perf_counter()
    scoring.evaluate(config, "phantom_acdc", "egcl_net", place)
    spent["evaluate: rest"] += time.perf_counter() - started - sum(spent[p] for p in SCORING)
    rows = [{"part": p, "ms": 1e3 * seconds / RUNS, "runs": RUNS} for p, seconds in spent.items()]
    write_text(FOLDER / "overhead.csv", csv(pd.DataFrame(rows), decimals=1))
    assert (whole - spent["steps"]) / RUNS < 0.3
