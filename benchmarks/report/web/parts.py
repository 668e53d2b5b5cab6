"""What the charts of a page share: encodings, colours of outcomes, tooltips."""

from __future__ import annotations

from typing import Any

Spec = dict[str, Any]

# Pixels that the title of a method may take beside a chart.
ROOM = 230

METHOD: Spec = {"field": "method", "type": "nominal", "title": None}
COLOR: Spec = {**METHOD, "scale": {"domain": "@names", "range": "@colors"}, "legend": None}
SYMBOL: Spec = {**METHOD, "scale": {"domain": "@names", "range": "@symbols"}, "legend": None}
ROWS: Spec = {
    **METHOD,
    "sort": "@order",
    "axis": {"labelLimit": ROOM, "ticks": False, "domain": False, "grid": True},
}
SCORE: Spec = {"type": "quantitative", "title": "@axis", "scale": {"zero": False}}
POINT: Spec = {"type": "point", "filled": True, "size": 90, "opacity": 1, "cursor": "pointer"}
# Colours of outcomes on a light and on a dark page.
OUTCOMES = {
    "better": ("#009E73", "#4CC9A0"), "worse": ("#D55E00", "#FF8C42"),
    "equivalent": ("#0072B2", "#5DB4F0"), "neutral": ("#7A7A7A", "#9AA0A8"),
}  # fmt: skip
WORDS = ["better", "worse", "equivalent", "no verdict"]
SHAPES = ["circle", "square", "diamond", "circle"]
SHADES = ["@better", "@worse", "@equivalent", "@neutral"]


def tips_of(*fields: str, **titled: str) -> list[Spec]:
    """Tooltip of fields as they are, and of numbers with a title."""
    numbers = [{"field": f, "title": t, "format": ".4~g"} for f, t in titled.items()]
    return [{"field": f, "type": "nominal"} for f in fields] + [
        {**n, "type": "quantitative"} for n in numbers
    ]
