"""Weight schedules over the run."""

from __future__ import annotations

import math


def sigmoid_ramp(fraction: float, length: float = 1.0) -> float:
    """Gaussian-shaped ramp-up `exp(-5 (1 - min(f, l) / l)^2)` of Laine and Aila (2017).

    Args:
        fraction: share of the run that is done, in [0, 1].
        length: share of the run at which 1 is reached, in (0, 1].

    Returns:
        Weight in [0.0067, 1].
    """
    return math.exp(-5.0 * (1.0 - min(fraction, length) / length) ** 2)
