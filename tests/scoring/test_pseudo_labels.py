"""Accuracy on unlabelled training images, of the tested network and of what teaches it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.engine.pseudo_labels import read_masks, samples
from benchmarks.scoring.pseudo_labels import COLUMNS, probed_entries, pseudo_label_rows
from benchmarks.scoring.trained import open_trained
from tests.scoring.trained_small import train_small


def test_a_teacher_is_scored_as_it_teaches(tmp_path: Path) -> None:
    """In train mode: what its running statistics are, and become, changes nothing."""
    _, (run,), place = train_small(tmp_path, "phantom_acdc", "mean_teacher")
    trained = open_trained(run, place)
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in pseudo_label_rows(trained)]
    assert [row["network"] for row in rows] == ["tested", "teacher"]
    for module in trained.method.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean += 3
    before = {name: value.clone() for name, value in trained.method.state_dict().items()}
    tested, teacher = (dict(zip(COLUMNS, r, strict=True)) for r in pseudo_label_rows(trained))
    assert teacher == rows[1]
    assert tested["accuracy"] != rows[0]["accuracy"]
    after = trained.method.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not any(module.training for module in trained.method.modules())


def test_masks_of_probe_steps_are_scored_against_references(tmp_path: Path) -> None:
    """Dice 2 |A and B| / (|A| + |B|) of every class, 1 where both are empty."""
    _, (run,), place = train_small(tmp_path, "phantom_acdc", "mean_teacher")
    entries = list(probed_entries(run, tmp_path))
    names = [f"pseudo_label_{m}_{n}" for n in ("tested", "teacher") for m in ("dice", "accuracy")]
    assert [(e.step, e.name) for e in entries] == [(s, n) for s in (1, 2) for n in names]
    assert {e.kind for e in entries} == {"observed"}
    job = open_trained(run, place).job
    truth = np.stack([job.data.label(s.case)[s.depth] for s in samples(job)])
    step, network, masks = list(read_masks(run.key.folder(tmp_path)))[-1]
    dice = []
    for mask, reference in zip(masks, truth, strict=True):
        for k in range(1, 4):
            a, b = mask == k, reference == k
            total = a.sum() + b.sum()
            dice.append(2 * (a & b).sum() / total if total else 1.0)
    values = {e.name: e.value for e in entries if e.step == step}
    assert network == "teacher"
    assert values["pseudo_label_dice_teacher"] == pytest.approx(np.mean(dice))
    assert values["pseudo_label_accuracy_teacher"] == pytest.approx((masks == truth).mean())


def test_a_run_that_kept_no_masks_has_no_such_lines(tmp_path: Path) -> None:
    _, (run,), _ = train_small(tmp_path, "phantom_acdc", "full_supervised")
    assert list(probed_entries(run, tmp_path)) == []
