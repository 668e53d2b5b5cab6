"""Ranks, pairs and the mechanism ledger as Vega-Lite specifications, for `charts.py`."""

from __future__ import annotations

from benchmarks.report.mechanism_map import HIGHEST, LOWEST
from benchmarks.report.web.parts import COLOR, POINT, ROOM, ROWS, SYMBOL, Spec, tips_of


def ranks() -> Spec:
    """Rank of every method with its interval; filled where it is not separable from the best."""
    x = {
        "type": "quantitative", "title": "rank by mean Dice, simultaneous 95 % interval",
        "scale": {"zero": False, "domain": "@reach"}, "axis": {"tickMinStep": 1, "format": "d"},
    }  # fmt: skip
    tips = tips_of("method", "separable", rank="rank", low="low", high="high")
    return {
        "height": "@height",
        "encoding": {"y": {**ROWS, "sort": None}, "color": COLOR, "tooltip": tips},
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 3, "opacity": 0.6},
                "encoding": {"x": {**x, "field": "low"}, "x2": {"field": "high"}},
            },
            {
                "mark": {**POINT, "strokeWidth": 2},
                "encoding": {
                    "x": {**x, "field": "rank"}, "shape": SYMBOL,
                    "fillOpacity": {
                        "condition": {"test": "datum.separable === 'no'", "value": 1}, "value": 0,
                    },
                },
            },
        ],
    }  # fmt: skip


def pairs() -> Spec:
    """Row against column for every pair of ranked methods."""
    names = ["better", "worse", "not separable"]
    colors = ["@better", "@worse", "@faint"]
    axis = {"labelLimit": 150, "ticks": False, "domain": False}
    shared = {
        "y": {"field": "method", "type": "nominal", "sort": "@order", "title": None, "axis": axis},
        "x": {
            "field": "other", "type": "nominal", "sort": "@order", "title": None,
            "axis": {**axis, "labelAngle": -40},
        },
        "tooltip": tips_of("method", "word", "other"),
    }  # fmt: skip
    color = {
        "field": "word", "type": "nominal", "title": None, "legend": {"orient": "top"},
        "scale": {"domain": names, "range": colors},
    }  # fmt: skip
    return {
        "height": "@height",
        "encoding": shared,
        "layer": [
            {"mark": {"type": "rect", "stroke": "@paper"}, "encoding": {"color": color}},
            {
                "mark": {"type": "text", "fontWeight": "bold", "color": "white"},
                "encoding": {"text": {"field": "sign"}},
            },
        ],
    }


def ledger() -> Spec:
    """Methods by terms; what is inert says so in words, what is absent is blank."""
    axis = {"labelLimit": ROOM, "ticks": False, "domain": False}
    shared = {
        "y": {"field": "method", "type": "nominal", "sort": None, "title": None, "axis": axis},
        "x": {
            "field": "name", "type": "nominal", "title": None,
            "axis": {**axis, "labelAngle": -40},
        },
        "tooltip": tips_of("method", "name", "state", relative="gradient / supervised",
                         cosine="cosine", elements="acted on", silent="silent", probes="probes"),
    }  # fmt: skip
    color = {
        "field": "relative", "type": "quantitative", "title": "gradient / supervised",
        "scale": {"type": "log", "scheme": "cividis", "domain": [LOWEST, HIGHEST], "clamp": True},
        "legend": {"orient": "bottom", "format": "~g", "gradientLength": 150, "tickCount": 4},
    }  # fmt: skip
    return {
        "height": "@height",
        "encoding": shared,
        "layer": [
            {
                "transform": [{"filter": "datum.state !== 'inert' && datum.relative > 0"}],
                "mark": {"type": "rect", "stroke": "@paper"},
                "encoding": {"color": color},
            },
            {
                "mark": {"type": "text", "fontSize": 10},
                "encoding": {
                    "text": {"field": "words"},
                    "color": {
                        "condition": [
                            {"test": "datum.state === 'inert'", "value": "@worse"},
                            {"test": "datum.relative > 0.3", "value": "black"},
                        ],
                        "value": "white",
                    },
                },
            },
        ],
    }
