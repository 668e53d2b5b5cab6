"""Corrupted files of every kind: each is refused in a sentence, or the results have the same bits.

`make chaos` does it to 2,000 files and writes reports/reliability/corruptions.csv.
"""

from __future__ import annotations

import json
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from benchmarks.common import files
from benchmarks.common.errors import BenchError, Interrupted
from benchmarks.common.workspace import CASES, prepared_folder, scores_folder, split_file
from benchmarks.config import BenchmarkConfig, load_config
from benchmarks.engine.state import STATE
from benchmarks.engine.trainer import Trainer
from benchmarks.plan.resolve import Run, _loaded, _opened, open_job, resolve
from benchmarks.report.facts import collect_facts
from benchmarks.report.groups import read_groups
from benchmarks.report.load import Source, load_cases
from benchmarks.report.provenance import read_provenance
from benchmarks.scoring.evaluate import evaluate
from benchmarks.training.many import train_runs
from benchmarks.training.one import Place
from datasets import load_dataset
from datasets.preparing.checks import inspect_case
from datasets.preparing.store import open_prepared
from datasets.reading.description import read_description
from tests.engine.small import QUIET, build, make_config, stop_at, weights
from tests.noting import FOLDER, replace_row

CPU = torch.device("cpu")
DATASET, METHOD = "phantom_acdc", "mean_teacher"  # reads unlabelled images too
# Numbers that some reader takes for others, and what is no number.
ODD = (
    "-1", "0", "1e300", "nan", "true", "010", "no", "null", "[]", "{}", "'x'", "9" * 30, "1.5",
    "[1, 2, 3]", "..", "/", "\x00", "ä",
)  # fmt: skip
DESCRIPTION = {
    "channel_names": {"0": "MRI", "1": "CT"},
    "labels": {"background": 0, "liver": 1, "tumour": 2},
    "numTraining": 6,
    "file_ending": ".nii.gz",
}


@dataclass(frozen=True)
class Sound:
    """A small finished benchmark with two runs, and what its commands give.

    Attributes:
        root: the checkout.
        config: of the benchmark.
        runs: both seeds.
        stopped: folder of a run that was stopped, beside it that run finished.
        scores: bytes of the case table.
        tables: all that the report reads.
    """

    root: Path
    config: BenchmarkConfig
    runs: list[Run]
    stopped: Path
    whole: Path
    scores: bytes
    tables: list[pd.DataFrame]

    @property
    def place(self) -> Place:
        return Place(self.root, "cpu")

    @property
    def table(self) -> Path:
        return scores_folder(self.root, self.config.name, DATASET, METHOD) / CASES


def tables(config: BenchmarkConfig, root: Path) -> list[pd.DataFrame]:
    facts, source = collect_facts(config), Source(root)
    found = [load_cases(config, facts, source), read_groups(config, facts, source)]
    return [
        frame for frame in [*found, read_provenance(config, facts, source)] if frame is not None
    ]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Sound:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("sound")
    whole = make_config(iterations=4)
    grid = whole.grid.model_copy(update={"methods": (METHOD,), "seeds": (0, 1)})
    config = whole.model_copy(update={"grid": grid, "methods": {METHOD: {}}})
    build(root, config)
    (root / "params.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    (root / "described").mkdir()
    (root / "described/dataset.json").write_text(json.dumps(DESCRIPTION))
    runs = resolve(config, DATASET, METHOD, root)
    train_runs(runs, Place(root, "cpu"), jobs=1)
    table = evaluate(config, DATASET, METHOD, Place(root, "cpu")) / CASES
    stopped, finished = root / "stopped", root / "whole"
    for folder in (stopped, finished):
        folder.mkdir()
    Trainer(open_job(runs[0], root, finished), CPU, QUIET).train()
    with pytest.raises(Interrupted):
        Trainer(open_job(runs[0], root, stopped), CPU, stop_at(2)).train()
    scores = table.read_bytes()
    return Sound(root, config, runs, stopped, finished, scores, tables(config, root))


def read_params(sound: Sound, path: Path) -> bool:
    """Another configuration must be noticed by what was made with the old one."""
    config = load_config(path)
    same = config == sound.config
    if not same:
        train_or_read(sound, config)
    return True


def train_or_read(sound: Sound, config: BenchmarkConfig) -> None:
    for dataset in config.grid.datasets:
        for method in config.grid.methods:
            evaluate(config, dataset, method, sound.place)
    if config.name == sound.config.name:
        tables(config, sound.root)


def read_described(sound: Sound, path: Path) -> bool:
    """Names may be others; which value is which class must not."""
    del sound
    found = read_description(path.parent)
    names = sorted(found.labels, key=lambda name: found.labels[name])
    return len(names) == 3 and names[0].lower() == "background" and len(found.channels) == 2


def read_raw(sound: Sound, path: Path) -> bool:
    adapter = load_dataset(DATASET)
    params = adapter.Params.model_validate(sound.config.data[DATASET].prepare)
    for case in adapter.scan(sound.root / "data/raw" / DATASET, params):
        if path in (*case.images, case.label):
            inspect_case(adapter, params, case)  # what is wrong is told, not raised
    return score(sound, path)


def score(sound: Sound, path: Path) -> bool:
    """Load all that training and scoring read."""
    del path
    runs = resolve(sound.config, DATASET, METHOD, sound.root)
    if runs != sound.runs:
        return False
    for run in runs:
        trainer = Trainer(open_job(run, sound.root, sound.root / "none"), CPU, QUIET)
        trainer.score_validation()
        trainer.loader.close()
    evaluate(sound.config, DATASET, METHOD, sound.place)
    return sound.table.read_bytes() == sound.scores


def read_index(sound: Sound, path: Path) -> bool:
    before = open_prepared(path.parent)
    return before.digest == sound.runs[0].data and score(sound, path)


def resume(sound: Sound, path: Path) -> bool:
    """A damaged state is set aside with a warning, and the run ends with the same bits."""
    run = sound.runs[0]
    folder = path.parent
    Trainer(open_job(run, sound.root, folder), CPU, QUIET).train()
    same = weights(folder) == weights(sound.whole)
    log = "metrics.jsonl"
    return same and (folder / log).read_bytes() == (sound.whole / log).read_bytes()


def report(sound: Sound, path: Path) -> bool:
    del path
    found = tables(sound.config, sound.root)
    return all(a.equals(b) for a, b in zip(found, sound.tables, strict=True))


Probe = Callable[[Sound, Path], bool]


def folder_of(sound: Sound, seed: int) -> Path:
    return sound.runs[seed].key.folder(sound.root)


@dataclass(frozen=True)
class Kind:
    """Files of one kind.

    Attributes:
        files: those that are corrupted.
        probe: reads them as the commands do; False if what comes out is different.
        count: of corruptions in the long version.
        text: the file is text, so that values in it are changed too.
    """

    files: Callable[[Sound], list[Path]]
    probe: Probe
    count: int
    text: bool = False


def found(sound: Sound, pattern: str) -> list[Path]:
    return sorted(p for p in sound.root.glob(pattern) if p.is_file())


def prepared(sound: Sound, name: str) -> list[Path]:
    return sorted(prepared_folder(sound.root, "small", DATASET).glob(name))


KINDS = {
    "params.yaml": Kind(lambda s: [s.root / "params.yaml"], read_params, 350, text=True),
    "dataset.json (nnU-Net)": Kind(
        lambda s: [s.root / "described/dataset.json"], read_described, 200, text=True
    ),
    "raw image": Kind(lambda s: found(s, "data/raw/*/*/*_frame??.nii.gz"), read_raw, 150),
    "raw mask": Kind(lambda s: found(s, "data/raw/*/*/*_gt.nii.gz"), read_raw, 150),
    "prepared image": Kind(lambda s: prepared(s, "*/image.npy"), score, 100),
    "prepared mask": Kind(lambda s: prepared(s, "*/label.npy"), score, 100),
    "prepared reference": Kind(lambda s: prepared(s, "*/reference.npy"), score, 100),
    "prepared index": Kind(lambda s: prepared(s, "dataset.json"), read_index, 150, text=True),
    "split": Kind(lambda s: [split_file(s.root, "small", DATASET)], score, 150, text=True),
    "run.json": Kind(
        lambda s: [folder_of(s, n) / "run.json" for n in (0, 1)], score, 150, text=True
    ),
    "metrics.jsonl": Kind(
        lambda s: [folder_of(s, n) / "metrics.jsonl" for n in (0, 1)], score, 50, text=True
    ),
    "weights": Kind(
        lambda s: [folder_of(s, n) / f"{c}.safetensors" for n in (0, 1) for c in ("last", "best")],
        score, 100,
    ),
    "state": Kind(lambda s: [s.stopped / STATE], resume, 50),
    "log of a stopped run": Kind(lambda s: [s.stopped / "metrics.jsonl"], resume, 50, text=True),
    "scores": Kind(lambda s: sorted(s.table.parent.iterdir()), report, 150, text=True),
}  # fmt: skip


def corrupted(data: bytes, other: bytes, rng: np.random.Generator, *, text: bool) -> bytes:
    """Bytes with one of the damages that disks, copies and people do."""
    changed, size = bytearray(data), len(data)
    kind = int(rng.integers(8 if text else 6))
    place = int(rng.integers(size))
    if kind == 0:
        changed[place] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        for index in rng.integers(size, size=8):
            changed[index] = int(rng.integers(256))
    elif kind == 2:
        return data[:place]
    elif kind == 3:
        changed[place : place + 512] = bytes(len(changed[place : place + 512]))
    elif kind == 4:
        return data + rng.bytes(int(rng.integers(1, 64)))
    elif kind == 5:
        return other
    elif kind == 6:
        values = list(re.finditer(rb"-?\d+\.?\d*|true|false|null|\w+", data))
        chosen = values[int(rng.integers(len(values)))]
        odd = ODD[int(rng.integers(len(ODD)))].encode()
        return data[: chosen.start()] + odd + data[chosen.end() :]
    else:
        lines = data.splitlines(keepends=True)
        lines.insert(int(rng.integers(len(lines))), lines[int(rng.integers(len(lines)))])
        return b"".join(lines)
    return bytes(changed)


@contextmanager
def restored(sound: Sound, path: Path) -> Iterator[None]:
    """Undo what a probe and a corruption did."""
    folders = [path.parent, sound.table.parent]
    kept = {p: p.read_bytes() for f in folders for p in f.iterdir() if p.is_file()}
    try:
        yield
    finally:
        for folder in folders:
            for other in folder.iterdir():
                if other.is_file() and other not in kept:
                    other.unlink()
        for place, content in kept.items():
            if not place.is_file() or place.read_bytes() != content:
                place.write_bytes(content)


def outcome(kind: Kind, sound: Sound, path: Path) -> str:
    """What came of a corrupted file: `refused`, `harmless`, `silent`, or the error nobody wants."""
    files._digest_of_state.cache_clear()  # every command looks for itself
    _opened.cache_clear()
    _loaded.cache_clear()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return "harmless" if kind.probe(sound, path) else "silent"
    except BenchError as error:
        clear = str(error).strip() and "Traceback" not in str(error)
        return "refused" if clear else "unclear"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def run(kind: Kind, sound: Sound, count: int, seed: int) -> tuple[Counter[str], list[Any]]:
    """Corrupt files of a kind; counts outcomes and keeps what went wrong."""
    rng, counted, wrong = np.random.default_rng(seed), Counter[str](), []
    places = kind.files(sound)
    while counted.total() < count:
        path, other = (places[int(n)] for n in rng.integers(len(places), size=2))
        before = path.read_bytes()
        data = corrupted(before, other.read_bytes(), rng, text=kind.text)
        if data == before:
            continue
        with restored(sound, path):
            path.write_bytes(data)
            what = outcome(kind, sound, path)
        known = what in {"refused", "harmless"}
        counted[what if known or what == "silent" else "traceback"] += 1
        if not known:
            wrong.append((path.name, what, data[:4000]))
    return counted, wrong


@pytest.mark.parametrize("name", KINDS)
def test_sound_files_are_read(name: str, sound: Sound) -> None:
    path = KINDS[name].files(sound)[0]
    with restored(sound, path):
        assert outcome(KINDS[name], sound, path) == "harmless"


@pytest.mark.parametrize("name", KINDS)
def test_a_few_corruptions_of_every_kind(name: str, sound: Sound) -> None:
    counted, wrong = run(KINDS[name], sound, 4, seed=1)
    assert wrong == []
    assert counted.total() == 4


@pytest.mark.chaos
@pytest.mark.parametrize("name", KINDS)
def test_many_corruptions_of_every_kind(name: str, sound: Sound) -> None:
    counted, wrong = run(KINDS[name], sound, KINDS[name].count, seed=2)
    outcomes = ("refused", "harmless", "silent", "traceback")
    replace_row(FOLDER / "corruptions.csv", {"file": name, **{k: counted[k] for k in outcomes}})
    assert wrong == []


def test_two_thousand_are_planned() -> None:
    assert sum(kind.count for kind in KINDS.values()) == 2000
