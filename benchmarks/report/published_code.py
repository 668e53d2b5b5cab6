"""What the published code of methods does beside its method, from a file of checked facts."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

FACTS = Path("methods/published_code.csv")

# What a fact is about, in the order of the table.
KINDS = {
    "unlabeled_truth": "Truth of unlabelled images used",
    "test_selects": "Tested weights chosen on the list that is scored",
    "test_scored": "Test set scored during training",
    "selection": "What chooses the tested weights",
    "ensemble": "More than one network tested",
    "no_gradient": "Loss without a gradient",
    "code": "Otherwise than told",
    "seeds_steps": "Default seed and length",
}


@dataclass(frozen=True)
class Fact:
    """One fact, read in the source.

    Attributes:
        method: title, with the data set where the code differs between them.
        repository: owner and name on GitHub.
        commit: 40 hexadecimal digits.
        where: `file:line` or `file:first-last`, several separated by `; `.
        what: key of `KINDS`.
        fact: what the code does.
        effect: what follows from it or was measured, or "".
    """

    method: str
    repository: str
    commit: str
    where: str
    what: str
    fact: str
    effect: str

    @property
    def sources(self) -> str:
        """Links to the lines, as Markdown."""
        blob = f"https://github.com/{self.repository}/blob/{self.commit}"
        links = []
        for place in self.where.split("; "):
            file, _, lines = place.rpartition(":")
            anchor = "-".join(f"L{number}" for number in lines.split("-"))
            links.append(f"[{Path(file).name}:{lines}]({blob}/{file}#{anchor})")
        return ", ".join(links)


def read_facts(root: Path) -> list[Fact]:
    """The facts of a checkout, as they stand in the file."""
    with (root / FACTS).open(encoding="utf-8", newline="") as file:
        return [Fact(**row) for row in csv.DictReader(file)]


def published_code_table(facts: list[Fact]) -> str:
    """One Markdown table per kind."""
    parts = []
    for kind, title in KINDS.items():
        lines = [f"**{title}**", "", "| method | fact | effect | source |", "|---|---|---|---|"]
        lines += [
            f"| {f.method} | {f.fact} | {f.effect} | {f.repository}: {f.sources} |"
            for f in facts
            if f.what == kind
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"
