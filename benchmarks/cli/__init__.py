"""Command line. Heavy imports stay inside the commands, so that `--help` is instant."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from tempfile import NamedTemporaryFile
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from benchmarks.cli import doctor, evidence, many, stages, tools
from benchmarks.cli.data import app as data_app
from benchmarks.cli.options import refuse_empty
from benchmarks.cli.remedies import pasteable
from benchmarks.common.blame import blamed
from benchmarks.common.errors import BenchError, Interrupted


class _Commands(TyperGroup):
    """All commands; what is the same for their options is looked at here."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        refuse_empty(args)
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Commands,
    help="EGCL-Bench: fair comparison of semi-supervised medical image segmentation.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(stages.app)
app.add_typer(many.app)
app.add_typer(evidence.app)
app.add_typer(tools.app)
app.add_typer(doctor.app)
app.add_typer(data_app, name="datasets")


def main() -> None:
    """Run a command; an expected error prints one clear message and exits with its code.

    Raises:
        KeyboardInterrupt: stopped at once by a signal.
    """
    try:
        try:
            app()
        except SystemExit as end:
            if end.code == Interrupted.exit_code:  # all that Typer makes of KeyboardInterrupt
                raise KeyboardInterrupt from None
            raise
    except Interrupted as stop:
        sys.stderr.write(f"{stop}\n")
        sys.exit(stop.exit_code)
    except BenchError as error:
        sys.stderr.write(f"error: {told(error, sys.argv[1:])}\n")
        sys.exit(error.exit_code)
    except Exception as error:
        text = blamed(error)
        if not text:
            raise  # of the suite itself
        with NamedTemporaryFile("w", prefix="egcl-bench-", suffix=".txt", delete=False) as stream:
            stream.writelines(traceback.format_exception(error))
        sys.stderr.write(f"error: {text}; the traceback is in '{stream.name}'\n")
        sys.exit(BenchError.exit_code)


def told(error: BenchError, given: Sequence[str]) -> str:
    """What is printed of an expected error: its remedies can be pasted.

    Args:
        error: to tell.
        given: arguments of the command that failed.
    """
    return pasteable(str(error), get_command(app), given)
