"""Masks of a trained network for a folder of images, in the geometry of those images."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.console import Board
from benchmarks.common.errors import ConfigError, RunError
from benchmarks.common.files import atomic_open, claimed, digest, read_json, write_json
from benchmarks.common.schema import check
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.resolve import Run
from benchmarks.scoring.trained import open_trained
from benchmarks.training.one import Place
from datasets import load_dataset
from datasets.base import RawCase
from datasets.preparing.prepare import prepare
from datasets.preparing.store import FINGERPRINT, Prepared, open_prepared

_UNFINISHED = ".unfinished"  # in the folder of the masks until all are there


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

    The next call with the same arguments continues one that was stopped or killed.

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
        RunError: the run is missing or made from another configuration, or another process writes
            to `out`.
        DataError: images are missing or damaged.
        ConfigError: one of the masks exists.
    """
    trained = open_trained(run, place, checkpoint=checkpoint)
    key = run.key
    adapter = load_dataset(key.dataset)
    options = check(adapter.Params, config.data[key.dataset].prepare)
    cases = adapter.scan(raw, options)
    sources = {case.case: case.images[0] for case in cases}
    targets = {case: out / f"{case}{_suffix(path)}" for case, path in sources.items()}
    identity = digest([run.digest, checkpoint, *_files(cases)])
    with _unfinished(out, identity, list(targets.values())) as folder, Board() as board:
        if (folder / FINGERPRINT).is_file():
            data: Prepared = open_prepared(folder)
        else:
            read = partial(board.update, "read")
            data = prepare(adapter, raw, folder, options, jobs=jobs, progress=read)
        for number, case in enumerate(data.cases, 1):
            target = targets[case.case]
            if not target.exists():
                p = trained.probability(data.image(case.case))
                labels = data.to_native(case.case, p.argmax(0).numpy().astype(np.uint8))
                _write(labels, sources[case.case], target)
            board.update(f"predict {key.dataset} {key.method}", number, len(data.cases))
    return list(targets.values())


def _files(cases: list[RawCase]) -> Iterator[tuple[str, str, int, int]]:
    """Case, path, bytes and time of change (ns) of every image."""
    for case in cases:
        for path in (p for p in case.images if p.is_file()):
            facts = path.stat()
            yield case.case, str(path.resolve()), facts.st_size, facts.st_mtime_ns


@contextmanager
def _unfinished(out: Path, identity: str, targets: list[Path]) -> Iterator[Path]:
    """Hold the folder of the masks, and yield the folder of the prepared images in it.

    While that exists, masks with the targets' names are those of a stopped call like this one.

    Raises:
        ConfigError: one of the masks exists and is not.
        RunError: another process writes masks here.
    """
    work = out / _UNFINISHED
    note = work / "identity.json"
    try:
        with claimed(out / f"{_UNFINISHED}.lock"):
            begun = note.is_file() and read_json(note) == identity
            taken = [path for path in targets if path.exists()]
            if taken and not begun:
                raise ConfigError(f"'{taken[0]}' exists; name another --out or remove it")
            if not begun:
                shutil.rmtree(work, ignore_errors=True)
                write_json(note, identity)
            yield work / "data"
            shutil.rmtree(work)
    except BlockingIOError:
        raise RunError(f"another process writes masks to '{out}'; wait for it") from None


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
        stream.write(gzip.compress(image.to_bytes(), 6, mtime=0))  # equal masks, equal bytes
