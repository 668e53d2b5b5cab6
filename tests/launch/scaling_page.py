"""The page and the figure of reports/scaling, from its tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from benchmarks.common.files import write_text
from benchmarks.report.style import WIDTH, figure_style, new_figure, save_both
from benchmarks.report.tables import pipe_table

# Files of this folder, and how each is made.
FILES = {
    "overhead.csv": "core seconds of a run apart from its training, by queued runs (`make scale`)",
    "workers.csv": "the same runs by 1, 2 and 4 workers on this machine (`make scale`)",
    "file_operations.csv": "system calls on files of a run, by `strace` (`make scale`)",
    "dvc.csv": "`dvc repro` with as many stages as the preset `paper` has (`make scale`)",
    "simulated.csv": "10,000 runs by many workers, simulated with these costs (`make scale`)",
    "kills.csv": "killed workers and launchers, and what was lost or doubled (`make launch`)",
    "rehearsal.csv": "every method of `paper` on its data sets, with few steps (`make rehearse`)",
    "machine.json": "where the times were taken",
}
# What a worker does beside training, by its column in simulated.csv.
PARTS = {
    "beside_h": "what runs cost beside their training",
    "looks_h": "looks at runs of others",
    "waiting_h": "waiting for the last runs",
}


def draw(folder: Path) -> list[Path]:
    """Four panels: overhead, workers, files, and ten thousand runs."""
    overhead, workers, simulated = (
        pd.read_csv(folder / f"{n}.csv") for n in ("overhead", "workers", "simulated")
    )
    with figure_style():
        figure = new_figure(WIDTH, 4.6)
        (left, middle), (files, many) = figure.subplots(2, 2)
        named = {"none": "no training", "one step": "one step of training"}
        sns.lineplot(
            overhead.replace({"training": named}), x="queued", y="cpu_s_per_run", hue="training",
            style="training", markers=True, ax=left,
        )  # fmt: skip
        left.set(xscale="log", ylim=(0, None), xlabel="queued runs", ylabel="core seconds a run")
        speed = workers.assign(speed=workers["wall_s"][0] / workers["wall_s"])
        sns.lineplot(speed, x="workers", y="speed", marker="o", ax=middle)
        middle.set(ylim=(0, None), ylabel="speed, 1 worker = 1", xticks=workers["workers"])
        calls = pd.read_csv(folder / "file_operations.csv")
        sns.barplot(calls, y="call", x="per_run", hue="run", ax=files)
        files.set(xlabel="system calls a run", ylabel="")
        training = simulated["mean_training_s"].map("{:,} s a run".format)
        sns.lineplot(
            simulated.assign(training=training), x="workers", y="efficiency", hue="training",
            style="training", markers=True, ax=many,
        )  # fmt: skip
        many.set(xscale="log", ylim=(0, 1.05), ylabel="share of time that is training")
        titled(left, "Overhead, measured")
        titled(middle, "Workers on two cores, measured")
        titled(files, "File operations, measured")
        titled(many, "10,000 runs, simulated")
        return save_both(figure, folder / "scaling")


def titled(axes: Axes, title: str) -> None:
    """Give a panel its title, and its legend none."""
    axes.set_title(title)
    if legend := axes.get_legend():
        legend.set_title("")


def write_page(folder: Path) -> Path:
    """Write the page that shows figure and tables."""
    simulated = pd.read_csv(folder / "simulated.csv")
    rows = tuple(
        (
            f"{row['mean_training_s']:,}", f"{row['workers']:,}", f"{row['hours']:,.1f}",
            f"{100 * row['efficiency']:.1f}", PARTS[max(PARTS, key=lambda part: row[part])],
            f"{row['file_operations_per_s']:,.0f}",
        )
        for row in simulated.to_dict("records")
    )  # fmt: skip
    header = (
        "Training of a run, s", "Workers", "Hours", "Time that is training, %",
        "Most of the rest", "File operations a second",
    )  # fmt: skip
    parts = [
        "# Many runs, many workers",
        "![Overhead, workers, file operations, simulation](scaling.png)",
        "\n".join(f"- [`{n}`]({n}): {t}." for n, t in FILES.items() if (folder / n).exists()),
        "## What limits ten thousand runs",
        "Simulated with the measured costs of a run and of a look at a finished one, both on a"
        " local disk; runs differ as the counted costs of the methods of `paper` do, and workers"
        " take them in orders of their own, as jobs of SLURM do. The last column is what a shared"
        " disk has to serve: where it cannot, it is the limit.",
        pipe_table(header, rows, words=(4,)),
    ]
    page = folder / "README.md"
    write_text(page, "\n\n".join(parts) + "\n")
    return page
