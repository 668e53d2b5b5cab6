"""Training, interruption and reuse of runs on a small prepared phantom."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from _pytest.mark import ParameterSet

from benchmarks.common.errors import ConfigError, Interrupted, RunError
from benchmarks.common.lease import leased
from benchmarks.common.workspace import scores_folder
from benchmarks.engine.loader import make_loader
from benchmarks.engine.optim import learning_rate
from benchmarks.engine.state import STATE
from benchmarks.engine.streams import Stream, StreamConfig
from benchmarks.engine.trainer import SECTIONS, Trainer
from benchmarks.engine.validate import validation_dice
from benchmarks.plan.record import finished
from benchmarks.plan.resolve import resolve
from benchmarks.scoring.evaluate import evaluate
from benchmarks.scoring.trained import open_trained
from benchmarks.training.many import train_runs
from benchmarks.training.one import Place
from benchmarks.training.profile import profile_run
from methods import method_ids
from methods.base import Batch, OracleBatch
from tests.engine.small import QUIET, build, job_of, make_config, stop_at, weights
from tests.noting import noted


def runs_to_interrupt() -> Iterator[ParameterSet]:
    """Every method in 2D and some in 3D; `make contract` adds the others."""
    for dimension, method in itertools.product(("flat", "solid"), method_ids()):
        later = dimension == "solid" and method not in {"supervised", "mean_teacher", "egcl_net"}
        yield pytest.param(dimension, method, marks=[pytest.mark.wide] if later else [])


@pytest.mark.parametrize(("dimension", "method"), list(runs_to_interrupt()))
def test_interrupted_run_ends_with_the_same_bits(
    dimension: str, method: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    root = request.getfixturevalue(dimension)
    config = make_config("phantom_acdc" if dimension == "flat" else "phantom_brats2019")
    cpu = torch.device("cpu")
    whole = job_of(root, tmp_path / "whole", method, config)
    Trainer(whole, cpu, QUIET).train()

    cut = job_of(root, tmp_path / "cut", method, config)
    for stop_after in (2, 5):
        with pytest.raises(Interrupted, match=f"iteration {stop_after}"):
            Trainer(cut, cpu, stop_at(stop_after)).train()
    Trainer(cut, cpu, QUIET).train()
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    files = ["metrics.jsonl", "mechanisms.csv"]
    files += ["pseudo_masks.npz"] * (method != "full_supervised")  # which has no unlabelled image
    for file in files:
        cut_lines, lines = ((tmp_path / name / file).read_bytes() for name in ("cut", "whole"))
        assert cut_lines == lines


def test_adamw_resumes_with_the_same_bits(flat: Path, tmp_path: Path) -> None:
    config = make_config(optimizer={"kind": "adamw", "lr": 0.001})
    cpu = torch.device("cpu")
    for name in ("whole", "cut"):
        job = job_of(flat, tmp_path / name, "mean_teacher", config)
        if name == "cut":
            with pytest.raises(Interrupted):
                Trainer(job, cpu, stop_at(3)).train()
        Trainer(job, cpu, QUIET).train()
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_metrics_hold_losses_and_both_networks(flat: Path, tmp_path: Path) -> None:
    Trainer(job_of(flat, tmp_path, "mean_teacher"), torch.device("cpu"), QUIET).train()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [row for row in rows if "loss" in row]
    assert [row["step"] for row in losses] == [1, 2, 3, 4, 5, 6]
    for row in losses:
        parts = row["loss/supervised"] + row["loss/consistency"]
        assert row["loss"] == pytest.approx(parts, rel=1e-5)
    validations = [row for row in rows if "val/dice" in row]
    assert [row["step"] for row in validations] == [3, 6]
    assert all("val/dice_teacher" in row for row in validations)


def test_masks_of_unlabeled_and_test_patients_are_never_opened(
    flat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training gives the same bits when only labelled and validation masks can be read."""
    Trainer(job_of(flat, tmp_path / "a", "egcl_net"), torch.device("cpu"), QUIET).train()
    job = job_of(flat, tmp_path / "b", "egcl_net")
    allowed = {*job.fold.labeled(job.labels), *job.fold.val}
    opened: set[str] = set()
    original = type(job.data)._load

    def guarded(self: object, case: str, kind: str, shape: tuple[int, ...]) -> object:
        patient = job.data.case(case).patient
        if kind != "image" and patient not in allowed:
            raise AssertionError(f"mask of {case} was opened")
        if patient in job.fold.test:
            raise AssertionError(f"test case {case} was opened")
        opened.add(patient)
        return original(self, case, kind, shape)  # type: ignore[arg-type]

    monkeypatch.setattr(type(job.data), "_load", guarded)
    Trainer(job, torch.device("cpu"), QUIET).train()
    assert opened == {*job.fold.train, *job.fold.val}
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_data_order_is_the_same_for_all_methods(flat: Path, tmp_path: Path) -> None:
    loaders = [
        make_loader(job_of(flat, tmp_path / m, m), torch.device("cpu"))
        for m in ("mean_teacher", "egcl_net")
    ]
    for step in (3, 0, 4):
        a, b = (loader.batch(step) for loader in loaders)
        assert torch.equal(a.image, b.image) and torch.equal(a.label, b.label)
        assert torch.equal(a.unlabeled, b.unlabeled)
    for loader in loaders:
        loader.close()


def test_a_method_without_quarter_turns_reads_the_same_samples(flat: Path, tmp_path: Path) -> None:
    """They differ in their geometry alone: without augmentation not at all."""
    for augment in ("suite", "none"):
        config = make_config(augment=augment)
        usual, upright = (
            make_loader(job_of(flat, tmp_path / augment / m, m, config), torch.device("cpu"))
            for m in ("mean_teacher", "ugpcl")
        )
        pairs = [(usual.batch(step), upright.batch(step)) for step in range(8)]
        assert all(usual.ids(step) == upright.ids(step) for step in range(8))
        for part in ("image", "label", "unlabeled"):
            same = all(torch.equal(getattr(a, part), getattr(b, part)) for a, b in pairs)
            assert same == (augment == "none")
        usual.close()
        upright.close()


def test_stream_visits_every_sample_once_per_pass(flat: Path, tmp_path: Path) -> None:
    job = job_of(flat, tmp_path, "supervised")
    cases = job.data.of_patients(job.fold.labeled(2))
    stream = Stream(
        job.data,
        cases,
        StreamConfig("labeled", 1, None, 0),
        with_label=True,
        device=torch.device("cpu"),
    )
    count = sum(c.grid_shape[0] for c in cases)
    assert len(stream) == count
    passes = [
        [stream.read(n * count + i).image.numpy().tobytes() for i in range(count)] for n in (0, 1)
    ]
    assert sorted(passes[0]) == sorted(passes[1])
    assert passes[0] != passes[1]


def test_crop_larger_than_the_volume_is_padded(solid: Path, tmp_path: Path) -> None:
    config = make_config("phantom_brats2019")
    job = job_of(solid, tmp_path, "supervised", config)
    cases = job.data.of_patients(job.fold.labeled(2))
    stream = Stream(
        job.data,
        cases,
        StreamConfig("labeled", 2, (64, 8, 8), 0),
        with_label=True,
        device=torch.device("cpu"),
    )
    read = stream.read(0)
    image, label = read.image, read.label
    assert image.shape == (2, 1, 64, 8, 8)
    assert label is not None and label.shape == (2, 64, 8, 8)
    assert not image[:, :, -4:].any()


def test_a_run_stopped_again_and_again_in_steps_and_validations_ends_with_the_same_bits(
    flat: Path, tmp_path: Path
) -> None:
    whole, cut = (job_of(flat, tmp_path / name, "mean_teacher") for name in ("whole", "cut"))
    expected = Trainer(whole, torch.device("cpu"), QUIET).train()
    rng, stops = random.Random(0), []
    for _ in range(100):
        asks = iter([False] * rng.randrange(6))
        hooks = replace(QUIET, stop=partial(next, asks, True))
        try:
            found = Trainer(cut, torch.device("cpu"), hooks).train()
            break
        except Interrupted:
            state = torch.load(cut.folder / STATE, weights_only=True)["position"]
            stops.append((state["step"], len(state["validations"])))
    assert {(3, 0), (6, 1)} <= set(stops), "before a validation was complete"
    of_the_state: dict[str, Any] = {"seconds": 0, "metrics_bytes": 0, "metrics_digest": ""}
    assert replace(found, **of_the_state) == replace(expected, **of_the_state)
    assert weights(cut.folder) == weights(whole.folder)
    lines = [(job.folder / "metrics.jsonl").read_bytes() for job in (whole, cut)]
    assert lines[0] == lines[1]


def test_poly_rate() -> None:
    config = make_config().train.optimizer
    assert learning_rate(config, 0.0) == config.lr
    assert learning_rate(config, 0.5) == pytest.approx(config.lr * 0.5**0.9)
    assert learning_rate(config.model_copy(update={"schedule": "constant"}), 0.9) == config.lr


def test_grid_that_the_network_cannot_halve_is_refused(flat: Path, tmp_path: Path) -> None:
    job = job_of(flat, tmp_path, "supervised", make_config(patch=[20, 20]))
    with pytest.raises(ConfigError, match="multiples of 8"):
        Trainer(job, torch.device("cpu"), QUIET)


def test_images_that_instance_norm_would_see_as_one_voxel_are_refused(
    flat: Path, tmp_path: Path
) -> None:
    network = {"kind": "unet", "channels": [4, 8, 12, 16], "norm": "instance"}
    job = job_of(flat, tmp_path, "supervised", make_config(patch=[8, 8], network=network))
    with pytest.raises(ConfigError, match=r"\(8, 8\) voxels.* leaves one at its coarsest level"):
        Trainer(job, torch.device("cpu"), QUIET)
    wider = job.train.model_copy(update={"patch": (8, 16)})
    Trainer(replace(job, train=wider), torch.device("cpu"), QUIET)


def test_non_finite_loss_stops_and_names_the_term(
    flat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(flat, tmp_path, "supervised")
    trainer = Trainer(job, torch.device("cpu"), QUIET)
    monkeypatch.setattr(
        trainer.method, "losses", lambda batch, _t: {"supervised": batch.image.sum() * float("nan")
        + sum(p.sum() for p in trainer.method.parameters())}
    )  # fmt: skip
    with pytest.raises(RunError, match=r"iteration 1: loss/supervised, loss of Supervised"):
        trainer.train()
    assert not (tmp_path / "last.safetensors").exists()


def test_a_stage_longer_than_the_run_is_refused(flat: Path, tmp_path: Path) -> None:
    config = make_config()
    config = config.model_copy(update={"methods": {"ad_mt": {"copy_steps": 6}}})
    said = r"methods\.ad_mt\.copy_steps is 6: term 'pseudo' waits for 6 steps, but a run has 6"
    with pytest.raises(ConfigError, match=said):
        job_of(flat, tmp_path, "ad_mt", config)


def test_finished_runs_are_kept_until_something_changes(flat: Path, tmp_path: Path) -> None:
    root = tmp_path
    for name in ("data", "datasets", "benchmarks", "methods"):
        (root / name).symlink_to(flat / name)
    config, place = make_config(), Place(root, "cpu")
    wanted = resolve(config, "phantom_acdc", "supervised", root)
    assert train_runs(wanted, place) == 1
    folder = wanted[0].key.folder(root)
    record = json.loads((folder / "run.json").read_text())
    assert record["digest"] == wanted[0].digest
    assert {p.name for p in folder.iterdir()} == {
        "run.json", "machine.json", "metrics.jsonl", "mechanisms.csv", "last.safetensors",
        "best.safetensors", "pseudo_masks.npz",
    }  # fmt: skip
    assert train_runs(wanted, place) == 0

    target = evaluate(config, "phantom_acdc", "supervised", place)
    assert target == scores_folder(root, "small", "phantom_acdc", "supervised")
    scores = (target / "cases.csv").read_text().splitlines()
    # 1 test patient x 2 frames x 3 classes x 2 checkpoints
    assert len(scores) == 1 + 12
    steps = pd.read_csv(target / "steps.csv")
    logged = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert list(steps["step"]) == [row["step"] for row in logged]
    assert set(steps["labels"]) == {2} and steps["loss/supervised"].notna().sum() == 6

    probes = pd.read_csv(target / "mechanisms.csv")
    terms = probes[probes["kind"] != "observed"]
    assert list(terms["step"]) == [1, 2, 3, 4, 5, 6] and set(terms["kind"]) == {"reference"}
    (row,) = pd.read_csv(target / "pseudo_labels.csv").to_dict("records")
    trained = open_trained(wanted[0], place)
    unlabeled = trained.job.data.of_patients(trained.job.fold.train[2:])
    dice, _ = validation_dice(
        trained.method.predict, job=trained.job, cases=unlabeled, device=trained.device
    )
    assert (row["network"], row["patients"]) == ("tested", 2)
    assert row["dice"] == pytest.approx(dice) and 0 < row["accuracy"] < 1

    longer = make_config(iterations=7)
    changed = resolve(longer, "phantom_acdc", "supervised", root)
    assert not finished(changed[0], root)
    with pytest.raises(RunError, match="benchmarks run phantom_acdc supervised"):
        evaluate(longer, "phantom_acdc", "supervised", place)


def test_run_of_another_process_is_left_alone(flat: Path, tmp_path: Path) -> None:
    for name in ("data", "datasets", "benchmarks", "methods"):
        (tmp_path / name).symlink_to(flat / name)
    config, place = make_config(), Place(tmp_path, "cpu")
    wanted = resolve(config, "phantom_acdc", "supervised", tmp_path)
    folder = wanted[0].key.folder(tmp_path)
    lock = leased(folder.with_name(f".{folder.name}.lock"))
    with lock, pytest.raises(RunError, match="another process is training") as seen:
        train_runs(wanted, place)
    noted("run: two processes on one run", seen.value)
    assert not folder.exists()
    assert train_runs(wanted, place) == 1
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


TWO_RUNS = """
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, sys.argv[1])
from benchmarks.common.errors import Interrupted
from benchmarks.plan.resolve import resolve
from benchmarks.training.one import Place
from benchmarks.training.many import train_runs
from tests.engine.small import make_config

if __name__ == "__main__":
    config, root = make_config(iterations=int(sys.argv[3]), seeds=(0, 1)), Path(sys.argv[2])
    try:
        wanted = resolve(config, "phantom_acdc", "supervised", root)
        train_runs(wanted, Place(root, "cpu"), jobs=2)
    except Interrupted:
        sys.exit(130)
"""


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_signal_leaves_a_state_that_resumes(
    flat: Path, tmp_path: Path, signal_number: signal.Signals
) -> None:
    """Two worker processes stop at a signal to their parent, and a second call finishes."""
    for name in ("data", "datasets", "benchmarks", "methods"):
        (tmp_path / name).symlink_to(flat / name)
    main = tmp_path / "main.py"
    main.write_text(TWO_RUNS)
    checkout = Path(__file__).parents[2]
    command = [sys.executable, str(main), str(checkout), str(tmp_path), "200"]
    runs = tmp_path / "runs/small/phantom_acdc/supervised"
    process = subprocess.Popen(command, cwd=checkout, start_new_session=True)
    deadline = time.monotonic() + 90
    while len(list(runs.glob(".*.partial/metrics.jsonl"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    if signal_number == signal.SIGINT:  # a terminal sends it to the whole group
        os.killpg(process.pid, signal_number)
    else:
        process.send_signal(signal_number)
    assert process.wait(timeout=60) == 130
    states = list(runs.glob(".*.partial/state.pt"))
    assert len(states) == 2
    assert all(torch.load(s, weights_only=True)["position"]["step"] < 200 for s in states)
    assert subprocess.run(command, cwd=checkout, check=False).returncode == 0
    assert sorted(p.name for p in runs.iterdir()) == ["l2-f0-s0", "l2-f0-s1"]


def test_probabilities_of_slices_and_volumes(flat: Path, solid: Path, tmp_path: Path) -> None:
    """Padding to the network's stride does not reach the result; windows agree on a constant."""
    from benchmarks.engine.inference import predict_case

    config = make_config("phantom_brats2019")
    job = job_of(solid, tmp_path / "a", "supervised", config)
    case = job.data.cases[0].case
    image = job.data.image(case)
    grid = job.data.case(case).grid_shape

    def predict(x: torch.Tensor) -> torch.Tensor:
        assert all(size % 8 == 0 for size in x.shape[2:])
        return torch.stack([x[:, 0], -x[:, 0]], dim=1)

    expected = np.exp(image[0]) / (np.exp(image[0]) + np.exp(-image[0]))
    for inference in ("whole", "windows"):
        train = job.train.model_copy(update={"inference": inference})
        found = predict_case(predict, image, ndim=3, train=train, device=torch.device("cpu"))
        assert found.shape == (2, *grid)
        np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-5)
    flat_job = job_of(flat, tmp_path / "b", "supervised")
    slices = np.asarray(flat_job.data.image(flat_job.data.cases[0].case))[..., :30]
    found = predict_case(predict, slices, ndim=2, train=flat_job.train, device=torch.device("cpu"))
    assert found.shape == (2, *slices.shape[1:])


def test_profile_names_every_part_of_a_step_and_leaves_no_run(flat: Path) -> None:
    config = make_config(iterations=20)
    (resolved,) = resolve(config, "phantom_acdc", "mean_teacher", flat)
    lines = profile_run(resolved, Place(flat, "cpu"), 4)
    shares = {line[:24].strip(): float(line.split()[-2]) for line in lines[:-2]}
    assert set(shares) == {*SECTIONS, "rest"}
    assert sum(shares.values()) == pytest.approx(100, abs=0.5)
    assert shares["forward"] > 0 and shares["backward"] > 0 and shares["validation"] > 0
    assert json.loads(Path(lines[-1].removeprefix("trace: ")).read_text())["traceEvents"]
    assert not resolved.key.folder(flat).exists()


def test_a_profile_longer_than_the_run_is_refused_and_needs_no_validation(tmp_path: Path) -> None:
    config = make_config()
    block = config.data["phantom_acdc"]
    split = block.split.model_copy(update={"val": 0})
    block = block.model_copy(update={"split": split})
    config = config.model_copy(update={"data": {"phantom_acdc": block}})
    build(tmp_path, config)
    (run,) = resolve(config, "phantom_acdc", "supervised", tmp_path)
    place = Place(tmp_path, "cpu")
    with pytest.raises(
        ConfigError, match=r"a run has 6 .* run phantom_acdc supervised --profile 3"
    ):
        profile_run(run, place, 4)
    lines = profile_run(run, place, 3)
    assert [line.split()[1] for line in lines if line.startswith("validation")] == ["0.00"]


def test_an_oracle_alone_reads_labels_of_unlabeled_images(flat: Path, tmp_path: Path) -> None:
    """Moved as their images are."""
    config = make_config(augment="ssl4mis")
    loaders = [
        make_loader(job_of(flat, tmp_path / m, m, config), torch.device("cpu"))
        for m in ("dycon", "dycon_oracle")
    ]
    usual, oracle = (loader.batch(3) for loader in loaders)
    assert type(usual) is Batch and isinstance(oracle, OracleBatch)
    assert torch.equal(usual.unlabeled, oracle.unlabeled)
    assert oracle.truth.shape == (2, 32, 32)
    # Of a phantom, the brightest pixels of a slice are heart.
    heart = oracle.truth > 0
    inside, outside = (oracle.unlabeled[:, 0][part].mean() for part in (heart, ~heart))
    assert inside > outside
    for loader in loaders:
        loader.close()


def test_an_oracle_without_labels_is_refused(flat: Path, tmp_path: Path) -> None:
    job = job_of(flat, tmp_path, "dycon_oracle")
    bare = [replace(c, labeled=c.patient in job.fold.labeled(2)) for c in job.data.cases]
    job = replace(job, data=replace(job.data, cases=tuple(bare)))
    with pytest.raises(ConfigError, match=r"of phantom_acdc have none.*grid\.methods"):
        make_loader(job, torch.device("cpu"))
