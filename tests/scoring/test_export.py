"""Networks in files for other programs predict what the suite predicts, and say how to use them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn
from typer.testing import CliRunner

from benchmarks.cli import app, tools
from benchmarks.common.errors import BenchError, ConfigError
from benchmarks.common.files import file_digest
from benchmarks.config import UNetConfig
from benchmarks.engine.nets import Builder
from benchmarks.scoring.export import CARD, export
from benchmarks.scoring.trained import Trained, open_trained
from datasets import load_dataset
from methods.networks import SegNet
from tests.scoring.trained_small import train_small


def expected(trained: Trained) -> tuple[Tensor, Tensor]:
    """A prepared case as a batch, and the probabilities that the suite gives it."""
    data = trained.job.data
    image = torch.from_numpy(np.array(data.image(data.cases[0].case)))
    p = trained.probability(image.numpy())
    return (image.transpose(0, 1), p.transpose(0, 1)) if data.ndim == 2 else (image[None], p[None])


def called(call: Any, image: Tensor) -> Any:
    """A network of stride 8 on an image of any size."""
    size = image.shape[2:]
    pad = [n for length in reversed(size) for n in (0, -length % 8)]
    return call(nn.functional.pad(image, pad))[(..., *(slice(length) for length in size))]


def read_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def onnx_file(path: Path) -> tuple[Any, dict[str, Any]]:
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    (out,) = session.get_outputs()
    assert (given.name, out.name) == ("image", "probability")
    onnx.checker.check_model(onnx.load(path))
    facts = {p.key: read_text(p.value) for p in onnx.load(path).metadata_props}
    return lambda image: session.run(None, {"image": image.numpy()})[0], facts


def torchscript_file(path: Path) -> tuple[Any, dict[str, Any]]:
    stored = {CARD: ""}
    net = torch.jit.load(path, _extra_files=stored)  # type: ignore[no-untyped-call]
    return lambda image: net(image).numpy(), json.loads(stored[CARD])


def safetensors_file(path: Path) -> tuple[Any, dict[str, Any]]:
    """The weights in a U-Net that is built by hand, from what the card says of it."""
    with safe_open(path, "pt") as stored:
        facts = {name: read_text(text) for name, text in stored.metadata().items()}
        weights = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    own = {name.removeprefix("student."): tensor for name, tensor in weights.items()}
    config = UNetConfig.model_validate(facts["network"])
    channels, classes = len(facts["channels"]), len(facts["classes"])
    build = Builder(config, ndim=facts["dimension"], in_channels=channels, classes=classes, seed=1)
    net = build().eval()
    net.load_state_dict(own)
    return lambda image: net(image).softmax(1).detach().numpy(), facts


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("phantom_acdc", "net.pt"),
        ("phantom_acdc", "net.safetensors"),
        *(
            pytest.param(dataset, name, marks=pytest.mark.wide)
            for dataset, name in (
                ("phantom_acdc", "net.onnx"),
                ("phantom_brats2019", "net.onnx"),
                ("phantom_brats2019", "net.pt"),
            )
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_exported_networks_predict_the_same_and_say_what_they_are(
    tmp_path: Path, dataset: str, name: str
) -> None:
    # This method has a second network, which is not tested.
    _, (run,), place = train_small(tmp_path, dataset, "mean_teacher")
    trained = open_trained(run, place)
    image, p = expected(trained)
    data, adapter = trained.job.data, load_dataset(dataset)
    kinds = {".onnx": onnx_file, ".pt": torchscript_file, ".safetensors": safetensors_file}
    read = kinds[Path(name).suffix]
    export(trained, tmp_path / name)
    call, facts = read(tmp_path / name)
    np.testing.assert_allclose(called(call, image), p, atol=1e-5)
    assert facts["sizes"] == "free"
    assert (facts["classes"], facts["channels"]) == (list(data.classes), list(data.channels))
    assert facts["dimension"] == len(image.shape) - 2
    assert facts["weights"] == file_digest(trained.folder / "last.safetensors")
    assert (facts["code"], facts["run"]) == (run.code, run.digest)
    assert facts["data_citation"] == adapter.citation and "EGCL-Bench" in facts["suite_citation"]
    assert facts["intensity"] == adapter.intensity and facts["orientation"] == "RAS"
    case = next(c for c in data.cases if c.patient in trained.job.fold.train)
    low, high = facts["voxel_size"]["smallest"], facts["voxel_size"]["largest"]
    own = np.multiply(case.spacing, case.native_shape) / case.grid_shape
    if dataset == "phantom_acdc":  # which is not cropped
        assert np.all((own >= np.multiply(low, 0.999)) & (own <= np.multiply(high, 1.001)))
    with pytest.raises(ConfigError, match="name another --out"):
        export(trained, tmp_path / name)
    with pytest.raises(ConfigError, match=r"must end in \.onnx, \.pt, \.safetensors"):
        export(trained, tmp_path / "net.h5")


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_a_network_of_fixed_size_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, (run,), where = train_small(tmp_path, "phantom_acdc", "supervised")
    trained = open_trained(run, where)
    image, _ = expected(trained)
    net = next(m for m in trained.method.modules() if isinstance(m, SegNet))
    # Biases of every place, as position embeddings of a transformer.
    place, forward = torch.rand(1, 1, *image.shape[2:]), net.forward
    monkeypatch.setattr(net, "forward", lambda x: forward(x + place))
    export(trained, tmp_path / "net.pt")
    call, facts = torchscript_file(tmp_path / "net.pt")
    np.testing.assert_allclose(call(image), expected(trained)[1], atol=1e-5)
    assert facts["sizes"] == "fixed"


@pytest.mark.parametrize(
    ("option", "place", "words"),
    [
        ("--out", "taken.pt", "exists; name another --out"),
        ("--out", "net.h5", r"must end in \.onnx"),
        ("--out", "taken.pt/net.pt", "stands where a folder belongs"),
        ("--out", "/proc/net.pt", "give write permission"),
        ("--nnunet", "Dataset001_Taken", "exists; name another --nnunet"),
        ("--nnunet", "taken.pt/Dataset002_New", "stands where a folder belongs"),
    ],
)
def test_a_target_in_the_way_is_refused_before_a_run_is_looked_for(
    option: str, place: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken.pt").touch()
    (tmp_path / "Dataset001_Taken").mkdir()
    monkeypatch.setattr(tools, "pick_runs", lambda *_, **__: pytest.fail("opens a run"))
    with pytest.raises(BenchError, match=words):
        CliRunner().invoke(
            app,
            ["export", "phantom_acdc", "supervised", option, str(tmp_path / place)],
            catch_exceptions=False,
        )
    assert {path.name for path in tmp_path.iterdir()} == {"taken.pt", "Dataset001_Taken"}
