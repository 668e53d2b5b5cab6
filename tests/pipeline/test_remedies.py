"""Commands that errors and results name: all are read by the command line, and a chain is run."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.main import get_command

from benchmarks.cli import app, told
from benchmarks.cli.remedies import pasteable
from benchmarks.common.errors import BenchError
from tests.engine.small import make_config
from tests.pipeline.test_cli import ROOT
from tests.report.made import leave_figures_undrawn

USAGE: Any = typer.BadParameter.__mro__[1]  # of all errors of a command line
# What stands for a value in a message, by the last word of the expression.
VALUES = {
    "dataset": "phantom_acdc",
    "id": "acdc",
    "name": "acdc",
    "method": "mean_teacher",
    "stem": "acdc",
    "self._name": "acdc",
    "params": "params.yaml",
    "params_options(params)": "--params params.yaml",
    "options": "--params params.yaml",
    "extra": "ray",
    "most": "3",
}
# A pattern of commands, and a page that names some without their arguments.
NO_MESSAGES = {ROOT / "benchmarks/cli/remedies.py", ROOT / "benchmarks/report/checklist.py"}
PROGRAMS = ("python ", "ln ", "mkdir ", "git ", "dvc ", "make ", "pip ", "nnUNetv2_")


def texts(tree: ast.AST) -> Iterator[str]:
    """String constants, and f-strings whose expressions are replaced by values; no docstrings."""
    left = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            left |= {id(part) for part in node.values}
            yield "".join(_filled(part) for part in node.values)
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left
        ):
            yield node.value


def _filled(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    assert isinstance(part, ast.FormattedValue)
    words = ast.unparse(part.value)
    return VALUES.get(words, VALUES.get(words.split(".")[-1], f"<{words}>"))


def commands() -> list[tuple[str, str]]:
    """All commands in backticks in the sources of the suite, with their file."""
    found = []
    for package in ("benchmarks", "datasets", "methods"):
        for path in sorted({*(ROOT / package).rglob("*.py")} - NO_MESSAGES):
            for text in texts(ast.parse(path.read_text(encoding="utf-8"))):
                if '"""' in text:
                    continue  # the text of a module
                quoted = re.findall(r"(?<!`)`([^`]+)`(?!`)", " ".join(text.split()))
                found += [(path.name, c) for c in quoted if c.startswith(PROGRAMS)]
    return found


def parsed(words: list[str]) -> None:
    """Let the command line read a command without doing it."""
    command: Any = get_command(app)
    while hasattr(command, "commands") and words and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    if hasattr(command, "commands") and words:
        raise typer.BadParameter(f"no command '{words[0]}'")
    command.make_context("benchmarks", list(words))


def test_every_command_in_a_message_is_one() -> None:
    found = commands()
    own = [(f, c) for f, c in found if c.startswith("python -m benchmarks ")]
    assert len(own) > 20
    for file, text in own:
        assert "<" not in text.replace("<dataset>", ""), (file, text)
        try:
            parsed(shlex.split(text.replace("<dataset>", "acdc"))[3:])
        except USAGE as error:
            pytest.fail(f"{file}: `{text}`: {error}")
    known = (
        r"mkdir -p \S+ && ln -s DIR \S+$", r"python -m pip install '\.\[\w+\]'$", r"git pull$",
        r"git checkout -- \S+$", r"dvc (repro|metrics|commit)", r"make [a-z]+$",
        r"nnUNetv2_convert_MSD_dataset -i DIR$", r"python -m benchmarks$",
    )  # fmt: skip
    for file, text in set(found) - set(own):
        assert any(re.match(pattern, text) for pattern in known), (file, text)


def test_a_wrong_command_would_be_noticed() -> None:
    for words in (["prepare"], ["report", "--kapt"], ["statistics", "simulat"]):
        with pytest.raises(USAGE):
            parsed(words)


@pytest.mark.parametrize(
    ("given", "text", "wanted"),
    [
        (["run", "--params", "my file.yaml"], "`python -m benchmarks split acdc`",
         "`python -m benchmarks split acdc --params 'my file.yaml'`"),
        (["report", "--params=mine"], "a; `python -m benchmarks datasets check acdc` b",
         "a; `python -m benchmarks datasets check acdc --params mine` b"),
        (["report", "--params", "mine"], "`python -m benchmarks methods`",
         "`python -m benchmarks methods`"),
        (["report"], "`python -m benchmarks split acdc`", "`python -m benchmarks split acdc`"),
        (["doctor", "--reproduce", "a"], "`python -m benchmarks fetch acdc`",
         "`python -m benchmarks fetch acdc --params a`"),
        (["datasets", "check", "phantom_acdc"], "`python -m benchmarks datasets show phantom_acdc`",
         "`python -m benchmarks datasets show phantom_acdc`"),
        (["run", "--params", "a"], "`python -m benchmarks run x y --params b`",
         "`python -m benchmarks run x y --params b`"),
        (["evaluate", "acdc", "--params", "a", "--sweep", "s"],
         "`python -m benchmarks run acdc egcl_net-steps=500` or `python -m benchmarks report`",
         "`python -m benchmarks repro --params a --sweep s` or `python -m benchmarks report"
         " --params a --sweep s`"),
        (["diagnose", "--sweep=s"], "`python -m benchmarks datasets check acdc`",
         "`python -m benchmarks datasets check acdc`"),
        (["evaluate", "--sweep", "s"], "`python -m benchmarks prepare acdc`",
         "`python -m benchmarks repro --sweep s`"),
    ],
)  # fmt: skip
def test_parameter_file_and_sweep_are_added(given: list[str], text: str, wanted: str) -> None:
    assert pasteable(text, get_command(app), given) == wanted


@pytest.mark.parametrize(("dataset", "preset"), [("acdc", "acdc_cpu"), ("brats2019", "brats_cpu")])
def test_data_of_a_preset_alone_are_prepared_with_it(
    dataset: str, preset: str, tmp_path: Path
) -> None:
    """The command that obtains missing data knows them; without --params, an error names it."""
    given = ["datasets", "check", dataset, "--raw", str(tmp_path / "none")]
    with pytest.raises(BenchError) as missing:
        app(given, standalone_mode=False)
    remedy = f"`python -m benchmarks prepare {dataset} --raw DIR --params {preset}`"
    assert remedy in told(missing.value, given)
    for words in (["prepare", dataset, "--raw", "DIR"], shlex.split(remedy.strip("`"))[3:]):
        with pytest.raises(BenchError) as error:
            app(words, standalone_mode=False)
        unknown = f"'{dataset}' is in --params {preset}, --params "
        assert (unknown in str(error.value)) is ("--params" not in words)


def test_what_errors_say_leads_from_an_empty_checkout_to_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All commands are those of the error before them; none is known to this test."""
    leave_figures_undrawn(monkeypatch)
    config = make_config(iterations=1, validations=1)
    written = config.model_dump(mode="json", exclude={"contrasts", "claim"})
    written["grid"] |= {"methods": ["entropy_min"], "baseline": None}
    written["methods"] = {"entropy_min": {}}
    params = tmp_path / "my bench.yaml"
    params.write_text(yaml.safe_dump(written))
    for name in ("benchmarks", "methods"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "datasets").mkdir()
    for path in (ROOT / "datasets").iterdir():
        if path.name != "splits":
            (tmp_path / "datasets" / path.name).symlink_to(path)
    for module in ("stages", "options", "tools"):
        monkeypatch.setattr(f"benchmarks.cli.{module}.ROOT", tmp_path)
    options, done = ["--params", str(params)], list[str]()
    waiting = [["report", *options], ["evaluate", "phantom_acdc", *options]]
    while waiting and len(done) < 20:
        try:
            app(waiting[-1], standalone_mode=False)
            done.append(waiting.pop()[0])
        except BenchError as error:
            text = told(error, waiting[-1])
            remedies = re.findall(r"python -m benchmarks ([^`\n]+)", text)
            assert remedies, text
            waiting += [shlex.split(remedy) for remedy in reversed(remedies)]
    assert sorted(done) == sorted(["fetch", "prepare", "split", "run", "evaluate", "report"])
    assert "Entropy minimisation" in (tmp_path / "reports/small/README.md").read_text()
    (tmp_path / "CITATION.cff").symlink_to(ROOT / "CITATION.cff")
    image = next((tmp_path / "data/raw").rglob("*_frame01.nii.gz"))
    masks, net = tmp_path / "masks", tmp_path / "net.pt"
    chosen = ["phantom_acdc", "entropy_min", "--params", str(params)]
    for command in (
        ["predict", *chosen, "--out", str(masks), "--images", str(image), "--entropy", "--png"],
        ["export", *chosen, "--out", str(net)],
        ["overlay", *chosen, "--worst", "1", "--labels", "2"],
        ["report", *chosen[2:], "--out", str(tmp_path / "paper"), "--style", "slides"],
        ["report", *chosen[2:], "--release", str(tmp_path / "release")],
    ):
        app(command, standalone_mode=False)
    assert (masks / image.name).is_file() and (masks / "entropy" / image.name).is_file()
    assert net.is_file() and "Entropy minimisation" in (tmp_path / "paper/table.tex").read_text()
    assert (tmp_path / "release/croissant.json").is_file()
    (overlay,) = (tmp_path / "reports/small/local").glob("case-phantom_acdc-*.png")
    picture = masks / f"pictures/{image.name.removesuffix('.nii.gz')}.png"
    assert overlay.is_file() and picture.is_file()
