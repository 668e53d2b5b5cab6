"""Resumable state of an unfinished run, written atomically and read without unpickling objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.errors import RunError
from benchmarks.files import atomic_open

# Kept until the record of the finished run is written.
STATE = "state.pt"


@dataclass
class Position:
    """Where the loop stands.

    Attributes:
        step: next iteration.
        best_step: iteration count of the best validation so far, 0 if none.
        best_score: its mean foreground Dice in [0, 1].
        seconds: wall time spent so far, validation and saving included.
        metrics_bytes: length of metrics.jsonl that belongs to this state.
        validations: mean foreground Dice of every validation, by iteration count.
    """

    step: int = 0
    best_step: int = 0
    best_score: float = -1.0
    seconds: float = 0.0
    metrics_bytes: int = 0
    validations: dict[int, float] = field(default_factory=dict)


def save_state(path: Path, digest: str, position: Position, parts: Mapping[str, Any]) -> None:
    """Write the state of a run.

    Args:
        path: target file.
        digest: identity of the run.
        position: of the loop.
        parts: state dicts by name.
    """
    with atomic_open(path) as stream:
        torch.save({"digest": digest, "position": asdict(position), **parts}, stream)


def load_state(path: Path, digest: str) -> tuple[Position, dict[str, Any]] | None:
    """Read a state; None where there is none, or one of a run with another configuration.

    Raises:
        RunError: the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state.pop("digest") != digest:
            return None
        return Position(**state.pop("position")), state
    except Exception as error:
        raise RunError(
            f"'{path}' is no readable state of a run ({type(error).__name__}); delete it to start"
            " this run anew"
        ) from None


def save_weights(path: Path, module: nn.Module) -> None:
    """Write all parameters and buffers as safetensors, atomically."""
    with atomic_open(path) as stream:
        name = Path(stream.name)
        tensors = {
            key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()
        }
        save_file(tensors, name)


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
            " its folder and run `python -m benchmarks run` again"
        ) from None
