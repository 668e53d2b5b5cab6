"""A folder is a finished run only with the record, weights and log that were written for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from torch import Tensor

import benchmarks.scoring.evaluate as evaluate_module
from benchmarks.common.errors import BenchError, ConfigError, DataError, RunError, StorageError
from benchmarks.common.files import digest, read_json, write_json
from benchmarks.common.workspace import RECORD, SCORED, prepared_folder, split_file
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.identity import scoring_digest
from benchmarks.plan.record import finished, mismatch, write_record
from benchmarks.plan.resolve import Run, resolve
from benchmarks.report import build_report
from benchmarks.report.join import join_rows
from benchmarks.report.load import Source
from benchmarks.report.release import write_release
from benchmarks.report.stale import stale_words
from benchmarks.scoring.cases import broken_seal
from benchmarks.scoring.evaluate import evaluate, evaluate_dataset
from benchmarks.scoring.rows import Row
from benchmarks.scoring.trained import Trained
from benchmarks.training.many import train_runs
from benchmarks.training.one import Place
from datasets.preparing.store import Case
from tests.engine.conftest import flat
from tests.engine.small import make_config
from tests.report.made import leave_figures_undrawn

__all__ = ["flat"]


def two_seeds() -> BenchmarkConfig:
    return make_config(iterations=2, seeds=(0, 1))


@pytest.fixture
def trained(flat: Path, tmp_path: Path) -> tuple[Path, list[Run]]:
    """A root with two finished runs of `supervised`."""
    for part in ("data", "datasets"):
        shutil.copytree(flat / part, tmp_path / part, symlinks=True)
    for part in ("benchmarks", "methods"):
        (tmp_path / part).symlink_to(flat / part)
    runs = resolve(two_seeds(), "phantom_acdc", "supervised", tmp_path)
    train_runs(runs, Place(tmp_path, "cpu"), jobs=1)
    return tmp_path, runs


def change(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    def apply(record: dict[str, Any]) -> None:
        *way, last = key.split(".")
        for part in way:
            record = record[part]
        record[last] = value

    return apply


def test_steps_of_different_length_keep_a_record_whole(
    trained: tuple[Path, list[Run]], tmp_path: Path
) -> None:
    """Numbers and the texts that JSON makes of them have different orders: 5 < 10, "10" < "5"."""
    root, (run, _) = trained
    write_record(run, tmp_path, (), {"position": {"validations": {5: 0.1, 10: 0.2}}})
    assert mismatch(run, tmp_path) == ""
    assert finished(run, root)


CONFIGURED = [
    change("train.iterations", 4000),
    change("params", {"weight": 9}),
    change("key.seed", 7),
    change("key.labels", 3),
    change("data", "0"),
]
REACHED = [change("position.validations", {"2": 0.99}), change("files", {})]


def edited(
    trained: tuple[Path, list[Run]], edit: Callable[[dict[str, Any]], None]
) -> tuple[Run, Path, dict[str, Any]]:
    """The first run, its record's file, and what stands in it after an edit."""
    root, (run, _) = trained
    path = run.key.folder(root) / RECORD
    record = json.loads(path.read_text())
    edit(record)
    return run, path, record


@pytest.mark.parametrize("edit", [*CONFIGURED, *REACHED])
def test_a_record_that_was_changed_is_noticed(
    trained: tuple[Path, list[Run]], edit: Callable[[dict[str, Any]], None]
) -> None:
    run, path, record = edited(trained, edit)
    write_json(path, record)
    assert mismatch(run, path.parent) == "its run.json was changed after it was written"


@pytest.mark.parametrize("edit", CONFIGURED)
def test_a_record_is_compared_with_the_configuration(
    trained: tuple[Path, list[Run]], edit: Callable[[dict[str, Any]], None]
) -> None:
    """Also where its own digest was made anew."""
    run, path, record = edited(trained, edit)
    del record["record"]
    write_json(path, {"record": digest(record), **record})
    assert "names another" in mismatch(run, path.parent)


def test_swapped_and_flipped_files_are_noticed_and_made_anew(
    trained: tuple[Path, list[Run]], capsys: pytest.CaptureFixture[str]
) -> None:
    root, (first, second) = trained
    one, two = (run.key.folder(root) for run in (first, second))
    for name in ("last.safetensors", "best.safetensors", "metrics.jsonl"):
        before = (one / name).read_bytes()
        (one / name).write_bytes((two / name).read_bytes())
        assert mismatch(first, one) == f"its {name} is not the file that was written"
        with pytest.raises(RunError, match=rf"its {name} is not the file that was written"):
            evaluate(two_seeds(), "phantom_acdc", "supervised", Place(root, "cpu"))
        (one / name).write_bytes(bytes([*before[:-1], before[-1] ^ 1]))
        assert not finished(first, root)
        capsys.readouterr()
        assert train_runs([first, second], Place(root, "cpu"), jobs=1) == 1
        assert f"trained again, since its {name}" in capsys.readouterr().err
        assert (one / name).read_bytes() == before
    (one / RECORD).write_bytes((two / RECORD).read_bytes())
    assert not finished(first, root)
    (one / RECORD).write_text("[]")
    assert mismatch(first, one) == f"its {RECORD} cannot be read"
    (one / RECORD).write_text(json.dumps({"digest": first.digest, "key": {}}))
    assert mismatch(first, one).startswith(f"its {RECORD} is of an older version")
    (one / RECORD).unlink()
    assert mismatch(first, one) == f"there is no {RECORD}"


def changed(config: BenchmarkConfig, **blocks: Any) -> BenchmarkConfig:
    value = config.model_dump(mode="json")
    for path, given in blocks.items():
        *way, last = path.split("__")
        block = value
        for part in way:
            block = block[part]
        block[last] = given
    return BenchmarkConfig.model_validate(value)


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        ({"data__phantom_acdc__prepare": {"size": [32, 48]}}, "prepared with other values of size"),
        ({"data__phantom_acdc__split__val": 2}, "was made with val 1, not 2"),
        ({"data__phantom_acdc__split__test": 2}, "was made with test 1, not 2"),
        ({"data__phantom_acdc__split__seed": 5}, "was made with seed 0, not 5"),
        ({"data__phantom_acdc__split__folds": 2}, "was made with folds 1, not 2"),
    ],
)
def test_data_and_split_of_other_parameters_are_refused(
    flat: Path, blocks: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        resolve(changed(make_config(), **blocks), "phantom_acdc", "supervised", flat)


@pytest.mark.parametrize(
    ("method", "labels", "words"),
    [
        ("supervised", [2, 99], "99 labelled patients were asked for, 1 to 4 are possible"),
        ("mean_teacher", [2, 4], "labels: 4 are all training patients of fold 0"),
    ],
)
def test_labelled_counts_are_checked_before_anything_is_trained(
    flat: Path, method: str, labels: list[int], words: str
) -> None:
    """Six patients, of whom one validates and one tests."""
    with pytest.raises(BenchError, match=words):
        resolve(
            changed(make_config(), data__phantom_acdc__labels=labels), "phantom_acdc", method, flat
        )
    whole = changed(make_config(), data__phantom_acdc__labels=[4])
    assert [run.key.labels for run in resolve(whole, "phantom_acdc", "supervised", flat)] == [4]


def test_data_and_split_of_another_data_set_are_refused(
    trained: tuple[Path, list[Run]],
) -> None:
    root, _ = trained
    whole = make_config()
    other = changed(
        whole,
        grid__datasets=["acdc"],
        data={"acdc": whole.data["phantom_acdc"].model_dump(mode="json")},
    )
    shutil.copytree(
        prepared_folder(root, "small", "phantom_acdc"), prepared_folder(root, "small", "acdc")
    )
    shutil.copy(split_file(root, "small", "phantom_acdc"), split_file(root, "small", "acdc"))
    with pytest.raises(DataError, match="is of phantom_acdc, not of acdc"):
        resolve(other, "acdc", "supervised", root)


def test_raw_data_that_grew_are_noticed_by_what_uses_them(
    trained: tuple[Path, list[Run]],
) -> None:
    root, _ = trained
    folder = root / "data/raw/phantom_acdc"
    note = prepared_folder(root, "small", "phantom_acdc").with_name("phantom_acdc.raw.json")
    value = json.loads(note.read_text())
    write_json(note, value | {"raw": str(folder)})
    for files in value["files"].values():
        for file in files:
            file["path"] = str(folder / Path(file["path"]).relative_to(value["raw"]))
    write_json(note, value | {"raw": str(folder)})
    resolve(two_seeds(), "phantom_acdc", "supervised", root)
    shutil.copytree(folder / "patient001", folder / "patient099")
    for path in (folder / "patient099").iterdir():
        path.rename(path.with_name(path.name.replace("001", "099")))
    with pytest.raises(DataError, match=r"2 added \(patient099.*prepare phantom_acdc"):
        evaluate(two_seeds(), "phantom_acdc", "supervised", Place(root, "cpu"))


def test_finished_runs_are_scored_while_others_are_missing_and_not_again_after(
    trained: tuple[Path, list[Run]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, (first, _) = trained
    config, place, scored = two_seeds(), Place(root, "cpu"), list[int]()
    grid = config.grid.model_copy(update={"methods": ("supervised",)})
    config = config.model_copy(update={"grid": grid})
    score = evaluate_module._score

    def noted(trained: Trained, case: Case, probability: Tensor) -> list[Row]:
        scored.append(trained.run.key.seed)
        return score(trained, case, probability)

    monkeypatch.setattr(evaluate_module, "_score", noted)
    record = first.key.folder(root) / RECORD
    body = record.read_bytes()
    record.unlink()
    with pytest.raises(RunError, match=r"there is no run\.json"):
        evaluate_dataset(config, "phantom_acdc", place)
    folder = evaluate_dataset(config, "phantom_acdc", place, partial=True) / "supervised"
    assert set(pd.read_csv(folder / "cases.csv")["seed"]) == set(scored) == {1}

    record.write_bytes(body)
    scored.clear()
    evaluate_dataset(config, "phantom_acdc", place)
    assert set(scored) == {0}
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    for damage in (folder / "cases.csv", None):  # a changed file, then none at all
        if damage:
            damage.write_text(damage.read_text().replace("1", "2", 1))
        else:
            shutil.rmtree(folder)
        scored.clear()
        evaluate_dataset(config, "phantom_acdc", place)
        assert set(scored) == {0, 1}
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == after


def test_nothing_finished_is_nothing_to_score(trained: tuple[Path, list[Run]]) -> None:
    """An empty folder of scores would send `report --partial` back here."""
    root, _ = trained
    config = two_seeds()
    grid = config.grid.model_copy(update={"seeds": (7,), "methods": ("supervised", "bcp")})
    config = config.model_copy(update={"grid": grid})
    command = "python -m benchmarks run phantom_acdc supervised`"
    with pytest.raises(RunError, match=f"no run of phantom_acdc .* finished .*{command}"):
        evaluate_dataset(config, "phantom_acdc", Place(root, "cpu"), partial=True)


def test_scores_tell_what_their_runs_were_made_with(trained: tuple[Path, list[Run]]) -> None:
    root, _ = trained
    config = two_seeds()
    folder = evaluate(config, "phantom_acdc", "supervised", Place(root, "cpu"))
    assert broken_seal(folder) == ""
    # Of the method's own file too: runs that older code trained alike may be predicted otherwise.
    code = read_json(folder / SCORED)["code"]
    assert code == scoring_digest(root, "phantom_acdc", "supervised")
    assert code != scoring_digest(root, "phantom_acdc", "mean_teacher")
    assert stale_words(root, config, "phantom_acdc", "supervised") == ""
    longer = changed(config, train__iterations=3)
    assert "parameters" in stale_words(root, longer, "phantom_acdc", "supervised")
    for path in (
        split_file(root, "small", "phantom_acdc"),
        prepared_folder(root, "small", "phantom_acdc") / "dataset.json",
    ):
        before = path.read_text()
        write_json(path, json.loads(before) | {"digest": "0ther"})
        assert "other" in stale_words(root, config, "phantom_acdc", "supervised")
        path.write_text(before)


def test_a_report_refuses_parameters_that_its_runs_did_not_have(
    trained: tuple[Path, list[Run]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of kept tables, of which it knows the split, and the arrays where they are the same."""
    leave_figures_undrawn(monkeypatch)
    root, _ = trained
    config = changed(two_seeds(), grid__methods=["supervised"])
    evaluate(config, "phantom_acdc", "supervised", Place(root, "cpu"))
    build_report(config, root=root)
    edits = {"split__seed": (5, "made with seed 0, not 5"), "prepare": ({"size": [40, 40]}, "size")}
    for name, (value, words) in edits.items():
        edited = changed(config, **{f"data__phantom_acdc__{name}": value})
        for way in ("", "partial", "kept"):
            with pytest.raises(DataError, match=words):
                build_report(edited, root=root, partial=way == "partial", kept=way == "kept")
        with pytest.raises(DataError, match=words):
            join_rows(edited, Source(root))
        with pytest.raises(DataError, match=words):
            write_release(edited, root / "release", Source(root))
    with pytest.raises(RunError, match=r"parameters of training or method .*: supervised\. Put"):
        build_report(changed(config, train__iterations=3), root=root, kept=True)
    (prepared_folder(root, "small", "phantom_acdc") / "dataset.json").unlink()
    build_report(edited, root=root, kept=True)  # of arrays that are not here
    file = split_file(root, "small", "phantom_acdc")
    write_json(file, json.loads(file.read_text()) | {"digest": "0ther"})
    with pytest.raises(RunError, match="another split of phantom_acdc"):
        build_report(config, root=root, kept=True)
    file.unlink()
    build_report(config, root=root, kept=True)


@pytest.mark.parametrize("what", ["link", "file"])
def test_a_link_or_file_in_place_of_a_run_is_refused_before_the_work(
    trained: tuple[Path, list[Run]], what: str
) -> None:
    root, (run, _) = trained
    folder = run.key.folder(root)
    shutil.rmtree(folder)
    if what == "link":
        folder.symlink_to(root / "nowhere")
    else:
        folder.write_text("")
    with pytest.raises(StorageError, match="link or file in place of a run's folder"):
        train_runs([run], Place(root, "cpu"), jobs=1)


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ({"patch": [16, 16, 16]}, r"train\.patch has 3 axes, phantom_acdc needs 2"),
        ({"patch": [24, 30]}, "multiples of 8"),
        ({"network": {"kind": "smp", "encoder": "resnet"}}, "encoder"),
    ],
)
def test_networks_and_patches_that_do_not_fit_the_data(
    flat: Path, tmp_path: Path, train: dict[str, Any], words: str
) -> None:
    for part in ("data", "datasets", "benchmarks", "methods"):
        (tmp_path / part).symlink_to(flat / part)
    with pytest.raises(BenchError, match=words) as seen:
        runs = resolve(make_config(**train), "phantom_acdc", "supervised", tmp_path)
        train_runs(runs, Place(tmp_path, "cpu"), jobs=1)
    assert "Traceback" not in str(seen.value)
    assert isinstance(seen.value, ConfigError | RunError)
