"""Which device runs use, and what is recorded about it."""

from __future__ import annotations

import os
import platform
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.common.errors import ConfigError

if TYPE_CHECKING:
    import torch


def pick_device(name: str) -> torch.device:
    """A torch device from its name; `auto` takes CUDA where there is one.

    Raises:
        ConfigError: no such device here.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    allowed = ["auto", "cpu", "cuda"][: 2 + torch.cuda.is_available()]
    allowed += [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if name not in allowed:
        raise ConfigError(f"no device '{name}' here; allowed: {', '.join(allowed)}")
    if name.startswith("cuda"):
        # cuBLAS repeats its results only with a fixed workspace.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    device = torch.device(name)
    if device.index is not None:
        torch.cuda.set_device(device)
    return device


def environment(device: str) -> dict[str, Any]:
    """Versions and hardware for run.json."""
    import torch

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "threads": torch.get_num_threads(),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _processor() -> str:
    """Model of the CPU where Linux tells it, else its architecture."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def default_jobs(device: str) -> int:
    """Runs at once: one per core on CPU, one on CUDA. Asked without loading torch."""
    on_cpu = device == "cpu" or (device == "auto" and not Path("/proc/driver/nvidia").exists())
    return len(os.sched_getaffinity(0)) if on_cpu else 1
