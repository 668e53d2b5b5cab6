"""Preparing and random crops at the size of the real data sets."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from benchmarks.engine.streams import Stream, StreamConfig
from datasets import load_dataset
from datasets.preparing.prepare import prepare
from tests.speed.conftest import Compare

pytestmark = pytest.mark.speed
PATCH = (96, 96, 96)


def write(path: Path, array: np.ndarray[tuple[int, ...], np.dtype[np.int16]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.nifti1.Nifti1Image(array, np.eye(4)), path)


def test_crops_of_brats_size(tmp_path: Path, compare: Compare) -> None:
    """A batch of four 96^3 crops with masks, against copying as many bytes; target 50 ms."""
    rng = np.random.default_rng(0)
    for number in range(3):
        stem = tmp_path / f"raw/BraTS19_{number}/BraTS19_{number}"
        image = rng.integers(1, 900, (240, 240, 155)).astype(np.int16)
        write(Path(f"{stem}_flair.nii.gz"), image)
        write(Path(f"{stem}_seg.nii.gz"), (image > 800).astype(np.int16))
    adapter = load_dataset("brats2019")
    data = prepare(adapter, tmp_path / "raw", tmp_path / "prepared", adapter.Params())
    config = StreamConfig("labeled", 4, PATCH, 0)
    stream, step = (
        Stream(data, list(data.cases), config, with_label=True, device=torch.device("cpu")),
        iter(range(1000)),
    )
    plain = np.ones((4, *PATCH), np.float32)
    ratio = compare(
        "four 96^3 crops with masks / copy of the images",
        lambda: stream.read(next(step)), plain.copy, most=float("nan"), rounds=15,
    )  # fmt: skip
    assert ratio < 30


def test_prepare_of_acdc_size(tmp_path: Path, compare: Compare) -> None:
    """Ten patients of two frames, against reading the same files; target 0.6 s a patient."""
    rng = np.random.default_rng(0)
    for number in range(1, 11):
        for frame in (1, 9):
            stem = tmp_path / f"raw/patient{number:03d}/patient{number:03d}_frame{frame:02d}"
            write(Path(f"{stem}.nii.gz"), rng.integers(0, 900, (216, 256, 10)).astype(np.int16))
            write(Path(f"{stem}_gt.nii.gz"), rng.integers(0, 4, (216, 256, 10)).astype(np.int16))
    adapter = load_dataset("acdc")
    files = sorted((tmp_path / "raw").rglob("*.nii.gz"))

    def read() -> float:
        return sum(float(np.asarray(nib.nifti1.load(f).dataobj).sum()) for f in files)

    ratio = compare(
        "prepare / read (10 patients of ACDC size)",
        lambda: prepare(adapter, tmp_path / "raw", tmp_path / "prepared", adapter.Params()),
        read, most=float("nan"), rounds=2,
    )  # fmt: skip
    assert ratio < 30
