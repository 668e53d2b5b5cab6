"""Downloads that resume, are checked before use and never leave a partial file under its name."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests

from benchmarks.common.errors import ConfigError, DataError

_CHUNK = 1 << 18  # bytes
# Statuses after which the same request may succeed later.
_RETRY = {408, 425, 429, 500, 502, 503, 504}
# What no further attempt mends.
_NO_ADDRESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidSchema,
)

Progress = Callable[[str, int, int, str], None]


@dataclass(frozen=True)
class Source:
    """One file of a data set on the web.

    Attributes:
        url: address.
        file: name on disk.
        algorithm: md5 or sha256, as its publisher gives it.
        digest: checksum in hexadecimal.
        unpack: an archive whose content is wanted.
        into: subfolder of the raw data for the content of an archive.
    """

    url: str
    file: str
    algorithm: str
    digest: str
    unpack: bool = True
    into: str = ""


@dataclass(frozen=True)
class Patience:
    """How failures of the network are met.

    Attributes:
        tries: attempts without progress before giving up.
        wait: seconds before the second attempt, doubled for each further one.
        connect: seconds to wait for a connection.
        stall: seconds without a byte after which an attempt is given up.
    """

    tries: int = 6
    wait: float = 1.0
    connect: float = 15.0
    stall: float = 60.0


def mirrored(url: str, mirror: str | None) -> str:
    """The address on a mirror, which holds the files under the last part of their paths.

    Raises:
        ConfigError: the mirror is no address.
    """
    if mirror is None:
        return url
    if not re.match(r"https?://[^/\s]", mirror, re.IGNORECASE):
        raise ConfigError(f"--mirror '{mirror}': give an address such as https://example.org/files")
    return f"{mirror.rstrip('/')}/{Path(urlsplit(url).path).name}"


def download(
    source: Source,
    folder: Path,
    *,
    mirror: str | None = None,
    progress: Progress = lambda name, done, total, note: None,  # noqa: ARG005
    say: Callable[[str], None] = lambda line: None,  # noqa: ARG005
    patience: Patience = Patience(),
) -> Path:
    """Fetch a file; what is there of it already is kept. Proxies are taken from the environment.

    Args:
        source: what to fetch.
        folder: target; `<file>.part` holds what has come so far.
        mirror: address that replaces everything before the file's name.
        progress: called with name, bytes so far, all bytes and the rate.
        say: called with a line for every failed attempt.
        patience: with the network.

    Returns:
        The file, whose checksum is right.

    Raises:
        ConfigError: the mirror is no address.
        DataError: the server refuses, the network fails for good, the disk is full, or the content
            has another checksum.
    """
    target, url = folder / source.file, mirrored(source.url, mirror)
    if is_whole(source, target):
        return target
    folder.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    failures, best = 0, -1
    while failures < patience.tries:
        try:
            if _attempt(url, part, source.file, progress, patience):
                break
        except _NO_ADDRESS as error:
            raise DataError(f"'{url}': {error}; give another address with --mirror URL") from None
        except requests.RequestException as error:
            reason = type(error).__name__
        except OSError as error:
            raise DataError(
                f"cannot write '{part}': {error}; free the disk and try again"
            ) from None
        else:
            reason = "it ended early"
        have = part.stat().st_size if part.is_file() else 0
        failures = 0 if have > best else failures + 1
        best = max(best, have)
        if failures < patience.tries:
            pause = patience.wait * 2**failures
            say(
                f"{urlsplit(url).netloc}: {reason}; again in {pause:.0f} s, {failures} of"
                f" {patience.tries} tries without progress"
            )
            time.sleep(pause)
    else:
        raise DataError(
            f"'{url}' could not be fetched ({reason}); the same command goes on from byte {best}"
        )
    found = _checksum(part, source.algorithm)
    if found != source.digest:
        part.unlink()
        raise DataError(
            f"'{url}' has the {source.algorithm} {found}, expected {source.digest}; the file was"
            " removed. The publisher may have changed it: obtain it by hand and use --raw DIR"
        )
    return part.replace(target)


def is_whole(source: Source, path: Path) -> bool:
    """Whether a file is there with the content of a source."""
    return path.is_file() and _checksum(path, source.algorithm) == source.digest


def _checksum(path: Path, algorithm: str) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def _attempt(url: str, part: Path, name: str, progress: Progress, patience: Patience) -> bool:
    """One request that continues where the part ends; True if all bytes are there."""
    have = part.stat().st_size if part.is_file() else 0
    headers = {"Range": f"bytes={have}-", "Accept-Encoding": "identity"} if have else {}
    timeout = (patience.connect, patience.stall)
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            # More is here than there: another file. Start anew.
            part.unlink(missing_ok=True)
            return False
        if answer.status_code in _RETRY:
            return False
        if answer.status_code not in (requests.codes.ok, requests.codes.partial_content):
            raise DataError(
                f"'{url}' answers {answer.status_code} {answer.reason}; obtain the file by hand"
                " and use --raw DIR, or give another address with --mirror URL"
            )
        goes_on = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        first = have if have and goes_on else 0
        length = answer.headers.get("Content-Length")
        total = first + int(length) if length else 0
        done = _receive(answer, part, first, lambda n, note: progress(name, n, max(total, n), note))
    return not total or done >= total


def _receive(
    answer: requests.Response, part: Path, first: int, tell: Callable[[int, str], None]
) -> int:
    """Append the body to the part; number of bytes it then has."""
    start, done = time.monotonic(), first
    with part.open("ab" if first else "wb") as stream:
        for chunk in answer.iter_content(_CHUNK):
            stream.write(chunk)
            done += len(chunk)
            rate = (done - first) / max(time.monotonic() - start, 1e-3) / 1e6
            tell(done, f"{rate:.1f} MB/s")
    return done
