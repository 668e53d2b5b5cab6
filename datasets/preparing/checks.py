"""What is wrong or suspicious in a raw data set, case by case and across patients."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.errors import DataError
from benchmarks.common.workers import Outcome, Report, run_tasks
from datasets.base import Adapter, PrepareParams, RawCase, Volume
from datasets.preparing.resample import resize_linear
from datasets.preparing.split import Split
from datasets.preparing.store import Prepared

# Voxels outside are possible but rare: microscopy, or a header in metres.
_SPACING_MM = (0.1, 20.0)
_THUMBNAIL = 32
# Correlation of thumbnails: above it lie the known duplicates of COVID-SemiSeg, and no pair of
# patients of ACDC or BraTS.
_ALIKE = 0.97
# Where images are single slices of unknown patients, a lower one points to slices of one patient.
_SLICE_ALIKE = 0.93
_AFFINE_MM = 0.01
# Seconds that a case may go on after a stop; it is begun anew by the next call.
_GRACE = 1.0

T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """One thing to look at.

    Attributes:
        level: an error stops `prepare`; warnings are kept in the fingerprint.
        case: id, or several joined by a comma.
        text: what was found.
    """

    level: Literal["error", "warning"]
    case: str
    text: str


@dataclass(frozen=True)
class CaseFacts:
    """What is kept of a case to compare it with others.

    Attributes:
        case: id.
        patient: id.
        findings: of this case alone.
        digest: of its image; "" where it is unreadable.
        thumbnail: float32 values of its middle slice, mean 0 and length 1; () where unreadable.
        classes: stored classes; None without a mask.
        orientation: axis codes of the file, or "".
        single: the case is one slice.
    """

    case: str
    patient: str
    findings: tuple[Finding, ...]
    digest: str = ""
    thumbnail: tuple[float, ...] = ()
    classes: frozenset[int] | None = None
    orientation: str = ""
    single: bool = False


def check_raw(
    adapter: Adapter[Any],
    raw: Path,
    params: PrepareParams,
    *,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Finding]:
    """Read and compare all cases of a raw data set.

    Args:
        adapter: the data set.
        raw: its raw folder.
        params: an instance of `adapter.Params`.
        jobs: processes, at least 1.
        progress: called with (cases done, cases in all) after each case.

    Returns:
        Errors first; empty where nothing is suspicious.

    Raises:
        DataError: there are no cases to read.
    """
    cases = adapter.scan(raw, params)
    check_ids(cases)
    facts = []
    for fact in map_cases(partial(inspect_case, adapter, params), cases, min(jobs, len(cases))):
        facts.append(fact)
        if progress is not None:
            progress(len(facts), len(cases))
    found = [f for fact in facts for f in fact.findings]
    found += compare_cases(facts, adapter.info(params).classes)
    return sorted(found, key=lambda f: f.level)


def inspect_case(adapter: Adapter[Any], params: PrepareParams, raw: RawCase) -> CaseFacts:
    """`inspect_volume` of a case that may be unreadable."""
    try:
        return inspect_volume(raw, adapter.read(raw, params))
    except DataError as error:
        return CaseFacts(raw.case, raw.patient, (Finding("error", raw.case, str(error)),))


def inspect_volume(raw: RawCase, volume: Volume) -> CaseFacts:
    """Findings of one case, and what others are compared with."""
    geometry, orientation = _geometry(raw)
    label = volume.label
    return CaseFacts(
        raw.case,
        raw.patient,
        (*geometry, *_case_findings(raw, volume)),
        hashlib.sha256(volume.image.tobytes()).hexdigest(),
        tuple(_thumbnail(volume).tolist()),
        frozenset(np.unique(label).tolist()) if label is not None else None,
        orientation,
        volume.image.shape[1] == 1,
    )


def _case_findings(raw: RawCase, volume: Volume) -> Iterator[Finding]:
    if volume.label is not None and not volume.label.any():
        yield Finding("warning", raw.case, "the mask is empty")
    low, high = _SPACING_MM
    if volume.spacing_known and not all(low <= size <= high for size in volume.spacing):
        sizes = " x ".join(f"{size:g}" for size in volume.spacing)
        yield Finding("warning", raw.case, f"voxels of {sizes} mm, expected {low:g} to {high:g}")


def _geometry(raw: RawCase) -> tuple[list[Finding], str]:
    """Affines of the files of a case must agree; and the orientation of the first."""
    files = [*raw.images, *([raw.label] if raw.label else [])]
    if not all(path.name.endswith((".nii", ".nii.gz")) for path in files):
        return [], ""
    import nibabel as nib

    affines = [nib.nifti1.load(path).affine for path in files]
    found = []
    for path, affine in zip(files, affines, strict=True):
        names = f"'{path}' and '{files[0].name}'"
        if not np.allclose(affine[:3, :3], affines[0][:3, :3], atol=_AFFINE_MM):
            text = f"{names} differ in direction or voxel size: obtain both from one source"
            found.append(Finding("error", raw.case, text))
        elif not np.allclose(affine, affines[0], atol=_AFFINE_MM):
            found.append(Finding("warning", raw.case, f"{names} have different origins"))
    return found, "".join(str(code) for code in nib.orientations.aff2axcodes(affines[0]))


def _thumbnail(volume: Volume) -> NDArray[np.float32]:
    """Middle slice of the first channel at `_THUMBNAIL` squared, mean 0, length 1."""
    middle = volume.image[:1, volume.image.shape[1] // 2][:, None]
    small = resize_linear(middle, (1, _THUMBNAIL, _THUMBNAIL)).astype(np.float32).ravel()
    small -= small.mean()
    length = float(np.linalg.norm(small))
    return small / length if length else small


def compare_cases(facts: Sequence[CaseFacts], classes: Sequence[str]) -> Iterator[Finding]:
    """Findings across cases: equal and similar images, orientations, classes that never occur."""
    read = [fact for fact in facts if fact.digest]
    equal = defaultdict[str, list[CaseFacts]](list)
    for fact in read:
        equal[fact.digest].append(fact)
    for same in equal.values():
        if len(same) > 1:
            across = len({fact.patient for fact in same}) > 1
            names = ", ".join(fact.case for fact in same)
            what = "different patients: keep them in one part" if across else "one patient"
            yield Finding("warning", names, f"equal images of {what}")
    yield from _similar(read)
    codes = Counter(fact.orientation for fact in read if fact.orientation)
    if len(codes) > 1:
        usual = codes.most_common(1)[0][0]
        for fact in read:
            if fact.orientation not in {usual, ""}:
                text = f"orientation {fact.orientation}, most have {usual}"
                yield Finding("warning", fact.case, text)
    present = frozenset[int]().union(*(fact.classes or () for fact in read))
    for value, name in enumerate(classes):
        if any(fact.classes is not None for fact in read) and value not in present:
            yield Finding("warning", "all", f"class {value} ({name}) occurs in no mask")


def _similar(facts: Sequence[CaseFacts]) -> Iterator[Finding]:
    """Pairs of labelled cases of different patients that look like one."""
    known = [f for f in facts if f.thumbnail and f.classes is not None]
    if len(known) < 2:
        return
    vectors = np.array([fact.thumbnail for fact in known], dtype=np.float32)
    likeness = np.triu(vectors @ vectors.T, k=1)
    for i, j in np.argwhere(likeness > min(_ALIKE, _SLICE_ALIKE)):
        a, b = known[i], known[j]
        limit = _SLICE_ALIKE if a.single and b.single else _ALIKE
        if a.patient != b.patient and a.digest != b.digest and likeness[i, j] > limit:
            text = f"nearly equal images (r = {likeness[i, j]:.3f}), perhaps of one patient"
            yield Finding("warning", f"{a.case}, {b.case}", text)


def check_ids(cases: list[RawCase]) -> None:
    """Raise a DataError that names case ids which occur twice."""
    counts = Counter(case.case for case in cases)
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        raise DataError(f"case ids occur twice: {', '.join(twice)}; keep one copy of each case")


def map_cases(work: Callable[[RawCase], T], cases: Iterable[RawCase], jobs: int) -> Iterator[T]:
    """Apply `work` to all cases in order, in this process or in several.

    Raises:
        Interrupted: a signal came; cases that did not end soon after it were given up.
        Exception: of the first case, in order, that failed; no case is begun after a failure.
    """
    if jobs > 1:
        yield from _map_at_once(work, cases, jobs)
        return
    for case in cases:
        yield work(case)


def _map_at_once(work: Callable[[RawCase], T], cases: Iterable[RawCase], jobs: int) -> Iterator[T]:
    waiting: dict[int, Outcome[tuple[int, RawCase], T]] = {}
    failed: list[int] = []
    tasks = takewhile(lambda _: not failed, enumerate(cases))
    # Forked children of a process with running threads can hang, so they are spawned.
    with closing(run_tasks(partial(_numbered, work), tasks, jobs, grace=_GRACE)) as outcomes:
        number = 0
        for outcome in outcomes:
            waiting[outcome.task[0]] = outcome
            if outcome.error is not None:
                failed.append(outcome.task[0])
            while number in waiting:
                yield waiting.pop(number).value()
                number += 1


def _numbered(work: Callable[[RawCase], T], task: tuple[int, RawCase], report: Report) -> T:
    del report
    return work(task[1])


def refuse_leaks(data: Prepared, split: Split) -> None:
    """Raise a DataError if patients with equal images stand in different parts of a fold."""
    twins = defaultdict[str, set[str]](set)
    for case in data.cases:
        twins[dict(case.files)["image.npy"]].add(case.patient)
    for number, fold in enumerate(split.folds):
        parts = {"train": fold.train, "val": fold.val, "test": fold.test}
        where = {patient: name for name, ids in parts.items() for patient in ids}
        for patients in twins.values():
            found = {p: where[p] for p in sorted(patients) if p in where}
            if len(set(found.values())) > 1:
                names = ", ".join(f"{patient} ({part})" for patient, part in found.items())
                raise DataError(
                    f"{data.dataset}: equal images in different parts of fold {number}: {names};"
                    f" change data.{data.dataset}.split.seed, or leave one of them out"
                )
