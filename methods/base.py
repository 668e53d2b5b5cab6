"""What a method is: its networks, its named loss terms for a batch, its prediction.

Shape letters used in all docstrings: `N` batch, `L` labelled, `U` unlabelled, `C` channels, `K`
classes (background first), `*S` spatial axes (`H W` or `D H W`). One method file serves 2D and 3D.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn


class MethodParams(BaseModel):
    """Base of the block `methods.<id>` in params.yaml; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Batch:
    """One training step's data. There is no label of an unlabelled image anywhere in it.

    Attributes:
        image: (L, C, *S) float32, labelled images after weak augmentation.
        label: (L, *S) int64 in [0, K).
        unlabeled: (U, C, *S) float32 after weak augmentation; U is 0 for methods that use none.
    """

    image: Tensor
    label: Tensor
    unlabeled: Tensor

    @property
    def images(self) -> Tensor:
        """All images, labelled first: (L + U, C, *S)."""
        return torch.cat([self.image, self.unlabeled])

    def split(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Undo `images`: (L + U, ...) to its labelled and unlabelled part."""
        return value[: len(self.image)], value[len(self.image) :]


@dataclass(frozen=True)
class Progress:
    """Position in the run.

    Attributes:
        step: iteration, in [0, total).
        total: iterations of the whole run.
    """

    step: int
    total: int

    @property
    def fraction(self) -> float:
        """Share of the run that is done, in [0, 1)."""
        return self.step / self.total


@dataclass(frozen=True)
class View:
    """Output of one decoder.

    Attributes:
        logits: (N, K, *S).
        features: (N, F, *G), the decoder's map at a quarter of the resolution.
    """

    logits: Tensor
    features: Tensor


class SegNet(nn.Module, ABC):
    """A segmentation network with one encoder and one or more decoders.

    Attributes:
        feature_channels: F of `View.features`.
    """

    feature_channels: int

    @abstractmethod
    def views(self, image: Tensor) -> list[View]:
        """Outputs of all decoders from one encoder pass.

        Args:
            image: (N, C, *S) float32.
        """

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, K, *S) of the first decoder; the others are not computed."""


class NetBuilder(Protocol):
    """Makes a network of the configured kind; the n-th call of a run has its own random stream."""

    def __call__(self, *, decoders: int = 1) -> SegNet:
        """Build a network; decoders after the first differ in their up-sampling."""
        ...


P = TypeVar("P", bound=MethodParams)


class Method(nn.Module, ABC, Generic[P]):
    """One semi-supervised method.

    A subclass names its parameter model as `Params`, makes its networks in `setup` and states its
    loss in `losses`. The module's docstring is the method's citation with every deviation.

    Attributes:
        Params: pydantic model of the method's block in params.yaml.
        title: name in tables and figures.
        paper: short citation with year and DOI or arXiv number.
        footnote: caveat printed under every table and figure, or "".
        all_labels: the method is given the labels of every training patient.
        uses_unlabeled: False lets the engine skip the unlabelled stream.
    """

    Params: ClassVar[type[MethodParams]]
    title: ClassVar[str]
    paper: ClassVar[str]
    footnote: ClassVar[str] = ""
    all_labels: ClassVar[bool] = False
    uses_unlabeled: ClassVar[bool] = True

    def __init__(self, build_net: NetBuilder, params: P, *, classes: int, ndim: int) -> None:
        super().__init__()
        self.params = params
        self.classes = classes
        self.ndim = ndim
        self._observed: dict[str, Tensor] = {}
        self.setup(build_net)

    @abstractmethod
    def setup(self, build_net: NetBuilder) -> None:
        """Create the networks, the tested one first: it then starts equal for all methods."""

    @abstractmethod
    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Weighted loss terms of one step; the engine minimises their sum.

        Returns:
            0-d float32 tensors by name; `supervised` is among them. A term that has nothing to
            act on is 0 with a graph, never NaN.
        """

    @abstractmethod
    def predict(self, image: Tensor) -> Tensor:
        """Logits (N, K, *S) of the tested network for (N, C, *S); deterministic in eval mode."""

    def after_step(self, t: Progress) -> None:
        """Update what no gradient trains, such as an EMA teacher."""

    def companions(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """Other networks to log beside the tested one at validation; never used for selection."""
        return {}

    def observe(self, **values: Tensor) -> None:
        """Keep 0-d diagnostics of this step for metrics.jsonl, without waiting for the device."""
        self._observed.update({name: value.detach() for name, value in values.items()})

    def take_observed(self) -> dict[str, Tensor]:
        """Hand over and clear the diagnostics of the last step."""
        observed, self._observed = self._observed, {}
        return observed
