"""What prepared data must be for a benchmark's split and for the unit of its distances."""

from __future__ import annotations

from collections import defaultdict

from benchmarks.common.errors import DataError
from benchmarks.config import BenchmarkConfig
from datasets.preparing.store import Prepared


def refuse_torn_patients(config: BenchmarkConfig, dataset: str, data: Prepared) -> None:
    """Refuse the publisher's split where a patient has cases in both of its parts.

    Such a patient can be neither trained on nor tested: test cases would be trained on, or training
    cases tested.

    Raises:
        DataError: names the patients with their cases, and what to do.
    """
    if config.data[dataset].split.scheme != "official":
        return
    parts = defaultdict[str, dict[bool, list[str]]](lambda: {False: [], True: []})
    for case in data.cases:
        parts[case.patient][case.sealed].append(case.case)
    torn = {name: own for name, own in parts.items() if own[True] and own[False]}
    if not torn:
        return
    words = "; ".join(
        f"{name} ({', '.join(own[True])} to test, {', '.join(own[False])} to train)"
        for name, own in sorted(torn.items())
    )
    block = f"data.{dataset}"
    undo = f"remove {block}.prepare.together and prepare again (`python -m benchmarks prepare"
    raise DataError(
        f"{dataset}: split scheme 'official' cannot be kept, since the publisher's test part"
        f" holds cases of patients that its training part has too: {words}; "
        + (
            f"{undo} {dataset}`), or"
            if config.data[dataset].prepare.get("together")
            else "leave the cases of one of the two parts out, or"
        )
        + f" set {block}.split.scheme to seeded or cv"
    )


def refuse_unknown_unit(config: BenchmarkConfig, dataset: str, data: Prepared) -> None:
    """Refuse distances whose unit the report would not tell, before training.

    Raises:
        DataError: the files have spacings of their own, but the parameters call them nominal; or
            none, and the parameters do not say so.
    """
    given = config.data[dataset].unit
    spacings = {case.spacing for case in data.cases}
    if given in {"voxels", "pixels"} and len(spacings) > 1:
        raise DataError(
            f"data.{dataset}.unit is {given}, but the files carry {len(spacings)} different"
            " spacings: delete that line, distances are in mm then"
        )
    unknown = sum(not case.spacing_known for case in data.cases)
    if unknown and given is None:
        raise DataError(
            f"{unknown} of {len(data.cases)} cases of {dataset} have no voxel spacing, so"
            f" distances are not in mm: set data.{dataset}.unit to pixels"
        )
