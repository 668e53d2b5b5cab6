"""Training arrays that a device holds; a batch is one gather for each kind of array."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Resident:
    """Images or masks of some cases on a device.

    A sample is a slice of a case (2D) or the case (3D); they are numbered in the order of cases.

    Args:
        arrays: (C, D, H, W) of every case.
        ndim: 2 or 3.
        patch: size of the crops, or None where whole samples are read, which then have one size.
        device: that holds them.
    """

    def __init__(
        self,
        arrays: Sequence[Tensor],
        *,
        ndim: int,
        patch: tuple[int, ...] | None,
        device: torch.device,
    ) -> None:
        self._patch, self._ndim = patch, ndim
        by_sample = [a.transpose(0, 1) if ndim == 2 else a[None] for a in arrays]
        if patch is None:
            self._values = torch.cat([part.to(device) for part in by_sample])
            return
        self._values = torch.cat([part.to(device).flatten() for part in by_sample])
        rows, first = [], 0
        for part in by_sample:
            one = part[0].numel()
            channel = part[0, 0].numel()
            rows += [(first + n * one, channel, *part.shape[2:]) for n in range(len(part))]
            first += part.numel()
        table = torch.tensor(rows, device=device)
        self._first, self._channel, self._size = table[:, 0], table[:, 1], table[:, 2:]
        self._channels = len(arrays[0])

    def read(self, sample: Tensor, start: Tensor | None) -> Tensor:
        """Samples of a step, crops padded with zeros at their ends.

        Args:
            sample: (N,) int64, their numbers, on the device.
            start: (N, ndim) int64, first voxels of the crops; None without a patch.

        Returns:
            (N, C, *S) on the device, which is not waited for.
        """
        if self._patch is None or start is None:
            return self._values.index_select(0, sample)
        size, index = self._size[sample], torch.zeros((), dtype=torch.int64, device=sample.device)
        inside = torch.ones((), dtype=torch.bool, device=sample.device)
        for axis, extent in enumerate(self._patch):
            place = start[:, axis, None] + torch.arange(extent, device=sample.device)
            last = size[:, axis, None]
            view = (-1, *[extent if a == axis else 1 for a in range(self._ndim)])
            one = (-1, *[1] * self._ndim)
            index = index * last.view(one) + place.minimum(last - 1).view(view)
            inside = inside & (place < last).view(view)
        channels = torch.arange(self._channels, device=sample.device) * self._channel[sample, None]
        first = (self._first[sample, None] + channels).view(len(sample), -1, *[1] * self._ndim)
        return torch.where(inside[:, None], self._values.take(first + index[:, None]), 0)
