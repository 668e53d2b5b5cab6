"""Mutants that compute the same as the method, with the reason."""

from __future__ import annotations

_TINY = "its smoothing changes no float32 value"
_BLIND = "only its classes and comparisons are used, which have no gradient"
_LEAST = "the least divergence is the least one divided by K too"
_DIVERGENCE = "(wanted.exp() * (wanted - log_q))"
_UNASKED = "`target` is not called: the teacher is asked for embeddings and logits at once"
_SCALE = "features and prototypes are as many times larger, so the nearest stays the nearest"
_NOISE = "(sigma * torch.randn_like(ima..."
_FEATURES = "torch.stack(view.stages[_HALF].float(..."
_MEAN = "rectified_consistency: weight.mean() + 1e-08 -> weight.mean() - 1e-08"

EQUIVALENT: dict[tuple[str, str], str] = {
    ("blocks/attraction", "pull: q.sum -> q.mean"): "it is multiplied by 0",
    (
        "blocks/ema",
        f"gaussian_noise: image + {_NOISE} -> image - {_NOISE}",
    ): "the noise is symmetric",
    (
        "blocks/features",
        "feature_drop: feature.detach().mean -> feature.detach().sum",
    ): "attention is compared with a share of its own maximum",
    ("abd", f"most_alike: {_DIVERGENCE}.sum -> {_DIVERGENCE}.mean"): _LEAST,
    ("ac_mt", f"off_prototype: {_FEATURES} -> {_FEATURES}"): _SCALE,
    ("crossmatch", "losses: z.detach() -> z"): _BLIND,
    ("dycon", "targets of other classes"): _UNASKED,
    ("dycon", "targets of other images"): _UNASKED,
    ("dycon_oracle", "targets of other classes"): _UNASKED,
    ("dycon_oracle", "targets of other images"): _UNASKED,
    ("mc_net", "supervision: 1e-10 -> 0.0"): _TINY,
    ("ugpcl", "losses: p_swin.detach() -> p_swin"): _BLIND,
    ("unimatch", "losses: logits_w.detach() -> logits_w"): _BLIND,
    ("urpc", "rectified_consistency: 1e-08 -> 0.0"): _TINY,
    ("urpc", _MEAN): _TINY,
}
