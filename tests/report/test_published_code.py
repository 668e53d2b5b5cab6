"""Facts on published code: every row leads to lines of a commit, and to the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.report.documents import embedded
from benchmarks.report.published_code import KINDS, Fact, published_code_table, read_facts

ROOT = Path(__file__).parents[2]
ROWS = read_facts(ROOT)
PLACE = re.compile(r"[\w./-]+\.(py|yaml|json|md|sh):(\d+)(-(\d+))?")


@pytest.mark.parametrize("fact", ROWS, ids=lambda f: f"{f.method}-{f.what}")
def test_every_fact_names_lines_of_a_commit(fact: Fact) -> None:
    assert re.fullmatch(r"[\w-]+/[\w.-]+", fact.repository)
    assert re.fullmatch(r"[0-9a-f]{40}", fact.commit)
    assert fact.what in KINDS and fact.method and fact.fact
    assert "|" not in fact.method + fact.fact + fact.effect
    for place in fact.where.split("; "):
        found = PLACE.fullmatch(place)
        assert found, place
        assert 1 <= int(found[2]) <= int(found[4] or found[2])


def test_one_commit_per_repository_and_no_fact_twice() -> None:
    assert len({(f.repository, f.commit) for f in ROWS}) == len({f.repository for f in ROWS})
    assert len({(f.repository, f.where, f.what) for f in ROWS}) == len(ROWS)
    assert {f.what for f in ROWS} == set(KINDS)


def test_page_holds_the_table_of_these_facts() -> None:
    page = (ROOT / "methods/README.md").read_text(encoding="utf-8")
    table = published_code_table(ROWS)
    assert embedded(page, table, name="published code") == page
    assert len(re.findall(r"^\| .* \| .*github\.com/", table, re.MULTILINE)) == len(ROWS)


def test_links_lead_to_the_lines() -> None:
    fact = Fact("M", "a/b", "0" * 40, "code/x.py:3; y.md:4-7", "selection", "f", "")
    base = f"https://github.com/a/b/blob/{'0' * 40}"
    assert fact.sources == f"[x.py:3]({base}/code/x.py#L3), [y.md:4-7]({base}/y.md#L4-L7)"
