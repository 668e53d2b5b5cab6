"""What documents say is what was measured, and what they show runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.errors import RunError
from benchmarks.report.embed import embed_table, embedded

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", re.findall(r"<!-- begin: (\w+) -->", README))
def test_tables_in_the_readme_are_the_generated_ones(name: str) -> None:
    folder = ROOT / "reports" / name
    verdict = folder / "verdict.md"
    shown = verdict if verdict.is_file() else folder / "table.md"
    assert embedded(README, shown.read_text(), name=name) == README


def test_only_the_marked_part_is_replaced(tmp_path: Path) -> None:
    document, table = tmp_path / "a.md", tmp_path / "table.md"
    document.write_text("before\n<!-- begin: x -->\nold\n<!-- end: x -->\nafter\n")
    table.write_text("# Title\n\n| a \\ b |\n")
    embed_table(document, table, name="x")
    expected = "before\n<!-- begin: x -->\n### Title\n\n| a \\ b |\n<!-- end: x -->\nafter\n"
    assert document.read_text() == expected
    with pytest.raises(RunError, match="begin: y"):
        embed_table(document, table, name="y")
    with pytest.raises(RunError, match="no file"):
        embed_table(document, tmp_path / "none.md", name="x")


def test_links_of_the_readme_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert targets
    assert [t for t in targets if not (ROOT / t).exists()] == []


def test_commands_of_the_readme_exist() -> None:
    from typer.main import get_command

    from benchmarks.cli import app

    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    named = set(re.findall(r"python -m benchmarks (\w+)", README))
    assert named and named <= known
