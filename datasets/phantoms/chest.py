"""Synthetic chest CT with COVID-19 pneumonia in the raw layout of COVID-19-CT-Seg-20.

The layout is that of Zenodo record 3757476: one folder of images, three of masks, ten cases from
either source. Shapes and densities follow general anatomy and usual CT numbers; no real image was
used. As the header says, z goes up, y (rows) to anterior and x (columns) to the patient's right.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from datasets.phantoms.fields import Label, Volume, broad_noise, save_nifti, smooth_noise
from datasets.phantoms.thorax import (
    LEFT,
    RIGHT,
    Anatomy,
    Draw,
    Grid,
    Real,
    blend,
    cover,
    draw_anatomy,
    draw_grid,
    tissue,
)

WINDOW = (-1250.0, 250.0)
INFECTION = 3


def _tree(draw: Draw, hilum: Real, points: Real) -> Real:
    """Vessels of one lung, (N, 8): start and end (z, y, x) of a piece and both radii, in mm."""
    rng = draw.rng
    lobes = hilum + 0.4 * (points[rng.integers(len(points), size=8)] - hilum)
    pieces = [np.concatenate([hilum, lobe, [5.0, 3.2]]) for lobe in lobes]
    for tip in points[rng.integers(len(points), size=60)]:
        lobe = lobes[np.argmin(np.sum((lobes - tip) ** 2, axis=1))]
        bend = lobe + 0.5 * (tip - lobe) + rng.normal(0.0, 5.0, size=3)
        twig = bend + 0.6 * (tip - bend) + rng.normal(0.0, 11.0, size=3)
        pieces.append(np.concatenate([lobe, bend, [2.7, 1.9]]))
        pieces.append(np.concatenate([bend, tip, [1.9, 0.7]]))
        pieces.append(np.concatenate([bend, twig, [1.5, 0.7]]))
    return np.asarray(pieces, dtype=np.float32)


def _vessels(draw: Draw, grid: Grid, lungs: Label) -> Volume:
    """(D, H, W) share of vessel in each voxel; inside the lungs only."""
    share = np.zeros(grid.shape, dtype=np.float32)
    # The slice is thick: across it a vessel is seen as if half as far away.
    seen, bounds = np.array([0.45, 1.0, 1.0], np.float32), np.array([-1.0, 1.0], np.float32)
    for side, label in ((-1.0, LEFT), (1.0, RIGHT)):
        points = grid.points(lungs == label)
        levels, rows, columns = np.ascontiguousarray(points.T)
        covered = np.zeros(len(points), np.float32)
        hilum = np.array([0.46 * grid.height, -8.0, side * 34.0])
        for piece in _tree(draw, hilum, points):
            start, end = piece[:3], piece[3:6]
            middle = 0.5 * (start + end)
            wide = piece[6] + 0.5 * grid.spacing[1]
            margin = np.array([0.5 * grid.spacing[0], wide, wide], np.float32)
            reach = 0.5 * np.abs(end - start) + margin
            # `points` is sorted by z, which saves most of the comparisons.
            span = slice(*np.searchsorted(levels, middle[0] + bounds * reach[0]))
            close = np.abs(rows[span] - middle[1]) < reach[1]
            close &= np.abs(columns[span] - middle[2]) < reach[2]
            near = span.start + np.flatnonzero(close)
            offset, along = (points[near] - start) * seen, (end - start) * seen
            part = np.clip(offset @ along / max(float(along @ along), 1e-6), 0.0, 1.0)
            aside = offset - part[:, None] * along
            distance = np.sqrt(np.einsum("ij,ij->i", aside, aside))
            radius = piece[6] + part * (piece[7] - piece[6])
            value = np.clip(0.5 + (radius - distance) / grid.spacing[1], 0.0, 1.0)
            covered[near] = np.maximum(covered[near], value * np.minimum(1.0, radius / 2.4))
        share[lungs == label] = covered
    return share


def _parenchyma(draw: Draw, grid: Grid, anatomy: Anatomy) -> Volume:
    """Lung without disease in HU, with the changes that only look like pneumonia."""
    base = float(np.clip(draw.between(-920.0, -735.0), -940.0, -690.0))
    lung = base - draw.between(0.1, 0.7) * np.broadcast_to(grid.y, grid.shape)
    lung = lung + draw.between(5.0, 30.0) * broad_noise(draw.rng, grid.shape, grid.blur(16.0))
    if draw.chance(0.6):
        band = np.exp(-np.maximum(anatomy.cage, 0.0) / draw.between(8.0, 20.0))
        dependent = cover(-grid.y - 25.0, 50.0)
        lung = lung + draw.between(50.0, 240.0) * band * dependent
    if draw.chance(0.35):
        holes = broad_noise(draw.rng, grid.shape, grid.blur(7.0)) - 0.7 - 0.6 * draw.rng.random()
        lung = blend(lung, -985.0, cover(holes, 0.8) * 0.9)
    return np.asarray(lung, dtype=np.float32)


def _infect(
    draw: Draw, grid: Grid, anatomy: Anatomy, lung: Volume
) -> tuple[Volume, NDArray[np.bool_]]:
    """Add ground glass and consolidation to `lung` (HU); also the mask of both."""
    rng, inside = draw.rng, anatomy.lungs > 0
    severity, dense_share = rng.random(), rng.beta(0.7, 1.0)
    count, reach = 3 + int(15 * severity**1.6), draw.between(18.0, 28.0) + 10.0 * severity
    ground = float(np.median(lung[inside])) + draw.between(210.0, 370.0)
    dense = draw.between(-200.0, 30.0)
    thick, edge = draw.between(16.0, 48.0), float(np.clip(draw.between(0.12, 0.4), 0.1, 0.6))
    rough = 0.25 * broad_noise(rng, grid.shape, grid.blur(10.0))
    rough = np.clip(rough + 0.07 * broad_noise(rng, grid.shape, grid.blur(4.0)), -0.8, 0.8)
    paving = draw.between(15.0, 80.0) * broad_noise(rng, grid.shape, grid.blur(2.5))
    points, depth, mask = grid.points(inside), anatomy.pleura[inside], np.zeros_like(inside)
    lure = -depth / (0.45 * thick) - draw.between(0.0, 2.5) * points[:, 0] / grid.height
    lure -= draw.between(-0.3, 1.6) * points[:, 1] / 80.0
    weight = np.exp(lure - lure.max())
    for pick in rng.choice(len(points), size=count, p=weight / weight.sum()):
        z, y, x = points[pick]
        radius, solid = reach * rng.uniform(0.6, 1.4), rng.random() < dense_share
        near = np.sqrt(((grid.z - z) / 1.2) ** 2 + (grid.y - y) ** 2 + (grid.x - x) ** 2)
        deep = np.maximum(anatomy.pleura - depth[pick], 0.0) * reach / (thick * radius)
        shape = 1.0 - np.hypot(near / radius, deep) + rough - 0.12
        shape = np.where((grid.x < 0) == (x < 0), shape, -1.0)
        target = (dense if solid else ground) + rng.normal(0.0, 35.0) + paving
        lung = np.maximum(lung, blend(lung, target, cover(shape, edge)))
        mask |= shape > 0
    return lung, mask & inside


def _scan(draw: Draw, grid: Grid, anatomy: Anatomy, image: Volume) -> Volume:
    """Heart and breathing motion, reconstruction kernel and noise."""
    moving = np.maximum(
        cover(12.0 - np.abs(anatomy.heart), 12.0), cover(10.0 - np.abs(anatomy.abdomen), 12.0)
    )
    smear = ndimage.uniform_filter1d(image, 3, axis=2) + ndimage.uniform_filter1d(image, 5, axis=1)
    image = blend(image, 0.5 * smear, moving * max(0.0, draw.between(-0.3, 1.0)))
    blurred = ndimage.gaussian_filter(image, grid.blur(3.4) * np.array([0.0, 1.0, 1.0]))
    image = blend(image, blurred, draw.between(-0.6, 0.8))
    fine = smooth_noise(draw.rng, grid.shape, (0.0, 0.4, 0.4))
    coarse = smooth_noise(draw.rng, grid.shape, (0.0, 0.9, 0.9))
    share = draw.rng.random()
    noise = (1.0 - share) * fine + share * coarse
    thick = np.clip(anatomy.body, 10.0, 90.0) / 60.0
    level = float(np.clip(draw.between(6.0, 38.0), 4.0, 70.0))
    return np.asarray(image + level * thick * noise, dtype=np.float32)


def _patient(draw: Draw, matrix: int) -> tuple[Volume, Label, NDArray[np.bool_], Grid]:
    grid = draw_grid(draw, matrix)
    anatomy = draw_anatomy(draw, grid)
    contrast = draw.between(120.0, 260.0) if draw.chance(0.4) else 45.0
    lung, infection = _infect(draw, grid, anatomy, _parenchyma(draw, grid, anatomy))
    vessels = _vessels(draw, grid, anatomy.lungs)
    lung = np.maximum(lung, blend(lung, contrast, vessels))
    image = blend(tissue(draw, grid, anatomy, contrast), lung, anatomy.fraction)
    return _scan(draw, grid, anatomy, image), anatomy.lungs, infection, grid


def _stored(draw: Draw, image: Volume, eight_bit: bool) -> NDArray[np.int16 | np.uint8]:
    low, high = WINDOW[0] + draw.between(-100.0, 100.0), WINDOW[1] + draw.between(-120.0, 120.0)
    if eight_bit:
        grey = np.rint((image - low) * (255.0 / (high - low)))
        return np.asarray(np.clip(grey, 0, 255), dtype=np.uint8)
    return np.asarray(np.clip(np.rint(image), -1024, 3071), dtype=np.int16)


def _write_patient(out: Path, draw: Draw, *, index: int, matrix: int) -> None:
    """Generate one patient and save the image and its three masks."""
    image, lungs, infection, grid = _patient(draw, matrix)
    eight_bit = index % 2 == 1
    number = index // 2 + 1
    stem = f"radiopaedia_{number}_{85700 + number}_0" if eight_bit else f"coronacases_{number:03d}"
    for folder, array in (
        ("COVID-19-CT-Seg_20cases", _stored(draw, image, eight_bit)),
        ("Lung_Mask", lungs),
        ("Infection_Mask", infection.astype(np.uint8)),
        ("Lung_and_Infection_Mask", np.where(infection, INFECTION, lungs).astype(np.uint8)),
    ):
        save_nifti(out / folder / f"{stem}.nii.gz", array, grid.millimetres)


def write_chest(
    out: Path, *, patients: int, seed: int, matrix: int = 96, variation: float = 1.0
) -> None:
    """Write synthetic chest CT volumes and their three masks in the raw layout of the real set.

    Odd-numbered patients (the first, third, ...) are named `coronacases_*` and stored as int16
    Hounsfield units, the others `radiopaedia_*` and stored as uint8 grey values of a window close
    to [-1250, 250] HU. Volumes hold 12 to 20 slices of (matrix, matrix) voxels. The same arguments
    give the same bytes, and a patient depends on `seed` and its number only.

    Args:
        out: folder that receives `COVID-19-CT-Seg_20cases`, `Lung_Mask` (1 left, 2 right),
            `Infection_Mask` (1) and `Lung_and_Infection_Mask` (1, 2, and 3 for infection).
        patients: number of volumes, at least 1.
        seed: non-negative; another seed gives other patients.
        matrix: rows and columns, at least 32; the field of view stays 340 mm.
        variation: scale of the differences between patients, 0 (only the random shapes differ)
            to 1.5.

    Raises:
        ValueError: a number is outside its range.
    """
    if patients < 1 or seed < 0 or matrix < 32 or not 0.0 <= variation <= 1.5:
        raise ValueError(
            "need patients >= 1, seed >= 0, matrix >= 32 and 0 <= variation <= 1.5, "
            f"got {patients}, {seed}, {matrix}, {variation}"
        )
    for index in range(patients):
        _write_patient(out, Draw(seed, index, variation), index=index, matrix=matrix)
