"""Masks for images from anywhere; what a stopped command wrote of them is its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np
import pytest
import torch
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from benchmarks.common.errors import ConfigError, DataError, RunError
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.resolve import Run, prepare_params
from benchmarks.report.predicted import view_of
from benchmarks.scoring.native import Segmented
from benchmarks.scoring.plain import Grid, find_images, grid_of, lay
from benchmarks.scoring.predict import Request, _unfinished, predict
from benchmarks.scoring.trained import Trained, open_trained
from benchmarks.training.one import Place
from datasets import load_dataset
from datasets.preparing.resample import resize_linear
from tests.engine.small import make_config
from tests.scoring.trained_small import train_small


def stopped(out: Path, identity: str, mask: Path) -> None:
    """Write one mask, and be stopped."""
    with pytest.raises(KeyboardInterrupt), _unfinished(out, identity, [mask]) as folder:
        folder.mkdir()
        mask.touch()
        raise KeyboardInterrupt


def test_masks_of_a_stopped_call_are_continued_and_others_refused(tmp_path: Path) -> None:
    out, mask = tmp_path / "masks", tmp_path / "masks/a.png"
    stopped(out, "one", mask)
    (out / ".a.png.123.tmp").touch()  # of a call that was killed
    with pytest.raises(ConfigError, match=r"a\.png' exists"), _unfinished(out, "two", [mask]):
        pass
    with _unfinished(out, "one", [mask]) as folder:
        assert folder.is_dir()
        with pytest.raises(RunError, match="another process"), _unfinished(out, "one", [mask]):
            pass
    assert [p.name for p in out.iterdir()] == ["a.png"]
    with pytest.raises(ConfigError, match="name another --out"), _unfinished(out, "one", [mask]):
        pass


def test_a_call_that_is_killed_while_it_clears_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(folder: Path, **_: object) -> None:
        if folder.is_dir():
            sorted(folder.iterdir())[-1].unlink()
            raise KeyboardInterrupt

    mask = tmp_path / "a.png"
    with pytest.raises(KeyboardInterrupt), _unfinished(tmp_path, "one", [mask]) as folder:
        folder.mkdir()
        for name in ("case", "record.json"):
            (folder / name).touch()
        mask.touch()
        monkeypatch.setattr("benchmarks.scoring.predict.shutil.rmtree", killed)
    monkeypatch.undo()
    with _unfinished(tmp_path, "one", [mask]) as folder:
        assert not folder.exists(), "half of it would pass for no prepared data"
    assert mask.exists() and not folder.parent.exists()


def test_images_that_another_call_had_prepared_are_not_used(tmp_path: Path) -> None:
    stopped(tmp_path, "one", tmp_path / "a.png")
    (tmp_path / "a.png").unlink()
    with _unfinished(tmp_path, "two", [tmp_path / "a.png"]) as folder:
        assert not folder.exists()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[BenchmarkConfig, list[Run], Place]:
    """Two runs of one method that differ in their seed."""
    root = tmp_path_factory.mktemp("small")
    return train_small(root, "phantom_acdc", "supervised", seeds=(0, 1))


def read(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    image = nib.nifti1.load(path)
    return np.asanyarray(image.dataobj), image.affine


def test_the_same_mask_wherever_axes_point(
    small: tuple[BenchmarkConfig, list[Run], Place], tmp_path: Path
) -> None:
    config, runs, place = small
    raw = place.root / "data/raw/phantom_acdc"
    (source,) = raw.rglob("patient002_frame01.nii.gz")
    array, affine = read(source)
    turn = Rotation.from_euler("xyz", (20, -15, 10), degrees=True).as_matrix()
    oblique = affine.copy()
    oblique[:3, :3] = turn @ affine[:3, :3]
    for name, own in (("upright", affine), ("oblique", oblique)):
        whole = nib.nifti1.Nifti1Image(array, own)
        (tmp_path / name).mkdir()
        nib.save(whole, tmp_path / name / "RAS.nii.gz")
        for codes in ("LPS", "SRA", "PIR"):
            ornt = ornt_transform(io_orientation(own), axcodes2ornt(tuple(codes)))
            nib.save(whole.as_reoriented(ornt), tmp_path / name / f"{codes}.nii.gz")
        out = tmp_path / f"{name}_masks"
        masks = predict(config, runs[:1], place, Request(tmp_path / name, out, plain=True))
        assert sorted(m.name for m in masks) == sorted(p.name for p in (tmp_path / name).iterdir())
        first, _ = read(out / "RAS.nii.gz")
        assert first.any() and first.shape == array.shape
        for path in masks:
            mask, where = read(path)
            image = nib.nifti1.load(tmp_path / name / path.name)
            np.testing.assert_array_equal(where, image.affine)
            back = ornt_transform(io_orientation(where), axcodes2ornt(("R", "A", "S")))
            np.testing.assert_array_equal(apply_orientation(mask, back), first)
    # As the suite predicts the case in its own layout, from which it was trained.
    predict(config, runs[:1], place, Request(raw, tmp_path / "layout"))
    for name in ("upright", "oblique"):
        mask, _ = read(tmp_path / f"{name}_masks/RAS.nii.gz")
        np.testing.assert_array_equal(mask, read(tmp_path / "layout" / source.name)[0])
    with pytest.raises(ConfigError, match="three axis codes"):
        wrong = Request(source, tmp_path / "x", plain=True, orientation="RRS")
        predict(config, runs[:1], place, wrong)


def test_pictures_show_the_patient_alike_wherever_axes_point(
    small: tuple[BenchmarkConfig, list[Run], Place],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, runs, place = small
    (source,) = (place.root / "data/raw/phantom_acdc").rglob("patient002_frame01.nii.gz")
    array, affine = read(source)
    for codes in ("RAS", "LPS", "SRA", "PIR"):
        ornt = ornt_transform(io_orientation(affine), axcodes2ornt(tuple(codes)))
        nib.save(
            nib.nifti1.Nifti1Image(array, affine).as_reoriented(ornt), tmp_path / f"{codes}.nii.gz"
        )

    def left_front(_: Trained, image: NDArray[np.float32]) -> torch.Tensor:
        """As the network sees it: rows to the front, columns to the right of the patient."""
        p = torch.zeros(4, *image.shape[1:])
        p[0] = 1
        p[:, 1, 24:, :8] = torch.tensor([0.0, 0.25, 0.75, 0.0])[:, None, None]
        return p

    seen: dict[str, Segmented] = {}

    def paint(one: Segmented, target: Path) -> None:
        assert target == tmp_path / f"out/pictures/{one.case}.png"
        seen[one.case] = one

    monkeypatch.setattr(Trained, "probability", left_front)
    request = Request(tmp_path, tmp_path / "out", plain=True, entropy=True, paint=paint)
    predict(config, runs[:1], place, request)
    assert len(seen) == 4
    for case, one in seen.items():
        view = view_of(one.axes)
        assert (view.right, view.below) == ("L", "P")
        labels, image = view.of(one.labels[1]), view.of(one.image[1])
        rows, columns = (n // 4 for n in labels.shape)
        assert (labels[:rows, -columns:] == 2).all()
        assert not labels[rows + 1 :].any() and not labels[:, : -columns - 1].any()
        native = array[::-1, ::-1, 1].T  # of an image that is stored as RAS
        np.testing.assert_allclose(np.corrcoef(image.ravel(), native.ravel())[0, 1], 1, atol=1e-6)
        assert one.entropy is not None
        share = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75)) / np.log(4)
        np.testing.assert_allclose(view.of(one.entropy[1])[0, -1], share, atol=1e-5)
        # The slice that the caption names holds in the file what the picture shows.
        axis, index = one.place(1)
        mask, _ = read(tmp_path / f"out/{case}.nii.gz")
        assert (mask.take(index, axis) == 2).sum() == (labels == 2).sum() == (mask > 0).sum()


def test_volumes_without_voxel_size_keep_all_slices(
    small: tuple[BenchmarkConfig, list[Run], Place], tmp_path: Path
) -> None:
    """As SSL4MIS distributes them, HDF5 with image and label."""
    config, runs, place = small
    (source,) = (place.root / "data/raw").rglob("patient003_frame01.nii.gz")
    with h5py.File(tmp_path / "patient003_frame01.h5", "w") as stored:
        stored["image"] = read(source)[0].T
        stored["label"] = np.zeros(read(source)[0].T.shape, np.uint8)
    seen: list[Segmented] = []
    request = Request(tmp_path, tmp_path / "out", paint=lambda one, _: seen.append(one))
    (mask,) = predict(config, runs[:1], place, request)
    predict(config, runs[:1], place, Request(source, tmp_path / "plain", plain=True))
    assert mask.name == source.name
    np.testing.assert_array_equal(read(mask)[0], read(tmp_path / "plain" / source.name)[0])
    np.testing.assert_array_equal(read(mask)[0].T, seen[0].labels)
    assert seen[0].axes == "" and read(mask)[0].any()


def test_networks_together_and_what_they_are_unsure_of(
    small: tuple[BenchmarkConfig, list[Run], Place], tmp_path: Path
) -> None:
    config, runs, place = small
    (source,) = (place.root / "data/raw").rglob("patient003_frame01.nii.gz")
    request = Request(source, tmp_path, plain=True, entropy=True)
    (mask,) = predict(config, runs, place, request)
    opened = [open_trained(run, place) for run in runs]
    image = opened[0].job.data.image("patient003_frame01")
    p = np.array([one.probability(image).numpy() for one in opened], dtype=np.float64).mean(0)
    wanted = -(p * np.log(p)).sum(0) / np.log(len(p))
    native = read(source)[0].T.shape
    labels = opened[0].job.data.to_native("patient003_frame01", p.argmax(0).astype(np.uint8))
    np.testing.assert_array_equal(read(mask)[0].T, labels)
    found = read(tmp_path / "entropy" / mask.name)[0].T
    np.testing.assert_allclose(found, resize_linear(wanted.astype(np.float32), native), atol=1e-5)
    assert not np.array_equal(opened[0].probability(image).numpy().argmax(0), p.argmax(0))


def test_voxels_are_brought_to_the_size_that_the_network_has_seen(
    small: tuple[BenchmarkConfig, list[Run], Place], tmp_path: Path
) -> None:
    config, runs, place = small
    trained = open_trained(runs[0], place)
    data = trained.job.data
    seen = data.of_patients(trained.job.fold.train)
    own = [np.multiply(c.spacing, c.native_shape) / c.grid_shape for c in seen]
    grid = grid_of(trained, "")
    assert grid.orientation == "RAS" and grid.voxels is not None
    np.testing.assert_allclose(grid.voxels, (np.min(own, 0), np.max(own, 0)))
    (source,) = (place.root / "data/raw").rglob(f"{seen[0].case}.nii.gz")
    array, affine = read(source)
    rows, columns, _ = array.shape
    around = ((rows // 4, rows // 4), (columns // 4, columns // 4), (0, 0))
    wide = np.pad(array, around, constant_values=array.min())  # a larger field of view
    fine = wide.repeat(2, 0).repeat(2, 1)  # at twice the resolution
    nib.save(nib.nifti1.Nifti1Image(wide, affine), tmp_path / "a.nii")
    nib.save(nib.nifti1.Nifti1Image(fine, affine @ np.diag([0.5, 0.5, 1, 1])), tmp_path / "b.nii")
    adapter, params = load_dataset("phantom_acdc"), prepare_params(config, "phantom_acdc")
    grid = Grid("RAS", (own[0], own[0]))
    plain, finer = (
        lay(adapter, params, grid, (tmp_path / name,), tmp_path) for name in ("a.nii", "b.nii")
    )
    known = data.image(seen[0].case)
    for found, stored in ((plain, wide), (finer, fine)):
        assert found.image.shape[2:] == (known.shape[2] * 3 // 2, known.shape[3] * 3 // 2)
        assert found.labels(np.ones(found.image.shape[1:], np.uint8)).shape == stored.T.shape
    quarter = known.shape[2] // 4
    middle = plain.image[..., quarter:-quarter, quarter:-quarter]
    inner = (..., slice(1, -1), slice(1, -1))  # where no filter reaches the padding
    np.testing.assert_allclose(middle[inner], known[inner], atol=1e-5)


def test_masks_beside_their_images_are_no_images(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "a_gt.nii.gz", "b_seg.nii", "c_0000.nii", "c_mask.nii"):
        (tmp_path / name).touch()
    assert set(find_images(tmp_path, ("mri",))) == {"a", "b_seg", "c"}
    named = tmp_path / "a_gt.nii.gz"
    assert find_images(named, ("mri",)) == {"a_gt": (named,)}


@pytest.mark.parametrize("plain", [True, False])
def test_masks_are_not_written_among_the_images(tmp_path: Path, plain: bool) -> None:
    """Before a run is opened; also by way of a link, and beside a single image."""
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    image = tmp_path / "a_0000.nii.gz"
    image.touch()
    place = Place(tmp_path, "cpu")
    for source, out in ((tmp_path, tmp_path / "link"), (image, tmp_path)):
        with pytest.raises(ConfigError, match=r"is the folder of the images.* '.*/masks'"):
            predict(make_config(), [], place, Request(source, out, plain=plain))


def test_images_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--images takes a folder of NIfTI"):
        find_images(tmp_path, ("mri",))
    for name in ("a_0000.nii.gz", "a_0001.nii.gz", "b_0000.nii"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"case 'b' .* _0000 \(t1\), _0001 \(t2\)"):
        find_images(tmp_path, ("t1", "t2"))
    assert find_images(tmp_path / "b_0000.nii", ("mri",)) == {"b": (tmp_path / "b_0000.nii",)}
    (tmp_path / "b.nii").touch()
    with pytest.raises(DataError, match="are one image; remove one"):
        find_images(tmp_path, ("mri",))
