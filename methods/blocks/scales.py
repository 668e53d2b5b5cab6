"""Deep-supervision heads on the stages of a decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from methods.networks import Decoded, SegNet

# Scales of URPC, the finest included.
SCALES = 4


class ScaleHeads(nn.Module):
    """3x3 convolutions on the three stages below the finest; coarse logits are repeated.

    Args:
        net: network whose stages are read.
        classes: K.
        ndim: 2 or 3.
    """

    def __init__(self, net: SegNet, classes: int, ndim: int) -> None:
        super().__init__()
        conv = nn.Conv3d if ndim == 3 else nn.Conv2d
        widths = net.stage_channels[1:SCALES]
        self.heads = nn.ModuleList(conv(width, classes, 3, padding=1) for width in widths)

    def forward(
        self, view: Decoded, perturb: Sequence[Callable[[Tensor], Tensor]] = ()
    ) -> list[Tensor]:
        """Logits (N, K, *S) of all scales, finest first.

        Args:
            view: output of the decoder.
            perturb: applied to the coarse stages, in turn; none by default.
        """
        size, out = view.logits.shape[2:], [view.logits]
        for i, (head, stage) in enumerate(zip(self.heads, view.stages[1:SCALES], strict=False)):
            stage = perturb[i](stage) if perturb else stage
            out.append(F.interpolate(head(stage), size=size))
        return out
