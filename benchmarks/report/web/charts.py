"""The charts of a page as Vega-Lite specifications.

The page's script puts in rows and replaces strings that begin with `@`: `@axis`, title of the
metric; `@order`, names of the methods from the best to the worst; `@names`, `@colors` and
`@symbols` of all methods; `@reach`, limits of an axis; `@height`, of as many lines as there are;
colours of outcomes and of the page.
"""

from __future__ import annotations

from benchmarks.report.web.matrices import ledger, pairs, ranks
from benchmarks.report.web.parts import (
    COLOR,
    POINT,
    ROOM,
    ROWS,
    SCORE,
    SHADES,
    SHAPES,
    SYMBOL,
    WORDS,
    Spec,
    tips_of,
)
from benchmarks.statistics.rule import MARGIN


def charts() -> dict[str, Spec]:
    """All specifications by name."""
    return {
        "means": _means(),
        "differences": _differences(),
        "contrasts": _differences(),
        "controls": _differences(room=380),  # names of two rows
        "paired": _paired(),
        "labels": _lines("labels", "labelled patients", points=True),
        "convergence": _lines("step", "training step", points=False),
        "loss": _series("loss, weighted"),
        "taught": _series("Dice, %"),
        "cost": _cost(),
        "ranks": ranks(),
        "pairs": pairs(),
        "ledger": ledger(),
    }


def _means() -> Spec:
    tips = tips_of("method", value="value", low="low", high="high", labels="labelled", runs="runs")
    return {
        "height": "@height",
        "encoding": {"y": ROWS, "color": COLOR, "tooltip": tips},
        "layer": [
            {
                "transform": [{"filter": "datum.baseline"}],
                "mark": {"type": "rule", "strokeDash": [4, 3], "opacity": 0.8},
                "encoding": {"x": {**SCORE, "field": "value"}, "y": None},
            },
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {"x": {**SCORE, "field": "low"}, "x2": {"field": "high"}},
            },
            {
                "mark": POINT,
                "encoding": {"x": {**SCORE, "field": "value"}, "shape": SYMBOL},
            },
        ],
    }


def _differences(room: int = ROOM) -> Spec:
    color = {
        "field": "word", "type": "nominal", "title": None,
        "legend": {"orient": "top", "columns": 2},
        "scale": {"domain": WORDS, "range": SHADES},
    }  # fmt: skip
    shape = {**color, "scale": {"domain": WORDS, "range": SHAPES}}
    x = {
        "type": "quantitative", "title": "@axis",
        "scale": {"domain": "@reach"},
    }  # fmt: skip
    tips = tips_of("comparison", "phrase", mean="difference", low="low", high="high", p="p (Holm)")
    axis = {**ROWS["axis"], "labelLimit": room}
    y = {**ROWS, "axis": axis, "field": "pair", "sort": None}
    return {
        "height": "@height",
        "layer": [
            {
                "data": {"values": [{"low": -100 * MARGIN, "high": 100 * MARGIN}]},
                "mark": {"type": "rect", "opacity": 0.15, "color": "@neutral"},
                "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}},
            },
            {
                "data": {"values": [{"zero": 0}]},
                "mark": {"type": "rule", "color": "@neutral"},
                "encoding": {"x": {**x, "field": "zero"}},
            },
            {
                "mark": {"type": "rule", "strokeWidth": 2, "clip": True},
                "encoding": {
                    "y": y, "x": {**x, "field": "low"}, "x2": {"field": "high"},
                    "color": color, "tooltip": tips,
                },
            },
            {
                "mark": {**POINT, "clip": True},
                "encoding": {
                    "y": y, "x": {**x, "field": "mean"}, "color": color, "shape": shape,
                    "tooltip": tips,
                },
            },
        ],
    }  # fmt: skip


def _paired() -> Spec:
    """One point per patient, one method against the other."""
    tips = tips_of("patient", x="@against", y="@method", gain="difference")
    scale = {"domain": "@reach", "nice": False}
    return {
        "height": 260,
        "layer": [
            {
                "data": {"values": "@diagonal"},
                "mark": {"type": "line", "color": "@neutral", "strokeDash": [4, 3]},
                "encoding": {
                    "x": {"field": "end", "type": "quantitative", "scale": scale},
                    "y": {"field": "end", "type": "quantitative", "scale": scale},
                },
            },
            {
                "mark": {**POINT, "size": 55, "opacity": 0.8},
                "encoding": {
                    "x": {"field": "x", "type": "quantitative", "title": "@against"},
                    "y": {"field": "y", "type": "quantitative", "title": "@method"},
                    "color": {
                        "condition": {"test": "datum.gain > 0", "value": "@equivalent"},
                        "value": "@worse",
                    },
                    "shape": {
                        "condition": {"test": "datum.gain > 0", "value": "triangle-up"},
                        "value": "triangle-down",
                    },
                    "tooltip": tips,
                },
            },
        ],
    }


def _lines(field: str, title: str, *, points: bool) -> Spec:
    """Curves of all methods, with the ends of their intervals where few are shown."""
    select = {"type": "point", "on": "pointerover", "fields": ["method"]}
    hover = {"name": "hover", "select": select}
    faded = {"condition": {"param": "hover", "value": 1}, "value": 0.15}
    x = {
        "field": field, "type": "quantitative", "title": title,
        "scale": {"zero": False, "nice": False, "padding": 8},
        "axis": {"tickMinStep": 1, "format": "d", "grid": False},
    }  # fmt: skip
    tips = tips_of("method", value="value", low="low", high="high", **{field: title})
    y = {**SCORE, "field": "value"}
    legend = {**COLOR, "legend": "@legend"}
    mark = {"type": "line", "strokeWidth": 2, "cursor": "pointer"}
    layers: list[Spec] = [{"mark": mark, "params": [hover], "encoding": {"opacity": faded}}]
    if points:
        ends = {"y": {**SCORE, "field": "low"}, "y2": {"field": "high"}}
        layers = [{"mark": {"type": "rule", "opacity": 0.35}, "encoding": ends}, *layers]
    dot = {**POINT, "size": 60 if points else 16}
    shape = {"shape": {**SYMBOL, "legend": "@legend"}} if points else {}
    layers.append({"mark": dot, "encoding": {"opacity": faded, **shape}})
    return {
        "height": 260,
        "encoding": {"x": x, "y": y, "color": legend, "tooltip": tips},
        "layer": layers,
    }


def _series(title: str) -> Spec:
    """Values logged by one method over its steps, each with the range over its runs."""
    x = {"field": "step", "type": "quantitative", "title": "training step", "axis": {"grid": False}}
    color = {"field": "series", "type": "nominal", "title": None, "legend": {"orient": "top"}}
    y = {"type": "quantitative", "title": title}
    return {
        "height": 220,
        "encoding": {"x": x, "color": color},
        "layer": [
            {
                "mark": {"type": "area", "opacity": 0.15},
                "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "line", "strokeWidth": 2, "point": {"size": 16}},
                "encoding": {
                    "y": {**y, "field": "mean"},
                    "tooltip": tips_of("series", step="step", mean="mean", low="low", high="high"),
                },
            },
        ],
    }


def _cost() -> Spec:
    """Score over operations; the line joins the compared rows that no cheaper one reaches."""
    x = {
        "field": "cost", "type": "quantitative", "title": "operations of a run / supervised",
        "scale": {"zero": False, "padding": 12}, "axis": {"grid": False},
    }  # fmt: skip
    y = {**SCORE, "field": "value"}
    window = {"op": "@best", "field": "value", "as": "front"}
    front = [
        {"filter": "!datum.reference"},
        {"sort": [{"field": "cost"}], "window": [window], "frame": [None, 0]},
        {"filter": "datum.front === datum.value"},
    ]
    tips = tips_of("method", cost="cost", value="value", low="low", high="high")
    return {
        "height": 260,
        "layer": [
            {
                "transform": front,
                "mark": {
                    "type": "line", "interpolate": "step-after", "color": "@neutral",
                    "strokeDash": [4, 3],
                },
                "encoding": {"x": x, "y": y},
            },
            {
                "mark": {"type": "rule", "opacity": 0.35},
                "encoding": {
                    "x": x, "y": {**SCORE, "field": "low"}, "y2": {"field": "high"},
                    "color": {**COLOR, "legend": "@legend"},
                },
            },
            {
                "mark": POINT,
                "encoding": {
                    "x": x, "y": y, "color": {**COLOR, "legend": "@legend"},
                    "shape": {**SYMBOL, "legend": "@legend"}, "tooltip": tips,
                },
            },
        ],
    }  # fmt: skip
