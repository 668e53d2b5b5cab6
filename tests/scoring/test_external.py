"""Masks of other programs are scored as our own, and refused where they prove nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from benchmarks.common.errors import BenchError, ConfigError, DataError
from benchmarks.common.workspace import prepared_folder, split_file
from benchmarks.config import BenchmarkConfig
from benchmarks.scoring import external
from benchmarks.scoring.external import Prediction, score_external
from datasets.preparing.divide import make_split, patients_of
from datasets.preparing.split import save_split
from datasets.preparing.store import Case, Prepared, open_prepared
from tests.engine.small import build, make_config

DATASET = "phantom_acdc"
Nifti = Any


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six phantoms with a split that tests one patient, and one of three parts of a `cv` split."""
    root = tmp_path_factory.mktemp("external")
    build(root, make_config())
    config = cross_validated()
    prepared_folder(root, "small", DATASET).parent.with_name("folds").symlink_to("small")
    patients = patients_of(data_of(root))
    split = make_split(patients, DATASET, config.data[DATASET].split, {})
    save_split(split, split_file(root, "folds", DATASET))
    return root


def cross_validated() -> BenchmarkConfig:
    value = make_config().model_dump(mode="json")
    value["name"] = "folds"
    value["grid"] |= {"folds": [0, 1, 2], "seeds": [5, 6, 7], "bound": True}
    value["data"][DATASET]["split"] = {"scheme": "cv", "folds": 3, "val": 1}
    return BenchmarkConfig.model_validate(value)


def data_of(root: Path) -> Prepared:
    return open_prepared(prepared_folder(root, "small", DATASET))


def write(path: Path, labels: NDArray[Any], affine: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.nifti1.Nifti1Image(labels.transpose(2, 1, 0), affine), path)


def affine_of(root: Path, case: Case) -> NDArray[Any]:
    (path,) = (root / "data/raw").rglob(f"{case.case}.nii.gz")
    return np.asarray(nib.nifti1.load(path).affine)


def eroded(data: Prepared, case: Case) -> NDArray[np.uint8]:
    """The reference without every other column: neither perfect nor empty."""
    labels = np.array(data.reference(case.case))
    labels[..., ::2] = 0
    return labels


def write_all(root: Path, folder: Path) -> Path:
    for case in data_of(root).cases:
        write(folder / f"{case.case}.nii.gz", eroded(data_of(root), case), affine_of(root, case))
    return folder


def under_test(root: Path) -> list[Case]:
    split = json.loads(split_file(root, "small", DATASET).read_text())
    return data_of(root).of_patients(split["folds"][0]["test"])


def rows(root: Path, masks: Path, **more: Any) -> pd.DataFrame:
    found = score_external(make_config(), DATASET, Prediction("net", masks, **more), root)
    return pd.read_csv(found.folder / "cases.csv", keep_default_na=False)


def test_scores_are_those_of_the_definition(root: Path, tmp_path: Path) -> None:
    table = rows(root, write_all(root, tmp_path / "masks"))
    data, cases = data_of(root), under_test(root)
    assert set(table["case"]) == {c.case for c in cases}
    assert set(table["method"] + "-" + table["variant"]) == {"net-external"}
    assert set(table["checkpoint"]) == {"last"} and set(table["labels"]) == {2}
    for row in table.to_dict("records"):
        reference = data.reference(row["case"]) == data.classes.index(row["class"])
        predicted = reference.copy()
        predicted[..., ::2] = False
        dice = 2 * (reference & predicted).sum() / (reference.sum() + predicted.sum())
        assert row["dice"] == pytest.approx(dice, abs=1e-6) and 0 < dice < 1


def test_axes_are_turned_and_grids_resampled(root: Path, tmp_path: Path) -> None:
    """Another order of axes is the same mask; one on the prepared grid goes the way of our own."""
    straight = rows(root, write_all(root, tmp_path / "masks"))
    data = data_of(root)
    for case in under_test(root):
        path = tmp_path / f"turned/{case.case}.nii.gz"
        write(path, eroded(data, case), affine_of(root, case))
        image = nib.nifti1.load(path)
        turn = nib.orientations.axcodes2ornt(("P", "R", "I"))
        own = nib.orientations.io_orientation(image.affine)
        turned = image.as_reoriented(nib.orientations.ornt_transform(own, turn))
        assert not np.allclose(turned.affine, image.affine)
        nib.save(turned, path)
        grid = np.array(data.label(case.case))
        write(tmp_path / f"grid/{case.case}.nii.gz", grid, np.eye(4))
        write(tmp_path / f"back/{case.case}.nii.gz", data.to_native(case.case, grid),
              affine_of(root, case))  # fmt: skip
    pd.testing.assert_frame_equal(rows(root, tmp_path / "turned"), straight)
    assert under_test(root)[0].grid_shape != under_test(root)[0].native_shape
    on_grid = rows(root, tmp_path / "grid")
    pd.testing.assert_frame_equal(on_grid, rows(root, tmp_path / "back"))
    assert (on_grid["dice"] > straight["dice"]).all()


def _other_shape(image: Nifti) -> Nifti:
    return nib.nifti1.Nifti1Image(image.get_fdata()[:-1], image.affine)


def _other_size(image: Nifti) -> Nifti:
    return nib.nifti1.Nifti1Image(image.get_fdata(), image.affine @ np.diag([2, 2, 2, 1]))


def _elsewhere(image: Nifti) -> Nifti:
    moved = image.affine.copy()
    moved[0, 3] += 5
    return nib.nifti1.Nifti1Image(image.get_fdata(), moved)


def _other_value(image: Nifti) -> Nifti:
    return nib.nifti1.Nifti1Image(image.get_fdata() + 7, image.affine)


@pytest.mark.parametrize(
    ("damage", "raw", "words"),
    [
        (_other_shape, True, "has shape"),
        (_other_size, False, "has voxels of"),
        (_elsewhere, True, "lies elsewhere"),
        (_other_value, True, "label values 7, .*; allowed: 0, .* every test case counts, so none"),
    ],
)
def test_masks_that_do_not_fit_their_image_are_refused(
    root: Path, tmp_path: Path, damage: Callable[[Nifti], Nifti], raw: bool, words: str
) -> None:
    masks = write_all(root, tmp_path / "masks")
    path = masks / f"{under_test(root)[0].case}.nii.gz"
    nib.save(damage(nib.nifti1.load(path)), path)
    with pytest.raises(DataError, match=words):
        rows(root, masks, raw=None if raw else tmp_path / "absent")


def test_every_test_patient_counts(root: Path, tmp_path: Path) -> None:
    masks = write_all(root, tmp_path / "masks")
    gone = under_test(root)[0].case
    (masks / f"{gone}.nii.gz").unlink()
    with pytest.raises(DataError, match=f"lacks 1 of 2 test cases: {gone}"):
        rows(root, masks)
    with pytest.raises(DataError, match="holds no mask"):
        rows(root, tmp_path)


def test_patients_of_the_training_are_refused_in_every_form_of_list(
    root: Path, tmp_path: Path
) -> None:
    masks = write_all(root, tmp_path / "masks")
    mine = under_test(root)
    others = [c for c in data_of(root).cases if c.patient != mine[0].patient]
    leaky, clean = [mine[0].case], [c.case for c in others]
    forms: dict[str, Callable[[list[str]], str]] = {
        "list.txt": lambda names: "\n".join(names),
        "public.json": lambda names: json.dumps({"train": names, "val": [], "test": []}),
        "splits_final.json": lambda names: json.dumps([{"train": clean}, {"train": names}]),
    }
    for name, form in forms.items():
        (tmp_path / name).write_text(form(leaky + clean))
        with pytest.raises(DataError, match=f"on 1 of the test patients: {mine[0].patient}"):
            rows(root, masks, split=tmp_path / name)
        (tmp_path / name).write_text(form(clean))
        rows(root, masks, split=tmp_path / name)
    rows(root, masks, split=split_file(root, "small", DATASET))
    for name, text in {"a.json": "{}", "b.json": "[3", "c.txt": "patient999"}.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=r"not understood|names no patient"):
            rows(root, masks, split=tmp_path / name)


def test_folds_of_nnunet_are_checked_each_by_its_own_list(root: Path, tmp_path: Path) -> None:
    """Every case is predicted by the fold that did not train on it, and tested in one of ours."""
    config, data = cross_validated(), data_of(root)
    patients = sorted({c.patient for c in data.cases})
    lists = []
    for fold in range(2):
        held_out = patients[fold::2]
        lists.append({"train": [c.case for c in data.cases if c.patient not in held_out]})
        for case in data.of_patients(held_out):
            target = tmp_path / f"trainer/fold_{fold}/validation/{case.case}.nii.gz"
            write(target, eroded(data, case), affine_of(root, case))
    path = tmp_path / "splits_final.json"
    path.write_text(json.dumps(lists))
    given = Prediction("nnunet", tmp_path / "trainer", split=path)
    found = score_external(config, DATASET, given, root)
    table = pd.read_csv(found.folder / "cases.csv")
    assert found.patients == 6 and set(table["patient"]) == set(patients)
    pairs = table[["fold", "seed"]].drop_duplicates().itertuples(index=False, name=None)
    assert sorted(pairs) == [(0, 5), (1, 6), (2, 7)]
    path.write_text(json.dumps(lists[::-1]))
    with pytest.raises(DataError, match="was trained on 2 of the test patients"):
        score_external(config, DATASET, given, root)


def test_two_that_score_at_once_keep_each_other_s_runs(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one comes when the first one has read the rows and not written its own yet."""
    value = make_config().model_dump(mode="json")
    value["grid"] |= {"seeds": [0, 1]}
    config = BenchmarkConfig.model_validate(value)
    masks, second = write_all(root, tmp_path / "masks"), list[Thread]()

    def score(seed: int) -> Path:
        given = Prediction("twice", masks, labels="2", seed=seed)
        return score_external(config, DATASET, given, root).folder

    others = external._others

    def reading(path: Path, new: pd.DataFrame) -> pd.DataFrame:
        found = others(path, new)
        if not second:
            second.append(Thread(target=score, args=(1,)))
            second[0].start()
            second[0].join(1)
        return found

    monkeypatch.setattr(external, "_others", reading)
    folder = score(0)
    second[0].join()
    assert set(pd.read_csv(folder / "cases.csv")["seed"]) == {0, 1}


def test_runs_are_added_and_replaced(root: Path, tmp_path: Path) -> None:
    value = make_config().model_dump(mode="json")
    value["grid"] |= {"seeds": [0, 1]}
    value["data"][DATASET]["labels"] = [2, 3]
    config = BenchmarkConfig.model_validate(value)
    masks = write_all(root, tmp_path / "masks")

    def score(**more: Any) -> pd.DataFrame:
        found = score_external(config, DATASET, Prediction("grown", masks, **more), root)
        return pd.read_csv(found.folder / "cases.csv")

    one = score(labels="2")
    assert len(score(labels="2", seed=1)) == 2 * len(one) == len(score(labels="2"))
    assert len(score(labels="3")) == 3 * len(one)
    wrong: list[tuple[dict[str, Any], type[BenchError], str]] = [
        ({}, ConfigError, "2, 3, or all"),
        ({"labels": "4"}, ConfigError, "2, 3, or all"),
        ({"labels": "2", "seed": 9}, ConfigError, "'small' has no seed 9: fold 0 seed "),
        ({"labels": "2", "fold": 9}, ConfigError, "'small' has no fold 9: fold 0 seed "),
        ({"labels": "2", "fold": 0, "seed": 9}, ConfigError, "has no fold 0 with seed 9: fold 0"),
        ({"labels": "all"}, ConfigError, "give another --name"),
    ]
    for given, error, words in wrong:
        with pytest.raises(error, match=words):
            score(**given)
