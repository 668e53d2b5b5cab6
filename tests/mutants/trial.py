"""Is a broken method noticed? Each is tried in a process of its own, forked with torch loaded."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

from methods import load_method
from methods.base import Progress
from tests.contract import case as contract_case
from tests.contract import test_mechanisms as mechanisms
from tests.contract import test_method as contract
from tests.mutants.breaks import Break, breaks
from tests.mutants.edits import ROOT, edits

# Longer than any test takes: a mutant that never ends is noticed too.
_SECONDS = 300
SURVIVED = ""


@dataclass(frozen=True)
class Mutant:
    """A broken method.

    Attributes:
        method: id.
        name: what was done to it.
        text: of the method's file, or None for its own.
        change: of the class, or None.
    """

    method: str
    name: str
    text: str | None = None
    change: Break | None = None


def mutants_of(method: str, most: int | None = None) -> list[Mutant]:
    """All mutants of a method, at most so many of them by edits of its text, evenly spread."""
    model, terms = contract_case.Case(method, 2, 4).make(), set[str]()
    for t in (Progress(0, contract_case.TOTAL), contract_case.END):
        terms |= model.losses(contract_case.Case(method, 2, 4).batch(0), t).keys()
    texts = list(edits(method).items())
    if most is not None and len(texts) > most:
        texts = [texts[i * len(texts) // most] for i in range(most)]
    return [
        *(Mutant(method, name, change=change) for name, change in breaks(model, terms)),
        *(Mutant(method, name, text=text) for name, text in texts),
    ]


def formula_tests(method: str) -> list[Path]:
    """Files of tests/methods that import a method."""
    files = sorted((ROOT / "tests/methods").glob("test_*.py"))
    found = [f for f in files if re.search(rf"^from methods\.{method} ", f.read_text(), re.M)]
    named = ROOT / f"tests/methods/test_{method}.py"
    return sorted(found, key=lambda f: f != named)


def killed_by(mutant: Mutant, *, formulas: bool = True) -> str:
    """Name of the test that notices a mutant, or `SURVIVED`.

    Args:
        mutant: to be tried.
        formulas: also run the tests of the method's formulas, before the contract.
    """
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    process = fork.Process(target=_child, args=(mutant, formulas, sender))
    process.start()
    sender.close()
    try:
        done = receiver.poll(_SECONDS)
        return str(receiver.recv()) if done else "took too long"
    except EOFError:
        return "ended the process"
    finally:
        process.kill()
        process.join()


def _child(mutant: Mutant, formulas: bool, sender: Connection) -> None:
    torch.set_num_threads(1)
    with Path(os.devnull).open("w") as sink:
        for stream in (1, 2):
            os.dup2(sink.fileno(), stream)
        with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
            try:
                found = _noticed(mutant, formulas)
            except BaseException:
                found = traceback.format_exc()
    sender.send(found)


def _noticed(mutant: Mutant, formulas: bool) -> str:
    try:
        _install(mutant)
    except Exception:
        return "import of the method"
    if formulas and (name := _failing(formula_tests(mutant.method))):
        return name
    for name, test in _contract(mutant.method):
        try:
            test()
        except (Exception, pytest.fail.Exception):
            return name
    return SURVIVED


def _install(mutant: Mutant) -> None:
    name = f"methods.{mutant.method}"
    if mutant.text is not None:
        module = types.ModuleType(name)
        sys.modules[name] = module
        exec(compile(mutant.text, name, "exec"), module.__dict__)
    load_method.cache_clear()
    for known in [m for m in sys.modules if m.startswith("tests.methods.")]:
        del sys.modules[known]  # imported by the session that forks, with the method as it is
    if mutant.change is not None:
        mutant.change(load_method(mutant.method))


def _failing(files: list[Path]) -> str:
    """The first failing test of some files, or ""."""
    if not files:
        return ""
    failed: list[str] = []

    class Watch:
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.failed:
                failed.append(report.nodeid.split("[")[0])

    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # loading them takes longer than the tests
    options = ["-x", "-q", "-p", "no:cacheprovider"]
    code = pytest.main([*options, *map(str, files)], plugins=[Watch()])
    if failed:
        return failed[0].split("::")[-1]
    return "" if code == 0 else "collection of the tests"


def _contract(method: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The contract in short: what tells most first, in 2D with four and in 3D with two classes."""
    wide, deep = contract_case.Case(method, 2, 4), contract_case.Case(method, 3, 2)
    first = mechanisms.test_every_term_trains_the_tested_network
    tests: list[tuple[Callable[[contract_case.Case], None], contract_case.Case]] = [
        (first, wide),
        (contract.test_unlabeled_images_count_only_where_declared, wide),
        (contract.test_frozen_weights_move_only_after_the_step, wide),
        (contract.test_the_tested_network_starts_as_supervision_alone_does, wide),
        (contract.test_prediction, wide),
        (first, deep),
        (contract.test_same_seed_same_bits, wide),
        (contract.test_loading_and_stepping_equals_stepping_on, wide),
        (contract.test_the_first_thirty_steps_lower_the_supervised_loss, wide),
    ]
    for test, case in tests:
        yield test.__name__, partial(test, case)
    falls = mechanisms.test_every_term_falls_along_its_own_gradient
    yield falls.__name__, partial(falls, method)
    if mechanisms.ramped(method):
        yield "test_the_weight_is_ramped", partial(mechanisms.test_the_weight_is_ramped, method)
    if mechanisms.shared(method):
        with pytest.MonkeyPatch.context() as patch:
            attached = mechanisms.test_auxiliary_decoders_train_the_encoder
            yield attached.__name__, partial(attached, method, patch)
