"""A trained network as one file for other programs, with its card inside.

ONNX or TorchScript, which run by themselves, or weights for whoever builds the network in PyTorch.
"""

from __future__ import annotations

import copy
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchmarks.common.errors import ConfigError, RunError, not_installed
from benchmarks.common.files import refuse_unwritable, write_bytes
from benchmarks.engine.job import blank_image
from benchmarks.engine.nets import stride
from benchmarks.scoring.card import card
from benchmarks.scoring.trained import Trained

if TYPE_CHECKING:
    from numpy.typing import NDArray

CARD = "card.json"  # name of the card inside a TorchScript file
IMAGE, PROBABILITY = "image", "probability"
# Largest difference of a probability that another runtime's order of sums may make in float32.
_TOLERANCE = 1e-4

Call = Callable[[Tensor], Tensor]
Written = tuple[bytes, Call]


class Tested(nn.Module):
    """The tested network of a method alone: images (N, C, *S) to class probabilities (N, K, *S)."""

    def __init__(self, trained: Trained) -> None:
        super().__init__()
        self.method = trained.method

    def forward(self, image: Tensor) -> Tensor:
        """Softmax of the logits, float32."""
        logits: Tensor = self.method.predict(image)
        return logits.float().softmax(1)


def refuse_target(target: Path) -> None:
    """Refuse a file that `export` could not write, before a run is opened.

    Raises:
        ConfigError: another ending, or the file exists.
        StorageError: it cannot be written.
    """
    if target.suffix not in _KINDS:
        raise ConfigError(
            f"--out '{target}' must end in {', '.join(_KINDS)} (ONNX, TorchScript, weights alone)"
        )
    if target.exists() or target.is_symlink():
        raise ConfigError(f"'{target}' exists; name another --out or remove it")
    refuse_unwritable(target)


def export(trained: Trained, target: Path) -> dict[str, Any]:
    """Write the tested network, and compare what it predicts with what the suite predicts.

    Input is `image` (N, C, *S) float32, prepared as the card says, output `probability`
    (N, K, *S). Batch and spatial sizes are free, the latter in multiples of the network's stride;
    networks whose parts are of fixed size, such as windows of attention, keep the size of training.

    Args:
        trained: the run, on the CPU.
        target: `<name>.onnx`, `<name>.pt` (TorchScript) or `<name>.safetensors` (weights of
            the tested network, by their names in the run); it must not exist.

    Returns:
        The card that is inside, with `sizes` (`free` or `fixed`).

    Raises:
        ConfigError: another ending, an existing file, or missing packages.
        StorageError: the file cannot be written.
        RunError: the file predicts something else than the network.
    """
    refuse_target(target)
    net, write = Tested(trained).eval(), _KINDS[target.suffix]
    image = blank_image(trained.job, trained.device).repeat(2, *(1,) * (trained.job.data.ndim + 1))
    image = torch.rand(image.shape, generator=torch.Generator().manual_seed(0))
    step = stride(trained.job.train.network)
    larger = torch.rand(3, image.shape[1], *(n + step for n in image.shape[2:]))
    facts = {**card(trained), "format": 1}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of exporters about their own future
        try:
            data, call = write(net, image, {**facts, "sizes": "free"}, step)
            _compare(net, call, larger)
            facts["sizes"] = "free"
        except Exception:  # whatever a runtime raises for a size that it was not made for
            facts["sizes"] = "fixed"
            data, call = write(net, image, facts, 0)
        _compare(net, call, image)
    write_bytes(target, data)
    return facts


def _compare(net: nn.Module, call: Call, image: Tensor) -> None:
    """Raise a RunError unless both predict the same."""
    apart = float((call(image) - net(image)).abs().max())
    if not apart <= _TOLERANCE:
        raise RunError(
            f"the exported network differs by {apart:.2g} in a probability from the trained one;"
            " nothing was written"
        )


def _texts(facts: dict[str, Any]) -> dict[str, str]:
    """The card as names and texts; what is no text is JSON."""
    return {name: v if isinstance(v, str) else json.dumps(v) for name, v in facts.items()}


def _onnx(net: Tested, image: Tensor, facts: dict[str, Any], step: int) -> Written:
    """The file as ONNX, and how to call it; `step` 0 fixes the spatial size."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch.onnx needs it and says so late
    except ImportError:
        raise not_installed("export to .onnx", "export", "or name a file .pt") from None
    from torch.export import Dim

    dims = {0: Dim("batch")}
    if step:
        dims |= {axis: step * Dim(f"n{axis - 1}", min=1) for axis in range(2, image.dim())}
    made = torch.onnx.export(
        net, (image,), dynamo=True, dynamic_shapes={IMAGE: dims}, verbose=False,
        input_names=[IMAGE], output_names=[PROBABILITY],
    )  # fmt: skip
    if made is None:
        raise RunError("the exporter of PyTorch gave no ONNX model; export to .pt")
    model = made.model_proto
    for name, text in _texts(facts).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = name, text
    data: bytes = model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # a size that does not fit is found out on purpose
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def call(given: Tensor) -> Tensor:
        found: list[NDArray[Any]] = session.run(None, {IMAGE: given.numpy()})
        return torch.from_numpy(found[0])

    return data, call


def _torchscript(net: Tested, image: Tensor, facts: dict[str, Any], step: int) -> Written:
    """The file as TorchScript, and how to call it; a trace has the sizes of its image at most."""
    del step
    traced = torch.jit.trace(net, image)  # type: ignore[no-untyped-call]
    made = torch.jit.freeze(traced, optimize_numerics=False)
    stream = io.BytesIO()
    torch.jit.save(made, stream, _extra_files={CARD: json.dumps(facts)})
    call: Call = torch.jit.load(io.BytesIO(stream.getvalue()))  # type: ignore[no-untyped-call]
    return stream.getvalue(), call


def _weights(net: Tested, image: Tensor, facts: dict[str, Any], step: int) -> Written:
    """The weights that predict as safetensors, and the network with no others than these."""
    from safetensors.torch import load, save

    del step
    called: set[str] = set()
    hooks = [
        module.register_forward_hook(lambda *_, name=name: called.add(name))
        for name, module in net.method.named_modules()
    ]
    net(image)
    for hook in hooks:
        hook.remove()
    tensors = {
        name: tensor.contiguous()
        for name, tensor in net.method.state_dict().items()
        if name.rpartition(".")[0] in called
    }
    data = save(tensors, _texts(facts))
    read = copy.deepcopy(net)
    for tensor in read.state_dict().values():
        tensor.zero_()
    read.method.load_state_dict(load(data), strict=False)
    return data, read


_KINDS = {".onnx": _onnx, ".pt": _torchscript, ".safetensors": _weights}
