"""The discriminator of DAN and SASSNet, and how it judges without learning."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from methods.base import Batch
from methods.blocks.adversarial import evaluating


class Discriminator(nn.Module):
    """Four stride-2 convolutions on a map and its image, then two logits.

    In 3D the sum of the first layers passes a leaky ReLU and dropout, in 2D neither, as published.

    Args:
        channels: of the map.
        ndim: 2 or 3.
        width: channels of the first layer, doubled by each further one.
    """

    def __init__(self, channels: int, *, ndim: int, width: int) -> None:
        super().__init__()
        conv = nn.Conv3d if ndim == 3 else nn.Conv2d
        self.of_map, self.of_image = (conv(c, width, 4, 2, 1) for c in (channels, 1))
        self.layers = nn.ModuleList(conv(width * m, width * 2 * m, 4, 2, 1) for m in (1, 2, 4))
        self.dropout = nn.Dropout3d(0.5) if ndim == 3 else nn.Dropout2d(0.5)
        self.classifier = nn.Linear(8 * width, 2)

    def forward(self, seen: Tensor, image: Tensor) -> Tensor:
        """Logits (N, 2) float32 for maps (N, channels, *S) and images (N, C, *S)."""
        x = self.of_map(seen) + self.of_image(image.mean(1, keepdim=True))
        if isinstance(self.dropout, nn.Dropout3d):
            x = self.dropout(F.leaky_relu(x, 0.2))
        *inner, last = self.layers
        for layer in inner:
            x = self.dropout(F.leaky_relu(layer(x), 0.2))
        x = F.leaky_relu(last(x), 0.2)
        logits: Tensor = self.classifier(x.flatten(2).mean(2))
        return logits.float()

    def fooled(self, seen: Tensor, image: Tensor) -> Tensor:
        """`CE(D(map, image), 1)`, 0-d: unlabelled maps shall look like labelled ones.

        D judges in eval mode and takes no gradient.
        """
        frozen = {name: value.detach() for name, value in self.named_parameters()}
        with evaluating(self):
            verdict: Tensor = functional_call(self, frozen, (seen, image))
        return F.cross_entropy(verdict, torch.ones_like(verdict[:, 0], dtype=torch.long))

    def judged(self, seen: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """`CE(D(map, image), s)` with s = 1 for labelled images, and the share judged right, 0-d.

        Args:
            seen: maps of all images, labelled first, without gradient.
            batch: their images.
        """
        source = (torch.arange(len(seen), device=seen.device) < len(batch.image)).long()
        verdict: Tensor = self(seen, batch.images)
        correct = (verdict.argmax(1) == source).float().mean()
        return F.cross_entropy(verdict, source), correct
