"""A study goes on with what it was begun with, and with nothing else."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
import yaml
from pydantic import TypeAdapter

from benchmarks.common.errors import ConfigError
from benchmarks.common.files import read_json, write_json
from benchmarks.common.workspace import prepared_folder, split_file
from benchmarks.config import BenchmarkConfig, load_config
from benchmarks.tune.opening import open_study
from benchmarks.tune.search import TuneOptions, tune
from benchmarks.tune.sharing import ERROR, Journal
from datasets.preparing.split import load_split, save_split, sealed
from datasets.preparing.store import FINGERPRINT, Fingerprint
from tests.tune.small import BASIS, CONFIG, DATA, OPTIONS, PARAMS, changed, drawn, make_checkout

STUDY = f"tiny-{DATA}-l2"
FOLDER = f"data/tuning/{STUDY}/studies/mean_teacher"
ONE = replace(OPTIONS, trials=1)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkout(tmp_path_factory.mktemp("root"), CONFIG)


@pytest.fixture
def root(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkout with a study of one trial."""
    monkeypatch.setattr("benchmarks.tune.study.score", drawn)
    kept = [prepared_folder(checkout, CONFIG.name, DATA) / FINGERPRINT]
    kept.append(split_file(checkout, CONFIG.name, DATA))
    texts = [file.read_text() for file in kept]
    search(checkout)
    yield checkout
    shutil.rmtree(checkout / "data/tuning")
    for file, text in zip(kept, texts, strict=True):
        file.write_text(text)


def search(root: Path, options: TuneOptions = ONE, **values: Any) -> None:
    config = BenchmarkConfig.model_validate(changed(PARAMS, **values))
    tune(config, DATA, ("mean_teacher",), options, root)


def trials(root: Path) -> int:
    return len(pd.read_csv(root / f"reports/tuning/{STUDY}/mean_teacher/trials.csv"))


@pytest.mark.parametrize(
    ("options", "values", "words"),
    [
        (replace(ONE, iterations=3), {}, ["train.iterations: was 2, is 3"]),
        (replace(ONE, seeds=(0, 2)), {}, ["seeds: was [0, 1], is [0, 2]"]),
        (
            replace(ONE, parameters=("train.optimizer.lr=0.01:0.1",)),
            {},
            [
                "train.optimizer.lr: was 0.01, is 0.01:0.1",
                "methods.mean_teacher.weight: was 0.01:10.0:log, is 0.1",
            ],
        ),
        (
            ONE,
            {"train__optimizer": {"lr": 0.02}, "methods__mean_teacher": {"decay": 0.9}},
            [
                "train.optimizer.lr: was 0.01, is 0.02",
                "methods.mean_teacher.decay: was 0.99, is 0.9",
            ],
        ),
    ],
    ids=["iterations", "seeds", "ranges", "settings"],
)
def test_other_values_are_refused_by_name(
    options: TuneOptions, values: dict[str, Any], words: list[str], root: Path
) -> None:
    with pytest.raises(ConfigError, match="was begun with something else") as caught:
        search(root, options, **values)
    told = str(caught.value).splitlines()[1:-1]
    assert sorted(told) == sorted(f"  {line}" for line in words)


@pytest.mark.parametrize("part", ["code", "prepared data", "split"])
def test_other_data_splits_and_code_are_refused_and_a_command_makes_room(
    part: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if part == "code":
        monkeypatch.setattr("benchmarks.plan.resolve.code_digest", lambda *_: "other")
    elif part == "split":
        file = split_file(root, CONFIG.name, DATA)
        (fold,) = load_split(file).folds
        turned = replace(fold, train=fold.train[::-1])
        save_split(sealed(DATA, CONFIG.data[DATA].split, [turned]), file)
    else:
        record = prepared_folder(root, CONFIG.name, DATA) / FINGERPRINT
        whole = TypeAdapter(Fingerprint).validate_python(read_json(record))
        write_json(record, replace(whole, title="other").to_json())
    with pytest.raises(ConfigError, match=f"digest of the {part}: was ") as caught:
        search(root, replace(ONE, trials=2))
    assert str(caught.value).count(": was ") == 1
    command = str(caught.value).split("`")[1]
    assert str(root / FOLDER) in command
    subprocess.run(command, shell=True, check=True)
    search(root)
    assert trials(root) == 1


def test_more_trials_another_time_and_applied_values_go_on(root: Path, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump(PARAMS))
    search(root, replace(ONE, trials=2, timeout=600, jobs=2, apply=params))
    config = load_config(params)
    assert config.methods["mean_teacher"]["weight"]
    tune(config, DATA, ("mean_teacher",), replace(ONE, trials=3), root)
    assert trials(root) == 3


def test_the_high_end_of_a_range_is_tried_before_the_first_trial(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"momentum.*given 1\.5"):
        search(root, replace(ONE, parameters=("train.optimizer.momentum=0.5:1.5",)))


def test_rows_with_an_arithmetic_of_their_own_can_be_tuned(root: Path) -> None:
    shutil.rmtree(root / FOLDER)
    search(root, amp={"mean_teacher": "off", "egcl_net": "bf16"})
    assert trials(root) == 1


def test_a_mistake_may_be_mended(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study without a trial that counts takes what it is opened with."""

    def wrong(*_: object) -> float:
        raise ZeroDivisionError

    shutil.rmtree(root / FOLDER)
    monkeypatch.setattr("benchmarks.tune.study.score", wrong)
    with pytest.raises(ZeroDivisionError):
        search(root)
    monkeypatch.setattr("benchmarks.tune.study.score", drawn)
    search(root, methods__mean_teacher={"decay": 0.9})
    with pytest.raises(ConfigError, match=r"mean_teacher\.decay: was 0\.9, is 0\.99"):
        search(root)


@pytest.mark.parametrize("trial", ["none", "failed", "open", "finished"])
def test_a_study_of_an_older_version_is_refused_if_it_has_trials(
    trial: str, tmp_path: Path
) -> None:
    study = optuna.create_study(
        study_name="s", storage=Journal(tmp_path).storage, direction="maximize"
    )
    if trial != "none":
        asked = study.ask()
        if trial == "failed":
            asked.set_user_attr(ERROR, "mistake")
            study.tell(asked, state=optuna.trial.TrialState.FAIL)
        elif trial == "finished":
            study.tell(asked, 0.5)
    if trial in {"none", "failed"}:
        open_study(BASIS, name="s", folder=tmp_path, url=None)
        return
    with pytest.raises(ConfigError, match=r"did not note with what.*`mv "):
        open_study(BASIS, name="s", folder=tmp_path, url=None)


def test_two_processes_may_open_a_new_study_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of them begins a trial while the other looks whether there are any."""
    look, others = optuna.Study.get_trials, [True]

    def meanwhile(study: optuna.Study, *args: Any, **kwargs: Any) -> list[Any]:
        if others.pop() if others else False:
            open_study(BASIS, name="s", folder=tmp_path, url=None).study.ask()
        return look(study, *args, **kwargs)

    monkeypatch.setattr(optuna.Study, "get_trials", meanwhile)
    opened = open_study(BASIS, name="s", folder=tmp_path, url=None)
    assert not others and len(opened.study.trials) == 1


@pytest.mark.filterwarnings("ignore:Heartbeat")
def test_a_study_in_a_database_is_held_and_can_be_deleted(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/my studies.db"
    open_study(BASIS, name="s 1", folder=tmp_path, url=url).study.ask()
    with pytest.raises(ConfigError, match=r"seeds: was \[0, 1\], is \[2, 3\]") as caught:
        open_study({"seeds": [2, 3]}, name="s 1", folder=tmp_path, url=url)
    command = str(caught.value).split("`")[1]
    subprocess.run(command, shell=True, check=True)
    open_study({"seeds": [2, 3]}, name="s 1", folder=tmp_path, url=url)
    open_study({"seeds": [2, 3]}, name="s 1", folder=tmp_path, url=url)
