"""Prepared folders: geometry round trips, digests, damage."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from benchmarks.common.errors import DataError
from datasets import load_dataset
from datasets.base import RawCase, SliceParams, Volume, VolumeParams
from datasets.brats2019 import BraTSParams
from datasets.phantoms.fields import save_nifti
from datasets.preparing.prepare import prepare
from datasets.preparing.resample import resize_linear, resize_nearest
from datasets.preparing.store import CaseRecord, Prepared, open_prepared

sizes = st.integers(1, 40)


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=3, max_side=12),
        elements=st.floats(-100, 100, width=32),
    ),
    sizes,
    sizes,
)
def test_linear_resize_agrees_with_pillow(image: np.ndarray, rows: int, columns: int) -> None:
    ours = resize_linear(image, (rows, columns))
    assert ours.dtype == np.float32
    assert ours.min() >= image.min()
    assert ours.max() <= image.max()
    flat = image.reshape(-1, *image.shape[-2:])
    theirs = [Image.fromarray(s).resize((columns, rows), Image.Resampling.BILINEAR) for s in flat]
    expected = np.stack([np.asarray(s) for s in theirs]).reshape(ours.shape)
    np.testing.assert_allclose(ours, expected, atol=2e-3)


@given(st.data())
def test_grid_and_back(data: st.DataObject) -> None:
    native = data.draw(st.tuples(sizes, sizes, sizes))
    lows = [data.draw(st.integers(0, n - 1)) for n in native]
    pairs = zip(lows, native, strict=True)
    box = tuple((low, data.draw(st.integers(low + 1, n))) for low, n in pairs)
    lengths = tuple(high - low for low, high in box)
    scale = data.draw(st.integers(1, 3))
    grid = tuple(n * scale for n in lengths)
    case = CaseRecord("c", "p", "", "", True, native, (1, 1, 1), box, grid)  # type: ignore[arg-type]
    prepared = Prepared(Path(), "acdc", 3, ("x",), ("a", "b"), "", (case,))
    label = data.draw(hnp.arrays(np.uint8, native, elements=st.integers(0, 3)))
    window = tuple(slice(*limits) for limits in box)
    back = prepared.to_native("c", resize_nearest(label[window], grid))  # type: ignore[arg-type]
    assert np.array_equal(back[window], label[window])
    back[window] = 0
    assert not back.any()
    with pytest.raises(ValueError, match="the grid has"):
        prepared.to_native("c", np.zeros((99, 1, 1), np.uint8))


@given(st.tuples(sizes, sizes, sizes), st.floats(0.01, 1), st.floats(1, 9))
def test_grids_are_never_empty(native: tuple[int, int, int], field: float, shrink: float) -> None:
    box = SliceParams(field=field, size=None).crop(((0, native[0]), (0, native[1]), (0, native[2])))
    for (low, high), length in zip(box, native, strict=True):
        assert 0 <= low < high <= length
        assert abs((low + high) - length) <= 1
    assert min(VolumeParams(shrink=shrink).grid(native)) >= 1


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    for patient in range(1, 4):
        stem = f"patient{patient:03d}"
        image = rng.integers(0, 900, (3, 20 + patient, 25)).astype(np.int16)
        path = tmp_path / "raw" / stem / f"{stem}_frame01.nii.gz"
        save_nifti(path, image, (9.0, 1.5, 1.5))
        if patient < 3:
            label = (image > 600).astype(np.uint8)
            save_nifti(path.with_name(f"{stem}_frame01_gt.nii.gz"), label, (9.0, 1.5, 1.5))
    return tmp_path / "raw"


def test_same_input_gives_the_same_digest(raw: Path, tmp_path: Path) -> None:
    adapter, params = load_dataset("acdc"), SliceParams(size=(32, 32))
    seen: list[tuple[int, int]] = []
    first = prepare(adapter, raw, tmp_path / "a", params, progress=lambda *at: seen.append(at))
    second = prepare(adapter, raw, tmp_path / "b", params, jobs=2)
    again = prepare(adapter, raw, tmp_path / "a", params)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert first.digest == second.digest == again.digest
    assert open_prepared(tmp_path / "a") == again
    other = prepare(adapter, raw, tmp_path / "a", SliceParams(size=(32, 48)))
    assert other.digest != first.digest
    assert other.image("patient001_frame01").shape == (1, 3, 32, 48)


class Stopping:
    """A progress callback that is interrupted after some cases."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(self, done: int, total: int) -> None:
        del total
        if done == self.after:
            raise KeyboardInterrupt


def test_a_stopped_call_is_gone_on_with(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = load_dataset("acdc")
    cases = [case.case for case in adapter.scan(raw, adapter.Params())]
    expected = prepare(adapter, raw, tmp_path / "whole", adapter.Params()).digest
    read: list[str] = []
    original = type(adapter).read

    def reading(self: Any, case: RawCase, params: object) -> Volume:
        read.append(case.case)
        volume: Volume = original(self, case, params)
        return volume

    monkeypatch.setattr(type(adapter), "read", reading)
    out = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        prepare(adapter, raw, out, adapter.Params(), progress=Stopping(2))
    assert not out.exists() and read == cases[:2]
    first = adapter.scan(raw, adapter.Params())[0].images[0]
    os.utime(first, ns=(0, first.stat().st_mtime_ns + 1))  # this case must be read again
    read.clear()
    assert prepare(adapter, raw, out, adapter.Params()).digest == expected
    assert read == [cases[0], *cases[2:]]
    assert {p.name for p in tmp_path.iterdir() if p.name.startswith(".")} == set()
    assert {p.name for p in out.iterdir()} == {"dataset.json", *cases}
    with pytest.raises(KeyboardInterrupt):
        prepare(adapter, raw, out, adapter.Params(), progress=Stopping(2))
    shutil.rmtree(raw / "patient001")
    (partial,) = tmp_path.glob(".cut.*.partial")
    (partial / "dataset.json").write_text("of a call that was killed before its last step")
    prepare(adapter, raw, out, adapter.Params())
    assert {p.name for p in out.iterdir()} == {"dataset.json", *cases[1:]}
    with pytest.raises(KeyboardInterrupt):
        prepare(adapter, raw, tmp_path / "other", adapter.Params(), progress=Stopping(2))
    read.clear()
    smaller = adapter.Params.model_validate({"size": [32, 32]})
    prepare(adapter, raw, tmp_path / "other", smaller)
    assert read == cases[1:], "other parameters start anew"


def test_arrays_match_what_is_declared(raw: Path, tmp_path: Path) -> None:
    params = SliceParams(size=(40, 40), field=0.8)
    made = prepare(load_dataset("acdc"), raw, tmp_path / "out", params)
    case = made.case("patient001_frame01")
    assert case.box == ((0, 3), (2, 19), (2, 22))
    assert made.image(case.case).dtype == np.float32
    assert made.label(case.case).shape == case.grid_shape == (3, 40, 40)
    assert made.reference(case.case).shape == case.native_shape == (3, 21, 25)
    window = tuple(slice(*bounds) for bounds in case.box)
    native = made.to_native(case.case, np.asarray(made.label(case.case)))
    assert np.array_equal(native[window], made.reference(case.case)[window])
    with pytest.raises(DataError, match="has no mask"):
        made.label("patient003_frame01")
    with pytest.raises(DataError, match="nobody"):
        made.of_patients({"patient001", "nobody"})
    assert [c.case for c in made.of_patients({"patient002"})] == ["patient002_frame01"]


def test_damage_is_named_with_a_remedy(raw: Path, tmp_path: Path) -> None:
    adapter, out = load_dataset("acdc"), tmp_path / "acdc"
    remedy = "python -m benchmarks prepare acdc"
    with pytest.raises(DataError, match=remedy):
        open_prepared(out)
    made = prepare(adapter, raw, out, SliceParams(size=(32, 32)))
    image = out / "patient001_frame01/image.npy"
    image.write_bytes(image.read_bytes()[:-100])
    with pytest.raises(DataError, match=rf"image\.npy' cannot be read(.|\n)*{remedy}"):
        made.image("patient001_frame01")
    image.unlink()
    with pytest.raises(DataError, match=r"there is no .*image\.npy"):
        open_prepared(out)
    prepare(adapter, raw, out, SliceParams(size=(32, 32)))
    fingerprint = out / "dataset.json"
    value = json.loads(fingerprint.read_text())
    value["cases"][0]["patient"] = "patient002"
    for text, message in (
        (json.dumps(value), "changed after"),
        ("[]", "not as written"),
        ("{", "not as written"),
        ('{"format": 99}', "format 99"),
    ):
        fingerprint.write_text(text)
        with pytest.raises(DataError, match=message):
            open_prepared(out)


def test_volumes_are_shrunk_on_every_axis(tmp_path: Path) -> None:
    folder = tmp_path / "raw/BraTS2021_1"
    image = np.zeros((20, 24, 28), np.int16)
    image[2:18, 4:20, 6:22] = np.random.default_rng(0).integers(1, 99, (16, 16, 16))
    save_nifti(folder / "BraTS2021_1_flair.nii.gz", image, (1.0, 1.0, 1.0))
    made = prepare(
        load_dataset("brats2019"), tmp_path / "raw", tmp_path / "out", BraTSParams(shrink=2)
    )
    (case,) = made.cases
    assert (case.grid_shape, case.labeled, made.ndim) == ((8, 8, 8), False, 3)
