"""Masks that a run keeps of a few unlabelled images: which, of what, and that they cost no bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.common.errors import Interrupted
from benchmarks.engine.ledger import probe_steps
from benchmarks.engine.pseudo_labels import PseudoLabels, Sample, read_masks, samples
from benchmarks.engine.state import STATE
from benchmarks.engine.trainer import Trainer
from methods import method_ids
from tests.engine.small import QUIET, job_of, make_config, stop_at, weights

CPU = torch.device("cpu")
# One of every kind of tested network: alone, with dropout, a teacher, pairs, another architecture.
UNLIKE = (
    "full_supervised",
    "mean_teacher",
    "ua_mt",
    "cps",
    "mc_net",
    "ugpcl",
    "unimatch",
    "egcl_net",
)


@pytest.mark.parametrize(
    "method",
    [pytest.param(m, marks=[] if m in UNLIKE else [pytest.mark.wide]) for m in method_ids()],
)
def test_weights_are_the_same_bits_with_and_without(
    method: str, flat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Trainer(job_of(flat, tmp_path / "with", method), CPU, QUIET).train()
    monkeypatch.setattr(PseudoLabels, "note", lambda *_: None)
    Trainer(job_of(flat, tmp_path / "without", method), CPU, QUIET).train()
    assert weights(tmp_path / "with") == weights(tmp_path / "without")
    kept, none = (list(read_masks(tmp_path / name)) for name in ("with", "without"))
    assert not none and bool(kept) == (method != "full_supervised")


def test_masks_are_of_unlabeled_training_images_at_every_probe(flat: Path, tmp_path: Path) -> None:
    job = job_of(flat, tmp_path, "mean_teacher")
    chosen = samples(job)
    patients = [job.data.case(one.case).patient for one in chosen]
    assert patients == list(job.fold.train[job.labels :])[:2]
    middle = {job.data.case(one.case).grid_shape[0] // 2 for one in chosen}
    assert {one.depth for one in chosen} == middle
    Trainer(job, CPU, QUIET).train()
    found = list(read_masks(tmp_path))
    steps = [step + 1 for step in probe_steps(job.train.iterations)]
    assert [(s, n) for s, n, _ in found] == [(s, n) for s in steps for n in ("tested", "teacher")]
    assert {mask.shape for *_, mask in found} == {(len(patients), 32, 32)}


def test_the_last_masks_are_those_of_the_last_weights(flat: Path, tmp_path: Path) -> None:
    """A teacher's with the statistics of these images."""
    trainer = Trainer(job_of(flat, tmp_path, "mean_teacher"), CPU, QUIET)
    trainer.train()
    job, method = trainer.job, trainer.method
    image = torch.stack(
        [torch.from_numpy(np.array(job.data.image(s.case)))[:, s.depth] for s in samples(job)]
    )
    last = {name: mask for _, name, mask in read_masks(tmp_path)}
    with torch.no_grad():
        tested = method.eval().predict(image)
        torch.manual_seed(0)  # of the dropout
        taught = method.train().companions()["teacher"](image)
    for name, logits in (("tested", tested), ("teacher", taught)):
        assert np.array_equal(last[name], logits.argmax(1).numpy()), name


def test_a_run_begun_by_code_that_kept_no_masks_goes_on(flat: Path, tmp_path: Path) -> None:
    whole, cut = (job_of(flat, tmp_path / name, "cps") for name in ("whole", "cut"))
    Trainer(whole, CPU, QUIET).train()
    with pytest.raises(Interrupted):
        Trainer(cut, CPU, stop_at(2)).train()
    state = torch.load(cut.folder / STATE, weights_only=True)
    del state["pseudo_labels"]
    torch.save(state, cut.folder / STATE)
    Trainer(cut, CPU, QUIET).train()
    assert weights(cut.folder) == weights(whole.folder)
    kept, every = ([step for step, *_ in read_masks(j.folder)] for j in (cut, whole))
    assert kept == [step for step in every if step > 2]


def test_of_volumes_the_central_patch_is_taken(solid: Path, tmp_path: Path) -> None:
    config = make_config("phantom_brats2019", patch=[16, 16, 64])
    job = job_of(solid, tmp_path, "supervised", config)
    one = samples(job)[0]
    shape = job.data.case(one.case).grid_shape
    expected = tuple(max(s - p, 0) // 2 for s, p in zip(shape, (16, 16, 64), strict=True))
    assert (one.depth, one.start, one.patch) == (-1, expected, (16, 16, 64))
    part = one.of(torch.from_numpy(np.array(job.data.image(one.case))))
    assert part.shape[1:] == (16, 16, 64)


def test_a_sample_is_cut_alike_from_image_and_mask() -> None:
    volume = torch.arange(4 * 6 * 5).view(4, 6, 5)
    whole, patch = Sample("c", 2), Sample("c", -1, (1, 2, 0), (2, 3, 8))
    assert torch.equal(whole.of(volume), volume[2])
    assert torch.equal(whole.of(volume[None]), volume[None, 2])
    part = patch.of(volume)
    assert torch.equal(part[..., :5], volume[1:3, 2:5]) and not part[..., 5:].any()
