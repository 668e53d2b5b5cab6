"""The tables in LaTeX, as wide as the text."""

from __future__ import annotations

import re

from benchmarks.report.sections import DIFFERENCE, RUNS, Section
from benchmarks.report.tables import Rows

# What a printed page has room for; the page of the report has all columns.
_COLUMNS = ("Method", RUNS, "Dice", DIFFERENCE, "p (Holm)", "NSD", "HD95", "Outcome")
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "†": r"\ensuremath{\dagger}",
    "‡": r"\ensuremath{\ddagger}",
    "°": r"\ensuremath{^\circ}",
    "±": r"\ensuremath{\pm}",
    **{char: f"\\{char}" for char in "&%$#_{}"},
}


def latex(benchmark: str, sections: list[Section], notes: list[str]) -> str:
    """The file `table.tex`: one `table` per section, as wide as the text; notes with the last one.

    Needs booktabs and tabularx.

    Args:
        benchmark: name, for captions and labels.
        sections: in the order of the file.
        notes: how to read the tables.
    """
    head = "% Needs \\usepackage{booktabs,tabularx}. Made by `python -m benchmarks report`."
    floats = [
        _float(benchmark, number, section, notes if number == len(sections) else [])
        for number, section in enumerate(sections, start=1)
    ]
    return "\n".join([head, *floats])


def _float(benchmark: str, number: int, section: Section, notes: list[str]) -> str:
    shown = section.only(*_COLUMNS)
    caption = escape(f"Benchmark {benchmark}: {section.title}. {section.sample}")
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{benchmark.replace('_', '-')}-{number}}}",
        r"\scriptsize\setlength{\tabcolsep}{2.5pt}",
        _tabular(shown.header, shown.rows),
    ]
    if notes:
        lines += [r"\par\medskip", r"\begin{minipage}{\textwidth}\scriptsize"]
        lines += [rf"{escape(note.replace('`', ''))}\par" for note in notes]
        lines.append(r"\end{minipage}")
    return "\n".join([*lines, r"\end{table}", ""])


def _tabular(header: tuple[str, ...], rows: Rows) -> str:
    """Numbers keep their width, the names of methods take what is left and break their lines."""
    columns = r">{\raggedright\arraybackslash}X" + "r" * (len(header) - 1)
    head = " & ".join(_stacked(name) for name in header) + r" \\"
    body = [
        " & ".join(escape(_short(name, c)) for name, c in zip(header, r, strict=True)) for r in rows
    ]
    lines = [rf"\begin{{tabularx}}{{\textwidth}}{{@{{}}{columns}@{{}}}}", r"\toprule", head]
    lines += [r"\midrule", *(rf"{row} \\" for row in body), r"\bottomrule", r"\end{tabularx}"]
    return "\n".join(lines)


def _stacked(name: str) -> str:
    """The name of a column with its unit below."""
    name = name.removesuffix(" [quartiles]")
    parts = name.replace(" [", ", [").replace(" (", ", (").split(", ")
    if len(parts) == 1:
        return escape(name)
    lines = (parts[0], " ".join(parts[1:]))
    return rf"\shortstack[r]{{{escape(lines[0])}\\{escape(lines[1])}}}"


def _short(name: str, cell: str) -> str:
    """A cell without quartiles, and an outcome without its reason."""
    if "quartiles" in name:
        return cell.partition(" [")[0]
    return re.split(r" \(|[,:] ", cell)[0] if name == "Outcome" else cell


def escape(text: str) -> str:
    """Text with LaTeX's special characters made printable."""
    return "".join(_LATEX.get(char, char) for char in text)
