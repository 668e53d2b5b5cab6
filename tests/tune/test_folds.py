"""The search in a fold of a cross-validation, where every patient is tested in some fold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from pydantic import TypeAdapter

from benchmarks.common.errors import ConfigError, DataError
from benchmarks.common.files import read_json, write_json
from benchmarks.common.workspace import RECORD, prepared_folder, split_file
from benchmarks.config import BenchmarkConfig
from benchmarks.pipeline import prepare_stage, split_stage
from benchmarks.tune.sandbox import make_sandbox
from benchmarks.tune.search import tune
from datasets.preparing.split import Fold, load_split, save_split, sealed
from datasets.preparing.store import FINGERPRINT, Fingerprint, open_prepared
from tests.tune.small import DATA, OPTIONS, PARAMS, changed, make_checkout

FOLDS: dict[str, Any] = changed(
    PARAMS,
    name="tiny_cv",
    grid__folds=[1, 0],
    **{f"data__{DATA}__split": {"scheme": "cv", "val": 2, "folds": 3}},
)
CV = BenchmarkConfig.model_validate(FOLDS)
SHARED: dict[str, Any] = changed(
    PARAMS, name="tiny_two", grid__folds=[0, 1], **{f"data__{DATA}__split__folds": 2}
)
SEEDED = BenchmarkConfig.model_validate(SHARED)
UNTRAINED = replace(OPTIONS, timeout=0)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which warnings of preparing name cases of every patient."""
    root = make_checkout(tmp_path_factory.mktemp("root"), SEEDED, CV)
    file = prepared_folder(root, CV.name, DATA) / FINGERPRINT
    whole = TypeAdapter(Fingerprint).validate_python(read_json(file))
    warned = replace(whole, warnings=tuple(f"{case.case}: dark" for case in whole.cases))
    write_json(file, warned.to_json())
    return root


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_only_the_patients_of_the_fold_are_in_the_sandbox(
    fold: int, root: Path, tmp_path: Path
) -> None:
    make_sandbox(CV, DATA, root, tmp_path, fold)
    searched = load_split(split_file(root, CV.name, DATA)).folds[fold]
    boxed = load_split(split_file(tmp_path, CV.name, DATA)).folds
    assert set(boxed) == {replace(searched, test=())}
    data = open_prepared(prepared_folder(tmp_path, CV.name, DATA))
    assert {case.patient for case in data.cases} == {*searched.train, *searched.val}
    files = [*(tmp_path / "data").rglob("*"), *(tmp_path / "datasets/splits").rglob("*")]
    texts = [str(file) for file in files] + [f.read_text() for f in files if f.suffix == ".json"]
    assert searched.test
    assert not [p for p in searched.test if any(p in text for text in texts)]


def test_the_search_is_done_in_the_fold(root: Path) -> None:
    """In the grid's first, or in the one that is given, which has a study of its own."""
    options = replace(OPTIONS, trials=1)
    for given, fold in ((None, 1), (0, 0)):
        tune(CV, DATA, ("mean_teacher",), replace(options, fold=given), root)
        name = f"tiny_cv-{DATA}-l2-f{fold}"
        report = root / "reports/tuning" / name
        best = yaml.safe_load((report / "mean_teacher/best.yaml").read_text())
        assert best["fold"] == fold
        assert len(pd.read_csv(report / "mean_teacher/trials.csv")) == 1
        sandbox = root / "data/tuning" / name
        records = [read_json(file) for file in (sandbox / "runs").rglob(RECORD)]
        digest = load_split(split_file(sandbox, CV.name, DATA)).digest
        assert [(r["key"]["fold"], r["split"]) for r in records] == [(fold, digest)] * 2
    with pytest.raises(ConfigError, match=r"--fold 2 .* allowed are 1, 0"):
        tune(CV, DATA, ("mean_teacher",), replace(options, fold=2), root)


def test_where_folds_share_their_test_patients_the_first_is_not_named(root: Path) -> None:
    names = []
    for fold in (None, 0, 1):
        files = tune(SEEDED, DATA, ("mean_teacher",), replace(UNTRAINED, fold=fold), root)
        names.append(files[-1].parent.name)
    assert names == [f"tiny_two-{DATA}-l2", f"tiny_two-{DATA}-l2", f"tiny_two-{DATA}-l2-f1"]


def test_patients_are_looked_up_in_the_split_of_the_file_that_takes_values(
    root: Path, tmp_path: Path
) -> None:
    """Schemes say nothing: in another seeded split, those who choose may be tested."""
    searched = load_split(split_file(root, SEEDED.name, DATA)).folds[0]
    file, other = tmp_path / "my other.yaml", split_file(root, "other", DATA)
    file.write_text(yaml.safe_dump(changed(SHARED, name="other", grid__folds=[0])))
    options = replace(UNTRAINED, apply=file)
    with pytest.raises(
        ConfigError, match=r"whom 'other' tests is not known.*--params '.*other.yaml'`"
    ):
        tune(SEEDED, DATA, ("mean_teacher",), options, root)
    tested = Fold(searched.test, (), (searched.val[0],))
    save_split(sealed(DATA, SEEDED.data[DATA].split, [tested]), other)
    with pytest.raises(ConfigError, match=rf"'other' tests 1 of the .*\({searched.val[0]}\)"):
        tune(SEEDED, DATA, ("mean_teacher",), options, root)
    file.write_text(yaml.safe_dump(changed(SHARED, name="other", grid__folds=[1])))
    with pytest.raises(ConfigError, match=r"names fold 1, the split of \w+ has 1; raise"):
        tune(SEEDED, DATA, ("mean_teacher",), options, root)


def test_a_fold_without_validation_patients_is_not_searched(root: Path) -> None:
    tree = changed(SHARED, name="tiny_blind", **{f"data__{DATA}__split__val": 0})
    config = BenchmarkConfig.model_validate(tree)
    prepare_stage(config, DATA, root, jobs=1)
    split_stage(config, DATA, root)
    with pytest.raises(ConfigError, match=r"fold 0 has none: set data\.\w+\.split\.val to 1"):
        tune(config, DATA, ("mean_teacher",), UNTRAINED, root)
    with pytest.raises(ConfigError, match="'mean_teacher' is named twice"):
        tune(SEEDED, DATA, ("mean_teacher", "mean_teacher"), UNTRAINED, root)


def test_a_split_of_another_configuration_is_refused(root: Path) -> None:
    """Its folds would be searched under the name of folds that are not made yet."""
    other = BenchmarkConfig.model_validate(changed(FOLDS, **{f"data__{DATA}__split__seed": 1}))
    with pytest.raises(DataError, match="was made with seed 0, not 1"):
        tune(other, DATA, ("mean_teacher",), UNTRAINED, root)


def test_values_are_not_applied_where_their_validation_patients_are_tested(
    root: Path, tmp_path: Path
) -> None:
    alone = changed(FOLDS, grid__folds=[1])
    files = {}
    for name, tree in (("all", FOLDS), ("alone", alone), ("seeded", SHARED)):
        files[name] = tmp_path / f"{name}.yaml"
        files[name].write_text(yaml.safe_dump(tree))

    def apply(config: BenchmarkConfig, name: str) -> None:
        tune(config, DATA, ("mean_teacher",), replace(UNTRAINED, labels=1, apply=files[name]), root)

    words = r"--apply: 'tiny_cv' tests \d+ of the patients who choose these values \("
    for config, name in ((CV, "all"), (CV, "alone"), (CV, "seeded")):
        with pytest.raises(ConfigError, match=words):
            apply(config, name)
    one = BenchmarkConfig.model_validate(alone)
    with pytest.raises(ConfigError, match=words):
        apply(one, "all")
    for config, name in ((one, "alone"), (SEEDED, "seeded")):
        with pytest.raises(ConfigError, match="no finished trial"):
            apply(config, name)
