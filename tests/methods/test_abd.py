"""ABD: what the published displacement moves where, which image each network sees, weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from methods.abd import ABD
from methods.base import Batch, Progress
from methods.blocks.losses import dice_loss, supervised_loss
from methods.blocks.patches import from_patches, patch_means, to_patches
from tests.methods.fixed import mixed
from tests.pixel_net import END, batch, make

HALF = Progress(500, 1000)


def codes(first: int, images: int) -> Tensor:
    """(N, 1, 8, 8): patch p of 16 of image i holds `first + 16 i + p`."""
    number = torch.arange(16).view(4, 4).repeat_interleave(2, 0).repeat_interleave(2, 1)
    return (first + 16 * torch.arange(images).view(-1, 1, 1, 1) + number).float()


def moves(old: Tensor, new: Tensor) -> list[set[tuple[float, float]]]:
    """Per image the codes that were replaced, with what replaced them."""
    pairs = zip(old.flatten(1).tolist(), new.flatten(1).tolist(), strict=True)
    return [{(a, b) for a, b in zip(x, y, strict=True) if a != b} for x, y in pairs]


def logits() -> tuple[Tensor, Tensor]:
    return 3 * mixed(6, 3, 8, 8, seed=1), 3 * mixed(6, 3, 8, 8, seed=2)


def test_reliable_displacement_is_the_published_one() -> None:
    """`ABD_R` of `code/utils/displacement.py` at 4efd525 on these inputs, 3 images, top_num 4."""
    z_1, z_2 = (z[3:] for z in logits())
    views = codes(48, 3), codes(1048, 3)
    method = make(ABD)
    new = method.reliable(views, (z_1, z_2))
    assert moves(torch.cat(views), new) == [
        {(56, 1062)},
        {(66, 1070)},
        {(94, 1092)},
        {(1055, 52)},
        {(1072, 78)},
        {(1093, 86)},
    ]
    c_1, c_2 = (F.avg_pool2d(z.softmax(1).amax(1), 2).flatten(1) for z in (z_1, z_2))
    gain = sum(c_2[i, p] - c_1[i].min() for i, p in enumerate((14, 6, 12))) / 3
    torch.testing.assert_close(method.take_observed()["confidence_gain"], gain)


def test_inverse_displacement_is_the_published_one() -> None:
    """`ABD_I` there, every image displaced; a label goes with its patch."""
    z_1, z_2 = (z[:3] for z in logits())
    views, label = (codes(0, 3), codes(1000, 3)), codes(0, 3)[:, 0].long()
    image, label_of = make(ABD, values={"inverse_chance": 1.0}).inverse(views, label, (z_1, z_2))
    expected = [(10, 1011), (23, 1017), (40, 1038), (1002, 1), (1018, 22), (1032, 36)]
    assert moves(torch.cat(views), image) == [{pair} for pair in expected]
    assert torch.equal(label_of, image[:, 0].long() % 1000)


def test_inverse_displacement_leaves_images_alone() -> None:
    z = tuple(v[:3] for v in logits())
    views, label = (codes(0, 3), codes(1000, 3)), codes(0, 3)[:, 0].long()
    image, label_of = make(ABD, values={"inverse_chance": 0.0}).inverse(views, label, z)
    assert torch.equal(image, torch.cat(views))
    assert torch.equal(label_of, torch.cat([label, label]))


def test_total_loss_is_the_published_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """`train_ACDC_Cross_Teaching.py`: 197-214 there, w(t) = 0.1 exp(-5 / 4) at half of the run."""
    monkeypatch.setattr("methods.abd.strong_view", lambda x: 1 - x)
    method, data = make(ABD, values={"inverse_chance": 1.0}), batch(labeled=2, unlabeled=2)
    terms = method.losses(data, HALF)
    net_1, net_2 = method.net_1, method.net_2
    weak, strong = data.images, 1 - data.images
    z = net_1(weak), net_2(strong)
    torch.testing.assert_close(
        terms["supervised"],
        supervised_loss(z[0][:2], data.label) + supervised_loss(z[1][:2], data.label),
    )

    def taught(a: Tensor, b: Tensor) -> Tensor:
        return dice_loss(a.softmax(1), b.argmax(1)) + dice_loss(b.softmax(1), a.argmax(1))

    w = 0.1 * 0.2865048  # exp(-1.25)
    torch.testing.assert_close(terms["pseudo"], w * taught(z[0][2:], z[1][2:]))
    x_r = method.reliable((weak[2:], strong[2:]), (z[0][2:], z[1][2:]))
    torch.testing.assert_close(terms["displaced"], w * taught(net_1(x_r), net_2(x_r)))
    x_i, y_i = method.inverse((weak[:2], strong[:2]), data.label, (z[0][:2], z[1][:2]))
    both = supervised_loss(net_1(x_i), y_i) + supervised_loss(net_2(x_i), y_i)
    torch.testing.assert_close(terms["inverse"], 2 * both)


def test_inverse_term_ends_after_two_thirds() -> None:
    """`iter_num > 20000` of 30,000 steps drops it (202-204 there)."""
    method, data = make(ABD), batch(labeled=2, unlabeled=2)
    found = {s: "inverse" in method.losses(data, Progress(s, 30_000)) for s in (0, 20_000, 20_001)}
    assert found == {0: True, 20_000: True, 20_001: False}


@pytest.mark.parametrize("t", [HALF, END])
def test_every_term_moves_both_networks(t: Progress) -> None:
    method, data = make(ABD), batch(labeled=2, unlabeled=2)
    for name, term in method.losses(data, t).items():
        for net in (method.net_1, method.net_2):
            (slope,) = torch.autograd.grad(term, net.slope, retain_graph=True)
            assert slope.any(), name


@pytest.mark.parametrize("size", [(8, 12), (4, 8, 12)])
def test_patches_and_back(size: tuple[int, ...]) -> None:
    value = torch.arange(6.0 * math.prod(size)).view(2, 3, *size)
    patches = to_patches(value, 4)
    assert patches.shape == (2, 4 ** len(size), 3, *[s // 4 for s in size])
    last = tuple(slice(s - s // 4, s) for s in size)
    assert torch.equal(patches[1, -1], value[1][(slice(None), *last)])
    second = (*[slice(0, s // 4) for s in size[:-1]], slice(size[-1] // 4, size[-1] // 2))
    assert torch.equal(patches[0, 1], value[0][(slice(None), *second)])
    assert torch.equal(from_patches(patches, 4), value)
    torch.testing.assert_close(patch_means(value, 4)[1, -1], patches[1, -1].flatten(1).mean(1))


def test_networks_see_weak_and_strong_views(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("methods.abd.strong_view", lambda x: x + 100)
    method = make(ABD)
    seen: dict[str, Tensor] = {}
    for name in ("net_1", "net_2"):
        hook = lambda _m, args, n=name: seen.setdefault(n, args[0])  # noqa: E731
        getattr(method, name).register_forward_pre_hook(hook)
    data: Batch = batch(labeled=2, unlabeled=2)
    method.losses(data, END)
    assert torch.equal(seen["net_1"], data.images)
    assert torch.equal(seen["net_2"], data.images + 100)


def test_sides_have_to_be_multiples_of_the_patches() -> None:
    with pytest.raises(ValueError, match=r"\[8, 10\] cannot be cut into 4 equal patches"):
        to_patches(torch.zeros(1, 1, 8, 10), 4)
