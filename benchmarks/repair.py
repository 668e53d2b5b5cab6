"""What killed commands and full disks leave behind, and what mends it (`doctor --repair`).

Nothing that a living process holds is touched, no finished result, and no unfinished work that
the same command goes on with.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from benchmarks.common.errors import BenchError, RunError
from benchmarks.common.files import FILLING, claimed, in_use, write_bytes
from benchmarks.common.lease import STALE_SECONDS, age_of, is_held, leased
from benchmarks.common.workspace import PRESETS, RECORD, params_files
from benchmarks.config import load_config
from benchmarks.engine.state import DAMAGED, PREVIOUS, STATE
from benchmarks.plan.identity import write_digests
from benchmarks.plan.record import finished
from benchmarks.plan.resolve import resolve
from benchmarks.tune.sharing import JOURNAL, alone_with_journal, journal_in_use

_PLACES = ("data", "runs", "reports", "datasets/splits")
_TEMPORARY = re.compile(r"\..+\.(\d+)\.(?:tmp|new)")
_OF_RUN = re.compile(r"\.l\d+-f\d+-s\d+\.(partial|lock)")
# Locks that there are; each benchmark's stands beside its parameters.
_LOCKS = ("dvc.lock", "datasets/dvc.lock", "benchmarks/dvc.lock", f"{PRESETS}/*/dvc.lock")


@dataclass(frozen=True)
class Repair:
    """Something that can be mended.

    Attributes:
        path: file or folder.
        what: is wrong, and what is done about it.
        mend: does it; a path that has come into use meanwhile stays as it is.
    """

    path: Path
    what: str
    mend: Callable[[], None]


def find_repairs(root: Path) -> list[Repair]:
    """What can be mended in a checkout. Nothing is changed.

    Processes are looked for on this machine alone; what another one may be writing is known by its
    age.
    """
    found = [repair for place in _PLACES for repair in _left_behind(root / place)]
    return [*found, *_journals(root), *_dvc(root)]


def _left_behind(place: Path) -> Iterator[Repair]:
    """Files and folders of no use any more; what is inside of one is not named as well."""
    for folder, folders, files in os.walk(place):
        if Path(folder) == place / "raw":  # data of users, but for what is hidden beside them
            folders[:] = [name for name in folders if name.startswith(".")]
        for name in sorted(folders):
            if repair := _folder(Path(folder, name)):
                folders.remove(name)
                yield repair
        for name in sorted(files):
            if repair := _file(Path(folder, name)):
                yield repair


def _folder(path: Path) -> Repair | None:
    if (path.name.endswith(FILLING) and not in_use(path)) or _of_dead_process(path):
        return Repair(path, "half made when its command was killed: remove", partial(_remove, path))
    if not _OF_RUN.fullmatch(path.name) or is_held(lock := path.with_suffix(".lock")):
        return None
    if any((path / name).is_file() for name in (STATE, PREVIOUS, RECORD)):
        return None
    what = "begun run with no state to go on from: remove"
    return Repair(path, what, partial(_remove_claimed, path, lock))


def _file(path: Path) -> Repair | None:
    if path.name.endswith(DAMAGED):
        what = "set aside as damaged: remove"
        return Repair(path, what, partial(path.unlink, missing_ok=True))
    if path.name.startswith(".") and path.suffix == ".lock" and not _is_locked(path):
        return Repair(path, "lock of a process that is gone: remove", partial(_release, path))
    if _of_dead_process(path):
        what = "half written when its command was killed: remove"
        return Repair(path, what, partial(path.unlink, missing_ok=True))
    return None


def _of_dead_process(path: Path) -> bool:
    """Whether a temporary name carries the number of a process that is gone.

    It may be the number of a living one on another machine: that one has written lately.
    """
    found = _TEMPORARY.fullmatch(path.name)
    if found is None:
        return False
    try:
        os.kill(int(found[1]), 0)
    except (ProcessLookupError, OverflowError):
        return age_of(path) > STALE_SECONDS
    except PermissionError:  # it lives
        pass
    return False


def _remove(folder: Path) -> None:
    with suppress(FileNotFoundError):
        if not in_use(folder):
            shutil.rmtree(folder)


def _remove_claimed(folder: Path, lock: Path) -> None:
    with suppress(BlockingIOError, FileNotFoundError), leased(lock):
        shutil.rmtree(folder)


def _is_lease(lock: Path) -> bool:
    """Whether a lock file names who has it; one that the kernel keeps is empty."""
    return bool(_OF_RUN.fullmatch(lock.name)) or (lock.is_file() and lock.stat().st_size > 0)


def _is_locked(lock: Path) -> bool:
    """Whether somebody has a lease, or any other lock file."""
    return is_held(lock) if _is_lease(lock) else in_use(lock)


def _release(lock: Path) -> None:
    """Take a lock file, which removes it at the end."""
    take = leased if _is_lease(lock) else claimed
    with suppress(BlockingIOError), take(lock):
        pass


def _journals(root: Path) -> Iterator[Repair]:
    """Journals of tuning studies with an entry that is none; those after it cannot be read."""
    for file in sorted(root.glob(f"data/tuning/*/studies/*/{JOURNAL}")):
        content = file.read_bytes()
        good = _readable(content)
        if good < len(content) and not journal_in_use(file.parent):
            entries = content[good:].count(b"\n") or 1
            what = f"damaged: cut its last {entries} entries; what they tell is done again"
            yield Repair(file, what, partial(_cut, file))


def _readable(journal: bytes) -> int:
    """Length of the entries, a line each, before the first that is none."""
    good = 0
    for line in journal.splitlines(keepends=True):
        try:
            json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n"):
            break
        good += len(line)
    return good


def _cut(journal: Path) -> None:
    """Keep what can be read; the whole is set aside."""
    with suppress(BlockingIOError), alone_with_journal(journal.parent):
        content = journal.read_bytes()
        write_bytes(journal.with_name(f"{JOURNAL}{DAMAGED}"), content)
        write_bytes(journal, content[: _readable(content)])


def _dvc(root: Path) -> Iterator[Repair]:
    """Files of DVC that it refuses to read, and locks that lack what is finished."""
    if in_use(root / ".dvc/tmp/lock"):
        return
    rwlock = root / ".dvc/tmp/rwlock"
    if rwlock.is_file() and not _is_json(rwlock):
        what = "cannot be read, and says nothing without DVC: remove"
        yield Repair(rwlock, what, partial(rwlock.unlink, missing_ok=True))
    locks = {lock for pattern in _LOCKS for lock in root.glob(pattern)}
    locks |= {file.with_name("dvc.lock") for file in params_files(root)}
    for lock in sorted(locks):
        yield from _lock(lock, root)


def _lock(lock: Path, root: Path) -> Iterator[Repair]:
    """A lock that is damaged, or that lacks all stages although runs are finished."""
    damaged = lock.is_file() and not _is_lock(lock)
    if not damaged and _holds_stages(lock):
        return
    stages = _finished_stages(lock.with_name("params.yaml"), root)
    if not (stages or damaged):
        return
    what = "cannot be read" if damaged else "holds no stage" if lock.is_file() else "is missing"
    does = f"make it anew of {len(stages)} stages whose runs are finished" if stages else "remove"
    name = lock.relative_to(root)
    then = (
        f"Then `dvc repro {name.with_suffix('.yaml')}` prepares, scores and reports again, but"
        " trains nothing that is finished. Or take back the committed one in its place:"
        f" `git checkout -- {name}`"
    )
    yield Repair(lock, f"{what}: {does}. {then}", partial(_write_lock, lock, stages, root))


def _finished_stages(params: Path, root: Path) -> list[str]:
    """Stages of a benchmark whose runs are all proved to be those of its data, split and code."""
    if not ((root / ".dvc").is_dir() and params.with_name("dvc.yaml").is_file()):
        return []
    try:
        config = load_config(params)
    except BenchError:
        return []
    found = []
    for dataset in config.grid.datasets:
        for method in config.grid.methods:
            with suppress(BenchError):
                if all(finished(run, root) for run in resolve(config, dataset, method, root)):
                    found.append(f"run@{dataset}-{method}")
    return found


def _write_lock(lock: Path, stages: list[str], root: Path) -> None:
    """Make a lock anew of stages that are done, by DVC itself, which hashes what is there.

    Raises:
        RunError: DVC does not take them; the damaged lock is removed nevertheless.
    """
    lock.unlink(missing_ok=True)
    if not stages:
        return
    write_digests(root)
    text = lock.with_suffix(".yaml").relative_to(root)
    done = subprocess.run(  # noqa: S603 - names of our own stages
        [sys.executable, "-m", "dvc", "commit", "--force", *(f"{text}:{s}" for s in stages)],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RunError(f"`dvc commit` does not write {lock}: {done.stderr.strip()}")


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except ValueError:
        return False


def _holds_stages(lock: Path) -> bool:
    """Whether a lock that DVC takes holds a stage."""
    return lock.is_file() and bool((YAML(typ="safe").load(lock) or {}).get("stages"))


def _is_lock(path: Path) -> bool:
    """Whether DVC takes the file."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA  # type: ignore[import-untyped]
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe").load(path))
    except (YAMLError, Invalid, UnicodeDecodeError):
        return False
    return True
