"""Synthetic skull-stripped brain-tumour MRI in the layout of the BraTS2019 training set.

The healthy head comes from `brain_anatomy`; here a tumour, what only looks like one, and the four
contrasts are added. Brightness, relative to white matter, was set by eye against BraTS cases.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from datasets.phantoms.brain_anatomy import (
    CEREBRUM,
    FIELD_OF_VIEW_MM,
    Anatomy,
    Mask,
    Space,
    Triple,
    draw_anatomy,
    head_space,
)
from datasets.phantoms.fields import (
    Label,
    Volume,
    bias_field,
    enlarge,
    rician,
    save_nifti,
    smooth_noise,
)

NECROSIS, OEDEMA, ENHANCING = 1, 2, 4
LGG_EVERY = 4  # every fourth patient is low grade; 76 of 335 are in BraTS2019


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
class _Lesion:
    """Where a tumour lies (mm), its size, and the shares of core in it and of rim in the core."""

    centre: Triple
    voxels: int
    core: float
    rim: float
    high_grade: bool


def _draw_lesion(
    rng: np.random.Generator, space: Space, *, high_grade: bool, variation: float
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


def _mass_effect(rng: np.random.Generator, space: Space, *, lesion: _Lesion) -> Space:
    """Push tissue away from the tumour by up to 6 mm; the skull holds the surface in place."""
    radius = (0.24 * lesion.voxels) ** (1 / 3) * space.voxel
    delta = space.offset(lesion.centre)
    distance = np.linalg.norm(delta, axis=0) + 1e-3
    inside = np.clip(space.blob(*CEREBRUM) / 20, 0, 1)
    push = rng.uniform(0, 6) * inside * np.exp(-((distance / (1.8 * radius)) ** 2)) / distance
    return Space(space.points - push * delta, space.voxel)


def _top(field: Volume, allowed: Mask, *, count: int) -> Mask:
    """The `count` highest voxels of a field among those allowed."""
    values = field[allowed]
    rank = values.size - int(np.clip(count, 1, values.size))
    return np.asarray(allowed & (field >= np.partition(values, rank)[rank]), dtype=np.bool_)


def _tumour(rng: np.random.Generator, space: Space, *, anatomy: Anatomy, lesion: _Lesion) -> Label:
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


def _infarcts(rng: np.random.Generator, space: Space, *, lesion: _Lesion) -> Volume:
    """FLAIR brightness of none to three old cortical infarcts: bright scar, dark cavity.

    They lie in the hemisphere without the tumour, so that no label is ambiguous.
    """
    change = np.zeros(space.shape, dtype=np.float32)
    centre, radii = np.array(CEREBRUM)
    rough = 2.5 * space.noise(rng, 5)
    for _ in range(rng.integers(4)):
        direction = rng.standard_normal(3)
        direction[0] = -np.sign(lesion.centre[0]) * (abs(direction[0]) + 0.3)
        direction[2] = abs(direction[2])
        point = centre + 0.85 * radii * direction / np.linalg.norm(direction)
        distance = np.linalg.norm(space.offset(point, rng.uniform(0.8, 1.3, 3)), axis=0)
        size = rng.uniform(8, 17)
        edge = size - distance + rough
        cavity = space.cover(edge - rng.uniform(0.4, 0.8) * size)
        change += rng.uniform(0.4, 0.9) * space.cover(edge) - 1.4 * cavity
    return change


def _distractors(
    rng: np.random.Generator, space: Space, *, anatomy: Anatomy, lesion: _Lesion, variation: float
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


def _paint(
    rng: np.random.Generator, image: Volume, label: Label, *, fluid: Volume, brightness: Volume
) -> None:
    """Blend the lesion (D, H, W) into an image in place, in the box around it.

    `brightness`, (3,), holds the core, the oedema and the enhancing part.
    """
    margin = 3  # voxels; beyond the reach of the blur
    around = tuple(
        slice(max(0, part.start - margin), part.stop + margin)
        for part in ndimage.find_objects((label > 0).astype(np.uint8))[0]
    )
    part, shown = image[around], 1 - 0.5 * fluid[around]
    texture = 0.1 * smooth_noise(rng, part.shape, 1.2)
    for value, target in zip((NECROSIS, OEDEMA, ENHANCING), brightness, strict=True):
        weight = ndimage.gaussian_filter((label[around] == value).astype(np.float32), 0.55)
        part += weight * shown * (target + texture - part)


def _scan(
    rng: np.random.Generator,
    label: Label,
    *,
    anatomy: Anatomy,
    healthy: Volume,
    contrast: _Contrast,
    high_grade: bool,
    variation: float,
) -> NDArray[np.int16]:
    """One modality (D, H, W) int16: tissue, lesion, coil shading, noise and an arbitrary unit."""
    image = healthy.copy()
    spread = np.exp(np.clip(0.45 * variation * rng.standard_normal(), -1.0, 0.4))
    shifts = np.array((contrast.core_spread, 0.1, 0.1)) * variation * rng.standard_normal(3)
    lesion = 1 + (np.array(contrast.high if high_grade else contrast.low) - 1) * spread + shifts
    _paint(rng, image, label, fluid=anatomy.fluid, brightness=lesion.astype(np.float32))
    # Scanners differ in resolution.
    image = ndimage.gaussian_filter(image, rng.uniform(0, 0.8 * variation))
    image *= enlarge(bias_field(rng, (8, 12, 12), 0.08 * variation), label.shape)
    seen = np.maximum(image[anatomy.brain], 0)
    seen = rician(rng, seen, rng.uniform(0.015, 0.015 + 0.04 * variation))
    unit = 500 * np.exp(np.clip(0.6 * variation * rng.standard_normal(), -1.5, 1.5))
    stored = np.zeros(label.shape, dtype=np.int16)
    stored[anatomy.brain] = np.clip(seen * unit, 1, 32000)
    return stored


def _patient(
    rng: np.random.Generator, matrix: int, *, high_grade: bool, variation: float
) -> dict[str, NDArray[np.int16] | Label]:
    """Scans and label map, each (D, H, W), under their file suffix."""
    space = head_space(rng, matrix=matrix, variation=variation)
    lesion = _draw_lesion(rng, space, high_grade=high_grade, variation=variation)
    # The tumour keeps the undeformed axes: only the healthy tissue gives way.
    anatomy = draw_anatomy(rng, _mass_effect(rng, space, lesion=lesion), variation=variation)
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
