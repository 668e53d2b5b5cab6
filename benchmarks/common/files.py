"""Atomic writes: a file or folder is complete or absent, also after a crash."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from benchmarks.common.errors import Interrupted, StorageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# After these the next call continues what was begun; any other error makes it anew.
_RESUMES = (Interrupted, StorageError, OSError)


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Name the file and the remedy where the block fails for the sake of disk or permissions.

    Args:
        path: named where the failure itself names no file.

    Raises:
        StorageError: in place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"'{error.filename or path}': {error.strerror or error}; free the disk or give write"
            " permission, then run the same command again. What was finished before is kept"
        ) from None


@contextmanager
def atomic_open(path: Path) -> Iterator[IO[bytes]]:
    """Open a binary file that replaces `path` only when the block ends without an error.

    Args:
        path: target; its parent is made if missing.

    Yields:
        A writable binary stream beside the target, flushed to disk before the rename.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with atomic_open(path) as stream:
        stream.write(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 `text` to `path` atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: object) -> None:
    """Write `value` as readable JSON, atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write a C-contiguous array as `.npy` and flush it to disk.

    `numpy.save` does not notice every write that fails: on a full disk it may cut the file short.
    """
    from numpy.lib import format as npy

    with storing(path), path.open("wb") as stream:
        header = npy.header_data_from_array_1_0(array)
        npy.write_array_header_1_0(stream, header)
        stream.write(array.data)
        stream.flush()
        os.fsync(stream.fileno())


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def digest(value: object) -> str:
    """First 16 hex digits of SHA-256 over canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """First 16 hex digits of SHA-256 over the bytes of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Hold a lock file while the block runs; the lock of a dead process does not count.

    Args:
        path: lock file, removed afterwards.

    Raises:
        BlockingIOError: another process holds it.
        StorageError: the folder cannot be written.
    """
    with _locked(path):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _locked(path: Path) -> IO[str]:
    """Open and lock a file that still has its name: the last holder may have removed it since."""
    while True:
        with storing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = path.open("w")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(stream.fileno()).st_ino:
                return stream
        except FileNotFoundError:
            pass
        except BaseException:
            stream.close()
            raise
        stream.close()


def fill_folder(target: Path, fill: Callable[[Path], None], *, key: str | None = None) -> None:
    """Make `target` in one step: `fill` writes a hidden sibling that is renamed when complete.

    An older `target` is replaced only after the new one is complete.

    Args:
        target: folder to make.
        fill: writes into the folder it is given.
        key: identity of what is written. With it, a call that is stopped, killed or out of disk
            leaves its sibling, and the next call with the same key is given it to continue.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    partial = target.with_name(f".{target.name}.{key or os.getpid()}.partial")
    with storing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        siblings = target.parent.glob(f".{target.name}.*.partial")
        for old in [partial] if key is None else [p for p in siblings if p != partial]:
            shutil.rmtree(old, ignore_errors=True)
        partial.mkdir(exist_ok=True)
        try:
            fill(partial)
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)
        except BaseException as error:
            resumes = isinstance(error, _RESUMES) or not isinstance(error, Exception)
            if key is None or not resumes:
                shutil.rmtree(partial, ignore_errors=True)
            raise
