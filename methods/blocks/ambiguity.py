"""Pixels whose label is doubtful, by confident learning or by distance to class prototypes.

Masks of fixed shape; nothing waits for the device.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.blocks.resize import resize_linear

# Tolerance and threshold of a missing class, as in cleanlab's `count.py`.
_NEAR, _NEVER = 1e-6, 2.0


def label_issues(label: Tensor, probability: Tensor) -> Tensor:
    """Labels that confident learning calls wrong (Northcutt et al. 2021, arXiv:1911.00068).

    The confident joint C_kj counts pixels of label k whose probability of class j is at least the
    mean one among the pixels labelled j, made to sum to the number of labels k. Of label k are
    wrong, by class, the pixels of least p_k, as many as C_k lacks on its diagonal; by noise rate,
    for every j, the C_kj pixels of largest p_j - p_k. Wrong is what both call so, unless it is the
    most probable class (cleanlab's `filter_by="both"`). Where a class has no label, all pixels
    are taken: cleanlab fails then at f918b82, and AC-MT's code takes every pixel
    (`train_ACMT_SErr_3D_cl2.py:200-202`).

    Args:
        label: (N, *S) int64 in [0, K).
        probability: (N, K, *S).

    Returns:
        (N, *S) bool.
    """
    p = probability.float().movedim(1, -1).flatten(0, -2)
    given, classes = label.flatten(), p.shape[1]
    own = F.one_hot(given, classes).to(p.dtype)
    count = own.sum(0)
    joint = _confident_joint(p, own)
    by_class, by_rate = torch.zeros_like(given, dtype=torch.bool), torch.zeros_like(given).bool()
    for k in range(classes):
        by_class |= _largest(-p[:, k], given == k, count[k] - joint[k, k])
        for j in range(classes):
            if j != k:
                by_rate |= _largest(p[:, j] - p[:, k], given == k, joint[k, j])
    issues = by_class & by_rate & (p.argmax(1) != given)
    return (issues | (count == 0).any()).view_as(label)


def _confident_joint(p: Tensor, own: Tensor) -> Tensor:
    """C (K, K), rounded, of probabilities and one-hot labels (P, K)."""
    count = own.sum(0)
    threshold = torch.where(count > 0, (p * own).sum(0) / count.clamp(min=1), _NEVER)
    sure = p >= threshold - _NEAR
    guess = torch.where(sure.sum(1) > 1, p.argmax(1), sure.long().argmax(1))
    guessed = F.one_hot(guess, p.shape[1]) * sure.any(1, keepdim=True)
    joint = own.T @ guessed.to(p.dtype)
    joint = joint + torch.diag((joint.diagonal() < 1).to(p.dtype))
    return (joint / joint.sum(1, keepdim=True) * count[:, None]).round()


def _largest(value: Tensor, among: Tensor, number: Tensor) -> Tensor:
    """Mask (P,) of the `number` (0-d) largest values among some pixels."""
    order = value.masked_fill(~among, -torch.inf).argsort(descending=True)
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=value.device))
    return among & (rank < number)


def off_prototype(label: Tensor, feature: Tensor, probability: Tensor, certain: Tensor) -> Tensor:
    """Labels that are not the class of the nearest prototype of the image.

    The prototype of class k is the mean feature of the pixels that the certain probabilities call
    k, weighted by their probability.

    Args:
        label: (N, *S) int64 in [0, K).
        feature: (N, F, *G), brought to the size of the label.
        probability: (N, K, *S).
        certain: (N, K, *S) bool, probabilities that count; others are taken as 0.

    Returns:
        (N, *S) bool.
    """
    f = resize_linear(feature.float(), label.shape[1:], align_corners=False).flatten(2)
    p = probability.float().flatten(2)
    taken = F.one_hot((p * certain.flatten(2)).argmax(1), p.shape[1]).mT * p
    mass = taken.sum(2)
    prototype = (taken @ f.mT) / mass.clamp(min=_NEAR)[..., None]
    distance = torch.cdist(prototype, f.mT).masked_fill((mass == 0)[..., None], torch.inf)
    return (distance.argmin(1) != label.flatten(1)).view_as(label)
