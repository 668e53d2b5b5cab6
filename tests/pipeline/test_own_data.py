"""The tutorial of datasets/README.md, with its own commands and params file."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from tests.pipeline.test_cli import ROOT, call, checkout, refused

__all__ = ["checkout"]
README = (ROOT / "datasets/README.md").read_text(encoding="utf-8")


def write_nnunet(folder: Path, *, cases: int = 6, visits: int = 1) -> Path:
    """A small raw folder: balls of random place and size, one image without a mask."""
    rng = np.random.default_rng(0)
    grid = np.mgrid[:4, :40, :36]
    for part in ("imagesTr", "labelsTr", "imagesUn"):
        (folder / part).mkdir(parents=True)
    for number in range(cases * visits + 1):
        name = f"pat{number // visits:02d}_v{number % visits}"
        centre = np.array([2, rng.integers(12, 28), rng.integers(12, 24)])
        label = (rng.integers(40, 90) > ((grid.T - centre) ** 2).sum(-1).T).astype(np.uint8)
        image = (100 * label + rng.normal(0, 20, label.shape)).astype(np.int16)
        affine = np.diag([1.5, 1.5, 5.0, 1.0])
        last = number == cases * visits
        nib.save(
            nib.nifti1.Nifti1Image(image.T, affine),
            folder / ("imagesUn" if last else "imagesTr") / f"{name}_0000.nii.gz",
        )
        if not last:
            mask = nib.nifti1.Nifti1Image(label.T, affine)
            nib.save(mask, folder / "labelsTr" / f"{name}.nii.gz")
    describe(folder)
    return folder


def describe(folder: Path, **changes: object) -> None:
    described = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "ball": 1},
        "numTraining": 6,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(described | changes))


def test_tutorial(checkout: Path, tmp_path: Path) -> None:
    folder = write_nnunet(tmp_path / "Dataset004_Heart")
    [params] = re.findall(r"```yaml\n(.*?)```", README, re.S)
    config = yaml.safe_load(params)
    config["train"] |= {"iterations": 2, "validations": 1}
    config["train"]["network"]["channels"] = [4, 4, 4, 4]
    config["grid"] |= {"seeds": [0], "methods": ["supervised", "mean_teacher"]}
    (checkout / "heart.yaml").write_text(yaml.safe_dump(config))
    block = next(b for b in re.findall(r"```sh\n(.*?)```", README, re.S) if "--nnunet" in b)
    for line in block.splitlines():
        words = shlex.split(line.replace("/data/Dataset004_Heart", str(folder)), comments=True)
        assert words[:3] == ["python", "-m", "benchmarks"]
        extra = ["--ndim", "2"] if "add" in words else []
        done = call(*words[3:], *extra, cwd=checkout, OMP_NUM_THREADS="1")
        assert done.returncode == 0, done.stderr + done.stdout
        if "add" in words:
            assert "7 cases of 7 patients, 6 with masks" in done.stdout
            shown = yaml.safe_load(done.stdout[done.stdout.index("data:") :])
            assert shown["data"]["heart"]["split"]["test"] >= 1
    assert (checkout / "reports/datasets/local/heart.png").is_file()
    assert "| Supervised" in (checkout / "reports/heart/README.md").read_text()
    assert "choose another --name" in refused(
        checkout, "datasets", "add", "--nnunet", str(folder), "--name", "heart"
    )


def test_patients_of_several_cases(checkout: Path, tmp_path: Path) -> None:
    folder = write_nnunet(tmp_path / "raw", cases=4, visits=2)
    args = ("datasets", "add", "--nnunet", str(folder), "--name", "visits")
    assert "needs a group" in refused(checkout, *args, "--patient", "pat")
    assert "does not match" in refused(checkout, *args, "--patient", "(case)")
    assert not (checkout / "datasets/visits.py").exists()
    done = call(*args, "--patient", r"(pat\d+)", cwd=checkout)
    assert "9 cases of 5 patients, 4 with masks" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": {"background": 0, "ball": 2}}, "without a gap"),
        ({"labels": {"background": 0, "whole": [1, 2]}}, "labels.whole"),
        ({"file_ending": ".mha"}, "file_ending"),
        ({"channel_names": {"0": "T1", "1": "T2"}}, "needs 2 channels; look at _0001"),
    ],
)
def test_descriptions_that_cannot_be_used(
    checkout: Path, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    folder = write_nnunet(tmp_path / "raw")
    describe(folder, **changes)
    message = refused(checkout, "datasets", "add", "--nnunet", str(folder), "--name", "mine")
    assert words in message
    assert not (checkout / "datasets/mine.py").exists()
    assert not (checkout / "data/raw/mine").is_symlink()


def test_missing_mask_and_description(checkout: Path, tmp_path: Path) -> None:
    folder = write_nnunet(tmp_path / "raw")
    (folder / "labelsTr/pat03_v0.nii.gz").unlink()
    args = ("datasets", "add", "--nnunet", str(folder), "--name", "mine")
    assert "belong into imagesUn" in refused(checkout, *args)
    (folder / "dataset.json").unlink()
    assert "expected dataset.json" in refused(checkout, *args)
