"""Which device runs use, and what is recorded about it."""

from __future__ import annotations

import os
import platform
import re
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.common.errors import ConfigError

if TYPE_CHECKING:
    import torch


# What tells of an NVIDIA driver: on Linux, in sandboxes that hide /proc, and in Windows' WSL.
_NVIDIA = ("/proc/driver/nvidia", "/dev/nvidiactl", "/usr/lib/wsl/lib/libcuda.so.1")


def pick_device(name: str) -> torch.device:
    """A torch device from its name; `auto` takes CUDA where there is one.

    Raises:
        ConfigError: no such device here.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    refuse_unknown_device(name)
    if name.startswith("cuda"):
        # cuBLAS repeats its results only with a fixed workspace.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    device = torch.device(name)
    if device.index is not None:
        torch.cuda.set_device(device)
    return device


def refuse_unknown_device(name: str, *, here: bool = True) -> None:
    """Refuse a device that is not in this machine; no device is opened.

    Args:
        name: as `pick_device` takes it.
        here: False where other machines have it: any name that one of them may know is taken then.

    Raises:
        ConfigError: no such device.
    """
    if name in {"auto", "cpu"} or (not here and re.fullmatch(r"cuda(:\d+)?", name)):
        return
    if not here:
        raise ConfigError(f"no device '{name}'; allowed: auto, cpu, cuda, cuda:<n>")
    import torch

    allowed = ["auto", "cpu", "cuda"][: 2 + torch.cuda.is_available()]
    allowed += [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if name not in allowed:
        raise ConfigError(f"no device '{name}' here; allowed: {', '.join(allowed)}")


def environment(device: str) -> dict[str, Any]:
    """Versions and hardware for run.json."""
    import torch

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, else KiB
    on_card = _card(torch.device(device)) if device.startswith("cuda") else {}
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "threads": torch.get_num_threads(),
        "bf16": "native" if native_bf16(device) else "in software, several times slower than fp32",
        "peak_memory_mb": peak // (2**20 if sys.platform == "darwin" else 2**10),
        **on_card,
    }


def _card(device: torch.device) -> dict[str, Any]:
    """Which card of the machine, and the most memory that PyTorch took of it."""
    import torch

    index = torch.cuda.current_device() if device.index is None else device.index
    return {
        "card": visible_cards(index + 1)[index],
        "peak_device_memory_mb": torch.cuda.max_memory_reserved(device) // 2**20,
    }


def visible_cards(count: int) -> tuple[str, ...]:
    """Names of the first cards that this process may use, as `CUDA_VISIBLE_DEVICES` takes them."""
    listed = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    return tuple(listed[:count]) if listed[0] else tuple(map(str, range(count)))


def energy_meter(device: str) -> Callable[[], float] | None:
    """What reads the joules that a card has used since its driver was loaded.

    They are of the whole card, whoever works on it. None on a CPU, without the package
    `nvidia-ml-py`, and where the card does not tell.
    """
    if not device.startswith("cuda"):
        return None
    import torch

    try:
        import pynvml

        pynvml.nvmlInit()
        name = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        handle = pynvml.nvmlDeviceGetHandleByUUID(name)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except Exception:  # of the driver, of many kinds; no run fails for want of a meter
        return None
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3


def native_bf16(device: str) -> bool:
    """Whether a device has instructions for bfloat16; a CPU without computes it in software."""
    if device.startswith("cuda"):
        import torch

        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    flags = {*_cpuinfo("flags").split(), *_cpuinfo("Features").split()}
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def _processor() -> str:
    """Model of the CPU where Linux tells it, else its architecture."""
    return _cpuinfo("model name") or platform.machine()


def _cpuinfo(key: str) -> str:
    """What Linux tells of the first core, or ""."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    values = (line.partition(":")[2].strip() for line in lines if line.startswith(key))
    return next(values, "")


def usable_cores() -> int:
    """CPU cores that this process may use; all of the machine where the system does not tell."""
    allowed = getattr(os, "sched_getaffinity", None)  # of Linux alone
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def cores_per_run(runs: int) -> int:
    """CPU cores for each of some runs at once: `OMP_NUM_THREADS` where it is set."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() else max(1, usable_cores() // runs)


def on_cpu(device: str) -> bool:
    """Whether a device's name means the CPU here. Asked without loading torch."""
    return device == "cpu" or (device == "auto" and not any(Path(p).exists() for p in _NVIDIA))


def default_jobs(device: str) -> int:
    """Runs at once without a look at memory: one per core on CPU, one on CUDA."""
    return usable_cores() if on_cpu(device) else 1
