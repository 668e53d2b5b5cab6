"""Pictures of what networks make of images, as a radiologist looks at a slice.

Left of the patient is on the right, front or head is up (the radiological convention), pixels have
their physical proportions, and letters at the borders name the directions.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from benchmarks.config import BenchmarkConfig
from benchmarks.plan.resolve import Run
from benchmarks.report.drawn import class_handles, contours, entropy_bar, entropy_map, grey, tag
from benchmarks.report.facts import dataset_facts, method_facts
from benchmarks.report.style import figure_style, new_figure, save
from benchmarks.scoring.native import Segmented

_SIDE = 2.6  # inches of the longer side of a picture
# Brightness between these shares of the slice's pixels, so that a bright spot does not darken it.
_DARK, _BRIGHT = 0.01, 0.99
# Columns point to the earlier and rows to the later of these directions.
_TOWARDS = "LPI"
_OPPOSITE = dict(zip("LRPAIS", "RLAPSI", strict=True))
_AXES = ("first", "second", "third")


@dataclass(frozen=True)
class View:
    """How a slice is laid on the page.

    Attributes:
        transposed: rows of the array become columns, before anything is flipped.
        flipped: axes of the page (0 rows, 1 columns) along which it is mirrored.
        right: where the right border lies, such as L; "" where that is unknown.
        below: where the lower border lies.
    """

    transposed: bool = False
    flipped: tuple[int, ...] = ()
    right: str = ""
    below: str = ""

    def of(self, plane: NDArray[Any]) -> NDArray[Any]:
        """A plane (H, W) as it is shown."""
        return np.flip(plane.T if self.transposed else plane, self.flipped)


def view_of(axes: str) -> View:
    """The radiological view of slices along z.

    Args:
        axes: where x, y, z (columns, rows, slices) point to, such as RAS; "" leaves slices as they
            are stored.
    """
    if not axes:
        return View()
    found = [axes[1], axes[0]]
    known = [code if code in _TOWARDS else _OPPOSITE[code] for code in found]
    transposed = _TOWARDS.index(known[0]) < _TOWARDS.index(known[1])
    if transposed:
        found.reverse()
        known.reverse()
    flipped = tuple(axis for axis in (0, 1) if found[axis] != known[axis])
    return View(transposed, flipped, known[1], known[0])


def shown_slices(one: Segmented) -> dict[int, str]:
    """Which slices of a case are shown, and why.

    The one with the most predicted pixels (the middle one where nothing is predicted) and, where
    there is an entropy, the one with the highest mean.
    """
    if len(one.labels) == 1:
        return {0: ""}
    counts = (one.labels > 0).sum((1, 2))
    chosen = {int(counts.argmax()): "most is predicted"}
    if not counts.any():
        chosen = {len(counts) // 2: "the middle is, since nothing is predicted"}
    if one.entropy is not None:
        unsure, why = int(one.entropy.mean((1, 2)).argmax()), "entropy is highest on average"
        chosen[unsure] = f"{chosen[unsure]} and {why}" if unsure in chosen else why
    return chosen


def painter(config: BenchmarkConfig, runs: Sequence[Run]) -> Callable[[Segmented, Path], Path]:
    """What paints the pictures of a `predict`.

    Args:
        config: the benchmark.
        runs: whose mean is shown.
    """
    key = runs[0].key
    dataset, method = dataset_facts(config, key.dataset), method_facts(config, key.method)
    labels = dataset.labelled(key.labels)
    of = f"seed {key.seed}" if len(runs) == 1 else f"mean of {len(runs)} runs"
    words = " ".join(filter(None, (f"{method.title}, {labels}, {of}.", method.footnote)))

    def paint(one: Segmented, target: Path) -> Path:
        with figure_style():
            return save(draw_prediction(one, dataset.classes, words), target)

    return paint


def draw_prediction(one: Segmented, classes: Sequence[str], words: str) -> Figure:
    """For each of `shown_slices` a row: image, prediction over it, and entropy if there is one.

    Args:
        one: the case.
        classes: names of the classes from 1.
        words: what predicted it, for the caption.
    """
    view, slices = view_of(one.axes), shown_slices(one)
    height, width = view.of(one.image[0]).shape
    _, tall, wide = one.spacing
    aspect = wide / tall if view.transposed else tall / wide
    longer = max(height * aspect, width)
    columns = 2 if one.entropy is None else 3
    size = (_SIDE * width / longer, _SIDE * height * aspect / longer)
    across = max(columns * size[0] + 0.7, 4.3)
    caption = _caption(one, slices, words, width=int(across * 17))
    upper = len(slices) * (size[1] + 0.1) + 0.6
    figure = new_figure(across, upper + 0.14 * (caption.count("\n") + 1))
    grid = figure.subplots(len(slices), columns, squeeze=False)
    for ax in grid.flat:
        ax.set_axis_off()
    drawn = [_row(row, one, i, view, aspect) for row, i in zip(grid, slices, strict=True)]
    if drawn[0] is not None:
        entropy_bar(figure, drawn[0], grid)
    handles = class_handles(classes)
    figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)
    figure.supxlabel(caption, x=0.01, ha="left", fontsize="x-small")
    return figure


def _row(
    row: NDArray[np.object_], one: Segmented, index: int, view: View, aspect: float
) -> AxesImage | None:
    """One slice; returns the entropy picture."""
    image = view.of(one.image[index])
    low, high = (float(v) for v in np.quantile(image, (_DARK, _BRIGHT)))
    for ax in row[:2]:
        grey(ax, image, shades=(low, max(high, low + 1e-6)), aspect=aspect)
    contours(row[1], view.of(one.labels[index]).astype(np.uint8))
    _letters(row[0], view)
    name = f", slice {one.place(index)[1]}" if len(one.labels) > 1 else ""
    tag(row[0], f"Image{name}")
    tag(row[1], "Prediction")
    if one.entropy is None:
        return None
    tag(row[2], "Entropy")
    return entropy_map(row[2], view.of(one.entropy[index]), aspect=aspect)


def _letters(ax: Axes, view: View) -> None:
    """Directions at the four borders."""
    if not view.right:
        return
    for text, x, y in (
        (_OPPOSITE[view.right], 0.03, 0.5),
        (view.right, 0.97, 0.5),
        (_OPPOSITE[view.below], 0.5, 0.97),
        (view.below, 0.5, 0.03),
    ):
        align = {0.03: ("left", "bottom"), 0.5: ("center", "center"), 0.97: ("right", "top")}
        tag(ax, text, x, y, ha=align[x][0], va=align[y][1])


def _caption(one: Segmented, slices: dict[int, str], words: str, *, width: int) -> str:
    lines = [f"{one.case}: {words}"]
    told: list[str] = []
    for index, why in slices.items():
        axis, place = one.place(index)
        if why:
            along = f"along the {_AXES[axis]} axis of the file, " if not told else ""
            told.append(f"slice {place} {along}where {why}")
    if told:
        lines.append(f"Of slices 0 to {len(one.labels) - 1}, {', then '.join(told)}.")
    if one.axes:
        lines.append("R, L, A, P, S, I: right, left, front, back, head, feet of the patient.")
    return "\n".join(textwrap.fill(line, width) for line in lines)
