"""A process that starts commands, and a benchmark that nothing disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.small import CHAIN, Zygote, make_root


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    with Zygote() as started:
        yield started


@pytest.fixture(scope="session")
def finished(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which everything was done undisturbed."""
    root = make_root(tmp_path_factory.mktemp("finished") / "root")
    for args in CHAIN:
        zygote.call(root, args)
    return root
