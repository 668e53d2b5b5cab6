"""Methods that the audit found without effect, as they were and as they are: terms and Dice.

The old commit trains them here on the patients, labelled subsets and seeds of `methods_cpu`, whose
committed tables are the other half. What is finished is kept in `data/before`.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
import yaml

from benchmarks.common.files import write_text
from benchmarks.config import load_config
from benchmarks.engine.ledger import probe_steps
from benchmarks.report.tables import csv
from benchmarks.statistics.mechanisms import judge_terms
from methods import load_method
from tests.before.page import write_page
from tests.old_commit import ROOT, check_out

pytestmark = pytest.mark.before
PRESET, DATASET = "methods_cpu", "acdc"
FILE = f"benchmarks/presets/{PRESET}/params.yaml"
CONFIG = load_config(ROOT / FILE)
FOLDS = CONFIG.grid.folds
FOLDER = ROOT / "reports/mended"
METHODS = (
    "supervised", "egcl_net", "dan", "cct", "ugpcl", "ad_mt", "u2pl", "ss_net", "urpc", "mc_net",
    "bcp", "dct",
)  # fmt: skip


def _settings(old: Path, fold: int) -> Path:
    """The old commit's own file of this benchmark, with the labels and one fold of the present."""
    now = yaml.safe_load((ROOT / FILE).read_text())
    settings = yaml.safe_load((old / FILE).read_text())
    settings["grid"] |= {"folds": [fold], "seeds": [fold]}
    settings["data"][DATASET] |= {key: now["data"][DATASET][key] for key in ("labels", "split")}
    path = old / f"fold{fold}.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def _call(old: Path, *words: str | Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, cwd=old, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def _ledger(old: Path, method: str, fold: int) -> Path:
    return old / f"{method}-{fold}.csv"


@pytest.fixture(scope="module")
def old() -> Path:
    """A checkout of the old commit in which all runs of the table are trained and scored."""
    if not (ROOT / "data/raw" / DATASET).is_dir():
        pytest.skip(f"no data/raw/{DATASET}: python -m benchmarks datasets show {DATASET}")
    old = check_out(ROOT / "data/before")
    (old / "data/raw").mkdir(parents=True, exist_ok=True)
    link = old / "data/raw" / DATASET
    if not link.exists():
        link.symlink_to((ROOT / "data/raw" / DATASET).resolve())
    files = [_settings(old, fold) for fold in FOLDS]
    for stage in ("prepare", "split"):
        _call(old, "-m", "benchmarks", stage, DATASET, "--params", files[0])
    steps = ",".join(map(str, probe_steps(CONFIG.train.iterations)))

    def train(cell: tuple[str, int]) -> None:
        method, fold = cell
        script, ledger = ROOT / "tests/before/old_run.py", _ledger(old, method, fold)
        _call(old, script, f"fold{fold}.yaml", DATASET, method, ledger, steps)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(train, product(METHODS, FOLDS)))
    return old


def _entries(old: Path) -> pd.DataFrame:
    """Ledgers of all old runs, their terms named auxiliary where the methods of today say so."""
    found = []
    for method, fold in product(METHODS, FOLDS):
        rows = pd.read_csv(_ledger(old, method, fold))
        auxiliary = rows["name"].isin(load_method(method).auxiliary)
        rows["kind"] = rows["kind"].mask(auxiliary, "auxiliary")
        cell = {"dataset": DATASET, "method": method, "labels": "all", "fold": fold, "seed": fold}
        found.append(rows.assign(**{name: str(value) for name, value in cell.items()}))
    return pd.concat(found)


def _scores(old: Path) -> pd.DataFrame:
    """Scores of all old runs, by the old commit's own evaluation."""
    found = []
    for method, fold in product(METHODS, FOLDS):
        kept = old / f"{method}-{fold}-cases.csv"
        trained = _ledger(old, method, fold).stat().st_mtime
        if not kept.is_file() or kept.stat().st_mtime < trained:
            params = f"fold{fold}.yaml"
            _call(old, "-m", "benchmarks", "evaluate", DATASET, method, "--params", params)
            shutil.copy(old / f"reports/{PRESET}/cases/{DATASET}-{method}.csv", kept)
        found.append(pd.read_csv(kept))
    return pd.concat(found)


def _dice(cases: pd.DataFrame) -> pd.Series[float]:
    """Mean of runs and patients, at the last checkpoint."""
    rows = cases[(cases["checkpoint"] == "last") & cases["variant"].isna()]
    patients = rows.groupby(["method", "seed", "patient"])["dice"].mean()
    return patients.groupby("method").mean()


def test_terms_without_effect_are_at_work_now_and_both_are_noted(old: Path) -> None:
    reports = ROOT / "reports" / PRESET
    summary = pd.read_csv(reports / "mechanisms.csv").fillna({"state": ""})
    judged = {
        "before": judge_terms(_entries(old)),
        "after": summary[summary["method"].isin(METHODS)],
    }
    columns = ["method", "name", "kind", "state", "probes", "silent", "relative", "value"]
    terms = pd.concat(
        rows[rows["kind"] != "observed"][columns].assign(code=code) for code, rows in judged.items()
    )
    dice = pd.DataFrame({
        "before": _dice(_scores(old)),
        "after": _dice(pd.read_csv(reports / "cases.csv")),
    }).loc[list(METHODS)]  # fmt: skip
    FOLDER.mkdir(exist_ok=True)
    write_text(FOLDER / "terms.csv", csv(terms))
    write_text(FOLDER / "dice.csv", csv(dice.reset_index()))
    write_page(FOLDER, runs=len(FOLDS))

    states = terms.set_index(["code", "method", "name"])["state"]
    values = terms.set_index(["code", "method", "name"])["value"]
    for method, name in (("dan", "adversarial"), ("cct", "consistency")):
        assert (states["before", method, name], states["after", method, name]) == ("faint", "")
    # A discriminator that cannot tell has the loss ln 2, here with its weight of that commit.
    assert values["before", "dan", "discriminator"] == pytest.approx(0.01 * math.log(2), rel=0.01)
    assert "inert" not in set(states["after"])
