"""Names, looks, entropy groups, heat maps and pitfalls."""

from __future__ import annotations

import ast
import math
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import methods as suite
from benchmarks.common.errors import ConfigError
from benchmarks.config import BenchmarkConfig, load_config
from benchmarks.plan.sweeps import swept
from benchmarks.report import build_report
from benchmarks.report.checklist import PITFALLS, open_pitfalls, pitfalls_page
from benchmarks.report.facts import (
    Facts,
    collect_facts,
    dataset_facts,
    method_facts,
    split_variant,
)
from benchmarks.report.groups import late_means, read_groups
from benchmarks.report.load import Source
from benchmarks.report.provenance import code_words, equal_rows, precision_words
from benchmarks.report.sections import cell_title
from benchmarks.report.style import method_looks
from benchmarks.report.tables import ranges
from datasets import load_dataset
from methods import method_ids
from tests.report.made import (
    LOGGED,
    leave_figures_undrawn,
    make_config,
    use_made_datasets,
    write_scores,
)

ROOT = Path(__file__).parents[2]
ABLATION = ROOT / "benchmarks/presets/ablation_folds/params.yaml"


def facts_of(config: BenchmarkConfig) -> Facts:
    return Facts((), tuple(method_facts(config, m) for m in config.grid.methods))


@pytest.mark.parametrize(
    ("variant", "row", "values"),
    [
        ("a5_tau=0.25_tau_c=0.1", "a5", (("tau", "0.25"), ("tau_c", "0.1"))),
        ("a6_split=percentile_decay", "a6", (("split", "percentile_decay"),)),
        ("tau=0.5", "", (("tau", "0.5"),)),
        ("a3b_avg=mc_passes_passes=4", "a3b", (("avg", "mc_passes"), ("passes", "4"))),
        ("a6_steps=500", "a6", (("steps", "500"),)),
        ("plus", "plus", ()),
    ],
)
def test_row_and_values_of_a_variant(
    variant: str, row: str, values: tuple[tuple[str, str], ...]
) -> None:
    assert split_variant("egcl_net", variant) == (row, values)


def test_no_key_of_the_ablation_is_shown_to_a_reader() -> None:
    config = load_config(ABLATION)
    every = [config, *(swept(config, sweep) for sweep in config.sweeps)]
    titles = {m.key: m.title for c in every for m in facts_of(c).methods}
    assert titles["egcl_net-a3b"] == "low entropy only, twice the budget"
    assert titles["egcl_net-a3f_tau=0.1"] == "low entropy only, fixed split, threshold 0.1"
    assert titles["egcl_net-a6_split=per_class_percentile"].endswith("split: per class percentile")
    assert len(set(titles.values())) == len(titles)
    assert not [t for t in titles.values() if re.search(r"\ba\d+b?\b|[=_]", t)]


def test_titles_must_name_methods_and_tell_them_apart() -> None:
    with pytest.raises(ConfigError, match="mean_teacher"):
        load_titles({"mean_techer": "Mean Teacher"})
    with pytest.raises(ConfigError, match="two methods the name 'x'"):
        load_titles({"mean_teacher": "x", "supervised": "x"})


def load_titles(titles: dict[str, str]) -> BenchmarkConfig:
    from benchmarks.common.schema import check

    fields = make_config().model_dump(mode="json") | {"titles": titles}
    return check(BenchmarkConfig, fields)


def test_a_method_looks_the_same_whatever_stands_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = method_looks(facts_of(make_config(methods=["mean_teacher", "supervised"])))
    many = method_looks(facts_of(make_config()))
    assert few["mean_teacher"] == many["mean_teacher"]
    more = ["aaa_own_method", *method_ids()]
    monkeypatch.setattr(suite, "method_ids", lambda: more)
    assert method_looks(facts_of(make_config())) == many


def test_no_two_methods_look_alike() -> None:
    names = [m for m in method_ids() if m != "supervised"]
    looks = method_looks(facts_of(make_config(methods=names, baseline=None)))
    assert len({(v.color, v.marker) for v in looks.values()}) == len(names)
    config = load_config(ABLATION)
    rows = method_looks(facts_of(config))
    assert len({(v.color, v.marker) for v in rows.values()}) == len(rows)
    sweep = method_looks(facts_of(swept(config, "quantile")))
    assert sweep["egcl_net-a5_quantile=0.5"] == rows["egcl_net-a5"]
    assert len({(v.color, v.marker) for v in sweep.values()}) == len(sweep)


def steps_of(root: Path, rows: list[dict[str, float]]) -> pd.DataFrame:
    """Read back what one method has logged in one run."""
    config = make_config(methods=["egcl_net-a5"], baseline=None)
    folder = root / "data/scores/tiny/heart/egcl_net-a5"
    folder.mkdir(parents=True)
    frame = pd.DataFrame(rows).assign(labels=2, fold=0, seed=0)
    frame.to_csv(folder / "steps.csv", index=False)
    steps = read_groups(config, facts_of(config), Source(root))
    assert steps is not None
    return steps


def test_accuracy_of_a_group_is_a_share_of_its_own_pixels(tmp_path: Path) -> None:
    early = {"step": 50, **LOGGED, "high_known": 0.9, "high_correct": 0.9}
    late = [{"step": 80, **LOGGED, "high_known": 0.3}, {"step": 100, **LOGGED, "high_known": 0.1}]
    steps = steps_of(tmp_path, [early, *late, {"step": 100, "val/dice": 0.5}])
    assert steps["accuracy_high"].tolist() == pytest.approx([1.0, 1 / 3, 1.0], abs=1e-4)
    mean = late_means(steps).iloc[0]
    assert mean["accuracy_high"] == pytest.approx(0.2 / 0.4)  # pixels count, not steps
    assert mean["accuracy_low"] == pytest.approx(1.0)


def test_late_means_know_the_length_of_every_run() -> None:
    rows = [("a", 100, 0.1), ("a", 400, 0.2), ("b", 10, 0.3), ("b", 20, 0.4)]
    frame = pd.DataFrame(rows, columns=["dataset", "step", "high_share"])
    whole = frame.assign(
        method="m", labels=3, **{k: v for k, v in LOGGED.items() if k != "high_share"}
    )
    assert late_means(whole)["high_share"].tolist() == [0.2, 0.4]


def test_no_groups_where_nothing_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_made_datasets(monkeypatch)
    config = make_config(methods=["supervised", "mean_teacher"])
    write_scores(tmp_path, config)
    written = build_report(config, root=tmp_path).files
    assert not [p for p in written if p.name.startswith("groups")]
    assert "entropy split" not in (tmp_path / "reports/tiny/README.md").read_text()


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ({"tau": [0.25, 0.5], "tau_c": [0.1, 0.2]}, True),
        ({"tau": [0.25, 0.5]}, False),
        ({"tau": [0.25, 0.5], "split": ["fixed", "ramp"]}, False),
    ],
)
def test_heat_map_needs_two_swept_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, list[object]], drawn: bool
) -> None:
    use_made_datasets(monkeypatch)
    leave_figures_undrawn(monkeypatch)
    sweeps = {"both": {"methods": ["egcl_net-a5"], "values": values}}
    config = swept(make_config({"sweeps": sweeps}), "both")
    write_scores(tmp_path, config)
    names = {p.name for p in build_report(config, root=tmp_path).files}
    assert ("heatmap.png" in names) == drawn
    assert not any(name.endswith(".svg") for name in names)


@pytest.mark.parametrize("pointer", sorted({p for pitfall in PITFALLS for p in pitfall.pointers}))
def test_pointers_of_the_checklist_lead_to_something(pointer: str) -> None:
    file, _, test = pointer.partition("::")
    assert (ROOT / file).is_file()
    if test:
        tree = ast.parse((ROOT / file).read_text())
        assert test in {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}


def test_checklist_says_what_a_benchmark_leaves_open() -> None:
    assert len(PITFALLS) == pitfalls_page().count("\n| ") - 2 == 19
    text = "\n".join(open_pitfalls(make_config()))
    for words in ("2 runs, a verdict needs 5", "1 labelled subset", "No row with a random split"):
        assert words in text
    ablation = "\n".join(open_pitfalls(load_config(ABLATION)))
    assert "random split" not in ablation
    enough = make_config(seeds=[0, 1], folds=[0, 1, 2])
    assert "verdict" not in "\n".join(open_pitfalls(enough))


def test_a_report_says_what_the_files_are() -> None:
    """Files of another data set, and units of test that are no patients known by an id."""
    presets = ROOT / "benchmarks/presets"
    brats, slices = (
        dataset_facts(load_config(presets / f"{name}/params.yaml"), dataset)
        for name, dataset in (("brats_cpu", "brats2019"), ("covid19_cpu", "covid19"))
    )
    assert brats.title == "BraTS 2021" != load_dataset("brats2019").title
    assert cell_title(slices, 5) == "COVID-19 CT, 5 labelled slices"
    assert cell_title(brats, 1) == "BraTS 2021, 1 labelled patient"
    assert slices.note.startswith("the files name no patients.") and brats.note


def test_committed_benchmarks_have_facts() -> None:
    for path in [ROOT / "params.yaml", *ROOT.glob("benchmarks/presets/*/params.yaml")]:
        config = load_config(path)
        facts = collect_facts(config)
        assert config.question
        assert len({m.title for m in facts.methods}) == len(facts.methods)
        assert all(replace(d, tolerance=0) != d for d in facts.datasets)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], ""),
        ([3], "3"),
        ([1, 0], "0, 1"),
        ([0, 1, 2], "0 to 2"),
        ([9, 0, 1, 2, 3, 5, 6], "0 to 3, 5, 6, 9"),
    ],
)
def test_numbers_that_follow_one_another_are_told_by_their_ends(
    values: list[int], words: str
) -> None:
    assert ranges(values) == words


def test_rows_of_different_code_say_so() -> None:
    facts = facts_of(make_config())
    rows = [(m.key, f"c0de{n}") for n, m in enumerate(facts.methods)]
    runs = pd.DataFrame([*rows, (facts.methods[0].key, "01d")], columns=["method", "code"])
    first, second = code_words(facts, runs).split("; ")[:2]
    assert first.endswith("`01d`, `c0de0` (of different versions)")
    assert second == f"{facts.methods[1].title} `c0de1`"
    assert "not recorded" in code_words(facts, None)


@pytest.mark.parametrize(
    ("more", "mixed"),
    [
        ({}, True),
        ({"amp": {"mean_teacher": "bf16"}}, False),
        ({"amp": {"egcl_net-a5": "off"}}, True),
    ],
)
def test_rows_of_different_precision_are_told_unless_they_were_asked_for(
    more: dict[str, object], mixed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_made_datasets(monkeypatch)
    config = make_config(more)
    facts = collect_facts(config)
    rows = [("heart", m.key, "float32") for m in facts.methods]
    runs = pd.DataFrame(rows, columns=["dataset", "method", "precision"])
    assert precision_words(config, facts, runs) == ()
    runs.loc[runs["method"] == "mean_teacher", "precision"] = "bfloat16"
    words = precision_words(config, facts, runs)
    assert len(words) == mixed and all("(bfloat16: Mean Teacher; float32: " in w for w in words)
    assert precision_words(config, facts, runs.drop(columns="precision")) == ()


def test_rows_that_compute_the_same_say_so() -> None:
    """Bit for bit, in all runs: one equal run is chance, or a start that both share."""
    facts = facts_of(make_config())
    first, second, third = (m.key for m in facts.methods[:3])
    cells = [(key, seed, "c0de") for key in (first, second, third) for seed in (0, 1)]
    runs = pd.DataFrame(cells, columns=["method", "seed", "code"])
    runs = runs.assign(dataset="heart", labels=2, fold=0, weights=["a", "b", "a", "b", "a", "c"])
    assert equal_rows(runs) == [("heart", first, second)]
    assert equal_rows(runs.assign(weights=[math.nan] * 6)) == []
    titles = facts.titles
    told = f"{titles[second]} has the same weights as {titles[first]} in all runs"
    assert told in code_words(facts, runs) and titles[third] not in code_words(facts, runs)[-120:]
