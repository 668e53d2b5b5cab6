"""A training step recorded once and played again, so that a GPU is given one launch for hundreds.

A recording repeats the same kernels on the same memory. So a batch is copied into the tensors that
were there when it was made, numbers that change over the run lie in tensors (`Progress.scalar`),
and where a method decides by its position in the run (`Progress.choice`), each set of answers has a
recording of its own. Steps before a recording use the same tensors: they are the same arithmetic.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, fields
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from benchmarks.engine.job import Job
from methods.base import Batch, Progress

# Values of a step by name: tensors are still on the device.
Row = Mapping[str, Tensor | float]

# Steps of a phase before it is recorded, in which libraries set themselves up and optimisers make
# their states; PyTorch's own `make_graphed_callables` takes as many.
_WARM = 3
# Recordings of a run at most: each keeps the memory of a step. EGCL-Net and U2PL need two.
_MOST = 4

Work = Callable[[Batch, Progress], Row]
A = TypeVar("A", bound=Hashable)


class Recording(Protocol):
    """What repeats the work of a device."""

    def record(self, work: Callable[[], Row]) -> Row:
        """Note all that is done in a call, without doing it; returns tensors that `play` fills."""

    def play(self) -> None:
        """Do it."""


class CudaRecording:
    """A CUDA graph."""

    def __init__(self) -> None:
        self._graph = torch.cuda.CUDAGraph()

    def record(self, work: Callable[[], Row]) -> Row:
        """Capture a call."""
        # Thread-local, since the loader's thread may copy meanwhile.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            return work()

    def play(self) -> None:
        """Launch what was captured; random numbers follow the seed that is set."""
        self._graph.replay()


def why_eager(job: Job, device: torch.device) -> str:
    """In a word, why a run plays no recordings; "" if it does."""
    train = job.train
    reasons = {
        "off": train.graph == "off",
        "device": device.type != "cuda",
        "compile": train.compile,
        "skip_nonfinite": train.skip_nonfinite > 0,  # reads the loss in every step
    }
    return job.method.uncaptured or next((word for word, holds in reasons.items() if holds), "")


class _Watched(Progress):
    """A position whose numbers lie in tensors, and which notes what it was asked."""

    def __init__(
        self, now: Progress, numbers: list[Tensor], device: torch.device, *, filled: bool = True
    ) -> None:
        self._now, self._numbers, self._device, self._filled = now, numbers, device, filled
        self.asked: list[Callable[[Progress], float]] = []
        self.choices: list[tuple[Callable[[Progress], Hashable], Hashable]] = []
        self.direct = False

    @property
    def step(self) -> int:
        """As in `Progress`; a recording cannot follow it."""
        self.direct = True
        return self._now.step

    @property
    def total(self) -> int:
        """As in `Progress`."""
        return self._now.total

    def scalar(self, value: Callable[[Progress], float]) -> Tensor:
        """A number in a tensor that is filled anew before every step."""
        place = len(self.asked)
        self.asked.append(value)
        if place == len(self._numbers):
            self._numbers.append(torch.zeros((), device=self._device))
        if self._filled:
            self._numbers[place].fill_(value(self._now))
        return self._numbers[place]

    def choice(self, ask: Callable[[Progress], A]) -> A:
        """An answer that decides what is done."""
        answer = ask(self._now)
        self.choices.append((ask, answer))
        return answer


@dataclass
class _Phase:
    """Steps in which a method does the same."""

    choices: list[tuple[Callable[[Progress], Hashable], Hashable]]
    seen: int = 0
    asked: list[Callable[[Progress], float]] = field(default_factory=list)
    recording: Recording | None = None
    row: Row = field(default_factory=dict)

    def holds(self, now: Progress) -> bool:
        return all(ask(now) == answer for ask, answer in self.choices)


class Graphed:
    """Steps of a run, from the fourth of every phase on played from a recording.

    Args:
        make: an empty recording.
        device: of the run.
    """

    def __init__(self, make: Callable[[], Recording], device: torch.device) -> None:
        self._make, self._device = make, device
        self._numbers: list[Tensor] = []
        self._phases: list[_Phase] = []
        self._batch: Batch | None = None
        self._eager = False  # whether recording was given up

    def step(self, work: Work, batch: Batch, now: Progress, *, seed: int, alone: bool) -> Row:
        """A step, played from its recording if there is one, or if it is time to make it.

        Args:
            work: the step, which does the same in every call but for its arguments.
            batch: its data.
            now: its position.
            seed: of its random numbers, which is set.
            alone: whether the step does more than others, so that no recording may stand for it.

        Returns:
            Tensors that the next step may overwrite.
        """
        phase = next((p for p in self._phases if p.holds(now)), None)
        if not (alone or self._eager or phase is None or phase.seen < _WARM):
            row = self._played(phase, work, batch, now)
            if row is not None:
                return row
            torch.manual_seed(seed)  # the attempt may have drawn
        watched = _Watched(now, self._numbers, self._device)
        row = work(batch, watched)
        self._eager |= watched.direct
        if phase is None:
            phase = _Phase(watched.choices)
            self._phases.append(phase)
        phase.seen += 1
        return row

    def _played(self, phase: _Phase, work: Work, batch: Batch, now: Progress) -> Row | None:
        if self._batch is None:
            self._batch = type(batch)(*(part.clone() for part in _parts(batch)))
        recording = phase.recording or self._recorded(phase, work, self._batch, now)
        if recording is None:
            return None
        for kept, new in zip(_parts(self._batch), _parts(batch), strict=True):
            kept.copy_(new)
        for number, value in zip(self._numbers, phase.asked, strict=False):
            number.fill_(value(now))
        recording.play()
        return phase.row

    def _recorded(self, phase: _Phase, work: Work, batch: Batch, now: Progress) -> Recording | None:
        """Record a phase; None if that cannot be."""
        if sum(p.recording is not None for p in self._phases) == _MOST:
            return None
        watched = _Watched(now, self._numbers, self._device, filled=False)
        try:
            recording = self._make()
            phase.row = recording.record(lambda: work(batch, watched))
        except RuntimeError as error:  # out of memory, or an operation that cannot be captured
            warnings.warn(
                f"a step of this run cannot be recorded ({str(error).splitlines()[0]}); it goes on"
                " launch by launch, slower and to the same results. `train.graph: off` avoids the"
                " attempt",
                stacklevel=2,
            )
            self._eager = True
            return None
        phase.recording, phase.asked = recording, watched.asked
        return recording


def _parts(batch: Batch) -> tuple[Tensor, ...]:
    return tuple(getattr(batch, part.name) for part in fields(batch))
