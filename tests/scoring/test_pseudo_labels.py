"""Accuracy on unlabelled training images, of the tested network and of what teaches it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from benchmarks.scoring.pseudo_labels import COLUMNS, pseudo_label_rows
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
