"""Opening the networks of finished runs."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.plan.resolve import resolve
from benchmarks.scoring.trained import open_trained
from benchmarks.training.many import train_runs
from benchmarks.training.one import Place
from tests.engine.small import build, make_config


def test_networks_that_are_used_again_predict_as_new_ones(tmp_path: Path) -> None:
    config = make_config(iterations=2, seeds=(0, 1))
    build(tmp_path, config)
    place = Place(tmp_path, "cpu")
    first, second = resolve(config, "phantom_acdc", "mean_teacher", tmp_path)
    train_runs([first, second], place, jobs=1)
    opened = open_trained(first, place)
    image = opened.job.data.image(opened.job.data.cases[0].case)
    before, fresh = opened.probability(image), open_trained(second, place).probability(image)
    again = open_trained(second, place, checkpoint="last", like=opened)
    assert again.method is opened.method
    assert torch.equal(again.probability(image), fresh) and not torch.equal(before, fresh)
