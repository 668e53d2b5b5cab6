"""Break every method on purpose: the tests of its formulas or the contract must notice.

`make mutants` tries all mutants of all methods and writes reports/reliability/mutants.csv and the
summary beside it.
"""

from __future__ import annotations

import csv
import fcntl
from collections import Counter
from pathlib import Path

import pytest

from methods import method_ids
from tests.mutants.equivalent import EQUIVALENT
from tests.mutants.trial import SURVIVED, Mutant, formula_tests, killed_by, mutants_of
from tests.noting import FOLDER, replace_rows

# Edits of a method's text that are tried, evenly spread over it: a few minutes for all methods.
MOST_EDITS = 16
LEAST_KILLED = 0.95
TABLE, SUMMARY = FOLDER / "mutants.csv", FOLDER / "README.md"


@pytest.mark.parametrize(
    ("method", "broken"),
    [
        ("ugpcl", "heads cut from the network"),
        ("mean_teacher", "no update after the step"),
        ("ict", "noise for unlabelled images"),
    ],
)
def test_the_contract_alone_notices(method: str, broken: str) -> None:
    (mutant,) = [m for m in mutants_of(method, 0) if m.name == broken]
    assert killed_by(mutant, formulas=False).startswith("test_")


def test_formulas_notice_an_edit_and_nothing_else() -> None:
    assert killed_by(Mutant("ict", "nothing")) == SURVIVED
    found = {m.name: m for m in mutants_of("ict")}
    (edit,) = [name for name in found if "weight_at" in name]
    assert killed_by(found[edit]) == "test_ict_mixes_images_and_predictions_alike"
    assert [f.name for f in formula_tests("ict")] == ["test_consistency_methods.py"]


@pytest.mark.mutants
@pytest.mark.parametrize("method", method_ids())
def test_mutants_of_a_method_are_noticed(method: str) -> None:
    assert killed_by(Mutant(method, "nothing")) == SURVIVED, "fails as it is"
    rows = []
    for mutant in mutants_of(method, MOST_EDITS):
        reason = EQUIVALENT.get((method, mutant.name), "")
        killer = "" if reason else killed_by(mutant)
        assert "Traceback" not in killer, killer
        rows.append({
            "method": method, "mutant": mutant.name, "noticed by": killer, "equivalent": reason
        })  # fmt: skip
    with (FOLDER / ".mutants.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        replace_rows(TABLE, rows)
        SUMMARY.write_text(summary(), encoding="utf-8")
    Path(lock.name).unlink(missing_ok=True)


@pytest.mark.mutants
def test_nearly_all_mutants_were_noticed() -> None:
    """Of the committed table, or of that which this run has written."""
    counted = [row for row in read_table() if not row["equivalent"]]
    killed = sum(bool(row["noticed by"]) for row in counted)
    assert killed >= LEAST_KILLED * len(counted)


def read_table() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def summary() -> str:
    """Page of the folder, made from the tables."""
    rows = read_table()
    counted = [row for row in rows if not row["equivalent"]]
    killed = [row for row in counted if row["noticed by"]]
    lines = [
        "# Reliability",
        "",
        "What was broken on purpose, and what came of it. Made by the tests that did it.",
        "",
        "- `kills.csv`: runs killed at random moments (`make kill`).",
        "- `faults.csv`: what a user sees of full disks, damaged files, killed workers"
        " (`make faults`).",
        "- `mutants.csv`: methods broken on purpose, and the first test that noticed"
        " (`make mutants`).",
        "- `stops.csv`: commands, the moments at which each was stopped, signals sent and obeyed,"
        " the slowest end in seconds (`make chaos`).",
        "- `corruptions.csv`: damaged files by kind: refused, harmless, silently wrong, answered"
        " with a traceback (`make chaos`).",
        "- `chaos.csv`: whole benchmarks under random signals and kills: hangs, lost runs, changed"
        " bits (`make chaos`).",
        "",
        "## Mutants",
        "",
        f"{len(killed)} of {len(counted)} broken methods were noticed"
        f" ({100 * len(killed) / len(counted):.1f} %). Another {len(rows) - len(counted)} compute"
        " the same as the method, each for the reason given in the table.",
        "",
        "| method | mutants | noticed | equivalent | not noticed |",
        "|---|---:|---:|---:|---|",
    ]
    tried, same = (Counter(row["method"] for row in part) for part in (counted, rows))
    seen = Counter(row["method"] for row in killed)
    for method in sorted(same):
        missed = [
            f"`{row['mutant']}`"
            for row in counted
            if row["method"] == method and not row["noticed by"]
        ]
        numbers = f"{tried[method]} | {seen[method]} | {same[method] - tried[method]}"
        # A bar of a bitwise `or` would end the cell.
        lines.append(f"| {method} | {numbers} | {'; '.join(missed).replace('|', '/')} |")
    return "\n".join(lines) + "\n"
