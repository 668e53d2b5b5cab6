"""What every method must do, in 2D and 3D, with two and with four classes."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from _pytest.mark import ParameterSet
from torch import Tensor, nn

from benchmarks.config import OptimizerConfig, UNetConfig
from benchmarks.engine.nets import Builder
from benchmarks.engine.optim import Optimizers
from methods import load_method, method_ids
from methods.base import Batch, Method, Progress
from methods.networks import Decoded, NetBuilder, SegNet

TOTAL = 1000
END = Progress(TOTAL - 1, TOTAL)
SIZE = {2: 32, 3: 16}
# Values that cost less time and change no rule; a method takes those it has. The runs are so short
# that a teacher of the usual decay would stay at its start.
SMALL = {"passes": 2, "anchors": 16, "keys": 64, "dim": 16, "width": 8, "decay": 0.8}


class Scaled(SegNet):
    """A network whose logits are multiplied by a constant."""

    def __init__(self, net: SegNet, scale: float) -> None:
        super().__init__()
        self.net, self.scale, self.decoders = net, scale, net.decoders
        self.level_channels, self.stage_channels = net.level_channels, net.stage_channels

    def encode(self, image: Tensor) -> list[Tensor]:
        return self.net.encode(image)

    def decode(self, levels: Sequence[Tensor], decoder: int = 0) -> Decoded:
        view = self.net.decode(levels, decoder)
        return Decoded(view.logits * self.scale, view.stages)


class Case:
    """A method with tiny networks, its optimiser and an easy task."""

    def __init__(self, name: str, ndim: int, classes: int) -> None:
        self.cls = load_method(name)
        self.ndim, self.classes = ndim, classes

    def make(
        self, seed: int = 0, wrap: Callable[[SegNet], SegNet] = lambda net: net
    ) -> Method[Any]:
        small = {key: SMALL[key] for key in SMALL.keys() & self.cls.Params.model_fields.keys()}
        build: NetBuilder = Builder(
            UNetConfig(channels=(4, 8, 8, 8)),
            ndim=self.ndim,
            in_channels=1,
            classes=self.classes,
            seed=seed,
        )
        torch.manual_seed(seed)
        return self.cls(
            lambda **options: wrap(build(**options)),
            self.cls.Params.model_validate(self.cls.Params.block(small, self.ndim)),
            classes=self.classes,
            ndim=self.ndim,
        ).train()

    def batch(self, seed: int, labeled: int = 2, unlabeled: int = 3) -> Batch:
        """Noisy blobs, one of each class, whose brightness tells the class.

        In the first half of the first axis fog takes all contrast, so that a trained
        network is sure of some pixels of every class and unsure of others.
        """
        g = torch.Generator().manual_seed(seed)
        n, size = labeled + unlabeled, SIZE[self.ndim]
        grid = torch.stack(torch.meshgrid(*[torch.arange(size)] * self.ndim, indexing="ij"))
        label = torch.zeros(n, *grid.shape[1:], dtype=torch.int64)
        for k in range(1, self.classes):
            centre = (0.3 + 0.4 * torch.rand(n, self.ndim, *[1] * self.ndim, generator=g)) * size
            label[((grid - centre).square().sum(1)) < (0.3 * size) ** 2] = k
        image = 2 * label[:, None] / (self.classes - 1) - 1
        image = torch.where(grid[0] < size // 2, torch.zeros_like(image), image)
        image = image + 0.1 * torch.randn(image.shape, generator=g)
        unlabeled_image = image[labeled:] if self.cls.uses_unlabeled else image[:0]
        return Batch(image[:labeled], label[:labeled], unlabeled_image)


def optimizer_of(method: Method[Any]) -> Optimizers:
    return Optimizers(method, OptimizerConfig(lr=0.1))


def total_loss(method: Method[Any], batch: Batch, t: Progress = END) -> Tensor:
    return torch.stack(list(method.losses(batch, t).values())).sum()


def train(
    case: Case, method: Method[Any], optimizer: Optimizers, steps: range
) -> Iterator[dict[str, Tensor]]:
    """Steps at full weight as the engine makes them; random numbers are a function of the step."""
    for step in steps:
        torch.manual_seed(1000 + step)
        t = Progress(TOTAL - 100 + step, TOTAL)
        terms = method.losses(case.batch(step), t)
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        method.after_step(t)
        yield {name: term.detach() for name, term in terms.items()}


def trained(case: Case, steps: int = 4) -> Method[Any]:
    method = case.make()
    list(train(case, method, optimizer_of(method), range(steps)))
    return method


def gradients(method: Method[Any], value: Tensor) -> dict[str, Tensor]:
    """Gradient of a value for every trained parameter it reaches."""
    names, parameters = zip(
        *[(n, p) for n, p in method.named_parameters() if p.requires_grad], strict=True
    )
    found = torch.autograd.grad(value, parameters, allow_unused=True, retain_graph=True)
    return {n: g for n, g in zip(names, found, strict=True) if g is not None}


def state_of(method: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in method.state_dict().items()}


def assert_same_bits(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def assert_well_formed(terms: dict[str, Tensor]) -> None:
    assert "supervised" in terms
    for name, term in terms.items():
        assert term.shape == () and term.dtype == torch.float32, name
        assert term.isfinite() and term.item() >= 0, name
        assert term.requires_grad, name


def cases() -> Iterator[ParameterSet]:
    """Every method in 2D and 3D with 2 and 4 classes; `make contract` adds 3D with 2."""
    for method, ndim, classes in itertools.product(method_ids(), (2, 3), (2, 4)):
        marks = [pytest.mark.wide] if (ndim, classes) == (3, 2) else []
        name = f"{method}-{ndim}d-{classes}"
        yield pytest.param((method, ndim, classes), id=name, marks=marks)


@pytest.fixture(params=cases())
def case(request: pytest.FixtureRequest) -> Case:
    return Case(*request.param)


@pytest.mark.parametrize("step", [0, TOTAL // 2, TOTAL - 1])
@pytest.mark.parametrize("sizes", [(2, 3), (3, 1)])
def test_terms_are_finite_float32_scalars(case: Case, sizes: tuple[int, int], step: int) -> None:
    method = case.make()
    terms = method.losses(case.batch(0, *sizes), Progress(step, TOTAL))
    assert_well_formed(terms)
    assert all(v.shape == () and not v.requires_grad for v in method.take_observed().values())
    assert method.take_observed() == {}
    acted = method.take_acted()
    assert acted.keys() <= terms.keys() and all(v.shape == () for v in acted.values())


def test_every_term_trains_a_network_at_some_point(case: Case) -> None:
    """At the end of the run's schedule, looked at along a short training."""
    method = case.make()
    silent, seen = set[str](), set[str]()
    for step, _ in enumerate(train(case, method, optimizer_of(method), range(80))):
        if step % 4 != 3:
            continue
        for name, term in method.losses(case.batch(77), END).items():
            moves = any(g.any() for g in gradients(method, term).values())
            (seen if moves else silent).add(name)
        if silent <= seen:
            break
    assert silent - seen == set()
    assert len(seen) > 1 or not case.cls.uses_unlabeled, "no term besides `supervised`"


def test_unlabeled_images_count_only_where_declared(case: Case) -> None:
    method = trained(case, steps=16)  # until a teacher is sure of some pixels
    batch = case.batch(77)
    other = Batch(batch.image, batch.label, case.batch(78, 0, 3).unlabeled)
    results = []
    for b in (batch, other):
        torch.manual_seed(0)
        results.append(gradients(method, total_loss(method, b)))
    differ = any(not torch.equal(results[0][n], results[1][n]) for n in results[0])
    assert differ == case.cls.uses_unlabeled


def test_frozen_weights_move_only_after_the_step(case: Case) -> None:
    method = trained(case)
    frozen = {n: p for n, p in method.named_parameters() if not p.requires_grad}
    before = {n: p.clone() for n, p in frozen.items()}
    optimizer = optimizer_of(method)
    total_loss(method, case.batch(77)).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    assert all(p.grad is None for p in frozen.values())
    assert_same_bits(before, dict(frozen))
    trainable = {n: p.detach().clone() for n, p in method.named_parameters() if p.requires_grad}
    method.after_step(END)
    assert not frozen or any(not torch.equal(before[n], p) for n, p in frozen.items())
    assert_same_bits(trainable, {n: p for n, p in method.named_parameters() if p.requires_grad})


def test_same_seed_same_bits(case: Case) -> None:
    results = []
    for noise in (1, 2):
        method = case.make()
        torch.manual_seed(noise)
        terms = list(train(case, method, optimizer_of(method), range(3)))
        results.append((state_of(method), terms))
    assert_same_bits(results[0][0], results[1][0])
    for first, second in zip(results[0][1], results[1][1], strict=True):
        assert_same_bits(first, second)


def test_loading_and_stepping_equals_stepping_on(case: Case) -> None:
    method = case.make()
    optimizer = optimizer_of(method)
    list(train(case, method, optimizer, range(3)))
    buffer = io.BytesIO()
    torch.save([method.state_dict(), optimizer.state_dict()], buffer)
    on = list(train(case, method, optimizer, range(3, 5)))
    buffer.seek(0)
    resumed = case.make(seed=9)
    state, optimizer_state = torch.load(buffer, weights_only=True)
    resumed.load_state_dict(state)
    resumed_optimizer = optimizer_of(resumed)
    resumed_optimizer.load_state_dict(optimizer_state)
    again = list(train(case, resumed, resumed_optimizer, range(3, 5)))
    for first, second in zip(on, again, strict=True):
        assert_same_bits(first, second)
    assert_same_bits(state_of(method), state_of(resumed))


def test_prediction(case: Case) -> None:
    method = trained(case).eval()
    image = case.batch(77, 3, 0).image
    before = state_of(method)
    networks = {"tested": method.predict, **method.companions()}
    for name, predict in networks.items():
        with torch.no_grad():
            logits = predict(image)
            assert logits.shape == (3, case.classes, *image.shape[2:]), name
            assert logits.isfinite().all()
            assert torch.equal(logits, predict(image)), f"{name} is not deterministic"
            torch.testing.assert_close(predict(image[:1]), logits[:1], atol=1e-5, rtol=1e-4)
    assert_same_bits(before, state_of(method))


@pytest.mark.parametrize("scale", [0.0, 1e4], ids=["uniform", "saturated"])
def test_extreme_confidence_gives_no_nan(case: Case, scale: float) -> None:
    method = case.make(wrap=lambda net: Scaled(net, scale))
    for seed in range(2):
        terms = method.losses(case.batch(seed), END)
        assert_well_formed(terms)
        found = gradients(method, torch.stack(list(terms.values())).sum())
        assert found and all(g.isfinite().all() for g in found.values())


def test_background_only_labels_give_no_nan(case: Case) -> None:
    method = trained(case)
    batch = case.batch(77)
    empty = Batch(batch.image, torch.zeros_like(batch.label), batch.unlabeled)
    terms = method.losses(empty, END)
    assert_well_formed(terms)
    found = gradients(method, torch.stack(list(terms.values())).sum())
    assert all(g.isfinite().all() for g in found.values())


def test_bfloat16_autocast_is_close_to_float32(case: Case) -> None:
    method = trained(case)
    for module in method.modules():
        if isinstance(module, nn.Dropout):
            module.eval()  # masks of the two precisions would differ
    state, batch = state_of(method), case.batch(77)
    results = []
    for enabled in (False, True):
        method.load_state_dict(state)
        torch.manual_seed(0)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            results.append(method.losses(batch, END))
    full, low = results
    assert_well_formed(low)
    assert full.keys() == low.keys()
    for name in full:
        torch.testing.assert_close(low[name], full[name], rtol=0.1, atol=2e-3, msg=name)
    found = gradients(method, torch.stack(list(low.values())).sum())
    assert all(g.isfinite().all() for g in found.values())


def test_the_first_thirty_steps_lower_the_supervised_loss(case: Case) -> None:
    """Of the run: at full weight some published terms outweigh what has not been learnt yet."""
    method = case.make()
    steps = range(100 - TOTAL, 130 - TOTAL)
    curve = [s["supervised"].item() for s in train(case, method, optimizer_of(method), steps)]
    assert sum(curve[-3:]) / 3 < 0.9 * curve[0]
