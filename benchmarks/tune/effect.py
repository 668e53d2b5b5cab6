"""Leaves out ranges of parameters that have no effect beside the others of their row.

A parameter has none if the method never reads it: with `split: per_class_percentile` EGCL-Net reads
`quantile` and not `tau`, so all values of `tau` train the same weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import new_class
from typing import Any

import torch

from benchmarks.common.errors import ConfigError
from benchmarks.config import UNetConfig
from benchmarks.engine.nets import Builder
from benchmarks.plan.resolve import dimension, method_params, train_config
from benchmarks.tune.study import Plan, trial_config
from methods import load_method
from methods.base import Method, MethodParams, Progress

# The steps that are watched: of 2 labelled and 2 unlabelled images of noise.
_CHANNELS = (4, 4, 8, 8)
_SIZE = {2: 32, 3: 16}
_CLASSES, _IMAGES = 4, 2


def with_effect(plan: Plan, *, given: bool, say: Callable[[str], None]) -> Plan:
    """The plan without the ranges of parameters that its row never reads.

    Args:
        plan: whose ranges are of parameters of the method or of training.
        given: the ranges were given by hand, so none of them is left out unasked.
        say: is told of every range that is left out.

    Raises:
        ConfigError: a parameter without effect was given, or no other one declares a range; or an
            end of a range is refused.
    """
    read = _read_in_row(plan)
    idle = [r.name for r in plan.space if not r.name.startswith("train.") and r.name not in read]
    if not idle:
        return plan
    left = tuple(r for r in plan.space if r.name not in idle)
    block = ", ".join(f"{k}: {v}" for k, v in plan.config.methods.get(plan.method, {}).items())
    why = f"{plan.method} with {{{block}}} never reads {', '.join(idle)}"
    remedy = _remedy(plan, read)
    if given or not left:
        raise ConfigError(f"{why}, so there is nothing to search; {remedy}")
    say(f"{why}, so {', '.join(r.name for r in left)} alone are searched; {remedy}")
    return replace(plan, space=left)


def _remedy(plan: Plan, read: frozenset[str]) -> str:
    """The numbers that the row reads, and which of them it would not read by default."""
    cls = load_method(plan.method)
    fields = cls.Params.model_fields
    numbers = [n for n, field in fields.items() if n in read and field.annotation in (int, float)]
    ndim = dimension(plan.config, plan.dataset)
    usual = _read(cls, cls.Params(), ndim, plan.config.train_for(plan.dataset).iterations)
    fresh = [name for name in numbers if name not in usual]
    meant = f"{', '.join(fresh)} may be meant: " if fresh else ""
    ranges = "".join(f" --parameter {name}=LOW:HIGH" for name in fresh or ["NAME"])
    return f"{meant}give{ranges}. It reads {', '.join(numbers)}"


def _read_in_row(plan: Plan) -> frozenset[str]:
    """Parameters that are read with all ranges at their low ends, or at their high ones."""
    ndim = dimension(plan.config, plan.dataset)
    found: frozenset[str] = frozenset()
    for end in ("lowest", "highest"):
        values = {r.name: getattr(r, end) for r in plan.space}
        config = trial_config(plan, values, f"{plan.method}-{end}")
        (row,) = config.grid.methods
        params, train = method_params(config, row, ndim), train_config(config, plan.dataset, row)
        found |= _read(load_method(plan.method), params, ndim, train.iterations)
    return found


def _read(cls: type[Method[Any]], params: MethodParams, ndim: int, total: int) -> frozenset[str]:
    """Parameters that a method reads in its first, middle and last step.

    Returns:
        Their names; of a method whose steps fail all, since a trial tells the error and its line.
    """
    read: set[str] = set()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            _steps(cls, _noting(params, read), ndim, total)
    except Exception:  # whatever a method raises
        return frozenset(cls.Params.model_fields)
    return frozenset(read)


def _steps(cls: type[Method[Any]], params: MethodParams, ndim: int, total: int) -> None:
    network = UNetConfig(channels=_CHANNELS)
    builder = Builder(network, ndim=ndim, in_channels=1, classes=_CLASSES, seed=0)
    method = cls(builder, params, classes=_CLASSES, ndim=ndim).train()
    method.players()
    labeled, unlabeled = cls.batch_sizes(params, _IMAGES, _IMAGES)
    size = _SIZE[ndim]
    shape = (labeled + unlabeled, *[size] * ndim)
    label = (torch.arange(size) * _CLASSES // size).expand(shape)
    for step in (0, total // 2, total - 1):
        t = Progress(step, total)
        batch = method.batch_of(torch.randn(shape).unsqueeze(1), label, labeled)
        loss = torch.stack(list(method.losses(batch, t).values())).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        method.after_step(t)
    method.eval().predict(batch.image)


def _noting(params: MethodParams, read: set[str]) -> MethodParams:
    """The same parameters; whenever one is read, its name is noted."""
    kind = type(params)

    def noted(self: MethodParams, name: str) -> Any:
        if name in kind.model_fields:
            read.add(name)
        return kind.__getattribute__(self, name)

    noting = {"__module__": __name__, "__getattribute__": noted}
    made: Any = new_class("Noting", (kind,), exec_body=lambda body: body.update(noting))
    # Not `dict(params)`, since a parameter may be called `keys`.
    values = {name: getattr(params, name) for name in kind.model_fields}
    copy: MethodParams = made.model_construct(**values)
    return copy
