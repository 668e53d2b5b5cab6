"""Labelled counts as shares, and parts of a benchmark under a name of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cli.options import part_of
from benchmarks.common.errors import ConfigError
from benchmarks.common.schema import check
from benchmarks.common.shares import Share
from benchmarks.common.workspace import ROOT, split_file
from benchmarks.config import BenchmarkConfig, load_config
from benchmarks.plan.excerpt import excerpt, write_excerpt
from benchmarks.plan.identity import stage_digests
from benchmarks.plan.restrict import Part, restricted
from benchmarks.plan.shares import counted
from benchmarks.plan.sweeps import swept
from benchmarks.report.facts import dataset_facts
from benchmarks.report.sections import cell_title
from datasets.preparing.split import Fold, SplitConfig, save_split, sealed
from tests.engine.small import make_config

DATASET = "phantom_acdc"
ABLATION = ROOT / "benchmarks/presets/ablation_folds/params.yaml"


def with_labels(labels: object) -> BenchmarkConfig:
    fields = make_config().model_dump(mode="json")
    fields["data"][DATASET]["labels"] = labels
    return check(BenchmarkConfig, fields)


def split_of(root: Path, *sizes: int, bare: int = 0) -> None:
    """A split whose folds train on so many patients, the last of them without a mask."""
    folds = [
        Fold(tuple(f"p{n}" for n in range(size)), (), ("t",), without_mask=bare) for size in sizes
    ]
    save_split(sealed(DATASET, SplitConfig(), folds), split_file(root, "small", DATASET))


@pytest.mark.parametrize(
    ("percent", "count", "patients"),
    [
        # Of the training patients of ACDC, BraTS 2019, LA and Pancreas-CT, as papers have them.
        (5, 70, 3), (10, 70, 7), (20, 70, 14), (10, 250, 25), (20, 250, 50), (5, 80, 4),
        (10, 80, 8), (20, 80, 16), (10, 62, 6), (20, 62, 12), (100, 62, 62), (1, 20, 1),
    ],
)  # fmt: skip
def test_a_share_is_the_number_that_the_literature_means(
    percent: float, count: int, patients: int
) -> None:
    assert Share(percent=percent).of(count) == patients


def test_shares_are_counted_once_the_split_is_known(tmp_path: Path) -> None:
    config = with_labels([4, "12.5%", "5 %"])
    assert counted(config, tmp_path) == config
    assert config.model_dump(mode="json")["data"][DATASET]["labels"] == [4, "12.5%", "5%"]
    split_of(tmp_path, 44, 43, bare=3)
    found = counted(config, tmp_path)
    assert found.data[DATASET].labels == (2, 4, 5)  # 5 % and 12.5 % of 40
    assert counted(found, tmp_path) == found
    facts = dataset_facts(found, DATASET)
    assert cell_title(facts, 5).endswith(", 5 labelled patients (12.5 %)")
    assert cell_title(facts, 4).endswith(", 4 labelled patients")
    # What is written of the configuration is what was asked for, whatever the split.
    assert found.model_dump(mode="json") == config.model_dump(mode="json")
    part = restricted(found, Part(labels=(4, 5)))
    assert counted(part, tmp_path).data[DATASET].labels == (4, 5)
    split_of(tmp_path, 80)
    with pytest.raises(ConfigError, match="split of phantom_acdc was made anew"):
        counted(found, tmp_path)


def test_a_share_cannot_be_selected_but_its_patients_can(tmp_path: Path) -> None:
    config = with_labels([4, "5%"])
    tells = "`python -m benchmarks split phantom_acdc` tells how many its shares are"
    split_of(tmp_path, 40)
    for known, words in (
        (config, f"give patients: 4; {tells}"),
        (with_labels(["5%"]), f"give patients; {tells}"),
        (counted(config, tmp_path), "give patients: 2, 4$"),
    ):
        with pytest.raises(ConfigError, match=f"--labels '5%': shares cannot .*{words}"):
            part_of(known, None, None, "5%", None)
    assert part_of(config, None, None, "2,4", None) == Part(labels=(2, 4))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["0%"], "labels names '0%'; a share is above 0 %"),
        ([3, "120%"], "labels names '120%'"),
        (["five"], r"labels\.0': .*integer.*given 'five'"),
        ([], "labels is empty"),
        ("5%", r"labels': a list is needed, such as \[5%\]"),
    ],
)
def test_wrong_labels_are_named(labels: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        with_labels(labels)


def test_the_pipeline_depends_on_the_shares(tmp_path: Path) -> None:
    for name in ("benchmarks", "methods", "datasets"):
        (tmp_path / name).symlink_to(ROOT / name)
    text = (ROOT / "params.yaml").read_text()
    for given, wanted in (("[2]", {"labels": [2]}), ("[10%]", {"labels": [], "shares": [10]})):
        (tmp_path / "params.yaml").write_text(text.replace("labels: [2]", f"labels: {given}", 1))
        found = stage_digests(tmp_path)["cells"]["quick"][DATASET]
        assert found == {**wanted, "seeds": [0, 1], "folds": [0], "bound": False}


def test_a_part_is_a_benchmark_of_its_own(tmp_path: Path) -> None:
    whole = load_config(ABLATION)
    assert whole.claim is not None and whole.grid.baseline is not None
    kept = whole.contrasts[0]
    part = Part(methods=(kept.better, kept.than), seeds=(0,))
    made = excerpt(whole, part, name="mine", iterations=7)
    file = write_excerpt(made, tmp_path, ROOT)
    read = load_config(file)
    assert read == made and file.name == "mine.yaml"
    assert set(read.grid.methods) == {kept.better, kept.than} and read.grid.seeds == (0,)
    # A variant takes the rest of its parameters from the method's own block.
    assert set(read.methods) == {kept.better, kept.than, "egcl_net"}
    assert read.methods["egcl_net"] == whole.methods["egcl_net"]
    assert read.titles[kept.better] == whole.titles[kept.better]
    assert kept in read.contrasts
    assert all({c.better, c.than} <= set(read.grid.methods) for c in read.contrasts)
    assert read.claim is None and read.train_for("acdc").iterations == 7
    same = excerpt(whole, Part(), name="all_of_it")
    assert same.train_for("acdc") == whole.train_for("acdc") and same.claim == whole.claim
    # A declared row that is not in the whole grid either is no part that was left out.
    few = load_config(ROOT / "benchmarks/presets/ablation/params.yaml")
    few_again = excerpt(few, Part(), name="few")
    assert (few_again.contrasts, few_again.claim) == (few.contrasts, few.claim)
    assert few.grid.looks > 1 == few_again.grid.looks
    assert few_again.methods == few.methods
    without = excerpt(whole, Part(methods=(kept.better,)), name="mine")
    assert without.grid.baseline is None or without.grid.baseline == kept.better
    quick = load_config(ROOT / "params.yaml")
    short = excerpt(quick, Part(), name="short", iterations=5)
    assert {short.train_for(d).iterations for d in short.grid.datasets} == {5}
    # Rows with a length of their own keep it in a part, unless one is given for every run.
    study = swept(load_config(ROOT / "benchmarks/presets/acdc_cpu/params.yaml"), "convergence")
    one = Part(methods=("supervised-steps=500",))
    assert excerpt(study, one, name="one").steps == {"supervised-steps=500": 500}
    assert excerpt(study, one, name="one", iterations=7).steps == {}

    write_excerpt(made, tmp_path, ROOT)  # again
    for other, words in (
        (without, r"mine\.yaml' is another benchmark"),
        (excerpt(quick, Part(), name="paper"), r"presets/paper/params\.yaml' is another"),
        (excerpt(whole, Part(), name="quick"), r"/params\.yaml' is another"),
        (excerpt(quick, Part(), name="acdc_cpu_convergence"), r"acdc_cpu/params\.yaml' is anoth"),
    ):
        with pytest.raises(ConfigError, match=words):
            write_excerpt(other, tmp_path, ROOT)
    with pytest.raises(ConfigError, match="that of the whole benchmark"):
        excerpt(quick, Part(), name="quick")
    assert load_config(file) == made
