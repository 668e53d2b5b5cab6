"""One training loop for all methods, on CPU or CUDA."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.autograd.profiler import record_function

from benchmarks.common.errors import Interrupted, RunError
from benchmarks.engine.first import check_terms
from benchmarks.engine.graph import CudaRecording, Graphed, Row, why_eager
from benchmarks.engine.job import Job, autocast, blank_image, build_method, check_sizes
from benchmarks.engine.ledger import Ledger
from benchmarks.engine.loader import make_loader
from benchmarks.engine.nets import compile_networks
from benchmarks.engine.optim import Optimizers
from benchmarks.engine.pseudo_labels import PseudoLabels
from benchmarks.engine.seeding import derive
from benchmarks.engine.state import STATE, Position, load_state, save_state, save_weights
from benchmarks.engine.validate import validation_dice
from methods.base import Batch, Progress

Predict = Callable[[Tensor], Tensor]

# Parts of a step as a profile names them.
SECTIONS = (
    "data and augmentation", "forward", "backward", "optimiser", "after the step (EMA)",
    "validation",
)  # fmt: skip


@dataclass(frozen=True)
class Hooks:
    """What the loop tells its caller.

    Attributes:
        report: called with the finished steps and a short text.
        stop: asked after every step; True saves the state and leaves.
        checkpoint_seconds: between resumable states.
    """

    report: Callable[[int, str], None]
    stop: Callable[[], bool]
    checkpoint_seconds: float = 60.0


class Trainer:
    """Trains one run; `train` returns when the run is complete.

    Args:
        job: what to train.
        device: where.
        hooks: progress and interruption.
    """

    def __init__(self, job: Job, device: torch.device, hooks: Hooks) -> None:
        check_sizes(job, device)
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Filling fresh memory costs time and changes no result of a correct program.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        self.job, self.device, self.hooks = job, device, hooks
        self.method = build_method(job, device)
        self.loader = make_loader(job, device)
        self.ledger = Ledger(self.method, blank_image(job, device), job.train.iterations)
        self.pseudo_labels = PseudoLabels(self.method, job, device)
        if job.train.compile:
            compile_networks(self.method)
        self.optimizer = Optimizers(self.method, job.train.optimizer)
        self.val_cases = [c for c in job.data.of_patients(job.fold.val) if c.labeled]
        self._score = partial(validation_dice, job=job, cases=self.val_cases, device=device)
        self._step: Callable[[int], Row] = self.step
        if not why_eager(job, device):
            self._step = partial(self.played_step, Graphed(CudaRecording, device))
        self.position = Position()
        self._began = time.monotonic()  # as if the run had been made at one go
        self._state, self._metrics = job.folder / STATE, job.folder / "metrics.jsonl"

    def train(self) -> Position:
        """Run or resume the loop to its end.

        Returns:
            The final position.

        Raises:
            Interrupted: a stop was asked for; the state is saved.
            RunError: a loss is not finite; names iteration and terms.
        """
        self._resume()
        saved = time.monotonic()
        self._began = saved - self.position.seconds
        if not self._validate():  # where it was stopped before
            raise Interrupted(f"stopped at iteration {self.position.step}; run again to resume")
        total = self.job.train.iterations
        try:
            for step in range(self.position.step, total):
                row = self._step(step)
                if self.ledger.probes(step):
                    self.pseudo_labels.note(step + 1)
                self.position.step = step + 1
                if self._is_logged(step):
                    self._log(step + 1, {**row, "lr": self.optimizer.rate})
                stopped = not self._validate()
                if stopped or (self.hooks.stop() and step + 1 < total):
                    self._save(row)
                    raise Interrupted(f"stopped at iteration {step + 1}; run again to resume")
                if time.monotonic() - saved >= self.hooks.checkpoint_seconds:
                    self._save(row)
                    saved = time.monotonic()
        finally:
            self.loader.close()
        return self._finish()

    @record_function("step")
    def step(self, step: int, given: tuple[Batch, Progress] | None = None) -> Row:
        """One iteration; returns what is worth logging, still on the device.

        Nothing in here waits for the device, unless `train.skip_nonfinite` asks for it.

        Args:
            step: from 0.
            given: batch and position, for a recording; else they are those of the step.
        """
        batch, t = given or self._begun(step)
        self.method.train()
        may = self.position.skipped < self.job.train.skip_nonfinite
        before = [buffer.clone() for buffer in self.method.buffers()] if may else None
        with record_function("forward"), autocast(self.job.train, self.device):
            terms = self.method.losses(batch, t)
        if step == 0:
            check_terms(self.method, terms)
        loss = torch.stack([term.float() for term in terms.values()]).sum()
        self.optimizer.zero_grad()
        observed = self.method.take_observed()
        if before is not None and self._left_out(loss, before):
            return {"skipped": self.position.skipped}
        with record_function("backward"):
            self.ledger.backward(step, terms, loss, observed)
        with record_function("optimiser"):
            self.optimizer.step()
        with record_function("after the step (EMA)"):
            self.method.after_step(t)
        losses = {f"loss/{name}": term.detach() for name, term in terms.items()}
        return {**losses, "loss": loss.detach(), **observed}

    def _begun(self, step: int) -> tuple[Batch, Progress]:
        """Batch and position of an iteration, for which all is set."""
        now = Progress(step, self.job.train.iterations)
        self.optimizer.set_rate(now.fraction)
        with record_function("data and augmentation"):
            batch = self.loader.batch(step)
        self.method.observing = self._is_logged(step) or self.ledger.probes(step)
        # Dropout and noise are a function of the step, so a resumed run draws the same.
        torch.manual_seed(derive(self.job.seed, "step", step))
        return batch, now

    def _is_logged(self, step: int) -> bool:
        """Whether a step's values are written to the log: of about a hundred, and of the last."""
        total = self.job.train.iterations
        return (step + 1) % max(1, total // 100) == 0 or step + 1 == total

    def played_step(self, graphed: Graphed, step: int) -> Row:
        """`step`, from a recording where there is one."""
        batch, now = self._begun(step)
        seed = derive(self.job.seed, "step", step)

        def work(batch: Batch, t: Progress) -> Row:
            return self.step(step, (batch, t))

        return graphed.step(work, batch, now, seed=seed, alone=self.method.observing)

    def _left_out(self, loss: Tensor, before: list[Tensor]) -> bool:
        """Whether the loss is not finite; then nothing is changed, batch norm's means included."""
        if bool(loss.isfinite()):  # waits for the device, so it is asked only where wanted
            return False
        for buffer, value in zip(self.method.buffers(), before, strict=True):
            buffer.copy_(value)
        self.position.skipped += 1
        return True

    def _log(self, done: int, row: Row) -> None:
        values = self._finite(done, row)
        self._write({"step": done, **values})
        self.hooks.report(done, f"loss {values['loss']:.3f}" if "loss" in values else "left out")

    def _finite(self, done: int, row: Row) -> dict[str, float]:
        """Values of a row; waits for the device once."""
        kept = [value.double() for value in row.values() if isinstance(value, Tensor)]
        read = iter(torch.stack(kept).tolist() if kept else [])
        values = {k: next(read) if isinstance(v, Tensor) else float(v) for k, v in row.items()}
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            raise RunError(
                f"not finite at iteration {done}: {', '.join(bad)} of {self.method.title}; left"
                f" out before: {self.position.skipped}. The batch was"
                f" {', '.join(self.loader.ids(done - 1))}."
                " Lower train.optimizer.lr or the method's weight, or set train.skip_nonfinite."
                f" The last good state is kept in '{self.job.folder}'"
            )
        return values

    def _write(self, row: Mapping[str, float]) -> None:
        with self._metrics.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")

    def _validation_steps(self) -> set[int]:
        train = self.job.train
        n = min(train.validations, train.iterations)
        return {math.ceil(k * train.iterations / n) for k in range(1, n + 1)}

    def score_validation(self) -> tuple[float, list[float]]:
        """Mean Dice of the tested network on the validation patients, and that of every class."""
        self.method.eval()
        with record_function("validation"):
            return self._score(self._asking(self.method.predict))

    def _asking(self, predict: Predict) -> Predict:
        """The same prediction, which asks for a stop: a validation may take minutes."""

        def asking(images: Tensor) -> Tensor:
            if self.hooks.stop():
                raise Interrupted("stopped in a validation")
            return predict(images)

        return asking

    def _validate(self) -> bool:
        """Score the tested network and its companions if it is time; keep the best of the former.

        Returns:
            False if it was stopped, and is still to be done.
        """
        done = self.position.step
        seen = self.position.validations
        if not self.val_cases or done in seen or done not in self._validation_steps():
            return True
        try:
            score, per_class = self.score_validation()
            beside = {
                name: self._score(self._asking(predict))[0]
                for name, predict in self.method.companions().items()
            }
        except Interrupted:
            return False
        names = self.job.data.classes[1:]
        row = {f"val/dice/{name}": value for name, value in zip(names, per_class, strict=True)}
        row |= {f"val/dice_{name}": value for name, value in beside.items()}
        self._write({"step": done, "val/dice": score, **row})
        seen[done] = score
        if score > self.position.best_score:
            self.position.best_score, self.position.best_step = score, done
            save_weights(self.job.folder / "best.safetensors", self.method)
        self.hooks.report(done, f"val Dice {score:.3f}")
        return True

    def _save(self, row: Row) -> None:
        self._finite(self.position.step, row)
        self.position.seconds = time.monotonic() - self._began
        self.position.note_log(self._metrics)
        parts = {
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ledger": self.ledger.state_dict(),
            "pseudo_labels": self.pseudo_labels.state_dict(),
        }
        save_state(self._state, self.job.digest, self.position, parts)

    def _resume(self) -> None:
        for rest in self.job.folder.glob(".*.tmp"):
            rest.unlink()  # of a process that was killed while it wrote
        found = load_state(self._state, self.job.digest)
        kept = 0
        if found is not None and found[0].fits(self._metrics):
            self.position, parts = found
            kept = self.position.metrics_bytes
            self.method.load_state_dict(parts["method"])
            self.optimizer.load_state_dict(parts["optimizer"])
            self.ledger.load_state_dict(parts["ledger"])
            # A run that older code began has none; its first masks are missing then.
            self.pseudo_labels.load_state_dict(parts.get("pseudo_labels", {}))
        if self._metrics.exists():
            with self._metrics.open("r+b") as stream:
                stream.truncate(kept)

    def _finish(self) -> Position:
        save_weights(self.job.folder / "last.safetensors", self.method)
        self.ledger.write(self.job.folder)
        self.pseudo_labels.write(self.job.folder)
        if not self.val_cases:
            self.position.best_step = self.position.step
            save_weights(self.job.folder / "best.safetensors", self.method)
        self.position.seconds = time.monotonic() - self._began
        return self.position
