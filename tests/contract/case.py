"""A method in miniature for the contract: tiny networks, an easy task, what moves what."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pytest
import torch
from _pytest.mark import ParameterSet
from torch import Tensor, nn

from benchmarks.config import OptimizerConfig, UNetConfig
from benchmarks.engine.nets import Builder
from benchmarks.engine.optim import Optimizers
from methods import load_method, method_ids
from methods.base import Batch, Method, Progress
from methods.networks import Decoded, NetBuilder, SegNet

TOTAL = 1000
END = Progress(TOTAL - 1, TOTAL)
SIZE = {2: 32, 3: 16}
CPU = torch.device("cpu")
# Values that cost less time and change no rule; a method takes those it has. The runs are so short
# that a teacher of the usual decay would stay at its start.
SMALL = {"passes": 2, "anchors": 16, "keys": 64, "dim": 16, "width": 8, "decay": 0.8}


class Scaled(SegNet):
    """A network whose logits are multiplied by a constant."""

    def __init__(self, net: SegNet, scale: float) -> None:
        super().__init__()
        self.net, self.scale, self.decoders = net, scale, net.decoders
        self.level_channels, self.stage_channels = net.level_channels, net.stage_channels

    def encode(self, image: Tensor) -> list[Tensor]:
        return self.net.encode(image)

    def decode(self, levels: Sequence[Tensor], decoder: int = 0) -> Decoded:
        view = self.net.decode(levels, decoder)
        return Decoded(view.logits * self.scale, view.stages)


class Case:
    """A method with tiny networks, its optimiser and an easy task."""

    def __init__(self, name: str, ndim: int, classes: int, device: torch.device = CPU) -> None:
        self.cls = load_method(name)
        self.ndim, self.classes, self.device = ndim, classes, device

    def make(
        self,
        seed: int = 0,
        wrap: Callable[[SegNet], SegNet] = lambda net: net,
        given: Mapping[str, object] = MappingProxyType({}),
    ) -> Method[Any]:
        small = {key: SMALL[key] for key in SMALL.keys() & self.cls.Params.model_fields.keys()}
        build: NetBuilder = Builder(
            UNetConfig(channels=(4, 8, 8, 8)),
            ndim=self.ndim,
            in_channels=1,
            classes=self.classes,
            seed=seed,
        )
        torch.manual_seed(seed)
        return (
            self.cls(
                lambda **options: wrap(build(**options)),
                self.cls.Params.model_validate(
                    self.cls.Params.block({**small, **given}, self.ndim)
                ),
                classes=self.classes,
                ndim=self.ndim,
            )
            .train()
            .to(self.device)
        )

    def batch(self, seed: int, labeled: int = 2, unlabeled: int = 3) -> Batch:
        """Noisy blobs, one of each class, whose brightness tells the class.

        In the first half of the first axis fog takes all contrast, so that a trained
        network is sure of some pixels of every class and unsure of others.
        """
        g = torch.Generator().manual_seed(seed)
        n, size = labeled + unlabeled, SIZE[self.ndim]
        grid = torch.stack(torch.meshgrid(*[torch.arange(size)] * self.ndim, indexing="ij"))
        label = torch.zeros(n, *grid.shape[1:], dtype=torch.int64)
        for k in range(1, self.classes):
            centre = (0.3 + 0.4 * torch.rand(n, self.ndim, *[1] * self.ndim, generator=g)) * size
            label[((grid - centre).square().sum(1)) < (0.3 * size) ** 2] = k
        image = 2 * label[:, None] / (self.classes - 1) - 1
        image = torch.where(grid[0] < size // 2, torch.zeros_like(image), image)
        image = image + 0.1 * torch.randn(image.shape, generator=g)
        # What an oracle is told is what can be seen: classes hidden by fog cannot be told apart.
        label[labeled:] = label[labeled:].where(grid[0] >= size // 2, 0)
        if not self.cls.uses_unlabeled:
            image, label = image[:labeled], label[:labeled]
        return self.cls.batch_of(image.to(self.device), label.to(self.device), labeled)


def optimizer_of(method: Method[Any]) -> Optimizers:
    return Optimizers(method, OptimizerConfig(lr=0.1))


def total_loss(method: Method[Any], batch: Batch, t: Progress = END) -> Tensor:
    return torch.stack(list(method.losses(batch, t).values())).sum()


def train(
    case: Case, method: Method[Any], optimizer: Optimizers, steps: range
) -> Iterator[dict[str, Tensor]]:
    """Steps at full weight as the engine makes them; random numbers are a function of the step."""
    for step in steps:
        torch.manual_seed(1000 + step)
        t = Progress(TOTAL - 100 + step, TOTAL)
        terms = method.losses(case.batch(step), t)
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        method.after_step(t)
        yield {name: term.detach() for name, term in terms.items()}


def trained(case: Case, steps: int = 4) -> Method[Any]:
    method = case.make()
    list(train(case, method, optimizer_of(method), range(steps)))
    return method


def gradients(method: Method[Any], value: Tensor) -> dict[str, Tensor]:
    """Gradient of a value for every trained parameter it reaches."""
    names, parameters = zip(
        *[(n, p) for n, p in method.named_parameters() if p.requires_grad], strict=True
    )
    found = torch.autograd.grad(value, parameters, allow_unused=True, retain_graph=True)
    return {n: g for n, g in zip(names, found, strict=True) if g is not None}


def state_of(method: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in method.state_dict().items()}


def assert_same_bits(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def assert_same_terms(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    """Bits, on a CPU; CUDA adds up the mean of a cross entropy, which no gradient reads, anyhow."""
    assert a.keys() == b.keys()
    for name, term in a.items():
        rounding = 0.0 if term.device.type == "cpu" else 1e-6
        torch.testing.assert_close(b[name], term, rtol=rounding, atol=0.0)


def assert_well_formed(terms: dict[str, Tensor]) -> None:
    assert "supervised" in terms
    for name, term in terms.items():
        assert term.shape == () and term.dtype == torch.float32, name
        assert term.isfinite() and term.item() >= 0, name
        assert term.requires_grad, name


def cases(*, solid: bool = True, binary: bool = True) -> Iterator[ParameterSet]:
    """Every method in 2D and 3D with 2 and 4 classes; `make contract` adds 3D with 2.

    Args:
        solid: False leaves all of 3D to `make contract`, for tests that train for long.
        binary: False leaves all of 2 classes to `make contract`, for tests of what is kept of a
            step (weights, state, bits) and not of a formula.
    """
    for method, ndim, classes in itertools.product(method_ids(), (2, 3), (2, 4)):
        later = (ndim == 3 and not solid) or (classes == 2 and (ndim == 3 or not binary))
        marks = [pytest.mark.wide] if later else []
        name = f"{method}-{ndim}d-{classes}"
        yield pytest.param((method, ndim, classes), id=name, marks=marks)
