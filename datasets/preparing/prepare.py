"""Raw files to prepared arrays: one folder, complete or absent; a stopped call can be continued."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from benchmarks.common.errors import DataError
from benchmarks.common.files import (
    claimed,
    digest,
    file_digest,
    fill_folder,
    read_json,
    write_array,
    write_bytes,
    write_json,
)
from datasets.base import Adapter, Box, P, PrepareParams, RawCase, Volume
from datasets.preparing.at_once import map_cases
from datasets.preparing.checks import (
    WHOLE,
    CaseFacts,
    check_ids,
    compare_cases,
    inspect_volume,
    read_case,
)
from datasets.preparing.raw import RawFile, files_of, paths_of, write_note
from datasets.preparing.resample import resize_linear, resize_nearest
from datasets.preparing.store import (
    FINGERPRINT,
    FORMAT,
    CaseRecord,
    Fingerprint,
    Prepared,
    open_prepared,
)

_DONE = ".done"  # notes on the cases of an unfinished call


def prepare(
    adapter: Adapter[P],
    raw: Path,
    out: Path,
    params: P,
    *,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Read, normalise, crop and resize every case of a data set.

    Writes `<out>/<case>/{image,label,reference}.npy` (see `Prepared`), `meta.json` beside them and
    `<out>/dataset.json`. Equal raw data and parameters give equal bytes, whatever `jobs` is. The
    next call continues one that was stopped or killed: its cases are kept while raw files,
    parameters and code stay as they were.

    Args:
        adapter: the data set.
        raw: its raw folder.
        out: folder to make; older prepared data in it are replaced when the new are complete.
        params: an instance of `adapter.Params`.
        jobs: processes, at least 1.
        progress: called with (cases done, cases in all) after each case.

    Raises:
        DataError: raw data are missing or damaged, or `out` holds something else; nothing is
            written then.
        StorageError: the disk is full or `out` cannot be written.
        Interrupted: a signal came; the cases that are done stay for the next call.
    """
    _check_target(out)
    raw_cases = adapter.scan(raw, params)
    check_ids(raw_cases)
    info = adapter.info(params)
    made: list[_Done] = []

    def fill(folder: Path) -> None:
        (folder / _DONE).mkdir(exist_ok=True)
        _clear(folder, keep={_DONE, *(case.case for case in raw_cases)})
        work = partial(_kept_or_prepared, adapter, params, len(info.classes), folder)
        made.clear()
        for done in map_cases(work, raw_cases, min(jobs, len(raw_cases))):
            made.append(done)
            if progress is not None:
                progress(len(made), len(raw_cases))
        fingerprint = Fingerprint(
            format=FORMAT,
            dataset=adapter.id,
            title=adapter.title,
            synthetic=adapter.synthetic,
            ndim=info.ndim,
            channels=info.channels,
            classes=info.classes,
            params=params.model_dump(mode="json"),
            cases=tuple(done.record for done in made),
            warnings=_warnings([done.facts for done in made], info.classes),
        )
        write_json(folder / FINGERPRINT, fingerprint.to_json())
        shutil.rmtree(folder / _DONE)

    code = [file_digest(path) for path in _code(adapter)]
    key = digest([adapter.id, params.model_dump(mode="json"), str(raw.resolve()), code])
    with _alone(out):
        fill_folder(out, fill, key=key)
        data = open_prepared(out)
        write_note(data, raw, ((done.record.case, done.files) for done in made))
    return data


def _code(adapter: Adapter[P]) -> list[Path]:
    """Files that decide what a case becomes."""
    here = Path(__file__).parent
    shared = [path for place in (here, here.parent / "reading") for path in place.glob("*.py")]
    return [Path(inspect.getfile(type(adapter))), *sorted(shared)]


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Refuse a second process that prepares the same folder."""
    try:
        with claimed(out.with_name(f".{out.name}.lock")):
            yield
    except BlockingIOError:
        raise DataError(f"another process is preparing '{out}'; wait for it or stop it") from None


def _clear(folder: Path, keep: set[str]) -> None:
    """Remove what a stopped call left of cases that were taken out, and of its last writes."""
    for path in [p for p in folder.iterdir() if p.name not in keep]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _check_target(out: Path) -> None:
    if out.exists() and not (out / FINGERPRINT).is_file() and (out.is_file() or any(out.iterdir())):
        raise DataError(
            f"'{out}' is not empty and holds no prepared data, so it is left alone; "
            "name another folder or remove it"
        )


def _warnings(facts: list[CaseFacts], classes: tuple[str, ...]) -> tuple[str, ...]:
    found = [finding for fact in facts for finding in fact.findings]
    found += compare_cases(facts, classes)
    return tuple(f"{finding.case}: {finding.text}" for finding in found)


def warnings_of_all(data: Prepared) -> list[str]:
    """What is suspicious of prepared data as a whole, such as a class that no mask holds."""
    known: list[str] = read_json(data.root / FINGERPRINT)["warnings"]
    return [text.removeprefix(f"{WHOLE}: ") for text in known if text.startswith(f"{WHOLE}: ")]


@dataclass(frozen=True)
class _Done:
    """A prepared case of a call that may be stopped.

    Attributes:
        files: raw files as they were read.
        record: for the fingerprint.
        facts: for the comparison of cases.
    """

    files: tuple[RawFile, ...]
    record: CaseRecord
    facts: CaseFacts


_DONE_JSON = TypeAdapter(_Done)


def _kept_or_prepared(
    adapter: Adapter[Any], params: PrepareParams, classes: int, out: Path, raw: RawCase
) -> _Done:
    """A case that a stopped call has prepared, or else prepare it."""
    note = out / _DONE / f"{raw.case}.json"
    if note.is_file():
        done = _DONE_JSON.validate_json(note.read_bytes())
        paths = [str(path.absolute()) for path in paths_of(raw)]
        if [file.path for file in done.files] == paths and all(f.untouched() for f in done.files):
            return done
    shutil.rmtree(out / raw.case, ignore_errors=True)
    files = files_of(raw)
    record, facts = _prepare_case(adapter, params, classes, out, raw)
    done = _Done(files, record, facts)
    write_bytes(note, _DONE_JSON.dump_json(done))
    return done


def _prepare_case(
    adapter: Adapter[Any], params: PrepareParams, classes: int, out: Path, raw: RawCase
) -> tuple[CaseRecord, CaseFacts]:
    """Write one case's folder; return what goes into the fingerprint, and what was checked."""
    volume = read_case(adapter, raw, params)
    facts = inspect_volume(adapter, params, raw, volume)
    wrong = [finding for finding in facts.findings if finding.level == "error"]
    if wrong:
        raise DataError(f"{adapter.title}, case {wrong[0].case}: {wrong[0].text}")
    depth, rows, columns = volume.image.shape[1:]
    box = params.crop(volume.box or ((0, depth), (0, rows), (0, columns)))
    arrays = _arrays(volume, box, params)
    folder = out / raw.case
    folder.mkdir()
    for kind, array in arrays.items():
        write_array(folder / f"{kind}.npy", array)
    image = arrays["image"]
    record = CaseRecord(
        case=raw.case,
        patient=raw.patient,
        group=raw.group,
        source=raw.source,
        sealed=raw.sealed,
        labeled=volume.label is not None,
        native_shape=(depth, rows, columns),
        spacing=volume.spacing,
        box=box,
        grid_shape=(image.shape[1], image.shape[2], image.shape[3]),
        spacing_known=volume.spacing_known,
        intensity=tuple(_summary(channel) for channel in image),
        class_shares=_shares(volume.label, classes),
        files=tuple((f"{k}.npy", file_digest(folder / f"{k}.npy")) for k in arrays),
    )
    meta = TypeAdapter(CaseRecord).dump_python(record, mode="json")
    write_json(folder / "meta.json", meta)
    return record, facts


def _arrays(volume: Volume, box: Box, params: PrepareParams) -> dict[str, NDArray[Any]]:
    """Arrays of one case by file stem."""
    depth, rows, columns = (high - low for low, high in box)
    shape = params.grid((depth, rows, columns))
    window = tuple(slice(*bounds) for bounds in box)
    resize = resize_linear if params.interpolation == "linear" else resize_nearest
    image = resize(volume.image[(slice(None), *window)], shape)
    arrays: dict[str, NDArray[Any]] = {"image": np.ascontiguousarray(image, dtype=np.float32)}
    if volume.label is not None:
        label = resize_nearest(volume.label[window], shape)
        arrays["label"] = np.ascontiguousarray(label)
        arrays["reference"] = np.ascontiguousarray(volume.label)
    return arrays


def _summary(channel: NDArray[np.float32]) -> tuple[float, float, float, float]:
    """Minimum, maximum, mean, standard deviation, to six digits."""
    mean = channel.mean(dtype=np.float64)
    spread = channel.std(dtype=np.float64)
    low, high, mid, width = (
        float(f"{value:.6g}") for value in (channel.min(), channel.max(), mean, spread)
    )
    return low, high, mid, width


def _shares(label: NDArray[np.uint8] | None, classes: int) -> tuple[float, ...]:
    if label is None:
        return ()
    counts = np.bincount(label.ravel(), minlength=classes)
    return tuple(float(f"{count / label.size:.6g}") for count in counts)
