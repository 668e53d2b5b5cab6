"""Trains small runs for `test_same_bits.py`, with this commit or an old one, and prints digests.

Called in the root of a checkout: `python FILE FOLDER SETTINGS`, with a file of settings as
`test_same_bits.py` writes it. Only names that both commits have are used.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path.cwd()))

import torch

from benchmarks.engine.trainer import Trainer
from tests.engine.small import QUIET, build, job_of, make_config, weights

DATASETS = {2: "phantom_acdc", 3: "phantom_brats2019"}


def main(folder: Path, settings: list[dict[str, Any]]) -> None:
    """Train every setting for a few steps, and print a JSON line for each."""
    torch.set_num_threads(1)
    for ndim, dataset in DATASETS.items():
        build(folder / f"{ndim}d", make_config(dataset))
    for one in settings:
        root, method = folder / f"{one['ndim']}d", one["method"]
        config = make_config(DATASETS[one["ndim"]], **one["train"])
        blocks = {**config.methods, method: one["params"]}
        config = config.model_copy(update={"methods": blocks})
        run = folder / "run"
        done = Trainer(job_of(root, run, method, config), torch.device("cpu"), QUIET).train()
        seen = {"validations": list(done.validations.values())}  # by what the method predicts
        sys.stdout.write(json.dumps({"name": one["name"], **weights(run), **seen}) + "\n")
        sys.stdout.flush()
        shutil.rmtree(run)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()))
