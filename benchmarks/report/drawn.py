"""What every picture of a slice is drawn with: grey image, class contours, tags, entropy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

# Of the classes from 1, the same in all pictures; further classes begin anew.
CLASSES = ("#56B4E9", "#E69F00", "#CC79A7", "#009E73", "#D55E00", "#F0E442")


def grey(
    ax: Axes,
    image: NDArray[Any],
    *,
    shades: tuple[float, float] = (0, 255),
    aspect: float = 1.0,
) -> None:
    """Draw an image (H, W).

    Args:
        ax: to draw into.
        image: any numbers.
        shades: that are black and white.
        aspect: height of a pixel divided by its width.
    """
    low, high = shades
    ax.imshow(image, cmap="gray", vmin=low, vmax=high, aspect=aspect, interpolation="nearest")


def contours(ax: Axes, label: NDArray[np.uint8]) -> None:
    """Draw the border of every class of a label map (H, W) in the colour of the class."""
    for value in np.unique(label[label > 0]):
        inside, colour = label == value, CLASSES[(int(value) - 1) % len(CLASSES)]
        if not inside.all():  # which has no border
            ax.contour(inside, levels=[0.5], colors=[colour], linewidths=1.2)


def entropy_map(ax: Axes, share: NDArray[Any], *, aspect: float = 1.0) -> AxesImage:
    """Draw a normalised entropy (H, W) in [0, 1]; returns the picture for `entropy_bar`."""
    return ax.imshow(share, cmap="cividis", vmin=0, vmax=1, aspect=aspect, interpolation="nearest")


def entropy_bar(figure: Figure, picture: AxesImage, grid: NDArray[np.object_]) -> Colorbar:
    """Add the colour bar of the entropy maps to the right of all axes."""
    bar = figure.colorbar(picture, ax=grid, shrink=0.5, aspect=30, pad=0.01)
    bar.set_label("Entropy (0 certain, 1 uniform)", fontsize="x-small")
    bar.ax.tick_params(labelsize="x-small")
    return bar


def tag(ax: Axes, text: str, x: float = 0.03, y: float = 0.97, **how: Any) -> None:
    """Write into a picture, into its upper left corner unless told otherwise."""
    shadow = [withStroke(linewidth=1.5, foreground="black")]
    mark = ax.text(
        x, y, text, transform=ax.transAxes, **{"va": "top", "path_effects": shadow, **how}
    )
    mark.set(color="white", fontsize="x-small")


def class_handles(classes: Sequence[str]) -> list[Line2D]:
    """Entries of a legend, one for each class from 1."""
    return [
        Line2D([], [], color=CLASSES[i % len(CLASSES)], lw=1.5, label=name)
        for i, name in enumerate(classes)
    ]
