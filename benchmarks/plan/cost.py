"""What a method costs: networks, parameters and operations, counted on a small step."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.config import UNetConfig
from benchmarks.engine.first import check_terms
from benchmarks.engine.nets import Builder
from methods import load_method
from methods.base import Method, MethodParams, Progress
from methods.blocks.losses import supervised_loss
from methods.networks import NetBuilder, SegNet

# The counted step. Terms whose size is capped, such as contrast, weigh less on larger images, and
# are counted at their cap, whether or not a run fills it.
_CHANNELS = (8, 16, 32, 64)
_SIZE = {2: 96, 3: 16}
_CLASSES, _IMAGES = 4, 4
_LATE = Progress(999, 1000)


@dataclass(frozen=True)
class MethodEntry:
    """What a method's file tells of it.

    Attributes:
        id: of the method.
        title: name in tables.
        paper: citation.
        year: of the paper; 0 where the citation has none.
        params: defaults of the parameters.
    """

    id: str
    title: str
    paper: str
    year: int
    params: dict[str, Any]


@dataclass(frozen=True)
class MethodCost(MethodEntry):
    """Its size and cost too, on a 2D U-Net.

    Attributes:
        networks: segmentation networks, teachers included.
        decoders: of all networks together.
        parameters: trained parameters relative to one U-Net.
        cost: operations of one step, forward and backward, relative to a supervised step on as many
            labelled images as the method sees labelled and unlabelled ones.
        dimensions: those in which a step with all terms gives a finite loss.
    """

    networks: int
    decoders: int
    parameters: float
    cost: float
    dimensions: str


def method_entry(name: str) -> MethodEntry:
    """What the file of a method tells, without any counting.

    Args:
        name: method id.

    Raises:
        ConfigError: no such method.
    """
    cls = load_method(name)
    year = re.search(r"\b(?:19|20)\d\d\b", cls.paper)
    defaults = {key: field.default for key, field in cls.Params.model_fields.items()}
    return MethodEntry(name, cls.title, cls.paper, int(year.group()) if year else 0, defaults)


def method_cost(name: str) -> MethodCost:
    """Count one method with its default parameters.

    Args:
        name: method id.

    Raises:
        ConfigError: no such method.
    """
    entry, cls = method_entry(name), load_method(name)
    params = cls.Params()
    method, plain = _method(cls, params, 2), _builder(2)()
    nets = {id(m): m for m in method.modules() if isinstance(m, SegNet)}.values()
    return MethodCost(
        **vars(entry),
        networks=len(nets),
        decoders=sum(len(net.decoders) for net in nets),
        parameters=_trained(method) / _trained(plain),
        cost=step_cost(cls, params),
        dimensions=", ".join(
            f"{n}D" for n in _SIZE if _loss(_method(cls, params, n), n).isfinite()
        ),
    )


@lru_cache(maxsize=256)
def step_cost(cls: type[Method[Any]], params: MethodParams) -> float:
    """Operations of one step, forward and backward, relative to a supervised step.

    Args:
        cls: the method.
        params: its parameters.
    """
    method = _method(cls, params, 2)
    return _operations(lambda: _loss(method, 2)) / _plain_operations()


@lru_cache
def _plain_operations() -> int:
    plain = _builder(2)()
    return _operations(lambda: _plain_loss(plain))


def _builder(ndim: int) -> NetBuilder:
    network = UNetConfig(channels=_CHANNELS)
    return Builder(network, ndim=ndim, in_channels=1, classes=_CLASSES, seed=0)


def _method(cls: type[Method[Any]], params: MethodParams, ndim: int) -> Method[Any]:
    torch.manual_seed(0)
    return cls(_builder(ndim), params, classes=_CLASSES, ndim=ndim).train()


def _images(count: int, ndim: int) -> tuple[Tensor, Tensor]:
    """Noise, and labels in equal vertical stripes."""
    size = _SIZE[ndim]
    stripes = (torch.arange(size) * _CLASSES // size).expand(count, *[size] * ndim)
    return torch.randn(count, 1, *[size] * ndim), stripes


def _loss(method: Method[Any], ndim: int) -> Tensor:
    """Sum of all terms late in the run."""
    labeled, unlabeled = method.batch_sizes(method.params, _IMAGES // 2, _IMAGES // 2)
    image, label = _images(labeled + unlabeled, ndim)
    terms = method.losses(method.batch_of(image, label, labeled), _LATE)
    check_terms(method, terms)
    return torch.stack(list(terms.values())).sum()


def _plain_loss(net: SegNet) -> Tensor:
    image, label = _images(_IMAGES, 2)
    return supervised_loss(net.train()(image), label)


class _WholeStep:
    """Stands for the counter's module tracker, whose hooks forbid gradients inside a loss."""

    parents: ClassVar[set[str]] = {"Global"}

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass


def _operations(loss: Callable[[], Tensor]) -> int:
    """Multiply-adds of convolutions and matrix products, forward and backward."""
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = _WholeStep()  # type: ignore[assignment]
    with counter:
        loss().backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())


def _trained(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def markdown(rows: Sequence[MethodCost]) -> str:
    """The methods as a Markdown table, the cheapest first."""
    lines = [
        "| id | method | paper | networks | decoders | parameters | cost of a step |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for r in sorted(rows, key=lambda row: (row.cost, row.id)):
        cells = (r.id, r.title, r.paper, r.networks, r.decoders)
        counted = f"{r.parameters:.2f} | {r.cost:.2f}"
        lines.append(f"| {' | '.join(map(str, cells))} | {counted} |")
    return "\n".join(lines) + "\n"
