"""The house rules that no linter knows: direction of imports, size, reach and depth of the code."""

from __future__ import annotations

import ast
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import Tensor

from benchmarks.cli import app
from benchmarks.common import workspace
from methods.base import Batch, Progress
from methods.supervised import Supervised
from tests.engine.small import build, make_config

ROOT = Path(__file__).parents[1]
# A module imports from its own line and the lines above; neighbours on one line stay apart.
LAYERS = (
    ("benchmarks.common", "benchmarks.metrics"),
    ("datasets", "methods"),
    ("benchmarks.config",),
    ("benchmarks.engine",),
    ("benchmarks.plan",),
    ("benchmarks.training",),
    ("benchmarks.scoring",),
    ("benchmarks.statistics",),
    ("benchmarks.report",),
    ("benchmarks.tune",),
    ("benchmarks.checkup", "benchmarks.repair"),
    ("benchmarks.pipeline",),
    ("benchmarks.twins",),
    ("benchmarks.reproduce",),
    ("benchmarks.launch",),
    ("benchmarks.cli",),
    ("benchmarks.__main__",),
)
PLACES = {name: level for level, names in enumerate(LAYERS) for name in names}


def modules() -> dict[str, ast.Module]:
    found = {}
    for package in ("benchmarks", "datasets", "methods"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = ast.parse(path.read_text("utf-8"))
    return found


MODULES = modules()


def part_of(module: str) -> str | None:
    """The entry of `LAYERS` that a module belongs to."""
    fitting = [name for name in PLACES if module == name or module.startswith(f"{name}.")]
    return max(fitting, key=len, default=None)


def imported(tree: ast.Module) -> Iterator[str]:
    """Modules of this checkout that a module imports, anywhere in its text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, "relative import"
            for alias in node.names:
                longer = f"{node.module}.{alias.name}"
                yield longer if longer in MODULES else node.module


def upstream(name: str, tree: ast.Module) -> list[str]:
    """Imports of a module that go against the stream."""
    own, wrong = part_of(name), []
    for target in imported(tree):
        part = part_of(target)
        if part is None or own is None or part == own:
            continue
        if PLACES[part] >= PLACES[own]:
            wrong.append(f"{name} -> {target}")
    return wrong


def test_every_module_has_a_place() -> None:
    homeless = [name for name in MODULES if part_of(name) is None]
    assert homeless == ["benchmarks"], "put it into LAYERS"


def test_imports_point_one_way() -> None:
    assert [line for name, tree in MODULES.items() for line in upstream(name, tree)] == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("benchmarks.engine.x", "from benchmarks.plan.resolve import Run"),
        ("datasets.x", "def f():\n    from benchmarks.config import load_config"),
        ("methods.x", "import datasets.base"),
        ("benchmarks.statistics.x", "from benchmarks import report"),
    ],
)
def test_an_import_against_the_stream_is_noticed(module: str, text: str) -> None:
    assert upstream(module, ast.parse(text))


def test_modules_are_short() -> None:
    sizes = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines())
        for package in ("benchmarks", "datasets", "methods")
        for path in (ROOT / package).rglob("*.py")
    }
    assert {name: size for name, size in sizes.items() if size > 300} == {}


def names_read(tree: ast.Module) -> Iterator[str]:
    """Names that a module reads, in code, annotations and imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name.split(".")[-1]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"\w+", node.value)


def is_command(node: ast.FunctionDef | ast.ClassDef) -> bool:
    return any(re.search("command|callback", ast.unparse(d)) for d in node.decorator_list)


def test_nothing_is_read_by_tests_alone() -> None:
    """Every public function and class is used by the product, not only defined in it."""
    used = {name for tree in MODULES.values() for name in names_read(tree)}
    idle = [
        f"{name}.{node.name}"
        for name, tree in MODULES.items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and node.name not in used
        and not is_command(node)
        # Adapters and methods are found by the name of their file.
        and not (isinstance(node, ast.ClassDef) and re.fullmatch(r"(datasets|methods)\.\w+", name))
    ]
    assert idle == []


def test_five_functions_from_the_command_to_the_first_forward_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    class Reached(BaseException):  # ends the walk; no error that a run explains
        pass

    def losses(self: Supervised, batch: Batch, t: Progress) -> dict[str, Tensor]:
        del self, batch, t
        frames = traceback.extract_stack(sys._getframe(1))
        own = [f for f in frames if Path(f.filename).is_relative_to(ROOT / "benchmarks")]
        seen.extend(f"{Path(f.filename).relative_to(ROOT)}:{f.name}" for f in own)
        raise Reached

    build(tmp_path, make_config())
    monkeypatch.setattr(Supervised, "losses", losses)
    for module in ("stages", "options"):
        monkeypatch.setattr(f"benchmarks.cli.{module}.ROOT", tmp_path)
    params = tmp_path / "params.yaml"
    params.write_text(make_config().model_dump_json())
    argv = ["run", "phantom_acdc", "supervised", "--params", str(params), "--device", "cpu"]
    assert workspace.ROOT == ROOT
    with pytest.raises(Reached):
        app(argv, standalone_mode=False)
    assert seen == [
        "benchmarks/cli/stages.py:run",
        "benchmarks/training/many.py:train_runs",
        "benchmarks/training/one.py:train_run",
        "benchmarks/engine/trainer.py:train",
        "benchmarks/engine/trainer.py:step",
    ]
