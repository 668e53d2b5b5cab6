"""Resizing with pixel centres aligned, bit for bit the same on every machine.

Sums run tap by tap in a fixed order instead of through a matrix product, whose rounding depends on
the machine; so prepared data have the same digest everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def resize_linear(image: Array, shape: tuple[int, ...]) -> Array:
    """Separable linear resize; when shrinking, the triangle filter is widened against aliasing.

    Args:
        image: (..., *S) float32.
        shape: new sizes of the last axes, *S.

    Returns:
        (..., *shape) float32, within the range of the input.
    """
    low, high = image.min(), image.max()
    for axis, size in zip(range(-len(shape), 0), shape, strict=True):
        if image.shape[axis] != size:
            image = _resize_axis(image, axis, size)
    return np.clip(image, low, high)  # rounding may leave the range


def resize_nearest(array: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.generic]:
    """Nearest-neighbour resize of the last axes.

    Args:
        array: (..., *S).
        shape: new sizes of the last axes, *S.

    Returns:
        (..., *shape) in the type of `array`; an unchanged size is copied exactly.
    """
    for axis, size in zip(range(-len(shape), 0), shape, strict=True):
        length = array.shape[axis]
        if length != size:
            array = array.take((2 * np.arange(size) + 1) * length // (2 * size), axis=axis)
    return array


def placed(
    values: NDArray[Any],
    box: tuple[tuple[int, int], ...],
    shape: tuple[int, ...],
    resize: Callable[[NDArray[Any], tuple[int, ...]], NDArray[Any]],
) -> NDArray[Any]:
    """Values of a grid in native geometry, 0 outside the box that the grid covers.

    Args:
        values: (D, H, W) on the grid.
        box: [low, high) per native axis.
        shape: native (D, H, W).
        resize: one of the two above.
    """
    native = np.zeros(shape, dtype=values.dtype)
    window = tuple(slice(*bounds) for bounds in box)
    native[window] = resize(values, tuple(high - low for low, high in box))
    return native


def _resize_axis(image: Array, axis: int, size: int) -> Array:
    index, weight = _taps(image.shape[axis], size)
    column = (-1,) + (1,) * (-axis - 1)
    total: Array = image.take(index[0], axis=axis) * weight[0].reshape(column)
    for where, share in zip(index[1:], weight[1:], strict=True):
        total += image.take(where, axis=axis) * share.reshape(column)
    return total


def _taps(length: int, size: int) -> tuple[NDArray[np.int64], Array]:
    """Source indices and weights, both (taps, size), of a triangle filter along one axis."""
    scale = length / size
    reach = max(scale, 1.0)
    centre = (np.arange(size) + 0.5) * scale - 0.5
    index = np.floor(centre - reach).astype(np.int64) + np.arange(math.ceil(2 * reach) + 2)[:, None]
    weight = np.clip(1 - np.abs(index - centre) / reach, 0, None)
    weight[(index < 0) | (index >= length)] = 0
    weight /= weight.sum(axis=0)
    used = weight.max(axis=1) > 0
    return np.clip(index, 0, length - 1)[used], weight[used].astype(np.float32)
