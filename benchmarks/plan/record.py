"""The record of a finished run, and whether a folder holds exactly the run that is asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.common.errors import RunError
from benchmarks.common.files import digest, file_digest, known_digest, read_json, write_json
from benchmarks.common.workspace import RECORD
from benchmarks.plan.resolve import Run

_SEAL = "record"  # digest of all else in the record
_CELL = ("dataset", "labels", "fold", "seed")


def write_record(run: Run, folder: Path, files: Sequence[str], reached: Mapping[str, Any]) -> None:
    """Write what a run is and the digests of its files; last of all, so it means complete.

    Args:
        run: that was trained.
        folder: of its files.
        files: names of the files that hold its results.
        reached: what else is to be kept of it, JSON-ready.
    """
    body = {
        "digest": run.digest,
        **_identity(run),
        "key": asdict(run.key),
        **reached,
        "files": {name: file_digest(folder / name) for name in files},
    }
    body = json.loads(json.dumps(body))  # sealed as it is read: steps in JSON are texts
    write_json(folder / RECORD, {_SEAL: digest(body), **body})


def _identity(run: Run) -> dict[str, Any]:
    return {
        "code": run.code,
        "data": run.data,
        "split": run.split,
        "train": run.train.model_dump(mode="json"),
        "params": run.params.model_dump(mode="json"),
    }


def mismatch(run: Run, folder: Path) -> str:
    """Why a folder does not hold exactly this run, unchanged since it was finished; "" if it does.

    Its name and that of its benchmark do not count.
    """
    try:
        body = read_json(folder / RECORD)
        if _SEAL not in body and "digest" in body:
            return f"its {RECORD} is of an older version, which kept no digests of its files"
        seal = body.pop(_SEAL)
        if digest(body) != seal:
            return f"its {RECORD} was changed after it was written"
        if body["digest"] != run.digest:
            return "it was made with other parameters, data, split or code"
        wanted = {**_identity(run), **{name: getattr(run.key, name) for name in _CELL}}
        for name, value in wanted.items():
            if {**body, **body["key"]}[name] != value:
                return f"its {RECORD} names another '{name}'"
        for name, known in body["files"].items():
            if known_digest(folder / name) != known:
                return f"its {name} is not the file that was written"
    except FileNotFoundError as error:
        return f"there is no {Path(error.filename).name}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"its {RECORD} cannot be read"
    return ""


def finished(run: Run, root: Path) -> bool:
    """Whether the run is complete and made from the present configuration, data and code."""
    return not mismatch(run, run.key.folder(root))


def require_finished(run: Run, root: Path) -> None:
    """Raise a RunError unless the run is complete and made from the present configuration."""
    key = run.key
    why = mismatch(run, key.folder(root))
    if why:
        raise RunError(
            f"no finished run '{key.folder(root)}' for the present parameters and code: {why};"
            f" run `python -m benchmarks run {key.dataset} {key.method}` first"
        )
