"""Figure of one run's entropy, calibration and embeddings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes

from benchmarks.common.files import write_text
from benchmarks.common.workspace import report_folder
from benchmarks.plan.grid import RunKey
from benchmarks.report.style import figure_style, new_figure, save
from benchmarks.scoring.diagnose import BINS, Diagnosis

_RIGHT, _WRONG = "#0072B2", "#D55E00"


def write_diagnosis(found: Diagnosis, key: RunKey, root: Path) -> list[Path]:
    """Write `entropy.csv`, `confidence.csv` and `diagnosis.{pdf,png}` of a run.

    Args:
        found: pixels of the run's validation patients.
        key: names the run.
        root: the checkout.

    Returns:
        The files, in `reports/<name>/diagnosis/<dataset>-<method>-<cell>`.
    """
    name = f"{key.dataset}-{key.method}-{key.cell}"
    folder = report_folder(root, key.benchmark) / "diagnosis" / name
    for part in ("entropy", "confidence"):
        write_text(folder / f"{part}.csv", found.by(part).to_csv(index=False, float_format="%.6g"))
    title = f"{key.dataset}, {key.method}, {key.labels} labelled, fold {key.fold}, seed {key.seed}"
    with figure_style():
        figure = new_figure(7.2, 6.4)
        axes = figure.subplots(2, 2)
        _histogram(axes[0, 0], found)
        _errors(axes[0, 1], found)
        _calibration(axes[1, 0], found)
        _embedding(axes[1, 1], found)
        figure.suptitle(f"{title}: validation patients", x=0.01, ha="left", fontsize="medium")
        drawn = [save(figure, folder / f"diagnosis.{kind}") for kind in ("pdf", "png")]
    return [*(folder / f"{part}.csv" for part in ("entropy", "confidence")), *drawn]


def _histogram(ax: Axes, found: Diagnosis) -> None:
    edges = np.linspace(0, 1, BINS + 1).tolist()
    for mask, color, name in (
        (found.correct, _RIGHT, "predicted right"),
        (~found.correct, _WRONG, "predicted wrong"),
    ):
        values = found.entropy[mask]
        ax.hist(values, edges, histtype="step", color=color, label=f"{name} ({len(values):,})")
    ax.axvline(found.tau, color="#7A7A7A", ls="--", lw=1, label=f"threshold {found.tau:g}")
    ax.set_yscale("log")
    ax.set(xlabel="normalised entropy", ylabel="pixels")
    ax.legend(frameon=False, fontsize="x-small")
    sns.despine(ax=ax)


def _errors(ax: Axes, found: Diagnosis) -> None:
    table = found.by("entropy")
    ax.plot(table["entropy"], 100 * (1 - table["correct"] / table["pixels"]), "o-", color=_WRONG)
    ax.axvline(found.tau, color="#7A7A7A", ls="--", lw=1)
    ax.set(xlabel="normalised entropy", ylabel="wrong pixels, %", xlim=(0, 1))
    sns.despine(ax=ax)


def _calibration(ax: Axes, found: Diagnosis) -> None:
    table = found.by("confidence")
    ax.plot([0, 1], [0, 1], color="#7A7A7A", ls=":", lw=1)
    ax.plot(table["confidence"], table["correct"] / table["pixels"], "o-", color=_RIGHT)
    low = float(table["confidence"].min())
    ax.set(xlabel="confidence", ylabel="accuracy", xlim=(low - 0.03, 1.01), ylim=(0, 1.02))
    ax.set_title(f"expected calibration error {found.calibration_error:.3f}", fontsize="small")
    sns.despine(ax=ax)


def _embedding(ax: Axes, found: Diagnosis) -> None:
    classes = sorted(found.points["class"].unique())
    for value, color in zip(classes, sns.color_palette("colorblind", len(classes)), strict=True):
        for high, marker in ((False, "o"), (True, "^")):
            own = found.points[(found.points["class"] == value) & (found.points["high"] == high)]
            label = f"class {value}, {'high' if high else 'low'} entropy ({len(own)})"
            ax.scatter(
                own["x"], own["y"], s=9, color=color if high else "none", edgecolors=[color],
                marker=marker, linewidths=0.6, label=label,
            )  # fmt: skip
    ax.set(xticks=[], yticks=[], xlabel="t-SNE of decoder features", ylabel="")
    ax.legend(frameon=False, fontsize="xx-small", loc="upper left", bbox_to_anchor=(1, 1))
    sns.despine(ax=ax, left=True, bottom=True)
