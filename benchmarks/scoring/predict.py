"""Masks of a trained network for a folder of images, in the geometry of those images."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.console import Board
from benchmarks.common.errors import ConfigError
from benchmarks.common.files import atomic_open
from benchmarks.common.schema import check
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.resolve import Run
from benchmarks.scoring.trained import open_trained
from benchmarks.training.one import Place
from datasets import load_dataset
from datasets.preparing.prepare import prepare


def predict(
    config: BenchmarkConfig,
    run: Run,
    place: Place,
    raw: Path,
    out: Path,
    *,
    checkpoint: str = "last",
    jobs: int = 2,
) -> list[Path]:
    """Segment every case of a raw folder in the data set's layout; masks are not needed.

    Args:
        config: of the benchmark.
        run: the run whose tested network is used.
        place: where the run is and the device to predict on.
        raw: folder in the raw layout of the run's data set.
        out: folder of the masks; existing files in it are kept.
        checkpoint: `last` or `best`.
        jobs: cases that are read at once.

    Returns:
        `<out>/<case>.nii.gz` with the affine of the image, or `<case>.png` for PNG and JPEG images;
        values are class numbers of the run, 0 background.

    Raises:
        RunError: the run is missing or made from another configuration.
        DataError: images are missing or damaged.
        ConfigError: one of the masks exists.
    """
    trained = open_trained(run, place, checkpoint=checkpoint)
    key = run.key
    adapter = load_dataset(key.dataset)
    options = check(adapter.Params, config.data[key.dataset].prepare)
    sources = {case.case: case.images[0] for case in adapter.scan(raw, options)}
    targets = {case: out / f"{case}{_suffix(path)}" for case, path in sources.items()}
    taken = [path for path in targets.values() if path.exists()]
    if taken:
        raise ConfigError(f"'{taken[0]}' exists; name another --out or remove it")
    with TemporaryDirectory() as scratch, Board() as board:
        read = partial(board.update, "read")
        data = prepare(adapter, raw, Path(scratch) / "data", options, jobs=jobs, progress=read)
        for number, case in enumerate(data.cases, 1):
            p = trained.probability(data.image(case.case))
            labels = data.to_native(case.case, p.argmax(0).numpy().astype(np.uint8))
            _write(labels, sources[case.case], targets[case.case])
            board.update(f"predict {key.dataset} {key.method}", number, len(data.cases))
    return list(targets.values())


def _suffix(source: Path) -> str:
    return ".nii.gz" if source.name.endswith((".nii", ".nii.gz")) else ".png"


def _write(labels: NDArray[np.uint8], source: Path, target: Path) -> None:
    """Write a mask (D, H, W) as a file of the kind of its image."""
    if target.suffix == ".png":
        from PIL import Image

        with atomic_open(target) as stream:
            Image.fromarray(labels[0]).save(stream, "PNG")
        return
    import gzip

    import nibabel as nib

    affine = nib.nifti1.load(source).affine
    image = nib.nifti1.Nifti1Image(labels.transpose(2, 1, 0), affine)
    with atomic_open(target) as stream:
        stream.write(gzip.compress(image.to_bytes(), 6))
