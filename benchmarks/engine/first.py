"""What the loss terms of a method have to be, looked at once, in the first step of a run."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from benchmarks.common.errors import ConfigError
from benchmarks.common.workspace import ROOT
from methods.base import SUPERVISED, Method


def check_terms(method: Method[Any], terms: object) -> None:
    """Refuse terms that would train nothing, or something else than they seem to.

    Nothing is computed: the graph of the terms is followed to the parameters that it ends at.

    Args:
        method: whose `losses` gave the terms.
        terms: that it returned.

    Raises:
        ConfigError: names the line of `losses`, what is wrong with a term, and the remedy.
    """
    problem = next(_problems(method, terms), "")
    if problem:
        code = type(method).losses
        file = os.path.relpath(inspect.getsourcefile(code) or "", ROOT)
        raise ConfigError(f"{file}:{inspect.getsourcelines(code)[1]}: {problem}")


def _problems(method: Method[Any], terms: object) -> Iterator[str]:
    if not isinstance(terms, Mapping):
        yield f"`losses` returned {type(terms).__name__}; a dict of loss terms by name is needed"
        return
    if SUPERVISED not in terms:
        yield (
            f"`losses` returned no term '{SUPERVISED}', on true labels, but"
            f" {', '.join(map(str, terms)) or 'nothing'}; add it, or rename yours"
        )
    trained = {id(p) for p in method.parameters() if p.requires_grad}
    for name, term in terms.items():
        problem = _problem(term, trained)
        if problem:
            yield f"loss term '{name}' {problem}"


def _problem(term: object, trained: set[int]) -> str:
    if not isinstance(term, Tensor):
        return f"is of type {type(term).__name__}; a tensor without axes is needed"
    if term.dim():
        return f"has shape {tuple(term.shape)}; a tensor without axes is needed: take its mean"
    if not term.is_floating_point():
        return f"is of {term.dtype}; a floating-point number is needed"
    if not _reaches(term, trained):
        return (
            "has no gradient for any trained parameter, so it would train nothing: it was made from"
            " detached values or under no_grad. One with nothing to act on is 0 with a graph, such"
            " as `0 * logits.sum()`; one that is switched off is left out"
        )
    return ""


def _reaches(term: Tensor, trained: set[int]) -> bool:
    """Whether the graph of a term ends at one of the parameters."""
    todo, seen = [term.grad_fn], set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if id(getattr(node, "variable", None)) in trained:
            return True
        todo += [following for following, _ in node.next_functions]
    return False
