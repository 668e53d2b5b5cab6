"""Strong views, boxes, perturbed features and losses on trusted pseudo-labels."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from methods.blocks import mixing
from methods.blocks.features import channel_dropout, feature_drop, feature_noise, unit_dropout
from methods.blocks.mixing import cutmix_boxes, half_boxes, mixed, paste, paste_boxes
from methods.blocks.perturb import strong_view
from methods.blocks.pseudo import masked_cross_entropy, masked_dice_loss, pseudo_label

SIZES = [(16, 20), (8, 10, 12)]


@pytest.mark.parametrize("size", SIZES)
def test_strong_view_keeps_geometry_and_sanity(size: tuple[int, ...]) -> None:
    """An edge stays where it was, a constant image stays constant, nothing becomes non-finite."""
    torch.manual_seed(0)
    image = torch.zeros(32, 1, *size)
    image[..., size[-1] // 2 :] = 1
    changed = strong_view(image)
    assert changed.shape == image.shape
    assert changed.isfinite().all()
    assert (changed != image).flatten(1).any(1).sum() > 16
    jump = changed.diff(dim=-1).abs().flatten(1, -2).mean(1)
    assert (jump.argmax(1) == size[-1] // 2 - 1).all()
    flat = strong_view(torch.full((4, 2, *size), 3.0))
    assert torch.allclose(flat, torch.full_like(flat, 3.0), atol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_strong_view_knows_no_unit_and_keeps_the_order_of_values(size: tuple[int, ...]) -> None:
    views, image = [], torch.rand(16, 2, *size)
    for scale, offset in ((1.0, 0.0), (250.0, -40.0)):
        torch.manual_seed(3)
        views.append((strong_view(scale * image + offset) - offset) / scale)
    torch.testing.assert_close(views[0], views[1], rtol=0, atol=1e-4)
    changed = strong_view(image, jitter=1, blur=0).flatten(2)
    order = image.flatten(2).argsort(-1)
    assert (changed.gather(-1, order).diff(dim=-1) > -1e-5).all()


def test_strong_view_changes_four_of_five_images_and_blurs_half() -> None:
    """The probabilities of UniMatch: jitter 0.8, blur 0.5."""
    torch.manual_seed(0)
    image = torch.rand(1000, 1, 8, 8)
    for options, share in (({"blur": 0.0}, 0.8), ({"jitter": 0.0}, 0.5)):
        changed = (strong_view(image, **options) != image).flatten(1).any(1)
        assert changed.float().mean().item() == pytest.approx(share, abs=0.05)


def test_strong_view_of_probability_zero_is_the_image() -> None:
    image = torch.randn(3, 1, 9, 9)
    assert torch.equal(strong_view(image, jitter=0, blur=0), image)
    assert strong_view(image[:0]).shape == (0, 1, 9, 9)


@settings(max_examples=30, deadline=None)
@given(size=st.sampled_from(SIZES), seed=st.integers(0, 99), side=st.floats(0.2, 1.0))
def test_boxes_are_boxes(size: tuple[int, ...], seed: int, side: float) -> None:
    """The true pixels fill their bounding box, whose sides are what was asked for."""
    torch.manual_seed(seed)
    image = torch.zeros(5, 1, *size)
    for boxes in (
        paste_boxes(image, side=side),
        cutmix_boxes(image, probability=1.0),
        half_boxes(image, probability=1.0),
    ):
        assert boxes.shape == (5, 1, *size)
        for box in boxes[:, 0]:
            place = box.nonzero()
            extent = place.amax(0) - place.amin(0) + 1
            assert int(box.sum()) == int(extent.prod())
    exact = [max(1, round(side * s)) for s in size]
    assert (paste_boxes(image, side=side).flatten(1).sum(1) == math.prod(exact)).all()


def test_cutmix_mixes_the_asked_share_of_images_within_the_area_range() -> None:
    torch.manual_seed(0)
    boxes = cutmix_boxes(torch.zeros(2000, 1, 50, 50))
    share = boxes.float().flatten(1).mean(1)
    assert 0.45 < (share > 0).float().mean() < 0.55
    assert share.max() < 0.45


@pytest.mark.parametrize("ndim", [2, 3])
def test_boxes_of_u2pl_take_half_of_the_image(ndim: int) -> None:
    """`generate_cutout_mask` of its code: width from half on, area half of the image."""
    torch.manual_seed(0)
    boxes = half_boxes(torch.zeros(500, 1, *[40] * ndim), probability=1.0)
    share = boxes.float().flatten(1).mean(1)
    torch.testing.assert_close(share, torch.full((500,), 0.5), atol=0.05, rtol=0)
    width = boxes.flatten(1, -2).any(1).sum(1)
    assert width.min() == 20 and width.max() == 40
    other = boxes.flatten(3).any(3)[:, 0].sum(1)
    assert other.max() == 40 and other.min() == (20 if ndim == 2 else 28)  # 40 / sqrt 2
    some = half_boxes(torch.zeros(2000, 1, 8, 8), probability=0.5).flatten(1).any(1)
    assert 0.45 < some.float().mean() < 0.55


def test_mixed_takes_the_inside_from_another_image_of_the_batch() -> None:
    value = torch.arange(3).view(3, 1, 1).expand(3, 1, 2)
    inside = torch.tensor([True, False]).view(1, 1, 1, 2).expand(3, 1, 1, 2)
    assert mixed(inside, value).tolist() == [[[2, 0]], [[0, 1]], [[1, 2]]]


def test_boxes_of_uniform_aspect_have_one_side_that_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In 3D; of uniform numbers the logarithm reaches further down than up."""
    monkeypatch.setattr(mixing, "_SHARE", (0.05, 0.05))
    torch.manual_seed(0)
    boxes = cutmix_boxes(torch.zeros(200, 1, 64, 64, 64), probability=1.0)[:, 0]
    axes = ((2, 3), (1, 3), (1, 2))
    sides = torch.stack([boxes.any(b).any(a).sum(1) for a, b in axes], 1).float().log()
    sides = sides - sides.mean(1, keepdim=True)
    assert -sides.amin(1).mean() > 1.05 * sides.amax(1).mean()


def test_paste_takes_the_inside_from_the_new() -> None:
    inside = torch.tensor([[[[True, False]]]])
    new, old = torch.full((1, 2, 1, 2), 5.0), torch.zeros(1, 2, 1, 2)
    assert paste(inside, new, old).tolist() == [[[[5, 0]], [[5, 0]]]]
    assert paste(inside, new[:, 0].long(), old[:, 0].long()).tolist() == [[[5, 0]]]


def test_feature_noise_is_one_relative_map_for_the_batch() -> None:
    torch.manual_seed(0)
    feature = torch.rand(4, 8, 6, 6) + 1
    ratio = feature_noise(feature) / feature
    assert torch.allclose(ratio, ratio[:1].expand_as(ratio), atol=1e-6)
    assert 0.7 <= ratio.min() < 0.8 and 1.2 < ratio.max() <= 1.3


def test_feature_drop_silences_the_most_active_positions() -> None:
    torch.manual_seed(0)
    feature = torch.ones(2, 3, 1, 4) * torch.tensor([0.2, 0.5, 0.6, 1.0])
    dropped = feature_drop(feature)
    assert torch.equal(dropped[..., 3], torch.zeros(2, 3, 1))
    assert torch.equal(dropped[..., :3], feature[..., :3])


def test_dropouts_are_active_and_keep_the_mean() -> None:
    torch.manual_seed(0)
    ones = torch.ones(50, 40, 4, 4)
    values, (channels,) = unit_dropout(ones), channel_dropout([ones])
    assert values.mean() == pytest.approx(1, abs=0.02)
    assert (values == 0).float().mean() == pytest.approx(0.3, abs=0.02)
    whole = channels.flatten(2)
    assert torch.equal(whole.amin(2), whole.amax(2))
    assert (whole[..., 0] == 0).float().mean() == pytest.approx(0.5, abs=0.05)


def test_untrusted_pixels_are_ignored_and_do_not_become_background() -> None:
    """Losses of a map of which half is trusted depend on that half alone."""
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 4)
    label, confidence = pseudo_label(torch.randn(2, 3, 4, 4).softmax(1))
    keep = torch.zeros(2, 4, 4, dtype=torch.bool)
    keep[:, :2] = True
    other = logits.clone()
    other[:, :, 2:] = torch.randn(2, 3, 2, 4)
    for loss in (masked_cross_entropy, masked_dice_loss):
        assert loss(logits, label, keep) == loss(other, label, keep)
        nothing = loss(logits.requires_grad_(), label, torch.zeros_like(keep))
        assert nothing.item() == 0
        assert nothing.requires_grad
    whole = masked_cross_entropy(logits, label, torch.ones_like(keep))
    assert torch.allclose(whole, F.cross_entropy(logits, label))
    half = F.cross_entropy(logits[:, :, :2], label[:, :2]) / 2
    assert torch.allclose(masked_cross_entropy(logits, label, keep), half)
    assert (confidence > 1 / 3).all()


def test_masked_dice_by_hand() -> None:
    """Two pixels, one trusted: p = (.75, .25), label 0.

    Class 0: 1 - 2*.75/(.5625 + 1) = .04; class 1: 1 - 0/(.0625) = 1; mean .52.
    """
    logits = torch.tensor([[[3.0, 1.0], [1.0, 9.0]]]).log()
    label = torch.tensor([[0, 0]])
    keep = torch.tensor([[True, False]])
    assert masked_dice_loss(logits, label, keep, smooth=0).item() == pytest.approx(0.52)
