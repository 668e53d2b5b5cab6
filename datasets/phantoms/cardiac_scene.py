"""Chest, lungs and abdomen around the heart of the synthetic cardiac MRI patients.

Lengths are in mm. The canonical frame has the heart at the origin, the front of the chest to the
left, the lungs above and to the right and the abdomen below; `make_grid` turns and shifts it.
Shapes are signed distances, negative inside, so that each edge has the partial volume of one pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.phantoms.fields import Volume, smooth_noise

_Real = NDArray[np.floating[Any]]


class Draw:
    """Random numbers of one patient, with spread scaled by `variation`."""

    def __init__(self, seed: int, index: int, variation: float) -> None:
        self.rng = np.random.default_rng([seed, index])
        self._variation = variation

    def __call__(self, low: float, high: float) -> float:
        """Uniform in [low, high] at variation 1, shrunk towards the middle below."""
        half = self._variation * (high - low) / 2.0
        return (low + high) / 2.0 + half * float(self.rng.uniform(-1.0, 1.0))

    def tone(self, low: float, high: float) -> float:
        """As a call, kept at a visible brightness."""
        return max(self(low, high), 0.02)

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return bool(self.rng.random() < probability)


@dataclass(frozen=True)
class Tones:
    """Brightness of the tissues; blood of the left ventricle is about 0.8."""

    fat: float
    muscle: float
    myo: float
    lv: float
    rv: float
    lung: float
    liver: float
    spine: float


@dataclass(frozen=True)
class Grid:
    """Coordinates (D, H, W) from the heart, level (D, 1, 1) 0 base to 1 apex, and spacing."""

    x: Volume
    y: Volume
    level: Volume
    pixel: float
    slice_gap: float

    def noise(self, rng: np.random.Generator, length: float) -> Volume:
        """Random field of correlation length `length` mm in the plane."""
        across = length / self.pixel
        return smooth_noise(rng, self.x.shape, (max(0.6, length / self.slice_gap), across, across))

    def paint(self, image: Volume, distance: _Real, tone: float | _Real) -> None:
        """Blend `tone` into `image` where `distance` (mm) is negative."""
        cover = np.clip(0.5 - distance / self.pixel, 0.0, 1.0)
        image += cover * (tone - image)

    def disc(self, x: float, y: float, radius: float, stretch: float = 1.0) -> Volume:
        """Signed distance to an axis-aligned ellipse, about right near its edge."""
        return np.asarray(np.hypot((self.x - x) / stretch, self.y - y) - radius, np.float32)


def make_tones(draw: Draw) -> Tones:
    """Tissue contrast of one patient."""
    lv = draw(0.65, 0.95)
    myo = lv * draw(0.25, 0.5)
    return Tones(
        fat=draw.tone(0.6, 1.2),
        muscle=draw.tone(0.18, 0.4),
        myo=myo,
        lv=lv,
        rv=max(lv * draw(0.65, 1.05), 1.35 * myo),
        lung=draw.tone(0.03, 0.12),
        liver=draw.tone(0.18, 0.5),
        spine=draw.tone(0.25, 0.6),
    )


def make_grid(draw: Draw, matrix: int) -> Grid:
    """Field of view of one patient: 6 to 10 slices, turned, shifted and smoothly warped.

    Args:
        draw: the patient's random numbers.
        matrix: longer in-plane size in voxels.
    """
    depth = int(draw.rng.integers(6, 11))
    narrow = round(matrix * float(draw.rng.uniform(0.75, 0.95)))
    height, width = (matrix, narrow) if draw.chance(0.6) else (narrow, matrix)
    pixel = float(draw.rng.uniform(250.0, 330.0)) / matrix
    above, below = int(draw.chance(0.3)), int(draw.chance(0.25))
    inside = depth - above - below
    level = (np.arange(depth) - above + 0.4) / (inside - 0.1)
    # Breath holds differ between slices, so the slices are out of register by a few mm.
    jitter = draw.rng.normal(0.0, 1.3, (2, depth, 1, 1))
    y = (np.arange(height) - (height - 1) / 2.0)[None, :, None] * pixel + jitter[0]
    x = (np.arange(width) - (width - 1) / 2.0)[None, None, :] * pixel + jitter[1]
    y, x = y - draw(-30.0, 30.0), x - draw(-26.0, 26.0)
    angle = draw(-0.6, 0.6) + (np.pi / 2.0 if draw.chance(0.4) else 0.0)
    turned = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    gap = float(np.clip(draw(70.0, 92.0) / inside, 5.0, 10.0))
    flat = Grid(
        x=np.asarray(turned[0], np.float32),
        y=np.asarray(turned[1], np.float32),
        level=np.asarray(level[:, None, None], np.float32),
        pixel=pixel,
        slice_gap=gap,
    )
    warp = draw(1.5, 4.5)
    return Grid(
        x=flat.x + warp * flat.noise(draw.rng, 22.0),
        y=flat.y + warp * flat.noise(draw.rng, 22.0),
        level=flat.level,
        pixel=pixel,
        slice_gap=gap,
    )


def make_body(draw: Draw, grid: Grid, tones: Tones) -> Volume:
    """Chest, lungs and abdomen without the heart: (D, H, W) brightness."""
    image = np.full(grid.x.shape, 0.01, np.float32)
    x, y = grid.x - draw(25.0, 60.0), grid.y - draw(0.0, 40.0)
    a, b = draw(110.0, 150.0), draw(95.0, 135.0)
    # A superellipse that narrows towards the apex, where the chest wall comes nearer.
    norm = (np.abs(x / a) ** 2.5 + np.abs(y / b) ** 2.5) ** 0.4
    skin = np.asarray((norm - 1.05 + 0.2 * grid.level) * min(a, b), np.float32)
    coarse, fine = grid.noise(draw.rng, 16.0), grid.noise(draw.rng, 3.0)
    fat = draw(4.0, 20.0) + 2.5 * coarse
    # Banding of balanced steady-state sequences far from the isocentre.
    phase = np.hypot(grid.x, grid.y) / draw(5.0, 9.0) + 2.0 * coarse
    far = np.clip((np.hypot(grid.x, grid.y) - draw(95.0, 135.0)) / 30.0, 0.0, 1.0)
    bands = 1.0 - far * np.exp(-6.0 * np.sin(phase) ** 2)
    grid.paint(image, skin, tones.fat * bands)
    ribs = np.cos(draw(9.0, 14.0) * np.arctan2(y, x) + 4.0 * grid.level) > 0.55
    grid.paint(image, skin + fat, tones.muscle * (1.0 - 0.6 * ribs) + 0.05 * fine)
    cavity = skin + fat + draw(7.0, 14.0)
    vessels = 0.6 * np.clip(fine - 2.1, 0.0, 1.0)
    grid.paint(image, cavity, tones.lung * (1.0 + 0.15 * coarse) + vessels)
    _paint_organs(image, grid, tones, draw, cavity)
    return np.maximum(image, 0.0)


def _paint_organs(image: Volume, grid: Grid, tones: Tones, draw: Draw, cavity: _Real) -> None:
    """Diaphragm with liver and stomach, spine and great vessels, inside the chest `cavity`."""
    fine, coarse = grid.noise(draw.rng, 4.0), grid.noise(draw.rng, 9.0)
    dome = draw(48.0, 64.0) - draw(6.0, 24.0) * grid.level
    liver = dome - grid.y + 0.004 * (grid.x + draw(-10.0, 50.0)) ** 2
    mixed = tones.liver * (1.0 + 0.15 * fine + 0.1 * coarse) + (tones.lv * 0.7) * np.clip(
        fine - 1.9, 0.0, 1.0
    )
    grid.paint(image, np.maximum(liver, cavity), mixed)
    gut_x, gut_y, gut = draw(20.0, 75.0), draw(65.0, 100.0), draw(16.0, 32.0)
    bowel = grid.disc(gut_x, gut_y, gut, draw(0.8, 1.4)) - 12.0 * (grid.level - 0.6) + 5.0 * coarse
    grid.paint(image, np.maximum(bowel, cavity), draw.tone(0.15, 0.5))
    content = draw.tone(0.3, 1.0) + 0.12 * coarse + 0.05 * fine
    grid.paint(image, np.maximum(bowel + draw(5.0, 11.0), cavity), content)
    spine_x, spine_y = draw(35.0, 80.0), draw(60.0, 95.0)
    back = grid.disc(spine_x, spine_y, 34.0) + 4.0 * coarse
    grid.paint(image, back, tones.muscle + tones.fat * 0.5 * np.clip(coarse, 0.0, 1.0))
    grid.paint(image, grid.disc(spine_x, spine_y, 17.0), tones.spine * (1.0 + 0.1 * fine))
    grid.paint(image, grid.disc(spine_x + 14.0, spine_y + 16.0, 7.0), draw.tone(0.6, 1.1))
    vessel = tones.lv * draw(0.8, 1.2)
    grid.paint(image, grid.disc(spine_x - 24.0, spine_y - 14.0, draw(9.0, 13.0)), vessel)
    grid.paint(image, grid.disc(draw(-30.0, 0.0), draw(52.0, 66.0), draw(7.0, 11.0), 1.4), vessel)
