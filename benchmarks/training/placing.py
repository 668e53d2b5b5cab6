"""Where runs go on a machine with GPUs: how many at once, and which on which card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.common.device import (
    cores_per_run,
    default_jobs,
    on_cpu,
    pick_device,
    usable_cores,
    visible_cards,
)  # fmt: skip
from benchmarks.common.workers import Report, run_tasks
from benchmarks.plan.resolve import Run, open_job
from benchmarks.training.one import Place

# Steps whose memory is measured: three, a recording's own, and two that are played from it.
_STEPS = 6
# They are made where all terms of most methods have started.
_LATE = 3 / 4
# What a process takes of a card beside PyTorch's memory, for CUDA and its libraries, in MB.
_CONTEXT = 700
# Share of a card's free memory that is given to runs; validation and other data sets need some.
_FILLED = 0.8
# Runs on one card at most; beyond some processes take turns and win nothing.
_MOST = 8


@dataclass(frozen=True)
class Measured:
    """Memory of a card, in MB.

    Attributes:
        need: of one run's process.
        free: before it started.
    """

    need: int
    free: int


@dataclass(frozen=True)
class Room:
    """Places for runs at once.

    Attributes:
        count: runs at once.
        cards: names as `CUDA_VISIBLE_DEVICES` takes them; none on a CPU.
    """

    count: int
    cards: tuple[str, ...] = ()

    def variables(self, number: int) -> Mapping[str, str]:
        """Environment of a worker, which sees one card; workers are spread evenly."""
        return {"CUDA_VISIBLE_DEVICES": self.cards[number % len(self.cards)]} if self.cards else {}

    def forks(self, place: Place) -> bool:
        """Whether workers may be forked: not with CUDA, nor with threads that this process has had.

        OpenMP's threads are not in a forked process, which would wait for them for ever.
        """
        return not self.cards and self.place(place).threads == 1

    def place(self, place: Place) -> Place:
        """Where a worker makes its runs: on the one card that it sees, or with its cores."""
        threads = place.threads or cores_per_run(self.count)
        return replace(place, threads=threads, device="cuda" if self.cards else place.device)


def per_card(measured: Measured | None, cards: int, cores: int) -> int:
    """Runs at once on each card: as its memory and the cores allow, 1 if nothing was measured.

    Args:
        measured: memory, of the run that is expected to need most.
        cards: at least 1, taken to be alike.
        cores: of the CPU; each run keeps one busy.
    """
    if measured is None or measured.need <= 0:
        return 1
    fitting = int(_FILLED * measured.free) // measured.need
    return max(1, min(fitting, cores // cards, _MOST))


def cards_of(device: str) -> tuple[str, ...]:
    """The cards that a device's name stands for, as `CUDA_VISIBLE_DEVICES` takes them.

    Raises:
        ConfigError: no such device here.
    """
    if on_cpu(device):
        return ()
    import torch

    names = visible_cards(torch.cuda.device_count())  # asks the driver, and takes no memory
    index = device.partition(":")[2]
    names = names[int(index) : int(index) + 1] if index.isdigit() else names
    if not names:
        pick_device(device)
    return names


def find_room(
    todo: Sequence[Run],
    place: Place,
    jobs: int | None,
    measure: Callable[[Run, Place, Room], Measured | None] | None = None,
) -> Room:
    """Room for some runs: what `jobs` says; else all cores, or all cards filled as memory allows.

    Args:
        todo: runs, the longest first: that one is measured where there are more runs than cards.
        place: where they are made.
        jobs: runs at once, or None.
        measure: tells the memory of a run on a card; `measured_on` unless given.

    Raises:
        ConfigError: no such device here.
    """
    cards = cards_of(place.device)
    if not cards:
        return Room(min(jobs or default_jobs("cpu"), len(todo)))
    if jobs is None:
        jobs = len(cards)
        if len(todo) > len(cards):
            measured = (measure or measured_on)(todo[0], place, Room(1, cards[:1]))
            jobs *= per_card(measured, len(cards), usable_cores())
    count = min(jobs, len(todo))
    return Room(count, cards[:count])


def measured_on(run: Run, place: Place, room: Room) -> Measured | None:
    """Memory of some steps of a run, in a process of its own; None if that fails."""
    tasks = [(run, room.place(place))]
    (outcome,) = run_tasks(_some_steps, tasks, 1, variables=room.variables)
    return outcome.result


def measured_steps(total: int) -> list[int]:
    """Steps of a run, from 0, that need as much memory as any of its others.

    Late ones, the first of which are recorded where that is possible, and the last one, which is
    probed and logged and therefore made beside the recording.

    Args:
        total: of the run.
    """
    first = int(_LATE * total)
    return [*range(first, min(first + _STEPS, total - 1)), total - 1]


def _some_steps(task: tuple[Run, Place], report: Report) -> Measured:
    """The work of `measured_on`; nothing of the run is kept."""
    import torch

    from benchmarks.engine.graph import CudaRecording, Graphed, why_eager
    from benchmarks.engine.trainer import Hooks, Trainer

    del report
    run, place = task
    device = pick_device(place.device)
    free = torch.cuda.mem_get_info(device)[0]
    hooks = Hooks(report=lambda _done, _note: None, stop=lambda: False)
    with TemporaryDirectory() as folder:
        trainer = Trainer(open_job(run, place.root, Path(folder)), device, hooks)
        played = partial(trainer.played_step, Graphed(CudaRecording, device))
        make = trainer.step if why_eager(trainer.job, device) else played
        for step in measured_steps(run.train.iterations):
            make(step)
        trainer.loader.close()
    need = torch.cuda.max_memory_reserved(device) // 2**20 + _CONTEXT
    return Measured(need, free // 2**20)
