"""Is a broken method or block noticed? Each is tried in a forked process, with torch loaded."""

from __future__ import annotations

import contextlib
import importlib
import inspect
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

from methods import load_method, method_ids
from methods.base import Progress
from tests.contract import case as contract_case
from tests.contract import test_mechanisms as mechanisms
from tests.contract import test_method as contract
from tests.mutants.breaks import Break, breaks
from tests.mutants.edits import edits

ROOT = Path(__file__).parents[2]

_BLOCKS = "methods.blocks"
# Longer than any test takes: a mutant that never ends is noticed too.
_SECONDS = 300
SURVIVED = ""


@dataclass(frozen=True)
class Mutant:
    """A broken method or block.

    Attributes:
        method: id; of a block, that of a method which it is part of.
        name: what was done to it.
        text: of the file of the method or block, or None for its own.
        change: of the class, or None.
        block: name of the block, or "" where the method's own file is broken.
    """

    method: str
    name: str
    text: str | None = None
    change: Break | None = None
    block: str = ""

    @property
    def module(self) -> str:
        """Name of the broken module."""
        return f"{_BLOCKS}.{self.block}" if self.block else f"methods.{self.method}"


def mutants_of(method: str, most: int | None = None) -> list[Mutant]:
    """All mutants of a method, at most so many of them by edits of its text, evenly spread."""
    model, terms = contract_case.Case(method, 2, 4).make(), set[str]()
    for t in (Progress(0, contract_case.TOTAL), contract_case.END):
        terms |= model.losses(contract_case.Case(method, 2, 4).batch(0), t).keys()
    return [
        *(Mutant(method, name, change=change) for name, change in breaks(model, terms)),
        *text_mutants(method, most),
    ]


def text_mutants(method: str, most: int | None = None) -> list[Mutant]:
    """Those of a method that are edits of its text."""
    return [Mutant(method, *edit) for edit in _edits(f"{method}.py", most)]


def _edits(file: str, most: int | None) -> list[tuple[str, str]]:
    texts = list(edits(ROOT / "methods" / file).items())
    if most is None or len(texts) <= most:
        return texts
    return [texts[i * len(texts) // most] for i in range(most)]


def block_names() -> list[str]:
    """Blocks that have something to edit."""
    files = sorted((ROOT / "methods/blocks").glob("*.py"))
    return [f.stem for f in files if edits(f)]


def mutants_of_block(block: str, most: int | None = None) -> list[Mutant]:
    """Edits of a block, at most so many, evenly spread."""
    users = _users(block)
    method = "egcl_net" if "egcl_net" in users else min(users)
    texts = _edits(f"blocks/{block}.py", most)
    return [Mutant(method, name, text=text, block=block) for name, text in texts]


def _users(block: str) -> set[str]:
    """Methods that import a block, or a block that imports it."""
    folder = ROOT / "methods"
    found = {f.stem for f in folder.glob("*.py") if _imports(f, f"{_BLOCKS}.{block}")}
    blocks = (f for f in (folder / "blocks").glob("*.py") if _imports(f, f"{_BLOCKS}.{block}"))
    return found.union(*(_users(f.stem) for f in blocks))


def _imports(file: Path, module: str) -> bool:
    parent, name = module.rsplit(".", 1)
    pattern = rf"^from ({re.escape(module)} |{re.escape(parent)} import .*\b{name}\b)"
    return re.search(pattern, file.read_text(encoding="utf-8"), re.M) is not None


def formula_tests(module: str) -> list[Path]:
    """Files of tests/methods that import a method or block, such as `methods.ict`."""
    files = sorted((ROOT / "tests/methods").glob("test_*.py"))
    named = f"test_{module.rsplit('.', 1)[1]}.py"
    return sorted((f for f in files if _imports(f, module)), key=lambda f: f.name != named)


def killed_by(mutant: Mutant, *, formulas: bool = True, contract: bool = True) -> str:
    """Name of the test that notices a mutant, or `SURVIVED`.

    Args:
        mutant: to be tried.
        formulas: run the tests of formulas.
        contract: run the contract, after them.
    """
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    process = fork.Process(target=_child, args=(mutant, formulas, contract, sender))
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


def _child(mutant: Mutant, formulas: bool, contract: bool, sender: Connection) -> None:
    torch.set_num_threads(1)
    with Path(os.devnull).open("w") as sink:
        for stream in (1, 2):
            os.dup2(sink.fileno(), stream)
        with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
            try:
                found = _noticed(mutant, formulas, contract)
            except BaseException:
                found = traceback.format_exc()
    sender.send(found)


def _noticed(mutant: Mutant, formulas: bool, contract: bool) -> str:
    try:
        _install(mutant)
    except Exception:
        return "import of the method"
    if formulas and (name := _failing(_tests_of(mutant))):
        return name
    for name, test in _contract(mutant.method) if contract else ():
        try:
            test()
        except (Exception, pytest.fail.Exception):
            return name
    return SURVIVED


def _tests_of(mutant: Mutant) -> list[Path]:
    """Those of formulas: of the method, or of the block and then of the methods that use it."""
    users = [f"methods.{user}" for user in sorted(_users(mutant.block))] if mutant.block else []
    return list(dict.fromkeys(f for m in (mutant.module, *users) for f in formula_tests(m)))


def _install(mutant: Mutant) -> None:
    if mutant.text is not None:
        _replace_code(importlib.import_module(mutant.module), mutant.text)
    if mutant.block:
        for user in method_ids():  # what a block computes for their parameters is computed again
            sys.modules.pop(f"methods.{user}", None)
    load_method.cache_clear()
    for known in [m for m in sys.modules if m.startswith("tests.methods.")]:
        del sys.modules[known]  # imported by the session that forks, with the method as it is
    if mutant.change is not None:
        mutant.change(load_method(mutant.method))


def _replace_code(module: types.ModuleType, text: str) -> None:
    """Give the functions of a module the code of a text; who has imported them sees it too."""
    new = types.ModuleType(module.__name__)
    exec(compile(text, module.__name__, "exec"), new.__dict__)
    for owner, other in [(module, new), *_classes(module, new)]:
        for name, value in list(vars(other).items()):
            own, function = (_plain(v) for v in (vars(owner).get(name), value))
            if own is None or function is None or function.__module__ != module.__name__:
                continue
            own.__code__ = function.__code__
            own.__defaults__, own.__kwdefaults__ = function.__defaults__, function.__kwdefaults__


def _classes(module: types.ModuleType, new: types.ModuleType) -> Iterator[tuple[Any, Any]]:
    for name, value in vars(new).items():
        if isinstance(value, type) and value.__module__ == module.__name__:
            yield vars(module)[name], value


def _plain(value: Any) -> types.FunctionType | None:
    """The function below decorators or a property, or None where there is none."""
    value = value.fget if isinstance(value, property) else value
    value = inspect.unwrap(getattr(value, "__func__", value)) if value is not None else None
    return value if isinstance(value, types.FunctionType) else None


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
