"""DTC: the published signed distance, and the losses of the code on fixed outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation, distance_transform_edt
from torch import Tensor

from methods.base import Progress
from methods.blocks.distance import signed_distance
from methods.dtc import DTC, DTCParams
from tests.methods.fixed import striped, wave
from tests.methods.given_net import GivenNet, blank
from tests.pixel_net import END

# A square of 3 x 3 in 6 x 5 pixels and what `compute_sdf` of github.com/HiLab-git/DTC at 2525b9c
# gives for it (`code/utils/util.py:123-150`): the largest distance is sqrt(5) outside, 2 inside.
SQUARE = torch.zeros(6, 5, dtype=torch.bool)
SQUARE[1:4, 1:4] = True
A, B, C = 0.6324555, 0.4472136, 0.8944272
SIGNED = [
    [A, B, B, B, A],
    [B, 0, 0, 0, B],
    [B, 0, -1, 0, B],
    [B, 0, 0, 0, B],
    [A, B, B, B, A],
    [1, C, C, C, 1],
]


def test_published_signed_distance() -> None:
    torch.testing.assert_close(signed_distance(SQUARE[None])[0], torch.tensor(SIGNED))
    volume = signed_distance(striped(2, 4, 5, 6, up=1, down=37, classes=2) == 1)
    third = 0.5773503
    assert volume.flatten()[::17].tolist() == pytest.approx(
        [1, third, third, 0, 0, third, third, 0, 0, 1, 1, 0, 0, 0, 1], abs=1e-6
    )
    assert volume.abs().sum().item() == pytest.approx(100.8205938, abs=1e-4)


@pytest.mark.parametrize("shape", [(9, 14), (6, 7, 9)])
def test_signed_distance_equals_scipys(shape: tuple[int, ...]) -> None:
    mask = np.random.default_rng(0).random((3, *shape)) < 0.8
    for one, value in zip(mask, signed_distance(torch.from_numpy(mask)).numpy(), strict=True):
        outside, inside = distance_transform_edt(~one), distance_transform_edt(one)
        expected = outside / outside.max() - inside / inside.max()
        expected[one & binary_dilation(~one)] = 0
        np.testing.assert_allclose(value, expected, atol=1e-6)


def test_absent_classes_are_far_and_full_ones_deep() -> None:
    masks = torch.stack([torch.zeros(4, 4), torch.ones(4, 4)]).bool()
    far, deep = signed_distance(masks)
    assert (far == 1).all() and (deep == -1).all()


def method_of(level: Tensor, logits: Tensor, **values: object) -> DTC:
    """On fixed level sets before the tanh (N, K - 1, *S) and logits (N, K, *S)."""
    params = DTCParams.model_validate({"weight": 1.0, "ramp": 1e-9, **values})
    net = GivenNet(logits, level)
    method = DTC(lambda **_: net, params, classes=logits.shape[1], ndim=logits.ndim - 2)
    eye = torch.eye(level.shape[1])
    method.head.weight.data.copy_(eye.view_as(method.head.weight))
    method.head.bias.data.zero_()  # type: ignore[union-attr]
    return method


def test_published_losses() -> None:
    """`train_la_dtc.py:175-191` there, for which p is a sigmoid: the softmax of (0, z)."""
    level, z = (
        wave(3, 1, 4, 4, 4, phase=0.2, scale=0.002),
        wave(3, 1, 4, 4, 4, phase=1.1, scale=2),
    )
    label = striped(2, 4, 4, 4, up=1, down=11, classes=2)
    method = method_of(level, torch.cat([torch.zeros_like(z), z], 1))
    terms = method.losses(blank(2, 1, label), END)
    assert terms["level_set"].item() == pytest.approx(0.3 * 0.2968509, abs=1e-6)
    assert terms["consistency"].item() == pytest.approx(0.3390374, abs=1e-5)


def test_every_foreground_class_has_its_level_set() -> None:
    """Level sets of the labels themselves have no loss; those of swapped classes have one."""
    label = torch.zeros(1, 6, 6, dtype=torch.int64)
    label[:, :3, :3], label[:, 4:, 4:] = 1, 2
    exact = torch.stack([signed_distance(label == c) for c in (1, 2)], 1).clamp(-0.999999, 0.999999)
    one_hot = 40 * torch.nn.functional.one_hot(label, 3).movedim(-1, 1).float()
    for order, right in (([0, 1], True), ([1, 0], False)):
        level = torch.cat([exact[:, order].atanh()] * 2)
        terms = method_of(level, torch.cat([one_hot] * 2)).losses(blank(1, 1, label), END)
        assert (terms["level_set"].item() < 1e-6) == right
        # The boundary alone differs: a level of 0 is a mask of 1 / 2, where p is 1.
        boundary = sum((exact[:, c] == 0).sum().item() for c in (0, 1))
        if right:
            expected = 0.25 * boundary / (2 * 36)
            assert terms["consistency"].item() == pytest.approx(expected, rel=1e-4)


def test_published_values() -> None:
    """`train_la_dtc.py:33,50-63`: w up to 1 over 40 x 150 of 6,000 steps, beta 0.3, k 1500."""
    p = DTCParams()
    assert (p.weight, p.ramp, p.beta, p.slope) == (1.0, 1.0, 0.3, 1500.0)
    assert p.weight_at(Progress(6000, 6000)) == 1.0
