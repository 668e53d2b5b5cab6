"""Synthetic patients in the raw layout of `covid19`, read by the same code as the real data."""

from __future__ import annotations

from pathlib import Path

from datasets.covid19 import COVID19
from datasets.reading.generated import Phantom, PhantomParams


class PhantomCOVID19(Phantom, COVID19):
    """Generated; see `datasets/phantoms/chest.py`."""

    id = "phantom_covid19"
    title = f"{COVID19.title} (synthetic phantom)"

    def write(self, out: Path, params: PhantomParams) -> None:
        """Write the raw files into `out`."""
        from datasets.phantoms.chest import write_chest

        write_chest(
            out,
            patients=params.patients,
            seed=params.seed,
            matrix=params.matrix,
            variation=params.variation,
        )
