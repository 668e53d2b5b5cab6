"""Synthetic patients in the raw layout of `acdc`, read by the same code as the real data."""

from __future__ import annotations

from pathlib import Path

from datasets.acdc import ACDC
from datasets.reading.generated import Phantom, PhantomParams


class PhantomACDC(Phantom, ACDC):
    """Generated; see `datasets/phantoms/cardiac.py`."""

    id = "phantom_acdc"
    title = f"{ACDC.title} (synthetic phantom)"

    def write(self, out: Path, params: PhantomParams) -> None:
        """Write the raw files into `out`."""
        from datasets.phantoms.cardiac import write_cardiac

        write_cardiac(
            out,
            patients=params.patients,
            seed=params.seed,
            matrix=params.matrix,
            variation=params.variation,
        )
