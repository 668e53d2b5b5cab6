"""Break every method and block on purpose: tests of formulas or the contract must notice.

`make mutants` tries all mutants and writes reports/reliability/mutants.csv and the
summary beside it.
"""

from __future__ import annotations

import csv
import fcntl
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from methods import method_ids
from tests.mutants.equivalent import EQUIVALENT
from tests.mutants.trial import (
    ROOT,
    SURVIVED,
    Mutant,
    block_names,
    formula_tests,
    killed_by,
    mutants_of,
    mutants_of_block,
    text_mutants,
)
from tests.noting import FOLDER, replace_rows

# Edits of a text that are tried, evenly spread over it.
MOST_EDITS, MOST_OF_A_BLOCK = 16, 6
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
    assert [f.name for f in formula_tests("methods.ict")] == ["test_consistency_methods.py"]


def test_an_edit_of_a_block_reaches_who_has_imported_it() -> None:
    edit, *_ = mutants_of_block("recent")
    assert edit.block == "recent" and edit.method == "fixmatch"
    assert killed_by(edit).startswith("test_")
    text = (ROOT / "methods/blocks/recent.py").read_text(encoding="utf-8")
    assert killed_by(replace(edit, name="nothing", text=text), contract=False) == SURVIVED


@pytest.mark.mutants
@pytest.mark.parametrize("method", method_ids())
def test_mutants_of_a_method_are_noticed(method: str) -> None:
    assert killed_by(Mutant(method, "nothing")) == SURVIVED, "fails as it is"
    _note(method, mutants_of(method, MOST_EDITS))


@pytest.mark.mutants
@pytest.mark.parametrize("block", block_names())
def test_mutants_of_a_block_are_noticed(block: str) -> None:
    """Their names in the table begin with `blocks/`."""
    _note(f"blocks/{block}", mutants_of_block(block, MOST_OF_A_BLOCK))


def _note(broken: str, mutants: Sequence[Mutant]) -> None:
    """Try mutants, and put them in the place of the rows that the table has of the same."""
    rows = []
    for mutant in mutants:
        reason = EQUIVALENT.get((broken, mutant.name), "")
        killer = "" if reason else killed_by(mutant)
        assert "Traceback" not in killer, killer
        rows.append({
            "method": broken, "mutant": mutant.name, "noticed by": killer, "equivalent": reason
        })  # fmt: skip
    with (FOLDER / ".mutants.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        replace_rows(TABLE, rows)
        SUMMARY.write_text(summary(), encoding="utf-8")
    Path(lock.name).unlink(missing_ok=True)


def test_the_committed_table_is_of_the_present_code() -> None:
    """Else: `make mutants`, or `pytest tests/mutants -m mutants -k <method>` for one alone."""
    texts = {f"blocks/{b}": mutants_of_block(b, MOST_OF_A_BLOCK) for b in block_names()}
    texts |= {method: text_mutants(method, MOST_EDITS) for method in method_ids()}
    found = {(row["method"], row["mutant"]) for row in read_table()}
    missing = {(key, m.name) for key, mutants in texts.items() for m in mutants} - found
    assert missing == set()
    assert {method for method, _ in found} <= texts.keys()


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
        "- `mutants.csv`: methods and blocks broken on purpose, and the first test that noticed"
        " (`make mutants`).",
        "- `stops.csv`: commands, the moments at which each was stopped, signals sent and obeyed,"
        " the slowest end in seconds (`make chaos`).",
        "- `corruptions.csv`: damaged files by kind: refused, harmless, silently wrong, answered"
        " with a traceback (`make chaos`).",
        "- `chaos.csv`: whole benchmarks under random signals and kills: hangs, lost runs, changed"
        " bits (`make chaos`).",
        "- `reproduced.txt`: a committed run trained anew on another processor"
        " (`python -m benchmarks doctor --reproduce acdc_cpu`).",
        "",
        "## Mutants",
        "",
        f"{len(killed)} of {len(counted)} broken methods and blocks were noticed"
        f" ({100 * len(killed) / len(counted):.1f} %). Another {len(rows) - len(counted)} compute"
        " the same as the method, each for the reason given in the table.",
        "",
        "| method or block | mutants | noticed | equivalent | not noticed |",
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
