"""What the presets have to hold: the controls of every comparison, and every option of EGCL-Net."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pandas as pd
import pytest
from pydantic.fields import FieldInfo

from benchmarks.config import BenchmarkConfig, UNetConfig, load_config
from benchmarks.plan.resolve import method_params
from benchmarks.plan.sweeps import swept
from benchmarks.report.facts import collect_facts
from benchmarks.report.provenance import DIGESTS, equal_rows
from methods.egcl_net import EGCLParams

ROOT = Path(__file__).parents[2]
PRESETS = [ROOT / "params.yaml", *sorted(ROOT.glob("benchmarks/presets/*/params.yaml"))]
# What has to stand beside a row before its loss terms are credited with anything.
BESIDE: dict[str, dict[str, dict[str, Any]]] = {
    "supervised": {
        "supervised-unlabeled_bn": {"unlabeled_bn": True},
        "supervised-strong": {"strong": True},
    },
    "ua_mt": {"ua_mt-ssl4mis": {"preset": "ssl4mis"}},
}
# The quick benchmark has no room for eight passes of a teacher; of ten folds they are to follow;
# on the phantom of two classes both rows were the same.
SPARED = {("quick", "ua_mt"), ("acdc_cpu", "ua_mt"), ("methods_quick", "ua_mt")}


@pytest.mark.parametrize("path", PRESETS, ids=lambda p: p.parent.name)
def test_every_preset_has_the_controls(path: Path) -> None:
    """With two classes, ln K is ln 2: the values of SSL4MIS are those of the paper."""
    config = load_config(path)
    wanted: dict[str, dict[str, Any]] = dict(BESIDE["supervised"])
    networks = [config.train_for(dataset).network for dataset in config.grid.datasets]
    if all(isinstance(n, UNetConfig) and n.norm == "instance" for n in networks):
        del wanted["supervised-unlabeled_bn"]  # without a batch norm it is the supervised row
    binary = all(len(dataset.classes) == 1 for dataset in collect_facts(config).datasets)
    for row in config.grid.methods if not binary else ():
        wanted |= BESIDE.get(row, {}) if (config.name, row) not in SPARED else {}
    assert not (binary and "ua_mt-ssl4mis" in config.grid.methods)
    assert {key: config.methods[key] for key in wanted} == wanted
    assert wanted.keys() <= set(config.grid.methods)


def test_every_sweep_that_compares_methods_has_the_controls() -> None:
    found = []
    for path in PRESETS:
        config = load_config(path)
        for name, sweep in config.sweeps.items():
            lists = (sweep.values, sweep.steps, sweep.amp)
            baseline = sweep.baseline or config.grid.baseline
            if any(lists) or baseline != "supervised" or baseline not in sweep.methods:
                continue
            assert BESIDE["supervised"].keys() <= set(sweep.methods), f"{config.name}, {name}"
            found.append(name)
    assert {"seven_labels", "equal_compute"} <= set(found)


def test_no_term_was_inert_in_the_runs_of_a_preset() -> None:
    """By the committed ledgers, which the runs themselves have written."""
    paths = sorted(ROOT.glob("reports/*/mechanisms.csv"))
    assert {"acdc_cpu", "methods_cpu", "quick", "quick_ablation"} <= {p.parent.name for p in paths}
    for path in paths:
        found = pd.read_csv(path)
        terms = found[found["kind"] == "term"]
        alone = set(found["method"].str.split("-").str[0]) <= {"supervised", "full_supervised"}
        assert bool(len(terms)) != alone and (terms["probes"] > 0).all(), path
        assert terms.loc[terms["state"] == "inert", ["method", "name"]].empty, path


def test_no_two_rows_of_a_committed_report_are_the_same_method() -> None:
    """By the digests of their weights: a row that changes nothing is no row."""
    for path in sorted(ROOT.glob("reports/*/runs.csv")):
        runs = pd.read_csv(path, dtype=DIGESTS)
        assert runs["weights"].notna().all() and equal_rows(runs) == [], path


def benchmarks() -> Iterator[BenchmarkConfig]:
    """Every benchmark with its sweeps."""
    for path in PRESETS:
        config = load_config(path)
        yield config
        yield from (swept(config, sweep) for sweep in config.sweeps)


def rows() -> Iterator[tuple[EGCLParams, set[str]]]:
    """Parameters of every EGCL-Net that a preset or sweep trains, and the names given there."""
    for config in benchmarks():
        for row in config.grid.methods:
            if row.split("-")[0] == "egcl_net":
                given = config.methods.get("egcl_net", {}).keys() | config.methods[row].keys()
                params = method_params(config, row, 2)
                assert isinstance(params, EGCLParams)
                yield params, set(given)


def choices(field: FieldInfo) -> set[object]:
    """Values that a field chooses from; none for a number."""
    parts = get_args(field.annotation) if get_origin(field.annotation) is not Literal else ()
    literals = [p for p in (field.annotation, *parts) if get_origin(p) is Literal]
    return {value for literal in literals for value in get_args(literal)}


def test_every_option_of_egcl_net_is_trained_somewhere() -> None:
    """An option that no preset and no sweep takes says nothing, and its code is a burden."""
    trained = list(rows())
    for name, field in EGCLParams.model_fields.items():
        untried = choices(field) - {getattr(params, name) for params, _ in trained}
        assert untried == set(), name
        assert any(name in given for _, given in trained), f"no preset or sweep gives '{name}'"


def test_the_random_split_is_the_deciding_rows_split_in_all_but_entropy() -> None:
    """Its groups have the sizes of A6's in every class, or their difference could show nothing."""
    for name in ("ablation", "ablation_folds", "quick_ablation"):
        config = load_config(ROOT / f"benchmarks/presets/{name}/params.yaml")
        a6, a7 = (method_params(config, f"egcl_net-{row}", 2).model_dump() for row in ("a6", "a7"))
        assert (a7["split"], a7["random_like"]) == ("random", a6["split"])
        assert {key: a6[key] for key in a6.keys() - {"split", "random_like"}} == {
            key: a7[key] for key in a7.keys() - {"split", "random_like"}
        }


@pytest.mark.parametrize(
    ("name", "read"), [("ablation_folds", "ablation"), ("methods_folds", "acdc_cpu")]
)
def test_tables_that_hold_runs_already_read_count_those_readings(name: str, read: str) -> None:
    """Each p is corrected for the readings, of the table itself and of those before it."""
    folder = ROOT / "benchmarks/presets"
    later, before = (load_config(folder / n / "params.yaml").grid for n in (name, read))
    assert later.looks > before.looks > 1


@pytest.mark.parametrize("name", ["ablation_folds", "methods_folds"])
def test_rows_of_acdc_cpu_are_the_same_runs_elsewhere(name: str) -> None:
    """Else they would be trained a second time, and differ between tables."""
    base, other = (
        load_config(ROOT / f"benchmarks/presets/{preset}/params.yaml")
        for preset in ("acdc_cpu", name)
    )
    assert other.train_for("acdc") == base.train_for("acdc")
    data, own = base.data["acdc"], other.data["acdc"]
    assert (own.prepare, own.split) == (data.prepare, data.split)
    assert set(own.labels) <= set(data.labels)
    assert len({*other.grid.pairs, *base.grid.pairs}) == max(
        len(other.grid.pairs), len(base.grid.pairs)
    ), "the runs of one are among those of the other"
    trained = {method_params(base, row, 2).model_dump_json() for row in base.grid.methods}
    rows = {row: method_params(other, row, 2).model_dump_json() for row in other.grid.methods}
    shared = {row for row, params in rows.items() if params in trained}
    controls = {"supervised", *BESIDE["supervised"]}
    wanted = controls | {"egcl_net-a6"} if name == "ablation_folds" else set(base.grid.methods)
    assert shared == wanted


def test_the_ablation_holds_runs_of_the_whole_plan() -> None:
    """And its contrasts, as they were declared."""
    whole, part = (
        load_config(ROOT / f"benchmarks/presets/{name}/params.yaml")
        for name in ("ablation_folds", "ablation")
    )
    assert (part.train, part.data) == (whole.train, whole.data)
    assert (part.contrasts, part.claim) == (whole.contrasts, whole.claim)
    assert set(part.grid.pairs) <= set(whole.grid.pairs)
    assert set(part.grid.methods) <= set(whole.grid.methods)
    for row in part.methods:
        assert method_params(part, row, 2) == method_params(whole, row, 2), row
