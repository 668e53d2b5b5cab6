"""One slice of one case: image, reference, and each method's prediction and entropy."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from benchmarks.common.errors import RunError
from benchmarks.common.workspace import SHOWCASE, local_folder, report_folder, scores_folder
from benchmarks.config import BenchmarkConfig
from benchmarks.report.drawn import class_handles, contours, entropy_bar, entropy_map, grey, tag
from benchmarks.report.facts import DatasetFacts, Facts, MethodFacts
from benchmarks.report.load import Source
from benchmarks.report.style import figure_style, new_figure, save
from benchmarks.scoring.slices import Slice, read_slices

COLUMNS = 6
_CELL = 1.44  # inches
_REFERENCE = "white"
# Foreground that was not found, background that was taken for it, foreground of another class.
ERRORS = {"missed": "#D55E00", "too much": "#56B4E9", "other class": "#F0E442"}


@dataclass(frozen=True)
class Showcase:
    """What one method made of the shown slice.

    Attributes:
        method: that made it.
        slice: image, reference, prediction and entropy.
        labels: labelled patients of the run.
        seed: of the run.
    """

    method: MethodFacts
    slice: Slice
    labels: int
    seed: int


def overlay_figures(
    config: BenchmarkConfig, facts: Facts, cases: pd.DataFrame, source: Source
) -> list[Path]:
    """Write `overlay-<dataset>.png` for every data set that has showcase files.

    Pictures of data that are not synthetic go to the folder `local`, which Git ignores.

    Args:
        config: the benchmark.
        facts: its methods and data sets.
        cases: rows of the case tables, for the Dice of the shown case.
        source: of the showcase files.

    Returns:
        The files; a data set without any showcase file has none.

    Raises:
        RunError: a showcase file is damaged or shows another slice than its neighbours.
    """
    written = []
    for dataset in facts.datasets:
        shown = load_showcases(config, facts, dataset, source)
        if not shown:
            continue
        place = report_folder if dataset.synthetic else local_folder
        folder = place(source.root, config.name)
        absent = [m.title for m in facts.methods if m not in [s.method for s in shown]]
        with figure_style():
            figure = draw_showcases(dataset, shown, cases=cases, absent=absent)
            written.append(save(figure, folder / f"overlay-{dataset.id}.png"))
    return written


def load_showcases(
    config: BenchmarkConfig, facts: Facts, dataset: DatasetFacts, source: Source
) -> list[Showcase]:
    """The showcase files of a data set, in grid order; methods without a file are left out.

    Raises:
        RunError: a file is damaged or shows another slice than the others.
    """
    paths = {
        m: scores_folder(source.root, config.name, dataset.id, m.key) / SHOWCASE
        for m in facts.methods
    }
    shown = [_first(path, method) for method, path in paths.items() if path.is_file()]
    for other in shown[1:]:
        first, one, two = shown[0], shown[0].slice, other.slice
        if (one.case, one.index) != (two.case, two.index):
            raise RunError(
                f"'{paths[other.method]}' shows slice {two.index} of {two.case}, "
                f"'{paths[first.method]}' slice {one.index} of {one.case}; make both again: "
                f"{source.remedies(config, dataset.id, other.method.key)[-1]}"
            )
    return shown


def _first(path: Path, method: MethodFacts) -> Showcase:
    """The first case by name."""
    found = read_slices(path)
    return Showcase(method, found.all[0], found.labels, found.seed)


def shown_dice(shown: Showcase, dataset: str, cases: pd.DataFrame) -> float:
    """Dice of the shown case, mean of its foreground classes, last checkpoint.

    The run is that of the first fold that tests the case.

    Args:
        shown: one method's showcase.
        dataset: id.
        cases: rows of the case tables.

    Returns:
        In [0, 1]; NaN if the tables do not hold the run.
    """
    own = cases[
        (cases["dataset"] == dataset)
        & (cases["method"] == shown.method.id)
        & (cases["variant"] == shown.method.variant)
        & (cases["case"] == shown.slice.case)
        & (cases["seed"] == shown.seed)
        & (cases["checkpoint"] == "last")
    ]
    if not shown.method.all_labels:
        own = own[own["labels"] == shown.labels]
    return float(own.loc[own["fold"] == own["fold"].min(), "dice"].mean())


def draw_showcases(
    dataset: DatasetFacts,
    shown: Sequence[Showcase],
    *,
    cases: pd.DataFrame,
    absent: Sequence[str] = (),
    errors: bool = False,
) -> Figure:
    """Image with reference, then each method, wrapped after `COLUMNS`: picture above, maps below.

    Args:
        dataset: of the slice.
        shown: one per method, all of one slice.
        cases: rows of the case tables, for the Dice of the case.
        absent: names of methods without a file.
        errors: with a map of the pixels that are wrong.
    """
    pictures, rows = len(shown) + 1, 3 if errors else 2
    bands = math.ceil(pictures / COLUMNS)
    columns = math.ceil(pictures / bands)  # the bands are equally long
    height, width = shown[0].slice.image.shape
    cell = _CELL * 0.88 * min(height / width, 1.6)  # the colour bar takes the rest of the width
    caption = _caption(dataset, shown, absent, width=columns * 31, errors=errors)
    tall = bands * (rows * cell + 0.55) + 0.45 + 0.13 * (caption.count("\n") + 1)
    figure = new_figure(max(columns * _CELL, 4.3), tall)
    grid = figure.subplots(rows * bands, columns, squeeze=False)
    for ax in grid.flat:
        ax.set_axis_off()
    _image_pair(grid[0, 0], grid[1, 0], shown[0])
    for place, one in enumerate(shown, start=1):
        band, column = divmod(place, columns)
        own = grid[rows * band : rows * (band + 1), column]
        entropy = _method_pair(own[0], own[-1], one, dice=shown_dice(one, dataset.id, cases))
        if errors:
            _errors(own[1], one.slice)
    entropy_bar(figure, entropy, grid)
    handles = _handles(dataset) + (_error_handles() if errors else [])
    across = max(2, min(5, columns - 1))
    figure.legend(handles=handles, loc="outside upper center", ncols=across, frameon=False)
    figure.supxlabel(caption, x=0.01, ha="left", fontsize="x-small")
    return figure


def _errors(ax: Axes, one: Slice) -> None:
    """Wrong pixels in the colours of `ERRORS`, over the image."""
    grey(ax, one.image)
    wrong = wrong_pixels(one)
    colors = ListedColormap(list(ERRORS.values()))
    seen, last = np.ma.masked_equal(wrong, 0), len(ERRORS)
    ax.imshow(seen, cmap=colors, vmin=1, vmax=last, alpha=0.8, interpolation="nearest")
    tag(ax, "Errors")


def wrong_pixels(one: Slice) -> NDArray[np.uint8]:
    """(H, W) uint8: 0 right, else the place in `ERRORS`, counted from 1."""
    found, wanted = one.prediction, one.truth
    kinds = np.select([found == wanted, found == 0, wanted == 0], [0, 1, 2], 3)
    return kinds.astype(np.uint8)


def _error_handles() -> list[Line2D]:
    return [
        Line2D([], [], ls="", marker="s", color=color, label=name) for name, color in ERRORS.items()
    ]


def _image_pair(upper: Axes, lower: Axes, one: Showcase) -> None:
    grey(upper, one.slice.image)
    upper.set_title("Image", loc="center", fontsize="small")
    grey(lower, one.slice.image)
    contours(lower, one.slice.truth)
    tag(lower, "Reference")


def _method_pair(upper: Axes, lower: Axes, one: Showcase, *, dice: float) -> AxesImage:
    """Prediction over the image, entropy below; returns the entropy picture for the colour bar."""
    grey(upper, one.slice.image)
    _outline(upper, one.slice.truth)
    contours(upper, one.slice.prediction)
    number = "n/a" if math.isnan(dice) else f"{100 * dice:.1f} %"
    title = textwrap.fill(one.method.title, 20)
    upper.set_title(f"{title}\nDice {number}", loc="center", fontsize="small")
    picture = entropy_map(lower, one.slice.entropy / 255)
    tag(lower, "Entropy")
    return picture


def _outline(ax: Axes, label: NDArray[np.uint8]) -> None:
    """Reference borders, drawn below the prediction's: what shows of them is disagreement."""
    for value in np.unique(label[label > 0]):
        ax.contour(label == value, levels=[0.5], colors=[_REFERENCE], linewidths=0.9)


def _handles(dataset: DatasetFacts) -> list[Line2D]:
    frame = Line2D([], [], color=_REFERENCE, lw=1, label="reference, where it differs")
    frame.set_path_effects([withStroke(linewidth=2.2, foreground="#555555")])
    return [*class_handles(dataset.classes), frame]


def _caption(
    dataset: DatasetFacts,
    shown: Sequence[Showcase],
    absent: Sequence[str],
    *,
    width: int,
    errors: bool,
) -> str:
    counts = sorted({s.labels for s in shown if not s.method.all_labels})
    labels = f", {' or '.join(str(n) for n in counts)} labelled {dataset.word}s" if counts else ""
    seeds = " or ".join(str(n) for n in sorted({s.seed for s in shown}))
    one = shown[0].slice
    text = (
        f"{dataset.title}: slice {one.index} of {one.case}{labels}, seed {seeds}, last checkpoint."
        f" Below each prediction its {'errors and ' * errors}entropy. Dice: the whole case, mean of"
        " the classes."
    )
    missing = f"Not shown, no showcase file: {', '.join(absent)}." if absent else ""
    notes = dict.fromkeys(s.method.footnote for s in shown)
    lines = [line for line in (text, missing, *notes) if line]
    return "\n".join(textwrap.fill(line, max(width, 70)) for line in lines)
