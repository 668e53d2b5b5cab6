"""Reading of HDF5 volumes as SSL4MIS distributes them: arrays `image`, `label`, no voxel size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.errors import DataError
from datasets.reading.images import check_finite, refuse_irregular


def read_hdf5(path: Path, name: str) -> NDArray[np.generic]:
    """Read one array of an HDF5 file.

    Args:
        path: the file.
        name: of the array, `image` or `label`.

    Returns:
        (D, H, W) in the stored type, all finite.

    Raises:
        DataError: the file is missing or damaged, or has no such array of three axes.
    """
    import h5py

    refuse_irregular(path)
    try:
        with h5py.File(path, "r") as stored:
            item = stored.get(name)
            if not isinstance(item, h5py.Dataset) or len(item.shape) != 3 or 0 in item.shape:
                there = ", ".join(f"{key} {getattr(stored[key], 'shape', '')}" for key in stored)
                raise DataError(
                    f"'{path}' has no array '{name}' of three axes; it holds {there or 'nothing'}."
                    " Volumes are read, not single slices"
                )
            array = np.asarray(item)
    except FileNotFoundError:
        raise DataError(f"no file '{path}'; obtain it again from its source") from None
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise DataError(
            f"'{path}' is no readable HDF5 file ({error}); it may be cut off: copy it again"
        ) from None
    return check_finite(array, path)
