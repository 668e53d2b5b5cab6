"""Resumable state of an unfinished run, written atomically and read without unpickling objects."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.common.errors import RunError
from benchmarks.common.files import atomic_open, bytes_digest

# Kept until the record of the finished run is written.
STATE = "state.pt"
PREVIOUS = "previous_state.pt"
DAMAGED = ".damaged"  # ending of one that could not be read


@dataclass
class Position:
    """Where the loop stands.

    Attributes:
        step: next iteration.
        best_step: iteration count of the best validation so far, 0 if none.
        best_score: its mean foreground Dice in [0, 1].
        seconds: wall time spent so far, validation and saving included.
        metrics_bytes: length of metrics.jsonl that belongs to this state.
        metrics_digest: of these bytes.
        validations: mean foreground Dice of every validation, by iteration count.
        skipped: iterations left out because their loss was not finite.
    """

    step: int = 0
    best_step: int = 0
    best_score: float = -1.0
    seconds: float = 0.0
    metrics_bytes: int = 0
    metrics_digest: str = ""
    validations: dict[int, float] = field(default_factory=dict)
    skipped: int = 0

    def note_log(self, log: Path) -> None:
        """Note what the log holds now."""
        logged = log.read_bytes() if log.exists() else b""
        self.metrics_bytes, self.metrics_digest = len(logged), bytes_digest(logged)

    def fits(self, log: Path) -> bool:
        """Whether the log begins with what it held at this position; warns if it does not."""
        logged = log.read_bytes() if log.exists() else b""
        if bytes_digest(logged[: self.metrics_bytes]) == self.metrics_digest:
            return True
        warnings.warn(f"'{log}' was changed; the run starts anew", stacklevel=2)
        return False


def save_state(path: Path, digest: str, position: Position, parts: Mapping[str, Any]) -> None:
    """Write the state of a run; the one before it is kept as `previous_state.pt`.

    Args:
        path: target file.
        digest: identity of the run.
        position: of the loop.
        parts: state dicts by name.
    """
    with atomic_open(path) as stream:
        with _full_disk():
            torch.save({"digest": digest, "position": asdict(position), **parts}, stream)
        if path.is_file():
            previous = path.with_name(PREVIOUS)
            previous.unlink(missing_ok=True)
            previous.hardlink_to(path)  # until the new file takes the name


def load_state(path: Path, digest: str) -> tuple[Position, dict[str, Any]] | None:
    """Read a state, or the one before it where it is damaged.

    A damaged file is kept as `<name>.damaged`, with a warning.

    Args:
        path: of the state.
        digest: identity of the run.

    Returns:
        None where there is no readable state, or one of a run with another configuration.
    """
    for candidate in (path, path.with_name(PREVIOUS)):
        if not candidate.is_file():
            continue
        try:
            _refuse_flipped(candidate)
            state = torch.load(candidate, map_location="cpu", weights_only=True)
            if state.pop("digest") != digest:
                return None
            return Position(**state.pop("position")), state
        except Exception as error:
            aside = candidate.replace(candidate.with_name(f"{candidate.name}{DAMAGED}"))
            warnings.warn(
                f"'{candidate}' is no readable state of a run ({type(error).__name__}); it is now"
                f" '{aside.name}', and the state before it is used or the run starts anew",
                stacklevel=2,
            )
    return None


def _refuse_flipped(path: Path) -> None:
    """Look at the checksums of the archive, which PyTorch writes but does not read."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"'{damaged}' has another checksum")


def save_weights(path: Path, module: nn.Module) -> None:
    """Write all parameters and buffers as safetensors, atomically."""
    with atomic_open(path) as stream:
        name = Path(stream.name)
        tensors = {
            key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()
        }
        with _full_disk():
            save_file(tensors, name)


@contextmanager
def _full_disk() -> Iterator[None]:
    """Both libraries report a failed write as an error of their own; make it one of storage."""
    try:
        yield
    except (RuntimeError, SafetensorError) as error:
        raise OSError(str(error).splitlines()[0]) from error


def load_weights(path: Path, module: nn.Module) -> None:
    """Load weights written by `save_weights` into a module of the same architecture.

    Raises:
        RunError: the file is missing, damaged or of another architecture.
    """
    try:
        module.load_state_dict(load_file(path))
    except Exception as error:
        raise RunError(
            f"'{path}' holds no usable weights ({type(error).__name__}: {str(error)[:200]}); delete"
            " its folder, train it again with the same command, and go on"
        ) from None
