"""Does the rule keep its promises? Its error rates on the benchmarks of `scenarios`.

Every method but the first is compared with the first, by the very functions behind `rule.compare`;
the rates of its words and of its tests are counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.common.files import write_text
from benchmarks.statistics.inference import (
    ALPHA,
    MARGIN,
    Decision,
    Estimate,
    between_folds,
    crossed,
    decide,
    pooled,
    squares,
)
from benchmarks.statistics.pairs import Values
from benchmarks.statistics.scenarios import (
    AT_96_NAME,
    Scenario,
    correlated,
    draw,
    effects,
    scenarios,
)

CALIBRATION = "calibration.csv"
_CHUNK = 100
OVERLAP_HEADER = (
    "Scenario", "95 % intervals that hold the difference", "Benchmarks with a wrong word",
)  # fmt: skip

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Rates:
    """What came out of one scenario; shares in [0, 1], NaN where nothing can be counted.

    Attributes:
        scenario: name.
        labels: labelled patients.
        design: crossed or cross-validation.
        runs: as the rule counts them.
        seeds: in every run.
        patients: in all.
        methods: with the baseline.
        effect: of every second method.
        benchmarks: simulated.
        test_false: share of comparisons without an effect whose uncorrected p is below 0.05.
        word_false: share of comparisons without an effect that are called better or worse.
        family_test: share of benchmarks with a corrected p below 0.05 without an effect, or
            against it, in any table that was read; counted for pilots too.
        family_word: the same of words; 0 for pilots, which are given none.
        power_test: share of effects with an uncorrected p below 0.05 in their direction.
        power_word: share of effects that are called better.
        equivalent: share of comparisons without an effect that are called equivalent.
        equivalent_false: share of effects of the margin or more that are called equivalent.
        coverage: share of 95 % intervals that hold the truth.
        detectable: mean of the printed detectable difference.
    """

    scenario: str
    labels: int
    design: str
    runs: int
    seeds: int
    patients: int
    methods: int
    effect: float
    benchmarks: int
    test_false: float
    word_false: float
    family_test: float
    family_word: float
    power_test: float
    power_word: float
    equivalent: float
    equivalent_false: float
    coverage: float
    detectable: float


def judged(s: Scenario, scores: Values, looks: int = 1) -> tuple[Estimate, Decision]:
    """The rule on simulated scores; arrays are (benchmarks, methods - 1)."""
    runs = scores.mean(3)  # seeds
    d = runs[:, 1:] - runs[:, :1]
    if s.design == "cross-validation":
        e = between_folds(d.mean(-1), d.reshape(*d.shape[:2], -1))
    elif s.methods > 2:
        common = pooled(runs.mean(-1), s.patients)
        e = crossed(squares(d), replace(common, square=common.square[:, None]))
    else:
        e = crossed(squares(d))
    return e, decide(e, runs=runs.shape[2], looks=looks)


def rates(s: Scenario, *, benchmarks: int, seed: int = 0) -> Rates:
    """Error rates, power and coverage of one scenario.

    Args:
        s: what is drawn.
        benchmarks: number of simulated benchmarks.
        seed: of the draws.
    """
    g = np.random.default_rng(seed)
    sizes = [_CHUNK] * (benchmarks // _CHUNK) + [benchmarks % _CHUNK] * (benchmarks % _CHUNK > 0)
    parts = [_counted(s, draw(s, size, g)) for size in sizes]
    counted = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    truth = effects(s)[1:]
    null, real = truth == 0, truth > 0

    def share(name: str, chosen: NDArray[np.bool_]) -> float:
        return float(counted[name][:, chosen].mean()) if chosen.any() else float("nan")

    return Rates(
        scenario=s.name,
        labels=s.labels,
        design=s.design,
        runs=s.runs,
        seeds=s.seeds,
        patients=s.patients,
        methods=s.methods,
        effect=s.effect,
        benchmarks=benchmarks,
        test_false=share("p", null),
        word_false=share("word", null),
        family_test=float(counted["wrong_p"].any(1).mean()),
        family_word=float(counted["wrong_word"].any(1).mean()),
        power_test=share("right_p", real),
        power_word=share("right_word", real),
        equivalent=share("equivalent", null),
        equivalent_false=share("equivalent", truth >= MARGIN),
        coverage=share("covered", np.full(len(truth), True)),
        detectable=share("detectable", np.full(len(truth), True)),
    )


def _counted(s: Scenario, scores: Values) -> dict[str, NDArray[np.generic]]:
    """(benchmarks, comparisons) what the rule said and whether it was right."""
    truth = effects(s)[1:]
    wrong_p = np.zeros((len(scores), s.methods - 1), bool)
    wrong_word = wrong_p.copy()
    for look, runs in enumerate((*s.read, s.runs), 1):
        e, d = judged(s, scores[:, :, :runs], look)
        right, better, worse = e.mean > 0, d.outcome == "better", d.outcome == "worse"
        wrong_way = (truth == 0) | ~right
        wrong_p |= (d.p_holm < ALPHA) & wrong_way
        wrong_word |= (better | worse) & wrong_way
    return {
        "p": d.p < ALPHA,
        "word": better | worse,
        "wrong_p": wrong_p,
        "wrong_word": wrong_word,
        "right_p": (d.p < ALPHA) & right,
        "right_word": better,
        "equivalent": d.outcome == "equivalent",
        "covered": (d.low <= truth) & (truth <= d.high),
        "detectable": d.detectable,
    }


def simulate_all(
    benchmarks: int = 1000, seed: int = 0, progress: Progress | None = None
) -> list[Rates]:
    """Rates of all scenarios.

    Args:
        benchmarks: simulated in each.
        seed: of the draws.
        progress: called with the name of a scenario, its number from 1, and the number of all.
    """
    wanted, found = scenarios(), []
    for number, s in enumerate(wanted, 1):
        if progress:
            progress(f"{s.labels} labelled, {s.name}", number, len(wanted))
        found.append(rates(s, benchmarks=benchmarks, seed=seed))
    return found


def overlap_rows(found: list[Rates]) -> tuple[tuple[str, ...], ...]:
    """What folds that share training patients cost, at the variances of the committed table.

    Args:
        found: rates of all scenarios.

    Returns:
        Rows under `OVERLAP_HEADER`.
    """
    of = [r for r in found if r.scenario.startswith(AT_96_NAME) and "effect" not in r.scenario]
    return tuple((r.scenario, f"{r.coverage:.3f}", f"{r.family_word:.3f}") for r in of)


def read_coverage(path: Path, common: float) -> float | None:
    """Share of 95 % intervals of ten folds at 96 pixels that hold the difference.

    Args:
        path: of committed rates; None is returned without them.
        common: correlation of the results of folds, one of `scenarios.COMMON`.
    """
    if not path.is_file():
        return None
    rows = pd.read_csv(path).to_dict("records")
    name = f"{AT_96_NAME}, {correlated(common)}"
    return float(next(row for row in rows if row["scenario"] == name)["coverage"])


def write_rates(found: list[Rates], path: Path) -> None:
    """Write rates as CSV, 4 decimals, one scenario a row, columns as in `Rates`."""
    frame = pd.DataFrame([asdict(r) for r in found], columns=[f.name for f in fields(Rates)])
    write_text(path, frame.to_csv(index=False, float_format="%.4f"))
