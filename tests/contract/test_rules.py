"""Rules on what a method may hold and what the engine may not know, most read from the source."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from dataclasses import fields
from pathlib import Path
from statistics import median

import pytest
import torch
from pydantic import ValidationError

from methods import load_method, method_ids
from methods.base import Batch

ROOT = Path(__file__).parents[2]
METHODS = [ROOT / "methods" / f"{name}.py" for name in method_ids()]
ENGINE = sorted((ROOT / "benchmarks").rglob("*.py"))

OPENERS = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "fromfile", "loadtxt"}
FILE_CALLS = {"torch.load", "torch.save", "np.load", "np.save", "numpy.load", "numpy.save"}
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def imports(tree: ast.AST) -> set[str]:
    """Dotted names of everything imported, `from a import b` as `a.b` and `a`."""
    found = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = node.module or ""
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def docstrings(tree: ast.AST) -> set[int]:
    """Lines covered by docstrings."""
    lines = set[int]()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        if ast.get_docstring(node):
            first = node.body[0]
            lines |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return lines


# A paper, or the code base where there is no paper.
SOURCE = re.compile(r"arXiv:\d|doi:10|github\.com/\w")


def code_lines(text: str) -> int:
    """Lines that hold code: neither blank nor comment nor docstring."""
    lines = set[int]()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings(ast.parse(text)))


def names_in(tree: ast.AST) -> set[str]:
    """Identifiers and string constants."""
    found = set[str]()
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name"):
            value = getattr(node, field, None)
            found |= {value} if isinstance(value, str) else set()
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


def imported_methods(tree: ast.AST) -> set[str]:
    return {n for n in imports(tree) if n.removeprefix("methods.").split(".")[0] in method_ids()}


@pytest.mark.parametrize("path", METHODS, ids=lambda p: p.stem)
def test_method_file_cites_its_paper(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert SOURCE.search(text)


@pytest.mark.parametrize("path", METHODS, ids=lambda p: p.stem)
def test_method_file_stands_alone(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    # An oracle is another method with true labels, and has to stay that.
    oracle, own = load_method(path.stem).oracle, path.stem.removesuffix("_oracle")
    allowed = {name for name in imports(tree) if name.startswith(f"methods.{own}")}
    assert imported_methods(tree) == (allowed if oracle else set())
    assert oracle == path.stem.endswith("_oracle")
    assert {n for n in imports(tree) if n.split(".")[0] in {"benchmarks", "datasets"}} == set()


@pytest.mark.parametrize("path", METHODS, ids=lambda p: p.stem)
def test_method_file_opens_no_file_and_builds_no_optimizer(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert {c.id for c in calls if isinstance(c, ast.Name)} & OPENERS == set()
    assert {c.attr for c in calls if isinstance(c, ast.Attribute)} & OPENERS == set()
    assert {ast.unparse(c) for c in calls} & FILE_CALLS == set()
    assert [n for n in names_in(tree) | imports(tree) if "optim" in n.split(".")] == []


@pytest.mark.parametrize("path", METHODS, ids=lambda p: p.stem)
def test_method_file_is_short(path: Path) -> None:
    assert code_lines(path.read_text(encoding="utf-8")) <= 110


def test_half_of_the_method_files_have_at_most_45_lines() -> None:
    assert median(code_lines(path.read_text(encoding="utf-8")) for path in METHODS) <= 45


# The prefix of Dublin Core's terms is also the id of Deep Co-Training.
NAMESAKES = {"benchmarks/report/release/croissant.py": {"dct"}}


@pytest.mark.parametrize("path", ENGINE, ids=lambda p: str(p.relative_to(ROOT)))
def test_engine_names_no_method(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    other = NAMESAKES.get(str(path.relative_to(ROOT)), set())
    assert names_in(tree) & set(method_ids()) == other
    assert imported_methods(tree) == set()


@pytest.mark.parametrize("name", method_ids())
def test_class_attributes_and_params(name: str) -> None:
    cls = load_method(name)
    assert cls.title.strip() and cls.paper.strip()
    assert SOURCE.search(cls.paper)
    params = cls.Params()
    with pytest.raises(ValidationError, match="no_such_key"):
        cls.Params.model_validate({"no_such_key": 1})
    for key in cls.Params.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(params, key, 0)
    assert cls.Params.model_config.get("frozen") is True


def test_batch_has_no_place_for_labels_of_unlabeled_images() -> None:
    assert [f.name for f in fields(Batch)] == ["image", "label", "unlabeled"]
    label = torch.zeros(1, 4, 4, dtype=torch.int64)
    batch = Batch(torch.zeros(1, 1, 4, 4), label, torch.zeros(2, 1, 4, 4))
    with pytest.raises(AttributeError):
        batch.unlabeled_label = label  # type: ignore[attr-defined]
