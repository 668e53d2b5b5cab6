"""Masks of a trained network for a folder of images, in the geometry of those images."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from benchmarks.config import BenchmarkConfig, check
from benchmarks.console import Board
from benchmarks.device import pick_device
from benchmarks.errors import ConfigError
from benchmarks.files import atomic_open
from benchmarks.resolve import Resolved, require_finished
from benchmarks.run import Place, make_job
from datasets import load_dataset
from datasets.prepare import prepare


def predict(
    config: BenchmarkConfig,
    resolved: Resolved,
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
        resolved: the run whose tested network is used.
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
    from benchmarks.engine.inference import predict_case
    from benchmarks.engine.job import build_method
    from benchmarks.engine.state import load_weights

    require_finished(resolved, place.root)
    key = resolved.key
    adapter = load_dataset(key.dataset)
    options = check(adapter.Params, config.data[key.dataset].prepare)
    sources = {case.case: case.images[0] for case in adapter.scan(raw, options)}
    targets = {case: out / f"{case}{_suffix(path)}" for case, path in sources.items()}
    taken = [path for path in targets.values() if path.exists()]
    if taken:
        raise ConfigError(f"'{taken[0]}' exists; name another --out or remove it")
    folder = key.folder(place.root)
    job, device = make_job(config, resolved, place.root, folder), pick_device(place.device)
    method = build_method(job, device)
    load_weights(folder / f"{checkpoint}.safetensors", method)
    method.eval()
    with TemporaryDirectory() as scratch, Board() as board:
        read = partial(board.update, "read")
        data = prepare(adapter, raw, Path(scratch) / "data", options, jobs=jobs, progress=read)
        for number, case in enumerate(data.cases, 1):
            image = data.image(case.case)
            p = predict_case(method.predict, image, ndim=data.ndim, train=job.train, device=device)
            labels = data.to_native(case.case, p.argmax(0).cpu().numpy().astype(np.uint8))
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
