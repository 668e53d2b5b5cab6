"""A note beside prepared data on the raw files they were made of, so that a change is noticed.

It stands outside of the prepared folder, whose bytes are the same on every machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from benchmarks.common.errors import DataError
from benchmarks.common.files import known_digest, read_json, write_json
from datasets.base import Adapter, DatasetInfo, PrepareParams, RawCase
from datasets.preparing.store import Case, Prepared
from datasets.reading.images import is_nifti, read_header

_SHOWN = 3
_LOOKED_AT = 20  # images whose orientation is read


@dataclass(frozen=True)
class RawFile:
    """A raw file as it was read.

    Attributes:
        path: absolute.
        size: in bytes.
        changed: time of change, in ns.
        digest: of its bytes.
    """

    path: str
    size: int
    changed: int
    digest: str

    def untouched(self) -> bool:
        """Whether size and time of change are those of the file that was read."""
        try:
            stat = Path(self.path).stat()
        except OSError:
            return False
        return (stat.st_size, stat.st_mtime_ns) == (self.size, self.changed)

    def same(self) -> bool:
        """Whether the file has the bytes that were read; they are hashed if it was touched."""
        path = Path(self.path)
        return self.untouched() or (path.is_file() and known_digest(path) == self.digest)


@dataclass(frozen=True)
class RawNote:
    """What prepared data were made of.

    Attributes:
        data: digest of the prepared data.
        raw: folder of the raw data.
        files: by case.
    """

    data: str
    raw: str
    files: dict[str, tuple[RawFile, ...]]


def files_of(raw: RawCase) -> tuple[RawFile, ...]:
    """The files of a case as they are now; without those that are missing or no files."""
    return tuple(_file(path) for path in paths_of(raw) if path.is_file())


def paths_of(raw: RawCase) -> list[Path]:
    """Images and mask of a case."""
    return [*raw.images, *([raw.label] if raw.label else [])]


def _file(path: Path) -> RawFile:
    stat = path.stat()
    return RawFile(str(path.absolute()), stat.st_size, stat.st_mtime_ns, known_digest(path))


def note_file(prepared: Path) -> Path:
    """Where the note on a prepared folder stands."""
    return prepared.with_name(f"{prepared.name}.raw.json")


def write_note(data: Prepared, raw: Path, files: Iterable[tuple[str, tuple[RawFile, ...]]]) -> None:
    """Keep what prepared data were made of."""
    note = RawNote(data.digest, str(raw.absolute()), dict(files))
    write_json(note_file(data.root), TypeAdapter(RawNote).dump_python(note, mode="json"))


def refuse_other_params(data: Prepared, params: PrepareParams) -> None:
    """Raise a DataError if data were prepared with other parameters than are given."""
    given = params.model_dump(mode="json")
    if _without_trust(given) != _without_trust(data.params):
        every = given.keys() | data.params.keys()
        names = sorted(name for name in every if given.get(name) != data.params.get(name))
        raise DataError(
            f"'{data.root}' was prepared with other values of {', '.join(names)}; run"
            f" `python -m benchmarks prepare {data.dataset}` and `python -m benchmarks split"
            f" {data.dataset}` again"
        )


def refuse_changed(adapter: Adapter[Any], data: Prepared, params: PrepareParams) -> None:
    """Refuse data that were prepared with other parameters, or of what is read otherwise now.

    That are raw files that changed, and an adapter that gives cases other patients, or the data
    other classes, channels or another dimension, such as a data set that was added anew. Without a
    note, or where the raw folder is not here, there is nothing to compare with.

    Args:
        adapter: of the data set.
        data: that are to be used.
        params: an instance of `adapter.Params`.

    Raises:
        DataError: tells what changed, and how to go on.
    """
    refuse_other_params(data, params)
    note = _read(note_file(data.root))
    if note is None or note.data != data.digest or not Path(note.raw).is_dir():
        return
    words = [*_other_info(adapter.info(params), data)]
    if not words:
        try:
            words = [*_other_cases(adapter.scan(Path(note.raw), params), data, note)]
        except DataError:
            return  # raw data were cleared away
    if words:
        raise DataError(
            f"raw data '{note.raw}' are not those that '{data.root}' was made of:"
            f" {', '.join(words)}. Run `python -m benchmarks prepare {data.dataset}` and `python -m"
            f" benchmarks split {data.dataset}` again; or delete '{note_file(data.root)}' to go on"
            " with the arrays as they are"
        )


def _other_info(now: DatasetInfo, data: Prepared) -> Iterator[str]:
    """What is read of the data set otherwise than it was."""
    pairs: dict[str, tuple[tuple[object, ...], tuple[object, ...]]] = {
        "dimension": ((now.ndim,), (data.ndim,)),
        "channels": (now.channels, data.channels),
        "classes": (now.classes, data.classes),
    }
    for what, (new, old) in pairs.items():
        if new != old:
            yield f"{what} {', '.join(map(str, new))}, not {', '.join(map(str, old))}"


def _other_cases(scanned: Iterable[RawCase], data: Prepared, note: RawNote) -> Iterator[str]:
    """What became of the cases."""
    found, known = {case.case: case for case in scanned}, {case.case: case for case in data.cases}
    both = found.keys() & known.keys()
    parts = {
        "added": found.keys() - known.keys(),
        "removed": known.keys() - found.keys(),
        "changed": {case for case in both if _differs(found[case], note)},
        "of another patient, group or part": {
            case for case in both if _place(found[case]) != _place(known[case])
        },
    }
    counted = [f"{len(cases)} {what} ({_some(cases)})" for what, cases in parts.items() if cases]
    if counted:
        yield f"cases {', '.join(counted)}"


def _place(case: RawCase | Case) -> tuple[object, ...]:
    """What decides where a case may stand in a split."""
    return case.patient, case.group, case.source, case.sealed


def orientation_of(data: Prepared) -> str:
    """Axis codes (x, y, z), such as RAS, that most raw NIfTI images of prepared data have.

    Args:
        data: prepared on this machine.

    Returns:
        "" where the raw images are not here, or are no NIfTI files.
    """
    import nibabel as nib

    note = _read(note_file(data.root))
    if note is None or note.data != data.digest:
        return ""
    paths = [Path(files[0].path) for files in note.files.values() if files][:_LOOKED_AT]
    here = [path for path in paths if is_nifti(path) and path.is_file()]
    codes = Counter("".join(nib.orientations.aff2axcodes(read_header(p).affine)) for p in here)
    return codes.most_common(1)[0][0] if codes else ""


def _without_trust(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters that decide values; whether headers were trusted decides only what is refused."""
    return {name: value for name, value in params.items() if name != "trust_header"}


def _differs(raw: RawCase, note: RawNote) -> bool:
    known = {file.path: file for file in note.files[raw.case]}
    paths = {str(path.absolute()) for path in paths_of(raw)}
    return paths != known.keys() or not all(file.same() for file in known.values())


def _some(cases: set[str]) -> str:
    return ", ".join(sorted(cases)[:_SHOWN]) + (", ..." if len(cases) > _SHOWN else "")


def _read(path: Path) -> RawNote | None:
    """The note; None where there is none or it cannot be trusted."""
    try:
        return TypeAdapter(RawNote).validate_python(read_json(path))
    except (OSError, ValueError, ValidationError):
        return None
