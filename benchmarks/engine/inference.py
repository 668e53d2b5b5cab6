"""Prediction of prepared cases: slice by slice in 2D, whole or in overlapping windows in 3D."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.config import TrainConfig
from benchmarks.engine.job import autocast
from benchmarks.engine.nets import stride

# Overlap of neighbouring windows: stride 64 for patches of 96 in the SSL4MIS protocol.
_OVERLAP = 1 / 3
_SLICES = 32


@torch.inference_mode()
def predict_case(
    predict: Callable[[Tensor], Tensor],
    image: NDArray[np.float32],
    *,
    ndim: int,
    train: TrainConfig,
    device: torch.device,
) -> Tensor:
    """Class probabilities of one case.

    Args:
        predict: images (N, C, *S) to logits (N, K, *S).
        image: (C, D, H, W) float32, prepared.
        ndim: 2 predicts each slice, 3 the volume.
        train: patch size (3D windows), network stride and precision.
        device: of the network.

    Returns:
        (K, D, H, W) float32 on the device. Window probabilities are averaged where windows overlap.
    """
    multiple = stride(train.network)

    def padded(part: Tensor) -> Tensor:
        with autocast(train, device):
            return _padded(predict, part, multiple)

    volume = torch.from_numpy(np.array(image)).to(device)  # a copy: the map on disk is read-only
    if ndim == 2:
        parts = [padded(part) for part in torch.split(volume.transpose(0, 1), _SLICES)]
        return torch.cat(parts).transpose(0, 1)
    if train.patch is None or train.inference == "whole":
        return padded(volume[None])[0]
    from monai.inferers import sliding_window_inference

    result: Tensor = sliding_window_inference(
        volume[None],
        roi_size=train.patch,
        sw_batch_size=2,
        predictor=padded,
        overlap=_OVERLAP,
        mode="constant",
    )
    return result[0]


def _padded(predict: Callable[[Tensor], Tensor], image: Tensor, multiple: int) -> Tensor:
    """Softmax of `predict` on an image padded with zeros to a multiple of the network's stride."""
    shape = image.shape[2:]
    pad = [amount for size in reversed(shape) for amount in (0, -size % multiple)]
    logits = predict(torch.nn.functional.pad(image, pad)).float()
    kept = logits
    for axis, size in enumerate(shape, start=2):
        kept = kept.narrow(axis, 0, size)
    return kept.softmax(1)
