"""Adapters on subsets of the real data, where these are present."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.errors import DataError
from datasets import load_dataset
from datasets.base import PrepareParams
from datasets.prepare import prepare
from datasets.split import patients_of
from datasets.store import Prepared

DATA_ENV = "EGCL_DATA"
DATA = Path(os.environ.get(DATA_ENV, Path(__file__).parents[2].parent / "shared/data"))


def real(dataset: str, out: Path, params: PrepareParams | None = None) -> Prepared:
    raw = DATA / dataset
    if not raw.is_dir():
        pytest.skip(f"no real data at {raw}; set {DATA_ENV} to the folder that holds them")
    adapter = load_dataset(dataset)
    return prepare(adapter, raw, out, params or adapter.Params(), jobs=2)


def dice(made: Prepared, case: str) -> float:
    """Foreground Dice between the reference and the mask that went to the grid and back."""
    back = made.to_native(case, np.asarray(made.label(case))) > 0
    reference = made.reference(case) > 0
    return 2 * float((back & reference).sum()) / float(back.sum() + reference.sum())


def test_acdc(tmp_path: Path) -> None:
    made = real("acdc", tmp_path / "out")
    assert len(made.cases) == 2 * len(patients_of(made)) == 160
    assert "patient090_frame04" in {case.case for case in made.cases}
    assert all(dice(made, case.case) > 0.98 for case in made.cases)
    for case in made.cases:
        image = made.image(case.case)
        assert image.shape[-2:] == (256, 256)
        assert 0 <= image.min() < image.max() <= 1


def test_covid19_images(tmp_path: Path) -> None:
    made = real("covid19", tmp_path / "out")
    masked = [case for case in made.cases if case.labeled]
    assert (len(made.cases), len(masked), len(patients_of(made))) == (1674, 74, 94)
    assert not any(case.spacing_known for case in made.cases)
    assert min(dice(made, case.case) for case in masked) > 0.9


def test_brats2019(tmp_path: Path) -> None:
    params = load_dataset("brats2019").Params.model_validate({"task": "regions"})
    made = real("brats2019", tmp_path / "out", params)
    assert (len(made.cases), made.ndim, len(made.channels)) == (8, 3, 4)
    for case in made.cases:
        reference = made.reference(case.case)
        back = made.to_native(case.case, np.asarray(made.label(case.case)))
        # Nothing is resized, so only mask outside the brain's box can be lost.
        assert np.array_equal(back, reference)


def test_brats2015_labels_are_refused(tmp_path: Path) -> None:
    if not (DATA / "brats2015").is_dir():
        pytest.skip(f"no real data at {DATA / 'brats2015'}; set {DATA_ENV}")
    adapter = load_dataset("brats2019")
    with pytest.raises(DataError, match="label values 3; allowed: 0, 1, 2, 4"):
        prepare(adapter, DATA / "brats2015", tmp_path / "out", adapter.Params())
