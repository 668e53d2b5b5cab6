"""What is logged beside the tested decoder: the other decoders, the coarse scales."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from benchmarks.config import UNetConfig
from benchmarks.engine.nets import Builder
from methods.cct import CCT, CCTParams
from methods.mc_net import MCNet, MCNetParams
from methods.urpc import URPC, URPCParams

IMAGE = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
CHANNELS = UNetConfig(channels=(4, 4, 8, 8))


def _build() -> Builder:
    return Builder(CHANNELS, ndim=2, in_channels=1, classes=3, seed=0)


def _mc_net(decoders: int) -> MCNet:
    params = MCNetParams.model_validate({"decoders": decoders})
    return MCNet(_build(), params, classes=3, ndim=2)


@pytest.mark.parametrize("decoders", [2, 3, 4])
def test_other_decoders(decoders: int) -> None:
    cct = CCT(_build(), CCTParams(), classes=3, ndim=2)
    method = (cct if decoders == 4 else _mc_net(decoders)).eval()
    with torch.no_grad():
        tested, *others = (view.logits for view in method.student.outputs(IMAGE))
        found = {name: network(IMAGE) for name, network in method.companions().items()}
        assert torch.equal(method.predict(IMAGE), tested)
    assert list(found) == [f"decoder_{index}" for index in range(2, 1 + decoders)]
    for logits, expected in zip(found.values(), others, strict=True):
        assert torch.equal(logits, expected)
        assert not torch.equal(logits, tested)


def test_coarse_scales() -> None:
    method = URPC(_build(), URPCParams(), classes=3, ndim=2).eval()
    with torch.no_grad():
        view = method.student.decode(method.student.encode(IMAGE))
        found = {name: network(IMAGE) for name, network in method.companions().items()}
        for stride, head, stage in zip((2, 4), method.heads.heads, view.stages[1:], strict=True):
            logits = F.interpolate(head(stage), size=(16, 16))
            assert torch.equal(found.pop(f"scale_{stride}"), logits)
    assert not found
