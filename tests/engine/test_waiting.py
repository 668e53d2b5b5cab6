"""A step asks its device for nothing: every method's whole step under a recorder, in 2D and 3D.

On the CPU nothing waits, so operations are recorded by name: those that hand a value or a size to
Python, and those that bring one from there. On a GPU each would stop the host until the device is
done, and would forbid a CUDA graph of the step.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.engine import loader as loading
from benchmarks.engine.trainer import Trainer
from methods import load_method, method_ids
from tests.engine.small import QUIET, job_of, make_config

CHECKOUT = Path(__file__).parents[2]
CPU = torch.device("cpu")
# A size or a value that depends on data, by the name of the kernel.
KERNELS = {
    "_local_scalar_dense", "nonzero", "masked_select", "unique_dim", "_unique2", "equal",
    "unique_consecutive", "repeat_interleave.Tensor", "bincount",
}  # fmt: skip
# What moves values between Python and a tensor, by the name of the function.
FUNCTIONS = {"cpu", "numpy", "tolist", "item", "tensor", "as_tensor", "from_numpy", "__array__"}
# Reasons of `Method.uncaptured` that are waits.
WAITS = {"components", "selectors"}


class Recorder:
    """Counts the waits inside a block by the line of this checkout that causes them."""

    def __init__(self) -> None:
        self.found = Counter[str]()

    def note(self, name: str) -> None:
        own = [
            f"{Path(frame.filename).relative_to(CHECKOUT)}:{frame.lineno}"
            for frame in traceback.extract_stack()
            if Path(frame.filename).is_relative_to(CHECKOUT)
            and not Path(frame.filename).is_relative_to(CHECKOUT / "tests")
        ]
        self.found[f"{own[-1] if own else 'backward'} {name}"] += 1

    @contextmanager
    def listening(self) -> Iterator[None]:
        with _Kernels(self), _Functions(self):
            yield


class _Kernels(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, recorder: Recorder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._recorder = recorder

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        name = str(func).removeprefix("aten.")
        indices = args[1] if name.startswith("index") and len(args) > 1 else ()
        masks = isinstance(indices, list | tuple) and any(
            isinstance(i, Tensor) and i.dtype in {torch.bool, torch.uint8} for i in indices
        )
        if masks or {name, name.partition(".")[0]} & KERNELS:
            self._recorder.note(name)
        return func(*args, **(kwargs or {}))


class _Functions(TorchFunctionMode):
    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        name = getattr(func, "__name__", "")
        if name in FUNCTIONS:
            self._recorder.note(name)
        return func(*args, **(kwargs or {}))


def recorded(root: Path, folder: Path, method: str, dataset: str, patch: Any) -> Counter[str]:
    """Waits of a step at the start of a run and of one late in it."""
    config = make_config(dataset, iterations=1000, patch=patch)
    trainer = Trainer(job_of(root, folder, method, config), CPU, QUIET)
    try:
        recorder = Recorder()
        for first in (8, 988):  # the next one is logged, with its diagnostics
            trainer.step(first)  # draws for many steps, makes what is made once
            with recorder.listening():
                trainer.step(first + 1)
    finally:
        trainer.loader.close()
    return recorder.found


@pytest.mark.parametrize("method", method_ids())
@pytest.mark.parametrize("dimension", ["flat", "solid"])
def test_no_step_waits_for_its_device(
    method: str,
    dimension: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loading, "resident_on", lambda *_: True)  # as on a GPU
    root = request.getfixturevalue(dimension)
    dataset, patch = (
        ("phantom_acdc", None) if dimension == "flat" else ("phantom_brats2019", [16, 16, 16])
    )
    found = recorded(root, tmp_path, method, dataset, patch)
    if load_method(method).uncaptured in WAITS:
        assert found, f"{method} is no exception any more"
    else:
        assert not found, f"{method} waits for the device: {dict(found)}"


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x[0].item(),
        lambda x: bool(x.any()),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.masked_select(x > 0),
        lambda x: x.cpu(),
        lambda x: x.numpy(),
        lambda x: x.tolist(),
        lambda x: x + torch.tensor([1.0, 2.0]),
    ],
)
def test_the_recorder_sees_each_kind_of_wait(wait: Callable[[Tensor], object]) -> None:
    values = torch.rand(2)
    recorder = Recorder()
    with recorder.listening():
        wait(values)
    assert recorder.found
    recorder = Recorder()
    with recorder.listening():
        (values * 2).sum().clamp(min=0).sqrt()
    assert not recorder.found
