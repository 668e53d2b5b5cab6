"""Digests of source code that follow its meaning, and which modules a module imports."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.common.errors import ConfigError

PACKAGES = ("benchmarks", "methods", "datasets")


def module_name(path: Path, root: Path) -> str:
    """Dotted name of the module, or package, of a source file of a checkout."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


@dataclass(frozen=True)
class Module:
    """What counts of a source file.

    Attributes:
        digest: of its syntax tree without docstrings.
        imports: dotted names of modules, and of what is taken from them.
    """

    digest: str
    imports: tuple[str, ...]


class Code:
    """The modules of a checkout, each read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, Module | None] = {}

    def digest(self, starts: Iterable[str], *, beside: tuple[str, ...]) -> str:
        """Digest of modules and of all that they import from the checkout, directly or not.

        Formatting, comments and docstrings keep it; a changed equation does not.

        Args:
            starts: dotted names of modules.
            beside: modules and packages that are not followed.

        Raises:
            ConfigError: a start does not exist.
        """
        total = hashlib.sha256()
        for name, module in sorted(self.reached(starts, beside=beside).items()):
            total.update(f"{name} {module.digest}\n".encode())
        return total.hexdigest()[:16]

    def reached(self, starts: Iterable[str], *, beside: tuple[str, ...]) -> dict[str, Module]:
        """Modules that take part in `digest`, by dotted name.

        Raises:
            ConfigError: a start does not exist.
        """
        found: dict[str, Module] = {}
        waiting = list(starts)
        for name in waiting:
            if self._module(name) is None:
                path = name.replace(".", "/")
                raise ConfigError(
                    f"no file '{path}.py' in '{self._root}'; `python -m benchmarks methods` and"
                    " `python -m benchmarks datasets` name all methods and data sets"
                )
        while waiting:
            name = waiting.pop()
            module = self._module(name)
            if module is None or name in found:
                continue
            found[name] = module
            waiting += (n for n in module.imports if not _within(n, beside))
        return found

    def names(self, package: str) -> list[str]:
        """Dotted names of a package and of all modules in it."""
        folder = self._root.joinpath(*package.split("."))
        return [module_name(path, self._root) for path in folder.rglob("*.py")]

    def _module(self, name: str) -> Module | None:
        """None for a name that is no module, such as one taken from a module."""
        if name not in self._known:
            text = self._text(name)
            self._known[name] = None if text is None else parse(text)
        return self._known[name]

    def _text(self, name: str) -> str | None:
        place = self._root.joinpath(*name.split("."))
        files = (place.with_suffix(".py"), place / "__init__.py")
        return next((f.read_text(encoding="utf-8") for f in files if f.is_file()), None)


def _within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@cache
def parse(source: str) -> Module:
    """What counts of a source text."""
    tree = ast.parse(source)
    names = tuple(dict.fromkeys(_imports(tree)))
    _strip(tree)
    return Module(hashlib.sha256(_dump(tree).encode()).hexdigest(), names)


def _strip(node: ast.AST) -> None:
    """Remove the docstrings."""
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    if isinstance(node, documented) and ast.get_docstring(node, clean=False):
        node.body.pop(0)
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.expr):
            _strip(child)


def _imports(node: ast.AST) -> Iterator[str]:
    """Dotted names that are imported from the checkout; not those needed for types alone.

    A package itself takes no part: `methods` and `datasets` only find modules by name.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names if _ours(alias.name))
        elif isinstance(child, ast.ImportFrom) and child.level:
            raise ConfigError(
                f"`{ast.unparse(child)}` would be no part of a run's identity: write the whole name"
                " of the module, such as `from methods.base import Method`"
            )
        elif isinstance(child, ast.ImportFrom) and child.module:
            names = (child.module, *(f"{child.module}.{alias.name}" for alias in child.names))
            yield from (name for name in names if _ours(name))
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        elif not isinstance(child, ast.expr):
            yield from _imports(child)


def _ours(name: str) -> bool:
    return "." in name and name.partition(".")[0] in PACKAGES


def _dump(node: Any) -> str:
    """Text of a syntax tree; empty fields are left out, since newer Pythons add such."""
    if isinstance(node, list):
        return f"[{','.join([_dump(item) for item in node])}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    # Whether a name is read or written (ctx) follows from where it stands.
    fields = [(name, getattr(node, name, None)) for name in node._fields if name != "ctx"]
    texts = [f"{name}={_dump(value)}" for name, value in fields if value not in (None, [])]
    return f"{type(node).__name__}({','.join(texts)})"
