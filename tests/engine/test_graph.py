"""Recorded steps: every method's, played on the CPU by a tape, is what the step itself does."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.engine.graph import Graphed, why_eager
from benchmarks.engine.job import Job
from benchmarks.engine.trainer import Trainer
from methods import load_method, method_ids
from methods.base import Batch, Progress
from tests.engine.small import QUIET, job_of, make_config
from tests.engine.tape import Tape, state

# Recorded as others that the ordinary tests play: by `make contract` alone.
ALIKE = {
    "ac_mt", "cct", "cps", "crossmatch", "ctct", "dan", "dct", "dtc", "entropy_min",
    "full_supervised", "ict", "mc_net", "r_drop", "rot_consistency", "ua_mt", "unimatch",
    "unimatch_v2", "urpc",
}  # fmt: skip
METHODS = [
    pytest.param(name, marks=[pytest.mark.wide] if name in ALIKE else [], id=name)
    for name in method_ids()
]
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def unable() -> Tape:
    raise RuntimeError("no memory for a graph")


def after(trainer: Trainer, steps: Iterable[int], graphed: Graphed | None = None) -> list[Tensor]:
    """State after some steps of a run."""
    for step in steps:
        if graphed is None:
            trainer.step(step)
        else:
            trainer.played_step(graphed, step)
    trainer.loader.close()
    return [value.detach().clone() for value in state(trainer)]


def job(root: Path, folder: Path, method: str) -> Job:
    return job_of(root, folder, method, make_config(iterations=1000))


def taped(trainer: Trainer) -> Graphed:
    return Graphed(lambda: Tape(partial(state, trainer)), CPU)


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("method", METHODS)
def test_a_played_step_is_the_step(method: str, flat: Path, tmp_path: Path) -> None:
    """Late in a run, three steps to warm up and two that are played, against five without."""
    run, steps = job(flat, tmp_path, method), range(901, 906)
    graphed = taped(trainer := Trainer(run, CPU, QUIET))
    if load_method(method).uncaptured:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            after(trainer, steps, graphed)
        assert graphed._eager, f"{method} is no exception any more"
        return
    found = after(trainer, steps, graphed)
    assert [p.recording is not None for p in graphed._phases] == [True]
    with pytest.warns(UserWarning, match="no memory for a graph"):
        assert same(found, after(Trainer(run, CPU, QUIET), steps, Graphed(unable, CPU)))


def test_another_stage_has_another_recording(flat: Path, tmp_path: Path) -> None:
    """EGCL-Net's contrast starts after a thirtieth of the run; steps 29 and 39 are logged."""
    run, steps = job(flat, tmp_path, "egcl_net"), range(28, 42)
    graphed = taped(trainer := Trainer(run, CPU, QUIET))
    found = after(trainer, steps, graphed)
    with pytest.warns(UserWarning):
        assert same(found, after(Trainer(run, CPU, QUIET), steps, Graphed(unable, CPU)))
    assert [p.recording is not None for p in graphed._phases] == [True, True]
    assert [p.seen for p in graphed._phases] == [3, 4]


@pytest.mark.parametrize("method", ["mean_teacher", "egcl_net", "u2pl", "fixmatch"])
def test_numbers_in_tensors_are_the_same_numbers(method: str, flat: Path, tmp_path: Path) -> None:
    run, steps = job(flat, tmp_path, method), range(901, 904)
    plain = after(Trainer(run, CPU, QUIET), steps)
    found = after(trainer := Trainer(run, CPU, QUIET), steps, taped(trainer))
    for a, b in zip(plain, found, strict=True):
        # Weights are below 1; rounding grows to some 1e-6 in three steps, as processors round.
        torch.testing.assert_close(a, b, rtol=1e-4, atol=4e-6)


def test_who_reads_the_position_itself_is_not_recorded() -> None:
    graphed, batch = Graphed(unable, CPU), Batch(*(torch.zeros(1, 1, 1) for _ in range(3)))
    seen = []

    def work(_: Batch, t: Progress) -> dict[str, Tensor]:
        seen.append(t.step)
        return {}

    for step in range(6):
        graphed.step(work, batch, Progress(step, 6), seed=0, alone=False)
    assert seen == list(range(6))


def test_no_more_than_four_recordings_are_kept() -> None:
    made = []

    class Empty:
        def __init__(self) -> None:
            made.append(self)

        def record(self, work: object) -> dict[str, Tensor]:  # noqa: ARG002
            return {}

        def play(self) -> None:
            pass

    graphed, batch = Graphed(Empty, CPU), Batch(*(torch.zeros(1, 1, 1) for _ in range(3)))
    for step in range(60):
        graphed.step(
            lambda _, t: {"kind": t.choice(lambda now: now.step % 6)},
            batch, Progress(step, 60), seed=0, alone=False,
        )  # fmt: skip
    assert len(made) == 4


def test_when_a_run_is_recorded(flat: Path, tmp_path: Path) -> None:
    run = job(flat, tmp_path, "mean_teacher")
    assert why_eager(run, CUDA) == ""
    assert why_eager(run, CPU) == "device"
    for key, value, word in [("graph", "off", "off"), ("skip_nonfinite", 1, "skip_nonfinite")]:
        changed = replace(run, train=run.train.model_copy(update={key: value}))
        assert why_eager(changed, CUDA) == word
    assert why_eager(job(flat, tmp_path, "bcp"), CUDA) == "components"
