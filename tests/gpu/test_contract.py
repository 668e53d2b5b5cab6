"""The contract of all methods once more, on a GPU; `make gpu` runs it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract import test_method
from tests.contract.case import Case, cases
from tests.gpu.exact import exact

pytestmark = pytest.mark.gpu
globals().update({n: f for n, f in vars(test_method).items() if n.startswith("test_")})


@pytest.fixture(params=cases())
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """In place of the fixture of that name, which makes its cases on the CPU."""
    with exact() as device:
        name, ndim, classes = request.param
        yield Case(name, ndim, classes, device)
