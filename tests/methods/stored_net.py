"""EGCL-Net on a network of stored outputs, whose terms follow by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from methods.base import Batch, Progress
from methods.blocks.heads import ProjectionHead
from methods.egcl_net import EGCLNet, EGCLParams
from methods.networks import Decoded, SegNet

GRID, SIZE = 8, 32
END = Progress(999, 1000)
RAMP = math.exp(-5 * 0.001**2)
SURE, UNSURE = 20.0, math.log(0.6 / 0.4)  # logit differences; the entropy of .6/.4 is .971 of ln 2

# Left half class 0, right half class 1: 32 grid points of each class per image.
HALVES = (torch.arange(SIZE) >= SIZE // 2).long().expand(SIZE, SIZE)


class Stored(SegNet):
    """Gives stored logits and features to the images of the batch, whatever they show."""

    level_channels = stage_channels = (4, 4, 4, 4)

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Parameter(torch.zeros(0))
        self.logits = nn.ParameterList()

    def fill(self, labels: Tensor, margins: list[float], predicted: Tensor) -> None:
        """Features one-hot in `labels`, logits in favour of `predicted`, both (N, SIZE, SIZE)."""
        coarse = labels[:, :: SIZE // GRID, :: SIZE // GRID]
        self.features = nn.Parameter(torch.eye(4)[coarse].movedim(-1, 1).clone())
        one_hot = torch.eye(2)[predicted].movedim(-1, 1)
        logits = one_hot * torch.tensor(margins)[:, None, None, None]
        self.logits = nn.ParameterList([logits.clone(), logits.clone()])

    def encode(self, image: Tensor) -> list[Tensor]:
        assert len(image) == len(self.features)
        return []

    def decode(self, levels: Sequence[Tensor], decoder: int = 0) -> Decoded:  # noqa: ARG002
        return Decoded(self.logits[decoder], (self.features,) * 3)


class IdentityHead(ProjectionHead):
    """Hands the features of the stored network through, so that every embedding is known."""

    def rows(self, features: Tensor) -> Tensor:  # type: ignore[override]
        """(P, C) of a map (N, C, *G)."""
        return features.movedim(1, -1).flatten(0, -2)


def method_of(ndim: int = 2, **params: object) -> tuple[EGCLNet, Stored]:
    """The method without projection: embeddings are the features themselves."""
    net = Stored()
    given = {"tau_c": 1.0, "dim": 4, "lam_con": 1.0, "embed_stride": 4, **params}
    method = EGCLNet(lambda **_: net, EGCLParams.model_validate(given), classes=2, ndim=ndim)
    method.embedding.heads["4"] = IdentityHead(1, 1, ndim=ndim)
    return method, net


def halves_of(*margins: float, **params: object) -> tuple[EGCLNet, Stored]:
    """`method_of` where every image shows `HALVES`, predicted right with its margin."""
    method, net = method_of(**params)  # type: ignore[arg-type]
    labels = HALVES.repeat(len(margins), 1, 1)
    net.fill(labels, list(margins), labels)
    return method, net


def batch_of(labeled: int, unlabeled: int) -> Batch:
    return Batch(
        image=torch.zeros(labeled, 1, SIZE, SIZE),
        label=HALVES.repeat(labeled, 1, 1),
        unlabeled=torch.zeros(unlabeled, 1, SIZE, SIZE),
    )


def values(method: EGCLNet, batch: Batch, t: Progress = END) -> dict[str, float]:
    return {name: term.item() for name, term in method.losses(batch, t).items()}


def closed_form(negatives: int) -> float:
    """Positives at similarity 1, negatives at 0, temperature 1."""
    return math.log(1 + negatives / math.e)
