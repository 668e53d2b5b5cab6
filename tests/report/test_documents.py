"""What documents say is what was measured, and what they show runs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.common.errors import RunError
from benchmarks.config import BenchmarkConfig, load_config
from benchmarks.plan.sweeps import swept
from benchmarks.report import build_report
from benchmarks.report.documents import embed_report, embed_text, embedded, landing
from benchmarks.report.index import write_index
from tests.report.made import leave_figures_undrawn, make_config, use_made_datasets, write_scores

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PLACE = "before\n<!-- begin: tiny -->\nold\n<!-- end: tiny -->\nafter\n"


def all_configs() -> dict[str, BenchmarkConfig]:
    files = [ROOT / "params.yaml", *ROOT.glob("benchmarks/presets/*/params.yaml")]
    configs = [load_config(path) for path in files]
    configs += [swept(config, sweep) for config in configs for sweep in config.sweeps]
    return {config.name: config for config in configs}


def shown_in_readme() -> list[str]:
    names = re.findall(r"<!-- begin: (\w+) -->", README)
    return [name for name in names if name in all_configs()]


@pytest.mark.parametrize("name", shown_in_readme())
def test_tables_in_the_readme_are_the_generated_ones(name: str) -> None:
    try:
        text = landing(all_configs()[name], ROOT, link=f"reports/{name}")
    except RunError as error:
        # A preset may change before its rows are trained; the page says what was measured.
        assert re.search("no rows in the kept|not of the grid", str(error))
        pytest.skip(f"rows without results: python -m benchmarks repro --params {name}")
    assert embedded(README, text, name=name) == README, "run `make readme`"


def test_only_the_marked_part_is_replaced(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    document.write_text(PLACE)
    embed_text(document, "| a \\1 b |\n", name="tiny")
    once = "before\n<!-- begin: tiny -->\n| a \\1 b |\n<!-- end: tiny -->\nafter\n"
    assert document.read_text() == once
    embed_text(document, "| a \\1 b |\n", name="tiny")
    assert document.read_text() == once


def test_links_and_line_ends_stay(tmp_path: Path) -> None:
    target, link = tmp_path / "real/a.md", tmp_path / "a.md"
    target.parent.mkdir()
    target.write_bytes(PLACE.replace("\n", "\r\n").encode())
    link.symlink_to(target)
    embed_text(link, "new\nlines", name="tiny")
    assert link.is_symlink()
    expected = PLACE.replace("old", "new\nlines").replace("\n", "\r\n")
    assert target.read_bytes() == expected.encode()


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("nothing here\n", "no place for the table"),
        (PLACE.replace("<!-- end: tiny -->", ""), "no place for the table"),
        (f"{PLACE}{PLACE}", "'<!-- begin: tiny -->' 2 times"),
        ("<!-- begin: tiny -->\nkept\n" + PLACE, "'<!-- begin: tiny -->' 2 times"),
        (PLACE + "<!-- end: tiny -->", "'<!-- end: tiny -->' 2 times"),
        ("<!-- end: tiny -->\n<!-- begin: tiny -->\n", "before"),
    ],
)
def test_wrong_markers_are_refused_and_nothing_is_lost(
    tmp_path: Path, document: str, words: str
) -> None:
    path = tmp_path / "a.md"
    path.write_text(document)
    with pytest.raises(RunError, match=re.escape(words)):
        embed_text(path, "new", name="tiny")
    assert path.read_text() == document
    with pytest.raises(RunError, match="no file"):
        embed_text(tmp_path / "none.md", "new", name="tiny")


def test_landing_tables_are_short_and_lead_to_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_made_datasets(monkeypatch)
    config = make_config()
    write_scores(tmp_path, config)
    build_report(config, root=tmp_path)
    document = tmp_path / "docs/page.md"
    document.parent.mkdir()
    document.write_text(PLACE)
    embed_report(config, document, root=tmp_path)
    text = document.read_text()
    header = "| Method | Dice, % [95 %] | Difference, points [95 %] | Outcome |"
    assert text.count(header) == 2
    assert text.count("| pilot, 2 runs |") == 2 * 2
    assert text.count("| Mean Teacher |") == 2 and "†" not in text
    assert "[`tiny`](../reports/tiny/README.md)" in text
    contrast = {"name": "gain", "better": "mean_teacher", "than": "supervised"}
    claim = {"text": "teachers help", "contrasts": ["gain"]}
    claiming = make_config({"contrasts": [contrast], "claim": claim})
    embed_report(claiming, document, root=tmp_path)
    text = document.read_text()
    assert '"teachers help" is undecided' in text and header not in text


def test_what_intervals_of_folds_take_for_granted_is_told_with_its_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_figures_undrawn(monkeypatch)
    use_made_datasets(monkeypatch)
    rates = Path("reports/statistics/calibration.csv")
    (tmp_path / rates).parent.mkdir(parents=True)
    shutil.copy(ROOT / rates, tmp_path / rates)
    cells = pd.read_csv(ROOT / rates).set_index("scenario")["coverage"]
    held = round(100 * cells["10 folds at 96 pixels, results correlated by 0.1"])
    words = f"(were their results correlated by 0.1, {held} of 100 such intervals would hold)"
    data = {"heart": {"labels": [2], "split": {"scheme": "cv", "folds": 2}}}
    folds = make_config({"data": data}, seeds=[0, 1], folds=[0, 1], bound=True)
    for config, told in ((folds, True), (make_config(), False)):
        write_scores(tmp_path, config)
        build_report(config, root=tmp_path)
        assert (words in landing(config, tmp_path, link="x")) is told


def test_committed_index_names_every_benchmark(tmp_path: Path) -> None:
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    (tmp_path / "params.yaml").symlink_to(ROOT / "params.yaml")
    (tmp_path / "datasets").symlink_to(ROOT / "datasets")
    (tmp_path / "reports").mkdir()
    for path in (ROOT / "reports").iterdir():
        if path.name not in {"index.html", "README.md", "PITFALLS.md", "FINDINGS.md"}:
            (tmp_path / "reports" / path.name).symlink_to(path)
    for made in write_index(tmp_path):
        assert made.read_text() == (ROOT / "reports" / made.name).read_text()
    rows = re.findall(
        r"^\| \[`(\w+)`\]\((.+?)\)", (tmp_path / "reports/README.md").read_text(), re.M
    )
    assert {name for name, _ in rows} == {
        p.parent.name for p in (ROOT / "reports").glob("*/cases.csv")
    }
    assert all((ROOT / "reports" / link).is_file() for _, link in rows)


def test_links_of_pages_lead_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "reports").glob("**/README.md")]
    links = {page: re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()) for page in pages}
    assert links[pages[0]] and links[ROOT / "reports/ablation/README.md"]
    for page, targets in links.items():
        assert [t for t in targets if not (page.parent / t).exists()] == [], page


def test_commands_of_the_readme_exist() -> None:
    from typer.main import get_command

    from benchmarks.cli import app

    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    named = set(re.findall(r"python -m benchmarks (\w+)", README))
    assert named and named <= known


def test_a_document_that_is_no_utf_8_is_refused_and_kept(tmp_path: Path) -> None:
    document = tmp_path / "README.md"
    before = "Zürich\n<!-- begin: t -->\n<!-- end: t -->\n".encode("latin-1")
    document.write_bytes(before)
    with pytest.raises(RunError, match="is no UTF-8 text"):
        embed_text(document, "new", name="t")
    assert document.read_bytes() == before
