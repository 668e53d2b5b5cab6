"""Prepared folders: geometry round trips, digests, damage."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from benchmarks.common import files
from benchmarks.common.errors import DataError
from datasets import load_dataset
from datasets.acdc import ACDCParams
from datasets.base import RawCase, SliceParams, Volume, VolumeParams
from datasets.brats2019 import BraTSParams
from datasets.phantoms.fields import save_nifti
from datasets.preparing.checks import check_ids
from datasets.preparing.prepare import prepare
from datasets.preparing.raw import refuse_changed
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
    adapter, params = load_dataset("acdc"), ACDCParams(size=(32, 32))
    seen: list[tuple[int, int]] = []
    first = prepare(adapter, raw, tmp_path / "a", params, progress=lambda *at: seen.append(at))
    second = prepare(adapter, raw, tmp_path / "b", params, jobs=2)
    again = prepare(adapter, raw, tmp_path / "a", params)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert first.digest == second.digest == again.digest
    assert open_prepared(tmp_path / "a") == again
    other = prepare(adapter, raw, tmp_path / "a", ACDCParams(size=(32, 48)))
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
    with pytest.raises(KeyboardInterrupt):
        prepare(adapter, raw, tmp_path / "edited", adapter.Params(), progress=Stopping(2))
    edited = tmp_path / "edited.py"
    edited.write_text("an adapter that reads otherwise")
    monkeypatch.setattr("inspect.getfile", lambda _kind: str(edited))
    read.clear()
    prepare(adapter, raw, tmp_path / "edited", adapter.Params())
    assert read == cases[1:], "an edited adapter starts anew"


def test_arrays_match_what_is_declared(raw: Path, tmp_path: Path) -> None:
    params = ACDCParams(size=(40, 40), field=0.8)
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
    made = prepare(adapter, raw, out, ACDCParams(size=(32, 32)))
    image = out / "patient001_frame01/image.npy"
    image.write_bytes(image.read_bytes()[:-100])
    with pytest.raises(
        DataError, match=rf"image\.npy' was changed after it was written(.|\n)*{remedy}"
    ):
        made.image("patient001_frame01")
    image.unlink()
    with pytest.raises(DataError, match=r"there is no .*image\.npy"):
        open_prepared(out)
    prepare(adapter, raw, out, ACDCParams(size=(32, 32)))
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


Change = Callable[[np.ndarray], np.ndarray]


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("image", lambda a: a * np.float32(1 + 1e-6)),
        ("image", np.zeros_like),
        ("image", lambda a: np.where(a == a.max(), np.float32("nan"), a)),
        ("label", np.zeros_like),
        ("label", lambda a: np.full_like(a, 201)),
        ("reference", lambda a: np.where(a == 1, np.uint8(2), a)),
        ("reference", lambda a: a.astype(np.float64)),
    ],
)
def test_an_array_that_was_changed_is_refused(
    raw: Path, tmp_path: Path, kind: str, change: Change
) -> None:
    made = prepare(load_dataset("acdc"), raw, tmp_path / "acdc", ACDCParams(size=(32, 32)))
    case, read = "patient001_frame01", getattr(made, kind)
    before = read(case).copy()
    path = made.root / case / f"{kind}.npy"
    bytes_before = path.read_bytes()
    np.save(path, change(before))
    with pytest.raises(DataError, match=rf"{kind}\.npy' was changed after it was written"):
        read(case)
    other = made.root / "patient002_frame01" / f"{kind}.npy"
    path.write_bytes(other.read_bytes())
    with pytest.raises(DataError, match="was changed"):
        read(case)
    path.write_bytes(bytes_before)
    assert np.array_equal(read(case), before)


def test_an_array_is_hashed_once(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = prepare(load_dataset("acdc"), raw, tmp_path / "acdc", ACDCParams(size=(32, 32)))
    hashed: list[Path] = []
    original = files.file_digest

    def counting(path: Path) -> str:
        hashed.append(path)
        return original(path)

    monkeypatch.setattr(files, "file_digest", counting)
    for _ in range(3):
        made.image("patient001_frame01")
        made.label("patient001_frame01")
    assert sorted(path.name for path in hashed) == ["image.npy", "label.npy"]


def test_changed_raw_files_are_noticed(raw: Path, tmp_path: Path) -> None:
    adapter, params = load_dataset("acdc"), ACDCParams(size=(32, 32))
    data = prepare(adapter, raw, tmp_path / "acdc", params)
    image = raw / "patient001/patient001_frame01.nii.gz"
    before = image.read_bytes()
    refuse_changed(adapter, data, params)
    os.utime(image, ns=(0, 0))
    refuse_changed(adapter, data, params)  # touched, but the bytes are the same
    image.write_bytes(bytes([*before[:-1], before[-1] ^ 1]))
    with pytest.raises(DataError, match=r"1 changed \(patient001_frame01\)"):
        refuse_changed(adapter, data, params)
    image.write_bytes(before)
    shutil.copytree(raw / "patient002", raw / "patient009")
    for path in (raw / "patient009").iterdir():
        path.rename(path.with_name(path.name.replace("002", "009")))
    shutil.move(raw / "patient003", tmp_path / "away")
    with pytest.raises(DataError, match=r"1 added \(patient009.*1 removed \(patient003") as seen:
        refuse_changed(adapter, data, params)
    assert "prepare acdc" in str(seen.value) and "acdc.raw.json" in str(seen.value)
    again = prepare(adapter, raw, tmp_path / "acdc", params)
    refuse_changed(adapter, again, params)
    shutil.rmtree(raw)
    refuse_changed(adapter, again, params)  # cleared away: nothing to compare with


def test_links_as_targets(raw: Path, tmp_path: Path) -> None:
    adapter, params, out = load_dataset("acdc"), ACDCParams(size=(32, 32)), tmp_path / "acdc"
    out.symlink_to(tmp_path / "disk")  # what it leads to is made
    first = prepare(adapter, raw, out, params)
    assert out.is_symlink() and (tmp_path / "disk/dataset.json").is_file()
    assert prepare(adapter, raw, out, params).digest == first.digest
    assert out.is_symlink() and open_prepared(out).digest == first.digest
    out.unlink()
    out.write_text("a file")
    with pytest.raises(DataError, match="acdc' is not empty"):
        prepare(adapter, raw, out, params)


@pytest.mark.parametrize("name", ["..", ".hidden", "dataset.json"])
def test_case_ids_that_cannot_name_a_folder_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="cannot name folders"):
        check_ids([RawCase(name, "p", (Path("x"),), None)])


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
