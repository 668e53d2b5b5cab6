"""The engine against the bare step, EGCL-Net against its base row, methods against supervision."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from benchmarks.config import OptimizerConfig, UNetConfig
from benchmarks.engine.loader import make_loader
from benchmarks.engine.nets import Builder
from benchmarks.engine.optim import Optimizers
from benchmarks.engine.trainer import Trainer
from methods import load_method, method_ids
from methods.base import Method, Progress
from tests.engine.small import QUIET, build, job_of, make_config
from tests.speed.conftest import Compare

pytestmark = pytest.mark.speed
CPU = torch.device("cpu")
CHANNELS = (16, 32, 64, 128)
LATE = Progress(900, 1000)


def make_method(name: str, ndim: int = 2, **values: object) -> Method[Any]:
    cls = load_method(name)
    network = UNetConfig(channels=CHANNELS)
    builder = Builder(network, ndim=ndim, in_channels=1, classes=4, seed=0)
    torch.manual_seed(0)
    return cls(builder, cls.Params.model_validate(values), classes=4, ndim=ndim).train()


def images(count: int, *size: int) -> tuple[Tensor, Tensor]:
    label = (torch.arange(size[-1]) * 4 // size[-1]).expand(count, *size)
    return torch.randn(count, 1, *size) + label[:, None], label


def stepper(method: Method[Any], size: tuple[int, ...], count: int = 2) -> Callable[[], None]:
    """A full step on a fixed batch of `count` labelled and as many unlabelled images."""
    labeled, unlabeled = method.batch_sizes(method.params, count, count)
    image, label = images(labeled + unlabeled, *size)
    batch = method.batch_of(image, label, labeled)
    optimizer = Optimizers(method, OptimizerConfig())

    def step() -> None:
        loss = torch.stack(list(method.losses(batch, LATE).values())).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        method.after_step(LATE)

    return step


@pytest.mark.parametrize(("augment", "most"), [("suite", 1.10), ("none", 1.03)])
def test_engine_step_against_the_bare_step(
    augment: str, most: float, compare: Compare, tmp_path: Path
) -> None:
    config = make_config(
        augment=augment, labeled_batch=4, unlabeled_batch=4, iterations=1000,
        network={"kind": "unet", "channels": list(CHANNELS)},
    )  # fmt: skip
    block = config.data["phantom_acdc"].model_copy(
        update={"prepare": {"size": [128, 128]}, "fetch": {"patients": 6, "matrix": 128}}
    )
    config = config.model_copy(update={"data": {"phantom_acdc": block}})
    build(tmp_path, config)
    job = job_of(tmp_path, tmp_path / "run", "mean_teacher", config)
    trainer = Trainer(job, CPU, QUIET)
    bare = Trainer(replace(job, folder=tmp_path), CPU, QUIET)
    batch, count = bare.loader.batch(0), itertools.count()

    def bare_step() -> None:
        terms = bare.method.losses(batch, LATE)
        loss = torch.stack(list(terms.values())).sum()
        bare.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        bare.optimizer.step()
        bare.method.after_step(LATE)

    name = f"engine step, augmentation {augment} / bare step (2D, 128, 4 + 4)"
    step = trainer.step
    assert compare(name, lambda: step(next(count)), bare_step, most=most) < 1.5 * most


def test_loading_share_of_a_step(compare: Compare, tmp_path: Path) -> None:
    """Reading and augmenting a batch against the bare step of the protocol's network."""
    config = make_config(
        labeled_batch=4, unlabeled_batch=4, iterations=1000,
        network={"kind": "unet", "channels": [16, 32, 64, 128, 256]},
    )  # fmt: skip
    block = config.data["phantom_acdc"].model_copy(
        update={"prepare": {"size": [256, 256]}, "fetch": {"patients": 6, "matrix": 224}}
    )
    config = config.model_copy(update={"data": {"phantom_acdc": block}})
    build(tmp_path, config)
    trainer = Trainer(job_of(tmp_path, tmp_path / "run", "supervised", config), CPU, QUIET)
    count, network = itertools.count(), UNetConfig(channels=(16, 32, 64, 128, 256))
    builder = Builder(network, ndim=2, in_channels=1, classes=4, seed=0)
    supervised = load_method("supervised")
    method = supervised(builder, supervised.Params(), classes=4, ndim=2).train()
    ratio = compare(
        "reading and augmenting a batch / bare supervised step (2D, 256, 4)",
        lambda: trainer.loader.batch(next(count)), stepper(method, (256, 256), 4),
        most=0.10, rounds=7,
    )  # fmt: skip
    trainer.loader.close()
    assert ratio < 0.10


def field_sample(
    image: NDArray[np.float32], label: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """What the field's loaders do with one slice: one of two SciPy branches, then zoom."""
    if rng.random() < 0.5:
        k, axis = int(rng.integers(4)), int(rng.integers(2))
        image = np.flip(np.rot90(image, k), axis).copy()
        label = np.flip(np.rot90(label, k), axis).copy()
    else:
        angle = int(rng.integers(-20, 20))
        image = ndimage.rotate(image, angle, order=0, reshape=False)
        label = ndimage.rotate(label, angle, order=0, reshape=False)
    factors = [256 / s for s in image.shape]
    return ndimage.zoom(image, factors, order=0), ndimage.zoom(label, factors, order=0)


def test_loader_against_the_fields_practice(compare: Compare, tmp_path: Path) -> None:
    """Same batch of 12 + 12 slices of 256: read, augmented and stacked."""
    config = make_config(labeled_batch=12, unlabeled_batch=12)
    block = config.data["phantom_acdc"].model_copy(
        update={"prepare": {"size": [256, 256]}, "fetch": {"patients": 6, "matrix": 224}}
    )
    config = config.model_copy(update={"data": {"phantom_acdc": block}})
    build(tmp_path, config)
    job = job_of(tmp_path, tmp_path / "run", "mean_teacher", config)
    loader, count, rng = make_loader(job, CPU), itertools.count(), np.random.default_rng(0)
    volume = np.random.default_rng(1).random((24, 224, 224), dtype=np.float32)
    masks = (volume > 0.5).astype(np.uint8)
    for index, (image, label) in enumerate(zip(volume, masks, strict=True)):
        np.savez(tmp_path / f"{index}.npz", image=image, label=label)

    def practice() -> Tensor:
        samples = []
        for index in range(24):
            with np.load(tmp_path / f"{index}.npz") as stored:
                samples.append(field_sample(stored["image"], stored["label"], rng))
        return torch.from_numpy(np.stack([image for image, _ in samples]))

    ratio = compare(
        "loader / per-sample SciPy practice (24 slices of 256)",
        lambda: loader.batch(next(count)), practice, most=0.2, rounds=7,
    )  # fmt: skip
    loader.close()
    assert ratio < 0.25


@pytest.mark.parametrize("size", [(128, 128), (32, 32, 32)], ids=["2D", "3D"])
def test_egcl_net_against_its_base_row(size: tuple[int, ...], compare: Compare) -> None:
    full = stepper(make_method("egcl_net", len(size)), size, 4)
    base = stepper(make_method("egcl_net", len(size), lam_con=0.0), size, 4)
    name = f"EGCL-Net / base row A0 ({len(size)}D, {size[0]}, 4 + 4)"
    assert compare(name, full, base, most=1.25, rounds=9) < 1.25


@pytest.mark.parametrize("name", [m for m in method_ids() if m != "supervised"])
def test_method_against_supervision(name: str, compare: Compare) -> None:
    """Supervision sees as many images, all of them labelled, as in the counted cost."""
    ratio = compare(
        f"{name} / supervised (2D, 96, 2 + 2)",
        stepper(make_method(name), (96, 96)),
        stepper(make_method("supervised"), (96, 96), 4),
        most=float("nan"), rounds=3,
    )  # fmt: skip
    assert 0.1 < ratio < 50
