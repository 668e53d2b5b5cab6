"""Profile the first steps of a run."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.config import BenchmarkConfig
from benchmarks.device import pick_device
from benchmarks.resolve import Resolved
from benchmarks.run import Place, make_job


def profile_run(config: BenchmarkConfig, resolved: Resolved, place: Place, steps: int) -> list[str]:
    """Profile the first steps of a run; the run itself is neither made nor changed.

    Args:
        config: of the benchmark.
        resolved: the run.
        place: where, and on which device.
        steps: measured iterations.

    Returns:
        Lines of a summary; the last names the trace.
    """
    from benchmarks.engine.profile import profile_job
    from benchmarks.engine.trainer import Hooks

    key = resolved.key
    trace = place.root / "reports" / "profile" / f"{key.dataset}-{key.method}.json"
    with TemporaryDirectory() as folder:
        job = make_job(config, resolved, place.root, Path(folder))
        hooks = Hooks(report=lambda _done, _note: None, stop=lambda: False)
        shares = profile_job(job, pick_device(place.device), hooks, steps=steps, trace=trace)
    total = sum(s.milliseconds for s in shares)
    lines = [f"{s.name:24}{s.milliseconds:9.2f} ms {100 * s.share:5.1f} %" for s in shares]
    return [*lines, f"{'whole':24}{total:9.2f} ms per step", f"trace: {trace}"]
