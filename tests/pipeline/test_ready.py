"""Raw data that are not those of a benchmark are refused before anything is prepared."""

from __future__ import annotations

import subprocess
import sys
from copy import deepcopy
from functools import reduce
from operator import getitem
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks import pipeline
from benchmarks.cli import app
from benchmarks.common.errors import ConfigError, DataError, RunError
from benchmarks.common.files import write_json
from benchmarks.common.schema import check
from benchmarks.common.workspace import ROOT, prepared_folder, raw_folder
from benchmarks.config import BenchmarkConfig, load_config
from benchmarks.pipeline import make_ready, whole_benchmark
from benchmarks.training.one import Place
from tests.engine.small import make_config

PHANTOM = "phantom_acdc"


def test_a_phantom_of_another_benchmark_is_refused(tmp_path: Path) -> None:
    config = make_config()
    made = {"dataset": PHANTOM, "patients": 12, "seed": 0, "matrix": 32, "variation": 1.0}
    write_json(raw_folder(tmp_path, PHANTOM) / "phantom.json", made)
    with pytest.raises(DataError, match=r"generated with patients 12, not 6,.*fetch phantom_acdc`"):
        make_ready(config, tmp_path)
    for text in ("[]", "{", "3"):
        (raw_folder(tmp_path, PHANTOM) / "phantom.json").write_text(text)
        with pytest.raises(DataError, match=r"json' does not tell how .*fetch phantom_acdc`"):
            make_ready(config, tmp_path)
    value = config.model_dump(mode="json")
    value["data"][PHANTOM]["fetch"]["patients"] = -12
    with pytest.raises(ConfigError, match=r"fetch\.patients.*given -12"):
        make_ready(check(BenchmarkConfig, value), tmp_path)


def test_a_second_process_waits_until_the_data_are_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, done, waited = make_config(), list[object](), list[float]()
    lease = prepared_folder(tmp_path, config.name, "ready").with_suffix(".lock")
    text = (
        "import sys, pathlib; from benchmarks.common.lease import leased\n"
        "with leased(pathlib.Path(sys.argv[1])): print('held', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", text, str(lease)], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as holder:  # fmt: skip
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"

        def end(seconds: float) -> None:
            waited.append(seconds)
            assert not done
            holder.communicate("\n")

        monkeypatch.setattr("benchmarks.pipeline.time.sleep", end)
        monkeypatch.setattr(pipeline, "_make_ready", lambda *given: done.append(given))
        make_ready(config, tmp_path)
    assert len(waited) == len(done) == 1
    told = capsys.readouterr().err
    assert f"process {holder.pid}" in told and "waiting until the data are ready" in told


def test_prepared_data_do_not_need_their_raw_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may have been cleared away, or never been on this machine."""
    config, split = load_config(ROOT / "benchmarks/presets/ablation/params.yaml"), list[str]()
    monkeypatch.setattr(pipeline, "_is_prepared", lambda *_: True)
    monkeypatch.setattr(pipeline, "split_stage", lambda _, dataset, __: split.append(dataset))
    make_ready(config, tmp_path)
    assert split == ["acdc"]


def test_what_is_wrong_of_any_cell_is_refused_before_data_are_made(tmp_path: Path) -> None:
    value = make_config().model_dump(mode="json")
    for path, wrong, words in (
        (("methods", "mean_teacher", "weigth"), 1, r"methods\.mean_teacher\.weigth.*'weight'"),
        (("grid", "folds"), [0, 3], r"fold 3, but data\.phantom_acdc\.split\.folds is 1: .*to 4"),
        (("data", PHANTOM, "train", "iteratons"), 5, r"phantom_acdc\.train\.iteratons"),
        (("methods", "ad_mt", "copy_steps"), 6, r"ad_mt\.copy_steps is 6: .*a run has 6"),
    ):
        *way, last = path
        changed = deepcopy(value)
        reduce(getitem, way, changed)[last] = wrong
        with pytest.raises(ConfigError, match=words):
            make_ready(check(BenchmarkConfig, changed), tmp_path)
    place = Place(tmp_path, "cud")
    with pytest.raises(ConfigError, match="no device 'cud' here; allowed: auto, cpu"):
        whole_benchmark(make_config(), place, params=Path("params.yaml"))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (["--shard", "9/4"], "--shard '9/4'"),
        (["--device", "cud"], "no device 'cud' here"),
        (["--on", "slurm", "--device", "cud"], "no device 'cud'; allowed: .*cuda:<n>"),
    ],
)
def test_wrong_options_of_a_launch_are_refused_before_data_are_made(
    option: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.pipeline.make_ready", lambda *_: pytest.fail("prepares"))
    with pytest.raises(ConfigError, match=words):
        CliRunner().invoke(app, ["launch", *option], catch_exceptions=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        *(
            ([command, f"--{option}", text], rf"--{option} '{text}' names nothing.* unset variable")
            for command in ("plan", "repro", "launch")
            for option, text in (("datasets", ""), ("methods", " "), ("labels", ","), ("seeds", ""))
        ),
        (["launch", "--shard", ""], "--shard '': give a part"),
        (["repro", "--name", ""], "'name': .*given ''"),
    ],
)
def test_an_empty_option_is_not_the_whole_benchmark(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("benchmarks.pipeline.make_ready", "benchmarks.plan.estimate.estimate"):
        monkeypatch.setattr(name, lambda *_: pytest.fail("goes on"))
    with pytest.raises(ConfigError, match=said):
        CliRunner().invoke(app, words, catch_exceptions=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["datasets", "add", "--nnunet", "x", "--name", "y", "--patient", ""], "--patient ''"),
        (["predict", "acdc", "supervised", "--images", "x", "--out="], "--out ''"),
        (["predict", "acdc", "supervised", "--images", "", "--out", "x"], "--images ''"),
        (["report", "--out", " "], "--out ' '"),
        (["report", "--out", "x", "--methods", ","], "--methods ','"),
        (["report", "--out", "x", "--columns", ","], "--columns ','"),
        (["score", "acdc", "--masks", "x", "--name", "y", "--labels", ""], "--labels ''"),
        (["doctor", "--reproduce", "quick", "--cell", ""], "--cell ''"),
        (["statistics", "simulate", "--out", ""], "--out ''"),
        (["plan", "--params="], "--params ''"),
    ],
)
def test_no_command_takes_an_empty_value(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{said} names nothing, perhaps by an unset variable"):
        CliRunner().invoke(app, words, catch_exceptions=False)


@pytest.mark.parametrize("command", ["plan", "methods"])
def test_a_document_is_looked_at_before_its_tables_are_made(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("benchmarks.plan.estimate.estimate", "benchmarks.plan.cost.method_cost"):
        monkeypatch.setattr(name, lambda *_: pytest.fail("counts"))
    words = [command, "--into", str(tmp_path / "table.md")]
    for said in ("table.md': no such file", "no place for the table"):
        with pytest.raises(RunError, match=said):
            CliRunner().invoke(app, words, catch_exceptions=False)
        (tmp_path / "table.md").touch()


def test_open_data_that_are_not_there_name_the_download(tmp_path: Path) -> None:
    config = load_config(ROOT / "benchmarks/presets/ablation/params.yaml")
    with pytest.raises(DataError, match=r"no such folder[\s\S]*`python -m benchmarks fetch acdc`"):
        make_ready(config, tmp_path)
