"""How the preset's learning rate and iterations were chosen: by the labelled-only baseline alone.

    python -m benchmarks.presets.acdc_cpu.select_baseline

trains the baseline with 3 labelled patients at each learning rate, for the preset's iterations and
for twice as many, and writes the validation Dice to reports/acdc_cpu/baseline_selection.csv. No
test patient is read. Rule: of the rates whose mean Dice changes by less than 0.02 when the
iterations are doubled, the one with the highest Dice.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from benchmarks.config import BenchmarkConfig, check, load_config
from benchmarks.files import read_json, write_text
from benchmarks.grid import prepared_folder, split_file
from benchmarks.resolve import RECORD, resolve
from benchmarks.run import Place, run_cells
from datasets import load_dataset
from datasets.prepare import prepare
from datasets.split import make_split, patients_of, save_split

ROOT = Path(__file__).resolve().parents[3]
RATES = (0.02, 0.05, 0.1)
SEEDS = (0, 1)


def variant(config: BenchmarkConfig, *, rate: float, doublings: int) -> BenchmarkConfig:
    """The preset with another learning rate and number of iterations, baseline only."""
    value = config.model_dump(mode="json")
    iterations = config.train.iterations * 2**doublings
    value["name"] = f"{config.name}_lr{round(1000 * rate)}_{iterations}"
    value["grid"] |= {"methods": [config.grid.baseline], "seeds": SEEDS}
    value["data"]["acdc"]["labels"] = [3]
    value["train"]["iterations"] = iterations
    value["train"]["optimizer"]["lr"] = rate
    return check(BenchmarkConfig, value)


def validation_dice(config: BenchmarkConfig) -> list[tuple[float, int, int, float]]:
    """Train the variant; rows of learning rate, iterations, seed, validation Dice at the end."""
    adapter, block = load_dataset("acdc"), config.data["acdc"]
    raw = ROOT / "data" / "raw" / "acdc"
    params = check(adapter.Params, block.prepare)
    data = prepare(adapter, raw, prepared_folder(ROOT, config, "acdc"), params, jobs=2)
    split = make_split(patients_of(data), "acdc", block.split, adapter.public_splits())
    save_split(split, split_file(ROOT, config, "acdc"))
    (method,) = config.grid.methods
    wanted = resolve(config, "acdc", method, ROOT)
    run_cells(config, wanted, Place(ROOT))
    train, rows = config.train, []
    for run in wanted:
        last = read_json(run.key.folder(ROOT) / RECORD)["position"]["validations"]
        dice = last[str(train.iterations)]
        rows.append((train.optimizer.lr, train.iterations, run.key.seed, round(dice, 6)))
    return rows


def main() -> None:
    """Train all variants and write the table."""
    config = load_config(Path(__file__).with_name("params.yaml"))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("learning_rate", "iterations", "seed", "validation_dice"))
    for rate in RATES:
        for doublings in (0, 1):
            writer.writerows(validation_dice(variant(config, rate=rate, doublings=doublings)))
    write_text(ROOT / "reports" / config.name / "baseline_selection.csv", text.getvalue())


if __name__ == "__main__":
    main()
