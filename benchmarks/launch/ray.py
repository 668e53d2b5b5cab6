"""Workers of Ray: on this machine, or on the cluster that RAY_ADDRESS names.

All machines see the checkout under the same path.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.common.device import usable_cores
from benchmarks.common.errors import Interrupted, RunError
from benchmarks.common.signals import catching_stops, refuse_stopped, stop_asked
from benchmarks.common.workers import Report, quiet, variables_set
from benchmarks.launch.backend import Slots, missing
from benchmarks.launch.work import Outcome, attempt
from benchmarks.plan.resolve import Run
from benchmarks.training.one import Place
from benchmarks.training.placing import cards_of

# A run whose process or machine is gone is given to another one so many times by Ray itself.
_RETRIES = 2
_LOOK = 0.5  # seconds between two looks for a signal
_REACH = 10.0  # seconds in which a cluster takes a connection
_PATIENCE = 60.0  # seconds that stopped runs have to save their state


@dataclass(frozen=True)
class OnRay:
    """A task of Ray for every run, with a share of a card where there are cards.

    Attributes:
        slots: how many at once; one per core or share of a card where nothing is given.
    """

    slots: Slots

    def start(self, runs: Sequence[Run], place: Place, report: Report) -> Iterator[Outcome]:
        """See `Backend.start`; the progress of single steps is not shown."""
        del report
        try:
            import ray
        except ImportError:
            raise missing("ray") from None
        with catching_stops(), _cluster(ray, place, self.slots):
            has_cards = place.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
            if has_cards:  # a task sees its own one alone, whatever the number of it is
                place = replace(place, device="cuda")
            task = ray.remote(
                num_cpus=1,
                num_gpus=1 / (self.slots.per_card or 1) if has_cards else 0,
                max_retries=_RETRIES,
            )(_attempt)
            yield from _outcomes(ray, task, runs, place, self.slots.workers or len(runs))
            refuse_stopped()


def _attempt(run: Run, place: Place) -> Outcome:
    """A task; Ray has chosen the card and the threads."""
    return attempt(run, quiet, replace(place, threads=place.threads or 1))


def _outcomes(
    ray: Any, task: Any, runs: Sequence[Run], place: Place, most: int
) -> Iterator[Outcome]:
    """Give out runs, at most so many at once, and collect them."""
    waiting = iter(runs)
    running: dict[Any, Run] = {}
    while not stop_asked():
        while len(running) < most and (run := next(waiting, None)) is not None:
            running[task.remote(run, place)] = run
        if not running:
            return
        ready, _ = ray.wait(list(running), num_returns=len(running), timeout=_LOOK)
        for handle in ready:
            yield _outcome(ray, handle, running.pop(handle))
    for handle in running:  # a Ctrl-C inside the task, which saves its state
        ray.cancel(handle)
    deadline = time.monotonic() + _PATIENCE
    while running and time.monotonic() < deadline:
        ready, _ = ray.wait(list(running), num_returns=len(running), timeout=_LOOK)
        for handle in ready:
            del running[handle]


def _outcome(ray: Any, handle: Any, run: Run) -> Outcome:
    try:
        found: Outcome = ray.get(handle)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, Interrupted):  # a worker that was asked to stop: others go on
            return Outcome(run, "lost", str(error.cause))
        # Of the machine: it cannot import the task.
        return Outcome(run, "failed", str(error.cause or error))
    except ray.exceptions.RayError as error:
        return Outcome(run, "lost", f"{type(error).__name__}: {str(error).splitlines()[0]}")
    return found


def _knock(address: str) -> None:
    """Raise an OSError if nobody listens at a host and port; Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), _REACH).close()


def _here(place: Place, slots: Slots) -> tuple[Mapping[str, Any], Mapping[str, str]]:
    """Options of a cluster of this machine alone, and the variables of its processes.

    Raises:
        ConfigError: no such device here.
    """
    cards = cards_of(place.device)
    options = {
        "num_cpus": slots.workers or len(cards) * (slots.per_card or 1) or usable_cores(),
        "num_gpus": len(cards),
        "include_dashboard": False,
        "_node_ip_address": "127.0.0.1",  # nobody else can reach it
    }
    return options, {"CUDA_VISIBLE_DEVICES": ",".join(cards)} if cards else {}


@contextmanager
def _cluster(ray: Any, place: Place, slots: Slots) -> Iterator[None]:
    """Join the cluster of RAY_ADDRESS, or start one of this machine that ends with the block."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to Ray's makers
    address = os.environ.get("RAY_ADDRESS")
    # The devices of a cluster are those of its machines, not of this one.
    options, variables = ({}, {}) if address else _here(place, slots)
    try:
        _knock(address or "")
        with variables_set(variables):
            ray.init(
                address=address or "local",
                log_to_driver=False,
                logging_level="warning",
                runtime_env={"env_vars": {"PYTHONPATH": str(place.root)}},
                **options,
            )
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RunError(
            f"Ray cannot be used at {address or 'this machine'}: {reason}. RAY_ADDRESS names the"
            " cluster, RAY_AUTH_TOKEN its token; `unset RAY_ADDRESS` to start one here"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()
