"""Tables as Markdown, LaTeX and JSON."""

from __future__ import annotations

import pandas as pd

from benchmarks.report.sections import Rows, Section

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
}


def markdown(benchmark: str, sections: list[Section]) -> str:
    """The page `table.md`.

    Args:
        benchmark: name, for the title.
        sections: in the order of the page.
    """
    parts = [f"# Results of benchmark `{benchmark}`"]
    for section in sections:
        parts += [f"## {section.title}", pipe_table(section.header, section.rows)]
        if section.differences:
            parts.append(pipe_table(section.difference_header, section.differences))
        parts.append("\n".join(f"- {note}" for note in section.notes))
    return "\n\n".join(parts) + "\n"


def latex(benchmark: str, sections: list[Section]) -> str:
    """The file `table.tex`: one `table` environment per section; needs booktabs.

    Args:
        benchmark: name, for captions and labels.
        sections: in the order of the file.
    """
    return "\n".join(
        _float(benchmark, number, section) for number, section in enumerate(sections, start=1)
    )


def metrics(table: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """Dice of the last checkpoint as DVC shows it: data set, method, labelled count.

    Args:
        table: from `stats.summarize`.

    Returns:
        Nested mapping of Dice in [0, 1], rounded to 6 decimals.
    """
    tree: dict[str, dict[str, dict[str, float]]] = {}
    for row in table[table["checkpoint"] == "last"].to_dict("records"):
        method = f"{row['method']}-{row['variant']}" if row["variant"] else row["method"]
        cell = tree.setdefault(row["dataset"], {}).setdefault(method, {})
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


def pipe_table(header: tuple[str, ...], rows: Rows) -> str:
    """A Markdown table, the first column left, the others right."""
    rule = ("---", *("---:" for _ in header[1:]))
    cells = ([c.replace("|", r"\|") for c in row] for row in (header, rule, *rows))
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _float(benchmark: str, number: int, section: Section) -> str:
    caption = _escape(f"Benchmark {benchmark}: {section.title}")
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{benchmark.replace('_', '-')}-{number}}}",
        r"\small",
        _tabular(section.header, section.rows),
    ]
    if section.differences:
        lines += [r"\medskip", "", _tabular(section.difference_header, section.differences)]
    lines += [r"\medskip", "", r"\begin{minipage}{\linewidth}\footnotesize"]
    lines += [rf"{_escape(note)}\par" for note in section.notes]
    return "\n".join([*lines, r"\end{minipage}", r"\end{table}", ""])


def _tabular(header: tuple[str, ...], rows: Rows) -> str:
    frame = pd.DataFrame(
        [[_escape(cell) for cell in row] for row in rows], columns=[_escape(c) for c in header]
    )
    columns = "l" + "r" * (len(header) - 1)
    text: str = frame.style.hide(axis="index").to_latex(hrules=True, column_format=columns)
    return text.rstrip("\n")


def _escape(text: str) -> str:
    """Text with LaTeX's special characters made printable."""
    return "".join(_LATEX.get(char, char) for char in text)
