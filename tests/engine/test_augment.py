"""Weak augmentation: replayable, label and image together, right angles exact."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from benchmarks.engine.augment import _affine
from tests.engine.small import moved as weak

SHAPES = [(16, 16), (12, 20), (6, 16, 16), (8, 12, 20)]


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_images(*shape: int, count: int = 8) -> Tensor:
    return torch.rand(count, 1, *shape, generator=draw(1)) + 0.1


def without_label(image: Tensor, *, policy: str, seed: int = 0) -> Tensor:
    return weak(image, None, policy=policy, generator=draw(seed))[0]


def reflections(image: Tensor) -> list[Tensor]:
    """A quarter-turn of the last two axes, k = 0..3, and then one flip of any axis of (C, *S)."""
    turns = [torch.rot90(image, k, (-2, -1)) for k in range(4)]
    return [t.flip(axis) for t, axis in product(turns, range(1, image.ndim))]


def is_right_angle(image: Tensor, augmented: Tensor) -> bool:
    candidates = [r for r in reflections(image) if r.shape == augmented.shape]
    return any(torch.allclose(augmented, r, atol=1e-4) for r in candidates)


@pytest.mark.parametrize("policy", ["suite", "ssl4mis"])
@pytest.mark.parametrize("shape", SHAPES)
def test_same_generator_same_bits(shape: tuple[int, ...], policy: str) -> None:
    image, label = random_images(*shape), torch.randint(4, (8, *shape), generator=draw(2))
    first, second = (weak(image, label, policy=policy, generator=draw(3)) for _ in range(2))
    other = weak(image, label, policy=policy, generator=draw(4))
    assert first[1] is not None and second[1] is not None
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])


def test_draws_do_not_depend_on_the_global_state_or_the_label() -> None:
    image = random_images(16, 16)
    torch.manual_seed(0)
    with_label, _ = weak(
        image, torch.zeros(8, 16, 16, dtype=torch.int64), policy="suite", generator=draw(3)
    )
    torch.manual_seed(1)
    assert torch.equal(with_label, without_label(image, policy="suite", seed=3))


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8])
@pytest.mark.parametrize("policy", ["suite", "ssl4mis"])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_and_types_are_kept(shape: tuple[int, ...], policy: str, dtype: torch.dtype) -> None:
    label = torch.randint(4, (8, *shape), generator=draw(2)).to(dtype)
    images, labels = weak(random_images(*shape), label, policy=policy, generator=draw(0))
    assert labels is not None
    assert images.shape == (8, 1, *shape) and images.dtype == torch.float32
    assert labels.shape == label.shape and labels.dtype == dtype
    assert set(labels.flatten().tolist()) <= {0, 1, 2, 3}


@pytest.mark.parametrize("shape", SHAPES)
def test_label_moves_with_the_image(shape: tuple[int, ...]) -> None:
    # The image is an injective function of the label, so it must stay one; outside is 0 in both.
    label = torch.randint(5, (8, *shape), generator=draw(2))
    image = label[:, None].float() * 10
    for seed in range(5):
        images, labels = weak(image, label, policy="ssl4mis", generator=draw(seed))
        assert labels is not None
        assert torch.equal(images[:, 0], labels.float() * 10)
        assert not torch.equal(labels, label)


def test_linear_image_and_nearest_label_agree_away_from_edges() -> None:
    # A smooth blob: its thresholded image and its augmented mask may differ at the border only.
    axis = torch.linspace(-1, 1, 32)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    image = (1 - ((y - 0.3) ** 2 + (x + 0.2) ** 2).sqrt())[None, None].repeat(16, 1, 1, 1)
    label = (image[:, 0] > 0.6).long()
    images, labels = weak(image, label, policy="suite", generator=draw(0))
    assert labels is not None
    differ = ((images[:, 0] > 0.6).long() != labels).float().mean().item()
    assert differ < 0.02
    assert labels.float().mean().item() == pytest.approx(label.float().mean().item(), rel=0.05)


@pytest.mark.parametrize(("policy", "atol"), [("ssl4mis", 0.0), ("suite", 1e-4)])
def test_right_angles_only_permute_the_values(policy: str, atol: float) -> None:
    # In 3D every sample takes this branch.
    image = random_images(6, 16, 16, count=32)
    augmented = without_label(image, policy=policy)
    for before, after in zip(image, augmented, strict=True):
        assert is_right_angle(before, after)
        torch.testing.assert_close(
            after.flatten().sort().values, before.flatten().sort().values, atol=atol, rtol=0
        )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("policy", ["suite", "ssl4mis"])
def test_moved_samples_are_those_that_sampling_gives(shape: tuple[int, ...], policy: str) -> None:
    """The short cut for right angles against PyTorch's own grid for every sample."""
    count, ndim = 64, len(shape)
    image = random_images(*shape, count=count)
    u = torch.rand(count, 4, generator=draw(0))
    right = (u[:, 0] < 0.5) | (ndim == 3)
    turns, axis = (u[:, 1] * 4).long() * right, (u[:, 2] * ndim).long()
    degrees = torch.where(right, turns * 90, (u[:, 3] * 40).floor() - 20)
    theta = _affine(degrees, torch.where(right, axis, -1), ndim=ndim, aspect=shape[-2] / shape[-1])
    grid = F.affine_grid(theta, [count, 1, *shape], align_corners=False)
    mode = "nearest" if policy == "ssl4mis" else "bilinear"
    expected = F.grid_sample(image, grid, mode=mode, align_corners=False)
    torch.testing.assert_close(without_label(image, policy=policy), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(33, 33), (5, 33, 33)])
def test_rotate_turns_by_the_drawn_angles_as_scipy_does(shape: tuple[int, ...]) -> None:
    count = 8
    places = torch.linspace(-1, 1, 33)
    plane = torch.exp(-((places[:, None] + 0.4) ** 2 + (places[None] - 0.1) ** 2) * 4)
    image = plane.expand(count, 1, *shape).contiguous()
    degrees = (torch.rand(count, 4, generator=draw(0))[:, 3] * 40).floor() - 20
    augmented = without_label(image, policy="rotate")
    inside = (places[:, None] ** 2 + places[None] ** 2 < 0.8).numpy()
    for sample, angle in zip(augmented[:, 0], degrees.tolist(), strict=True):
        turned = ndimage.rotate(plane.numpy(), angle, reshape=False, order=1)
        for found in sample.reshape(-1, 33, 33).numpy():
            np.testing.assert_allclose(found[inside], turned[inside], atol=2e-3)


def test_3d_reaches_every_turn_and_flip() -> None:
    image = random_images(4, 4, 4, count=1).repeat(256, 1, 1, 1, 1)
    seen = {tuple(a.flatten().tolist()) for a in without_label(image, policy="ssl4mis")}
    # 4 turns x flips: in plane these give the 4 reflections; along the first axis 4 more.
    assert len(seen) == 8


def test_about_half_of_2d_samples_take_a_right_angle() -> None:
    count = 1000
    image = random_images(8, 8, count=1)
    augmented = without_label(image.repeat(count, 1, 1, 1), policy="ssl4mis")
    share = sum(is_right_angle(image[0], a) for a in augmented) / count
    assert share == pytest.approx(0.5, abs=0.05)  # three standard deviations


def test_2d_rotation_angles_stay_below_twenty_degrees() -> None:
    # One bright point at a known radius: where the rotated ones land gives the angle.
    size = 65
    image = torch.zeros(400, 1, size, size)
    image[:, :, 30:35, 55:60] = 1.0  # around (32, 57): centre 32, radius 25, angle 0
    augmented = without_label(image, policy="suite")[:, 0]
    where = torch.arange(size, dtype=torch.float32) - 32
    mass = augmented.sum((1, 2))
    y = (augmented.sum(2) * where).sum(1) / mass
    x = (augmented.sum(1) * where).sum(1) / mass
    degrees = torch.rad2deg(torch.atan2(y, x))
    angles = degrees[(degrees.abs() > 0.5) & (degrees.abs() < 45)]
    assert 120 < len(angles) < 280
    assert angles.abs().max().item() < 20.5
    assert (angles - angles.round()).abs().max().item() < 0.2, "whole degrees"
    torch.testing.assert_close((x**2 + y**2).sqrt(), torch.full_like(x, 25.0), atol=0.3, rtol=0)


@pytest.mark.parametrize("shape", [(40, 64), (64, 40)])
def test_rotation_is_rigid_on_non_square_images(shape: tuple[int, int]) -> None:
    # A centred disk is unchanged by every rotation and flip.
    y = torch.arange(shape[0]).float()[:, None] - (shape[0] - 1) / 2
    x = torch.arange(shape[1]).float()[None] - (shape[1] - 1) / 2
    disk = ((y**2 + x**2).sqrt() < 12).float()
    augmented = without_label(disk[None, None].repeat(32, 1, 1, 1), policy="suite")
    assert ((augmented[:, 0] - disk).abs() > 0.5).float().mean().item() < 0.01


@pytest.mark.parametrize("shape", [(16, 16), (12, 20), (6, 16, 16)])
def test_without_quarter_turns_up_stays_up(shape: tuple[int, ...]) -> None:
    """All else is drawn as with them; up is the direction in which rows grow darker."""
    count = 200
    up = torch.linspace(1, -1, shape[-2])[:, None].expand(count, 1, *shape)
    image = up + 0.01 * random_images(*shape, count=count)
    label = (image[:, 0] > 0).long()
    moved, labels = weak(image, label, policy="ssl4mis", generator=draw(0), quarter_turns=False)
    assert labels is not None
    for value in (moved[:, 0], labels.float()):
        half = value.flatten(1, -3) if value.ndim == 4 else value[:, None]
        above, below = half[..., : shape[-2] // 2, :], half[..., shape[-2] // 2 :, :]
        assert (above.flatten(1).mean(1) > below.flatten(1).mean(1)).all()
    usual = without_label(image, policy="ssl4mis")
    unturned = (torch.rand(count, 4, generator=draw(0))[:, 0] >= 0.5) & (len(shape) == 2)
    assert torch.equal(moved[unturned], usual[unturned])
    mirrored = [m for m, i in zip(moved, image, strict=True) if torch.equal(m, i.flip(-1))]
    assert len(mirrored) > count / 3


def test_none_is_identity() -> None:
    image, label = random_images(16, 16), torch.randint(3, (8, 16, 16))
    images, labels = weak(image, label, policy="none", generator=draw(0))
    assert labels is not None
    assert torch.equal(images, image) and torch.equal(labels, label)


def test_empty_batch_and_missing_label() -> None:
    empty, label = weak(torch.zeros(0, 1, 8, 8), None, policy="suite", generator=draw(0))
    assert empty.shape == (0, 1, 8, 8) and label is None
    assert weak(random_images(8, 8), None, policy="suite", generator=draw(0))[1] is None


def test_channels_share_the_geometry() -> None:
    image = random_images(16, 16).repeat(1, 3, 1, 1)
    augmented = without_label(image, policy="suite")
    assert torch.equal(augmented[:, 0], augmented[:, 1])
    assert torch.equal(augmented[:, 0], augmented[:, 2])
