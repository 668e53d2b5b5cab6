"""What is wrong or suspicious in a raw data set, case by case and across patients."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.errors import DataError
from datasets.base import Adapter, DatasetInfo, PrepareParams, RawCase, Volume
from datasets.preparing.at_once import map_cases
from datasets.preparing.geometry import Level, check_headers
from datasets.preparing.resample import resize_linear
from datasets.preparing.store import FINGERPRINT

# Voxels outside are possible but rare: microscopy, or a header in metres.
_SPACING_MM = (0.1, 20.0)
_THUMBNAIL = 32
# Correlation of thumbnails: above it lie the known duplicates of COVID-SemiSeg, and no pair of
# patients of ACDC or BraTS.
_ALIKE = 0.97
# Where images are single slices of unknown patients, a lower one points to slices of one patient.
_SLICE_ALIKE = 0.93
# Where fewer voxels lie outside a thousandth of the range, outliers have taken the contrast.
_OUTLIERS = 0.001
_NARROW = 0.001
WHOLE = "all"  # in place of a case, of what is true of all


@dataclass(frozen=True)
class Finding:
    """One thing to look at.

    Attributes:
        level: an error stops `prepare`; warnings are kept in the fingerprint.
        case: id, or several joined by a comma, or `WHOLE`.
        text: what was found.
    """

    level: Level
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
    classes = adapter.info(params).classes
    facts = []
    for fact in map_cases(partial(inspect_case, adapter, params), cases, min(jobs, len(cases))):
        facts.append(fact)
        if progress is not None:
            progress(len(facts), len(cases))
    found = [f for fact in facts for f in fact.findings]
    found += compare_cases(facts, classes)
    return sorted(found, key=lambda f: f.level)


def inspect_case(adapter: Adapter[Any], params: PrepareParams, raw: RawCase) -> CaseFacts:
    """`inspect_volume` of a case that may be unreadable."""
    try:
        volume = read_case(adapter, raw, params)
        return inspect_volume(adapter, params, raw, volume)
    except DataError as error:
        return CaseFacts(raw.case, raw.patient, (Finding("error", raw.case, str(error)),))


def read_case(adapter: Adapter[Any], raw: RawCase, params: PrepareParams) -> Volume:
    """`adapter.read`; values that overflow are left to `inspect_volume`, which names the file."""
    with np.errstate(over="ignore", invalid="ignore"):
        return adapter.read(raw, params)


def inspect_volume(
    adapter: Adapter[Any], params: PrepareParams, raw: RawCase, volume: Volume
) -> CaseFacts:
    """Findings of one case, and what others are compared with."""
    geometry, orientation = check_headers(raw, trust=params.trust_header)
    label = volume.label
    found = [Finding(level, raw.case, text) for level, text in geometry]
    found += _misfits(raw, volume, adapter.info(params))
    if any(finding.level == "error" for finding in found):
        return CaseFacts(raw.case, raw.patient, tuple(found))
    return CaseFacts(
        raw.case,
        raw.patient,
        (*found, *_case_findings(raw, volume)),
        hashlib.sha256(volume.image.tobytes()).hexdigest(),
        tuple(_thumbnail(volume).tolist()),
        frozenset(np.unique(label).tolist()) if label is not None else None,
        orientation,
        volume.image.shape[1] == 1,
    )


def _misfits(raw: RawCase, volume: Volume, info: DatasetInfo) -> Iterator[Finding]:
    """What no adapter may return: other shapes, types and labels than promised, NaN, infinity."""
    image, label = volume.image, volume.label
    if image.dtype != np.float32 or image.ndim != 4 or len(image) != len(info.channels):
        text = f"image {image.dtype} {image.shape}, float32 ({len(info.channels)}, D, H, W) needed"
        yield Finding("error", raw.case, text)
    bad = int(image.size - np.isfinite(image).sum())
    if bad:
        text = (
            f"'{raw.images[0]}' has values too large to normalise: {bad} of {image.size} became NaN"
            " or infinite; obtain the file again or leave the case out"
        )
        yield Finding("error", raw.case, text)
    if label is None:
        return
    if label.dtype != np.uint8 or label.shape != image.shape[1:]:
        text = f"mask {label.dtype} {label.shape}, uint8 {image.shape[1:]} needed"
        yield Finding("error", raw.case, text)
    elif int(label.max()) >= len(info.classes):
        text = f"the mask holds class {int(label.max())}, there are {len(info.classes)} classes"
        yield Finding("error", raw.case, text)


def _case_findings(raw: RawCase, volume: Volume) -> Iterator[Finding]:
    if volume.label is not None and not volume.label.any():
        yield Finding("warning", raw.case, "the mask is empty")
    for channel in volume.image:
        low, width = float(channel.min()), float(np.ptp(channel))
        inside = max(
            (channel <= low + _NARROW * width).mean(),
            (channel >= low + (1 - _NARROW) * width).mean(),
        )
        if inside > 1 - _OUTLIERS:
            text = f"{inside:.2%} of the voxels are almost equal: a few outliers take the contrast"
            yield Finding("warning", raw.case, text)
    low, high = _SPACING_MM
    if volume.spacing_known and not all(low <= size <= high for size in volume.spacing):
        sizes = " x ".join(f"{size:g}" for size in volume.spacing)
        yield Finding("warning", raw.case, f"voxels of {sizes} mm, expected {low:g} to {high:g}")


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
    yield from _partly_bare(read)
    present = frozenset[int]().union(*(fact.classes or () for fact in read))
    for value, name in enumerate(classes):
        if any(fact.classes is not None for fact in read) and value not in present:
            yield Finding("warning", WHOLE, f"class {value} ({name}) occurs in no mask")


def _partly_bare(facts: Sequence[CaseFacts]) -> Iterator[Finding]:
    """Cases without mask of patients that have one elsewhere; such patients cannot be tested."""
    known = {fact.patient for fact in facts if fact.classes is not None}
    for fact in facts:
        if fact.classes is None and fact.patient in known:
            text = f"no mask, but other cases of '{fact.patient}' have one: it cannot be tested"
            yield Finding("warning", fact.case, text)


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
    """Raise a DataError that names case ids which occur twice or could not name a folder."""
    counts = Counter(case.case for case in cases)
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        raise DataError(f"case ids occur twice: {', '.join(twice)}; keep one copy of each case")
    odd = sorted(name for name in counts if name.startswith(".") or "/" in name or not name)
    if odd or FINGERPRINT in counts:
        raise DataError(f"case ids {odd or [FINGERPRINT]} cannot name folders; rename the files")
