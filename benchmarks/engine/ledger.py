"""Was every loss term at work? At a few probe steps of a run, what each did to the tested network.

The terms of a probe step are those that the step trains with. Nothing is computed anew, drawn or
changed for the ledger: the graph of the one forward pass is walked once more for each term, and the
step then goes on as any other. Weights are the same bits with and without it.

The *tested network* is all parameters that `predict` reaches. If some of them are not trained, such
as those of an EMA teacher, what counts in their place are the trained parameters that `after_step`
carries into them: to move the teacher, a term has to move the network that it averages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.common.errors import ConfigError, RunError
from benchmarks.common.files import write_text
from benchmarks.common.ledger import Entry, Kind, to_csv
from benchmarks.common.workspace import MECHANISMS
from methods.base import SUPERVISED, Method, Progress

# One probe in so many steps, but in no run fewer or more than these: a probe of a method with two
# terms costs half a step, one of one with five two, and a few probes are needed to judge a term,
# two of them in the last quarter of the run (`statistics/mechanisms.py`).
_EVERY, _FEWEST, _MOST = 80, 6, 20


def probe_steps(total: int) -> tuple[int, ...]:
    """Steps, from 0, at which a run of `total` is probed, evenly spread from first to last."""
    count = min(total, max(_FEWEST, min(total // _EVERY, _MOST)))
    return tuple(round(k * (total - 1) / max(1, count - 1)) for k in range(count))


class Ledger:
    """What every term of a run did at the probe steps.

    Args:
        method: in its first state; its weights and modes are left as they are.
        image: (1, C, *S) of the size of a training image; its values do not matter.
        total: iterations of the run.

    Raises:
        ConfigError: nothing that is trained has a part in what the method predicts.
    """

    def __init__(self, method: Method[Any], image: Tensor, total: int) -> None:
        self.method = method
        self.entries: list[Entry] = []
        self._steps = frozenset(probe_steps(total))
        self._tested = deciding_parameters(method, image, Progress(total - 1, total))

    def probes(self, step: int) -> bool:
        """Whether the terms of a step, from 0, are noted."""
        return step in self._steps

    def backward(
        self, step: int, terms: Mapping[str, Tensor], loss: Tensor, observed: Mapping[str, Tensor]
    ) -> None:
        """Give all parameters the gradient of a step, and note its terms if it is a probe step.

        Args:
            step: from 0.
            terms: weighted loss terms, 0-d; `supervised` is among them.
            loss: their sum.
            observed: diagnostics of the step, 0-d.

        Raises:
            RunError: a term is finite, but not its gradient.
        """
        acted = self.method.take_acted()
        if not self.probes(step):
            loss.backward()  # type: ignore[no-untyped-call]
            return
        gradients = {n: self._gradient(term) for n, term in terms.items() if n != SUPERVISED}
        loss.backward()  # type: ignore[no-untyped-call]
        whole = _vector([p.grad for p in self._tested], self._tested)
        gradients[SUPERVISED] = whole - sum(gradients.values())  # saves one pass
        self._note(step + 1, terms, gradients, acted)
        self._note_observed(step + 1, observed)

    def _gradient(self, term: Tensor) -> Tensor:
        found: Sequence[Tensor | None] = [None] * len(self._tested)
        if term.requires_grad:
            found = torch.autograd.grad(term, self._tested, retain_graph=True, allow_unused=True)
        return _vector(found, self._tested)

    def _note(
        self,
        done: int,
        terms: Mapping[str, Tensor],
        gradients: Mapping[str, Tensor],
        acted: Mapping[str, Tensor],
    ) -> None:
        base = gradients[SUPERVISED]
        rows = [
            torch.stack([
                terms[name].detach().double(),
                acted.get(name, torch.full_like(terms[name], math.nan)).detach().double(),
                gradients[name].norm().double(),
                (gradients[name] @ base).double(),
            ])
            for name in terms
        ]  # fmt: skip
        values = dict(zip(terms, torch.stack(rows).tolist(), strict=True))
        # A term that is not finite itself is told of with the batch, where the step is logged.
        if all(math.isfinite(v[0]) for v in values.values()):
            self._refuse_broken(done, {name: v[2] for name, v in values.items()})
        least = values[SUPERVISED][2]
        for name, (value, elements, norm, product) in values.items():
            relative = norm / least if least else math.nan
            cosine = product / (norm * least) if norm * least else math.nan
            entry = Entry(done, self._kind(name), name, value, elements, norm, relative, cosine)
            self.entries.append(entry)

    def _kind(self, name: str) -> Kind:
        if name == SUPERVISED:
            return "reference"
        return "auxiliary" if name in self.method.auxiliary else "term"

    def _refuse_broken(self, done: int, norms: Mapping[str, float]) -> None:
        """Refuse gradients of finite terms that are not finite themselves."""
        bad = [name for name, norm in norms.items() if not math.isfinite(norm)]
        # That of supervision is a difference, which any other one spoils.
        bad = [name for name in bad if name != SUPERVISED] or bad
        if bad:
            raise RunError(
                f"not finite at iteration {done} of {self.method.title}: the gradient of the term"
                f" '{bad[0]}', though not the term. Lower train.optimizer.lr or its weight"
            )

    def _note_observed(self, done: int, observed: Mapping[str, Tensor]) -> None:
        if observed:
            values = torch.stack([value.double() for value in observed.values()]).tolist()
            pairs = zip(observed, values, strict=True)
            self.entries += [Entry(done, "observed", name, value) for name, value in pairs]

    def state_dict(self) -> list[dict[str, Any]]:
        """The entries so far, for a state that is resumed."""
        return [asdict(entry) for entry in self.entries]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Take up the entries of a stopped run."""
        self.entries = [Entry(**entry) for entry in state]

    def write(self, folder: Path) -> None:
        """Write the table of the run."""
        write_text(folder / MECHANISMS, to_csv(self.entries))


def _vector(gradients: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> Tensor:
    """All gradients in one float32 vector, 0 where a parameter has none."""
    pairs = zip(gradients, parameters, strict=True)
    parts = [torch.zeros_like(p) if g is None else g for g, p in pairs]
    return torch.cat([part.detach().flatten().float() for part in parts])


def deciding_parameters(method: Method[Any], image: Tensor, late: Progress) -> list[nn.Parameter]:
    """Trained parameters that decide what a method predicts.

    Args:
        method: left as it is, in train mode.
        image: (1, C, *S), any values.
        late: a step at which an average is made.

    Raises:
        ConfigError: there is none.
    """
    parameters = list(method.parameters())
    trained = [p for p in parameters if p.requires_grad]
    method.eval().requires_grad_(True)
    logits = method.predict(image)
    reached = torch.autograd.grad(logits.float().sum(), parameters, allow_unused=True)
    method.train().requires_grad_(False)
    for p in trained:
        p.requires_grad_(True)
    tested = [p for p, g in zip(parameters, reached, strict=True) if g is not None]
    averages = [p for p in tested if not p.requires_grad]
    found = [p for p in tested if p.requires_grad]
    if averages:
        own = set(map(id, found))
        rest = [p for p in trained if id(p) not in own]
        found += [p for p in rest if _carried(method, p, averages, late)]
    if not found:
        raise ConfigError(
            f"{type(method).__name__}: no trained parameter has a part in what `predict` gives,"
            " neither by itself nor through `after_step`"
        )
    return found


@torch.no_grad()
def _carried(
    method: Method[Any], parameter: nn.Parameter, averages: Sequence[Tensor], late: Progress
) -> bool:
    """Whether `after_step` carries a parameter into one of the averages: NaN would arrive there."""
    kept = {name: _copy(value) for name, value in method.state_dict().items()}
    parameter.fill_(math.nan)
    method.after_step(late)
    arrived = any(bool(p.isnan().any()) for p in averages)
    method.load_state_dict(kept)
    return arrived


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value
