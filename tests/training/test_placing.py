"""How many runs go on which card, decided with pretended cards."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from benchmarks.common import device as devices
from benchmarks.common.device import energy_meter
from benchmarks.common.errors import ConfigError
from benchmarks.engine import trainer
from benchmarks.engine.ledger import probe_steps
from benchmarks.plan.resolve import Run, resolve
from benchmarks.training import placing
from benchmarks.training.one import Place
from benchmarks.training.placing import Measured, Room, cards_of, find_room, per_card
from tests.engine.small import make_config

PLACE = Place(Path(), "cuda")
RUNS = cast("list[Run]", list(range(40)))


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def pretend(count: int) -> None:
        for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))

    return pretend


@pytest.mark.parametrize(
    ("need", "free", "cards", "cores", "expected"),
    [
        (10_000, 80_000, 1, 16, 6),  # four fifths of the memory
        (10_000, 80_000, 4, 16, 4),  # a core for each
        (1_000, 80_000, 1, 64, 8),  # never more
        (70_000, 80_000, 1, 16, 1),
        (90_000, 80_000, 1, 16, 1),
        (1_000, 80_000, 8, 4, 1),
    ],
)
def test_as_many_as_memory_and_cores_allow(
    need: int, free: int, cards: int, cores: int, expected: int
) -> None:
    assert per_card(Measured(need, free), cards, cores) == expected


def test_threads_are_not_forked() -> None:
    """A forked process waits for ever for OpenMP's threads that its parent had."""
    one, two = (Place(Path(), "cpu", threads=n) for n in (1, 2))
    assert Room(2).forks(one) and not Room(2).forks(two)
    assert not Room(2, ("0",)).forks(one)


def test_one_where_nothing_is_known() -> None:
    assert per_card(None, 1, 16) == per_card(Measured(0, 80_000), 1, 16) == 1


def test_the_longest_run_is_measured_and_all_cards_are_filled(cards: Callable[[int], None]) -> None:
    cards(2)
    asked = []

    def measure(run: Run, place: Place, room: Room) -> Measured:
        asked.append((run, place, room))
        return Measured(20_000, 80_000)

    assert find_room(RUNS, PLACE, None, measure) == Room(6, ("0", "1"))
    assert asked == [(RUNS[0], PLACE, Room(1, ("0",)))]
    assert find_room(RUNS[:5], PLACE, None, measure).count == 5
    assert find_room(RUNS[:2], PLACE, None, measure) == Room(2, ("0", "1"))
    assert find_room(RUNS, PLACE, 4, measure) == Room(4, ("0", "1"))
    assert find_room(RUNS, PLACE, 1, measure) == Room(1, ("0",))
    assert len(asked) == 2, "measured where it does not matter"
    assert find_room(RUNS, PLACE, None, lambda *_: None) == Room(2, ("0", "1"))
    assert find_room(RUNS, Place(Path(), "cpu"), None, measure) == Room(16)


def test_a_driver_without_a_card_is_a_cpu(
    cards: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with `CUDA_VISIBLE_DEVICES=""`, or a driver too old for this PyTorch."""
    cards(0)
    monkeypatch.setattr(placing, "cards_of", lambda _: ())
    monkeypatch.setattr(devices, "on_cpu", lambda device: device == "cpu")
    assert find_room(RUNS, Place(Path(), "auto"), None) == Room(16)


def test_memory_is_that_of_steps_beside_a_recording(
    flat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Late ones, then the last, which is probed and logged and so never played."""
    made: list[int] = []

    class Noting(trainer.Trainer):
        def step(self, step: int, given: Any = None) -> Any:
            made.append(step)
            return super().step(step, given)

    monkeypatch.setattr(trainer, "Trainer", Noting)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (80 << 30, 0))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda _: 3 << 30)
    config = make_config(iterations=100)
    (run,) = resolve(config, config.grid.datasets[0], "mean_teacher", flat)
    found = placing._some_steps((run, Place(flat, "cpu")), lambda *_: None)
    assert found == Measured(3 * 1024 + placing._CONTEXT, 80 * 1024)
    assert made == [*range(75, 81), 99] and 99 in probe_steps(100)
    assert placing.measured_steps(1) == [0]


def test_workers_are_spread_over_the_cards(
    cards: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    cards(2)
    assert cards_of("cuda:1") == ("1",) and cards_of("cpu") == ()
    with pytest.raises(ConfigError, match="no device 'cuda:2' here"):
        cards_of("cuda:2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5e77")
    assert cards_of("cuda") == ("3", "GPU-5e77") and cards_of("cuda:1") == ("GPU-5e77",)
    room = find_room(RUNS, PLACE, 4)
    seen = [room.variables(number)["CUDA_VISIBLE_DEVICES"] for number in range(4)]
    assert seen == ["3", "GPU-5e77", "3", "GPU-5e77"]
    assert room.place(PLACE) == replace(PLACE, device="cuda", threads=4)
    assert Room(2).variables(1) == {} and Room(2).place(Place(Path(), "cpu")).device == "cpu"


WORK = """
import os, sys
from pathlib import Path
from benchmarks.common.workers import run_tasks
from benchmarks.training.placing import Room
from tests.training.cards import seen
if __name__ == "__main__":
    room = Room(2, ("7", "8"))
    outcomes = run_tasks(seen, [Path(sys.argv[1])] * 2, 2, variables=room.variables)
    print(sorted(o.value() for o in outcomes), os.environ.get("CUDA_VISIBLE_DEVICES"))
"""


def test_a_worker_sees_its_card_before_torch_is_loaded(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(WORK)
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root)}
    env.pop("CUDA_VISIBLE_DEVICES", None)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], env=env, cwd=root, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "[('7', False), ('8', False)] None\n"


def test_energy_is_that_of_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    millijoules = iter((5_000, 6_000, 9_500))
    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID={"GPU-5e77": "handle"}.__getitem__,
        nvmlDeviceGetTotalEnergyConsumption=lambda _: next(millijoules),
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    properties = SimpleNamespace(uuid="5e77")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    meter = energy_meter("cuda")
    assert meter is not None and [meter(), meter()] == [6.0, 9.5]
    properties.uuid = "another"
    assert energy_meter("cuda") is None and energy_meter("cpu") is None


def test_the_card_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, 6")
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda _: 3 << 20)
    assert devices._card(torch.device("cuda:1")) == {"card": "6", "peak_device_memory_mb": 3}


def test_a_run_that_cannot_be_measured_is_placed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = SimpleNamespace(result=None, error=MemoryError())
    monkeypatch.setattr(placing, "run_tasks", lambda *_a, **_k: iter([lost]))
    assert placing.measured_on(RUNS[0], PLACE, Room(1, ("0",))) is None
