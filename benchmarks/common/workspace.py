"""Where everything is: every path of the checkout that more than one module knows.

`root` is the checkout, or the sandbox of a tuning study, which is laid out alike. `name` is that of
a benchmark.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRESETS = Path("benchmarks/presets")

# Folders of `reports` and `data` that belong to no benchmark, so none may have such a name.
RESERVED = frozenset(
    {
        "convergence", "datasets", "local", "mended", "page", "partial", "profile", "reliability",
        "scaling", "speed", "statistics", "tuning",
    }
)  # fmt: skip

PREPARED = "dataset.json"  # what is known of prepared data, with their digest

# Files of a finished run; the record is written last, so a folder with it is complete.
RECORD = "run.json"
MACHINE = "machine.json"
METRICS = "metrics.jsonl"
MECHANISMS = "mechanisms.csv"
PSEUDO_MASKS = "pseudo_masks.npz"
CHECKPOINTS = ("last", "best")

# Files of the scores of one method on one data set.
CASES = "cases.csv"
STEPS = "steps.csv"
RUNS = "runs.csv"
SHOWCASE = "showcase.npz"
PSEUDO_LABELS = "pseudo_labels.csv"
SCORED = "scored.json"

# Tables of a report.
TRACES = "traces.csv"
CONVERGENCE = "convergence.csv"
DIFFERENCES = "differences.csv"


def weights_file(checkpoint: str) -> str:
    """Name of the file with the weights of one of `CHECKPOINTS`."""
    return f"{checkpoint}.safetensors"


def params_files(root: Path) -> list[Path]:
    """Parameter files of the checkout's benchmarks, its own first, then those of the presets."""
    files = [root / "params.yaml", *sorted((root / PRESETS).glob("*/params.yaml"))]
    return [file for file in files if file.is_file()]


def raw_folder(root: Path, dataset: str) -> Path:
    """Raw data of a data set: a folder or a link to one."""
    return root / "data" / "raw" / dataset


def prepared_folder(root: Path, name: str, dataset: str) -> Path:
    """Arrays made with the benchmark's parameters."""
    return root / "data" / "prepared" / name / dataset


def split_file(root: Path, name: str, dataset: str) -> Path:
    """Split of a data set in a benchmark; committed."""
    return root / "datasets" / "splits" / name / f"{dataset}.json"


def runs_folder(root: Path, name: str, dataset: str, method: str) -> Path:
    """Runs of one method on one data set, a folder each."""
    return root / "runs" / name / dataset / method


def scores_folder(root: Path, name: str, dataset: str, method: str) -> Path:
    """Scores of one method on one data set, and all else that the report reads of its runs."""
    return scored_folder(root, name, dataset) / method


def scored_folder(root: Path, name: str, dataset: str) -> Path:
    """Scores of all methods on one data set, a folder each."""
    return root / "data" / "scores" / name / dataset


def external_folder(root: Path, name: str) -> Path:
    """Scores of predictions made outside this suite, a folder per data set and name.

    It lies among the scores, so whatever depends on these depends on it too. No data set can have
    the name, since that is the name of a module.
    """
    return root / "data" / "scores" / name / "external-masks"


def report_folder(root: Path, name: str) -> Path:
    """Tables and figures of a benchmark; committed."""
    return root / "reports" / name


def partial_folder(root: Path, name: str) -> Path:
    """Report of a benchmark of which runs are missing; never committed."""
    return report_folder(root, "partial") / name


def local_folder(root: Path, name: str) -> Path:
    """Pictures of real patients; never committed."""
    return report_folder(root, name) / "local"


def tuning_folder(root: Path, study: str) -> Path:
    """Sandbox of a tuning study, without test patients."""
    return root / "data" / "tuning" / study


def launch_folder(root: Path, name: str) -> Path:
    """What jobs of a scheduler say, a folder for every launch."""
    return root / "data" / "launch" / name


def contact_sheet_file(root: Path, dataset: str, *, synthetic: bool) -> Path:
    """Picture of a data set's cases."""
    folder = report_folder(root, "datasets") if synthetic else local_folder(root, "datasets")
    return folder / f"{dataset}.png"
