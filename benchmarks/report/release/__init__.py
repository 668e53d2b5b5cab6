"""The results of a benchmark as data: one folder to publish, made of finished scores."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from benchmarks.common.errors import ConfigError, RunError
from benchmarks.common.files import fill_folder, write_json, write_text
from benchmarks.common.workspace import CASES, RUNS, split_file
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.excerpt import as_yaml
from benchmarks.report.frames import table_frame
from benchmarks.report.judged import judge_benchmark
from benchmarks.report.load import Source
from benchmarks.report.release.croissant import description
from benchmarks.report.release.datasheet import Contents, citation, datasheet_text
from benchmarks.report.tables import csv
from benchmarks.report.web.made import code_digests, packages
from benchmarks.scoring.cases import ORIGIN

SUMS = "SHA256SUMS"
_DECIMALS = 6


def write_release(config: BenchmarkConfig, out: Path, source: Source) -> list[Path]:
    """Write the folder; equal input gives equal bytes.

    `cases.csv`, one row per run, case and class; `table.csv`, the means with the outcomes;
    `runs.csv`, identity of the runs and digests of their code; `external.csv` where there are
    external rows; `splits/`; `params.yaml`, the configuration; `provenance.json`, packages and
    digests of the code; `DATASHEET.md`; `croissant.json` (Croissant 1.0); `SHA256SUMS`. No image
    and no mask.

    Args:
        config: the benchmark.
        out: folder to make; an older release there is replaced, if nothing else is in the folder.
        source: of the scores.

    Returns:
        The files.

    Raises:
        ConfigError: the folder holds something else.
        RunError: the grid is not complete, or a split is missing.
    """
    others = _others(out)
    if others:
        raise ConfigError(
            f"'{out}' holds what is no part of a release ({', '.join(others[:3])}"
            f"{', ...' * (len(others) > 3)}), which would be lost; name a folder that is new, and"
            " copy the files from there"
        )
    fill_folder(out, lambda folder: _fill(config, folder, source))
    return sorted(path for path in out.rglob("*") if path.is_file())


def _others(out: Path) -> list[str]:
    """Names in a folder that its list of files does not hold."""
    if not out.exists():
        return []
    sums = out / SUMS
    lines = sums.read_text(encoding="utf-8").splitlines() if sums.is_file() else []
    listed = {SUMS, *(line.partition("  ")[2] for line in lines)}
    listed |= {parent.as_posix() for name in listed for parent in Path(name).parents}
    found = (path.relative_to(out).as_posix() for path in out.rglob("*"))
    return sorted(name for name in found if name not in listed)


def _fill(config: BenchmarkConfig, folder: Path, source: Source) -> None:
    judged = judge_benchmark(config, source)
    loaded, facts, results = judged.loaded, judged.facts, judged.results
    runs = judged.runs
    write_text(folder / CASES, csv(loaded.cases))
    write_text(folder / "table.csv", csv(table_frame(results), decimals=_DECIMALS))
    for name, frame in ((RUNS, runs), (ORIGIN, loaded.origin)):
        if frame is not None:
            write_text(folder / name, csv(frame))
    for dataset in config.grid.datasets:
        split = split_file(source.root, config.name, dataset)
        if not split.is_file():
            raise RunError(
                f"no file '{split}'; `python -m benchmarks split {dataset} --params"
                f" {source.params}` makes it"
            )
        target = folder / "splits" / f"{dataset}.json"
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(split, target)
    write_text(folder / "params.yaml", as_yaml(config))
    code = {} if runs is None else code_digests(facts, runs)
    write_json(folder / "provenance.json", {"code": code, "packages": packages(source.root)})
    cited = citation(source.root)
    write_text(
        folder / "DATASHEET.md", datasheet_text(Contents(config, facts, loaded.cases, cited))
    )
    files = {name: _sha256(folder / name) for name in _names(folder)}
    made = description(config, cited, files)
    write_text(folder / "croissant.json", json.dumps(made, indent=1, ensure_ascii=False) + "\n")
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in _names(folder)]
    write_text(folder / SUMS, "".join(lines))


def _names(folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
