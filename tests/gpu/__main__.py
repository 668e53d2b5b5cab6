"""Times the GPU path and writes reports/speed/gpu.csv and its figure: `python -m tests.gpu`."""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import seaborn as sns
import torch
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

from benchmarks.common.console import Board
from benchmarks.common.device import environment, pick_device
from benchmarks.common.files import write_json, write_text
from benchmarks.report.style import WIDTH, figure_style, new_figure, save_both
from benchmarks.report.tables import csv
from methods import method_ids
from tests.gpu.measure import measure
from tests.gpu.timing import PAPER, SMALL, Row

FOLDER = Path(__file__).parents[2] / "reports" / "speed"
# Fastest first, in every panel of the figure in the same colours.
_MODES = ("graph bf16", "eager bf16", "eager float32")
# Timed first, then the others by name, and those that take longest last.
_FIRST = ("mean_teacher", "egcl_net", "supervised", "unimatch", "ua_mt", "cps", "fixmatch")
_LAST = (
    "bcp", "dan", "sassnet", "ctct", "crossmatch", "ugpcl", "unimatch_v2", "sdcl", "abd",
    "full_supervised",
)  # fmt: skip


def draw(table: pd.DataFrame, stem: Path) -> list[Path]:
    """Times of a step by method and mode, one panel for each size; a line marks SSL4MIS's."""
    timed = table[table["ms"].notna() & ~table["mode"].str.startswith("at once")]
    sizes = list(dict.fromkeys(timed["step"]))
    with figure_style():
        figure = new_figure(WIDTH, 1 + 0.16 * timed["method"].nunique())
        for axes, size in zip(figure.subplots(1, len(sizes), squeeze=False)[0], sizes, strict=True):
            part = timed[timed["step"] == size]
            own = part[part["mode"] != "SSL4MIS"].sort_values("ms")
            sns.stripplot(
                own, x="ms", y="method", hue="mode", hue_order=_MODES, jitter=False, size=4, ax=axes
            )
            for value in part.loc[part["mode"] == "SSL4MIS", "ms"]:
                axes.axvline(value, color="black", linestyle="--", linewidth=0.8)
            axes.set(
                xscale="log",
                xlabel="ms a step (dashed: Mean Teacher of SSL4MIS)",
                ylabel="",
                title=size,
            )
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(ScalarFormatter())
            axes.xaxis.set_minor_locator(NullLocator())
            if not own.empty:
                axes.legend(title="", fontsize=6)
        return save_both(figure, stem)


def write(rows: Sequence[Row], folder: Path, device: torch.device) -> list[Path]:
    """Write table, figure and machine; returns the files."""
    table = pd.DataFrame(rows)
    write_text(folder / "gpu.csv", csv(table, decimals=3))
    write_json(folder / "gpu_machine.json", environment(str(device)))
    return [folder / "gpu.csv", folder / "gpu_machine.json", *draw(table, folder / "gpu")]


def main() -> int:
    """Measure; exit code 1 if something failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=math.inf, help="most time")
    parser.add_argument("--mps", default="", help="pipe directory of a daemon of NVIDIA's MPS")
    given = parser.parse_args()
    until = time.monotonic() + 60 * given.minutes
    if not torch.cuda.is_available():
        sys.stderr.write("error: PyTorch sees no CUDA device here; nothing was timed or written\n")
        return 2
    device, rows = pick_device("cuda"), list[Row]()
    names = [*_FIRST, *(m for m in method_ids() if m not in (*_FIRST, *_LAST)), *_LAST]
    with Board() as board, tempfile.TemporaryDirectory() as folder:
        packed = ((PAPER[0], 4), (SMALL, 1), (SMALL, 4))
        for row in measure(
            Path(folder), PAPER, names, device, until=until, packed=packed, mps=given.mps
        ):
            rows.append(row)
            board.say(f"{row['method']:16} {row['step']:18} {row['mode']:14} {row['ms']:9.2f} ms"
                      f" {row['memory_mb']:8.0f} MB {row['note']}")  # fmt: skip
    for path in write(rows, FOLDER, device):
        sys.stdout.write(f"wrote {path}\n")
    return int(any(str(row["note"]).startswith("failed") for row in rows))


if __name__ == "__main__":
    sys.exit(main())
