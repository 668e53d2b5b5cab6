"""Labelled data only: the lower reference of every comparison.

Loss: half the sum of cross-entropy and soft Dice. Network: U-Net (Ronneberger et al. 2015,
arXiv:1505.04597; 3D: Cicek et al. 2016, arXiv:1606.06650).
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
