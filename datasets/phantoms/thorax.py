"""Synthetic thorax in CT numbers: sampling grid, lungs, and every tissue but the lungs.

Shapes and densities follow general anatomy and usual CT numbers; no real image was used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from datasets.phantoms.fields import Label, Volume, broad_noise

Real = NDArray[np.floating]

FIELD_OF_VIEW = 340.0
LEFT, RIGHT = 1, 2


class Draw:
    """Random numbers of one patient; `variation` widens every interval about its middle."""

    def __init__(self, seed: int, index: int, variation: float) -> None:
        self.rng = np.random.default_rng([seed, index])
        self.variation = variation

    def between(self, low: float, high: float) -> float:
        """Uniform within the interval from `low` to `high`, once widened."""
        half = 0.5 * (high - low) * self.variation
        return 0.5 * (low + high) + half * self.rng.uniform(-1.0, 1.0)

    def chance(self, probability: float) -> bool:
        """True with the given probability, 0 to 1, whatever the variation."""
        return bool(self.rng.random() < probability)


@dataclass(frozen=True)
class Grid:
    """Voxel positions z (D, 1, 1), y and x (1, H, W) in the patient's frame, mm / `size`."""

    z: Volume
    y: Volume
    x: Volume
    spacing: tuple[float, float, float]
    size: float
    height: float

    @property
    def millimetres(self) -> tuple[float, float, float]:
        """Voxel size (z, y, x) in real mm."""
        depth, height, width = self.spacing
        return (depth * self.size, height * self.size, width * self.size)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W)."""
        return (len(self.z), self.y.shape[1], self.x.shape[2])

    def points(self, mask: NDArray[np.bool_]) -> Real:
        """(N, 3) positions (z, y, x) of the voxels of `mask`, in its order."""
        return np.stack([np.broadcast_to(a, mask.shape)[mask] for a in (self.z, self.y, self.x)], 1)

    def blur(self, millimetres: float) -> tuple[float, float, float]:
        """A length in mm as voxels along (z, y, x)."""
        depth, height, width = self.spacing
        return (millimetres / depth, millimetres / height, millimetres / width)


@dataclass(frozen=True)
class Anatomy:
    """Signed distances (positive inside), depth below the pleura, lung share in [0, 1], labels."""

    cage: Volume
    body: Volume
    heart: Volume
    abdomen: Volume
    middle: Volume
    pleura: Volume
    fraction: Volume
    lungs: Label


def cover(distance: Real, width: float) -> Volume:
    """Share of a voxel inside a shape: a linear ramp of `width` mm about its border."""
    return np.asarray(np.clip(0.5 + distance / width, 0.0, 1.0), dtype=np.float32)


def _ellipse(
    grid: Grid, centre: tuple[float, float], radii: tuple[Volume | float, Volume | float]
) -> Volume:
    """Approximate signed distance (D or 1, H, W) in mm to an axial ellipse; (y, x) order."""
    height, width = (np.maximum(radius, 1e-3) for radius in radii)
    ratio = np.sqrt(((grid.y - centre[0]) / height) ** 2 + ((grid.x - centre[1]) / width) ** 2)
    return np.asarray((1.0 - ratio) * np.minimum(height, width), dtype=np.float32)


def blend(image: Real, value: Real | float, share: Real | float) -> Volume:
    """`value` where `share` is 1, `image` where it is 0."""
    return np.asarray(image + share * (value - image), dtype=np.float32)


def draw_grid(draw: Draw, matrix: int) -> Grid:
    """Body size, position and slice thickness of one patient, as 12 to 20 slices of `matrix`^2."""
    size = float(np.clip(draw.between(0.88, 1.1), 0.8, 1.15))
    height = float(np.clip(draw.between(165.0, 225.0), 150.0, 240.0))
    thickness = float(np.clip(draw.between(10.0, 13.0), 9.0, 14.0))
    depth = int(np.clip(round(1.04 * height / thickness), 12, 20))
    pixel = FIELD_OF_VIEW / matrix / size
    line = (np.arange(matrix) + 0.5 - matrix / 2) * pixel
    y, x = line[:, None] - draw.between(-6.0, 14.0), line[None, :] - draw.between(-8.0, 8.0)
    angle = np.deg2rad(draw.between(-6.0, 6.0))
    rows = (y * np.cos(angle) - x * np.sin(angle))[None].astype(np.float32)
    columns = (y * np.sin(angle) + x * np.cos(angle))[None].astype(np.float32)
    levels = ((np.arange(depth) + 0.3) * 1.04 * height / depth)[:, None, None].astype(np.float32)
    return Grid(levels, rows, columns, (1.04 * height / depth, pixel, pixel), size, height)


def _diaphragm(draw: Draw, grid: Grid) -> Volume:
    """(1, H, W) height of the two domes in mm; below zero the lung reaches the lowest slice."""
    domes = []
    for side, low, high in ((-1.0, 35.0, 65.0), (1.0, 50.0, 85.0)):
        across = (grid.x - side * 58.0) / 66.0
        along = (grid.y - 14.0) / 72.0
        domes.append(draw.between(low, high) * (1.0 - across**2 - along**2))
    return np.maximum(*domes).astype(np.float32)


def draw_anatomy(draw: Draw, grid: Grid) -> Anatomy:
    """Shapes of one patient: rib cage, skin, heart, mediastinum, diaphragm and both lungs."""
    level = grid.z / grid.height
    taper = np.sqrt(np.clip(1.0 - ((level - 0.36) / 0.71) ** 2, 0.02, 1.0))
    depth, width = draw.between(78.0, 98.0), draw.between(118.0, 136.0)
    ratio = (np.abs(grid.y / (depth * taper**0.7)) ** 2.3) + np.abs(grid.x / (width * taper)) ** 2.3
    cage = np.asarray((1.0 - ratio ** (1 / 2.3)) * depth * taper, dtype=np.float32)
    fat = draw.between(8.0, 26.0)
    body = _ellipse(grid, (-6.0, 0.0), (depth + 16 + fat, width + 20 + fat))
    girth = np.sqrt(np.clip(1.0 - ((level - 0.24) / 0.38) ** 2, 0.0, 1.0))
    bulk = draw.between(0.85, 1.2) * girth
    heart = _ellipse(grid, (24.0, -16.0), (46.0 * bulk, 60.0 * bulk))
    heart[girth[:, 0, 0] == 0] = -99.0
    column = _ellipse(grid, (2.0, 0.0), (0.62 * depth * taper, (34.0 - 10.0 * level)))
    front = _ellipse(grid, (0.6 * depth, -4.0), (0.6 * depth, draw.between(2.0, 9.0)))
    spine = _ellipse(grid, (-0.86 * depth, 0.0), (36.0, 27.0))
    middle = np.maximum.reduce(np.broadcast_arrays(heart, column, front, spine))
    middle = middle + 2.5 * broad_noise(draw.rng, grid.shape, grid.blur(14.0))
    abdomen = np.asarray(_diaphragm(draw, grid) - grid.z, dtype=np.float32)
    plane = np.minimum(cage, -middle)
    fraction = cover(plane, grid.spacing[1]) * cover(-abdomen, grid.spacing[0])
    inside = ndimage.binary_opening(fraction > 0.5, np.ones((1, 2, 2), bool))
    lungs = np.where(inside, np.where(grid.x < 0, LEFT, RIGHT), 0).astype(np.uint8)
    # Depth below the chest wall, not below the mediastinum: pneumonia hugs the outer pleura.
    pleura = np.minimum(cage, np.maximum(-abdomen, 0.0) * 0.8 + 6.0).astype(np.float32)
    return Anatomy(cage, body, heart, abdomen, middle, pleura, fraction, lungs)


def tissue(draw: Draw, grid: Grid, anatomy: Anatomy, contrast: float) -> Volume:
    """Everything but the lungs in HU: table, fat, muscle, ribs, heart, vessels, abdomen, spine."""
    ramp = grid.spacing[1]
    image = np.full(grid.shape, -1000.0, dtype=np.float32)
    lowest = float(grid.y[anatomy.body[0][None] > 0].min())
    table = 3.5 - np.abs(grid.y - lowest + 12.0 - grid.x**2 / 900.0)
    image = blend(image, draw.between(-500.0, -150.0), cover(table, ramp))
    image = blend(image, -95.0, cover(anatomy.body, ramp))
    wall = 14.0 + 8.0 * np.clip(np.abs(grid.x) / 120.0 - grid.y / 160.0, 0.0, 1.0)
    image = blend(image, 50.0, cover(anatomy.cage + wall, ramp))
    image = blend(image, -80.0, cover(anatomy.cage + 1.0, ramp))
    chest = np.minimum(anatomy.middle - 3.0, anatomy.cage)
    image = blend(image, 35.0, cover(chest, 6.0))
    image = blend(image, 0.35 * contrast + 25.0, cover(anatomy.heart - 5.0, ramp))
    chambers = broad_noise(draw.rng, grid.shape, grid.blur(15.0)) + 0.3
    image = blend(image, contrast, cover(anatomy.heart - 12.0, 6.0) * cover(chambers, 0.5))
    aorta = _ellipse(grid, (-38.0, -20.0), (13.0, 13.0))
    image = blend(image, contrast, cover(aorta, ramp))
    organs = 8.0 * broad_noise(draw.rng, grid.shape, grid.blur(9.0)) + 45.0 + 0.2 * contrast
    below = cover(anatomy.abdomen, grid.spacing[0]) * cover(anatomy.cage - 3.0, ramp)
    image = blend(image, organs, below)
    if draw.chance(0.6):
        gas = _ellipse(grid, (40.0, -60.0), (22.0, 30.0))
        image = blend(image, -950.0, below * cover(gas, ramp) * (anatomy.abdomen > 14.0))
    return _airways(draw, grid, _bones(draw, grid, anatomy, image))


def _bones(draw: Draw, grid: Grid, anatomy: Anatomy, image: Volume) -> Volume:
    ramp = grid.spacing[1]
    turn = np.abs(np.arctan2(grid.x / 125.0, -grid.y / 90.0)) / np.pi
    phase = grid.z / 30.0 + 5.0 * turn + draw.rng.random()
    ribs = 4.5 - np.abs(anatomy.cage + 8.0)
    share = cover(ribs, ramp) * np.clip(3.0 * np.sin(2 * np.pi * phase) + 0.2, 0.0, 1.0)
    image = blend(image, draw.between(250.0, 520.0), share * (turn < 0.88))
    rear = float(grid.y[(anatomy.cage.max(axis=0) > 0)[None]].min())
    body = _ellipse(grid, (rear + 22.0, 0.0), (17.0, 20.0))
    image = blend(image, 420.0, cover(body, ramp))
    image = blend(image, draw.between(130.0, 260.0), cover(body - 3.5, ramp))
    arch = _ellipse(grid, (rear - 6.0, 0.0), (13.0, 17.0))
    image = blend(image, 380.0, cover(arch, ramp))
    image = blend(image, 20.0, cover(arch - 6.0, ramp))
    spur = np.minimum(4.0 - np.abs(grid.x), 9.0 - np.abs(grid.y - rear + 24.0))
    image = blend(image, 350.0, cover(spur, ramp))
    ahead = np.minimum(5.0 - np.abs(anatomy.cage + 9.0), 20.0 - np.abs(grid.x))
    sternum = np.where(grid.y > 0, ahead, -9.0).astype(np.float32)
    return blend(image, 260.0, cover(sternum, ramp))


def _airways(draw: Draw, grid: Grid, image: Volume) -> Volume:
    carina = draw.between(0.54, 0.6) * grid.height
    for side in (-1.0, 1.0):
        fall = np.clip((carina - grid.z) / 40.0, 0.0, 1.0)
        radius = 9.0 - 3.5 * fall
        away = np.hypot(grid.y + 16.0, grid.x - side * fall * 40.0)
        shown = grid.z > carina - 42.0
        image = blend(image, 30.0, cover(radius + 2.5 - away, grid.spacing[1]) * shown)
        image = blend(image, -990.0, cover(radius - away, grid.spacing[1]) * shown)
    return image
