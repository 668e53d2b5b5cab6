"""All training patients labelled: the upper reference of every comparison.

The same network, loss and iterations as `supervised` (U-Net, Ronneberger et al. 2015,
arXiv:1505.04597) on a larger labelled set. By default it takes as many images per step as the
semi-supervised methods do in both streams together, the SSL4MIS habit.
"""

from __future__ import annotations

from typing import Literal

from methods.blocks.labeled import LabeledOnly, LabeledParams


class FullSupervisedParams(LabeledParams):
    """Images per step."""

    batch: Literal["labeled", "both"] = "both"
    # No image is left without its label.
    unlabeled_bn: Literal[False] = False


class FullSupervised(LabeledOnly[FullSupervisedParams]):
    """U-Net on the labels of all training patients."""

    Params = FullSupervisedParams
    title = "Full supervision"
    paper = "Ronneberger et al. 2015, arXiv:1505.04597"
    all_labels = True
