"""The block `train` of a params.yaml: network, optimiser, and how every method is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from benchmarks.common.schema import Strict

# More would not fit into any memory; a typing error is refused before something is allocated.
_Width = Annotated[int, Field(ge=1, le=65_536)]
_Edge = Annotated[int, Field(ge=1, le=65_536)]


Norm = Literal["batch", "instance"]


class UNetConfig(Strict):
    """The U-Net of the SSL4MIS protocol (methods share it), 2D or 3D.

    Its 2D network has batch norm. In 3D that protocol has instance norm and `linear` up-sampling
    (`networks/unet_3D.py` and `utils.py`, commit 06df604); what else differs there is ReLU, dropout
    at the coarsest level and at the end alone, and a last convolution of one voxel.
    """

    kind: Literal["unet"] = "unet"
    channels: tuple[_Width, ...] = Field(
        (16, 32, 64, 128, 256), min_length=4, max_length=6, description="channels per level"
    )
    up: Literal["transposed", "linear", "nearest"] = Field("transposed", description="decoder")
    # Younger than many runs: one that has the default is the same run with and without the key.
    norm: Norm = Field(
        "batch",
        exclude_if=lambda norm: norm == "batch",
        description="of the convolutions; instance: no image's output depends on the others",
    )


class SMPConfig(Strict):
    """U-Net of segmentation-models-pytorch with any of its encoders, 2D."""

    kind: Literal["smp"]
    encoder: str = "resnet34"
    weights: str | None = Field(None, description="pre-trained weights; null trains from scratch")


class MonaiConfig(Strict):
    """BasicUNet of MONAI, 2D or 3D."""

    kind: Literal["monai"]
    features: tuple[_Width, _Width, _Width, _Width, _Width, _Width] = (16, 32, 64, 128, 256, 16)
    dropout: float = Field(0.1, ge=0, lt=1)


Network = Annotated[UNetConfig | SMPConfig | MonaiConfig, Field(discriminator="kind")]


class OptimizerConfig(Strict):
    """Optimiser and learning-rate schedule."""

    kind: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: float = Field(0.01, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1, description="SGD only")
    weight_decay: float = Field(1e-4, ge=0)
    schedule: Literal["poly", "constant"] = "poly"
    power: float = Field(0.9, gt=0, description="of the poly schedule (1 - t/T)^power")


class TrainConfig(Strict):
    """How every method is trained."""

    iterations: int = Field(ge=1)
    labeled_batch: int = Field(ge=1, description="labelled images per step")
    unlabeled_batch: int = Field(ge=1, description="unlabelled images per step")
    patch: tuple[_Edge, ...] | None = Field(
        None, min_length=2, max_length=3, description="random crop (*S, voxels); null: whole grid"
    )
    inference: Literal["windows", "whole"] = Field(
        "windows", description="3D prediction: overlapping windows of `patch`, or in one piece"
    )
    network: Network = UNetConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    augment: Literal["none", "suite", "ssl4mis", "rotate"] = Field(
        "suite", description="suite and ssl4mis turn and flip; rotate keeps the orientation"
    )
    validations: int = Field(10, ge=1, description="validations per run, evenly spaced")
    amp: Literal["auto", "off", "bf16"] = Field(
        "auto", description="autocast; auto: bf16 on CUDA, off on CPU (see `doctor`)"
    )
    channels_last: bool = True
    compile: bool = Field(False, description="torch.compile the networks; slower on a CPU")
    graph: Literal["auto", "off"] = Field("auto", description="auto: CUDA graphs of steps")
    skip_nonfinite: int = Field(
        0,
        ge=0,
        description="iterations with a loss that is not finite to leave out before the run stops",
    )
