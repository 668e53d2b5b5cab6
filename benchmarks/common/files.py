"""Atomic writes: a file or folder is complete or absent, also after a crash."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

from benchmarks.common.errors import Interrupted, StorageError
from benchmarks.common.signals import holding_stops

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A folder that is made anew has this ending; unlike one that is continued, it is of no use later.
FILLING = ".filling"
# After these the next call continues what was begun; any other error makes it anew.
_RESUMES = (Interrupted, StorageError, OSError)
# What mends a failed write, where it is neither space nor permission.
_CLEAR = "remove the file or the broken link that stands where a folder belongs"
_REMEDIES = dict.fromkeys((errno.ENOTDIR, errno.EEXIST, errno.ELOOP), _CLEAR)


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
        remedy = _REMEDIES.get(error.errno or 0, "free the disk or give write permission")
        raise StorageError(
            f"'{error.filename or path}': {error.strerror or error}; {remedy}, then run the same"
            " command again. What was finished before is kept"
        ) from None


def refuse_unwritable(path: Path) -> None:
    """Refuse a target that could not be written, before the work that makes it; nothing is left.

    Raises:
        StorageError: a file stands in place of one of its folders, or there is no permission.
    """
    above = next(p for p in path.absolute().parents if p.exists() or p.is_symlink())
    with storing(path):
        above.mkdir(exist_ok=True)  # says so where this is no folder
        with TemporaryFile(dir=above):
            pass


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
    with holding_stops(), storing(path):
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


class _NoJSONError(json.JSONDecodeError):
    def __init__(self, words: str) -> None:
        ValueError.__init__(self, words)  # of a file as a whole, at no one place


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        OSError: it is missing, or no regular file, such as a pipe, which could be read for ever.
        JSONDecodeError, UnicodeDecodeError: no JSON, too deeply nested, a key twice in an object.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "no regular file", str(path))
    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except RecursionError:
        raise _NoJSONError("objects are nested too deeply") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; of a key that stands twice, a reader would keep the last without a word."""
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = min(key for key in made if sum(key == other for other, _ in pairs) > 1)
        raise _NoJSONError(f"the key '{twice}' stands twice in one object")
    return made


def digest(value: object) -> str:
    """First 16 hex digits of SHA-256 over canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return bytes_digest(text.encode())


def bytes_digest(data: bytes) -> str:
    """First 16 hex digits of SHA-256 over bytes."""
    return hashlib.sha256(data).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """First 16 hex digits of SHA-256 over the bytes of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def known_digest(path: Path) -> str:
    """`file_digest`, taken once in a process while place, size and time of change stay the same."""
    stat = path.stat()
    return _digest_of_state(path.absolute(), (stat.st_ino, stat.st_size, stat.st_mtime_ns))


@lru_cache(maxsize=65_536)
def _digest_of_state(path: Path, state: tuple[int, int, int]) -> str:
    del state  # names the content that the digest is of
    return file_digest(path)


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


def in_use(path: Path) -> bool:
    """Whether a living process holds a lock file (`claimed`) or a folder that it fills."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def fill_folder(target: Path, fill: Callable[[Path], None], *, key: str | None = None) -> None:
    """Make `target` in one step: `fill` writes a hidden sibling that is renamed when complete.

    An older `target` is replaced only after the new one is complete.

    Args:
        target: folder to make, or a link to one.
        fill: writes into the folder it is given.
        key: identity of what is written. With it, a call that is stopped, killed or out of disk
            leaves its sibling, and the next call with the same key is given it to continue; the
            caller takes care that there is one call at a time.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    target = Path(os.path.realpath(target))
    with storing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        for rest in target.parent.glob(f".{target.name}.*{FILLING}"):
            if not in_use(rest):  # of a call that was killed
                shutil.rmtree(rest, ignore_errors=True)
        if key is None:
            _fill_anew(target, fill)
        else:
            _fill_further(target, fill, key)


def _fill_anew(target: Path, fill: Callable[[Path], None]) -> None:
    """Fill a folder that is removed if the block fails, or by the next call if it is killed."""
    new = target.with_name(f".{target.name}.{os.getpid()}.new")
    folder = new.with_suffix(FILLING)
    new.mkdir(exist_ok=True)
    handle = os.open(new, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        new.rename(folder)  # only now others see it, and that it is in use
        fill(folder)
        _swap(folder, target)
    finally:
        with holding_stops():
            os.close(handle)
            for rest in (new, folder):
                shutil.rmtree(rest, ignore_errors=True)


def _fill_further(target: Path, fill: Callable[[Path], None], key: str) -> None:
    partial = target.with_name(f".{target.name}.{key}.partial")
    for other in target.parent.glob(f".{target.name}.*.partial"):
        if other != partial:
            shutil.rmtree(other, ignore_errors=True)
    partial.mkdir(exist_ok=True)
    try:
        fill(partial)
        _swap(partial, target)
    except BaseException as error:
        if isinstance(error, Exception) and not isinstance(error, _RESUMES):
            shutil.rmtree(partial, ignore_errors=True)
        raise


def _swap(made: Path, target: Path) -> None:
    """Give a complete folder its name; an older one is moved aside first, so none is ever half."""
    old = target.with_name(f".{target.name}.{os.getpid()}.old{FILLING}")
    with holding_stops():
        with suppress(FileNotFoundError):
            target.rename(old)
        made.rename(target)
        shutil.rmtree(old, ignore_errors=True)
