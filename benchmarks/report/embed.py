"""Copies a generated table into a document, so that no figure there is typed by hand."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.errors import RunError
from benchmarks.files import write_text


def embedded(document: str, table: str, *, name: str) -> str:
    """A document with the table of benchmark `name` between its two markers.

    The markers are the lines `<!-- begin: NAME -->` and `<!-- end: NAME -->`; headings of the table
    move two levels down.

    Args:
        document: Markdown with the markers.
        table: content of `table.md`.
        name: of the benchmark.

    Raises:
        RunError: the document has no such markers.
    """
    begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(document):
        raise RunError(
            f"no place for the table: put the lines '{begin}' and '{end}' where it belongs"
        )
    lowered = re.sub(r"^(#+ )", r"##\1", table, flags=re.MULTILINE).strip()
    return pattern.sub(lambda _: f"{begin}\n{lowered}\n{end}", document)


def embed_table(document: Path, table: Path, *, name: str) -> None:
    """Renew a table inside a Markdown file.

    Args:
        document: file with the markers.
        table: generated `table.md`.
        name: of the benchmark.

    Raises:
        RunError: a file or the markers are missing.
    """
    if not table.is_file():
        raise RunError(f"no file '{table}'; make the table with `dvc repro` first")
    embed_text(document, table.read_text("utf-8"), name=name)


def embed_text(document: Path, text: str, *, name: str) -> None:
    """Renew the marked part of a Markdown file.

    Args:
        document: file with the markers.
        text: what goes between them.
        name: of the markers.

    Raises:
        RunError: the file or the markers are missing.
    """
    if not document.is_file():
        raise RunError(f"no file '{document}'")
    write_text(document, embedded(document.read_text("utf-8"), text, name=name))
