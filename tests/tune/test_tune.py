"""The search on a tiny phantom: budget, resume, results, and test patients that do not exist."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from optuna.trial import TrialState

from benchmarks.common.errors import ConfigError, DataError, Held, Lost, RunError
from benchmarks.common.workspace import prepared_folder, split_file
from benchmarks.training.one import Place
from benchmarks.tune.budget import write_budget
from benchmarks.tune.sandbox import make_sandbox
from benchmarks.tune.search import tune
from benchmarks.tune.sharing import JOURNAL, Journal
from benchmarks.tune.study import Plan, Sampler
from datasets.preparing.split import load_split
from datasets.preparing.store import open_prepared
from tests.tune.small import CONFIG, OPTIONS, PARAMS, drawn, make_checkout, make_plan, search


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkout(tmp_path_factory.mktemp("root"), CONFIG)


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_in_a_method_is_told_with_its_line(
    root: Path, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*args: object) -> None:
        del args
        raise ZeroDivisionError("weight")

    monkeypatch.setattr("methods.mean_teacher.supervised_loss", wrong)
    words = r"methods/mean_teacher\.py:\d+: ZeroDivisionError: weight"
    with pytest.raises(RunError, match=words):
        tune(CONFIG, "phantom_acdc", ("mean_teacher",), replace(OPTIONS, jobs=jobs), root)
    shutil.rmtree(root / "data/tuning")


def test_no_test_patient_is_in_the_sandbox(root: Path, tmp_path: Path) -> None:
    """Neither an array nor a name of one; reading a test case fails."""
    sandbox = make_sandbox(CONFIG, "phantom_acdc", root, tmp_path / "box", 0)
    split = load_split(split_file(root, CONFIG.name, "phantom_acdc"))
    data = open_prepared(prepared_folder(sandbox, CONFIG.name, "phantom_acdc"))
    whole = open_prepared(prepared_folder(root, CONFIG.name, "phantom_acdc"))
    (fold,) = split.folds
    assert fold.test
    assert {c.patient for c in data.cases} == set(fold.train) | set(fold.val)
    (boxed,) = load_split(split_file(sandbox, CONFIG.name, "phantom_acdc")).folds
    assert (boxed.train, boxed.val, boxed.test) == (fold.train, fold.val, ())
    tested = next(c.case for c in whole.cases if c.patient in fold.test)
    with pytest.raises(DataError, match="no case"):
        data.image(tested)
    texts = [p.read_text() for p in (sandbox / "data").rglob("*.json")]
    names = [str(p) for p in (sandbox / "data").rglob("*")] + texts
    assert texts and not any(patient in text for patient in fold.test for text in names)
    make_sandbox(CONFIG, "phantom_acdc", root, tmp_path / "box", 0)  # again, over itself


def test_search_gives_every_method_the_same_budget_and_goes_on(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = tune(CONFIG, "phantom_acdc", ("mean_teacher", "egcl_net"), OPTIONS, root)
    target = root / "reports/tuning/tiny-phantom_acdc-l2"
    assert all(path.is_file() and path.stat().st_size for path in files)
    names = {path.name for path in (target / "egcl_net").iterdir()}
    assert names >= {"trials.csv", "best.yaml", "history.png", "parallel_coordinate.png"}
    trials = pd.read_csv(target / "egcl_net/trials.csv")
    told = " ".join(capsys.readouterr().err.split())
    best = re.search(r"egcl_net: validation Dice ([0-9.]+) % in trial (\d+): tau = ", told)
    assert best and best[1] == f"{100 * trials['validation_dice'].max():.1f}"
    assert trials["validation_dice"][int(best[2])] == trials["validation_dice"].max()
    budgets = pd.read_csv(target / "budget.csv")
    assert budgets["trials"].tolist() == [3, 3] and budgets["seeds"].tolist() == [2, 2]
    assert trials["tau"].between(0.1, 0.75).all()
    mean = (trials["dice_seed0"] + trials["dice_seed1"]) / 2
    assert mean.to_numpy() == pytest.approx(trials["validation_dice"].to_numpy(), abs=1e-5)

    def untouched(*_: object, **__: object) -> None:
        raise AssertionError("a finished study trains nothing")

    monkeypatch.setattr("benchmarks.tune.study.train_runs", untouched)
    tune(CONFIG, "phantom_acdc", ("mean_teacher", "egcl_net"), OPTIONS, root)


@pytest.mark.parametrize("asked", [True, False])
def test_the_trial_of_a_dead_process_is_finished_and_the_rest_drawn_as_without_it(
    asked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.tune.study.score", drawn)
    undisturbed = search(make_plan(trials=10), tmp_path / "whole")
    before = [t.params for t in search(make_plan(trials=8), tmp_path / "s").trials]
    dead = optuna.create_study(
        study_name="s", storage=Journal(tmp_path / "s").storage, load_if_exists=True,
        direction="maximize", sampler=Sampler(),
    ).ask()  # fmt: skip
    if asked:
        dead.suggest_float("weight", 0.01, 1.0, log=True)
    study = search(make_plan(trials=10), tmp_path / "s")
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 10
    assert [t.params for t in study.trials[:8]] == before
    assert [t.params for t in study.trials] == [t.params for t in undisturbed.trials]


def test_a_trial_whose_workers_are_killed_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it changes nothing; a trial that kills them again and again has failed."""
    begun: list[int] = []
    kills = {1: 1, 3: 99}  # by the number of the trial

    def killed(plan: Plan, trial: optuna.Trial, _: Place) -> float:
        value = plan.space[0].draw(trial)
        begun.append(trial.number)
        if begun.count(trial.number) <= kills.get(trial.number, 0):
            raise Lost("a worker process was killed")
        return float(value)

    monkeypatch.setattr("benchmarks.tune.study.score", killed)
    study = None
    while study is None:
        with suppress(Lost):
            study = search(make_plan(trials=4), tmp_path / "s")
    assert begun == [0, 1, 1, 2, 3, 3, 3, 3, 3, 4]
    assert [t.number for t in study.trials if t.state == TrialState.FAIL] == [3]


def test_runs_that_workers_of_a_killed_process_still_hold_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    def held(plan: Plan, trial: optuna.Trial, _: Place) -> float:
        begun.append(trial.number)
        if begun.count(1) in {1, 2} and trial.number == 1:
            raise Held("another process is training 'f0-s0'")
        return float(plan.space[0].draw(trial))

    monkeypatch.setattr("benchmarks.tune.study.score", held)
    monkeypatch.setattr("benchmarks.tune.study._LOOK", 0.0)
    study = search(make_plan(trials=3), tmp_path / "s")
    assert begun == [0, 1, 1, 1, 2]
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 3


def test_a_journal_that_was_cut_off_loses_its_last_entry_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.tune.study.score", drawn)
    whole = search(make_plan(trials=6), tmp_path / "s")
    shutil.rmtree(tmp_path / "s")
    search(make_plan(trials=3), tmp_path / "s")
    journal = tmp_path / "s" / JOURNAL
    journal.write_bytes(journal.read_bytes()[:-7])
    study = search(make_plan(trials=6), tmp_path / "s")
    assert [(t.state, t.params) for t in study.trials] == [
        (t.state, t.params) for t in whole.trials
    ]
    for line in journal.read_text().splitlines():
        json.loads(line)


def written(path: Path) -> tuple[int, ...]:
    """Which file it is and when it was written; it may be read."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def test_a_second_search_leaves_the_data_of_the_first_alone(root: Path, tmp_path: Path) -> None:
    """It renews what is damaged, and what was opened before stays readable."""
    box = tmp_path / "box"
    make_sandbox(CONFIG, "phantom_acdc", root, box, 0)
    target = prepared_folder(box, CONFIG.name, "phantom_acdc")
    files = {p: written(p) for p in [*target.rglob("*"), *(box / "benchmarks",)]}
    make_sandbox(CONFIG, "phantom_acdc", root, box, 0)
    assert {p: written(p) for p in files} == files
    image = next(target.rglob("image.npy"))
    opened = np.load(image, mmap_mode="r")
    expected = np.array(opened)
    image.unlink()
    make_sandbox(CONFIG, "phantom_acdc", root, box, 0)
    assert np.array_equal(np.load(image), expected) and np.array_equal(opened, expected)


def test_the_budget_keeps_methods_that_were_tuned_before(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = replace(OPTIONS, labels=3)
    for methods, trials in (("mean_teacher", 2), ("egcl_net", 1), ("mean_teacher", 3)):
        tune(CONFIG, "phantom_acdc", (methods,), replace(options, trials=trials), root)
    budgets = pd.read_csv(root / "reports/tuning/tiny-phantom_acdc-l3/budget.csv")
    assert budgets[["method", "trials"]].to_numpy().tolist() == [
        ["egcl_net", 1],
        ["mean_teacher", 3],
    ]
    told = " ".join(capsys.readouterr().err.split())
    assert "1 trials are planned" in told and "other numbers: egcl_net (1); search all" in told
    other = replace(options, iterations=1)
    words = "2 seeds of 1 iterations are planned, but .* egcl_net with 2 seeds of 2 iterations"
    with pytest.raises(ConfigError, match=words):
        tune(CONFIG, "phantom_acdc", ("mean_teacher",), other, root)


def test_processes_that_write_the_budget_at_once_keep_each_other_s_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one comes when the first one has read the table and not written it yet."""
    path, lease, second = tmp_path / "budget.csv", tmp_path / "s.lock", list[Thread]()
    study = optuna.create_study()

    def write(method: str) -> None:
        write_budget([(replace(make_plan(), method=method), study)], path, lease)

    def read(file: Path) -> pd.DataFrame:
        found = pd.DataFrame(original(file))
        if not second:
            second.append(Thread(target=write, args=("egcl_net",)))
            second[0].start()
            second[0].join(1)
        return found

    write("supervised")
    original = pd.read_csv
    monkeypatch.setattr("benchmarks.tune.budget.pd.read_csv", read)
    write("mean_teacher")
    second[0].join()
    assert original(path)["method"].tolist() == ["egcl_net", "mean_teacher", "supervised"]


def test_seeds_are_several() -> None:
    with pytest.raises(ConfigError, match="two seeds"):
        make_plan(seeds=(0,))


def test_apply_keeps_comments(root: Path, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    text = yaml.safe_dump(PARAMS).replace("train:\n  iter", "# How long\ntrain:\n  iter")
    params.write_text(text)
    assert "# How long" in text
    tune(CONFIG, "phantom_acdc", ("mean_teacher",), replace(OPTIONS, apply=params), root)
    after = params.read_text()
    assert "# How long" in after
    best = yaml.safe_load(
        (root / "reports/tuning/tiny-phantom_acdc-l2/mean_teacher/best.yaml").read_text()
    )
    tuned = yaml.safe_load(after)
    assert tuned["methods"]["mean_teacher"]["weight"] == pytest.approx(
        best["values"]["weight"], rel=1e-5
    )
    tuned["methods"]["mean_teacher"] = {}
    assert tuned == PARAMS


def test_variants_and_unknown_methods_are_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match="not in the grid"):
        tune(CONFIG, "phantom_acdc", ("mean_techer",), OPTIONS, root)
