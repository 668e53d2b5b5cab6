"""Synthetic chest CT with COVID-19 pneumonia in the raw layout of COVID-19-CT-Seg-20.

The layout is that of Zenodo record 3757476: one folder of images, three of masks, ten cases from
either source. Shapes and densities follow general anatomy and usual CT numbers; no real image was
used. As the header says, z goes up, y (rows) to anterior and x (columns) to the patient's right.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from datasets.phantoms.fields import Label, Volume, save_nifti, smooth_noise

FIELD_OF_VIEW = 340.0
WINDOW = (-1250.0, 250.0)
Real = NDArray[np.floating]

LEFT, RIGHT, INFECTION = 1, 2, 3


class _Draw:
    """Random numbers of one patient; `variation` widens every interval about its middle."""

    def __init__(self, seed: int, index: int, variation: float) -> None:
        self.rng = np.random.default_rng([seed, index])
        self.variation = variation

    def between(self, low: float, high: float) -> float:
        half = 0.5 * (high - low) * self.variation
        return 0.5 * (low + high) + half * self.rng.uniform(-1.0, 1.0)

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)


@dataclass(frozen=True)
class _Grid:
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
class _Anatomy:
    """Signed distances (positive inside), depth below the pleura, lung share in [0, 1], labels."""

    cage: Volume
    body: Volume
    heart: Volume
    abdomen: Volume
    middle: Volume
    pleura: Volume
    fraction: Volume
    lungs: Label


def _cover(distance: Real, width: float) -> Volume:
    """Share of a voxel inside a shape: a linear ramp of `width` mm about its border."""
    return np.asarray(np.clip(0.5 + distance / width, 0.0, 1.0), dtype=np.float32)


def _ellipse(
    grid: _Grid, centre: tuple[float, float], radii: tuple[Volume | float, Volume | float]
) -> Volume:
    """Approximate signed distance (D or 1, H, W) in mm to an axial ellipse; (y, x) order."""
    height, width = (np.maximum(radius, 1e-3) for radius in radii)
    ratio = np.sqrt(((grid.y - centre[0]) / height) ** 2 + ((grid.x - centre[1]) / width) ** 2)
    return np.asarray((1.0 - ratio) * np.minimum(height, width), dtype=np.float32)


def _blend(image: Real, value: Real | float, share: Real | float) -> Volume:
    """`value` where `share` is 1, `image` where it is 0."""
    return np.asarray(image + share * (value - image), dtype=np.float32)


def _grid(draw: _Draw, matrix: int) -> _Grid:
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
    return _Grid(levels, rows, columns, (1.04 * height / depth, pixel, pixel), size, height)


def _diaphragm(draw: _Draw, grid: _Grid) -> Volume:
    """(1, H, W) height of the two domes in mm; below zero the lung reaches the lowest slice."""
    domes = []
    for side, low, high in ((-1.0, 35.0, 65.0), (1.0, 50.0, 85.0)):
        across = (grid.x - side * 58.0) / 66.0
        along = (grid.y - 14.0) / 72.0
        domes.append(draw.between(low, high) * (1.0 - across**2 - along**2))
    return np.maximum(*domes).astype(np.float32)


def _anatomy(draw: _Draw, grid: _Grid) -> _Anatomy:
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
    middle = middle + 2.5 * smooth_noise(draw.rng, grid.shape, grid.blur(14.0))
    abdomen = np.asarray(_diaphragm(draw, grid) - grid.z, dtype=np.float32)
    plane = np.minimum(cage, -middle)
    fraction = _cover(plane, grid.spacing[1]) * _cover(-abdomen, grid.spacing[0])
    inside = ndimage.binary_opening(fraction > 0.5, np.ones((1, 2, 2), bool))
    lungs = np.where(inside, np.where(grid.x < 0, LEFT, RIGHT), 0).astype(np.uint8)
    # Depth below the chest wall, not below the mediastinum: pneumonia hugs the outer pleura.
    pleura = np.minimum(cage, np.maximum(-abdomen, 0.0) * 0.8 + 6.0).astype(np.float32)
    return _Anatomy(cage, body, heart, abdomen, middle, pleura, fraction, lungs)


def _tree(draw: _Draw, hilum: Real, points: Real) -> Real:
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
    return np.asarray(pieces)


def _vessels(draw: _Draw, grid: _Grid, lungs: Label) -> Volume:
    """(D, H, W) share of vessel in each voxel; inside the lungs only."""
    share = np.zeros(grid.shape, dtype=np.float32)
    # The slice is thick: across it a vessel is seen as if half as far away.
    seen, bounds = np.array([0.45, 1.0, 1.0]), np.array([-1.0, 1.0])
    for side, label in ((-1.0, LEFT), (1.0, RIGHT)):
        points = grid.points(lungs == label)
        covered = np.zeros(len(points))
        hilum = np.array([0.46 * grid.height, -8.0, side * 34.0])
        for piece in _tree(draw, hilum, points):
            start, end = piece[:3], piece[3:6]
            reach = 0.5 * np.abs(end - start) + np.array([0.5 * grid.spacing[0], 8.0, 8.0])
            # `points` is sorted by z, which saves most of the comparisons.
            span = slice(*np.searchsorted(points[:, 0], 0.5 * (start + end)[0] + bounds * reach[0]))
            close = np.abs(points[span, 1:] - 0.5 * (start + end)[1:]) < reach[1:]
            near = span.start + np.flatnonzero(close.all(axis=1))
            offset, along = (points[near] - start) * seen, (end - start) * seen
            part = np.clip(offset @ along / max(float(along @ along), 1e-6), 0.0, 1.0)
            distance = np.linalg.norm(offset - part[:, None] * along, axis=1)
            radius = piece[6] + part * (piece[7] - piece[6])
            value = np.clip(0.5 + (radius - distance) / grid.spacing[1], 0.0, 1.0)
            covered[near] = np.maximum(covered[near], value * np.minimum(1.0, radius / 2.4))
        share[lungs == label] = covered
    return share


def _parenchyma(draw: _Draw, grid: _Grid, anatomy: _Anatomy) -> Volume:
    """Lung without disease in HU, with the changes that only look like pneumonia."""
    base = float(np.clip(draw.between(-920.0, -735.0), -940.0, -690.0))
    lung = base - draw.between(0.1, 0.7) * np.broadcast_to(grid.y, grid.shape)
    lung = lung + draw.between(5.0, 30.0) * smooth_noise(draw.rng, grid.shape, grid.blur(16.0))
    if draw.chance(0.6):
        band = np.exp(-np.maximum(anatomy.cage, 0.0) / draw.between(8.0, 20.0))
        dependent = _cover(-grid.y - 25.0, 50.0)
        lung = lung + draw.between(50.0, 240.0) * band * dependent
    if draw.chance(0.35):
        holes = smooth_noise(draw.rng, grid.shape, grid.blur(7.0)) - 0.7 - 0.6 * draw.rng.random()
        lung = _blend(lung, -985.0, _cover(holes, 0.8) * 0.9)
    return np.asarray(lung, dtype=np.float32)


def _tissue(draw: _Draw, grid: _Grid, anatomy: _Anatomy, contrast: float) -> Volume:
    """Everything but the lungs in HU: table, fat, muscle, ribs, heart, vessels, abdomen, spine."""
    ramp = grid.spacing[1]
    image = np.full(grid.shape, -1000.0, dtype=np.float32)
    lowest = float(grid.y[anatomy.body[0][None] > 0].min())
    table = 3.5 - np.abs(grid.y - lowest + 12.0 - grid.x**2 / 900.0)
    image = _blend(image, draw.between(-500.0, -150.0), _cover(table, ramp))
    image = _blend(image, -95.0, _cover(anatomy.body, ramp))
    wall = 14.0 + 8.0 * np.clip(np.abs(grid.x) / 120.0 - grid.y / 160.0, 0.0, 1.0)
    image = _blend(image, 50.0, _cover(anatomy.cage + wall, ramp))
    image = _blend(image, -80.0, _cover(anatomy.cage + 1.0, ramp))
    chest = np.minimum(anatomy.middle - 3.0, anatomy.cage)
    image = _blend(image, 35.0, _cover(chest, 6.0))
    image = _blend(image, 0.35 * contrast + 25.0, _cover(anatomy.heart - 5.0, ramp))
    chambers = smooth_noise(draw.rng, grid.shape, grid.blur(15.0)) + 0.3
    image = _blend(image, contrast, _cover(anatomy.heart - 12.0, 6.0) * _cover(chambers, 0.5))
    aorta = _ellipse(grid, (-38.0, -20.0), (13.0, 13.0))
    image = _blend(image, contrast, _cover(aorta, ramp))
    organs = 8.0 * smooth_noise(draw.rng, grid.shape, grid.blur(9.0)) + 45.0 + 0.2 * contrast
    below = _cover(anatomy.abdomen, grid.spacing[0]) * _cover(anatomy.cage - 3.0, ramp)
    image = _blend(image, organs, below)
    if draw.chance(0.6):
        gas = _ellipse(grid, (40.0, -60.0), (22.0, 30.0))
        image = _blend(image, -950.0, below * _cover(gas, ramp) * (anatomy.abdomen > 14.0))
    return _airways(draw, grid, _bones(draw, grid, anatomy, image))


def _bones(draw: _Draw, grid: _Grid, anatomy: _Anatomy, image: Volume) -> Volume:
    ramp = grid.spacing[1]
    turn = np.abs(np.arctan2(grid.x / 125.0, -grid.y / 90.0)) / np.pi
    phase = grid.z / 30.0 + 5.0 * turn + draw.rng.random()
    ribs = 4.5 - np.abs(anatomy.cage + 8.0)
    share = _cover(ribs, ramp) * np.clip(3.0 * np.sin(2 * np.pi * phase) + 0.2, 0.0, 1.0)
    image = _blend(image, draw.between(250.0, 520.0), share * (turn < 0.88))
    rear = float(grid.y[(anatomy.cage.max(axis=0) > 0)[None]].min())
    body = _ellipse(grid, (rear + 22.0, 0.0), (17.0, 20.0))
    image = _blend(image, 420.0, _cover(body, ramp))
    image = _blend(image, draw.between(130.0, 260.0), _cover(body - 3.5, ramp))
    arch = _ellipse(grid, (rear - 6.0, 0.0), (13.0, 17.0))
    image = _blend(image, 380.0, _cover(arch, ramp))
    image = _blend(image, 20.0, _cover(arch - 6.0, ramp))
    spur = np.minimum(4.0 - np.abs(grid.x), 9.0 - np.abs(grid.y - rear + 24.0))
    image = _blend(image, 350.0, _cover(spur, ramp))
    ahead = np.minimum(5.0 - np.abs(anatomy.cage + 9.0), 20.0 - np.abs(grid.x))
    sternum = np.where(grid.y > 0, ahead, -9.0).astype(np.float32)
    return _blend(image, 260.0, _cover(sternum, ramp))


def _airways(draw: _Draw, grid: _Grid, image: Volume) -> Volume:
    carina = draw.between(0.54, 0.6) * grid.height
    for side in (-1.0, 1.0):
        fall = np.clip((carina - grid.z) / 40.0, 0.0, 1.0)
        radius = 9.0 - 3.5 * fall
        away = np.hypot(grid.y + 16.0, grid.x - side * fall * 40.0)
        shown = grid.z > carina - 42.0
        image = _blend(image, 30.0, _cover(radius + 2.5 - away, grid.spacing[1]) * shown)
        image = _blend(image, -990.0, _cover(radius - away, grid.spacing[1]) * shown)
    return image


def _infect(
    draw: _Draw, grid: _Grid, anatomy: _Anatomy, lung: Volume
) -> tuple[Volume, NDArray[np.bool_]]:
    """Add ground glass and consolidation to `lung` (HU); also the mask of both."""
    rng, inside = draw.rng, anatomy.lungs > 0
    severity, dense_share = rng.random(), rng.beta(0.7, 1.0)
    count, reach = 3 + int(15 * severity**1.6), draw.between(18.0, 28.0) + 10.0 * severity
    ground = float(np.median(lung[inside])) + draw.between(210.0, 370.0)
    dense = draw.between(-200.0, 30.0)
    thick, edge = draw.between(16.0, 48.0), float(np.clip(draw.between(0.12, 0.4), 0.1, 0.6))
    rough = 0.25 * smooth_noise(rng, grid.shape, grid.blur(10.0))
    rough = np.clip(rough + 0.07 * smooth_noise(rng, grid.shape, grid.blur(4.0)), -0.8, 0.8)
    paving = draw.between(15.0, 80.0) * smooth_noise(rng, grid.shape, grid.blur(2.5))
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
        lung = np.maximum(lung, _blend(lung, target, _cover(shape, edge)))
        mask |= shape > 0
    return lung, mask & inside


def _scan(draw: _Draw, grid: _Grid, anatomy: _Anatomy, image: Volume) -> Volume:
    """Heart and breathing motion, reconstruction kernel and noise."""
    moving = np.maximum(
        _cover(12.0 - np.abs(anatomy.heart), 12.0), _cover(10.0 - np.abs(anatomy.abdomen), 12.0)
    )
    smear = ndimage.uniform_filter1d(image, 3, axis=2) + ndimage.uniform_filter1d(image, 5, axis=1)
    image = _blend(image, 0.5 * smear, moving * max(0.0, draw.between(-0.3, 1.0)))
    blurred = ndimage.gaussian_filter(image, grid.blur(3.4) * np.array([0.0, 1.0, 1.0]))
    image = _blend(image, blurred, draw.between(-0.6, 0.8))
    fine = smooth_noise(draw.rng, grid.shape, (0.0, 0.4, 0.4))
    coarse = smooth_noise(draw.rng, grid.shape, (0.0, 0.9, 0.9))
    share = draw.rng.random()
    noise = (1.0 - share) * fine + share * coarse
    thick = np.clip(anatomy.body, 10.0, 90.0) / 60.0
    level = float(np.clip(draw.between(6.0, 38.0), 4.0, 70.0))
    return np.asarray(image + level * thick * noise, dtype=np.float32)


def _patient(draw: _Draw, matrix: int) -> tuple[Volume, Label, NDArray[np.bool_], _Grid]:
    grid = _grid(draw, matrix)
    anatomy = _anatomy(draw, grid)
    contrast = draw.between(120.0, 260.0) if draw.chance(0.4) else 45.0
    lung, infection = _infect(draw, grid, anatomy, _parenchyma(draw, grid, anatomy))
    vessels = _vessels(draw, grid, anatomy.lungs)
    lung = np.maximum(lung, _blend(lung, contrast, vessels))
    image = _blend(_tissue(draw, grid, anatomy, contrast), lung, anatomy.fraction)
    return _scan(draw, grid, anatomy, image), anatomy.lungs, infection, grid


def _stored(draw: _Draw, image: Volume, eight_bit: bool) -> NDArray[np.int16 | np.uint8]:
    low, high = WINDOW[0] + draw.between(-100.0, 100.0), WINDOW[1] + draw.between(-120.0, 120.0)
    if eight_bit:
        grey = np.rint((image - low) * (255.0 / (high - low)))
        return np.asarray(np.clip(grey, 0, 255), dtype=np.uint8)
    return np.asarray(np.clip(np.rint(image), -1024, 3071), dtype=np.int16)


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
        draw = _Draw(seed, index, variation)
        image, lungs, infection, grid = _patient(draw, matrix)
        eight_bit = index % 2 == 1
        number = index // 2 + 1
        stem = (
            f"radiopaedia_{number}_{85700 + number}_0" if eight_bit else f"coronacases_{number:03d}"
        )
        for folder, array in (
            ("COVID-19-CT-Seg_20cases", _stored(draw, image, eight_bit)),
            ("Lung_Mask", lungs),
            ("Infection_Mask", infection.astype(np.uint8)),
            ("Lung_and_Infection_Mask", np.where(infection, INFECTION, lungs).astype(np.uint8)),
        ):
            save_nifti(out / folder / f"{stem}.nii.gz", array, grid.millimetres)
