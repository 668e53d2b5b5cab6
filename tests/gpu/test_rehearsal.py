"""What `make gpu` does, tried on the CPU with small sizes and few methods."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from methods.base import Method
from methods.blocks.losses import one_hot
from tests.contract.case import CPU, gradients
from tests.engine.conftest import flat
from tests.gpu import agree, bare
from tests.gpu.__main__ import write
from tests.gpu.agree import SameDraws, difference
from tests.gpu.baseline import average, dice_loss, ramp
from tests.gpu.measure import measure
from tests.gpu.test_device import HALF, STEPS, recorded, same, stretch
from tests.gpu.timing import TINY

__all__ = ["flat"]

LAYOUT = {2: torch.channels_last, 3: torch.channels_last_3d}


@pytest.mark.parametrize(("method", "ndim"), [("mean_teacher", 2), ("egcl_net", 3)])
def test_devices_are_compared(method: str, ndim: int) -> None:
    """Another memory layout stands for the other device: it rounds in another way."""
    found = difference(method, ndim, CPU, LAYOUT[ndim])
    assert found.loss < 1e-3 and 0 < found.gradient < 1e-2 and found.running < 1e-2, found


def test_a_wrong_gradient_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    found = gradients
    factor = iter((1.0, 1.02))

    def wrong(method: Method[Any], value: Tensor) -> dict[str, Tensor]:
        by = next(factor)
        return {name: by * gradient for name, gradient in found(method, value).items()}

    monkeypatch.setattr(agree, "gradients", wrong)
    assert difference("supervised", 2, CPU).gradient == pytest.approx(0.02, rel=1e-3)


def test_draws_are_those_of_the_cpu() -> None:
    drawn = []
    for mode in (False, True):
        torch.manual_seed(3)
        with SameDraws() if mode else torch.no_grad():  # type: ignore[no-untyped-call]
            x = torch.rand(2, device="cpu")
            drawn.append(torch.cat([x, torch.randn_like(x), torch.empty(3).uniform_(0, 1)]))
    assert torch.equal(*drawn)


def test_baseline_is_the_protocol() -> None:
    """Values by hand: SSL4MIS ramps to 0.1 at iteration 30,000, and averages from the start."""
    assert ramp(0) == pytest.approx(0.1 * math.exp(-5)) and ramp(30_000) == pytest.approx(0.1)
    assert ramp(15_149) == ramp(15_000) == pytest.approx(0.1 * math.exp(-1.25))
    probability, label = torch.rand(2, 3, 4, 4).softmax(1), torch.randint(3, (2, 4, 4))
    loss, scores = dice_loss(probability, label)
    y = one_hot(label, 3).double()
    p = probability.double()
    whole = (2 * (p * y).sum((0, 2, 3)) + 1e-5) / ((p * p + y * y).sum((0, 2, 3)) + 1e-5)
    assert float(loss) == pytest.approx(float(1 - whole.mean()))
    assert scores == pytest.approx(whole.tolist())
    teacher, student = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    average(teacher, student, 0)
    assert torch.equal(teacher.weight, student.weight)
    before = teacher.weight.clone()
    student.weight.data.add_(1)
    average(teacher, student, 5000)
    torch.testing.assert_close(teacher.weight, before + 0.01)


def test_a_stretch_goes_on_where_one_was_stopped(flat: Path, tmp_path: Path) -> None:
    whole = stretch(flat, tmp_path / "whole", "mean_teacher", CPU, STEPS)
    assert whole.position.step == STEPS and not recorded(whole)
    first = stretch(flat, tmp_path / "parts", "mean_teacher", CPU, HALF)
    assert first.position.step == HALF and not same(first, whole)
    assert same(stretch(flat, tmp_path / "parts", "mean_teacher", CPU, STEPS - HALF), whole)


def test_timing_writes_table_and_figure(tmp_path: Path) -> None:
    plane, solid = TINY[:1], TINY[1:]
    names = ["mean_teacher", "bcp"]
    packed = [(plane[0], count) for count in (1, 2)]
    rows = list(measure(tmp_path, plane, names, CPU, packed=packed, seconds=0.2, mps=str(tmp_path)))
    rows += measure(tmp_path, solid, [], CPU)
    files = write(rows, tmp_path / "out", CPU)
    assert {p.name for p in files} == {"gpu.csv", "gpu_machine.json", "gpu.pdf", "gpu.png"}
    table = pd.read_csv(tmp_path / "out/gpu.csv")
    assert [tuple(r) for r in table[["method", "mode"]].itertuples(index=False)] == [
        ("mean_teacher", "SSL4MIS"),
        *[("mean_teacher", m) for m in ("at once", "at once, MPS")],
        *[("mean_teacher", m) for m in ("eager float32", "eager bf16", "graph bf16")],
        *[("bcp", m) for m in ("eager float32", "eager bf16", "graph bf16")],
        ("mean_teacher", "SSL4MIS"),
    ]  # fmt: skip
    unrecorded = (table["method"] == "bcp") & (table["mode"] == "graph bf16")
    assert set(table.loc[unrecorded, "note"]) == {"never recorded: components"}
    assert (table.loc[~unrecorded, "ms"] > 0).all() and table.loc[unrecorded, "ms"].isna().all()
    both = table[table["mode"] == "at once, MPS"].iloc[0]
    assert both["runs"] == 2 and both["ms"] == pytest.approx(2e3 / both["steps_per_s"], rel=1e-2)


def test_what_time_is_too_short_for_is_named(tmp_path: Path) -> None:
    rows = list(measure(tmp_path, TINY[:1], ["cct"], CPU, until=0.0, packed=[(TINY[0], 4)]))
    assert [r["method"] for r in rows] == ["mean_teacher", "mean_teacher", "cct"]
    assert {r["note"] for r in rows} == {"not timed: the time was over"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_cuda_a_sentence_is_all() -> None:
    before = sorted(bare.ROOT.glob("reports/speed/*")), bare.PACKAGES.exists()
    done = subprocess.run(
        [sys.executable, "tests/gpu/bare.py"], cwd=bare.ROOT, capture_output=True, text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 2 and not done.stdout
    assert len(done.stderr.splitlines()) == 1
    assert "sees no CUDA device here: nothing was run or written" in done.stderr
    assert before == (sorted(bare.ROOT.glob("reports/speed/*")), bare.PACKAGES.exists())


def test_packages_are_those_of_the_lock_but_for_pytorch() -> None:
    entries = bare.needed((bare.ROOT / "requirements.lock").read_text("utf-8"))
    names = {entry.split("==")[0] for entry in entries}
    assert {"nibabel", "pytest-xdist", "numpy", "iniconfig", "pydantic-core"} <= names
    assert not names & {"torch", "torchvision", "triton", "dvc", "mypy", "onnxruntime"}
    assert all("--hash=sha256:" in entry for entry in entries)


def test_a_folder_gives_what_it_holds_and_the_machine_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = bare.needed((bare.ROOT / "requirements.lock").read_text("utf-8"))
    for name in ("ruamel_yaml_clib-0.2.15-cp312-cp312-linux_x86_64.whl", "medpy-0.5.2.tar.gz"):
        (tmp_path / name).touch()
    taken = [entry.split("==")[0] for entry in bare.held_by(tmp_path, entries)]
    assert taken == ["medpy", "ruamel-yaml-clib"]
    monkeypatch.setattr(bare, "distributions", lambda: iter(()))
    with pytest.raises(SystemExit) as refused:
        bare.held_by(tmp_path, entries)
    words = str(refused.value)
    assert "medpy" not in words and f"pip download --no-deps -d {tmp_path} einops h5py" in words
