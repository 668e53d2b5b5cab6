"""Downloads from a server that misbehaves, and archives that must not be trusted."""

from __future__ import annotations

import hashlib
import io
import tarfile
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.common.errors import ConfigError, DataError
from datasets import load_dataset
from datasets.fetching.archives import unpack
from datasets.fetching.download import Patience, Source, download, mirrored
from datasets.fetching.sources import SOURCES, fetch_sources, make_available

CONTENT = bytes(range(256)) * 4096
FAST = Patience(tries=3, wait=0.01, connect=2, stall=0.4)


class Server(ThreadingHTTPServer):
    """Serves CONTENT with the faults in `script`, one per request, then without."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[str] = []
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/file.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        given = self.headers.get("Range")
        self.server.ranges.append(given)
        fault = self.server.script.pop(0) if self.server.script else ""
        if fault.isdigit():
            self.send_error(int(fault))
            return
        first = int(given.removeprefix("bytes=").rstrip("-")) if given else 0
        if fault == "ignore range":
            first = 0
        if first >= len(CONTENT):
            self.send_error(416)
            return
        body = b"x" * len(CONTENT) if fault == "wrong bytes" else CONTENT
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - first))
        self.end_headers()
        half = first + (len(CONTENT) - first) // 2
        self.wfile.write(body[first : half if fault in {"truncate", "stall"} else None])
        if fault == "stall":
            time.sleep(0.8)
        if fault == "truncate":
            self.wfile.flush()
            self.connection.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def source(url: str, content: bytes = CONTENT) -> Source:
    return Source(url, "file.bin", "sha256", hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(
    "script",
    [[], ["truncate"], ["stall"], ["truncate", "truncate", "stall"], ["503", "500"], ["429"],
     ["truncate", "ignore range"]],
    ids=lambda s: "+".join(s) or "well",
)  # fmt: skip
def test_download_survives(server: Server, tmp_path: Path, script: list[str]) -> None:
    server.script = list(script)
    seen: list[int] = []
    path = download(
        source(server.url), tmp_path, patience=FAST, progress=lambda *told: seen.append(told[1])
    )
    assert path.read_bytes() == CONTENT
    assert seen[-1] == len(CONTENT)
    assert not list(tmp_path.glob("*.part"))
    if "truncate" in script or "stall" in script:
        assert any(server.ranges[1:]), "the rest was asked for, not the whole"
    before = len(server.ranges)
    assert download(source(server.url), tmp_path, patience=FAST) == path
    assert len(server.ranges) == before, "a file that is there is not fetched again"


@pytest.mark.parametrize("status", ["403", "404"])
def test_refusals_name_the_remedy_and_keep_the_part(
    server: Server, tmp_path: Path, status: str
) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    server.script = [status]
    with pytest.raises(DataError, match=rf"answers {status}.*--raw DIR"):
        download(source(server.url), tmp_path, patience=FAST)
    assert (tmp_path / "file.bin.part").stat().st_size == 1000
    assert download(source(server.url), tmp_path, patience=FAST).read_bytes() == CONTENT
    assert server.ranges[-1] == "bytes=1000-"


def test_endless_failure_gives_up_and_a_later_call_goes_on(server: Server, tmp_path: Path) -> None:
    server.script = ["truncate", *["503"] * 5]
    with pytest.raises(DataError, match="goes on from byte"):
        download(source(server.url), tmp_path, patience=FAST)
    server.script = []
    assert download(source(server.url), tmp_path, patience=FAST).read_bytes() == CONTENT


def test_wrong_bytes_are_removed(server: Server, tmp_path: Path) -> None:
    server.script = ["wrong bytes"]
    with pytest.raises(DataError, match="has the sha256"):
        download(source(server.url), tmp_path, patience=FAST)
    assert list(tmp_path.iterdir()) == []
    assert download(source(server.url), tmp_path, patience=FAST).read_bytes() == CONTENT


def test_part_that_is_too_long_starts_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT + b"more")
    assert download(source(server.url), tmp_path, patience=FAST).read_bytes() == CONTENT


def test_nobody_answers(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(DataError, match="could not be fetched"):
        download(source("http://127.0.0.1:9/file.bin"), tmp_path, patience=FAST, say=said.append)
    # The first attempt counts as progress, from nothing to 0 bytes.
    assert [line.split("; ")[0] for line in said] == ["127.0.0.1:9: ConnectionError"] * FAST.tries


@pytest.mark.parametrize(
    ("mirror", "words"),
    [
        ("nonsense", "--mirror 'nonsense': give an address such as https://"),
        ("ftp://a.org", "--mirror 'ftp://a.org': give an address"),
        ("https://", "--mirror 'https://': give an address"),
        ("https://two words", "'https://two words/file.bin': .*address with --mirror URL"),
        (None, "'no_address/file.bin': .*give another address with --mirror URL"),
    ],
)
def test_what_is_no_address_is_refused_at_once(
    mirror: str | None, words: str, tmp_path: Path
) -> None:
    source = Source("no_address/file.bin", "file.bin", "md5", "0")
    said: list[str] = []
    with pytest.raises((ConfigError, DataError), match=words):
        download(source, tmp_path, mirror=mirror, say=said.append, patience=FAST)
    assert said == []


def test_mirror_replaces_the_folder() -> None:
    assert mirrored("https://a.org/x/y.zip?z=1", "http://b/c/") == "http://b/c/y.zip"
    assert mirrored("https://a.org/x/y.zip", None) == "https://a.org/x/y.zip"


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def test_sources_are_fetched_unpacked_and_kept(server: Server, tmp_path: Path) -> None:
    global CONTENT
    CONTENT = zipped({"database/training/patient001/a.txt": b"hello"})
    try:
        digest = source("", CONTENT).digest
        table = {"mine": (Source(server.url, "m.zip", "sha256", digest, into="in"),)}
        raw = tmp_path / "raw"
        fetch_sources("mine", raw, sources=table, patience=FAST)
        assert (raw / "in/database/training/patient001/a.txt").read_bytes() == b"hello"
        assert [p.name for p in raw.iterdir()] == ["in"]
        count = len(server.ranges)
        fetch_sources("mine", raw, sources=table, patience=FAST)
        assert len(server.ranges) == count
    finally:
        CONTENT = bytes(range(256)) * 4096
    with pytest.raises(ConfigError, match="no open source of 'none'"):
        fetch_sources("none", tmp_path)


@pytest.fixture
def table(server: Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Source, ...]]:
    """An archive and a file, in place of the real ACDC."""
    packed = zipped({"a.txt": b"hello"})
    monkeypatch.setitem(globals(), "CONTENT", packed)
    digest = source("", packed).digest
    archive = Source(server.url, "m.zip", "sha256", digest, into="ACDC")
    file = Source(server.url, "m.bin", "sha256", digest, unpack=False)
    monkeypatch.setattr("datasets.fetching.sources.SOURCES", {"acdc": (archive, file)})
    defaults = {**(fetch_sources.__kwdefaults__ or {}), "sources": {"acdc": (archive, file)}}
    monkeypatch.setattr(fetch_sources, "__kwdefaults__", defaults)
    return {"acdc": (archive, file)}


@pytest.mark.parametrize("linked", [False, True], ids=["folder", "link"])
@pytest.mark.parametrize("own", ["ACDC/notes.txt", "m.bin", "patient001/notes.txt"])
@pytest.mark.usefixtures("table")
def test_data_of_a_user_are_neither_replaced_nor_added_to(
    server: Server, tmp_path: Path, own: str, linked: bool
) -> None:
    """Their `scan` fails, since frames are missing; what is missing is told."""
    raw, folder = tmp_path / "raw/acdc", tmp_path / ("elsewhere" if linked else "raw/acdc")
    (folder / own).parent.mkdir(parents=True)
    (folder / own).write_text("a year of work")
    if linked:
        raw.parent.mkdir()
        raw.symlink_to(folder)
    before = sorted(tmp_path.rglob("*"))
    adapter = load_dataset("acdc")
    told = rf"(?s)'{raw / own.split('/')[0]}'.*`mv {raw} {raw}\.own`.*complete it: no usable ACDC"
    with pytest.raises(DataError, match=told):
        make_available(adapter, raw, adapter.FetchParams(), mirror=None)
    assert server.ranges == [] and (folder / own).read_text() == "a year of work"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("killed", ["before", "after"])
def test_a_fetch_that_was_killed_while_unpacking_goes_on(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    table: dict[str, tuple[Source, ...]],
    killed: str,
) -> None:
    raw = tmp_path / "acdc"

    def kill(archive: Path, target: Path) -> None:
        (raw / ".ACDC.1.filling").mkdir(parents=True)
        (raw / ".ACDC.1.filling/a.txt").touch()
        if killed == "after":
            unpack(archive, target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("datasets.fetching.sources.unpack", kill)
        fetch_sources("acdc", raw, sources=table, patience=FAST)
    (raw / "m.bin.part").write_bytes(CONTENT[:9])
    fetch_sources("acdc", raw, sources=table, patience=FAST)
    assert server.ranges == [None, "bytes=9-"], "the archive is not fetched again"
    assert (raw / "ACDC/a.txt").read_bytes() == b"hello" and (raw / "m.bin").is_file()
    assert [p.name for p in (tmp_path / ".acdc.downloads").iterdir()] == ["m.zip.unpacked"]


def test_an_archive_is_not_unpacked_in_place_of_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(zipped({"a.txt": b"hello"}))
    (tmp_path / "own").mkdir()
    (tmp_path / "own/notes.txt").write_text("a year of work")
    (tmp_path / "target").symlink_to(tmp_path / "own")
    with pytest.raises(DataError, match=r"is not unpacked: .*/target' is there and stays"):
        unpack(tmp_path / "archive", tmp_path / "target")
    assert (tmp_path / "own/notes.txt").read_text() == "a year of work"


def test_every_known_source_is_complete() -> None:
    lengths = {"md5": 32, "sha256": 64}
    for files in SOURCES.values():
        for file in files:
            assert file.url.startswith("https://") and len(file.digest) == lengths[file.algorithm]
            assert bool(file.into) == file.unpack


def test_login_data_say_what_to_do(tmp_path: Path) -> None:
    adapter = load_dataset("brats2019")
    with pytest.raises(DataError, match=r"(?s)expected:.*to obtain it:.*--raw DIR"):
        make_available(adapter, tmp_path / "none", adapter.FetchParams(), mirror=None)


def _tar(*members: tarfile.TarInfo, content: bytes = b"x") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for info in members:
            info.size = len(content) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return stream.getvalue()


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def _zip_link() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return stream.getvalue()


HOSTILE: dict[str, Callable[[], bytes]] = {
    "tar leaves upwards": lambda: _tar(_member("../out")),
    "tar absolute": lambda: _tar(_member("/abs")),
    "tar leaves inside": lambda: _tar(_member("a/../../out")),
    "tar symbolic link": lambda: _tar(_member("l", tarfile.SYMTYPE, "/etc/passwd")),
    "tar hard link": lambda: _tar(_member("l", tarfile.LNKTYPE, "x")),
    "tar device": lambda: _tar(_member("d", tarfile.CHRTYPE)),
    "zip leaves upwards": lambda: zipped({"../out": b"x"}),
    "zip absolute": lambda: zipped({"/abs": b"x"}),
    "zip backslashes": lambda: zipped({"..\\out": b"x"}),
    "zip drive": lambda: zipped({"C:/out": b"x"}),
    "zip link": _zip_link,
    "zip bomb": lambda: zipped({"bomb": bytes(200_000_000)}),
    "empty": lambda: b"",
    "no archive": lambda: b"no archive",
    "cut": lambda: zipped({"a": b"hello"})[:-30],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_and_damaged_archives_leave_nothing(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(HOSTILE[name]())
    with pytest.raises(DataError, match="is not unpacked"):
        unpack(archive, tmp_path / "target")
    assert [p.name for p in tmp_path.iterdir()] == ["archive"]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), kind=st.sampled_from(["zip", "tar"]))
def test_corrupted_archives_are_refused_or_whole(
    tmp_path: Path, data: st.DataObject, kind: str
) -> None:
    """Whatever bytes are changed: either a clear error and nothing written, or files inside."""
    good = (
        zipped({"a/b.txt": b"hello" * 99, "c": b"x"})
        if kind == "zip"
        else _tar(_member("a/b.txt"), _member("c"), content=b"hello" * 99)
    )
    bad = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        bad[data.draw(st.integers(0, len(bad) - 1))] = data.draw(st.integers(0, 255))
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    (folder / "archive").write_bytes(bad[: data.draw(st.integers(1, len(bad)))])
    try:
        unpack(folder / "archive", folder / "target")
    except DataError:
        assert [p.name for p in folder.iterdir()] == ["archive"]
    else:
        assert {p.name for p in folder.iterdir()} == {"archive", "target"}
