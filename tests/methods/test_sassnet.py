"""SASSNet: who trains whom, terms with distances by scipy, the published values."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Player
from methods.blocks.distance import signed_distance
from methods.sassnet import SASSNet, SASSNetParams
from tests.pixel_net import END, batch, make


def published(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The formula of `compute_sdf`, `code/utils/util.py`: 137-148 at 1761aa8, by scipy."""
    inside, outside = (ndimage.distance_transform_edt(m) for m in (mask, ~mask))
    value = outside / outside.max() - inside / inside.max()
    value[mask & ~ndimage.binary_erosion(mask, border_value=1)] = 0
    return np.asarray(value)


def _moved(method: nn.Module, value: Tensor) -> set[str]:
    method.zero_grad()
    value.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    names = (n for n, p in method.named_parameters() if p.grad is not None and p.grad.any())
    return {n.split(".")[0] for n in names}


def test_each_term_trains_its_side() -> None:
    method = make(SASSNet, values={"width": 4, "weight": 1.0})
    terms = method.losses(batch(size=16), END)
    moved = {name: _moved(method, term) for name, term in terms.items()}
    segmenter = {"student", "distance_head"}
    assert moved == {
        "supervised": {"student"},
        # The pixel network hands the image itself to the head.
        "distance": segmenter - {"student"},
        "adversarial": segmenter - {"student"},
        "discriminator": {"discriminator"},
    }
    assert method.auxiliary == {"discriminator"}


def test_terms_by_hand() -> None:
    """Mean squared error of tanh(a x + b), and cross-entropies of D in and out of eval mode."""
    method, data = make(SASSNet, values={"width": 4, "weight": 0.7}), batch(size=16)
    method.discriminator.dropout.p = 0.0
    terms = method.losses(data, END)
    head = method.distance_head
    m = torch.tanh(
        head.weight[:, 0, 0, 0].view(1, 2, 1, 1) * data.images + head.bias.view(1, 2, 1, 1)
    )
    target = torch.stack(
        [
            torch.from_numpy(np.stack([published((y == k).numpy()) for k in (1, 2)]))
            for y in data.label
        ]
    )
    torch.testing.assert_close(terms["distance"], 0.3 * (m[:2] - target).square().mean().float())
    log_d = method.discriminator(m, data.images).log_softmax(1)
    ramp = math.exp(-5 * 0.001**2)
    torch.testing.assert_close(terms["adversarial"], -0.7 * ramp * log_d[2:, 1].mean())
    judged = -(log_d[:2, 1].sum() + log_d[2:, 0].sum()) / 5
    torch.testing.assert_close(terms["discriminator"], judged)


def test_published_values() -> None:
    """`train_gan_sdfloss.py` at 1761aa8: 37, 42, 47-48; 40 x 150 of 6,000 steps; README: 0.015."""
    p = SASSNetParams()
    assert (p.weight, p.ramp, p.beta) == (0.01, 40 * 150 / 6000, 0.3)
    assert SASSNetParams.model_validate({"preset": "few_labels"}).weight == 0.015
    assert make(SASSNet).players() == (Player("discriminator", 1e-4, "adam", "constant"),)


def test_distance_head_beats_a_constant() -> None:
    """On blobs of two sizes whose grey value falls with the distance, within 60 steps."""
    method = make(SASSNet, classes=2, values={"width": 4})
    data = batch(2, size=16)
    label = torch.zeros(2, 16, 16, dtype=torch.int64)
    label[0, 4:12, 4:12] = label[1, 2:7, 3:9] = 1
    target = signed_distance(label > 0)[:, None]
    data = type(data)(target, label, target[:1])
    optimizer = torch.optim.Adam(method.distance_head.parameters(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        method.losses(data, END)["distance"].backward()
        optimizer.step()
    error = F.mse_loss(torch.tanh(method.distance_head(target)), target)
    assert error < 0.1 * target.var()
