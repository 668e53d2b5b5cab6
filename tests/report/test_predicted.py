"""Pictures of predictions, pixel by pixel and from every side."""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.report.drawn import CLASSES
from benchmarks.report.predicted import draw_prediction, shown_slices, view_of
from benchmarks.report.style import figure_style
from benchmarks.scoring.native import Segmented


def made(axes: str, *, entropy: bool = True) -> Segmented:
    """Two structures in slice 1 of 4, and least certainty in slice 2; pixels twice as high."""
    rng = np.random.default_rng(0)
    labels = np.zeros((4, 16, 24), dtype=np.uint8)
    labels[1, 2:8, 3:9], labels[1, 2:8, 9:14] = 1, 2
    labels[3, 2:4, 2:4] = 3
    share = np.full(labels.shape, 0.1, dtype=np.float32)
    share[2, :8] = 0.7
    image = rng.random(labels.shape, dtype=np.float32)
    return Segmented("a", image, labels, share if entropy else None, (5.0, 2.0, 1.0), axes)


def rendered(figure: Figure) -> NDArray[np.float64]:
    """Colours (rows, columns, RGB) in [0, 1]."""
    figure.set_dpi(200)
    figure.canvas.draw()
    canvas: Any = figure.canvas
    colors: NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())
    return colors[..., :3] / 255


def color(pixels: NDArray[np.float64], ax: Axes, row: float, column: float) -> NDArray[np.float64]:
    """What is seen at a place of the array that is drawn there."""
    x, y = ax.transData.transform((column, row))
    seen: NDArray[np.float64] = pixels[int(len(pixels) - y), int(x)]
    return seen


def test_image_mask_and_entropy_are_seen_where_they_are() -> None:
    one = made("RAS")
    with figure_style():
        figure = draw_prediction(one, ("RV", "myocardium", "LV"), "by nobody.")
        pixels = rendered(figure)
    grid = (figure.axes[:3], figure.axes[3:6])
    # Both in-plane axes of RAS are turned over, so that the patient's left is on the right.
    for row, index in zip(grid, (1, 2), strict=True):
        image, share = one.image[index, ::-1, ::-1], one.entropy
        low, high = np.quantile(image, (0.01, 0.99))
        assert share is not None
        for r, c in ((6, 4), (14, 20), (9, 2), (2, 16)):
            shade = np.clip((image[r, c] - low) / (high - low), 0, 1)
            for ax in row[:2]:
                np.testing.assert_allclose(color(pixels, ax, r, c), shade, atol=0.02)
            wanted = colormaps["cividis"](float(share[index, ::-1, ::-1][r, c]))[:3]
            np.testing.assert_allclose(color(pixels, row[2], r, c), wanted, atol=0.02)
    # Rows 2 to 7 and columns 3 to 13 of the array are rows 8 to 13, columns 10 to 20 of the page.
    middle, colors = 10.5, [to_rgb(c) for c in CLASSES]
    for column, number in ((20.5, 0), (10 - 0.5, 1)):
        np.testing.assert_allclose(
            color(pixels, grid[0][1], middle, column), colors[number], atol=0.1
        )
        assert np.ptp(color(pixels, grid[0][0], middle, column)) < 0.02  # the image alone is grey
    for row_, column in ((7.5, 17.5), (13.5, 17.5)):
        np.testing.assert_allclose(color(pixels, grid[0][1], row_, column), colors[0], atol=0.1)
    box = grid[0][1].get_window_extent()
    assert box.height / box.width == pytest.approx(16 * 2 / 24, rel=0.02)
    letters = {t.get_text(): t.get_position() for t in grid[0][0].texts}
    assert letters["L"][0] > 0.9 > 0.1 > letters["R"][0]
    assert letters["A"][1] > 0.9 > 0.1 > letters["P"][1]
    said = figure.get_supxlabel()
    assert "slice 1 along the third axis of the file, where most" in " ".join(said.split())
    assert grid[1][0].texts[-1].get_text() == "Image, slice 2"


@pytest.mark.parametrize("axes", ["".join(p) for p in permutations("RAS")])
def test_every_plane_is_turned_as_radiologists_hang_it(axes: str) -> None:
    """A volume that grows towards L, P or I, turned by nibabel, grows to the named borders."""
    ramp = np.arange(3.0, 0, -1)  # towards -1 of R, A and S, which is L, P and I
    shape = np.ones((3, 3, 3))
    ramps = {"L": ramp[:, None, None] * shape, "P": ramp[:, None] * shape, "I": ramp * shape}
    own = nib.orientations.axcodes2ornt(tuple("RAS"))
    flips = dict(zip("RAS", "LPI", strict=True))
    for turned in product(*((code, flips[code]) for code in axes)):
        turn = nib.orientations.ornt_transform(own, nib.orientations.axcodes2ornt(turned))
        view = view_of("".join(turned))
        shown = {
            code: view.of(nib.orientations.apply_orientation(value, turn)[:, :, 1].T)
            for code, value in ramps.items()
        }
        assert (np.diff(shown[view.right], axis=1) > 0).all()
        assert (np.diff(shown[view.below], axis=0) > 0).all()
        # Axial: left to the right, back below; coronal and sagittal: feet below.
        wanted = {"S": ("L", "P"), "A": ("L", "I"), "R": ("P", "I")}[axes[2]]
        assert (view.right, view.below) == wanted


def test_slices_are_those_with_most_to_see() -> None:
    one = made("")
    assert list(shown_slices(one)) == [1, 2]
    assert list(shown_slices(made("", entropy=False))) == [1]
    empty = Segmented("a", one.image, one.labels * 0, None, one.spacing)
    assert shown_slices(empty) == {2: "the middle is, since nothing is predicted"}
    assert view_of("").of(one.image[0]) is not None and view_of("").right == ""
