"""What the engine refuses of a method that names modules with an optimiser of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest
from torch import nn

from benchmarks.common.errors import ConfigError
from benchmarks.config import OptimizerConfig
from benchmarks.engine.optim import Optimizers
from methods.base import Player
from methods.supervised import Supervised
from tests.pixel_net import make


class Playing(Supervised):
    named: ClassVar[Sequence[str]]

    def players(self) -> Sequence[Player]:
        return [Player(name, lr=0.1) for name in self.named]


@pytest.mark.parametrize(
    ("names", "refused"),
    [
        (["referee"], "referee"),
        (["params"], "params"),  # an attribute, but no module
        (["frozen"], "frozen"),
        (["judge", "judge"], "judge"),
    ],
)
def test_a_player_without_parameters_of_its_own_is_refused_by_name(
    names: list[str], refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Playing, "named", names, raising=False)
    method = make(Playing)
    method.judge, method.frozen = nn.Linear(1, 1), nn.Linear(1, 1).requires_grad_(False)
    said = rf"Playing\.players: '{refused}' holds no parameters .* method: student, judge, frozen$"
    with pytest.raises(ConfigError, match=said):
        Optimizers(method, OptimizerConfig())
