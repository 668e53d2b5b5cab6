"""Tables for print show what was scored, fit the text, and choose rows without choosing results."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.common.errors import BenchError, ConfigError, RunError
from benchmarks.config import BenchmarkConfig
from benchmarks.report import build_report
from benchmarks.report.load import Source
from benchmarks.report.paper import COLUMNS, Manuscript, write_manuscript
from tests.report.made import (
    leave_figures_undrawn,
    make_config,
    put,
    use_made_datasets,
    write_external,
    write_scores,
)

ROOT = Path(__file__).parents[2]
LATEX = shutil.which("pdflatex")
PM = r"\ensuremath{\pm}"


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    use_made_datasets(monkeypatch)
    leave_figures_undrawn(monkeypatch)


def printed(root: Path, config: BenchmarkConfig, **wanted: Any) -> str:
    write_manuscript(config, Manuscript(**wanted), root / "out", Source(root))
    return (root / "out/table.tex").read_text()


def rows_of(text: str) -> list[list[str]]:
    lines = [line.removesuffix(r" \\") for line in text.splitlines() if " & " in line]
    return [[cell.strip() for cell in line.split(" & ")] for line in lines]


def test_chosen_rows_and_columns_hold_the_scores(tmp_path: Path) -> None:
    config = make_config()
    source = write_scores(tmp_path, config) / "heart/mean_teacher/cases.csv"
    wanted: dict[str, Any] = {"methods": ("mean_teacher", "full_supervised"), "spread": "sd"}
    wanted["columns"] = ("dice", "hd95", "nsd")
    text = printed(tmp_path, config, **wanted)
    head, units, *rows = rows_of(text)
    assert head == ["Method", "Dice", "HD95", "NSD"] and units == ["", r"\%", "mm", r"\%"]
    assert [row[0] for row in rows] == [
        r"Mean Teacher \ensuremath{\dagger}", "Full supervision (8 labelled)"
    ] * 2  # fmt: skip
    frame = pd.read_csv(source)
    last = frame[frame["checkpoint"] == "last"]
    numbers = pd.read_csv(tmp_path / "out/table.csv").set_index(["method", "labels", "column"])
    for labels, row in zip((2, 4), rows[::2], strict=True):
        patients = last[last["labels"] == labels].groupby("patient")["dice"].mean()
        assert row[1] == f"{100 * patients.mean():.1f} {PM} {100 * patients.std():.1f}"
        assert row[2] == f"4.5 {PM} 1.3"  # of 3, 4, 5, 6
        kept = numbers.loc[("mean_teacher", labels, "dice"), "mean"]
        assert kept == pytest.approx(patients.mean(), abs=1e-6)
    put(frame.assign(dice=0.5, jaccard=1 / 3), source)
    assert rows_of(printed(tmp_path, config, **wanted))[2][1] == f"50.0 {PM} 0.0"


def test_the_choice_of_rows_changes_no_result(tmp_path: Path) -> None:
    """Holm's correction counts every method of the benchmark, as in its report."""
    config = make_config(seeds=[0, 1, 2, 3, 4])
    write_scores(tmp_path, config, noise=0.2)
    build_report(config, root=tmp_path)
    table = pd.read_csv(tmp_path / "reports/tiny/table.csv", keep_default_na=False)
    chosen = table[(table["method"] == "mean_teacher") & (table["checkpoint"] == "last")]
    columns = ("difference", "p", "outcome")
    text = printed(tmp_path, config, methods=("mean_teacher",), columns=columns)
    for row, expected in zip(rows_of(text)[2:], chosen.to_dict("records"), strict=True):
        value = f"{100 * float(expected['difference']):+.1f}".replace("-", "$-$")
        assert row[1].split(" [")[0] == value
        p = float(expected["p_holm"])
        shown = r"\textless{} 0.001" if p < 0.001 else f"{p:.3f}"
        assert row[2:] == [shown, expected["outcome"]]
    assert "over 2 comparisons" in text


def test_only_chosen_methods_need_scores(tmp_path: Path) -> None:
    config = make_config()
    scores = write_scores(tmp_path, config)
    shutil.rmtree(scores / "heart/egcl_net-a5")
    assert "over 1 comparison." in printed(tmp_path, config, methods=("supervised", "mean_teacher"))
    # Rows that are not shown count as well.
    assert "over 1 comparison." in printed(tmp_path, config, methods=("supervised",))
    for methods in (("egcl_net-a5",), ()):
        with pytest.raises(RunError, match="heart x egcl_net-a5: no file"):
            printed(tmp_path, config, methods=methods)
    write_scores(tmp_path, config)
    wrong: list[tuple[dict[str, Any], type[BenchError], str]] = [
        ({"methods": ("mean_techer",)}, ConfigError, "did you mean 'mean_teacher'"),
        ({"columns": ("dise",)}, ConfigError, "did you mean 'dice'"),
        ({"columns": ("dice", "dice")}, ConfigError, "twice"),
    ]
    for wanted, error, words in wrong:
        with pytest.raises(error, match=words):
            printed(tmp_path, config, **wanted)


@pytest.mark.skipif(LATEX is None, reason="no pdflatex: apt-get install texlive-latex-recommended")
def test_tables_compile_and_fit_the_text(tmp_path: Path) -> None:
    """Usual and all columns, an external row and published figures, in a two-column article."""
    more = {"titles": {"egcl_net-a5": "groups & 50 % of_pixels"}}
    config = make_config(more, seeds=[0, 1, 2, 3, 4])
    write_scores(tmp_path, config, noise=0.2)
    write_external(tmp_path, config, [0])
    with (ROOT / "reports/published_results.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["dataset"] == "ACDC"]
    frame = pd.DataFrame(rows).assign(dataset="Heart(syntheticphantom)")
    frame["labelled"] = frame["labelled"].replace({"3": "2", "7": "4"})
    (tmp_path / "reports").mkdir()
    frame.to_csv(tmp_path / "reports/published_results.csv", index=False)
    folder = tmp_path / "out"
    wanted: list[dict[str, Any]] = [{}, {"columns": tuple(COLUMNS), "spread": "sd"}]
    for number, choice in enumerate(wanted):
        assert r"my\_net (external)" in printed(tmp_path, config, **choice)
        shutil.copy(folder / "table.tex", folder / f"table{number}.tex")
    published = (folder / "literature.tex").read_text()
    assert published.count(r"\begin{table*}") == 2 and "OPMatch" in published
    tables = "".join(rf"\input{{table{n}.tex}}" for n in range(len(wanted)))
    assert complaints(folder, tables) == []
    printed(tmp_path, config, style="slides")
    assert "{beamer}" in (folder / "example.tex").read_text()
    assert complaints(folder, r"\input{table.tex}") == []


def test_the_note_tells_looks_and_a_pilot(tmp_path: Path) -> None:
    config = make_config(seeds=[0, 1, 2, 3, 4], looks=3, pilot=True)
    write_scores(tmp_path, config)
    text = printed(tmp_path, config)
    assert "over 2 comparisons, times 12 for 3 looks at growing data." in text
    assert "5 runs: a pilot, without verdicts." in text
    usual = make_config(seeds=[0, 1, 2, 3, 4])
    assert not re.search("looks|pilot", printed(tmp_path, usual))


def complaints(folder: Path, tables: str) -> list[str]:
    """What LaTeX says against the example with these tables; the figures were left undrawn."""
    document = (folder / "example.tex").read_text().replace(r"\input{table.tex}", tables)
    document = re.sub(r"\\includegraphics.*", "", document)
    (folder / "example.tex").write_text(document)
    done = subprocess.run(
        [str(LATEX), "-interaction=nonstopmode", "-halt-on-error", "example.tex"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    return [w for w in done.stdout.splitlines() if re.search("Overfull|too large", w)]
