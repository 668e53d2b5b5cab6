"""The mechanism ledger of a run: what every loss term did at a few steps, as a table."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Literal

Kind = Literal["reference", "term", "auxiliary", "observed"]
NONE = math.nan
# What lines that tell how right pseudo-labels were are called, with measure and network after it.
PROBED = "pseudo_label_"


@dataclass(frozen=True)
class Entry:
    """One line: a loss term, or a value that the method observed, at one probe step.

    Attributes:
        step: iterations done with this one, in [1, T].
        kind: `reference` is the loss on true labels, by which the others are measured; a `term` has
            to move the tested network; an `auxiliary` one trains other modules only; `observed` is
            a diagnostic of the method, such as the accuracy of a discriminator.
        name: of the term or diagnostic.
        value: of the weighted term, or of the diagnostic.
        elements: number of pixels, anchors or images on which the term acted; NaN where the method
            does not tell, since it acts on all that it is given.
        gradient: Euclidean norm of the weighted term's gradient for the tested network.
        relative: this norm divided by that of the reference; NaN where the latter is 0.
        cosine: of the angle between both gradients, in [-1, 1]; NaN where one of them is 0.
    """

    step: int
    kind: Kind
    name: str
    value: float
    elements: float = NONE
    gradient: float = NONE
    relative: float = NONE
    cosine: float = NONE


COLUMNS = tuple(field.name for field in fields(Entry))


def to_csv(entries: Iterable[Entry]) -> str:
    """The table as CSV, six significant digits; NaN is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_cell(value) for value in asdict(entry).values()] for entry in entries)
    return text.getvalue()


def _cell(value: object) -> object:
    if not isinstance(value, float):
        return value
    return "" if math.isnan(value) else f"{value:.6g}"
