"""Look of all figures, and files whose bytes depend on nothing but their content."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import matplotlib as mpl
import seaborn as sns
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from benchmarks.common.files import write_bytes
from benchmarks.report.facts import Facts, MethodFacts

DPI = 200
WIDTH = 7.2  # inches, two columns of a journal page
# Okabe and Ito's palette, safe for the common colour deficiencies, without black and yellow; two of
# Paul Tol's muted colours.
_HUES = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#882255", "#999933",
)  # fmt: skip
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# Of the digests that looks are made of: no two methods of the suite look alike, nor do two rows of
# its ablation, and those most often seen together differ in colour.
_SALT = "783455:"
_VARIANTS = ("*", "<", ">", "p", "8", "d")
_DASHES = ("-", "--", ":", "-.")
_LABELED_ONLY, _ALL_LABELS = "#7A7A7A", "#222222"
# Share of white in the lightest of several swept values.
_LIGHTEST = 0.65
_METADATA: dict[str, dict[str, str | None]] = {
    ".pdf": {"CreationDate": None},
    ".png": {"Software": None},
}


@dataclass(frozen=True)
class Look:
    """How a method is drawn.

    Attributes:
        color: hexadecimal.
        marker: of points.
        dash: of lines.
    """

    color: str
    marker: str
    dash: str


@contextmanager
def figure_style() -> Iterator[None]:
    """Settings for small figures in print; ends with the block."""
    settings: Any = {
        **sns.axes_style("whitegrid"),
        **sns.plotting_context("paper", font_scale=0.85),
        "font.family": "DejaVu Sans",
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
    """Write a figure atomically, without dates, in the format of the suffix (.pdf, .png)."""
    stream = io.BytesIO()
    suffix = path.suffix
    figure.savefig(stream, format=suffix[1:], dpi=DPI, metadata=_METADATA[suffix])
    write_bytes(path, stream.getvalue())
    return path


def save_both(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as PDF and as PNG."""
    return [save(figure, stem.with_name(f"{stem.name}{suffix}")) for suffix in (".pdf", ".png")]


def method_looks(facts: Facts) -> dict[str, Look]:
    """Look of each method by key.

    Colour and marker come from the method's id alone, so that a method looks the same in every
    figure of every benchmark, whatever other methods there are: training on labels alone is grey,
    methods with all labels are black. Where all other rows are variants of one method, the row's
    name counts in place of the id. Swept values are shades; an oracle has its method's colour.
    """
    rows = facts.compared if facts.common else facts.methods if len(facts.methods) == 1 else ()
    return {m.key: _look(m, alone=m in rows) for m in facts.rows}


def _look(method: MethodFacts, *, alone: bool) -> Look:
    name = method.id.removesuffix("_oracle") if method.oracle else method.id
    digest, hue = divmod(_digest(method.row if alone else name), len(_HUES))
    color, shape = _HUES[hue], digest % len(_MARKERS)
    marker = _MARKERS[shape]
    if not alone:
        color = _ALL_LABELS if method.all_labels else color
        color = _LABELED_ONLY if method.labels_alone else color
        if method.row or method.oracle:
            marker = _VARIANTS[_digest(f"-{method.row}") % len(_VARIANTS)]
    if method.shade:
        red, green, blue = (c + _LIGHTEST * method.shade * (1 - c) for c in to_rgb(color))
        color = to_hex((red, green, blue))
    return Look(color, marker, _DASHES[shape % len(_DASHES)])


def _digest(name: str) -> int:
    return int(sha256(f"{_SALT}{name}".encode()).hexdigest()[:8], 16)
