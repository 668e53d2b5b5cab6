"""What makes two runs the same run, and which stages an edit of the code touches."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common.errors import ConfigError
from benchmarks.config import TrainConfig, load_config
from benchmarks.plan import imported, resolve
from benchmarks.plan.grid import RunKey, base_of
from benchmarks.plan.identity import (
    code_digest,
    digest_at_start,
    run_digest,
    stage_digests,
    write_digests,
)
from benchmarks.plan.syntax import PACKAGES, Code, parse

ROOT = Path(__file__).parents[2]
KEY = RunKey("quick", "acdc", "ua_mt", 3, 0, 1)
PARTS = {"train": {"lr": 1}, "params": {"w": 2}, "split": "s", "data": "d", "code": "c"}
PRESETS = sorted((ROOT / "benchmarks/presets").glob("*/params.yaml"))
CONFIGS = [load_config(path) for path in (ROOT / "params.yaml", *PRESETS)]

EXTRA = "\nEXTRA = 1\n"
SOURCE = '''\
from __future__ import annotations

import math


class A(B[int]):
    """Doc."""

    def f(self, x: float = 1.5, *, y: str | None = None) -> float:
        """Doc."""
        return math.fsum(z**2 for z in (x, len(f"{y!r:>3}")) if z) or -1e-3
'''


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("checkout")
    for name in PACKAGES:
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, root / name, ignore=skipped)
    shutil.copy(ROOT / "params.yaml", root)
    return root


@pytest.fixture(scope="module")
def before(checkout: Path) -> dict[str, Any]:
    return stage_digests(checkout)


def _flat(digests: dict[str, Any]) -> dict[str, Any]:
    blocks = {stage: block for stage, block in digests.items() if stage != "index"}
    flat = {f"{stage}.{k}": v for stage, block in blocks.items() for k, v in block.items()}
    return {"index": digests["index"], **flat}


def _changed(
    checkout: Path, before: dict[str, Any], file: str, old: str = "", new: str = EXTRA
) -> set[str]:
    """Keys with another digest while a text of a file is replaced, or a statement added to it."""
    path = checkout / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1) if old else text + new)
    try:
        after = _flat(stage_digests(checkout))
    finally:
        path.write_text(text)
    first = _flat(before)
    assert after.keys() == first.keys()
    return {key for key in after if after[key] != first[key]}


def _reports(*, method: str = "", dataset: str = "", stage: str = "report") -> set[str]:
    """Benchmarks that contain a method or a data set."""
    return {
        f"{stage}.{c.name}"
        for c in CONFIGS
        if method in map(base_of, c.grid.methods) or dataset in c.grid.datasets
    }


def _scores(*, method: str = "", dataset: str = "") -> set[str]:
    """Likewise: what a method predicts, and beside which networks, is in its file."""
    return _reports(method=method, dataset=dataset, stage="evaluate")


def _all(stage: str, digests: dict[str, Any]) -> set[str]:
    return {f"{stage}.{key}" for key in digests[stage]}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("methods/blocks/losses.py", '"""', '"""More words. '),
        ("methods/mean_teacher.py", "\nclass ", "\n# A comment.\n\n\n\nclass "),
        ("benchmarks/engine/trainer.py", "from __future__", "# A comment.\nfrom __future__"),
        ("benchmarks/engine/optim.py", '"""', '"""More words. '),
    ],
)
def test_prose_touches_no_stage(
    checkout: Path, before: dict[str, Any], file: str, old: str, new: str
) -> None:
    assert _changed(checkout, before, file, old, new) == set()


@pytest.mark.parametrize(
    "file",
    [
        "benchmarks/training/memory.py",
        "benchmarks/common/errors.py",
        "benchmarks/common/console.py",
        "benchmarks/plan/identity.py",
        "methods/__init__.py",
    ],
)
def test_memory_advice_messages_and_planning_touch_no_stage(
    checkout: Path, before: dict[str, Any], file: str
) -> None:
    assert _changed(checkout, before, file) == set()


def test_a_method_touches_its_own_runs_and_reports(checkout: Path, before: dict[str, Any]) -> None:
    file = "methods/mean_teacher.py"
    changed = _changed(checkout, before, file)
    own = _reports(method="mean_teacher") | _scores(method="mean_teacher")
    assert changed == {"run.mean_teacher"} | own
    file = "methods/egcl_net.py"
    changed = _changed(checkout, before, file)
    assert _scores(method="egcl_net") <= changed
    assert changed - _reports(method="egcl_net") - _scores(method="egcl_net") == {
        key for key in _all("run", before) if key.startswith("run.egcl_net")
    }


def test_a_block_touches_the_methods_that_import_it(checkout: Path, before: dict[str, Any]) -> None:
    users = {
        path.stem
        for path in (checkout / "methods").glob("*.py")
        if "from methods.blocks.contrast import" in path.read_text()
    }
    assert {"egcl_net", "u2pl", "ugpcl"} <= users  # the contrastive methods, and not all others
    users.add("dycon_oracle")  # which is DyCON but for its labels
    file = "methods/blocks/contrast.py"
    changed = _changed(checkout, before, file)
    runs = {key for key in changed if key.startswith("run.")}
    assert runs == {k for k in _all("run", before) if base_of(k.removeprefix("run.")) in users}


@pytest.mark.parametrize("file", ["benchmarks/engine/optim.py", "benchmarks/engine/trainer.py"])
def test_the_engine_touches_all_runs(checkout: Path, before: dict[str, Any], file: str) -> None:
    changed = _changed(checkout, before, file)
    assert changed == _all("run", before)


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("benchmarks/report/tables.py", {"report"}),
        ("benchmarks/statistics/rule.py", {"report"}),
        ("benchmarks/scoring/evaluate.py", {"evaluate"}),
        ("benchmarks/metrics.py", {"evaluate", "run"}),
        ("methods/base.py", {"evaluate", "report", "run"}),
        ("datasets/preparing/prepare.py", {"prepare"}),
        ("datasets/preparing/checks.py", {"prepare"}),
        ("datasets/preparing/parts.py", {"split", "report"}),
        ("datasets/preparing/store.py", {"prepare", "split", "run", "evaluate", "report"}),
    ],
)
def test_shared_code_touches_all_items_of_its_stages(
    checkout: Path, before: dict[str, Any], file: str, stages: set[str]
) -> None:
    changed = _changed(checkout, before, file)
    assert changed - {"index"} == {key for stage in stages for key in _all(stage, before)}


def test_parameters_of_a_study_touch_the_reports_that_it_judges(checkout: Path) -> None:
    """A row is unconverged if one that is trained alike is, wherever that stands."""
    table = checkout / "reports/acdc_cpu_convergence/convergence.csv"
    table.parent.mkdir(parents=True)
    table.touch()
    try:
        file = "benchmarks/presets/acdc_cpu/params.yaml"
        touched = _changed(
            checkout, stage_digests(checkout), file, "validations: 5", "validations: 6"
        )
    finally:
        shutil.rmtree(checkout / "reports")
    reports = {key for key in touched if key.startswith("report.")}
    assert reports == _reports(dataset="acdc") and "run.mean_teacher" not in touched


def test_the_list_of_reports_has_its_own_digest(checkout: Path, before: dict[str, Any]) -> None:
    assert _changed(checkout, before, "benchmarks/report/index.py") == {"index"}
    assert "index" in _changed(checkout, before, "benchmarks/report/checklist.py")


def test_a_data_set_touches_itself_and_its_phantom(checkout: Path, before: dict[str, Any]) -> None:
    changed = _changed(checkout, before, "datasets/acdc.py")
    stages, names = ("fetch", "prepare", "split"), ("acdc", "phantom_acdc")
    own = {f"{stage}.{name}" for stage in stages for name in names}
    own |= {key for name in names for key in _scores(dataset=name)}
    assert changed - _reports(dataset="acdc") - _reports(dataset="phantom_acdc") == own


def test_a_file_that_is_added_later_is_not_of_the_code_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else it is looked for among the texts of then, and its absence is told as a wrong name."""
    begun = imported.code_at_start(ROOT)
    assert sorted(begun.names("benchmarks.engine")) == sorted(Code(ROOT).names("benchmarks.engine"))
    texts = {k: v for k, v in imported._AT_START.items() if k != "benchmarks.engine.seeding"}
    monkeypatch.setattr(imported, "_AT_START", texts)
    assert digest_at_start(ROOT, "supervised") != code_digest(ROOT, "supervised")


def test_phantoms_and_public_splits_are_seen_where_they_are_used(
    checkout: Path, before: dict[str, Any]
) -> None:
    file = "datasets/phantoms/brain.py"
    changed = _changed(checkout, before, file)
    assert changed == {"fetch.phantom_brats2019"}
    file = "datasets/splits/acdc.ssl4mis.json"
    assert _changed(checkout, before, file, "patient001", "patient999") == {"split.acdc"}


def test_the_pipeline_names_the_digest_of_the_identity(
    checkout: Path, before: dict[str, Any]
) -> None:
    assert before["run"]["ua_mt"] == code_digest(checkout, "ua_mt")
    assert before["run"]["egcl_net-a5"] == code_digest(checkout, "egcl_net")
    assert before["run"]["ua_mt"] != before["run"]["mean_teacher"]


def test_parameters_that_stages_cannot_name_are_beside_the_digests(before: dict[str, Any]) -> None:
    assert before["cells"]["quick"]["phantom_acdc"] == {
        "labels": [2], "seeds": [0, 1], "folds": [0], "bound": False,
    }  # fmt: skip
    assert before["implied"]["quick"]["mean_teacher"] == {"base": {}, "equal": "steps"}
    given = before["implied"]["quick_ablation"]["egcl_net-a5"]["base"]
    assert (given["tau"], given["lam_con"], given["anchors"]) == (0.5, 0.1, 32)


def test_values_that_no_file_names_are_in_the_digests(
    before: dict[str, Any], checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new default trains anew under DVC as it does without."""
    usual = resolve.train_config

    def another(*cell: Any) -> TrainConfig:
        return usual(*cell).model_copy(update={"augment": "none"})

    monkeypatch.setattr(resolve, "train_config", another)
    after = stage_digests(checkout)["settings"]["quick"]
    was = before["settings"]["quick"]
    assert all(after[d][m] != digest for d, own in was.items() for m, digest in own.items())


def test_relative_imports_are_refused_since_digests_do_not_follow_them() -> None:
    with pytest.raises(ConfigError, match=r"from \.helper import K` would be no part of a run's"):
        parse("from .helper import K\n")


def test_digests_are_written_once(checkout: Path, before: dict[str, Any]) -> None:
    path = write_digests(checkout)
    assert json.loads(path.read_text()) == before
    first = {p: p.stat().st_mtime_ns for p in path.parent.iterdir()}
    write_digests(checkout)
    assert {p: p.stat().st_mtime_ns for p in path.parent.iterdir()} == first
    path.write_text("{")
    write_digests(checkout)
    assert json.loads(path.read_text()) == before


def test_unknown_method_is_an_error_that_names_it(checkout: Path) -> None:
    with pytest.raises(ConfigError, match=r"methods/meen_teacher\.py.*benchmarks methods"):
        code_digest(checkout, "meen_teacher")


def test_no_import_of_the_packages_escapes() -> None:
    """Imports are followed by their full names, so relative ones would be missed."""
    relative = [
        path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_digest_is_the_same_in_all_versions_of_python() -> None:
    """Python 3.11.7, 3.12.1 and 3.13.0 gave this value."""
    assert parse(SOURCE).digest[:16] == "d4364ce4dee198b1"


def test_imports_for_types_alone_are_not_followed() -> None:
    text = (
        "import math\nimport methods\nfrom datasets.base import Volume\n"
        "if TYPE_CHECKING:\n    from benchmarks.config import X\n"
        "def f():\n    try:\n        import benchmarks.metrics\n    except OSError:\n"
        "        from methods.blocks import ema as e\n"
    )
    assert parse(text).imports == (
        "datasets.base", "datasets.base.Volume", "benchmarks.metrics", "methods.blocks",
        "methods.blocks.ema",
    )  # fmt: skip


def test_every_part_counts_but_not_the_benchmarks_name() -> None:
    first = run_digest(KEY, **PARTS)  # type: ignore[arg-type]
    assert len(first) == 16
    for name in PARTS:
        other = {**PARTS, name: "other"}
        assert run_digest(KEY, **other) != first  # type: ignore[arg-type]
    for change in ({"seed": 2}, {"fold": 1}, {"labels": 7}, {"dataset": "covid19"}):
        assert run_digest(RunKey(**{**vars(KEY), **change}), **PARTS) != first  # type: ignore[arg-type]
    renamed = RunKey(**{**vars(KEY), "benchmark": "paper"})
    assert run_digest(renamed, **PARTS) == first  # type: ignore[arg-type]


def test_key_names_its_folder() -> None:
    key = RunKey("ablation", "acdc", "egcl_net-a5", 7, 1, 2)
    assert (key.base, key.variant) == ("egcl_net", "a5")
    assert key.folder(Path("/x")) == Path("/x/runs/ablation/acdc/egcl_net-a5/l7-f1-s2")
