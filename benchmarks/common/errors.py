"""Errors that a user can act on; the command line prints them without a traceback."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class BenchError(Exception):
    """Base of every expected failure: what was given, what is allowed, what mends it."""

    exit_code = 2


class ConfigError(BenchError):
    """A parameter file that cannot be used."""


class DataError(BenchError):
    """Data that are missing, damaged or inconsistent."""


class RunError(BenchError):
    """A run that could not be finished or read."""


class Held(RunError):  # noqa: N818 - it is well, elsewhere
    """A run that another process is training."""


class Lost(RunError):  # noqa: N818 - it may be tried again
    """Work whose process ended without an answer, such as a killed one."""


class StorageError(BenchError):
    """A file or folder that cannot be read or written, such as on a full disk."""


class Interrupted(BenchError):  # noqa: N818 - a request, not an error
    """Stopped by Ctrl-C or SIGTERM after writing a resumable state."""

    exit_code = 130


def nearest(given: str, allowed: Iterable[str]) -> str:
    """Hint for a misspelt name, listing what is allowed.

    Args:
        given: what the user wrote.
        allowed: valid names.

    Returns:
        A sentence such as "did you mean 'acdc'? Allowed: acdc, covid19".
    """
    names = sorted(allowed)
    close = get_close_matches(given, names, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}Allowed: {', '.join(names) or 'none'}"


def not_installed(what: str, extra: str, instead: str) -> ConfigError:
    """The error where packages of an optional extra are not installed.

    Args:
        what: needs them.
        extra: of pyproject.toml that holds them.
        instead: what can be done without.
    """
    return ConfigError(
        f"{what} needs packages that are not installed; `python -m pip install '.[{extra}]'` in the"
        f" checkout installs them, {instead}"
    )
