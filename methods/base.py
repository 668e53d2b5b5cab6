"""What a method is: its networks, its named loss terms for a batch, its prediction.

Shape letters used in all docstrings: `N` batch, `L` labelled, `U` unlabelled, `C` channels, `K`
classes (background first), `*S` spatial axes (`H W` or `D H W`). One method file serves 2D and 3D.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, JsonValue, model_validator
from torch import Tensor, nn

from methods.networks import NetBuilder

# A number that changes over the run; a 0-d tensor where a step is recorded (`Progress.scalar`).
Scalar = float | Tensor

A = TypeVar("A", bound=Hashable)

# Name of the loss term that every method has, on true labels.
SUPERVISED = "supervised"


class MethodParams(BaseModel):
    """Base of the block `methods.<id>` in params.yaml; unknown keys are refused.

    Attributes:
        presets: named sets of values, such as those of a published code base. `preset: NAME` in the
            block stands for them; values given beside it come first.
        by_dimension: defaults that differ from those of the fields, by 2 or 3: published code often
            has other values in 3D.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {}
    by_dimension: ClassVar[Mapping[int, Mapping[str, object]]] = {}

    @classmethod
    def block(cls, given: Mapping[str, object], ndim: int) -> dict[str, object]:
        """Values of a params file completed by the preset they name and the dimension's defaults.

        Args:
            given: keys of the file, unchecked; those it has come first, then those of its preset.
            ndim: 2 or 3.
        """
        named = cls.presets.get(str(given.get("preset")), {})
        return {**cls.by_dimension.get(ndim, {}), **named, **given}

    @model_validator(mode="before")
    @classmethod
    def _expand_preset(cls, values: object) -> object:
        if not isinstance(values, dict) or "preset" not in values:
            return values
        given = {key: value for key, value in values.items() if key != "preset"}
        name = values["preset"]
        if name not in cls.presets:
            known = ", ".join(cls.presets) or "none"
            raise ValueError(f"unknown preset '{name}'; there are: {known}")
        return {**cls.presets[name], **given}


def tuned(low: float, high: float, *, log: bool = False) -> dict[str, JsonValue]:
    """`json_schema_extra` of a parameter that is tuned by default, with its range.

    Args:
        low: smallest value.
        high: largest value.
        log: drawn evenly on a logarithmic scale.
    """
    return {"tune": [low, high, *(["log"] if log else [])]}


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
class OracleBatch(Batch):
    """The data of a step of a method that declares itself an oracle; no other is given one.

    Attributes:
        truth: (U, *S) int64 in [0, K), labels of the images that the method calls unlabelled.
    """

    truth: Tensor


@dataclass(frozen=True)
class Progress:
    """Position in the run.

    A method that is to be captured in a CUDA graph reads it through `scalar` and `choice` alone.

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

    def scalar(self, value: Callable[[Progress], float]) -> Scalar:
        """A number that changes over the run, such as a ramped weight.

        Args:
            value: the number at a position; it may be asked for later ones too.
        """
        return value(self)

    def choice(self, ask: Callable[[Progress], A]) -> A:
        """What decides which operations a step has, such as whether a term has started.

        Args:
            ask: the answer at a position, one of few; it may be asked for later ones too.
        """
        return ask(self)


@dataclass(frozen=True)
class Player:
    """A module of a method that is trained by an optimiser of its own, such as a discriminator.

    Attributes:
        module: name of the method's attribute.
        lr: learning rate, above 0.
        optimizer: kind; without weight decay.
        schedule: of the rate over the run; `poly` as the suite's other optimisers.
    """

    module: str
    lr: float
    optimizer: Literal["sgd", "adam", "adamw"] = "adam"
    schedule: Literal["poly", "constant"] = "constant"


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
        uses_unlabeled: whether unlabelled images take part.
        oracle: the method reads true labels of the images that it calls unlabelled: its batches
            are `OracleBatch`, and it is shown beside the others, neither ranked nor compared.
        auxiliary: names of loss terms that train other modules than the tested network only, such
            as a discriminator's; every other term has to move the tested network.
        stages: names of loss terms that wait for a first stage of the run to end, with the
            parameter that says when: a share of the run, or, if an integer, a number of steps.
        quarter_turns: whether the weak augmentation may turn images by multiples of 90 degrees;
            False for a method that turns them itself and has to tell by how much.
        uncaptured: in a word, why a step cannot be captured in a CUDA graph; "" if it can.
        observing: whether diagnostics of the present step are kept; the engine says so.
    """

    Params: ClassVar[type[MethodParams]]
    title: ClassVar[str]
    paper: ClassVar[str]
    footnote: ClassVar[str] = ""
    all_labels: ClassVar[bool] = False
    uses_unlabeled: ClassVar[bool] = True
    oracle: ClassVar[bool] = False
    auxiliary: ClassVar[frozenset[str]] = frozenset()
    stages: ClassVar[Mapping[str, str]] = {}
    quarter_turns: ClassVar[bool] = True
    uncaptured: ClassVar[str] = ""
    observing: bool = True

    def __init__(self, build_net: NetBuilder, params: P, *, classes: int, ndim: int) -> None:
        super().__init__()
        self.params = params
        self.classes = classes
        self.ndim = ndim
        self._observed: dict[str, Tensor] = {}
        self._acted: dict[str, Tensor] = {}
        self.setup(build_net)

    @classmethod
    def batch_sizes(cls, params: P, labeled: int, unlabeled: int) -> tuple[int, int]:  # noqa: ARG003
        """Labelled and unlabelled images per step, from the configured numbers."""
        return labeled, unlabeled if cls.uses_unlabeled else 0

    @classmethod
    def batch_of(cls, image: Tensor, label: Tensor, labeled: int) -> Batch:
        """A batch of images (N, C, *S) whose first ones are labelled.

        Args:
            image: all images.
            label: (N, *S) int64; those of unlabelled images are left out but for an oracle.
            labeled: number of labelled images.
        """
        parts = image[:labeled], label[:labeled], image[labeled:]
        return OracleBatch(*parts, label[labeled:]) if cls.oracle else Batch(*parts)

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

    def players(self) -> Sequence[Player]:
        """Modules that have an optimiser of their own; the configured one trains the rest."""
        return ()

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

    def acted(self, **elements: Tensor) -> None:
        """Tell on how many elements loss terms acted in this step, without waiting for the device.

        Args:
            elements: by name of the term, a 0-d count of pixels, anchors or images; 0 where the
                term had nothing to act on. Terms that are not named acted on all they were given.
        """
        self._acted.update({name: count.detach() for name, count in elements.items()})

    def take_acted(self) -> dict[str, Tensor]:
        """Hand over and clear the counts of the last step."""
        acted, self._acted = self._acted, {}
        return acted
