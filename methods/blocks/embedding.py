"""Embeddings of two groups of grid points: where they are read, how many are drawn, memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

from pydantic import Field, model_validator
from torch import nn

from methods.base import MethodParams
from methods.blocks.contrast import Memory, Samples, sample_group
from methods.blocks.groups import Groups
from methods.blocks.heads import ProjectionHead
from methods.networks import Decoded, SegNet

# Fewer points on a side leave too few of a small class to contrast.
_LEAST_SIDE = 24
# Index into `Decoded.stages` by stride.
_STAGE = {1: 0, 2: 1, 4: 2}
_STRIDES = tuple(_STAGE)


class EmbeddingParams(MethodParams):
    """Parameters of the embeddings and of what is drawn from them."""

    embed_stride: Literal[1, 2, 4] | None = Field(
        None,
        description="pixels per point of the decoder map that is embedded; null: 4, or less where"
        " that leaves fewer than 24 points on a side",
    )
    dim: int = Field(128, ge=2, description="size of the embedding")
    anchors: int = Field(64, ge=1, description="anchors per class and group")
    keys: int = Field(256, ge=1, description="keys per class and group")
    memory: int = Field(0, ge=0, description="slots per class and group")
    least: int = Field(8, ge=1, description="fewest points of a class and group to be sampled")

    by_dimension: ClassVar[Mapping[int, Mapping[str, object]]] = {3: {"memory": 256}}

    @model_validator(mode="after")
    def _anchors_are_keys(self) -> EmbeddingParams:
        if self.anchors > self.keys:
            raise ValueError(
                f"anchors are the first of the keys, so anchors ({self.anchors}) must be at most"
                f" keys ({self.keys})"
            )
        return self


@dataclass(frozen=True)
class Drawn:
    """Samples of one group.

    Attributes:
        anchors: (K, A, D), the first of the keys.
        keys: (K, M, D), those of the batch before those of the memory.
    """

    anchors: Samples
    keys: Samples


class GroupEmbedding(nn.Module):
    """Projection of a decoder's map and memory of two groups.

    Args:
        net: whose decoder's map is embedded.
        params: stride, sizes.
        classes: K.
        ndim: 2 or 3.
    """

    def __init__(self, net: SegNet, params: EmbeddingParams, *, classes: int, ndim: int) -> None:
        super().__init__()
        self.params = params
        # The size of the images is not known yet, so that every map that it may select has a head;
        # all but one stay unused.
        strides = [params.embed_stride] if params.embed_stride else _STRIDES
        self.heads = nn.ModuleDict(
            {
                str(s): ProjectionHead(net.stage_channels[_STAGE[s]], params.dim, ndim=ndim)
                for s in strides
            }
        )
        self.memory = Memory(groups=2, classes=classes, size=params.memory, dim=params.dim)

    def stride(self, view: Decoded) -> int:
        """Pixels per embedded point: 1, 2 or 4."""
        side = min(view.logits.shape[2:])
        enough = [s for s in _STRIDES if side // s >= _LEAST_SIDE]
        return self.params.embed_stride or max(enough, default=1)

    def grid(self, view: Decoded) -> tuple[int, ...]:
        """*G, the size of the map that is embedded."""
        return tuple(view.stages[_STAGE[self.stride(view)]].shape[2:])

    def forward(self, view: Decoded, groups: Groups) -> tuple[Drawn, Drawn]:
        """Draw from both groups, and remember what was drawn.

        Args:
            view: output of the decoder.
            groups: of the points of its map (N, C, *G).
        """
        p, stride = self.params, self.stride(view)
        head = cast(ProjectionHead, self.heads[str(stride)])
        z, drawn = head.rows(view.stages[_STAGE[stride]]), []
        for group, member in enumerate(groups.members):
            new = sample_group(
                z, groups.label, member, classes=groups.classes, count=p.keys, least=p.least,
                traits=groups.traits,
            )  # fmt: skip
            drawn.append(Drawn(new.first(p.anchors), new.extended(self.memory.read(group))))
            self.memory.write(group, new)
        low, high = drawn
        return low, high
