"""Contact sheet of a data set: cases with their masks, class shares, spacing, intensities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from numpy.typing import NDArray

from benchmarks.report.style import figure_style, new_figure, save
from datasets.base import Adapter, PrepareParams, RawCase
from datasets.preparing.at_once import map_cases

_PICTURES, _COLUMNS = 12, 6
# Cases that the statistics are made of, evenly spread over the data set.
_READ = 60
_VALUES = 2000

T = TypeVar("T")


@dataclass(frozen=True)
class _Sample:
    """What the sheet shows of a case."""

    case: str
    image: NDArray[np.float32]
    label: NDArray[np.uint8] | None
    shares: NDArray[np.float64] | None
    spacing: tuple[float, float, float] | None
    values: NDArray[np.float32]


def contact_sheet(
    adapter: Adapter[Any], raw: Path, params: PrepareParams, target: Path, *, jobs: int = 1
) -> Path:
    """Write the sheet of a raw data set.

    Args:
        adapter: the data set.
        raw: its raw folder.
        params: an instance of `adapter.Params`.
        target: PNG file.
        jobs: processes, at least 1.

    Raises:
        DataError: there are no cases, or one of those shown is damaged.
    """
    cases = adapter.scan(raw, params)
    masked = [case for case in cases if case.label is not None] or cases
    chosen = _spread(masked, _READ)
    classes = adapter.info(params).classes
    work = partial(_sample, adapter, params, len(classes))
    samples = list(map_cases(work, chosen, min(jobs, len(chosen))))
    counts = f"{len(cases)} cases, {len({c.patient for c in cases})} patients, {len(masked)} masks"
    with figure_style():
        figure = new_figure(7.2, 5.4)
        upper, lower = np.ravel(np.array(figure.subfigures(2, 1, height_ratios=(1.7, 1))))
        grid = upper.subplots(_PICTURES // _COLUMNS, _COLUMNS).ravel()
        for ax in grid:
            ax.set_axis_off()
        for ax, sample in zip(grid, _spread(samples, _PICTURES), strict=False):
            _picture(ax, sample, len(classes))
        left, middle, right = lower.subplots(1, 3)
        _shares(left, samples, classes)
        _spacings(middle, samples, adapter.unit)
        _intensities(right, samples)
        note = "" if len(chosen) == len(masked) else f"; statistics of {len(chosen)} of them"
        figure.suptitle(f"{adapter.title}: {counts}{note}", x=0.01, ha="left", fontsize="medium")
        return save(figure, target)


def _spread(items: Sequence[T], count: int) -> list[T]:
    """At most `count` items, evenly spaced."""
    index = np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int))
    return [items[i] for i in index]


def _sample(adapter: Adapter[Any], params: PrepareParams, classes: int, raw: RawCase) -> _Sample:
    volume = adapter.read(raw, params)
    label, image = volume.label, volume.image[0]
    index, shares = len(image) // 2, None
    if label is not None:
        index = int((label > 0).sum((1, 2)).argmax()) if label.any() else index
        shares = np.bincount(label.ravel(), minlength=classes) / label.size
    step = max(image.size // _VALUES, 1)
    return _Sample(
        raw.case,
        image[index],
        label[index] if label is not None else None,
        shares,
        volume.spacing if volume.spacing_known else None,
        image.ravel()[::step],
    )


def _picture(ax: Axes, sample: _Sample, classes: int) -> None:
    low, high = np.quantile(sample.image, [0.005, 0.995])
    ax.imshow(sample.image, cmap="gray", vmin=low, vmax=high)
    if sample.label is not None:
        for value, color in enumerate(sns.color_palette("bright", classes - 1), 1):
            if (sample.label == value).any():
                ax.contour(sample.label == value, [0.5], colors=[color], linewidths=0.8)
    ax.set_title(sample.case[-22:], fontsize=5)


def _shares(ax: Axes, samples: Sequence[_Sample], classes: Sequence[str]) -> None:
    found = [100 * s.shares[1:] for s in samples if s.shares is not None]
    ax.set_xlabel("share of voxels, %")
    if not found:
        return
    colors = sns.color_palette("bright", len(classes) - 1)
    for row, (values, color) in enumerate(zip(np.array(found).T, colors, strict=True)):
        spread = np.random.default_rng(row).uniform(-0.25, 0.25, len(values))
        ax.scatter(values, row + spread, s=4, color=color, linewidths=0)
    ax.set_yticks(range(len(classes) - 1), classes[1:])
    ax.set_ylim(len(classes) - 1.4, -0.6)
    sns.despine(ax=ax)


def _spacings(ax: Axes, samples: Sequence[_Sample], unit: str) -> None:
    known = np.array([s.spacing for s in samples if s.spacing is not None])
    ax.set_xlabel(f"voxel size, {unit}" if len(known) else "voxel size unknown")
    if len(known):
        for axis, name in enumerate(("slices", "rows", "columns")):
            ax.hist(known[:, axis], bins=20, histtype="step", label=name)
        ax.legend(frameon=False, fontsize="xx-small")
        ax.set_ylabel("cases")
    else:
        ax.set(xticks=[], yticks=[])
    sns.despine(ax=ax)


def _intensities(ax: Axes, samples: Sequence[_Sample]) -> None:
    values = np.concatenate([s.values for s in samples])
    low, high = np.quantile(values, [0.001, 0.999])
    ax.hist(values.clip(low, high), bins=60, color="#7A7A7A")
    ax.set_yscale("log")
    ax.set(xlabel="intensity after normalisation", ylabel="voxels")
    sns.despine(ax=ax)
