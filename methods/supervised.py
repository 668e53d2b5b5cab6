"""Labelled data only: the lower reference of every comparison.

Loss: half the sum of cross-entropy and soft Dice. Network: U-Net (Ronneberger et al. 2015,
arXiv:1505.04597; 3D: Cicek et al. 2016, arXiv:1606.06650).

Two controls tell what a method gains without its loss terms: `strong` (strong intensity views of
the labelled images) and `unlabeled_bn` (unlabelled images in the same forward pass at weight 0:
they move the statistics by which batch norm normalises, and nothing else).
"""

from __future__ import annotations

from methods.blocks.labeled import LabeledOnly, LabeledParams


class SupervisedParams(LabeledParams):
    """Images per step."""


class Supervised(LabeledOnly[SupervisedParams]):
    """U-Net on the labelled subset."""

    Params = SupervisedParams
    title = "Supervised"
    paper = "Ronneberger et al. 2015, arXiv:1505.04597"
