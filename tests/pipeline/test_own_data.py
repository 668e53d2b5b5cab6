"""The tutorial of datasets/README.md, with its own commands and params file."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml
from PIL import Image

from benchmarks.common.errors import ConfigError, DataError
from datasets.reading.adding import _source
from datasets.reading.description import Description, read_description
from datasets.reading.nnunet import NnUNet, NnUNetVolumeParams
from tests.common.forks import call
from tests.pipeline.test_cli import ROOT, checkout, refused
from tests.pipeline.test_storage import LIMIT, call_on_full_disk

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


def write_params(checkout: Path, name: str, told: str) -> dict[str, Any]:
    """A params file with the block that `datasets add` told; returns the block."""
    value = yaml.safe_load((ROOT / "params.yaml").read_text())
    shown: dict[str, Any] = yaml.safe_load(told[told.index("data:") :])
    grid = {**value["grid"], "datasets": [name]}
    (checkout / f"{name}.yaml").write_text(yaml.safe_dump({**value, **shown, "grid": grid}))
    return shown


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
        done = call(*words[3:], cwd=checkout, OMP_NUM_THREADS="1")
        assert done.returncode == 0, done.stderr + done.stdout
        if "add" in words:
            assert "7 cases of 7 patients, 6 with masks; 2D: slices" in done.stdout
            shown = yaml.safe_load(done.stdout[done.stdout.index("data:") :])
            assert shown["data"]["heart"]["prepare"]["size"] == [32, 32]  # of 40 x 36 pixels
            assert shown["data"]["heart"]["split"]["test"] >= 1
    assert (checkout / "reports/datasets/local/heart.png").is_file()
    assert "| Supervised" in (checkout / "reports/heart/README.md").read_text()
    assert "choose another --name" in refused(
        checkout, "datasets", "add", "--nnunet", str(folder), "--name", "heart"
    )


@pytest.mark.parametrize("title", ["", 'It\'s "mine"', 'The "heart"'])
def test_the_written_file_passes_lint(title: str) -> None:
    """With few and with many classes, whatever the title; `make lint` looks at it."""
    names = ["ball"] if title else [f"structure {n:02d}" for n in range(12)]
    labels = {name: n for n, name in enumerate(["background", *names])}
    found = Description(channel_names={"0": "MRI"}, labels=labels, file_ending=".nii.gz")
    text = _source(found, "mine", 3, r"(pat\d+)", title)
    for task in (("check",), ("format", "--check")):
        ruff = [sys.executable, "-m", "ruff", *task, "--stdin-filename", "datasets/mine.py", "-"]
        done = subprocess.run(
            ruff, cwd=ROOT, input=text, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_patients_of_several_cases(checkout: Path, tmp_path: Path) -> None:
    folder = write_nnunet(tmp_path / "raw", cases=4, visits=2)
    args = ("datasets", "add", "--nnunet", str(folder), "--name", "visits")
    assert "needs a group" in refused(checkout, *args, "--patient", "pat")
    message = refused(checkout, *args, "--patient", "(case)")
    assert "does not match" in message and "--name visits --patient REGEX --force` gives" in message
    assert not (checkout / "datasets/visits.py").exists()
    done = call(*args, "--patient", r"(pat\d+)", cwd=checkout)
    assert "9 cases of 5 patients, 8 with masks; 3D: volumes" in done.stdout, done.stderr
    # Volumes of 4 x 40 x 36 voxels, and a network that halves four times.
    assert "train: {patch: [16, 32, 32]}" in done.stdout

    assert "--force adds it anew" in refused(checkout, *args)
    again = call(*args, "--ndim", "2", "--force", cwd=checkout)
    assert "9 cases of 9 patients" in again.stdout, again.stderr
    assert "ndim = 2" in (checkout / "datasets/visits.py").read_text()
    describe(folder, file_ending=".mha")
    assert "file_ending" in refused(checkout, *args, "--force")
    assert "ndim = 2" in (checkout / "datasets/visits.py").read_text()

    assert "'acdc' was not made by" in refused(checkout, "datasets", "remove", "acdc")
    removed = call("datasets", "remove", "visits", cwd=checkout)
    assert removed.returncode == 0, removed.stderr
    assert not (checkout / "datasets/visits.py").exists()
    assert not (checkout / "data/raw/visits").is_symlink() and folder.is_dir()


def test_arrays_of_other_patients_are_not_used(checkout: Path, tmp_path: Path) -> None:
    """Added anew with the right patients: the older split had visits of one on both sides."""
    folder = write_nnunet(tmp_path / "raw", cases=4, visits=2)
    args = ("datasets", "add", "--nnunet", str(folder), "--name", "visits", "--ndim", "2")
    done = call(*args, cwd=checkout)
    write_params(checkout, "visits", done.stdout)
    own = ("visits", "--params", "visits.yaml")
    steps = [("prepare", *own), ("split", *own)]
    assert all(call(*step, cwd=checkout).returncode == 0 for step in steps)

    assert call(*args, "--patient", r"(pat\d+)", "--force", cwd=checkout).returncode == 0
    for command in (("split", *own), ("run", "visits", "supervised", *own[1:])):
        message = refused(checkout, *command)
        assert "cases 9 of another patient, group or part (pat00_v0, " in message
        assert "`python -m benchmarks prepare visits --params visits.yaml`" in message
    assert all(call(*step, cwd=checkout).returncode == 0 for step in steps)
    describe(folder, labels={"background": 0, "ball": 1, "heart": 2})
    assert call(*args, "--patient", r"(pat\d+)", "--force", cwd=checkout).returncode == 0
    assert "classes background, ball, heart, not background, ball." in refused(
        checkout, "split", *own
    )
    assert (
        "warning: visits: class 2 (heart) occurs in no mask" in call(*steps[0], cwd=checkout).stderr
    )


def test_a_full_disk_leaves_what_was_added_before(checkout: Path, tmp_path: Path) -> None:
    args = ("datasets", "add", "--nnunet", str(write_nnunet(tmp_path / "raw")), "--name", "mine")
    adapter, link = checkout / "datasets/mine.py", checkout / "data/raw/mine"
    large = ("--title", "x" * LIMIT)
    assert "free the disk" in call_on_full_disk(checkout, *args, *large)
    assert not adapter.exists() and not link.is_symlink()
    assert call(*args, cwd=checkout).returncode == 0
    before, there = adapter.read_text(), sorted((checkout / "datasets").glob("*"))
    assert "free the disk" in call_on_full_disk(checkout, *args, "--force", *large)
    assert adapter.read_text() == before and link.is_symlink()
    assert sorted((checkout / "datasets").glob("*")) == there
    assert call(*args, "--force", cwd=checkout).returncode == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": {"background": 0, "ball": 2}}, "without a gap"),
        ({"labels": {"background": 0, "whole": [1, 2]}}, "labels.whole"),
        ({"file_ending": ".mha"}, "file_ending"),
        ({"channel_names": {"0": "T1", "1": "T2"}}, "needs 2 channels; look at _0001"),
        ({"labels": {"background": 0, "ball": 1, "ignore": 2}}, "has the label 'ignore' (2)"),
        ({"labels": {"ball": 0, "background": 1}}, "gives the value 0 to 'ball'"),
        ({"labels": {"background": 0, "ball": True}}, "labels.ball"),
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


def test_the_block_of_images_without_spacing_can_be_used(checkout: Path, tmp_path: Path) -> None:
    folder, rng = tmp_path / "raw", np.random.default_rng(0)
    for name in (*(f"imagesTr/p{n}_0000" for n in range(5)), *(f"labelsTr/p{n}" for n in range(5))):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        grey = rng.integers(0, 2 if "labels" in name else 255, (40, 36))
        Image.fromarray(grey.astype(np.uint8)).save(folder / f"{name}.png")
    describe(folder, file_ending=".png", numTraining=5)
    done = call("datasets", "add", "--nnunet", str(folder), "--name", "mine", cwd=checkout)
    shown = write_params(checkout, "mine", done.stdout)
    assert shown["data"]["mine"]["unit"] == "pixels"
    for command in ("prepare", "split"):
        made = call(command, "mine", "--params", "mine.yaml", cwd=checkout)
        assert made.returncode == 0, made.stderr


def test_descriptions_of_odd_shape(tmp_path: Path) -> None:
    folder = write_nnunet(tmp_path / "raw")
    for changes, words in (
        ({"channel_names": {"a": "MRI"}}, "channel_names 'a'; their keys must be '0', '1'"),
        ({"channel_names": {"0": "MRI", "2": "CT"}}, "without a gap"),
        ({"channel_names": {"0": "MRI", "1": "MRI"}}, "two channels one name"),
        ({"channel_names": {"0": ""}}, "channel_names.0"),
        ({"channel_names": {"0": "a\nb"}}, "channel_names.0"),
        ({"channel_names": ["MRI"]}, "channel_names"),
        ({"labels": {"background": 0, "ball": 10**9}}, "labels.ball"),
    ):
        describe(folder, **changes)
        with pytest.raises(DataError, match=re.escape(words)):
            read_description(folder)
    whole = (folder / "dataset.json").read_text()
    for text, words in (
        ("[]", "cannot be used"),
        ("3", "cannot be used"),
        ("[" * 100_000, "nested too deeply"),
        (whole.replace('"0": "a', '"0": "MRI", "0": "a'), "cannot be used"),
        ('{"labels": {"background": 0, "a": 1, "a": 2}}', "'a' stands twice"),
    ):
        (folder / "dataset.json").write_text(text)
        with pytest.raises(DataError, match=words):
            read_description(folder)
    (folder / "dataset.json").unlink()
    os.mkfifo(folder / "dataset.json")
    with pytest.raises(DataError, match="no regular file"):
        read_description(folder)


def test_descriptions_of_version_1_are_converted_as_nnunet_2_does(tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    labels = {"0": "background", "2": "edge", "1": "ball"}
    old = {"modality": {"0": "MRI"}, "labels": labels, "numTraining": 6, "training": []}
    (folder / "dataset.json").write_text(json.dumps(old))
    found = read_description(folder)
    assert (found.channels, found.classes) == (("MRI",), ("background", "ball", "edge"))
    assert found.file_ending == ".nii.gz"
    for wrong, words in (
        ({"0": "background", "1": "a", "2": "a"}, "two values have one name"),
        ({"0": "a", "1": "background"}, "gives the value 0 to 'a'"),
        ({"0": "background", "x": "a"}, "labels.a"),
        (["background"], "cannot be used"),
    ):
        (folder / "dataset.json").write_text(json.dumps(old | {"labels": wrong}))
        with pytest.raises(DataError, match=words):
            read_description(folder)


def test_files_of_the_decathlon_are_refused_with_the_remedy(checkout: Path, tmp_path: Path) -> None:
    folder = write_nnunet(tmp_path / "raw")
    for path in folder.glob("images*/*_0000.nii.gz"):
        path.rename(path.with_name(path.name.replace("_0000", "")))
    args = ("datasets", "add", "--nnunet", str(folder), "--name", "mine")
    assert "nnUNetv2_convert_MSD_dataset" in refused(checkout, *args)
    assert not (checkout / "datasets/mine.py").exists()


@pytest.mark.parametrize(
    "name", ["base", "acdc", "splits", "preparing", "class", "__init__", "a/b"]
)
def test_no_file_of_the_checkout_is_touched(checkout: Path, tmp_path: Path, name: str) -> None:
    folder, kept = write_nnunet(tmp_path / "raw"), checkout / "datasets"
    before = {p: p.read_bytes() for p in kept.rglob("*.py")}
    message = refused(checkout, "datasets", "add", "--nnunet", str(folder), "--name", name)
    assert "choose another --name" in message or "is not allowed" in message
    assert {p: p.read_bytes() for p in kept.rglob("*.py")} == before


def test_a_patient_pattern_that_takes_ages_is_ended(tmp_path: Path) -> None:
    class Slow(NnUNet[NnUNetVolumeParams]):
        ndim, channels, classes, ending = 3, ("x",), ("background", "a"), ".nii.gz"
        id, title, Params, patient = "slow", "slow", NnUNetVolumeParams, r"(a+)+$"

    folder = tmp_path / "imagesTr"
    folder.mkdir()
    (folder / f"{'a' * 60}!_0000.nii.gz").touch()
    started = time.monotonic()
    with pytest.raises(ConfigError, match=r"pattern '\(a\+\)\+\$' .* takes longer than"):
        Slow().scan(tmp_path, NnUNetVolumeParams())
    assert time.monotonic() - started < 10


def test_missing_mask_and_description(checkout: Path, tmp_path: Path) -> None:
    folder = write_nnunet(tmp_path / "raw")
    (folder / "labelsTr/pat03_v0.nii.gz").unlink()
    args = ("datasets", "add", "--nnunet", str(folder), "--name", "mine")
    message = refused(checkout, *args)
    assert "belong into imagesUn" in message and "prepare mine" not in message
    assert "mend it and give the same command again" in message
    (folder / "dataset.json").unlink()
    assert "expected dataset.json" in refused(checkout, *args)
