"""Pseudo-labels as a raw data set of nnU-Net, which this suite's own reader opens again."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmarks.common.errors import ConfigError
from benchmarks.scoring.bridge import Bridge, write_bridge
from benchmarks.scoring.trained import open_trained
from datasets import load_dataset
from datasets.reading.description import read_description
from datasets.reading.nnunet import NnUNet, NnUNetSliceParams
from tests.scoring.trained_small import train_small


def test_unlabelled_patients_get_what_the_run_predicts_and_nobody_tested_is_in_it(
    tmp_path: Path,
) -> None:
    config, (run,), place = train_small(tmp_path, "phantom_acdc", "supervised")
    trained = open_trained(run, place)
    data, fold, count = trained.job.data, trained.job.fold, trained.job.labels
    out = tmp_path / "nnUNet_raw/Dataset501_Pseudo"
    made = write_bridge(config, trained, Bridge(out, tmp_path))

    described = json.loads((out / "dataset.json").read_text())
    found = read_description(out)
    assert (found.channels, found.classes) == (data.channels, data.classes)
    labeled = {c.case for c in data.of_patients(fold.train[:count]) if c.labeled}
    pseudo = {c.case for c in data.of_patients(fold.train[count:])}
    assert set(described["pseudo_labels"]["cases"]) == pseudo
    assert (made.labeled, made.pseudo) == (len(labeled), len(pseudo)) and pseudo
    images = {path.name for path in (out / "imagesTr").iterdir()}
    masks = {path.name for path in (out / "labelsTr").iterdir()}
    assert masks == {f"{case}.nii.gz" for case in labeled | pseudo}
    assert images == {f"{case}_0000.nii.gz" for case in labeled | pseudo}
    assert described["numTraining"] == len(masks)

    raw = {
        c.case: c
        for c in load_dataset("phantom_acdc").scan(
            tmp_path / "data/raw/phantom_acdc", load_dataset("phantom_acdc").Params()
        )
    }
    for case in (sorted(labeled)[0], sorted(pseudo)[0]):
        mask, image = (
            nib.nifti1.load(out / part)
            for part in (f"labelsTr/{case}.nii.gz", f"imagesTr/{case}_0000.nii.gz")
        )
        source = nib.nifti1.load(raw[case].images[0])
        np.testing.assert_array_equal(image.get_fdata(), source.get_fdata())
        np.testing.assert_array_equal(mask.affine, source.affine)
        values = np.asarray(mask.dataobj).transpose(2, 1, 0)
        wanted = np.asarray(data.reference(case))
        if case in pseudo:
            wanted = data.to_native(
                case, trained.probability(data.image(case)).argmax(0).numpy().astype(np.uint8)
            )
        np.testing.assert_array_equal(values, wanted)

    class Again(NnUNet[NnUNetSliceParams]):
        id, title, Params, ndim = "again", "Again", NnUNetSliceParams, 2
        channels, classes = found.channels, found.classes
        ending, patient = found.file_ending, ""

    cases = Again().scan(out, NnUNetSliceParams())
    assert {case.case for case in cases if case.label} == labeled | pseudo


def test_cases_with_references_and_names_that_nnunet_does_not_know_are_refused(
    tmp_path: Path,
) -> None:
    config, (run,), place = train_small(tmp_path, "phantom_acdc", "supervised")
    trained = open_trained(run, place)
    data, fold = trained.job.data, trained.job.fold
    out = tmp_path / "Dataset502_Pseudo"
    for part, patients in (
        ("test", fold.test),
        ("validation", fold.val),
        ("labelled training", fold.train[:1]),
    ):
        case = data.of_patients(patients)[0].case
        with pytest.raises(ConfigError, match=f"'{case}' is a {part} case"):
            write_bridge(config, trained, Bridge(out, tmp_path, only=(case,)))
    with pytest.raises(ConfigError, match="Dataset501_Pseudo"):
        write_bridge(config, trained, Bridge(tmp_path / "mine", tmp_path))
    assert not out.exists()
