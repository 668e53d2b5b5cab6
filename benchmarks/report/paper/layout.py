"""How wide a table is in print, and in which form it fits the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.common.errors import ConfigError

Style = Literal["paper", "slides"]
Cell = tuple[str, str]


@dataclass(frozen=True)
class Form:
    """Size of the type, and where the spread of a number stands.

    Attributes:
        size: LaTeX command.
        digit: width of a digit in points.
        stacked: the spread stands below its number, not behind it.
    """

    size: str
    digit: float
    stacked: bool


# Widths of digits: Computer Modern Roman at 9, 8 and 7 points, and the beamer class's sans serif
# at the same commands of an 11-point document.
_DIGITS = {
    "paper": ((r"\small", 4.63), (r"\footnotesize", 4.25), (r"\scriptsize", 3.99)),
    "slides": ((r"\small", 5.35), (r"\footnotesize", 4.79), (r"\scriptsize", 4.25)),
}  # fmt: skip
# Text width in points: two-column `article` on letter paper, beamer in 16:9.
_ROOM = {"paper": 469.0, "slides": 398.0}
SPACE = 3.0  # \tabcolsep in points
# Widths of Computer Modern's characters in digits, roughly.
_WIDTHS = {" .,:;[]()|/'!il": 0.62, "jt": 0.8, "+-±<>†": 1.56, "mwMW%@&": 1.8}
_CAPITAL, _OTHER = 1.45, 1.0


def form_of(header: Sequence[Cell], rows: Sequence[Sequence[Cell]], style: Style) -> Form:
    """The largest form in which a table is no wider than the text.

    Args:
        header: title and unit of each column.
        rows: number and spread of each cell.
        style: paper or slides.

    Raises:
        ConfigError: it fits in none.
    """
    for stacked in (False, True):
        for size, digit in _DIGITS[style]:
            if width(header, rows, digit, stacked=stacked) <= _ROOM[style]:
                return Form(size, digit, stacked)
    raise ConfigError(
        f"{len(header)} columns are too wide for the text: give fewer --columns, or shorter names"
        " by `titles` in the parameter file"
    )


def width(
    header: Sequence[Cell], rows: Sequence[Sequence[Cell]], digit: float, *, stacked: bool
) -> float:
    """Estimated width of a table in points."""
    total = 2 * SPACE * (len(header) - 1)
    for column, (title, unit) in enumerate(header):
        texts = [title, unit]
        for row in rows:
            value, spread = row[column]
            texts += [value, spread] if stacked else [f"{value} {spread}"]
        total += max(_length(text) for text in texts) * digit
    return total


def _length(text: str) -> float:
    """Length of a text in digits."""
    return sum(_character(c) for c in text)


def _character(c: str) -> float:
    if c.isdigit():
        return 1.0
    found = (size for characters, size in _WIDTHS.items() if c in characters)
    return next(found, _CAPITAL if c.isupper() else _OTHER)
