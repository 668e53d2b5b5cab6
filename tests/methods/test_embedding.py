"""Where embeddings are read, and how many are drawn and remembered."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from benchmarks.config import UNetConfig
from benchmarks.engine.nets import Builder
from methods.blocks.contrast import Samples
from methods.blocks.embedding import EmbeddingParams, GroupEmbedding
from methods.blocks.groups import Groups
from methods.blocks.traits import Traits
from methods.networks import Decoded, SegNet


def net_of(ndim: int = 2) -> SegNet:
    builder = Builder(
        UNetConfig(channels=(4, 6, 8, 10)), ndim=ndim, in_channels=1, classes=2, seed=0
    )
    return builder()


@pytest.mark.parametrize(
    ("size", "given", "grid"),
    [
        ((96, 96), None, (24, 24)),
        ((256, 192), None, (64, 48)),
        ((88, 88), None, (44, 44)),  # 22 points at stride 4
        ((48, 64), None, (24, 32)),
        ((40, 40), None, (40, 40)),
        ((16, 16), None, (16, 16)),
        ((40, 40), 4, (10, 10)),
        ((96, 96), 2, (48, 48)),
        ((16, 24, 24), None, (16, 24, 24)),
        ((16, 24, 24), 2, (8, 12, 12)),
    ],
)
def test_a_grid_has_24_points_a_side_where_the_image_has(
    size: tuple[int, ...], given: int | None, grid: tuple[int, ...]
) -> None:
    net = net_of(len(size))
    params = EmbeddingParams.model_validate({"embed_stride": given, "dim": 3})
    embedding = GroupEmbedding(net, params, classes=2, ndim=len(size))
    view = net.decode(net.encode(torch.randn(2, 1, *size)))
    assert embedding.grid(view) == grid
    stride = size[0] // grid[0]
    assert embedding.stride(view) == stride
    assert view.stages[stride.bit_length() - 1].shape[2:] == grid, "the decoder's own map"


def test_a_stated_stride_has_the_head_of_its_map_alone() -> None:
    for stride, channels in ((1, 4), (2, 6), (4, 8)):
        params = EmbeddingParams.model_validate({"embed_stride": stride})
        embedding: Any = GroupEmbedding(net_of(), params, classes=2, ndim=2)
        assert list(embedding.heads) == [str(stride)]
        assert embedding.heads[str(stride)].layers[0].in_channels == channels


def test_more_anchors_than_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"anchors \(65\) must be at most keys \(64\)"):
        EmbeddingParams(anchors=65, keys=64)
    assert EmbeddingParams(anchors=64, keys=64).anchors == 64


def groups_of(low: Tensor) -> Groups:
    """Sixteen points of two classes, alternating; the trust of a point tells its number."""
    number = torch.arange(16)
    traits = Traits(torch.ones(16), number / 16, number)
    return Groups(number % 2, (low, ~low), traits, 2, dict)


def test_anchors_are_the_first_keys_and_memory_comes_after_them() -> None:
    torch.manual_seed(0)
    params = EmbeddingParams(embed_stride=4, dim=3, anchors=2, keys=3, memory=4, least=1)
    embedding = GroupEmbedding(net_of(), params, classes=2, ndim=2)
    groups = groups_of(torch.arange(16) < 8)
    view = Decoded(torch.zeros(1, 2, 16, 16), (torch.randn(1, 8, 4, 4),) * 3)
    first, second = (embedding(view, groups) for _ in range(2))
    for step, remembered in ((first, 0), (second, 3)):
        for drawn in step:
            assert drawn.keys.vectors.shape == (2, 3 + 4, 3)
            assert drawn.keys.valid.sum(1).tolist() == [3 + remembered] * 2
            assert torch.equal(drawn.anchors.vectors, drawn.keys.vectors[:, :2])
    for old, new in zip(first, second, strict=True):
        assert torch.equal(new.keys.vectors[:, 3:6], old.keys.vectors[:, :3])
        assert torch.equal(new.keys.known.trust[:, 3:6], old.keys.known.trust[:, :3])
        assert torch.equal(new.keys.known.second[:, 3:6], old.keys.known.second[:, :3])
    low, high = (numbers(drawn.keys) for drawn in second)
    assert max(low) < 8 <= min(high)


def numbers(samples: Samples) -> list[int]:
    return samples.known.second[samples.valid].tolist()
