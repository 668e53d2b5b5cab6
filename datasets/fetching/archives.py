"""Unpacking archives that nobody here has made: nothing may leave the target folder."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from benchmarks.common.errors import DataError, StorageError
from benchmarks.common.files import fill_folder

# Medical images compress to a quarter at best; a thousandfold is an attack.
_MOST_TIMES = 1000
_RESERVE = 100 * 2**20  # bytes left free on the disk


@dataclass(frozen=True)
class _Member:
    """A regular file of an archive."""

    name: str
    size: int


_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, ValueError, RuntimeError
)  # fmt: skip


def unpack(archive: Path, target: Path) -> None:
    """Unpack a zip or tar file into a new folder, whole or not at all.

    Args:
        archive: the file.
        target: folder to make; it must not exist, or be empty.

    Raises:
        DataError: the folder holds something, which stays; the file is damaged or no archive, a
            member has an absolute path, leaves the folder, is a link or a device, or the content
            does not fit on the disk.
    """
    if occupied(target):
        raise DataError(
            f"'{archive}' is not unpacked: '{target}' is there and stays as it is; move it away,"
            " then fetch again"
        )
    try:
        fill_folder(target, lambda folder: _unpack(archive, folder))
    except _DAMAGE as error:
        raise _refused(archive, f"it is damaged or no archive ({error})") from None
    except (StorageError, NotImplementedError) as error:
        raise _refused(archive, str(error)) from None


def occupied(path: Path) -> bool:
    """Whether something would be lost if a folder took this place."""
    return path.exists() and not (path.is_dir() and not any(path.iterdir()))


def _unpack(archive: Path, folder: Path) -> None:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            members = list(_of_zip(archive, opened))
            _check(archive, folder, members)
            for member in members:
                _write(opened.open(member.name), folder / member.name, member.size)
        return
    with tarfile.open(archive) as tar:
        members = list(_of_tar(archive, tar))
        _check(archive, folder, members)
        for member in members:
            stream = tar.extractfile(member.name)
            if stream is not None:
                _write(stream, folder / member.name, member.size)


def _of_zip(archive: Path, opened: zipfile.ZipFile) -> Iterator[_Member]:
    for info in opened.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.is_dir():
            continue
        if kind not in (0, stat.S_IFREG):
            raise _refused(archive, f"'{info.filename}' is no regular file")
        yield _Member(info.filename, info.file_size)


def _of_tar(archive: Path, tar: tarfile.TarFile) -> Iterator[_Member]:
    for info in tar:
        if info.isdir():
            continue
        if not info.isreg():
            raise _refused(archive, f"'{info.name}' is a link or a device")
        yield _Member(info.name, info.size)


def _check(archive: Path, folder: Path, members: list[_Member]) -> None:
    for member in members:
        path = PurePosixPath(member.name.replace("\\", "/"))
        drive = path.parts[:1] and ":" in path.parts[0]
        if path.is_absolute() or ".." in path.parts or drive or "\0" in member.name:
            raise _refused(archive, f"'{member.name}' leads out of the folder")
    total, free = sum(member.size for member in members), shutil.disk_usage(folder).free
    if total > _MOST_TIMES * archive.stat().st_size:
        raise _refused(archive, f"it holds {total} bytes, too many for its size")
    if total + _RESERVE > free:
        raise _refused(archive, f"it needs {total >> 20} MB, {free >> 20} MB are free")


def _write(stream: IO[bytes], path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with stream, path.open("wb") as out:
        shutil.copyfileobj(stream, out, 1 << 20)
    if path.stat().st_size != size:
        raise EOFError(f"'{path.name}' ends early")


def _refused(archive: Path, why: str) -> DataError:
    return DataError(
        f"'{archive}' is not unpacked: {why}; remove it and fetch again, or obtain the data by hand"
    )
