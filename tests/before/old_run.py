"""Trains the run of one fold with a method of an old commit, and notes what every loss term did.

Called in the root of that commit's checkout, whose packages are used alone:
`python FILE PARAMS DATASET METHOD LEDGER STEPS`, with a file whose grid has one fold and seed, and
the steps to probe, from 0, with commas. The old commit kept no ledger of its own; this one writes
the columns of `benchmarks/common/ledger.py` by the same definitions.
"""

# mypy: ignore-errors
# (names of an old commit)

from __future__ import annotations

import csv
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path.cwd()))

import torch
from benchmarks.resolve import finished, resolve
from benchmarks.run import Place, train_one
from torch import Tensor

from benchmarks.config import load_config
from benchmarks.engine.trainer import Trainer

HEAD = ("step", "kind", "name", "value", "elements", "gradient", "relative", "cosine")


class Probed(Trainer):
    """A run that notes at some steps how much every term pulls at the tested network."""

    rows: list[tuple[Any, ...]]
    steps: frozenset[int]

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        type(self).rows = []
        images = self.loader.batch(0).images[:1]
        trained = [p for p in self.method.parameters() if p.requires_grad]
        found = torch.autograd.grad(self.method.predict(images).sum(), trained, allow_unused=True)
        self.tested = [p for p, g in zip(trained, found, strict=True) if g is not None]
        self.method.losses = self.noting(self.method.losses)

    def noting(self, losses: Callable[..., dict[str, Tensor]]) -> Callable[..., dict[str, Tensor]]:
        """The method's losses, with a look at every term's gradient."""

        def noted(batch: Any, t: Any) -> dict[str, Tensor]:
            terms = losses(batch, t)
            if t.step in self.steps:
                self.note(t.step + 1, terms)
            return terms

        return noted

    def note(self, done: int, terms: dict[str, Tensor]) -> None:
        """Add one row per term."""
        pulls = {name: self.pull(term) for name, term in terms.items()}
        base = pulls["supervised"]
        for name, pull in pulls.items():
            norm, product = float(pull.norm()), float(pull @ base)
            cosine = product / (norm * float(base.norm())) if norm else ""
            kind = "reference" if name == "supervised" else "term"
            value = float(terms[name].detach())
            self.rows.append((done, kind, name, value, "", norm, norm / float(base.norm()), cosine))

    def pull(self, term: Tensor) -> Tensor:
        """Gradient of a term for the tested network, as one vector."""
        found: Sequence[Tensor | None] = [None] * len(self.tested)
        if term.requires_grad:
            found = torch.autograd.grad(term, self.tested, retain_graph=True, allow_unused=True)
        pairs = zip(found, self.tested, strict=True)
        return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs])


def main(params: str, dataset: str, method: str, ledger: str, steps: str) -> None:
    """Train, and write the ledger."""
    import benchmarks.engine.trainer as module

    Probed.steps = frozenset(int(step) for step in steps.split(","))
    module.Trainer = Probed
    root, config = Path.cwd(), load_config(Path(params))
    [run] = resolve(config, dataset, method, root)
    if finished(run, root) and Path(ledger).is_file():
        return
    folder = run.key.folder(root)
    # A run that goes on would lack the rows of its first part.
    shutil.rmtree(folder.with_name(f".{folder.name}.partial"), ignore_errors=True)
    train_one(config, run, Place(root, "cpu", threads=1), lambda *_: None)
    with Path(ledger).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(HEAD)
        writer.writerows(Probed.rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
