"""Strong view with CutMix, and pseudo-labels mixed alike."""

from __future__ import annotations

from torch import Tensor

from methods.blocks.mixing import cutmix_boxes, mixed
from methods.blocks.perturb import strong_view


def cutmix(image: Tensor, *targets: Tensor, probability: float) -> tuple[Tensor, ...]:
    """Paste a box of the next image of the batch into each image, and of its targets alike.

    Args:
        image: (N, C, *S).
        targets: (N, *S) or (N, C', *S) maps that belong to the images.
        probability: of an image to be mixed.

    Returns:
        The mixed image and the mixed targets.
    """
    boxes = cutmix_boxes(image, probability=probability)
    return tuple(mixed(boxes, value) for value in (image, *targets))


def strong_cutmix(image: Tensor, *targets: Tensor, probability: float) -> tuple[Tensor, ...]:
    """`cutmix` of strong views of the images."""
    return cutmix(strong_view(image), *targets, probability=probability)
