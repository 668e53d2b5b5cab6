"""What a split of prepared data must not do."""

from __future__ import annotations

from collections import defaultdict

from benchmarks.common.errors import DataError
from datasets.preparing.divide import OWN
from datasets.preparing.split import Split, SplitConfig
from datasets.preparing.store import Prepared


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


def refuse_bare_tests(data: Prepared, split: Split) -> None:
    """Raise a DataError if a test patient has a case without a mask, which cannot be scored."""
    bare = defaultdict[str, list[str]](list)
    for case in data.cases:
        if not case.labeled:
            bare[case.patient].append(case.case)
    for number, fold in enumerate(split.folds):
        for patient in fold.test:
            if patient in bare:
                raise DataError(
                    f"{data.dataset}: patient '{patient}' is tested in fold {number}, but has no"
                    f" mask for {', '.join(bare[patient])}; leave these images out (of imagesUn, in"
                    f" nnU-Net's layout), add their masks, or change data.{data.dataset}.split"
                )


def refuse_other_split(split: Split, config: SplitConfig) -> None:
    """Raise a DataError if a split was made with other values than are configured.

    Empty test parts are not compared: a tuning study has none.
    """
    given: dict[str, object] = {"scheme": config.scheme, "seed": config.seed}
    made: dict[str, object] = {"scheme": split.scheme, "seed": split.seed}
    # Lists that were published fix their sizes.
    if config.scheme in OWN or config.val or config.test:
        given |= {"val": config.val, "folds": config.folds}
        made |= {"val": max(len(fold.val) for fold in split.folds), "folds": len(split.folds)}
    tested = max(len(fold.test) for fold in split.folds)
    if config.test and tested:
        given["test"], made["test"] = config.test, tested
    wrong = [f"{n} {made[n]}, not {value}" for n, value in given.items() if made[n] != value]
    if wrong:
        raise DataError(
            f"the split of {split.dataset} was made with {', '.join(wrong)}; run `python -m"
            f" benchmarks split {split.dataset}` again"
        )
