"""Corrupted files and archives: each is refused with a clear error, or is harmless."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import struct
import tarfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
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


def test_a_header_that_promises_too_much_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    sound, path = bytearray(sound_nifti()), tmp_path / "huge.nii.gz"
    sound[40:56] = struct.pack("<8h", 3, 32_000, 32_000, 32_000, 1, 1, 1, 1)
    path.write_bytes(gzip.compress(bytes(sound)))
    with pytest.raises(BenchError, match=rf"{path}' has shape .*32000.* bytes can hold"):
        read_nifti(path)
    # A bomb: the bytes are there, packed a thousandfold.
    monstrous = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 8
    side = round(monstrous ** (1 / 3)) + 1
    sound[40:56] = struct.pack("<8h", 3, side, side, side, 1, 1, 1, 1)
    path.write_bytes(gzip.compress(bytes(sound)))
    with path.open("ab") as stream:
        stream.truncate(2 * side**3 // 1000)
    with pytest.raises(BenchError, match=rf"{path}' has shape .* GB in memory, of which"):
        read_nifti(path)


@pytest.mark.parametrize("read", [read_nifti, read_grey])
def test_pipes_are_not_read(tmp_path: Path, read: Callable[[Path], object]) -> None:
    path = tmp_path / "image.nii"
    os.mkfifo(path)
    with pytest.raises(BenchError, match=rf"{path}' is a folder, pipe or device"):
        read(path)


def test_a_bomb_of_pixels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "slice.png"
    Image.fromarray(np.zeros((20, 24), np.uint8)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(BenchError, match=rf"{path}' is no readable image"):
        read_grey(path)


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
