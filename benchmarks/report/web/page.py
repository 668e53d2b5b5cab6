"""Writes the page of a benchmark."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from benchmarks.common.files import write_json, write_text
from benchmarks.common.workspace import local_folder, report_folder
from benchmarks.report.load import Source
from benchmarks.report.sections import RUNS, sections
from benchmarks.report.web.charts import charts
from benchmarks.report.web.made import made_with
from benchmarks.report.web.parts import OUTCOMES
from benchmarks.report.web.payload import Inputs, payload
from benchmarks.report.web.pictures import PICTURES
from benchmarks.report.web.table import rows, titles

PAGE = "index.html"
_HERE = Path(__file__).parent
_VENDOR = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js", "dataTables.min.js")
_STYLES = ("vendor/dataTables.min.css", "page.css")


def write_pages(given: Inputs, runs: pd.DataFrame | None, source: Source) -> list[Path]:
    """Write `index.html`: one file that needs no network and no other file.

    Where there are pictures of patients, a second one with these lies in the folder `local`, which
    Git ignores, and the first has none.

    Args:
        given: what the page is made of.
        runs: identity of every run, or None where it was not recorded.
        source: of the scores.

    Returns:
        The pages, that without pictures of patients first, and `pictures.json`, what it has of
        them. Equal input gives equal bytes.
    """
    name, facts = given.config.name, given.facts
    folder = source.target(name)
    made_up = {d.id for d in facts.datasets if d.synthetic}
    public = {d: value for d, value in given.pictures.items() if d in made_up}
    written = [_write(replace(given, pictures=public), runs, source, folder / PAGE)]
    if public and not source.kept:
        write_json(folder / PICTURES, public)
        written.append(folder / PICTURES)
    elif not public:
        (folder / PICTURES).unlink(missing_ok=True)
    if set(given.pictures) - made_up:
        written.append(_write(given, runs, source, local_folder(source.root, name) / PAGE))
    return written


def _write(given: Inputs, runs: pd.DataFrame | None, source: Source, target: Path) -> Path:
    made = payload(given)
    made["made"] = made_with(given.config, given.facts, runs, source)
    made["charts"] = charts()
    made["outcomes"] = OUTCOMES
    # The page counts the runs of every table.
    parts = [s.without(RUNS) for s in sections(given.config, given.facts, given.results)]
    home = Path("..", *[".."] * (target.parent != report_folder(source.root, given.config.name)))
    text = render(
        "page.html.j2",
        made,
        home=(home / PAGE).as_posix(),
        titles=titles(parts),
        rows=rows(given.facts, made, parts, len(given.config.grid.pairs)),
        scripts=scripts("numbers.js", "dialogs.js", "panels.js", "page.js"),
    )
    write_text(target, text)
    return target


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


def scripts(*names: str) -> list[str]:
    """The libraries, what all pages share and a page's own scripts.

    The bundles' notes of source maps are left out, since no page has them.
    """
    files = (*(f"vendor/{library}" for library in _VENDOR), "common.js", *names)
    texts = ((_HERE / file).read_text("utf-8") for file in files)
    return [re.sub(r"^//# sourceMappingURL=.*$", "", text, flags=re.MULTILINE) for text in texts]
