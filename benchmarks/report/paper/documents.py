"""A small LaTeX document that shows what was made, to look at and to copy from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.report.paper.layout import Style

_CAPTIONS = {
    "dice": "Dice of every test patient, mean and 95 \\% interval of every method.",
    "forest": "Differences in Dice with their 95 \\% intervals.",
}


def example(tables: Sequence[str], figures: Sequence[Path], style: Style) -> str:
    """The document.

    Args:
        tables: names of the files; those in LaTeX are shown.
        figures: files; the PDF ones are shown.
        style: a two-column article, or slides.
    """
    inputs = [name for name in tables if name.endswith(".tex")]
    pictures = [path.stem for path in figures if path.suffix == ".pdf"]
    if style == "slides":
        head = [r"\documentclass[aspectratio=169]{beamer}"]
        body = [_frame(rf"\input{{{name}}}") for name in inputs]
        body += [
            _frame(rf"\centering\includegraphics[width=\textwidth,height=0.9\textheight,"
                   rf"keepaspectratio]{{{name}}}")
            for name in pictures
        ]  # fmt: skip
    else:
        head = [r"\documentclass[twocolumn]{article}", r"\usepackage{graphicx}"]
        body = [rf"\input{{{name}}}" for name in inputs]
        body += [
            "\n".join(
                [r"\begin{figure*}[tb]", r"\centering",
                 rf"\includegraphics[width=\textwidth]{{{name}}}",
                 rf"\caption{{{_CAPTIONS[name]}}}", r"\end{figure*}"]
            )
            for name in pictures
        ]  # fmt: skip
        body.append("Tables and figures as they print across both columns.")
    head.append(r"\usepackage{booktabs}")
    return "\n".join([*head, r"\begin{document}", *body, r"\end{document}", ""])


def _frame(text: str) -> str:
    return "\n".join([r"\begin{frame}[allowframebreaks]", text, r"\end{frame}"])
