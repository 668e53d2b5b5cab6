"""Does the procedure keep its promises? Simulated benchmarks with known effects.

python -m benchmarks.statistics.simulate [--benchmarks 1000]

A score is patient + method x patient + run + noise, with spreads as seen between networks of one
method on ACDC at CPU size. Under no effect, any word other than "inconclusive" or "equivalent" in
the whole family of contrasts is a false positive; under an effect, intervals must cover it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.config import ContrastConfig
from benchmarks.files import write_text
from benchmarks.statistics.contrasts import compare

_METHODS = ("a0", "a3b", "a5", "a6", "a7")
_PAIRS = (("a5", "a3b"), ("a6", "a5"), ("a6", "a7"), ("a6", "a0"))
CONTRASTS = tuple(ContrastConfig(name=f"{a} - {b}", better=a, than=b) for a, b in _PAIRS)


@dataclass(frozen=True)
class Scenario:
    """Spreads in Dice and size of a simulated benchmark.

    Attributes:
        name: of the scenario.
        effect: of a5 and a6 over the others.
        patients: tested.
        seeds: runs per method.
        patient: standard deviation between patients, common to all methods.
        response: between patients in how they respond to a method.
        run: between runs of a method, common to all patients of the run.
        noise: of a patient in a run.
        wild: how much more than the others the runs of a7 vary.
    """

    name: str
    effect: float = 0.0
    patients: int = 20
    seeds: int = 3
    patient: float = 0.10
    response: float = 0.01
    run: float = 0.005
    noise: float = 0.03
    wild: float = 1.0


SCENARIOS = (
    Scenario("no effect"),
    Scenario("no effect, unstable runs", run=0.02),
    Scenario("no effect, 5 seeds, unstable runs", seeds=5, run=0.02),
    Scenario("no effect, one method unstable", wild=4.0),
    Scenario("effect of 3 points", effect=0.03),
    Scenario("effect of 3 points, unstable runs", effect=0.03, run=0.02),
)


@dataclass(frozen=True)
class Rates:
    """What came out of one scenario.

    Attributes:
        scenario: name.
        benchmarks: simulated.
        false_positive: share of benchmarks with at least one wrong word.
        found: share of contrasts with an effect that are called superior; NaN without effect.
        coverage: share of intervals over runs and patients that cover the truth.
        coverage_patients: share of Hodges-Lehmann intervals that do.
    """

    scenario: str
    benchmarks: int
    false_positive: float
    found: float
    coverage: float
    coverage_patients: float


def draw_cases(scenario: Scenario, generator: np.random.Generator) -> pd.DataFrame:
    """One simulated case table."""
    s, g = scenario, generator
    m, r, n = len(_METHODS), s.seeds, s.patients
    effect = np.array([s.effect if name in {"a5", "a6"} else 0.0 for name in _METHODS])
    run = s.run * np.where(np.array(_METHODS) == "a7", s.wild, 1.0)
    score = (
        0.7
        + effect[:, None, None]
        + s.patient * g.standard_normal((1, 1, n))
        + s.response * g.standard_normal((m, 1, n))
        + run[:, None, None] * g.standard_normal((m, r, 1))
        + s.noise * g.standard_normal((m, r, n))
    )
    names, seeds, patients = np.meshgrid(_METHODS, np.arange(r), np.arange(n), indexing="ij")
    columns = {"method": names, "seed": seeds, "patient": patients, "dice": score}
    frame = pd.DataFrame({key: value.ravel() for key, value in columns.items()})
    return frame.assign(dataset="simulated", variant="", labels=7, fold=0, checkpoint="last")


def rates(scenario: Scenario, *, benchmarks: int, seed: int = 0) -> Rates:
    """Error and coverage rates of one scenario.

    Args:
        scenario: what is drawn.
        benchmarks: number of simulated benchmarks.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    wrong, found, covered, covered_patients = [], [], [], []
    truth = {name: scenario.effect * (name in {"a5", "a6"}) for name in _METHODS}
    for _ in range(benchmarks):
        results = compare(draw_cases(scenario, generator), CONTRASTS)
        bad = False
        for r in results:
            true = truth[r.better] - truth[r.than]
            if true > 0:
                found.append(r.outcome == "superior")
                bad |= r.outcome == "inferior"
            else:
                bad |= r.outcome in {"superior", "inferior"}
            covered.append(r.low <= true <= r.high)
            covered_patients.append(r.shift_low <= true <= r.shift_high)
        wrong.append(bad)
    return Rates(
        scenario.name,
        benchmarks,
        float(np.mean(wrong)),
        float(np.mean(found)) if found else float("nan"),
        float(np.mean(covered)),
        float(np.mean(covered_patients)),
    )


def main() -> None:
    """Simulate all scenarios and write `reports/statistics/calibration.csv`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--benchmarks", type=int, default=1000)
    count = parser.parse_args().benchmarks
    target = Path(__file__).parents[2] / "reports" / "statistics" / "calibration.csv"
    rows = []
    for scenario in SCENARIOS:
        rows.append(rates(scenario, benchmarks=count))
        print(rows[-1])  # noqa: T201
    write_text(target, pd.DataFrame(rows).to_csv(index=False, float_format="%.4f"))
    print(target)  # noqa: T201


if __name__ == "__main__":
    main()
