"""Diagnostics of contrastive terms and of the embeddings they compare; they decide nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.blocks.contrast import Contrasted, Samples
from methods.blocks.embedding import Drawn

# Scale of the Gaussian potential in Wang and Isola (2020).
_SCALE = 2.0
# Samples per class and group of which the uniformity is taken, for its cost is quadratic.
_FEW = 16


def term_facts(name: str, term: Contrasted) -> dict[str, Tensor]:
    """What a term rests on.

    Args:
        name: of the term.
        term: its value.

    Returns:
        `anchors_<name>`, `classes_<name>`: those with a positive and a negative.
        `skipped_<name>`: share of the drawn anchors without. `inert_<name>`: 1 where no anchor
        counts, so that the term is 0, else 0. All 0-d.
    """
    return {
        f"anchors_{name}": term.anchors,
        f"classes_{name}": term.classes,
        f"skipped_{name}": term.skipped,
        f"inert_{name}": (term.anchors == 0).float(),
    }


def embedding_facts(low: Drawn, high: Drawn) -> dict[str, Tensor]:
    """`mean_similarities` of the low keys, and `uniformity` of some anchors of both groups."""
    positive, negative = mean_similarities(low.keys)
    few = low.anchors.first(_FEW).extended(high.anchors.first(_FEW))
    return {
        "positive_similarity": positive,
        "negative_similarity": negative,
        "uniformity": uniformity(few),
    }


@torch.no_grad()
def mean_similarities(samples: Samples) -> tuple[Tensor, Tensor]:
    """Mean cosine similarity of pairs of one class, self-pairs included, and of two classes.

    With s the first of the two, 2 - 2 s is the alignment of Wang and Isola (2020).

    Args:
        samples: (K, M, D).

    Returns:
        Two 0-d tensors in [-1, 1], averaged over classes and pairs of classes; 0 where none is.
    """
    count = samples.valid.sum(1)
    centre = (samples.vectors * samples.valid[..., None]).sum(1) / count.clamp(min=1)[:, None]
    # The mean over all pairs of two sets is the product of their means.
    product, present = centre @ centre.T, count > 0
    both = present[:, None] & present
    same = torch.eye(len(count), dtype=torch.bool, device=both.device)
    positive, negative = (
        (product * pairs).sum() / pairs.sum().clamp(min=1) for pairs in (both & same, both & ~same)
    )
    return positive, negative


@torch.no_grad()
def uniformity(samples: Samples) -> Tensor:
    """`ln mean_{i != j} e^{-2 |z_i - z_j|^2}` of all samples (Wang and Isola, arXiv:2005.10242).

    Args:
        samples: (K, M, D).

    Returns:
        0-d float32 in [-8, 0], 0 for equal vectors; 0 for fewer than two samples.
    """
    z, valid = samples.vectors.float().flatten(0, 1), samples.valid.flatten()
    pairs = (valid[:, None] & valid).float().fill_diagonal_(0)
    potential = (-_SCALE * (2 - 2 * z @ z.T).clamp(min=0)).exp()
    # Without a pair the sum is 0; one added to both sides makes that ln 1.
    none = (pairs.sum() == 0).float()
    return (((potential * pairs).sum() + none) / (pairs.sum() + none)).log()
