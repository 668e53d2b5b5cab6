"""Training on labels alone and its controls."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from benchmarks.config import UNetConfig
from benchmarks.engine.nets import Builder
from methods.base import Batch, Method
from methods.blocks.losses import supervised_loss
from methods.full_supervised import FullSupervised
from methods.supervised import Supervised, SupervisedParams
from tests.pixel_net import END, assert_same, batch, make


def small(**values: object) -> Supervised:
    """On a U-Net with batch norm, without dropout."""
    build = Builder(UNetConfig(channels=(4, 4, 8, 8)), ndim=2, in_channels=1, classes=3, seed=0)
    params = SupervisedParams.model_validate(values)
    method = Supervised(build, params, classes=3, ndim=2).train()
    for module in method.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return method


@pytest.mark.parametrize("cls", [Supervised, FullSupervised])
def test_the_loss_is_that_of_the_labels(cls: type[Method[Any]]) -> None:
    data, method = batch(), make(cls)
    l_sup = supervised_loss(method.predict(data.image), data.label)
    assert_same(method, method.losses(data, END)["supervised"], l_sup)


def test_strong_supervision_changes_the_images_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    data = batch()
    monkeypatch.setattr("methods.blocks.labeled.strong_view", lambda image: image + 1)
    method = make(Supervised, values={"strong": True})
    expected = supervised_loss(method.predict(data.image + 1), data.label)
    torch.testing.assert_close(method.losses(data, END)["supervised"], expected)


def test_unlabeled_images_pass_with_the_labelled_ones_at_weight_zero() -> None:
    """Loss and gradients are those of one forward pass of all images whose rest is thrown away."""
    data, method = batch(size=16), small(unlabeled_bn=True)
    other = copy.deepcopy(method)
    terms = method.losses(data, END)
    assert set(terms) == {"supervised"}
    logits = other.student(torch.cat([data.image, data.unlabeled]))
    expected = supervised_loss(logits[:2], data.label)
    torch.testing.assert_close(terms["supervised"], expected)
    for loss in (terms["supervised"], expected):
        loss.backward()  # type: ignore[no-untyped-call]
    for own, reference in zip(method.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(own.grad, reference.grad)
    torch.testing.assert_close(dict(method.named_buffers()), dict(other.named_buffers()))


def test_unlabeled_images_act_through_batch_norm_alone() -> None:
    data = batch(size=16)
    brighter = Batch(data.image, data.label, data.unlabeled + 3)
    losses, means = [], []
    for control in (False, True):
        for given in (data, brighter):
            method = small(unlabeled_bn=control)
            losses.append(method.losses(given, END)["supervised"].item())
            means.append(method.student.get_buffer("encoder.0.1.running_mean"))
    assert losses[0] == losses[1] != losses[2] != losses[3]
    assert torch.equal(means[0], means[1]) and not torch.equal(means[2], means[3])
    plain, with_others = (make(Supervised, values={"unlabeled_bn": v}) for v in (False, True))
    # A network without batch norm has nothing to see them with.
    assert plain.losses(data, END) == with_others.losses(data, END)


def test_batch_sizes() -> None:
    sizes = {
        name: Supervised.batch_sizes(SupervisedParams.model_validate(values), 4, 6)
        for name, values in {
            "default": {},
            "both": {"batch": "both"},
            "unlabeled_bn": {"unlabeled_bn": True},
            "strong": {"strong": True},
        }.items()
    }
    assert sizes == {"default": (4, 0), "both": (10, 0), "unlabeled_bn": (4, 6), "strong": (4, 0)}
