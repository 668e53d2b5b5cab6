"""Tables as Markdown, CSV and JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

Rows = tuple[tuple[str, ...], ...]
NONE = "n/a"


def metrics(table: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """Dice of the last checkpoint as DVC shows it: data set, method, labelled count.

    Args:
        table: of `Results`.

    Returns:
        Nested mapping of Dice in [0, 1], rounded to 6 decimals.
    """
    tree: dict[str, dict[str, dict[str, float]]] = {}
    for row in table[table["checkpoint"] == "last"].to_dict("records"):
        cell = tree.setdefault(row["dataset"], {}).setdefault(row["key"], {})
        cell[str(row["labels"])] = round(row["dice"], 6)
    return tree


def csv(frame: pd.DataFrame, *, decimals: int | None = None) -> str:
    """A frame as CSV without index.

    Args:
        frame: to write; NaN becomes an empty cell.
        decimals: of floats; None writes the shortest text that reads back as the same value.
    """
    form = None if decimals is None else f"%.{decimals}f"
    text: str = frame.to_csv(index=False, lineterminator="\n", float_format=form)
    return text


def pipe_table(header: tuple[str, ...], rows: Rows, *, words: tuple[int, ...] = (0,)) -> str:
    """A Markdown table.

    Args:
        header: of the columns.
        rows: cells.
        words: columns that are aligned left; the others are numbers and aligned right.
    """
    rule = tuple("---" if i in words else "---:" for i in range(len(header)))
    cells = ([c.replace("|", r"\|") for c in row] for row in (header, rule, *rows))
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def number(value: float, *, decimals: int = 1) -> str:
    """A number, or "n/a" where there is none."""
    return NONE if math.isnan(value) else f"{value:.{decimals}f}"


def points(value: float, low: float, high: float, *, sign: str = "") -> str:
    """Fractions as percent, one decimal, with their interval where there is one."""
    text = NONE if math.isnan(value) else f"{100 * value:{sign}.1f}"
    if math.isnan(low) or math.isnan(high):
        return text
    return f"{text} [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"


def p_value(value: float) -> str:
    """A probability with three decimals."""
    if math.isnan(value):
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def ranges(values: Sequence[int]) -> str:
    """Integers in ascending order; three or more that follow one another as "0 to 9"."""
    parts, rest = [], sorted(set(values))
    while rest:
        length = next((i for i, v in enumerate(rest) if v != rest[0] + i), len(rest))
        length = length if length > 2 else 1
        parts.append(f"{rest[0]} to {rest[length - 1]}" if length > 1 else str(rest[0]))
        rest = rest[length:]
    return ", ".join(parts)


def plural(count: int, word: str) -> str:
    """A count with its word, such as "3 runs"."""
    return f"{count} {word}{'s' * (count != 1)}"
