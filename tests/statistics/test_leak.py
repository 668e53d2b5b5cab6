"""Cases whose patient was trained on, told from a partition and from folds that keep patients."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.common.errors import DataError
from benchmarks.statistics.leak import leak_effect

# Slices a to f; a, b and c are of one patient, of whom the partition tests a alone.
PATIENT = {"a": "p", "b": "p", "c": "p", "d": "d", "e": "e", "f": "f"}


def write(path: Path, dice: dict[str, list[float]], patient: dict[str, str]) -> Path:
    rows = [
        ("net", patient[case], case, seed, checkpoint, value if checkpoint == "last" else 0.0)
        for case, values in dice.items()
        for seed, value in enumerate(values)
        for checkpoint in ("last", "best")
    ]
    columns = ["method", "patient", "case", "seed", "checkpoint", "dice"]
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    return path


def test_leaking_cases_stand_apart_from_the_others(tmp_path: Path) -> None:
    alone = {case: case for case in PATIENT}
    there = write(
        tmp_path / "there.csv", {"a": [0.9, 0.8], "d": [0.6, 0.6], "e": [0.5, 0.7]}, alone
    )
    here = write(tmp_path / "here.csv", {c: [0.6 if c in "abc" else 0.5] for c in PATIENT}, PATIENT)
    leaks, others = leak_effect(there, here)
    assert (leaks.kind, leaks.cases, others.kind, others.cases) == ("trained on", 1, "never", 2)
    assert (leaks.there, leaks.grouped, leaks.gain) == pytest.approx((0.85, 0.6, 0.25))
    assert others.gain == pytest.approx(0.1)


def test_a_case_leaks_in_the_runs_alone_that_read_its_patient(tmp_path: Path) -> None:
    there = write(tmp_path / "there.csv", {"a": [0.9, 0.7], "d": [0.6, 0.6]}, {"a": "a", "d": "d"})
    frame = pd.read_csv(there).assign(fold=lambda rows: rows["seed"])
    frame.to_csv(there, index=False)
    here = write(tmp_path / "here.csv", {c: [0.6] for c in PATIENT}, PATIENT)
    found = leak_effect(there, here, read={("net", 0, 0): ["e", "b"], ("net", 0, 1): ["e"]})
    told = [(p.kind, p.cases, p.runs, round(p.gain, 6)) for p in found]
    assert told == [("trained on", 1, 1, 0.3), ("not in these runs", 1, 1, 0.1), ("never", 1, 2, 0)]


def test_labelled_counts_that_only_one_table_has_are_left_out(tmp_path: Path) -> None:
    there, here = tmp_path / "there.csv", tmp_path / "here.csv"
    for path, cases, counts in ((there, "ad", (3, 20)), (here, "abcdef", (3,))):
        frame = pd.read_csv(write(path, {case: [0.5] for case in cases}, PATIENT))
        parts = [frame.assign(labels=n, dice=frame["dice"] + (n == 20) * 0.4) for n in counts]
        pd.concat(parts).to_csv(path, index=False)
    assert [part.gain for part in leak_effect(there, here)] == [0, 0]


def test_tables_that_show_no_leak_are_refused(tmp_path: Path) -> None:
    here = write(tmp_path / "here.csv", {case: [0.5] for case in PATIENT}, PATIENT)
    clean = write(tmp_path / "clean.csv", {case: [0.5] for case in "def"}, PATIENT)
    with pytest.raises(DataError, match="share no case whose patient leaks"):
        leak_effect(clean, here)
