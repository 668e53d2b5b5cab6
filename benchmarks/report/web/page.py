"""Writes the page of a benchmark."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from benchmarks.common.files import write_text
from benchmarks.report.load import Source
from benchmarks.report.sections import sections
from benchmarks.report.web.charts import charts
from benchmarks.report.web.made import made_with
from benchmarks.report.web.parts import OUTCOMES
from benchmarks.report.web.payload import Inputs, payload
from benchmarks.report.web.table import rows, titles

PAGE = "index.html"
_HERE = Path(__file__).parent
_VENDOR = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js", "dataTables.min.js")
_STYLES = ("vendor/dataTables.min.css", "page.css")


def write_page(given: Inputs, runs: pd.DataFrame | None, source: Source, folder: Path) -> Path:
    """Write `index.html`: one file that needs no network and no other file.

    Args:
        given: what the page is made of.
        runs: identity of every run, or None where it was not recorded.
        source: of the scores.
        folder: to write to.

    Returns:
        The page. Equal input gives equal bytes.
    """
    made = payload(given)
    made["made"] = made_with(given.config, given.facts, runs, source)
    made["charts"] = charts()
    made["outcomes"] = OUTCOMES
    parts = sections(given.config, given.facts, given.results)
    text = render(
        "page.html.j2",
        made,
        titles=titles(parts),
        rows=rows(given.facts, made, parts, len(given.config.grid.pairs)),
        libraries=[_script(name) for name in (*_VENDOR, "")],
    )
    write_text(folder / PAGE, text)
    return folder / PAGE


def render(template: str, made: dict[str, Any], **more: Any) -> str:
    """A template with the suite's style, the numbers as JSON and all values escaped."""
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["code"] = _with_code
    styles = "\n".join((_HERE / name).read_text("utf-8") for name in _STYLES)
    return environment.get_template(template).render(
        made=made,
        data=embedded(made),
        styles=styles,
        licences=(_HERE / "vendor" / "LICENSES.txt").read_text("utf-8"),
        **more,
    )


def _with_code(text: str) -> Markup:
    """Words between backticks as code."""
    parts = [
        Markup("<code>{}</code>").format(p) if i % 2 else escape(p)
        for i, p in enumerate(text.split("`"))
    ]
    return Markup().join(parts)


def embedded(value: object) -> str:
    """JSON that may stand inside a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _script(name: str) -> str:
    """A library's bundle without its note of a source map, which no page has."""
    path = _HERE / "vendor" / name if name else _HERE / "page.js"
    return re.sub(r"^//# sourceMappingURL=.*$", "", path.read_text("utf-8"), flags=re.MULTILINE)
