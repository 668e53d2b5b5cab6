"""Waits of every method's step, for `test_before.py`: of this commit or of an old one.

Called in the root of a checkout: `python FILE FOLDER`; writes rows of method and wait as CSV.
"""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path

sys.path.insert(0, str(Path.cwd()))

from benchmarks.engine import loader
from methods import method_ids
from tests.engine.small import build, make_config

RECORDER = Path(__file__).parents[1] / "engine" / "test_waiting.py"


def main(folder: Path) -> None:
    """Record each method of the checkout with this commit's recorder."""
    spec = importlib.util.spec_from_file_location("recorder", RECORDER)
    assert spec is not None and spec.loader is not None
    recorder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recorder)
    vars(recorder)["CHECKOUT"] = Path.cwd()
    if hasattr(loader, "resident_on"):
        loader.resident_on = lambda *_: True  # as on a GPU
    build(folder, make_config())
    out = csv.writer(sys.stdout)
    for method in method_ids():
        found = recorder.recorded(folder, folder / method, method, "phantom_acdc", None)
        for place, count in sorted(found.items()):
            out.writerow([method, *place.split(" ", 1), count])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
