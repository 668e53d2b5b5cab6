"""Every setting of every preset, trained in miniature by this commit and by an older one.

Writes the table by which runs of both are one, `benchmarks/plan/same_bits.csv`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.common.device import native_bf16
from benchmarks.common.files import write_text
from benchmarks.config import load_config
from benchmarks.plan.grid import base_of
from benchmarks.plan.identity import own_digest
from benchmarks.plan.resolve import dimension, method_params
from benchmarks.plan.same_bits import TABLE, same_bits
from benchmarks.report.tables import csv
from methods import load_method, method_ids
from tests.old_commit import ROOT, check_out

# Long enough for the shortest first stages, validations and probes; a few parameters are shares of
# the run, so that ramps and stages of all methods are passed.
ITERATIONS = 12


def settings() -> list[dict[str, Any]]:
    """Every method with its defaults, and every other setting of a parameter file, in its
    dimension."""
    found = {(m, "{}", n): m for m in method_ids() for n in (2, 3)}
    for path in [ROOT / "params.yaml", *sorted(ROOT.glob("benchmarks/presets/*/params.yaml"))]:
        config = load_config(path)
        for ndim in sorted({dimension(config, d) for d in config.grid.datasets}):
            for key in config.methods:
                params = method_params(config, key, ndim)
                values = json.dumps(params.model_dump(mode="json", exclude_defaults=True))
                found.setdefault((base_of(key), values, ndim), key)
    sgd, adam = ({"kind": kind, "lr": 0.001} for kind in ("sgd", "adam"))
    modes: list[dict[str, Any]] = [
        {"augment": "ssl4mis", "optimizer": sgd}, {"augment": "rotate", "optimizer": adam}
    ]  # fmt: skip
    modes += [{"augment": "suite", "optimizer": sgd, "amp": "bf16"}] * native_bf16("cpu")
    return [
        {
            "name": f"{key} {ndim}d {mode['augment']} {place}", "method": method,
            "ndim": ndim, "params": _shortened(method, json.loads(values)),
            "train": {"iterations": ITERATIONS, **mode},
        }
        for place, ((method, values, ndim), key) in enumerate(found.items())
        for mode in (modes if values == "{}" else modes[:1])
        if ndim == 2 or "amp" not in mode
    ]  # fmt: skip


def _shortened(method: str, values: dict[str, Any]) -> dict[str, Any]:
    """With first stages that a run of a few steps has done with."""
    cls = load_method(method)
    counted = (n for n in cls.stages.values() if isinstance(getattr(cls.Params(), n), int))
    return values | dict.fromkeys(counted, 2)


def trained(checkout: Path, folder: Path, wanted: list[dict[str, Any]]) -> dict[str, Any]:
    """Digests of weights by name, of what a checkout can train."""
    folder.mkdir(parents=True)
    listed = folder / "settings.json"
    listed.write_text(json.dumps(wanted))
    script = ROOT / "tests/same_bits/train_all.py"
    done = subprocess.run(
        [sys.executable, str(script), str(folder), str(listed)],
        cwd=checkout, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    lines = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    return {line.pop("name"): line for line in lines}


def equal_methods(
    wanted: list[dict[str, Any]], before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[tuple[str, int]]:
    """Methods all of whose runs have the same weights, and the number of these runs."""
    for method in method_ids():
        names = [one["name"] for one in wanted if one["method"] == method]
        if names and all(name in before and before[name] == after[name] for name in names):
            yield method, len(names)


def digests(checkout: Path, methods: list[str]) -> dict[str, str]:
    """What a checkout calls the code of methods."""
    code = "import sys; from pathlib import Path; from benchmarks.plan.identity import code_digest"
    code += "; [print(m, code_digest(Path.cwd(), m)) for m in sys.argv[1:]]"
    done = subprocess.run(
        [sys.executable, "-c", code, *methods],
        cwd=checkout, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(line.split() for line in done.stdout.splitlines())


@pytest.mark.samebits
def test_same_bits(tmp_path: Path) -> None:
    """Weights of both commits, and the table of methods where they are equal."""
    commit = os.environ["BEFORE"]
    old = check_out(tmp_path / "old", commit)
    shared = [m for m in method_ids() if (old / f"methods/{m}.py").is_file()]
    wanted = [one for one in settings() if one["method"] in shared]
    before, after = (
        trained(checkout, tmp_path / name, wanted)
        for name, checkout in (("before", old), ("after", ROOT))
    )
    named, own = digests(old, shared), {m: own_digest(ROOT, m) for m in shared}
    equal = dict(equal_methods(wanted, before, after))
    rows = [
        {
            "method": m, "code": own[m], "same_as": named[m], "runs": equal[m],
            "steps": ITERATIONS, "before": commit,
        }
        for m in shared if m in equal and own[m] != named[m]
    ]  # fmt: skip
    write_text(ROOT / TABLE, csv(pd.DataFrame(rows)))
    other = [m for m in shared if m not in equal]
    assert not other, f"other weights, so other runs than before: {', '.join(other)}"


def test_a_method_counts_only_if_all_of_its_runs_are_equal() -> None:
    wanted = [
        {"name": f"{m} {n}", "method": m} for m in ("cps", "ua_mt", "mean_teacher") for n in "ab"
    ]
    before = {one["name"]: {"last": one["name"]} for one in wanted}
    after = before | {"ua_mt b": {"last": "x"}}
    del before["mean_teacher a"]
    found = dict(equal_methods(wanted, before, after))
    assert found["cps"] == 2 and not {"ua_mt", "mean_teacher"} & found.keys()


def test_the_table_is_of_the_present_code() -> None:
    """Else `make samebits BEFORE=<commit of the runs>`, or delete it: runs are others then."""
    assert [m for m, code in same_bits(ROOT) if own_digest(ROOT, m) != code] == []
