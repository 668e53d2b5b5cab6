"""Adversarial directions in image space."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from methods.blocks.divergence import soft_cross_entropy


@contextmanager
def untracked_statistics(net: nn.Module) -> Iterator[None]:
    """Batch norm uses the statistics of its batch and does not add them to the running ones."""
    norms = [m for m in net.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """The whole network is in eval mode; every module then gets its own mode back."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def fgsm(image: Tensor, loss: Callable[[Tensor], Tensor], *, epsilon: float) -> Tensor:
    """`x + eps sign(grad_x loss(x))` (Goodfellow et al. 2015, arXiv:1412.6572), detached.

    Args:
        image: (N, C, *S).
        loss: of the network that is attacked, 0-d; no parameter gets a gradient.
        epsilon: in image units.
    """
    start = image.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(start), start)
    return image.detach() + epsilon * gradient.sign()


def fgsm_of(net: nn.Module, image: Tensor, label: Tensor, *, epsilon: float) -> Tensor:
    """FGSM example of a network in eval mode, against labels.

    Args:
        net: gives logits (N, K, *S).
        image: (N, C, *S).
        label: (N, *S) int64.
        epsilon: in image units.

    Returns:
        (N, C, *S), without gradient.
    """
    with evaluating(net):
        return fgsm(image, lambda x: F.cross_entropy(net(x).float(), label), epsilon=epsilon)


def resistance(net: nn.Module, attacked: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy, 0-d, of a prediction on adversarial examples against a target.

    Args:
        net: gives logits; its running statistics do not see the examples.
        attacked: (N, C, *S).
        target: (N, K, *S) probabilities.
    """
    with untracked_statistics(net):
        return soft_cross_entropy(target, net(attacked))


def _of_rms(direction: Tensor, rms: float) -> Tensor:
    """Scale every image's direction to a root mean square over its pixels."""
    own = direction.flatten(1).square().mean(1).sqrt().clamp(min=1e-12)
    return direction * (rms / own).view(-1, *[1] * (direction.ndim - 1))


def virtual_adversarial(
    image: Tensor, distance: Callable[[Tensor], Tensor], *, probe: float, magnitude: float
) -> Tensor:
    """Direction in which a prediction changes most, by one power step (Miyato et al. 2018).

    Args:
        image: (N, C, *S).
        distance: of the prediction at a perturbed image from that at the image, 0-d.
        probe: size of the random probe, root mean square in image units.
        magnitude: size of the result, root mean square in image units.

    Returns:
        (N, C, *S), without gradient.
    """
    start = _of_rms(torch.rand_like(image) - 0.5, probe).requires_grad_()
    (gradient,) = torch.autograd.grad(distance(image + start), start)
    return _of_rms(gradient, magnitude).detach()
