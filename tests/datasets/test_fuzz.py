"""Corrupted files and archives: each is refused with a clear error, or is harmless."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from benchmarks.common.errors import BenchError
from datasets.fetching.archives import unpack
from datasets.reading.images import read_grey, read_nifti

ROUNDS = 700


def sound_nifti() -> bytes:
    rng = np.random.default_rng(0)
    image = nib.nifti1.Nifti1Image(
        rng.integers(0, 900, (12, 10, 6)).astype(np.int16), np.diag([1.5, 1.5, 5.0, 1.0])
    )
    return bytes(image.to_bytes())


def corrupted(data: bytes, rng: np.random.Generator, *, header: int) -> bytes:
    """Bytes of the header changed, or the end cut off, or a piece overwritten."""
    kind, changed = rng.integers(4), bytearray(data)
    if kind == 0:
        return bytes(changed[: rng.integers(len(changed))])
    places = rng.integers(header if kind < 3 else len(changed), size=rng.integers(1, 9))
    for place in places:
        changed[place] = rng.integers(256)
    return bytes(changed)


def test_corrupted_nifti_headers(tmp_path: Path) -> None:
    """A damaged file is refused; what is still read is finite, 3D and has positive spacing."""
    rng, outcome, sound = np.random.default_rng(1), Counter[str](), sound_nifti()
    for number in range(ROUNDS):
        path = tmp_path / f"{number % 2}.nii.gz"
        data = corrupted(sound, rng, header=348)
        packed = gzip.compress(data, 1)
        if number % 5 == 0:
            packed = corrupted(gzip.compress(sound, 1), rng, header=20)
        path.write_bytes(packed)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                array, spacing = read_nifti(path)
        except BenchError as error:
            assert str(path) in str(error)
            outcome["refused"] += 1
            continue
        assert array.ndim == 3 and min(spacing) > 0 and np.isfinite(spacing).all()
        assert np.isfinite(array).all()
        outcome["read"] += 1
    assert outcome["refused"] > ROUNDS / 10 and outcome["read"] > 0


def test_corrupted_slices(tmp_path: Path) -> None:
    rng, outcome = np.random.default_rng(2), Counter[str]()
    stream = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (20, 24)).astype(np.uint8)).save(stream, "PNG")
    path = tmp_path / "slice.png"
    for _ in range(ROUNDS):
        path.write_bytes(corrupted(stream.getvalue(), rng, header=60))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                array = read_grey(path)
        except BenchError as error:
            assert str(path) in str(error)
            outcome["refused"] += 1
            continue
        assert array.ndim == 3 and array.dtype == np.uint8
        outcome["read"] += 1
    assert outcome["refused"] > ROUNDS / 10


def archive(kind: str, names: list[str], rng: np.random.Generator) -> bytes:
    stream = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
            for name in names:
                file.writestr(name, rng.bytes(200))
        return stream.getvalue()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 200
            if rng.random() < 0.2:
                member.type, member.size = tarfile.SYMTYPE, 0
                member.linkname = str(rng.choice(["/etc/passwd", "../..", "a"]))
            tar.addfile(member, io.BytesIO(rng.bytes(member.size)))
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_hostile_and_corrupted_archives(tmp_path: Path, kind: str) -> None:
    """Nothing is written outside the folder, and a damaged archive leaves none behind."""
    rng, outcome = np.random.default_rng(3), Counter[str]()
    pieces = ["a", "..", "/tmp/escaped", "b/c", "C:\\x", "~", "", "./d", "e\\..\\..\\f"]
    suffix = ".zip" if kind == "zip" else ".tar.gz"
    for number in range(ROUNDS // 2):
        names = ["/".join(rng.choice(pieces, rng.integers(1, 4))) + f"/{i}" for i in range(3)]
        if number % 2:
            names = [f"case{i}/image.nii" for i in range(3)]
        data = archive(kind, names, rng)
        if number % 2 and number % 3:
            data = corrupted(data, rng, header=len(data))
        path, out = tmp_path / f"box/archive{suffix}", tmp_path / "box/inner/out"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        try:
            unpack(path, out)
        except BenchError as error:
            assert "archive" in str(error)
            outcome["refused"] += 1
        else:
            outcome["unpacked"] += 1
        outside = [p for p in tmp_path.rglob("*") if p.is_file() and out not in p.parents]
        assert outside == [path]
        assert not [p for p in out.rglob("*") if p.is_symlink()]
        shutil.rmtree(tmp_path / "box")
    assert not Path("/tmp/escaped").exists()
    assert outcome["refused"] > ROUNDS / 10 and outcome["unpacked"] > 0
