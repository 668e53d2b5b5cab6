"""A claim on a folder that holds among processes of many machines which share a disk.

Locks of the kernel (`flock`) are not there on every network disk, and a job that a scheduler
killed must not hold its run for ever. So a lease is a file that one process alone can create
(`O_CREAT | O_EXCL`, atomic on NFS since version 3), that its holder touches while it works, and
that others take over once it was not touched for long, or on the same machine at once if its holder
is dead and never while it lives: one that was stopped there may go on at any time.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.common.files import storing

# Without a sign of life for so long a holder is dead. NFS shows changes after 60 s at the latest
# (`acregmax`), so that a lease which is touched every 20 s never looks older than 80 s.
STALE_SECONDS = 180.0
BEAT_SECONDS = 20.0
_LOOK = 0.01  # seconds between two tries of a process that waits


@dataclass(frozen=True)
class Holder:
    """Who holds a lease.

    Attributes:
        host: for people.
        machine: boot and process namespace, in which process numbers mean something.
        pid: process number.
        born: start of the process in ticks since the boot, since numbers are used again.
        token: of this one claim.
    """

    host: str
    machine: str
    pid: int
    born: str
    token: str

    @classmethod
    def me(cls) -> Holder:
        """This process."""
        pid = os.getpid()
        return cls(socket.gethostname(), _machine(), pid, _born(pid), uuid.uuid4().hex)

    def dead(self) -> bool:
        """Whether the holder is known to be gone; False where that cannot be seen from here."""
        return self.machine == _machine() != "" and _born(self.pid) != self.born


@contextmanager
def leased(
    path: Path, *, stale: float = STALE_SECONDS, beat: float = BEAT_SECONDS
) -> Iterator[Callable[[], bool]]:
    """Hold a lease while the block runs.

    Args:
        path: of the lease file; removed afterwards.
        stale: seconds without a sign of life after which another's lease is taken over.
        beat: seconds between signs of life.

    Yields:
        A function that says whether the lease is still held: False once another process took it
        over because this one stood still for too long. To be asked before a result gets its name.

    Raises:
        BlockingIOError: another process holds it; its text says which.
        StorageError: the folder cannot be written.
    """
    me = Holder.me()
    while not _create(path, me):
        _clear_dead(path, stale)
    done = threading.Event()
    keeper = threading.Thread(target=_keep, args=(path, me, beat, done), daemon=True)
    keeper.start()
    try:
        yield lambda: _holder(path) == me
    finally:
        done.set()
        keeper.join()
        if _holder(path) == me:
            path.unlink(missing_ok=True)


@contextmanager
def waiting_for(path: Path) -> Iterator[None]:
    """Hold a lease while the block runs; wait while another process has it.

    Args:
        path: of the lease file; held for moments by its other holders.

    Raises:
        StorageError: the folder cannot be written.
    """
    with ExitStack() as held:
        while True:
            with suppress(BlockingIOError):
                held.enter_context(leased(path))
                break
            time.sleep(_LOOK)
        yield


def is_held(path: Path, *, stale: float = STALE_SECONDS) -> bool:
    """Whether a claim on a lease would be refused now.

    Args:
        path: of the lease file.
        stale: seconds without a sign of life after which its holder is taken for dead.
    """
    try:
        _refuse_alive(path, stale)
    except BlockingIOError:
        return True
    return False


def _create(path: Path, me: Holder) -> bool:
    """Create the lease with its content; False if there is one.

    The content is written beside it and linked, so that nobody reads half of it.
    """
    draft = path.with_name(f"{path.name}.{me.token}")
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(asdict(me)), encoding="utf-8")
        try:
            os.link(draft, path)
        except FileExistsError:
            return False
        finally:
            draft.unlink()
    return True


def _clear_dead(path: Path, stale: float) -> None:
    """Remove a lease whose holder is gone.

    One process alone removes it, the one that creates the file beside it; so no fresh lease of a
    third process is ever removed in its place.

    Raises:
        BlockingIOError: the holder is alive, or another process is removing the lease.
    """
    _refuse_alive(path, stale)
    with _gate(path.with_name(f"{path.name}.takeover"), stale):
        # Where none was seen, the file that is there by now would be a fresh lease.
        if _refuse_alive(path, stale):
            path.unlink(missing_ok=True)


@contextmanager
def _gate(path: Path, stale: float) -> Iterator[None]:
    """Be the only process in the block, which takes a moment.

    The file is locked before it is seen, so that on the same machine its creator is known to be
    dead once nothing locks it; elsewhere only its age tells.

    Raises:
        BlockingIOError: another process is in it.
    """
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    with draft.open("w", encoding="utf-8") as stream:
        stream.write(_machine())
        stream.flush()
        with suppress(OSError):  # a disk without such locks
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            os.link(draft, path)
        except FileExistsError:
            _remove_dead_gate(path, stale)
            raise BlockingIOError("another process is taking it over") from None
        finally:
            draft.unlink()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _remove_dead_gate(path: Path, stale: float) -> None:
    if age_of(path) > stale:
        path.unlink(missing_ok=True)
        return
    with suppress(OSError), path.open(encoding="utf-8") as stream:
        if stream.read() == _machine() != "":
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(stream.fileno()), path.stat()):
                path.unlink()


def _refuse_alive(path: Path, stale: float) -> bool:
    """Raise a BlockingIOError unless the lease is gone (False) or its holder dead (True)."""
    holder = _holder(path)
    if holder is None or holder.dead():
        return holder is not None
    age = age_of(path)
    if age <= stale:
        raise BlockingIOError(f"held by process {holder.pid} on {holder.host}")
    if holder.machine == _machine() != "":  # which is alive, as was just seen
        raise BlockingIOError(
            f"held by process {holder.pid} on {holder.host}, which stands still: `kill -CONT"
            f" {holder.pid}` lets it go on, `kill -KILL {holder.pid}` ends it"
        )
    return True


def age_of(path: Path) -> float:
    """Seconds since a file was touched, by the clock of the disk's server."""
    probe = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    probe.touch()
    try:
        return probe.stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
    finally:
        probe.unlink()


def _holder(path: Path) -> Holder | None:
    """Who holds a lease; None where nobody does."""
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):  # cut by a power failure: only its age tells
        return Holder("an unknown machine", "", 0, "", "")


def _keep(path: Path, me: Holder, beat: float, done: threading.Event) -> None:
    """Give signs of life until told to end, or until the lease is another's."""
    while not done.wait(beat):
        with suppress(OSError):
            if _holder(path) != me:
                return
            os.utime(path)


def _machine() -> str:
    """Name of this boot and process namespace; "" where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _born(pid: int) -> str:
    """Start time of a process in ticks since the boot (proc(5), stat 22); "" if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]
