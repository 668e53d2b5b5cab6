"""Synthetic skull-stripped brain-tumour MRI in the layout of the BraTS2019 training set.

Anatomy is a set of implicit surfaces in millimetres (a depth, positive inside) about the centre of
the brain: x to one side, y backwards, z upwards. Sizes follow an adult head in the SRI24 space of
BraTS; brightness, relative to white matter, was set by eye against BraTS cases.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from datasets.phantoms.fields import Label, Volume, bias_field, rician, save_nifti, smooth_noise

NECROSIS, OEDEMA, ENHANCING = 1, 2, 4
FIELD_OF_VIEW_MM = 216.0
LGG_EVERY = 4  # every fourth patient is low grade; 76 of 335 are in BraTS2019
CEREBRUM = ((0, 0, 8), (66, 84, 60))  # centre and radii, mm

Mask = NDArray[np.bool_]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class _Contrast:
    """Brightness over white matter: fluid, grey matter; (core, oedema, enhancing) by grade."""

    fluid: float
    grey: float
    high: Triple
    low: Triple
    core_spread: float  # standard deviation over patients


CONTRASTS = {
    "flair": _Contrast(0.50, 1.14, (1.30, 1.75, 1.65), (1.70, 1.55, 1.65), 0.45),
    "t1": _Contrast(0.42, 0.79, (0.58, 0.79, 0.86), (0.64, 0.82, 0.84), 0.08),
    "t1ce": _Contrast(0.45, 0.83, (0.55, 0.82, 1.95), (0.66, 0.84, 1.50), 0.08),
    "t2": _Contrast(2.40, 1.35, (2.20, 1.85, 1.60), (2.10, 1.75, 1.75), 0.25),
}


@dataclass(frozen=True)
class _Space:
    """Position of every voxel, (3, D, H, W) float32 in mm as x, y, z, and the voxel size in mm."""

    points: Volume
    voxel: float

    @property
    def shape(self) -> tuple[int, ...]:
        return self.points.shape[1:]

    def offset(self, centre: ArrayLike, radii: ArrayLike = 1.0) -> Volume:
        """Position relative to a centre, divided by radii."""
        ones = (1, 1, 1)
        scale = np.broadcast_to(np.asarray(radii, np.float32), 3).reshape(3, *ones)
        return (self.points - np.asarray(centre, np.float32).reshape(3, *ones)) / scale

    def blob(self, centre: Triple, radii: Triple) -> Volume:
        """Depth in mm below an ellipsoid, to first order; mirrored in x unless centred there."""
        space = self if centre[0] == 0 else self.mirrored()
        scaled = space.offset(centre, radii)
        radius = np.linalg.norm(scaled, axis=0)
        slope = np.linalg.norm(scaled / np.asarray(radii, np.float32).reshape(3, 1, 1, 1), axis=0)
        return np.asarray(radius * (1 - radius) / (slope + 1e-3), dtype=np.float32)

    def mirrored(self) -> _Space:
        """The same space with x folded onto its absolute value."""
        x, y, z = self.points
        return _Space(np.stack([np.abs(x), y, z]), self.voxel)

    def cover(self, depth: Volume) -> Volume:
        """Share of each voxel inside a surface, from the depth at its centre: partial volume."""
        return np.asarray(np.clip(0.5 + depth / (1.3 * self.voxel), 0, 1), dtype=np.float32)

    def noise(self, rng: np.random.Generator, length: float) -> Volume:
        """Unit random field with a correlation length in mm."""
        return smooth_noise(rng, self.shape, length / self.voxel)


@dataclass(frozen=True)
class _Anatomy:
    """Brain mask, shares of fluid and grey matter (the rest is white), depths in mm: (D, H, W)."""

    brain: Mask
    fluid: Volume
    grey: Volume
    ventricle: Volume
    depth: Volume


@dataclass(frozen=True)
class _Lesion:
    """Where a tumour lies (mm), its size, and the shares of core in it and of rim in the core."""

    centre: Triple
    voxels: int
    core: float
    rim: float
    high_grade: bool


def _enlarge(coarse: Volume, shape: tuple[int, ...]) -> Volume:
    """A slowly varying field, drawn on a coarse grid because wide filters are slow."""
    factors = [n / c for n, c in zip(shape, coarse.shape, strict=True)]
    return np.asarray(ndimage.zoom(coarse, factors, order=1), dtype=np.float32)


def _head_space(rng: np.random.Generator, *, matrix: int, variation: float) -> _Space:
    """Axes about the brain's centre, with each patient's size and smooth asymmetric deformation."""
    voxel = FIELD_OF_VIEW_MM / matrix
    shape = (round(matrix * 2 / 3), matrix, matrix)
    middle = (np.array(shape).reshape(3, 1, 1, 1) - 1) / 2
    points = (np.indices(shape) - middle)[::-1] * voxel
    scale = 1 + 0.03 * variation * np.clip(rng.standard_normal((3, 1, 1, 1)), -2, 2)
    warp = [_enlarge(smooth_noise(rng, (12, 18, 18), 2.0), shape) for _ in range(3)]
    return _Space((points * scale + 2 * variation * np.stack(warp)).astype(np.float32), voxel)


def _draw_lesion(
    rng: np.random.Generator, space: _Space, *, high_grade: bool, variation: float
) -> _Lesion:
    """Place a tumour in one cerebral hemisphere, 0.45 to 3.5 % of the image at variation 1."""
    side = rng.choice((-1.0, 1.0))
    point = np.array([side * rng.uniform(14, 48), rng.uniform(-56, 56), rng.uniform(-22, 46)])
    centre, radii = CEREBRUM
    point *= min(1.0, 0.72 / float(np.linalg.norm((point - centre) / radii)))
    share = 0.0125 * np.exp(np.clip(0.55 * variation * rng.standard_normal(), -1.02, 1.03))
    return _Lesion(
        centre=(float(point[0]), float(point[1]), float(point[2])),
        voxels=int(share * np.prod(space.shape)),
        core=rng.uniform(0.2, 0.6) if high_grade else rng.uniform(0.45, 0.9),
        rim=rng.uniform(0.35, 0.75) if high_grade else rng.choice((0.0, 0.0, 0.0, 0.15)),
        high_grade=high_grade,
    )


def _mass_effect(rng: np.random.Generator, space: _Space, *, lesion: _Lesion) -> _Space:
    """Push tissue away from the tumour by up to 6 mm; the skull holds the surface in place."""
    radius = (0.24 * lesion.voxels) ** (1 / 3) * space.voxel
    delta = space.offset(lesion.centre)
    distance = np.linalg.norm(delta, axis=0) + 1e-3
    inside = np.clip(space.blob(*CEREBRUM) / 20, 0, 1)
    push = rng.uniform(0, 6) * inside * np.exp(-((distance / (1.8 * radius)) ** 2)) / distance
    return _Space(space.points - push * delta, space.voxel)


def _sulci(rng: np.random.Generator, space: _Space, *, length: float) -> Volume:
    """Distance in mm to folded sheets that run from the brain surface inwards.

    The sheets are the zero set of a random field sampled close to the surface along each radius.
    """
    radius = np.linalg.norm(space.offset(*CEREBRUM), axis=0)
    middle = (np.array(space.shape).reshape(3, 1, 1, 1) - 1) / 2
    index = space.points[::-1] * np.clip(radius, 0.35, 1.2) ** -0.6 / space.voxel + middle
    field = ndimage.map_coordinates(space.noise(rng, length), index, order=1, mode="grid-wrap")
    slope = np.sqrt(sum(g**2 for g in np.gradient(field, space.voxel))) + 0.02
    return np.asarray(np.abs(field) / slope, dtype=np.float32)


def _ventricles(space: _Space, width: float) -> Volume:
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


def _folds(rng: np.random.Generator, space: _Space, *, surfaces: tuple[Volume, Volume]) -> Volume:
    """Distance in mm to the nearest surface that cortex lines: sulci, fissures, folia."""
    x, y, z = space.points
    cerebrum, cerebellum = surfaces
    sulci = _sulci(rng, space, length=3.6) + np.maximum(cerebrum - 15, 0)
    callosum = space.blob((0, 4, 6), (40, 46, 26))
    midline = np.maximum(np.abs(x) + 0.2, callosum)
    curved = _Space(np.stack([np.abs(x) + 0.008 * (y + 2) ** 2, y, z]), space.voxel)
    insula = 1.6 - curved.blob((40, -2, 2), (1.5, 17, 11)) + 0.8 * space.noise(rng, 6)
    ripple = np.linalg.norm(space.offset((0, 28, -36)), axis=0) + 4 * space.noise(rng, 8)
    folia = 3.4 + 2.2 * np.sin(2 * np.pi * ripple / 8.5) + 0.1 * cerebellum
    lobes = np.minimum.reduce([cerebrum, sulci, midline, insula])
    folia = np.clip(folia, np.minimum(1.4, cerebellum), np.maximum(cerebellum, 0))
    return np.asarray(np.where(cerebellum > cerebrum, folia, lobes), dtype=np.float32)


def _surfaces(space: _Space) -> tuple[Volume, Volume]:
    """Depth in mm below the surface of cerebrum with brainstem, and of the cerebellum."""
    x, y, z = space.points
    # Frontal lobes are narrower than parietal ones.
    egg = _Space(np.stack([x / (1 + 0.0012 * y), y, z]), space.voxel)
    hemispheres = np.minimum(egg.blob(*CEREBRUM), z + 22 + 0.12 * y)
    temporal = space.blob((36, -5, -22), (27, 44, 24))
    stem = space.blob((0, 18, -38), (13, 13, 44))
    cerebellum = space.blob((20, 45, -38), (33, 31, 24))
    return np.maximum.reduce([hemispheres, temporal, stem]), cerebellum


def _anatomy(rng: np.random.Generator, space: _Space, *, variation: float) -> _Anatomy:
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
    brain = ndimage.binary_fill_holes(brain)[4:-4, 4:-4, 4:-4]
    return _Anatomy(brain, fluid, np.minimum(grey, 1 - fluid), ventricle, depth)


def _top(field: Volume, allowed: Mask, *, count: int) -> Mask:
    """The `count` highest voxels of a field among those allowed."""
    values = field[allowed]
    rank = values.size - int(np.clip(count, 1, values.size))
    return np.asarray(allowed & (field >= np.partition(values, rank)[rank]), dtype=np.bool_)


def _tumour(
    rng: np.random.Generator, space: _Space, *, anatomy: _Anatomy, lesion: _Lesion
) -> Label:
    """Label map: oedema fingers avoid cortex and the other side; a rim encloses the necrosis."""
    near = -np.linalg.norm(space.offset(lesion.centre, rng.uniform(0.75, 1.3, 3)), axis=0)
    far_side = np.maximum(-np.sign(lesion.centre[0]) * space.points[0] - 2, 0)
    fingers = 5 * space.noise(rng, 5) + 5 * space.noise(rng, 9)
    spread = near + fingers - 9 * anatomy.grey - 12 * anatomy.fluid - 2 * far_side
    spread = ndimage.gaussian_filter(spread, 2.5 / space.voxel)
    allowed = anatomy.brain & (space.cover(anatomy.ventricle) < 0.5) & (anatomy.depth > 1)
    parts, _ = ndimage.label(_top(spread, allowed, count=lesion.voxels))
    whole = parts == np.argmax(np.bincount(parts.ravel())[1:]) + 1
    bulk = 1.3 * near + 3 * space.noise(rng, 6) - 1.5 * far_side
    core = _top(bulk, whole, count=int(lesion.core * whole.sum()))
    label = np.where(whole, OEDEMA, 0).astype(np.uint8)
    label[core] = NECROSIS
    patch = space.noise(rng, 4)
    if lesion.rim > 0:
        order = 2.5 * patch - bulk if lesion.high_grade else patch
        label[_top(order, core, count=int(lesion.rim * core.sum()))] = ENHANCING
    return label


def _infarcts(rng: np.random.Generator, space: _Space, *, lesion: _Lesion) -> Volume:
    """FLAIR brightness of none to three old cortical infarcts: bright scar, dark cavity.

    They lie in the hemisphere without the tumour, so that no label is ambiguous.
    """
    change = np.zeros(space.shape, dtype=np.float32)
    centre, radii = np.array(CEREBRUM)
    for _ in range(rng.integers(4)):
        direction = rng.standard_normal(3)
        direction[0] = -np.sign(lesion.centre[0]) * (abs(direction[0]) + 0.3)
        direction[2] = abs(direction[2])
        point = centre + 0.85 * radii * direction / np.linalg.norm(direction)
        distance = np.linalg.norm(space.offset(point, rng.uniform(0.8, 1.3, 3)), axis=0)
        size = rng.uniform(8, 17)
        edge = size - distance + 2.5 * space.noise(rng, 5)
        cavity = space.cover(edge - rng.uniform(0.4, 0.8) * size)
        change += rng.uniform(0.4, 0.9) * space.cover(edge) - 1.4 * cavity
    return change


def _distractors(
    rng: np.random.Generator, space: _Space, *, anatomy: _Anatomy, lesion: _Lesion, variation: float
) -> dict[str, Volume]:
    """Brightness added by structures that are not tumour.

    FLAIR: caps of the ventricles and spots in white matter, inflow in fluid, bright surface and
    old infarcts (a scar around a cavity, at the cortex).
    T1ce: sagittal sinus and choroid plexus.
    """
    x, y, z = space.points
    white = 1 - anatomy.fluid - anatomy.grey
    horns = np.exp(-(((np.abs(y - 4) - 42) / 12) ** 2)) + 0.25
    caps = np.exp(-np.maximum(-anatomy.ventricle, 0) / 4.5) * horns * rng.gamma(1.2, 0.7)
    spots = 1.6 * np.clip(space.noise(rng, 4) - rng.uniform(2.0, 3.2), 0, 0.6)
    inflow = np.clip(space.noise(rng, 6) - rng.uniform(0.6, 2.0), 0, 1) * anatomy.fluid
    rim = np.exp(-np.maximum(anatomy.depth, 0) / 3) * np.clip(space.noise(rng, 18), 0, 2)
    surface = rng.uniform(0.1, 0.45) * rim * (1 - anatomy.fluid)
    scar = _infarcts(rng, space, lesion=lesion) * (1 - anatomy.fluid)
    choroid = space.cover(space.blob((14, 26, 14), (2.5, 6, 3)))
    flair = white * (caps + spots) + 0.8 * inflow + surface + scar + rng.uniform(0, 0.7) * choroid
    sinus = (np.abs(x) < 2.5) & (anatomy.depth < 4) & (z > -8) & (y > -60)
    damage = variation * np.abs(scar)
    return {
        "flair": variation * flair,
        "t1": -0.25 * damage,
        "t1ce": 0.9 * sinus + 0.7 * choroid - 0.25 * damage,
        "t2": 0.9 * damage,
    }


def _scan(
    rng: np.random.Generator,
    label: Label,
    *,
    anatomy: _Anatomy,
    healthy: Volume,
    contrast: _Contrast,
    high_grade: bool,
    variation: float,
) -> NDArray[np.int16]:
    """One modality (D, H, W) int16: tissue, lesion, coil shading, noise and an arbitrary unit."""
    image = healthy.copy()
    spread = np.exp(np.clip(0.45 * variation * rng.standard_normal(), -1.0, 0.4))
    texture = 0.1 * smooth_noise(rng, label.shape, 1.2)
    shifts = np.array((contrast.core_spread, 0.1, 0.1)) * variation * rng.standard_normal(3)
    lesion = 1 + (np.array(contrast.high if high_grade else contrast.low) - 1) * spread + shifts
    for value, brightness in zip((NECROSIS, OEDEMA, ENHANCING), lesion, strict=True):
        weight = ndimage.gaussian_filter((label == value).astype(np.float32), 0.55)
        image += weight * (1 - 0.5 * anatomy.fluid) * (brightness + texture - image)
    # Scanners differ in resolution.
    image = ndimage.gaussian_filter(image, rng.uniform(0, 0.8 * variation))
    image *= _enlarge(bias_field(rng, (8, 12, 12), 0.08 * variation), label.shape)
    image = rician(rng, np.maximum(image, 0), rng.uniform(0.015, 0.015 + 0.04 * variation))
    unit = 500 * np.exp(np.clip(0.6 * variation * rng.standard_normal(), -1.5, 1.5))
    return np.where(anatomy.brain, np.clip(image * unit, 1, 32000), 0).astype(np.int16)


def _patient(
    rng: np.random.Generator, matrix: int, *, high_grade: bool, variation: float
) -> dict[str, NDArray[np.int16] | Label]:
    """Scans and label map, each (D, H, W), under their file suffix."""
    space = _head_space(rng, matrix=matrix, variation=variation)
    lesion = _draw_lesion(rng, space, high_grade=high_grade, variation=variation)
    # The tumour keeps the undeformed axes: only the healthy tissue gives way.
    anatomy = _anatomy(rng, _mass_effect(rng, space, lesion=lesion), variation=variation)
    label = _tumour(rng, space, anatomy=anatomy, lesion=lesion)
    added = _distractors(rng, space, anatomy=anatomy, lesion=lesion, variation=variation)
    arrays: dict[str, NDArray[np.int16] | Label] = {"seg": label}
    for name, contrast in CONTRASTS.items():
        grey = (contrast.grey - 1) * max(0.1, 1 + 0.35 * variation * rng.standard_normal())
        healthy = 1 + anatomy.fluid * (contrast.fluid - 1) + anatomy.grey * grey
        arrays[name] = _scan(
            rng,
            label,
            anatomy=anatomy,
            healthy=np.asarray(healthy + added.get(name, 0.0), dtype=np.float32),
            contrast=contrast,
            high_grade=high_grade,
            variation=variation,
        )
    return arrays


def write_brain(
    out: Path, *, patients: int, seed: int, matrix: int = 72, variation: float = 1.0
) -> None:
    """Write synthetic patients as `{HGG,LGG}/<id>/<id>_{flair,t1,t1ce,t2,seg}.nii.gz`.

    Equal arguments give equal bytes, and a patient depends on (seed, index) alone, so that more
    patients extend a set. `name_mapping.csv` lists the grades as the official release does.

    Args:
        out: folder to write into; made if absent.
        patients: number of patients, at least 1; every fourth is low grade.
        seed: non-negative.
        matrix: voxels along x and y, at least 32; z has two thirds of it. The field of view is
            216 x 216 x 144 mm, so 72 gives isotropic voxels of 3 mm.
        variation: spread between patients, 0 to 2; 1 is the default difficulty.

    Raises:
        ValueError: an argument is out of its range.
    """
    if patients < 1 or seed < 0 or matrix < 32 or not 0 <= variation <= 2:
        raise ValueError(
            "need patients >= 1, seed >= 0, matrix >= 32 and 0 <= variation <= 2, got "
            f"{patients}, {seed}, {matrix}, {variation}"
        )
    rows = [("Grade", "BraTS_2019_subject_ID")]
    voxel = FIELD_OF_VIEW_MM / matrix
    for index in range(patients):
        high_grade = index % LGG_EVERY != LGG_EVERY - 1
        grade = "HGG" if high_grade else "LGG"
        name = f"BraTS19_PH01_{index + 1:03d}_1"
        rng = np.random.default_rng([seed, index])
        scans = _patient(rng, matrix, high_grade=high_grade, variation=variation)
        for kind, array in scans.items():
            path = out / grade / name / f"{name}_{kind}.nii.gz"
            save_nifti(path, array, (voxel, voxel, voxel))
        rows.append((grade, name))
    with (out / "name_mapping.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
