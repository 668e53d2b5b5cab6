"""Commands that errors name, completed so that they can be pasted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Sequence
from typing import Any

from benchmarks.cli.options import PARAMS, presets_with, read_config
from benchmarks.common.errors import BenchError

_COMMAND = re.compile(r"`python -m benchmarks ([^`]+)`")
_PARAMS, _SWEEP = "--params", "--sweep"
_REPRODUCE = "--reproduce"  # names a parameter file, too
# Stages that know no sweep: `repro` does them for one.
_STAGES = {"prepare", "split", "run"}


def pasteable(text: str, root: Any, given: Sequence[str]) -> str:
    """A message whose commands are of the parameter file and sweep of the command that failed.

    Args:
        text: the message; commands stand in backticks.
        root: the command line, as Typer makes it (of classes that differ between its versions).
        given: arguments of the command that failed.
    """
    file = _value(given, _PARAMS) or _value(given, _REPRODUCE)
    values = {_PARAMS: file, _SWEEP: _value(given, _SWEEP)}

    def completed(match: re.Match[str]) -> str:
        words = match[1].split()
        if _PARAMS in words:
            return match[0]
        body = "repro" if values[_SWEEP] and words[0] in _STAGES else match[1]
        known = _options(root, body.split())
        wanted = {**values, _PARAMS: file or _preset(words, given)}
        added = [f" {o} {shlex.quote(v)}" for o, v in wanted.items() if v and o in known]
        return f"`python -m benchmarks {body}{''.join(added)}`"

    return _COMMAND.sub(completed, text)


def _value(given: Sequence[str], option: str) -> str | None:
    """What an option was given."""
    for number, word in enumerate(given):
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
        if word == option and number + 1 < len(given):
            return given[number + 1]
    return None


def _preset(words: Sequence[str], given: Sequence[str]) -> str | None:
    """The preset for a data set that the failed command names and the default file lacks."""
    for dataset in (word for word in words if word in given):
        if held := presets_with(dataset):
            try:
                read_config(PARAMS, dataset)
            except BenchError:
                return held[0]
    return None


def _options(root: Any, words: Sequence[str]) -> Collection[str]:
    """Options of the command that some words begin with; none if there is no such command."""
    command = root
    for word in words:
        if not hasattr(command, "commands"):
            break
        command = command.commands.get(word)
    return () if command is None else {name for p in command.params for name in p.opts}
