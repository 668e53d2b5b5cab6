"""The pages of all benchmarks: the list `reports/README.md`, and the leaderboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from benchmarks.common.files import write_text
from benchmarks.common.workspace import params_files, report_folder
from benchmarks.config import BenchmarkConfig, load_config
from benchmarks.plan.shares import counted
from benchmarks.plan.sweeps import swept
from benchmarks.report.checklist import pitfalls_page
from benchmarks.report.facts import dataset_facts
from benchmarks.report.findings import FINDINGS, findings_page
from benchmarks.report.page import RESULT
from benchmarks.report.tables import pipe_table
from benchmarks.report.web.leaderboard import page_of, write_leaderboard
from benchmarks.scoring.cases import EXTERNAL
from datasets import dataset_ids, load_dataset

_HEADER = ("Benchmark", "Question", "Data (labelled patients)", "Runs", "What came out")
# Folders and files that are no benchmark.
_OTHERS = {
    FINDINGS: "what the benchmarks on patients say together",
    "PITFALLS.md": "known pitfalls of the field, and what in this suite answers them",
    "published_results.csv": "figures from the literature with sources, never ranked with ours",
    "page": "how the page of a benchmark looks: desktop, phone, dark",
    "datasets": "contact sheets of the synthetic data sets",
    "tuning": "searches for parameters on validation patients: trials, best values, figures",
    "statistics": "simulated error rates of the rule that gives every outcome",
    "speed": "timings of the engine as ratios within one process",
    "scaling": "what many runs cost with many workers; killed workers, and what was lost",
    "reliability": "what users see of injected faults and killed runs",
    "convergence": "gains from longer training",
    "mended": "methods that an audit found at fault: their terms and Dice before and after",
}


def write_index(root: Path) -> list[Path]:
    """Write `index.html`, `README.md`, `FINDINGS.md` and `PITFALLS.md` of `reports/`.

    Args:
        root: the checkout, with reports and parameter files.

    Returns:
        The files.

    Raises:
        ConfigError: a parameter file is damaged.
    """
    folder = report_folder(root, "")
    known = dict(_benchmarks(root))
    write_text(folder / "PITFALLS.md", pitfalls_page())
    write_text(folder / FINDINGS, findings_page(root, known))
    names = sorted(p.parent.name for p in folder.glob("*/table.csv"))
    order = [name for name in known if name in names]
    order += [name for name in names if name not in known]
    rows = tuple(_row(folder / name, known.get(name)) for name in order)
    others = [f"- [`{n}`]({n}): {text}." for n, text in _OTHERS.items() if (folder / n).exists()]
    parts = [
        "# Reports",
        "Made by `python -m benchmarks report`; no figure here is typed by hand. Each page says how"
        " to read it. Rows on phantoms are of generated images, which say nothing about patients.",
        pipe_table(_HEADER, rows, words=(0, 1, 2, 4)),
        "## Beside the benchmarks",
        "\n".join(others),
    ]
    write_text(folder / "README.md", "\n\n".join(parts) + "\n")
    told = [(name, page_of(folder / name), *row[1:]) for name, row in zip(order, rows, strict=True)]
    return [
        write_leaderboard(root, {name: known[name] for name in order if name in known}, told),
        folder / "README.md",
        folder / FINDINGS,
        folder / "PITFALLS.md",
    ]


def _benchmarks(root: Path) -> Iterator[tuple[str, BenchmarkConfig]]:
    """The benchmarks of all parameter files with their sweeps, in the order of the index."""
    for path in params_files(root):
        config = load_config(path)
        yield config.name, counted(config, root)
        for sweep in config.sweeps:
            made = swept(config, sweep)
            yield made.name, counted(made, root)


def _row(folder: Path, config: BenchmarkConfig | None) -> tuple[str, ...]:
    name = folder.name
    table = pd.read_csv(folder / "table.csv")
    last = table[(table["checkpoint"] == "last") & (table["variant"] != EXTERNAL)]
    runs = sorted(set(last["runs"]))
    return (
        f"[`{name}`]({name}/README.md)",
        config.question if config else "",
        "; ".join(_data(dataset, config, last) for dataset in dict.fromkeys(last["dataset"])),
        "-".join(str(n) for n in dict.fromkeys((runs[0], runs[-1]))),
        _result(folder / "README.md"),
    )


def _data(dataset: str, config: BenchmarkConfig | None, last: pd.DataFrame) -> str:
    word = "patient"
    if config and dataset in config.data:
        counts, facts = config.data[dataset].labels, dataset_facts(config, dataset)
        title, word = facts.title, facts.word
    else:
        counts = tuple(sorted(set(last.loc[last["dataset"] == dataset, "labels"])))
        title = load_dataset(dataset).title if dataset in dataset_ids() else dataset
    return f"{title}: {', '.join(map(str, counts))}{f' {word}s' * (word != 'patient')}"


def _result(page: Path) -> str:
    """The sentence of a report that says what came out."""
    if not page.is_file():
        return ""
    lines = page.read_text("utf-8").splitlines()
    return next((line.removeprefix(RESULT) for line in lines if line.startswith(RESULT)), "")
