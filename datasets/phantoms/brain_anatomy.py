"""Synthetic skull-stripped head in millimetres: sampling space and healthy brain anatomy.

Anatomy is a set of implicit surfaces in millimetres (a depth, positive inside) about the centre of
the brain: x to one side, y backwards, z upwards. Sizes follow an adult head in the SRI24 space of
BraTS.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from datasets.phantoms.fields import Volume, broad_noise, enlarge, smooth_noise

FIELD_OF_VIEW_MM = 216.0
CEREBRUM = ((0, 0, 8), (66, 84, 60))  # centre and radii, mm

Mask = NDArray[np.bool_]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Space:
    """Position of every voxel, (3, D, H, W) float32 in mm as x, y, z, and the voxel size in mm."""

    points: Volume
    voxel: float

    @property
    def shape(self) -> tuple[int, ...]:
        """(D, H, W)."""
        return self.points.shape[1:]

    def offset(self, centre: ArrayLike, radii: ArrayLike = 1.0) -> Volume:
        """Position relative to a centre, divided by radii."""
        ones = (1, 1, 1)
        scale = np.broadcast_to(np.asarray(radii, np.float32), 3).reshape(3, *ones)
        return (self.points - np.asarray(centre, np.float32).reshape(3, *ones)) / scale

    def blob(self, centre: Triple, radii: Triple) -> Volume:
        """Depth in mm below an ellipsoid, to first order; mirrored in x unless centred there."""
        x, y, z = self.points
        folded = x if centre[0] == 0 else np.abs(x)
        radius, slope = np.zeros((2, *self.shape), dtype=np.float32)
        for position, middle, size in zip((folded, y, z), centre, radii, strict=True):
            square = ((position - middle) / size) ** 2
            radius += square
            slope += square / size**2
        radius = np.sqrt(radius)
        return np.asarray(radius * (1 - radius) / (np.sqrt(slope) + 1e-3), dtype=np.float32)

    def cover(self, depth: Volume) -> Volume:
        """Share of each voxel inside a surface, from the depth at its centre: partial volume."""
        return np.asarray(np.clip(0.5 + depth / (1.3 * self.voxel), 0, 1), dtype=np.float32)

    def noise(self, rng: np.random.Generator, length: float) -> Volume:
        """Unit random field with a correlation length in mm."""
        return broad_noise(rng, self.shape, (length / self.voxel,) * 3)


@dataclass(frozen=True)
class Anatomy:
    """Brain mask, shares of fluid and grey matter (the rest is white), depths in mm: (D, H, W)."""

    brain: Mask
    fluid: Volume
    grey: Volume
    ventricle: Volume
    depth: Volume


def head_space(rng: np.random.Generator, *, matrix: int, variation: float) -> Space:
    """Axes about the brain's centre, with each patient's size and smooth asymmetric deformation."""
    voxel = FIELD_OF_VIEW_MM / matrix
    shape = (round(matrix * 2 / 3), matrix, matrix)
    middle = (np.array(shape).reshape(3, 1, 1, 1) - 1) / 2
    points = (np.indices(shape) - middle)[::-1] * voxel
    scale = 1 + 0.03 * variation * np.clip(rng.standard_normal((3, 1, 1, 1)), -2, 2)
    warp = [enlarge(smooth_noise(rng, (12, 18, 18), 2.0), shape) for _ in range(3)]
    return Space((points * scale + 2 * variation * np.stack(warp)).astype(np.float32), voxel)


def _sulci(rng: np.random.Generator, space: Space, *, length: float) -> Volume:
    """Distance in mm to folded sheets that run from the brain surface inwards.

    The sheets are the zero set of a random field sampled close to the surface along each radius.
    """
    radius = np.linalg.norm(space.offset(*CEREBRUM), axis=0)
    middle = (np.array(space.shape).reshape(3, 1, 1, 1) - 1) / 2
    index = space.points[::-1] * np.clip(radius, 0.35, 1.2) ** -0.6 / space.voxel + middle
    field = ndimage.map_coordinates(space.noise(rng, length), index, order=1, mode="grid-wrap")
    slope = np.sqrt(sum(g**2 for g in np.gradient(field, space.voxel))) + 0.02
    return np.asarray(np.abs(field) / slope, dtype=np.float32)


def _ventricles(space: Space, width: float) -> Volume:
    """Depth inside the lateral ventricles (curved, with wide horns), third and fourth ventricle."""
    x, y, z = space.points
    along = np.clip((y - 4) / 42, -1, 1)
    beyond = y - 4 - 42 * along
    across = np.abs(x) - (4 + 18 * along**2 + 4 * along)
    height = (z - 18 + 13 * along**2) / 1.7
    lateral = width * (1 - 0.25 * along**2) - np.sqrt(across**2 + height**2 + beyond**2)
    third = space.blob((0, 2, 3), (0.45 * width, 14, 10))
    fourth = space.blob((0, 33, -36), (6, 5, 8))
    return np.asarray(np.maximum.reduce([lateral, third, fourth]), dtype=np.float32)


def _folds(rng: np.random.Generator, space: Space, *, surfaces: tuple[Volume, Volume]) -> Volume:
    """Distance in mm to the nearest surface that cortex lines: sulci, fissures, folia."""
    x, y, z = space.points
    cerebrum, cerebellum = surfaces
    sulci = _sulci(rng, space, length=3.6) + np.maximum(cerebrum - 15, 0)
    callosum = space.blob((0, 4, 6), (40, 46, 26))
    midline = np.maximum(np.abs(x) + 0.2, callosum)
    curved = Space(np.stack([np.abs(x) + 0.008 * (y + 2) ** 2, y, z]), space.voxel)
    insula = 1.6 - curved.blob((40, -2, 2), (1.5, 17, 11)) + 0.8 * space.noise(rng, 6)
    ripple = np.linalg.norm(space.offset((0, 28, -36)), axis=0) + 4 * space.noise(rng, 8)
    folia = 3.4 + 2.2 * np.sin(2 * np.pi * ripple / 8.5) + 0.1 * cerebellum
    lobes = np.minimum.reduce([cerebrum, sulci, midline, insula])
    folia = np.clip(folia, np.minimum(1.4, cerebellum), np.maximum(cerebellum, 0))
    return np.asarray(np.where(cerebellum > cerebrum, folia, lobes), dtype=np.float32)


def _surfaces(space: Space) -> tuple[Volume, Volume]:
    """Depth in mm below the surface of cerebrum with brainstem, and of the cerebellum."""
    x, y, z = space.points
    # Frontal lobes are narrower than parietal ones.
    egg = Space(np.stack([x / (1 + 0.0012 * y), y, z]), space.voxel)
    hemispheres = np.minimum(egg.blob(*CEREBRUM), z + 22 + 0.12 * y)
    temporal = space.blob((36, -5, -22), (27, 44, 24))
    stem = space.blob((0, 18, -38), (13, 13, 44))
    cerebellum = space.blob((20, 45, -38), (33, 31, 24))
    return np.maximum.reduce([hemispheres, temporal, stem]), cerebellum


def draw_anatomy(rng: np.random.Generator, space: Space, *, variation: float) -> Anatomy:
    """Tissue shares: cortex lines the folds, nuclei lie deep, fluid fills the gaps."""
    age = rng.uniform(0, 1)
    surfaces = _surfaces(space)
    depth = np.maximum(*surfaces)
    folds = _folds(rng, space, surfaces=surfaces)
    ventricle = _ventricles(space, 4.2 + 3.2 * age * variation)
    gap = 0.7 * age - 0.1 + 0.35 * space.noise(rng, 20)
    fluid = np.maximum(space.cover(gap - folds), space.cover(ventricle))
    nuclei = (
        0.7 * space.cover(space.blob((11, 10, 5), (8, 13, 9))),
        0.9 * space.cover(space.blob((25, -4, 3), (5.5, 15, 10))),
        0.9 * space.cover(space.blob((14, -24, 10), (4.5, 8, 9))),
    )
    grey = reduce(np.maximum, nuclei, space.cover(gap + 3.6 - folds))
    # Brain extraction leaves a rim of fluid of uneven width and fills the cisterns.
    brain = np.pad(depth > 0.8 * space.noise(rng, 12) - 0.3, 4)
    brain = ndimage.binary_closing(brain, iterations=round(6 / space.voxel))
    # A hole is background that the corner does not reach.
    outside, _ = ndimage.label(~brain)
    brain = (outside != outside[0, 0, 0])[4:-4, 4:-4, 4:-4]
    return Anatomy(brain, fluid, np.minimum(grey, 1 - fluid), ventricle, depth)
