"""Commands that errors name, completed so that they can be pasted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any

_COMMAND = re.compile(r"`python -m benchmarks ([^`]+)`")
_OPTION = "--params"


def pasteable(text: str, root: Any, given: Sequence[str]) -> str:
    """A message whose commands have the parameter file of the command that failed.

    Args:
        text: the message; commands stand in backticks.
        root: the command line, as Typer makes it (of classes that differ between its versions).
        given: arguments of the command that failed.
    """
    file = _params(given)
    if file is None:
        return text

    def completed(match: re.Match[str]) -> str:
        words = match[1].split()
        if _OPTION in words or not _takes_params(root, words):
            return match[0]
        return f"{match[0][:-1]} {_OPTION} {shlex.quote(file)}`"

    return _COMMAND.sub(completed, text)


def _params(given: Sequence[str]) -> str | None:
    """The value of `--params`."""
    for number, word in enumerate(given):
        if word.startswith(f"{_OPTION}="):
            return word.partition("=")[2]
        if word == _OPTION and number + 1 < len(given):
            return given[number + 1]
    return None


def _takes_params(root: Any, words: Sequence[str]) -> bool:
    command = root
    for word in words:
        if not hasattr(command, "commands"):
            break
        command = command.commands.get(word)
    return command is not None and any(_OPTION in p.opts for p in command.params)
