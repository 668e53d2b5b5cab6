"""Deliberate breaks that fit every method: what its terms, its data, its teacher do is changed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from methods.base import Batch, Method, Progress
from methods.blocks import averages, families
from methods.blocks.attraction import ClassAttraction
from methods.blocks.heads import ProjectionHead
from methods.blocks.scales import ScaleHeads
from methods.networks import Decoded, SegNet

Losses = Callable[[Any, Batch, Progress], dict[str, Tensor]]
Break = Callable[[type[Method[Any]]], None]


def _around(change: Callable[[Losses, Any, Batch, Progress], dict[str, Tensor]]) -> Break:
    """A break that stands around `losses`."""

    def apply(cls: type[Method[Any]]) -> None:
        losses: Losses = cls.losses

        @wraps(losses)
        def changed(self: Method[Any], batch: Batch, t: Progress) -> dict[str, Tensor]:
            return change(losses, self, batch, t)

        cls.losses = changed  # type: ignore[method-assign]

    return apply


def _term(name: str, change: Callable[[Tensor, Tensor], Tensor]) -> Break:
    """A break of one term, given the term and a zero that has a graph."""

    def losses(own: Losses, self: Any, batch: Batch, t: Progress) -> dict[str, Tensor]:
        terms = own(self, batch, t)
        if name in terms:
            terms[name] = change(terms[name], 0 * terms["supervised"])
        return terms

    return _around(losses)


def _data(change: Callable[[Batch], Batch]) -> Break:
    return _around(lambda own, self, batch, t: own(self, change(batch), t))


def _noise(batch: Batch) -> Batch:
    return replace(batch, unlabeled=torch.randn_like(batch.unlabeled))


def _labels_of_others(batch: Batch) -> Batch:
    return replace(batch, label=batch.label.roll(1, 0))


def _replace(cls: type[Method[Any]], name: str, function: Callable[..., Any]) -> None:
    """Put a function in the place of another one wherever the method finds it."""
    for module in (sys.modules[cls.__module__], families, averages):
        if hasattr(module, name):
            setattr(module, name, function)


def _ramp(value: float) -> Break:
    return lambda cls: _replace(cls, "sigmoid_ramp", lambda *_, **__: value)


def _copying_teacher(cls: type[Method[Any]]) -> None:
    from methods.blocks.ema import ema_update

    def update(teacher: nn.Module, student: nn.Module, *, decay: float, step: int) -> None:
        del decay, step
        ema_update(teacher, student, decay=0.0, step=0)

    _replace(cls, "ema_update", update)


def _resting(cls: type[Method[Any]]) -> None:
    cls.after_step = lambda self, t: None  # type: ignore[method-assign] # noqa: ARG005


def _student_teaches(own: Losses, self: Any, batch: Batch, t: Progress) -> dict[str, Tensor]:
    """The student stands in for every teacher, without gradient."""
    kept = {n: m for n, m in self._modules.items() if n.startswith("teacher")}
    for name in kept:
        source = getattr(self, "head" if name.endswith("head") else "student")
        self._modules[name] = _Frozen(source)
    try:
        return own(self, batch, t)
    finally:
        self._modules.update(kept)


class _Frozen(nn.Module):
    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        self.__dict__["source"] = source

    @torch.no_grad()
    def forward(self, *args: Any) -> Any:
        return self.source(*args)

    def __getattr__(self, name: str) -> Any:
        if name in {"encode", "decode"}:
            return torch.no_grad()(getattr(self.source, name))
        return super().__getattr__(name)


def _companion_tested(cls: type[Method[Any]]) -> None:
    cls.predict = lambda self, image: next(iter(self.companions().values()))(image)  # type: ignore[method-assign]


def _cut_heads(cls: type[Method[Any]]) -> None:
    """Heads read features without gradient."""
    del cls
    rows, forward, pull = ProjectionHead.rows, ProjectionHead.forward, ClassAttraction.pull
    scales, linear = ScaleHeads.forward, nn.Linear.forward
    changed: list[tuple[Any, str, Any]] = [
        (ProjectionHead, "rows", lambda self, x: rows(self, x.detach())),
        (ProjectionHead, "forward", lambda self, x: forward(self, x.detach())),
        (ClassAttraction, "pull", lambda self, x, y: pull(self, x.detach(), y)),
        (ScaleHeads, "forward", lambda self, view, *a: scales(self, _cut(view), *a)),
        (nn.Linear, "forward", lambda self, x: linear(self, x.detach())),
    ]
    for owner, name, function in changed:
        setattr(owner, name, function)


def _cut(view: Decoded) -> Decoded:
    return Decoded(view.logits, tuple(stage.detach() for stage in view.stages))


def _cut_decoders(own: Losses, self: Any, batch: Batch, t: Progress) -> dict[str, Tensor]:
    """All decoders but the tested one read levels without gradient."""
    nets = [m for m in self.modules() if isinstance(m, SegNet)]
    for net in nets:
        decode = net.decode
        net.__dict__["decode"] = lambda levels, decoder=0, decode=decode: decode(
            [x.detach() if decoder else x for x in levels], decoder
        )
    try:
        return own(self, batch, t)
    finally:
        for net in nets:
            del net.__dict__["decode"]


def _rolled(*, classes: bool) -> Break:
    """Targets of other images of the batch, or of other classes."""

    def apply(cls: type[Method[Any]]) -> None:
        def rolled(value: Tensor) -> Tensor:
            return value.roll(1, 1 if classes else 0)

        for name in ("target", "teacher_probability"):
            if name in vars(cls):
                own = vars(cls)[name]
                setattr(cls, name, lambda self, image, own=own: rolled(own(self, image)))
            elif hasattr(cls, name):
                inherited = getattr(cls, name)
                setattr(cls, name, lambda self, image, own=inherited: rolled(own(self, image)))
        module = sys.modules[cls.__module__]
        if hasattr(module, "pseudo_label"):
            make = module.pseudo_label
            module.pseudo_label = lambda p: make(rolled(p))  # type: ignore[attr-defined]

    return apply


def _of_companions(method: Method[Any]) -> Iterator[tuple[str, Break]]:
    names = list(method.companions())
    if type(method).after_step is not Method.after_step and names:
        yield "no update after the step", _resting
        if any(name.startswith("teacher") for name in names):
            yield "teacher copies the student", _copying_teacher
    if any(name.startswith("teacher") for name in method._modules):
        yield "student teaches", _around(_student_teaches)
    if names:
        yield "companion is tested", _companion_tested


def breaks(method: Method[Any], terms: set[str]) -> Iterator[tuple[str, Break]]:
    """Those breaks that change something in a method.

    Args:
        method: in train mode.
        terms: names of its loss terms.
    """
    for name in sorted(terms):
        yield f"{name}: weight 0", _term(name, lambda term, zero: 0 * term + zero)
        yield f"{name}: no gradient", _term(name, lambda term, zero: term.detach() + zero)
        yield f"{name}: gradient reversed", _term(name, lambda term, _: 2 * term.detach() - term)
    yield "labels of other images", _data(_labels_of_others)
    if method.uses_unlabeled:
        yield "noise for unlabelled images", _data(_noise)
    module = sys.modules[type(method).__module__]
    if hasattr(module, "sigmoid_ramp") or "ramp" in type(method.params).model_fields:
        yield "ramp stuck at 0", _ramp(0.0)
        yield "ramp stuck at 1", _ramp(1.0)
    yield from _of_companions(method)
    if hasattr(module, "pseudo_label") or hasattr(method, "target"):
        yield "targets of other images", _rolled(classes=False)
        yield "targets of other classes", _rolled(classes=True)
    if any(isinstance(m, ProjectionHead | ClassAttraction | ScaleHeads) for m in method.modules()):
        yield "heads cut from the network", _cut_heads
    if any(isinstance(m, SegNet) and len(m.decoders) > 1 for m in method.modules()):
        yield "auxiliary decoders cut from the encoder", _around(_cut_decoders)
