"""Masks of trained networks for images, in the geometry of those images."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.console import Board
from benchmarks.common.errors import ConfigError, RunError
from benchmarks.common.files import atomic_open, claimed, digest, read_json, write_json
from benchmarks.plan.resolve import Run, prepare_params
from benchmarks.scoring.native import Segmented, segmented
from benchmarks.scoring.plain import Laid, find_images, grid_of, laid, lay
from benchmarks.scoring.trained import Trained, open_trained
from benchmarks.training.one import Place
from datasets import load_dataset
from datasets.base import RawCase
from datasets.preparing.prepare import prepare
from datasets.preparing.store import FINGERPRINT, open_prepared
from datasets.reading.images import is_nifti

if TYPE_CHECKING:
    from benchmarks.config import BenchmarkConfig
    from datasets.base import PrepareParams

_UNFINISHED = ".unfinished"  # in the folder of the masks until all are there
ENTROPY, PICTURES = "entropy", "pictures"  # folders in that of the masks
_PIXELS = (".png", ".jpg", ".jpeg")  # images whose masks are images as well

Paint = Callable[[Segmented, Path], object]


@dataclass(frozen=True)
class Request:
    """What is segmented, and what is written.

    Attributes:
        source: folder in the raw layout of the data set, whose cases are prepared as those of
            training; or, if `plain`, any NIfTI file or a folder of such.
        out: folder of the masks; existing files in it are kept.
        plain: as above.
        checkpoint: `last` or `best`.
        entropy: write maps of the normalised entropy too.
        paint: writes a picture of a segmented case to a PNG file; None: none are wanted.
        orientation: axis codes of the training images for `plain`; "" asks their files.
        trust_header: headers that contradict each other do not matter.
        jobs: cases of a raw layout that are read at once.
    """

    source: Path
    out: Path
    plain: bool = False
    checkpoint: str = "last"
    entropy: bool = False
    paint: Paint | None = None
    orientation: str = ""
    trust_header: bool = False
    jobs: int = 2


@dataclass(frozen=True)
class _Image:
    """A case to segment: its files, the first of which tells the geometry, and what is written."""

    raw: RawCase
    mask: Path
    entropy: Path | None
    picture: Path | None

    @property
    def targets(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.entropy, self.picture, self.mask) if path)


def predict(config: BenchmarkConfig, runs: list[Run], place: Place, request: Request) -> list[Path]:
    """Segment images; masks of them are not needed.

    The next call with the same arguments continues one that was stopped or killed.

    Args:
        config: of the benchmark.
        runs: of one method on one data set; the probabilities of their tested networks are
            averaged.
        place: where the runs are and the device to predict on.
        request: what to do.

    Returns:
        `<out>/<case>.nii.gz` with the affine of the image, or `<case>.png` for PNG and JPEG images;
        values are class numbers of the runs, 0 background. Entropy maps in [0, 1] stand under
        the same names in `<out>/entropy` (PNG: 0 to 255), pictures in `<out>/pictures/<case>.png`.

    Raises:
        RunError: a run is missing or made from another configuration, or another process writes
            to `out`.
        DataError: images are missing or damaged.
        ConfigError: one of the masks exists, or `out` is the folder of the images.
    """
    _refuse_among_images(request)
    trained = [open_trained(run, place, checkpoint=request.checkpoint) for run in runs]
    key = runs[0].key
    params = prepare_params(config, key.dataset)
    if request.trust_header:
        params = params.model_copy(update={"trust_header": True})
    images = _images(key.dataset, trained[0], params, request)
    wanted = [request.entropy, request.paint is not None]
    called = [[run.digest for run in runs], request.checkpoint, *wanted]
    identity = digest([*called, request.orientation, *_files(images)])
    targets = [path for image in images for path in image.targets]
    with _unfinished(request.out, identity, targets) as folder, Board() as board:
        find = _plain if request.plain else _prepared
        ready = find(trained[0], params, request, folder, board)
        for number, image in enumerate(images, 1):
            if not image.mask.exists():
                _segment(trained, ready(image.raw), params, image, request.paint)
            board.update(f"predict {key.dataset} {key.method}", number, len(images))
    return [image.mask for image in images]


def _refuse_among_images(request: Request) -> None:
    """Raise a ConfigError if masks would stand among the images, and be read as images later."""
    source = request.source
    folder = source.parent if source.is_file() else source
    if request.out.resolve() == folder.resolve():
        raise ConfigError(
            f"--out '{request.out}' is the folder of the images, and the next call would take the"
            f" masks for images; name another --out, such as '{folder / 'masks'}'"
        )


def _images(
    dataset: str, trained: Trained, params: PrepareParams, request: Request
) -> list[_Image]:
    """What there is to do."""
    if request.plain:
        found = find_images(request.source, trained.job.data.channels)
        cases = [RawCase(case, case, files, None) for case, files in found.items()]
    else:
        cases = load_dataset(dataset).scan(request.source, params)
    names = {case: f"{case.case}{_suffix(case.images[0])}" for case in cases}
    maps = request.out / ENTROPY if request.entropy else None
    pictures = request.out / PICTURES if request.paint else None
    return [
        _Image(
            case,
            request.out / name,
            maps and maps / name,
            pictures and pictures / f"{case.case}.png",
        )
        for case, name in names.items()
    ]


def _prepared(
    trained: Trained, params: PrepareParams, request: Request, folder: Path, board: Board
) -> Callable[[RawCase], Laid]:
    """Cases of a raw layout, prepared as those of training."""
    if (folder / FINGERPRINT).is_file():
        data = open_prepared(folder)
    else:
        adapter, read = load_dataset(trained.run.key.dataset), partial(board.update, "read")
        data = prepare(adapter, request.source, folder, params, jobs=request.jobs, progress=read)
    return lambda raw: laid(data, data.case(raw.case), raw.images)


def _plain(
    trained: Trained, params: PrepareParams, request: Request, folder: Path, board: Board
) -> Callable[[RawCase], Laid]:
    """Images from anywhere."""
    adapter, grid = load_dataset(trained.run.key.dataset), grid_of(trained, request.orientation)
    if not grid.orientation:
        board.say(
            "the training images are not here to tell how their axes lie, so axes are taken as they"
            " are stored; --orientation RAS (or other codes) turns images"
        )
    return lambda raw: lay(adapter, params, grid, raw.images, folder)


def _segment(
    trained: list[Trained], seen: Laid, params: PrepareParams, image: _Image, paint: Paint | None
) -> None:
    """Write the mask of a case, and all else that is wanted of it before."""
    import torch

    from methods.blocks.entropy import normalized_entropy

    p = torch.stack([one.probability(seen.image) for one in trained]).mean(0)
    labels, entropy = p.argmax(0).numpy().astype(np.uint8), None
    if image.entropy is not None:
        entropy = normalized_entropy(p[None])[0].numpy()
        write_mask(seen.values(entropy), image.raw.images[0], image.entropy)
    if paint is not None and image.picture is not None:
        adapter = load_dataset(trained[0].run.key.dataset)
        paint(segmented(adapter, params, image.raw, seen, labels, entropy), image.picture)
    write_mask(seen.labels(labels), image.raw.images[0], image.mask)


def _files(images: list[_Image]) -> Iterator[tuple[str, str, int, int]]:
    """Case, path, bytes and time of change (ns) of every image."""
    for image in images:
        for path in (p for p in image.raw.images if p.is_file()):
            facts = path.stat()
            yield image.raw.case, str(path.resolve()), facts.st_size, facts.st_mtime_ns


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
            for path in targets:  # a killed call may have left what it was writing
                for rest in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
                    rest.unlink(missing_ok=True)
            yield work / "data"
            # The note goes last: while it is there, a call that was killed here is continued. Under
            # its own name, half of the data would be refused as somebody else's.
            done = work / "done"
            shutil.rmtree(done, ignore_errors=True)
            if (work / "data").exists():
                (work / "data").rename(done)
                shutil.rmtree(done)
            shutil.rmtree(work)
    except BlockingIOError:
        raise RunError(f"another process writes masks to '{out}'; wait for it") from None


def _suffix(source: Path) -> str:
    return ".png" if source.suffix.lower() in _PIXELS else ".nii.gz"


def write_mask(values: NDArray[np.uint8] | NDArray[np.float32], source: Path, target: Path) -> None:
    """Write a mask or map (D, H, W) as a file of the kind of its image.

    Args:
        values: in the geometry of the image.
        source: the image; one that tells no place and voxel size, such as HDF5, gets voxels of 1 mm
            at the origin.
        target: `<case>.nii.gz` or `<case>.png`.
    """
    if target.suffix == ".png":
        from PIL import Image

        grey = values[0] if values.dtype == np.uint8 else np.round(255 * values[0])
        with atomic_open(target) as stream:
            Image.fromarray(grey.astype(np.uint8)).save(stream, "PNG")
        return
    import gzip

    import nibabel as nib

    if not is_nifti(source):
        image = nib.nifti1.Nifti1Image(values.transpose(2, 1, 0), np.eye(4))
    else:
        image = _placed_as(source, values)
    with atomic_open(target) as stream:
        stream.write(gzip.compress(image.to_bytes(), 6, mtime=0))  # equal masks, equal bytes


def _placed_as(source: Path, values: NDArray[Any]) -> Any:
    """A NIfTI image of values (D, H, W) that lies where another does."""
    import nibabel as nib

    known = nib.nifti1.load(source)
    image = nib.nifti1.Nifti1Image(values.transpose(2, 1, 0), known.affine)
    # Other programs take the place from one of two forms, so both are as in the image.
    image.set_sform(known.affine, int(known.header["sform_code"]))
    image.set_qform(known.affine, int(known.header["qform_code"]))
    image.header.set_xyzt_units(*known.header.get_xyzt_units())
    return image
