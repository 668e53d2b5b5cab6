"""Synthetic short-axis cardiac cine-MRI patients in the raw layout of ACDC.

The files imitate the training set of O. Bernard et al., IEEE TMI 37(11), 2018
(doi:10.1109/TMI.2018.2837502) in naming, labels and appearance only; no real data are used.
Lengths are in mm, angles in radians. The contours are radii in polar coordinates around the left
ventricle; `cardiac_scene` draws what surrounds the heart.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from datasets.phantoms.cardiac_scene import Draw, Grid, Tones, make_body, make_grid, make_tones
from datasets.phantoms.fields import Label, Volume, bias_field, rician, save_nifti

_RV, _MYO, _LV = 1, 2, 3
_GROUPS = ("NOR", "DCM", "HCM", "MINF", "RV")
# Per group: LV cavity radius, wall, LV and RV loss of cavity area at ES, RV width.
# Textbook values of adults, rounded.
_TYPICAL = {
    "NOR": (23.0, 8.5, 0.55, 0.45, 31.0),
    "DCM": (32.0, 7.5, 0.20, 0.35, 33.0),
    "HCM": (21.0, 13.5, 0.65, 0.45, 29.0),
    "MINF": (27.0, 8.0, 0.35, 0.40, 30.0),
    "RV": (21.0, 8.0, 0.50, 0.20, 46.0),
}


@dataclass(frozen=True)
class _Heart:
    """Shape of one heart at end diastole and its motion."""

    radius: float
    wall: float
    lv_loss: float
    rv_loss: float
    rv_width: float
    rv_span: float
    rv_skew: float
    rv_start: float
    rv_end: float
    septum: float
    oval: float
    oval_at: float
    flat: float
    thick_at: float
    thick: float
    scar_at: float
    scar: float
    shortening: float
    tilt: tuple[float, float]
    papillary: tuple[float, float]


@dataclass(frozen=True)
class _Polar:
    """Heart geometry sampled on the grid of one frame: radii from the LV centre, (D, H, W)."""

    rho: Volume
    phi: Volume
    level: Volume
    endo: Volume
    epi: Volume
    rv_depth: Volume


def write_cardiac(
    out: Path, *, patients: int, seed: int, matrix: int = 96, variation: float = 0.5
) -> None:
    """Write synthetic patients in the ACDC layout; equal arguments give equal bytes.

    Makes `patientNNN/Info.cfg` and, for end diastole and end systole, an int16 image and a uint8
    mask (0 background, 1 RV cavity, 2 myocardium, 3 LV cavity) of 6 to 10 slices. Patient k depends
    on `seed`, `matrix`, `variation` and k only. Groups NOR, DCM, HCM, MINF and RV take turns.

    Args:
        out: folder, made if missing.
        patients: number of patients, at least 1; numbering starts at 001.
        seed: non-negative.
        matrix: longer in-plane size in voxels (field of view 250 to 330 mm), at least 32; the
            other is 75 to 95 % of it.
        variation: 0 to 1.5; scales the continuous spread (not depth, matrix, field of view) of
            shape, position, orientation and contrast between patients.

    Raises:
        ValueError: an argument is out of range.
    """
    if patients < 1 or seed < 0 or matrix < 32 or not 0.0 <= variation <= 1.5:
        raise ValueError("need patients >= 1, seed >= 0, matrix >= 32 and 0 <= variation <= 1.5")
    for index in range(patients):
        _write_patient(out / f"patient{index + 1:03d}", index, Draw(seed, index, variation), matrix)


def _write_patient(folder: Path, index: int, draw: Draw, matrix: int) -> None:
    group = _GROUPS[index % len(_GROUPS)]
    heart, tones, grid = _heart(draw, group), make_tones(draw), make_grid(draw, matrix)
    body = make_body(draw, grid, tones)
    frames = int(draw.rng.integers(20, 36))
    systole = round(frames * draw(0.32, 0.44))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Info.cfg").write_text(
        f"ED: 1\nES: {systole}\nGroup: {group}\nHeight: {draw(155.0, 190.0):.1f}\n"
        f"NbFrame: {frames}\nWeight: {draw(50.0, 105.0):.1f}\n"
    )
    texture = grid.noise(draw.rng, 5.0)
    scanner = _Scanner(draw)
    for frame, contraction in ((1, 0.0), (systole, 1.0)):
        polar = _polar(heart, grid, contraction)
        label = _label(polar)
        image = body.copy()
        _paint_heart(image, grid, polar, (heart, tones), texture)
        stem = f"{folder.name}_frame{frame:02d}"
        spacing = (grid.slice_gap, grid.pixel, grid.pixel)
        save_nifti(folder / f"{stem}.nii.gz", scanner.acquire(image, polar), spacing)
        save_nifti(folder / f"{stem}_gt.nii.gz", label, spacing)


def _heart(draw: Draw, group: str) -> _Heart:
    radius, wall, lv_loss, rv_loss, rv_width = _TYPICAL[group]
    size = draw(0.85, 1.15)
    return _Heart(
        radius=radius * size * draw(0.92, 1.08),
        wall=wall * size * draw(0.85, 1.15),
        lv_loss=lv_loss * draw(0.85, 1.15),
        rv_loss=rv_loss * draw(0.8, 1.2),
        rv_width=rv_width * size * draw(0.8, 1.2),
        rv_span=draw(1.05, 1.35),
        rv_skew=draw(-0.2, 0.35),
        rv_start=0.2 if draw.chance(0.25) else -1.0,
        rv_end=draw(0.75, 1.0),
        septum=draw(2.5, 3.1),
        oval=draw(0.0, 0.08),
        oval_at=draw(0.0, np.pi),
        flat=draw(0.1, 0.2) if group == "RV" else draw(0.0, 0.06),
        thick_at=draw(-1.2, 1.2),
        thick=draw(0.3, 0.8) if group == "HCM" else draw(0.0, 0.2),
        scar_at=draw(-np.pi, np.pi),
        scar=draw(0.35, 0.65) if group == "MINF" else 0.0,
        shortening=draw(0.06, 0.16),
        tilt=(draw(-14.0, 14.0), draw(-14.0, 14.0)),
        papillary=(draw(1.6, 2.3), draw(-2.3, -1.6)),
    )


def _polar(heart: _Heart, grid: Grid, contraction: float) -> _Polar:
    """Radii of the contours; `contraction` is 0 at end diastole and 1 at end systole."""
    lift = heart.shortening * contraction
    level = (grid.level - lift) / (1.0 - lift)
    dx = grid.x - heart.tilt[0] * (grid.level - 0.4) - 12.0
    dy = grid.y - heart.tilt[1] * (grid.level - 0.4)
    turn = np.arctan2(dy, dx) - heart.septum
    phi = np.arctan2(np.sin(turn), np.cos(turn))
    shape = 1.0 + heart.oval * np.cos(2.0 * (phi - heart.oval_at))
    shape = shape - heart.flat * np.exp(-((phi / 0.7) ** 2))
    inside = np.clip(level, 0.0, 1.0)
    endo = heart.radius * np.sqrt(1.0 - inside**2.2) * shape
    scar = heart.scar * np.exp(2.5 * (np.cos(phi - heart.scar_at) - 1.0))
    thick = heart.thick * np.exp(2.0 * (np.cos(phi - heart.thick_at) - 1.0))
    epi = endo + heart.wall * (1.0 - 0.25 * inside) * (1.0 + thick - scar)
    # The wall keeps its area on contraction, which thickens it; a scar does not move.
    moved = endo * np.sqrt(1.0 - contraction * heart.lv_loss * (1.0 - 1.4 * scar))
    epi = np.sqrt(moved**2 + epi**2 - endo**2)
    reach = np.clip(1.0 - np.clip(inside / heart.rv_end, 0.0, 1.0) ** 1.6, 0.0, 1.0)
    reach = reach * (1.0 - contraction * heart.rv_loss) * (grid.level > heart.rv_start)
    span = heart.rv_span * (1.0 - 0.3 * inside)
    bump = np.clip(1.0 - np.abs((phi - heart.rv_skew) / span) ** 1.7, 0.0, 1.0) ** 0.8
    fields = (np.hypot(dx, dy), phi, level, moved, epi, heart.rv_width * reach * bump)
    return _Polar(*(np.asarray(field, np.float32) for field in fields))


def _label(polar: _Polar) -> Label:
    present = (polar.level >= 0.0) & (polar.level <= 1.0)
    label = np.zeros(polar.rho.shape, np.uint8)
    outer = polar.epi + polar.rv_depth
    label[present & (polar.rho < outer) & (polar.rv_depth > 3.0)] = _RV
    label[present & (polar.rho < polar.epi)] = _MYO
    label[present & (polar.rho < polar.endo)] = _LV
    return label


def _paint_heart(
    image: Volume, grid: Grid, polar: _Polar, look: tuple[_Heart, Tones], texture: Volume
) -> None:
    """Draw the ventricles into the slices they reach, and the atria above them."""
    heart, tones = look
    away = np.where((polar.level >= 0.0) & (polar.level <= 1.0), 0.0, 1e3)
    above = np.where(polar.level < 0.0, 0.0, 1e3)
    rho, outer = polar.rho, polar.epi + polar.rv_depth
    sac = rho - outer - 4.0 - 3.0 * texture + np.where(polar.level <= 1.1, 0.0, 1e3)
    grid.paint(image, sac, 0.5 * tones.fat + 0.1 * texture)
    blood = tones.lv * (1.0 + 0.07 * texture)
    atrium = grid.disc(14.0, 6.0, heart.radius * 1.05, 1.2) + 3.0 * texture + above
    grid.paint(image, grid.disc(-22.0, 8.0, 22.0) + 3.0 * texture + above, 0.9 * tones.rv)
    grid.paint(image, atrium - 2.5, tones.myo)
    grid.paint(image, atrium, 0.95 * blood)
    grid.paint(image, grid.disc(-2.0, -24.0, 12.0) + above, blood)
    grid.paint(image, rho - outer - 2.5 + away, tones.myo)
    trabeculae = 0.35 * np.clip(texture - 0.9, 0.0, 1.0)
    thin = np.where(polar.rv_depth > 2.0, 0.0, 1e3) + away
    right = tones.rv * (1.0 + 0.1 * texture) * (1.0 - trabeculae)
    grid.paint(image, rho - outer + thin, right)
    grid.paint(image, rho - polar.epi + away, tones.myo * (1.0 + 0.06 * texture))
    grid.paint(image, rho - polar.endo + away, blood)
    middle = np.where(np.abs(polar.level - 0.5) < 0.3, 0.0, 1e3) + away
    for angle in heart.papillary:
        turn = np.cos(polar.phi - angle)
        place = 0.66 * polar.endo
        gap = np.sqrt(np.maximum(rho**2 + place**2 - 2.0 * rho * place * turn, 0.0))
        muscle = gap - 0.19 * polar.endo - 1.2 * texture + middle
        grid.paint(image, muscle, tones.myo)


class _Scanner:
    """Blur, flow ghosts, coil shading and noise of one patient's acquisition."""

    def __init__(self, draw: Draw) -> None:
        self._rng = draw.rng
        self._blur = draw(0.4, 0.8)
        self._ghost = max(draw(-0.05, 0.1), 0.0)
        self._axis = 1 + int(draw.chance(0.5))
        self._shading = max(draw(0.1, 0.3), 0.0)
        self._noise = max(draw(0.01, 0.05), 0.005)
        self._gamma = draw(0.8, 1.25)
        self._scale = float(np.exp(draw(5.5, 7.2)))
        self._coil_seed = int(draw.rng.integers(2**31))

    def acquire(self, image: Volume, polar: _Polar) -> NDArray[np.int16]:
        """Scanner image (D, H, W) int16 of a brightness map."""
        beating = image * (polar.rho < polar.epi + polar.rv_depth)
        shift = image.shape[self._axis] // 3
        for step in (shift, -shift):
            image = image + self._ghost * np.roll(beating, step, axis=self._axis)
        image = ndimage.gaussian_filter(image, (0.0, self._blur, self._blur)) ** self._gamma
        # Both frames of a patient see the same coils.
        coil = bias_field(np.random.default_rng(self._coil_seed), image.shape, self._shading)
        noisy = rician(self._rng, np.asarray(image * coil, np.float32), self._noise)
        counts = np.clip(np.rint(noisy * self._scale), 0, 32767)
        return np.asarray(counts, dtype=np.int16)
