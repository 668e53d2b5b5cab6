"""FixMatch's filter by entropy, the rule of nnFilterMatch."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from methods.base import Progress
from methods.blocks import strong
from methods.blocks.losses import supervised_loss
from methods.blocks.recent import Recent
from methods.fixmatch import FixMatch, FixMatchParams
from tests.pixel_net import batch, make


def tops(*values: float) -> Tensor:
    """Probabilities (N, 2, 1, 2) of images whose two pixels have p_0 = value."""
    p = torch.tensor(values)[:, None, None].expand(-1, 1, 2)
    return torch.stack([p, 1 - p], 1)


@pytest.mark.parametrize(
    ("step", "kept"),
    [
        (0, [0, 1, 2, 3, 4, 5, 6]),
        (99, [0, 1, 2, 3, 4, 5, 6]),
        (100, [0, 1, 2, 3, 4, 5]),  # the surest of 7 is below the 15th percentile
        (200, [0, 1, 2, 3, 4]),  # two are below the 27.75th
        (299, [0, 1, 2, 3, 4]),
    ],
)
def test_images_of_least_entropy_do_not_count(step: int, kept: list[int]) -> None:
    """`nnUNetTrainer_nnfiltermatch.py` @ 382b01d: after 100 and 200 of 300 epochs 15 % (1600-1654).

    Entropies fall from image to image; the certain ones leave, not the doubtful.
    """
    method = make(FixMatch, classes=2, values={"preset": "nnfiltermatch"})
    p = tops(0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
    keep, label = method.trusted(p, Progress(step, 300))
    assert keep.flatten(1).all(1).nonzero().flatten().tolist() == kept
    assert keep.flatten(1).any(1).sum().item() == len(kept)
    assert not label.any()


def test_an_images_entropy_is_the_sum_over_its_pixels() -> None:
    """Lines 1644-1645 there: ln 2 for each of two undecided pixels, .3251 each for p_0 = .9."""
    method = make(FixMatch, classes=2, values={"preset": "nnfiltermatch"})
    method.trusted(tops(0.5, 0.9), Progress(0, 300))
    assert method.recent.values[:2].tolist() == pytest.approx([2 * math.log(2), 2 * 0.3250830])


def test_images_are_compared_with_recent_ones() -> None:
    method = make(FixMatch, classes=2, values={"preset": "nnfiltermatch", "recent": 8})
    late = Progress(299, 300)
    method.trusted(tops(*[0.6] * 7), late)
    assert not method.trusted(tops(0.9), late)[0].any()
    assert method.trusted(tops(0.55), late)[0].all()
    method.trusted(tops(*[0.99] * 8), late)  # the doubtful ones are forgotten
    assert method.trusted(tops(0.9), late)[0].all()


def test_term_counts_every_pixel_of_the_images_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strong, "strong_view", lambda image: image)
    data, method = batch(unlabeled=5), make(FixMatch, values={"preset": "nnfiltermatch"})
    z = method.predict(data.unlabeled)
    p = z.softmax(1)
    h = -(p * p.log()).sum(1).flatten(1).sum(1)
    stays = h > h.sort().values[1]  # 27.75 % of four steps: the two least
    term = method.losses(data, Progress(900, 1000))["pseudo"]
    ce = F.cross_entropy(z, z.argmax(1), reduction="none")
    torch.testing.assert_close(term, ce[stays].sum() / ce.numel())
    assert method.take_acted()["pseudo"].item() == stays.sum().item() * 64


def test_labels_alone_at_the_start() -> None:
    """Line 1095 there: 20 of 300 epochs."""
    data, method = batch(), make(FixMatch, values={"preset": "nnfiltermatch"})
    early = method.losses(data, Progress(19, 300))
    expected = supervised_loss(method.predict(data.image), data.label)
    torch.testing.assert_close(early, {"supervised": expected})
    assert "pseudo" in method.losses(data, Progress(20, 300))
    assert FixMatchParams().start == 0


def test_recent_keeps_the_last_values() -> None:
    recent = Recent(4)
    recent.write(torch.tensor([5.0, 1.0]))
    assert recent.quantile(0.0).item() == 1 and recent.quantile(1.0).item() == 5
    recent.write(torch.tensor([7.0, 8.0, 9.0]))
    assert sorted(recent.values.tolist()) == [1, 7, 8, 9]
    recent.write(torch.arange(10.0))
    assert sorted(recent.values.tolist()) == [6, 7, 8, 9]
