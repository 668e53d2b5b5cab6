"""One edit of the text of a method or block at a time, as mutation testing makes them."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from pathlib import Path

_SIGNS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_ORDERS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.GtE: ast.Lt,
    ast.Lt: ast.GtE,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
_NAMES = {
    "mean": "sum",
    "sum": "mean",
    "net_1": "net_2",
    "net_2": "net_1",
    "teacher_1": "teacher_2",
    "teacher_2": "teacher_1",
}
# Calls that decide nothing.
_IDLE = {"observe", "acted", "super"}


def replacement(node: ast.AST) -> ast.AST | None:
    """What stands in the place of a node in its mutant, or None where there is none."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return ast.Pass()
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert | ast.Not | ast.USub):
        return node.operand
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return _called(node, node.func)
    return _changed(copy.deepcopy(node))


def _called(node: ast.Call, function: ast.Attribute) -> ast.AST | None:
    """Without `detach`; with the classes of the next image in place of its own."""
    if function.attr == "detach":
        return function.value
    if function.attr == "argmax":
        rolled = ast.Attribute(node, "roll", ast.Load())
        return ast.Call(rolled, [ast.Constant(1), ast.Constant(0)], [])
    return None


def _changed(new: ast.AST) -> ast.AST | None:
    """The node with another sign, order, number, branch or name."""
    match new:
        case ast.BinOp(op=op) if type(op) in _SIGNS:
            new.op = _SIGNS[type(op)]()
        case ast.Compare(ops=[op]) if type(op) in _ORDERS:
            new.ops = [_ORDERS[type(op)]()]
        case ast.Constant(value=float(value)):
            new.value = 0.0 if value else 1.0
        case ast.IfExp() | ast.If():
            new.test = ast.UnaryOp(ast.Not(), new.test)
        case ast.Attribute(attr=name) if name in _NAMES:
            new.attr = _NAMES[name]
        case _:
            return None
    return new


def _idle(node: ast.AST) -> bool:
    """Whether a node is a diagnostic, a docstring or a parameter's description."""
    if isinstance(node, ast.Call):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        return name in _IDLE or (isinstance(node.func, ast.Attribute) and _idle(node.func.value))
    return isinstance(node, ast.Expr) and not isinstance(node.value, ast.Call)


def _places(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None]]:
    """Parent, field and index of every node below one that may be replaced."""
    for field, value in ast.iter_fields(node):
        if field in {"annotation", "returns", "decorator_list", "type_comment"}:
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or _idle(child):
                continue
            if isinstance(child, ast.Expr) and _idle(child.value):
                continue
            yield node, field, index
            yield from _places(child)


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    for node in tree.body:
        own = node.body if isinstance(node, ast.ClassDef) else [node]
        yield from (n for n in own if isinstance(n, ast.FunctionDef))


def edits(path: Path) -> dict[str, str]:
    """Texts of a file with one edit in its functions each, by what was edited."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: dict[str, str] = {}
    for function in _functions(tree):
        for parent, field, index in list(_places(function)):
            value = getattr(parent, field)
            old = value if index is None else value[index]
            new = replacement(old)
            if new is None:
                continue
            short = f"{function.name}: {_short(old)} -> {_short(new)}"
            name = short + " again" * sum(k.startswith(short) for k in found)
            _put(parent, field, index, new)
            found[name] = ast.unparse(ast.fix_missing_locations(tree))
            _put(parent, field, index, old)
    return found


def _put(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def _short(node: ast.AST) -> str:
    text = ast.unparse(node).splitlines()[0]
    return text if len(text) <= 40 else f"{text[:37]}..."
