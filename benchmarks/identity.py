"""What a run depends on, as one digest: a finished run is reused only if nothing of it changed."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

from benchmarks.files import digest
from benchmarks.grid import RunKey

# Code that decides a run's numbers, beside the method's own file and the blocks it imports.
# dvc.yaml names the same paths.
TRAINING_CODE = (
    "benchmarks/engine",
    "benchmarks/metrics.py",
    "datasets/split.py",
    "datasets/store.py",
    "methods/base.py",
)
BLOCKS = "methods.blocks"


def code_digest(root: Path, method: str) -> str:
    """Digest of the syntax trees, docstrings removed, of the code that trains one method.

    Of `methods/blocks` only what the method's file imports, directly or not, takes part.

    Formatting and comments keep it; a changed equation does not, nor does another minor version of
    Python, whose syntax trees differ.

    Args:
        root: the checkout.
        method: id without variant.
    """
    files: list[Path] = []
    for name in TRAINING_CODE:
        path = root / name
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    own = root / "methods" / f"{method}.py"
    files += [own, *sorted(_blocks(root, own, set()))]
    total = hashlib.sha256()
    for file in files:
        total.update(file.relative_to(root).as_posix().encode())
        total.update(_syntax(file.read_text(encoding="utf-8")).encode())
    return total.hexdigest()[:16]


def _blocks(root: Path, file: Path, found: set[Path]) -> set[Path]:
    """Files of `methods/blocks` that a file needs."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            block = root.joinpath(*name.split(".")).with_suffix(".py")
            if name.startswith(f"{BLOCKS}.") and block.is_file() and block not in found:
                found.add(block)
                _blocks(root, block, found)
    return found


def _syntax(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            node.body.pop(0)
    return ast.dump(tree, annotate_fields=False)


def run_digest(
    key: RunKey, *, train: object, params: object, split: str, data: str, code: str
) -> str:
    """Identity of a run.

    Args:
        key: which run; its benchmark's name does not count.
        train: resolved training configuration, JSON-ready.
        params: resolved method parameters, JSON-ready.
        split: digest of the split file.
        data: digest of the prepared data.
        code: digest of the code.
    """
    cell = [key.dataset, key.base, key.labels, key.fold, key.seed]
    return digest(
        {"cell": cell, "train": train, "params": params, "split": split, "data": data, "code": code}
    )
