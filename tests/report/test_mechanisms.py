"""What a report makes of the ledgers: marks, verdicts, tables."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.common.errors import RunError
from benchmarks.common.files import write_json
from benchmarks.common.workspace import ROOT, split_file
from benchmarks.report import build_report
from benchmarks.report.load import Source
from benchmarks.report.mechanisms import share
from benchmarks.report.paper import Manuscript, write_manuscript
from benchmarks.report.release import datasheet as sheet
from benchmarks.report.release import write_release
from datasets import load_dataset
from tests.report.made import make_config, put, use_made_datasets, write_ledger, write_scores

RUNS = ["labels", "fold", "seed"]


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    use_made_datasets(monkeypatch)
    monkeypatch.setattr(sheet, "load_dataset", lambda _: load_dataset("phantom_acdc"))


def report(root: Path, **term: float) -> tuple[str, pd.DataFrame]:
    """The page and the differences, where Mean Teacher's term at 2 labelled patients is as told."""
    deciding = {"name": "gain", "better": "mean_teacher", "than": "supervised"}
    claim = {"text": "teachers help", "contrasts": ["gain"]}
    config = make_config({"contrasts": [deciding], "claim": claim}, seeds=[0, 1, 2, 3, 4])
    folder = write_scores(root, config, noise=0.02) / "heart/mean_teacher"
    runs = pd.read_csv(folder / "cases.csv")[RUNS].drop_duplicates()
    usual = pd.read_csv(folder / "mechanisms.csv")
    write_ledger(folder, runs, "mean_teacher", **term)
    changed = pd.read_csv(folder / "mechanisms.csv")
    both = [changed[changed["labels"] == 2], usual[usual["labels"] == 4]]
    put(pd.concat(both), folder / "mechanisms.csv")
    build_report(config, root=root)
    differences = pd.read_csv(root / "reports/tiny/differences.csv", keep_default_na=False)
    return (root / "reports/tiny/README.md").read_text(), differences


def outcomes(differences: pd.DataFrame) -> dict[int, set[tuple[str, str]]]:
    own = differences[differences["better"] == "mean_teacher"]
    return {
        int(str(labels)): set(zip(part["outcome"], part["reason"], strict=True))
        for labels, part in own.groupby("labels")
    }


def test_what_has_an_inert_term_is_not_tested_and_marked(tmp_path: Path) -> None:
    page, differences = report(tmp_path, gradient=0.0, relative=0.0)
    assert outcomes(differences) == {
        2: {("not tested", "term pull of mean_teacher inert")},
        4: {("better", "convergence not studied")},
    }
    top, _, rest = page.partition("**What came out.**")
    assert "2 labelled patients: Mean Teacher (term `pull`). Comparisons with such" in top
    assert rest.count(" ‡ |") == 1 and "| Mean Teacher † ‡ |" in rest
    assert "| not tested: term pull of Mean Teacher inert |" in rest
    assert 'Heart (synthetic phantom), 2 labelled: "teachers help" is undecided' in rest
    assert "| Mean Teacher | `pull` | 20 | 45 of 45 | 64 | 0 | -0.50 |  | inert |" in rest
    assert "| Mean Teacher | `pull` | 10 | 0 of 50 | 64 | 0.25 | -0.50 |  | at work |" in rest


def test_paper_tables_and_releases_know_the_ledger(tmp_path: Path) -> None:
    report(tmp_path, gradient=0.0, relative=0.0)
    config = make_config(seeds=[0, 1, 2, 3, 4])
    wanted = Manuscript(methods=("mean_teacher",), columns=("dice", "outcome"))
    write_manuscript(config, wanted, tmp_path / "out", Source(tmp_path))
    assert "not tested" in (tmp_path / "out/table.tex").read_text()
    write_json(split_file(tmp_path, "tiny", "heart"), {"folds": []})
    shutil.copyfile(ROOT / "CITATION.cff", tmp_path / "CITATION.cff")
    write_release(config, tmp_path / "public", Source(tmp_path))
    table = pd.read_csv(tmp_path / "public/table.csv")
    rows = table[(table["method"] == "mean_teacher") & (table["checkpoint"] == "last")]
    assert dict(zip(rows["labels"], rows["outcome"], strict=True))[2] == "not tested"


def test_a_faint_term_is_marked_and_tested(tmp_path: Path) -> None:
    page, differences = report(tmp_path, relative=0.009)
    tested = {("better", "convergence not studied")}
    assert outcomes(differences) == {2: tested, 4: tested}
    assert page.count(" ° |") == 1 and "‡ |" not in page
    assert "| 0.009 | -0.50 |  | faint |" in page
    assert "| Mean Teacher | teacher | 62.5 | 75.0 |" in page


def test_a_damaged_ledger_is_named(tmp_path: Path) -> None:
    config = make_config()
    path = write_scores(tmp_path, config) / "heart/supervised/mechanisms.csv"
    put(pd.DataFrame({"step": [1]}), path)
    with pytest.raises(RunError, match=r"heart/supervised/mechanisms.csv' has the columns"):
        build_report(config, root=tmp_path)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (1.0, "1"), (12.34, "12"), (0.000123, "0.00012")]
)
def test_ratios_have_two_digits(value: float, text: str) -> None:
    assert share(value) == text
