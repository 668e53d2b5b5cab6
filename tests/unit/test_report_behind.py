"""What stands behind a mean: components of variance, entropy groups, heat maps, pitfalls."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.config import BenchmarkConfig, load_config
from benchmarks.report.checklist import PITFALLS, write_checklist
from benchmarks.report.facts import collect_facts
from benchmarks.report.fairness import variance_components
from benchmarks.report.groups import late_means, read_log, write_groups
from benchmarks.report.heatmap import swept_values, write_heatmaps

ROOT = Path(__file__).parents[2]


def test_components_of_a_known_table() -> None:
    """Large tables give the spreads they were drawn with."""
    g = np.random.default_rng(0)
    folds = [
        0.04 * g.standard_normal()
        + 0.03 * g.standard_normal((40, 1))
        + 0.10 * g.standard_normal((1, 60))
        + 0.02 * g.standard_normal((40, 60))
        for _ in range(300)
    ]
    found = variance_components(folds)
    assert found.rest == pytest.approx(0.02, rel=0.01)
    assert found.seed == pytest.approx(0.03, rel=0.03)
    assert found.patient == pytest.approx(0.10, rel=0.03)
    assert found.subset == pytest.approx(0.04, rel=0.1)


def test_components_by_hand_and_with_one_level() -> None:
    # Rows differ by 0.2, columns by 0.4, nothing else: variances 0.02 and 0.08.
    found = variance_components([np.array([[0.1, 0.5], [0.3, 0.7]])])
    assert (found.seed, found.patient) == pytest.approx((0.02**0.5, 0.08**0.5))
    assert found.rest == pytest.approx(0, abs=1e-9) and np.isnan(found.subset)
    single = variance_components([np.array([[0.1, 0.5]])])
    assert np.isnan([single.seed, single.rest]).all()
    assert single.patient == pytest.approx(0.08**0.5)


def config_of(*methods: str) -> BenchmarkConfig:
    return BenchmarkConfig.model_validate(
        {
            "name": "tiny",
            "grid": {"datasets": ["acdc"], "methods": list(methods), "seeds": [0]},
            "data": {"acdc": {"labels": [3], "split": {"val": 4}}},
            "train": {"iterations": 1, "labeled_batch": 1, "unlabeled_batch": 1},
            "methods": {name: {} for name in methods},
        }
    )


def write_run(root: Path, method: str, records: list[dict[str, float]]) -> None:
    folder = root / "runs/tiny/acdc" / method / "l3-f0-s0"
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("\n".join(json.dumps(r) for r in records))
    (folder / "run.json").write_text(json.dumps({"position": {"seconds": 120.0}}))


def step(number: int, **shares: float) -> dict[str, float]:
    facts = {
        "high_share": 0.1, "high_foreground": 0.5, "low_known": 0.8, "high_known": 0.2,
        "low_correct": 0.8, "high_correct": 0.1, "positive_similarity": 0.9,
        "negative_similarity": 0.1, "empty_group": 0.0,
    }  # fmt: skip
    return {"step": number, "loss": 1.0, **facts, **shares}


def test_accuracy_of_a_group_is_a_share_of_its_own_pixels(tmp_path: Path) -> None:
    validation = {"step": 100, "val/dice": 0.5}
    early = step(50, high_known=0.9, high_correct=0.9)
    late = [step(80, high_known=0.3, high_correct=0.1), step(100, high_known=0.1)]
    write_run(tmp_path, "egcl_net", [early, *late, validation])
    write_run(tmp_path, "supervised", [{"step": 50, "loss": 1.0}])
    log = read_log(config_of("supervised", "egcl_net"), tmp_path)
    assert log is not None and set(log.steps["method"]) == {"egcl_net"}
    assert log.steps["accuracy_high"].tolist() == pytest.approx([1.0, 1 / 3, 1.0])
    mean = late_means(log.steps).iloc[0]
    assert mean["accuracy_high"] == pytest.approx(0.2 / 0.4)  # pixels count, not steps
    assert mean["accuracy_low"] == pytest.approx(1.0)
    assert log.minutes.tolist() == [2.0]


def test_late_means_know_the_length_of_every_run_and_skip_what_splits_nothing(
    tmp_path: Path,
) -> None:
    """A short run of another data set has a late part too; a third one logs no split."""
    config = config_of("supervised", "egcl_net")
    fields = config.model_dump(mode="json")
    for name in ("covid19", "brats2019"):
        fields["grid"]["datasets"].append(name)
        fields["data"][name] = fields["data"]["acdc"]
    config = BenchmarkConfig.model_validate(fields)
    write_run(tmp_path, "egcl_net", [step(100), step(400)])
    (tmp_path / "runs/tiny/acdc").rename(tmp_path / "runs/tiny/covid19")
    write_run(tmp_path, "egcl_net", [step(10), step(20, high_share=0.3)])
    write_run(tmp_path, "supervised", [{"step": 10, "loss": 1.0}])
    table = pd.DataFrame(
        {
            "dataset": ["acdc", "covid19"], "method": "egcl_net", "variant": "", "labels": 3,
            "checkpoint": "last", "dice": 0.5,
        }
    )  # fmt: skip
    files = write_groups(config, collect_facts(config), table, root=tmp_path)
    page = next(f for f in files if f.suffix == ".md").read_text()
    shares = [line.split("|")[3].strip() for line in page.splitlines() if "EGCL-Net" in line]
    assert shares == ["30.0", "10.0"]
    assert "BraTS" not in page


def test_no_log_where_nothing_splits(tmp_path: Path) -> None:
    assert read_log(config_of("supervised"), tmp_path) is None


@pytest.mark.parametrize(
    ("variant", "row", "values"),
    [
        ("a5_tau=0.25_tau_c=0.1", "a5", {"tau": 0.25, "tau_c": 0.1}),
        ("a6_split=percentile_decay", "a6", {}),
        ("tau=0.5", "", {"tau": 0.5}),
        ("plus", "plus", {}),
    ],
)
def test_swept_values_of_a_variant(variant: str, row: str, values: dict[str, float]) -> None:
    assert swept_values(variant) == (row, values)


def test_heat_map_needs_two_swept_numbers(tmp_path: Path) -> None:
    names = [f"a5_tau={a}_tau_c={b}" for a in (0.25, 0.5) for b in (0.1, 0.2)]
    table = pd.DataFrame(
        {
            "dataset": "acdc", "method": "egcl_net", "variant": names, "labels": 7,
            "checkpoint": "last", "dice": [0.5, 0.6, 0.7, 0.8],
        }
    )  # fmt: skip
    files = write_heatmaps(table, folder=tmp_path)
    assert [f.name for f in files] == ["heatmap.svg", "heatmap.pdf", "heatmap.png"]
    one = table.assign(variant=[f"a5_tau={n}" for n in (0.1, 0.2, 0.3, 0.4)])
    assert write_heatmaps(one, folder=tmp_path) == []


@pytest.mark.parametrize("pointer", sorted({p for pitfall in PITFALLS for p in pitfall.pointers}))
def test_pointers_of_the_checklist_lead_to_something(pointer: str) -> None:
    file, _, test = pointer.partition("::")
    assert (ROOT / file).is_file()
    if test:
        tree = ast.parse((ROOT / file).read_text())
        assert test in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}


def test_checklist_says_what_a_benchmark_leaves_open(tmp_path: Path) -> None:
    assert len(PITFALLS) == 18
    [page] = write_checklist(config_of("supervised"), folder=tmp_path)
    text = page.read_text()
    for words in ("1 seed |", "1 labelled subset", "no row with a random split", "acdc |"):
        assert words in text
    ablation = load_config(ROOT / "benchmarks/presets/ablation/params.yaml")
    [page] = write_checklist(ablation, folder=tmp_path)
    assert "no row with a random split" not in page.read_text()
    assert "1 seed |" not in page.read_text()
