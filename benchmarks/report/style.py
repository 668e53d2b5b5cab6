"""Look of all figures, and files whose bytes depend on nothing but their content."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.files import write_bytes
from benchmarks.report.facts import Facts

DPI = 200
# Okabe and Ito's palette, safe for the common colour deficiencies, without black and yellow.
_HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_BASELINE_LOOK = ("#7A7A7A", "X")
_REFERENCE_LOOK = ("#222222", "h")
_METADATA: dict[str, dict[str, str | None]] = {
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
    ".png": {"Software": None},
}


@contextmanager
def figure_style() -> Iterator[None]:
    """Settings for small figures in print; ends with the block."""
    settings: Any = {
        **sns.axes_style("whitegrid"),
        **sns.plotting_context("paper", font_scale=0.85),
        "font.family": "DejaVu Sans",
        "svg.hashsalt": "egcl-bench",
        "svg.fonttype": "path",
        "pdf.fonttype": 42,
        "axes.titlelocation": "left",
        "grid.color": "#DDDDDD",
        "grid.linewidth": 0.6,
    }
    with mpl.rc_context(settings):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure on the Agg canvas, outside pyplot's global list.

    Args:
        width: in inches.
        height: in inches.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write a figure atomically, without dates, in the format of the suffix (.svg, .pdf, .png)."""
    stream = io.BytesIO()
    suffix = path.suffix
    figure.savefig(stream, format=suffix[1:], dpi=DPI, metadata=_METADATA[suffix])
    write_bytes(path, stream.getvalue())
    return path


def method_looks(facts: Facts) -> dict[tuple[str, str], tuple[str, str]]:
    """Colour and marker of each (method, variant), the same in all figures of a benchmark.

    The references are grey and black; the others take hues in grid order, and the marker changes
    with the hue and shifts when the hues repeat, so that no two of 36 look alike.
    """
    looks, index = {}, 0
    for method in facts.methods:
        key = (method.id, method.variant)
        if method.baseline:
            looks[key] = _BASELINE_LOOK
        elif method.all_labels:
            looks[key] = _REFERENCE_LOOK
        else:
            lap, hue = divmod(index, len(_HUES))
            looks[key] = (_HUES[hue], _MARKERS[(hue + lap) % len(_MARKERS)])
            index += 1
    return looks
