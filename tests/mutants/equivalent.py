"""Mutants that compute the same as the method, with the reason."""

from __future__ import annotations

_TINY = "its smoothing changes no float32 value"
_MEAN = "rectified_consistency: weight.mean() + 1e-08 -> weight.mean() - 1e-08"

EQUIVALENT: dict[tuple[str, str], str] = {
    ("mc_net", "supervision: 1e-10 -> 0.0"): _TINY,
    ("urpc", "rectified_consistency: 1e-08 -> 0.0"): _TINY,
    ("urpc", _MEAN): _TINY,
}
