"""Networks: one encoder pass for all decoders, the feature map, and paired initialisation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.common.errors import ConfigError
from benchmarks.config import MonaiConfig, Network, SMPConfig, UNetConfig
from benchmarks.engine.nets import Builder, stride
from methods import load_method, method_ids
from methods.networks import Architecture, Decoder, SegNet

TINY = UNetConfig(channels=(4, 8, 12, 16))
MONAI = MonaiConfig(kind="monai", features=(4, 8, 12, 16, 16, 4))
SMP = SMPConfig(kind="smp", encoder="resnet18")


def builder(network: Network = TINY, *, ndim: int = 2, seed: int = 0) -> Builder:
    return Builder(network, ndim=ndim, in_channels=1, classes=3, seed=seed)


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def check_views(net: SegNet, image: Tensor, *, decoders: int, first: nn.Module) -> None:
    """Shapes, features at a quarter of the resolution, one encoder pass, decoder 1 is `forward`."""
    passes: list[None] = []
    first.register_forward_hook(lambda *_: passes.append(None))
    net.eval()
    views = net.outputs(image)
    assert len(views) == decoders and len(passes) == 1
    for view in views:
        assert view.logits.shape == (len(image), 3, *image.shape[2:])
        quarter = [s // 4 for s in image.shape[2:]]
        assert view.features.shape == (len(image), net.feature_channels, *quarter)
    assert torch.equal(net(image), views[0].logits)
    for other in views[1:]:
        assert not torch.equal(other.logits, views[0].logits)


def check_training(net: SegNet, image: Tensor) -> None:
    """Every decoder trains the shared encoder, and all parameters take part."""
    net.train()
    sum((v.logits.square().mean() for v in net.outputs(image)), torch.zeros(())).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("decoders", [1, 2, 3])
def test_unet(ndim: int, decoders: int) -> None:
    net: Any = builder(ndim=ndim)(decoders=decoders)
    image = torch.randn(2, 1, *(24, 16, 32)[-ndim:])
    check_views(net, image, decoders=decoders, first=net.encoder[0])
    check_training(net, image)
    assert net.feature_channels == 12


def test_the_configured_decoder_comes_first() -> None:
    """Bilinear is SSL4MIS's (`networks/unet.py`); the scheme then goes on with the others."""
    net: Any = builder(UNetConfig(channels=(4, 8, 12, 16), up="linear"))(decoders=3)
    kinds = [type(decoder.ups[0].up) for decoder in net.decoders]
    assert kinds == [nn.Sequential, nn.ConvTranspose2d, nn.Sequential]
    assert [net.decoders[n].ups[0].up[1].mode for n in (0, 2)] == ["bilinear", "nearest"]


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("architecture", ["configured", "swin"])
def test_with_instance_norm_no_image_changes_the_output_of_another(
    ndim: int, architecture: Architecture
) -> None:
    """SSL4MIS `networks/utils.py`, `UnetConv3`: without weights and without running statistics."""
    network = UNetConfig(channels=(4, 8, 12, 16), norm="instance")
    net: Any = builder(network, ndim=ndim)(architecture=architecture)
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._NormBase)]
    assert norms and all(isinstance(m, nn.modules.instancenorm._InstanceNorm) for m in norms)
    assert not any(list(m.state_dict()) for m in norms)
    images = torch.randn(2, 1, *(32, 16, 16)[-ndim:])
    net.eval()
    together = net(images)
    alone = torch.cat([net(images[:1]), net(images[1:])])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    check_training(net, images)


def test_the_default_norm_leaves_runs_what_they_were() -> None:
    """The key is younger than runs whose settings are recorded without it."""
    assert set(UNetConfig().model_dump(mode="json")) == {"kind", "channels", "up"}
    assert UNetConfig(norm="instance").model_dump(mode="json")["norm"] == "instance"


def test_unet_of_five_levels_has_its_features_at_stride_four() -> None:
    net: Any = builder(UNetConfig(channels=(2, 4, 6, 8, 10)))()
    check_views(net, torch.randn(2, 1, 32, 32), decoders=1, first=net.encoder[0])
    assert net.feature_channels == 6


def test_monai() -> None:
    for ndim in (2, 3):
        net: Any = builder(MONAI, ndim=ndim)(decoders=3)
        image = torch.randn(2, 1, *(32, 16, 16)[-ndim:])
        check_views(net, image, decoders=3, first=net.encoder[0])
        assert equal(builder(MONAI, ndim=ndim)().state_dict(), first_decoder(net))
        check_training(net, image)


@pytest.mark.parametrize("ndim", [2, 3])
def test_swin(ndim: int) -> None:
    """The transformer takes sizes that its windows do not divide."""
    net: Any = builder(ndim=ndim)(architecture="swin")
    image = torch.randn(2, 1, *(16, 24, 40)[-ndim:])
    check_views(net, image, decoders=1, first=net.stem)
    check_training(net, image)


@pytest.mark.parametrize(("network", "size"), [(TINY, 24), (MONAI, 16), (SMP, 64)])
def test_decoders_of_named_kinds(network: Network, size: int) -> None:
    kinds: list[Decoder] = ["transposed", "swin", "transposed", "linear"]
    net = builder(network)(decoders=kinds).eval()
    views = net.outputs(torch.randn(1, 1, size, size))
    assert [v.logits.shape for v in views] == [(1, 3, size, size)] * 4
    for view in views:
        assert tuple(s.shape[1] for s in view.stages) == net.stage_channels
        assert [s.shape[-1] for s in view.stages] == [size >> i for i in range(len(view.stages))]
    assert not torch.equal(views[0].logits, views[2].logits), "decoders of a kind differ in weights"


@pytest.mark.parametrize(("network", "size"), [(TINY, 24), (MONAI, 16), (SMP, 64)])
def test_encoder_levels(network: Network, size: int) -> None:
    net = builder(network)().eval()
    levels = net.encode(torch.randn(1, 1, size, size))
    assert tuple(x.shape[1] for x in levels) == net.level_channels
    perturbed = [torch.zeros_like(x) for x in levels]
    assert not torch.equal(net.decode(perturbed).logits, net.decode(levels).logits)


def test_smp() -> None:
    net: Any = builder(SMP)(decoders=2)
    image = torch.randn(2, 1, 64, 64)
    check_views(net, image, decoders=2, first=net.encoder)
    assert equal(builder(SMP)().state_dict(), first_decoder(net))
    check_training(net, image)
    with pytest.raises(ConfigError, match="2D"):
        builder(SMP, ndim=3)()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoder": "resnet81"}, "encoder 'resnet81' is unknown: did you mean 'resnet18'"),
        ({"weights": "imagnet"}, "weights 'imagnet' of resnet18 are unknown: did you mean"),
        ({"weights": "imagenet"}, "cannot be downloaded (ConnectionError)"),
    ],
)
def test_encoders_that_cannot_be_had(
    changes: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*args: object, **options: object) -> str:
        del args, options
        raise ConnectionError("no route to host")

    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", offline)
    with pytest.raises(ConfigError, match=re.escape(words)):
        builder(SMP.model_copy(update=changes))()


def first_decoder(net: nn.Module) -> dict[str, Tensor]:
    """State of the encoder and of decoder 1 with its head."""
    first = ("encoder.", "decoders.0.", "heads.0.")
    return {k: v for k, v in net.state_dict().items() if k.startswith(first)}


@pytest.mark.parametrize("decoders", [0, 4])
def test_number_of_decoders_is_checked(decoders: int) -> None:
    with pytest.raises(ConfigError, match="1 to 3"):
        builder()(decoders=decoders)


@pytest.mark.parametrize(
    ("network", "expected"), [(TINY, 8), (UNetConfig(), 16), (MONAI, 16), (SMP, 32)]
)
def test_stride(network: Network, expected: int) -> None:
    assert stride(network) == expected


@pytest.mark.parametrize("ndim", [2, 3])
def test_decoder_one_is_equal_whatever_the_number_of_decoders(ndim: int) -> None:
    one, two, three = (builder(ndim=ndim)(decoders=n) for n in (1, 2, 3))
    assert equal(one.state_dict(), first_decoder(two))
    assert equal(one.state_dict(), first_decoder(three))


def test_weights_follow_the_seed_and_the_count_alone() -> None:
    torch.manual_seed(0)
    build = builder(seed=5)
    first, second = build(), build()
    torch.manual_seed(99)
    again = builder(seed=5)
    assert equal(first.state_dict(), again().state_dict())
    assert equal(second.state_dict(), again().state_dict())
    assert not equal(first.state_dict(), second.state_dict())
    assert not equal(first.state_dict(), builder(seed=6)().state_dict())


def test_building_leaves_the_global_stream_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    builder()()
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("method", method_ids())
def test_all_methods_start_from_equal_weights(method: str, ndim: int) -> None:
    built: list[SegNet] = []
    build = builder(ndim=ndim, seed=3)

    def record(
        *, decoders: int | Sequence[Decoder] = 1, architecture: Architecture = "configured"
    ) -> SegNet:
        built.append(build(decoders=decoders, architecture=architecture))
        return built[-1]

    cls = load_method(method)
    torch.manual_seed(sum(map(ord, method)))
    made = cls(record, cls.Params(), classes=3, ndim=ndim).eval()
    reference = builder(ndim=ndim, seed=3)().eval()
    assert equal(first_decoder(built[0]), reference.state_dict())
    image = torch.randn(1, 1, *[16] * ndim)
    assert torch.equal(made.predict(image), reference(image)), "the tested network comes first"
