"""The texts of the pipeline: one for all benchmarks, resolved but not run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo  # type: ignore[import-untyped]
from dvc.stage import PipelineStage  # type: ignore[import-untyped]

from benchmarks.plan.identity import stage_digests

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # inside DVC

ROOT = Path(__file__).parents[2]
PRESETS = Path("benchmarks/presets")
TEXT = PRESETS / "pipeline.yaml"
DIGESTS = "data/code/digests.json"
NAMES = sorted(path.parent.name for path in (ROOT / PRESETS).glob("*/params.yaml"))
# What a preset's text has in other words than the root's.
IN_OTHER_WORDS = (
    ("    wdir: ../../..\n", ""),
    (" --params ${name}\n", "\n"),
    (f"{PRESETS}/${{name}}/params.yaml", "params.yaml"),
    ("- ../../../", "- "),
)


def _stages(text: str) -> str:
    return text[text.index("\nstages:\n") :]


def test_root_is_the_text_of_the_presets_in_other_words() -> None:
    text = _stages((ROOT / TEXT).read_text())
    for preset, root in IN_OTHER_WORDS:
        assert preset in text
        text = text.replace(preset, root)
    start, index, rest = _stages((ROOT / "dvc.yaml").read_text()).partition("  # The list of all")
    own, metrics, end = rest.partition("metrics:\n")
    assert start + metrics + end == text
    assert list(yaml.safe_load(f"stages:\n{index}{own}")["stages"]) == ["index"]


def test_every_preset_has_a_link_to_the_text_and_its_folders_name() -> None:
    assert set(NAMES) >= {
        "ablation", "acdc_cpu", "brats_cpu", "covid19_cpu", "methods_cpu", "methods_quick",
        "paper", "quick_ablation",
    }  # fmt: skip
    for name in NAMES:
        link = ROOT / PRESETS / name / "dvc.yaml"
        assert link.is_symlink() and link.readlink() == Path("../pipeline.yaml")
        assert yaml.safe_load((link.parent / "params.yaml").read_text())["name"] == name


def test_all_benchmarks_have_the_phantoms_that_the_root_describes() -> None:
    """Raw data are made once for all, from the root's parameters."""
    described = yaml.safe_load((ROOT / "params.yaml").read_text())["data"]
    made = yaml.safe_load((ROOT / "datasets/dvc.yaml").read_text())["stages"]["generate"]
    assert sorted(described) == made["matrix"]["dataset"]
    for name in NAMES:
        used = yaml.safe_load((ROOT / PRESETS / name / "params.yaml").read_text())["data"]
        for dataset in used.keys() & described.keys():
            assert used[dataset]["fetch"] == described[dataset]["fetch"], name


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """The texts and parameters alone, as DVC reads them."""
    root = tmp_path_factory.mktemp("texts")
    for name in ("dvc.yaml", "params.yaml", ".dvcignore", "benchmarks/dvc.yaml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    for name in ("datasets/dvc.yaml", f"{TEXT}"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    for name in NAMES:
        (root / PRESETS / name).mkdir()
        for file in ("dvc.yaml", "params.yaml"):
            path = PRESETS / name / file
            shutil.copy(ROOT / path, root / path, follow_symlinks=False)
    return Repo.init(str(root), no_scm=True)


@pytest.fixture(scope="module")
def stages(repo: Repo) -> dict[str, PipelineStage]:
    """By `<file>:<stage>`."""
    repo.index.check_graph()  # no output has two owners, and there is no cycle
    return {_address(stage): stage for stage in repo.index.stages}


def _address(stage: PipelineStage) -> str:
    return f"{Path(stage.path_in_repo).as_posix()}:{stage.name}"


# Stages with one run per data set.
SINGLE = ("prepare", "split", "evaluate")


def _text(name: str) -> str:
    return "dvc.yaml" if name == "quick" else f"{PRESETS}/{name}/dvc.yaml"


def _params(root: Path, name: str) -> Any:
    folder = root if name == "quick" else root / PRESETS / name
    return yaml.safe_load((folder / "params.yaml").read_text())


@pytest.mark.parametrize("name", ["quick", *NAMES])
def test_every_benchmark_resolves_to_all_its_stages(
    stages: dict[str, PipelineStage], name: str
) -> None:
    grid = _params(ROOT, name)["grid"]
    prefix = f"{_text(name)}:"
    own = {key for key in stages if key.startswith(prefix)}
    pairs = [f"{dataset}-{method}" for dataset in grid["datasets"] for method in grid["methods"]]
    assert own == {
        f"{prefix}{stage}"
        for stage in (
            *(f"{stage}@{d}" for stage in SINGLE for d in grid["datasets"]),
            *(f"run@{pair}" for pair in pairs),
            *(["report", "index"] if name == "quick" else ["report"]),
        )
    }
    own_file = "" if name == "quick" else f" --params {name}"
    assert stages[f"{prefix}report"].cmd == f"python -m benchmarks report{own_file}"
    pair = f"{grid['datasets'][0]} {grid['methods'][-1]}"
    run = stages[f"{prefix}run@{pair.replace(' ', '-')}"]
    assert run.cmd == f"python -m benchmarks run {pair}{own_file}"
    (out,) = run.outs
    assert Path(out.fs_path) == Path(run.repo.root_dir, "runs", name, *pair.split())


def test_every_parameter_that_a_stage_names_is_there(
    repo: Repo, stages: dict[str, PipelineStage]
) -> None:
    """DVC refuses to run a stage whose parameters are missing."""
    files: dict[str, Any] = {DIGESTS: stage_digests(ROOT)}
    for stage in stages.values():
        for file, keys in _named(stage).items():
            if file not in files:
                files[file] = yaml.safe_load((Path(repo.root_dir) / file).read_text())
            for key in keys:
                assert reduce(_step, key.split("."), files[file]) is not None, (stage, file, key)


def _step(value: Mapping[str, Any], key: str) -> Any:
    return value[key]


def _named(stage: PipelineStage) -> dict[str, list[str]]:
    """Keys by parameter file, relative to the checkout."""
    root = Path(stage.repo.root_dir)
    return {
        Path(dep.fs_path).relative_to(root).as_posix(): dep.params
        for dep in stage.deps
        if hasattr(dep, "params")
    }


def test_code_is_named_by_its_digest_and_by_no_file(stages: dict[str, PipelineStage]) -> None:
    run = stages["dvc.yaml:run@phantom_acdc-mean_teacher"]
    assert "run.mean_teacher" in _named(run)[DIGESTS]
    assert _named(stages[f"{PRESETS}/paper/dvc.yaml:run@acdc-mc_net-plus"])[DIGESTS] == [
        "run.mc_net-plus", "cells.paper.acdc", "implied.paper.mc_net-plus",
        "settings.paper.acdc.mc_net-plus",
    ]  # fmt: skip
    for stage in stages.values():
        assert not [dep.fs_path for dep in stage.deps if dep.fs_path.endswith(".py")]
        if stage.name.partition("@")[0] not in {"code", "fetch"}:
            assert DIGESTS in _named(stage), stage


def test_plain_repro_makes_the_phantoms_and_the_small_ablation(
    repo: Repo, stages: dict[str, PipelineStage]
) -> None:
    """Edges of the graph lead from a stage to what it needs."""
    waiting, names = [stages["dvc.yaml:index"]], set()
    while waiting:
        stage = waiting.pop()
        names.add(_address(stage))
        waiting += [s for s in repo.index.graph.successors(stage) if _address(s) not in names]
    assert names >= {
        "dvc.yaml:report", "dvc.yaml:run@phantom_brats2019-ua_mt", "benchmarks/dvc.yaml:code",
        "datasets/dvc.yaml:generate@phantom_acdc", f"{_text('quick_ablation')}:report",
        f"{_text('quick_ablation')}:run@phantom_acdc-egcl_net-a7",
    }  # fmt: skip
    assert not [name for name in names if "methods_quick" in name or "fetch@" in name]


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("runs/quick/acdc/ua_mt/l2-f0-s0/machine.json", True),
        ("reports/acdc_cpu/local/overlay-acdc.png", True),
        (DIGESTS, True),
        ("runs/quick/acdc/ua_mt/l2-f0-s0/run.json", False),
        ("reports/speed/machine.json", False),
        ("reports/quick/README.md", False),
        ("data/code/README.md", False),
    ],
)
def test_what_differs_between_equal_runs_is_not_hashed(
    repo: Repo, path: str, ignored: bool
) -> None:
    file = Path(repo.root_dir) / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    checked = repo.dvcignore.is_ignored(repo.fs, str(file), ignore_subrepos=False)
    assert checked is ignored
