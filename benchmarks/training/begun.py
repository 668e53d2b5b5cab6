"""With what a stopped run was begun: other precision or other threads give other bits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.common.errors import RunError
from benchmarks.common.files import read_json, write_json
from benchmarks.common.schema import Strict
from benchmarks.plan.resolve import Run

if TYPE_CHECKING:
    import torch

NOTE = "begun.json"


class Begun(Strict):
    """With what a run was begun, which is no part of its identity.

    Attributes:
        digest: of the run.
        precision: of its arithmetic, such as `float32`.
        threads: on a CPU; 0 on a card.
    """

    digest: str
    precision: str
    threads: int


def begun_with(run: Run, partial: Path, now: Begun, device: torch.device) -> Begun:
    """With what a run goes on, or `now` if it begins; it is noted for the next time.

    `train.amp: auto` follows the device, and how many threads a run gets the number of runs beside
    it; both are the same identity.

    Args:
        run: which.
        partial: its folder.
        now: what it would be begun with here.
        device: on which.

    Raises:
        RunError: it was begun in another precision; names both.
    """
    note = partial / NOTE
    found = _read(note) or now
    if not _has_state(partial) or found.digest != now.digest:
        found = now
    if found.precision != now.precision:
        raise RunError(
            f"{run.key.title} was begun in {found.precision} and would go on in {now.precision} on"
            f" {device}, by train.amp: {run.train.amp}. Go on with it on the kind of device it was"
            f" begun on (`--device`), or train it anew here after `rm -r '{partial}'`"
        )
    if not (found.threads and now.threads):
        found = now  # on another kind of device, where bits are others anyway
    write_json(note, found.model_dump())
    return found


def _has_state(partial: Path) -> bool:
    from benchmarks.engine.state import PREVIOUS, STATE

    return any((partial / name).exists() for name in (STATE, PREVIOUS))


def _read(note: Path) -> Begun | None:
    """None if there is none, or a damaged one."""
    try:
        return Begun.model_validate(read_json(note))
    except (OSError, ValueError):
        return None
