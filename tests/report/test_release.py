"""Results as data: what is in the folder, that others' tools read it, and that it is the same."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import mlcroissant
import pandas as pd
import pytest

from benchmarks.common.errors import ConfigError, RunError
from benchmarks.common.files import write_json
from benchmarks.common.workspace import ROOT, split_file
from benchmarks.report.load import Source
from benchmarks.report.release import datasheet as sheet
from benchmarks.report.release import write_release
from benchmarks.report.release.croissant import FIELDS
from benchmarks.scoring.cases import COLUMNS
from datasets import load_dataset
from tests.report.made import make_config, use_made_datasets, write_external, write_scores


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    use_made_datasets(monkeypatch)
    monkeypatch.setattr(sheet, "load_dataset", lambda _: load_dataset("phantom_acdc"))
    config = make_config()
    write_scores(tmp_path, config)
    write_external(tmp_path, config, [0])
    shutil.copyfile(ROOT / "CITATION.cff", tmp_path / "CITATION.cff")
    write_json(split_file(tmp_path, "tiny", "heart"), {"folds": []})
    return tmp_path


def test_a_release_is_complete_checked_and_the_same_when_made_again(root: Path) -> None:
    config, out = make_config(), root / "out/tiny"
    written = write_release(config, out, Source(root))
    names = {path.relative_to(out).as_posix() for path in written}
    assert names == {
        "cases.csv", "table.csv", "runs.csv", "external.csv", "splits/heart.json", "params.yaml",
        "provenance.json", "DATASHEET.md", "croissant.json", "SHA256SUMS",
    }  # fmt: skip
    sums = dict(line.split("  ")[::-1] for line in (out / "SHA256SUMS").read_text().splitlines())
    assert sums == {
        name: hashlib.sha256((out / name).read_bytes()).hexdigest()
        for name in names - {"SHA256SUMS"}
    }
    assert json.loads((out / "provenance.json").read_text())["code"]["supervised"] == ["c0de"]
    text = (out / "DATASHEET.md").read_text()
    assert "`mean_teacher`: Mean Teacher" in text and "my_net (external)" in text
    assert "14 runs" in text and "nothing about patients" in text
    assert load_dataset("phantom_acdc").licence in text

    before = {path: path.read_bytes() for path in written}
    assert {path: path.read_bytes() for path in write_release(config, out, Source(root))} == before


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph")
def test_croissant_reads_every_row_of_the_scores(root: Path) -> None:
    """MLCommons' own reader finds no error, and the rows of the file."""
    out = root / "out"
    write_release(make_config(), out, Source(root))
    assert list(FIELDS) == list(COLUMNS)
    found = mlcroissant.Dataset(jsonld=out / "croissant.json")
    assert found.metadata.issues.errors == set()
    assert {file.id for file in found.metadata.distribution} == {
        "cases.csv", "table.csv", "runs.csv", "external.csv", "splits/heart.json", "params.yaml",
        "provenance.json", "DATASHEET.md",
    }  # fmt: skip
    cases = pd.read_csv(out / "cases.csv")
    rows = list(found.records("cases"))
    assert len(rows) == len(cases)
    for name in ("dice", "labels", "ref_voxels"):
        assert [row[f"cases/{name}"] for row in rows] == cases[name].tolist()


def test_what_cannot_be_released_is_refused(root: Path) -> None:
    config = make_config()
    (root / "notes").mkdir()
    (root / "notes/mine.txt").write_text("kept")
    with pytest.raises(ConfigError, match="name a folder that is new"):
        write_release(config, root / "notes", Source(root))
    assert (root / "notes/mine.txt").read_text() == "kept"
    out = root / "public"
    write_release(config, out, Source(root))
    (out / ".git").mkdir()
    (out / ".git/HEAD").write_text("kept")
    with pytest.raises(ConfigError, match=r"no part of a release \(\.git, \.git/HEAD\)"):
        write_release(config, out, Source(root))
    assert (out / ".git/HEAD").read_text() == "kept"
    split_file(root, "tiny", "heart").unlink()
    with pytest.raises(RunError, match="benchmarks split heart"):
        write_release(config, root / "out", Source(root))
    assert not (root / "out").exists()
