"""Synthetic patients in the raw layout of `brats2019`, read by the same code as the real data."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from datasets.brats2019 import BraTS2019
from datasets.reading.generated import Phantom, PhantomParams


class BrainPhantomParams(PhantomParams):
    """Smaller volumes, since 3D costs more."""

    matrix: int = Field(72, ge=32, description="in-plane voxels; slices are two thirds of it")


class PhantomBraTS2019(Phantom, BraTS2019):
    """Generated; see `datasets/phantoms/brain.py`."""

    id = "phantom_brats2019"
    title = f"{BraTS2019.title} (synthetic phantom)"
    FetchParams = BrainPhantomParams

    def write(self, out: Path, params: PhantomParams) -> None:
        """Write the raw files into `out`."""
        from datasets.phantoms.brain import write_brain

        write_brain(
            out,
            patients=params.patients,
            seed=params.seed,
            matrix=params.matrix,
            variation=params.variation,
        )
