"""Colours and symbols of methods as a page draws them, in light and in dark."""

from __future__ import annotations

from matplotlib.colors import to_hex, to_rgb

from benchmarks.report.facts import Facts
from benchmarks.report.style import method_looks

# Vega's names, or a path inside the square from -1 to 1, of Matplotlib's markers.
_SYMBOLS = {
    "o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down",
    "P": "cross", "<": "triangle-left", ">": "triangle-right",
    "X": "M-1,-.5L-.5,-1L0,-.5L.5,-1L1,-.5L.5,0L1,.5L.5,1L0,.5L-.5,1L-1,.5L-.5,0Z",
    "*": "M0,-1L.25,-.3L.95,-.3L.4,.1L.6,.8L0,.4L-.6,.8L-.4,.1L-.95,-.3L-.25,-.3Z",
    "p": "M0,-1L.95,-.3L.6,.8L-.6,.8L-.95,-.3Z",
    "8": "M-.4,-1L.4,-1L1,-.4L1,.4L.4,1L-.4,1L-1,.4L-1,-.4Z",
    "d": "M0,-1L.6,0L0,1L-.6,0Z",
}  # fmt: skip
_DASHES = {"-": [1, 0], "--": [6, 3], ":": [2, 2], "-.": [6, 2, 2, 2]}
# Share of white in a colour on a dark page; black turns to nearly white.
_LIGHTER, _BLACK = 0.35, 0.2


def web_looks(facts: Facts) -> dict[str, dict[str, object]]:
    """By key of a method: `color`, `dark` (colour on a dark page), `symbol` and `dash`."""
    return {
        key: {
            "color": look.color,
            "dark": dark_shade(look.color),
            "symbol": symbol(look.marker),
            "dash": _DASHES[look.dash],
        }
        for key, look in method_looks(facts).items()
    }


def symbol(marker: str) -> str:
    """Vega's symbol of a marker of Matplotlib."""
    return _SYMBOLS[marker]


def dark_shade(color: str) -> str:
    """A colour as a dark page shows it."""
    red, green, blue = to_rgb(color)
    if max(red, green, blue) < _BLACK:
        return to_hex((1 - red, 1 - green, 1 - blue))
    mixed = (c + _LIGHTER * (1 - c) for c in (red, green, blue))
    return to_hex((*mixed,))  # type: ignore[arg-type]
