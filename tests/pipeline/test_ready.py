"""Raw data that are not those of a benchmark are refused before anything is prepared."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import pipeline
from benchmarks.common.errors import ConfigError, DataError
from benchmarks.common.files import write_json
from benchmarks.common.schema import check
from benchmarks.common.workspace import ROOT, raw_folder
from benchmarks.config import BenchmarkConfig, load_config
from benchmarks.pipeline import make_ready
from tests.engine.small import make_config

PHANTOM = "phantom_acdc"


def test_a_phantom_of_another_benchmark_is_refused(tmp_path: Path) -> None:
    config = make_config()
    made = {"dataset": PHANTOM, "patients": 12, "seed": 0, "matrix": 32, "variation": 1.0}
    write_json(raw_folder(tmp_path, PHANTOM) / "phantom.json", made)
    with pytest.raises(DataError, match=r"generated with patients 12, not 6,.*fetch phantom_acdc`"):
        make_ready(config, tmp_path)
    value = config.model_dump(mode="json")
    value["data"][PHANTOM]["fetch"]["patients"] = -12
    with pytest.raises(ConfigError, match=r"fetch\.patients.*given -12"):
        make_ready(check(BenchmarkConfig, value), tmp_path)


def test_prepared_data_do_not_need_their_raw_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may have been cleared away, or never been on this machine."""
    config, split = load_config(ROOT / "benchmarks/presets/ablation/params.yaml"), list[str]()
    monkeypatch.setattr(pipeline, "_is_prepared", lambda *_: True)
    monkeypatch.setattr(pipeline, "split_stage", lambda _, dataset, __: split.append(dataset))
    make_ready(config, tmp_path)
    assert split == ["acdc"]


def test_open_data_that_are_not_there_name_the_download(tmp_path: Path) -> None:
    config = load_config(ROOT / "benchmarks/presets/ablation/params.yaml")
    with pytest.raises(DataError, match=r"no such folder[\s\S]*`python -m benchmarks fetch acdc`"):
        make_ready(config, tmp_path)
