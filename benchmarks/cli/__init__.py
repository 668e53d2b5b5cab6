"""Command line. Heavy imports stay inside the commands, so that `--help` is instant."""

from __future__ import annotations

import sys

import typer

from benchmarks.cli import evidence, many, stages, tools
from benchmarks.cli.data import app as data_app
from benchmarks.common.errors import BenchError, Interrupted

app = typer.Typer(
    help="EGCL-Bench: fair comparison of semi-supervised medical image segmentation.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(stages.app)
app.add_typer(many.app)
app.add_typer(evidence.app)
app.add_typer(tools.app)
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
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
