"""Prediction and contrast against the usual practice, compiled against plain networks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.config import TrainConfig, UNetConfig
from benchmarks.engine.inference import predict_case
from benchmarks.engine.nets import Builder, compile_networks
from methods.blocks.contrast import sample_group
from methods.networks import SegNet
from tests.methods.pairs import pair_loss
from tests.noting import replace_row
from tests.speed.conftest import FOLDER, Compare
from tests.speed.test_engine import make_method, stepper

pytestmark = pytest.mark.speed
CPU = torch.device("cpu")
CHANNELS = (8, 16, 32, 64)
# A whole BraTS volume through the network and the windows of the paper preset, in a process of its
# own, whose largest memory is printed in MB.
WHOLE_VOLUME = """
import resource, numpy as np, torch
from tests.speed.test_inference import network, predict_case, protocol
torch.set_num_threads(2)
channels = (16, 32, 64, 128, 256)
image = np.random.default_rng(0).random((1, 155, 240, 240), dtype=np.float32)
with torch.inference_mode():
    out = predict_case(network(3, channels), image, ndim=3,
        train=protocol(channels, (96, 96, 96)), device=torch.device("cpu"))
assert out.shape == (2, 155, 240, 240)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def network(ndim: int, channels: tuple[int, ...]) -> SegNet:
    builder = Builder(UNetConfig(channels=channels), ndim=ndim, in_channels=1, classes=2, seed=0)
    return builder().eval()


def protocol(channels: tuple[int, ...], patch: tuple[int, ...] | None) -> TrainConfig:
    return TrainConfig(
        iterations=1, labeled_batch=1, unlabeled_batch=1, patch=patch,
        network=UNetConfig(channels=channels),
    )  # fmt: skip


def field_windows(net: SegNet, image: Tensor, size: int, stride: int) -> Tensor:
    """The field's loop over windows, one at a time, with sums and counts of the whole volume."""
    shape = image.shape[1:]
    score, count = torch.zeros(2, *shape), torch.zeros(shape)
    starts = [
        [min(k * stride, s - size) for k in range((s - size + stride - 1) // stride + 1)]
        for s in shape
    ]
    for z in starts[0]:
        for y in starts[1]:
            for x in starts[2]:
                at = slice(z, z + size), slice(y, y + size), slice(x, x + size)
                score[:, *at] += net(image[None, :, *at].contiguous()).softmax(1)[0]
                count[at] += 1
    return score / count


@torch.inference_mode()
def test_volume_against_the_fields_loop(compare: Compare) -> None:
    net, image = network(3, CHANNELS), np.random.default_rng(0).random((1, 72, 72, 72), np.float32)
    train = protocol(CHANNELS, (48, 48, 48))
    tensor = torch.from_numpy(image)
    ratio = compare(
        "3D windows / the field's loop (72^3, windows of 48)",
        lambda: predict_case(net, image, ndim=3, train=train, device=CPU),
        lambda: field_windows(net, tensor, 48, 32), most=1.1, rounds=3,
    )  # fmt: skip
    assert ratio < 1.5


@torch.inference_mode()
def test_slices_against_the_fields_loop(compare: Compare) -> None:
    net, image = (
        network(2, CHANNELS),
        np.random.default_rng(0).random((1, 12, 128, 128), np.float32),
    )
    train, tensor = protocol(CHANNELS, None), torch.from_numpy(image)
    ratio = compare(
        "2D case in one batch / slice by slice (12 slices of 128)",
        lambda: predict_case(net, image, ndim=2, train=train, device=CPU),
        lambda: [net(tensor[None, :, d]).softmax(1) for d in range(12)], most=1.1, rounds=7,
    )  # fmt: skip
    assert ratio < 1.5


def test_whole_brats_volume_within_four_gigabytes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WHOLE_VOLUME],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True,
    )  # fmt: skip
    megabytes = int(done.stdout)
    what = "3D prediction of 240 x 240 x 155 in windows of 96"
    replace_row(FOLDER / "memory.csv", {"measured": what, "MB": megabytes, "target": 4096})
    assert megabytes < 4096


def dense_loss(vectors: Tensor, label: Tensor, temperature: float) -> Tensor:
    """InfoNCE over all pairs of pixels, every pixel an anchor."""
    similar = vectors @ vectors.T / temperature
    same = label[:, None] == label
    log_negative = similar.masked_fill(same, float("-inf")).logsumexp(1, keepdim=True)
    positive = same.clone().fill_diagonal_(fill_value=False)
    return (F.softplus(log_negative - similar) * positive).sum() / positive.sum()


def test_contrast_against_all_pairs(compare: Compare) -> None:
    """Two images of 256 with features at a quarter, 8192 pixels; caps as in EGCL-Net."""
    torch.manual_seed(0)
    pixels = torch.randn(8192, 64).requires_grad_()
    label = torch.randint(4, (8192,))
    everyone = torch.ones(8192, dtype=torch.bool)

    def sampled() -> None:
        unit = F.normalize(pixels, dim=1)
        samples = sample_group(unit, label, everyone, classes=4, count=256, least=1)
        loss = pair_loss(samples, samples, samples, temperature=0.1, skip_self=True)
        loss.backward()  # type: ignore[no-untyped-call]

    def dense() -> None:
        loss = dense_loss(F.normalize(pixels, dim=1), label, 0.1)
        loss.backward()  # type: ignore[no-untyped-call]

    name = "sampled contrast / all pairs (8192 pixels)"
    assert compare(name, sampled, dense, most=0.1, rounds=3) < 0.3


def test_compiled_step(compare: Compare) -> None:
    """Whether `train.compile` pays on CPU; it is off unless asked for."""
    compiled = make_method("mean_teacher")
    compile_networks(compiled)
    ratio = compare(
        "mean_teacher with torch.compile / without (2D, 128, 4 + 4)",
        stepper(compiled, (128, 128), 4), stepper(make_method("mean_teacher"), (128, 128), 4),
        most=float("nan"), rounds=7,
    )  # fmt: skip
    assert 0.2 < ratio < 5
