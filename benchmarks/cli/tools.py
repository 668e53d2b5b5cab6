"""Commands beside the flow: look into runs, compare, tune, list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.cli.options import (
    PARAMS,
    Checkpoint,
    Dataset,
    Device,
    MethodId,
    OneFold,
    OneLabels,
    OneSeed,
    Params,
    Sweep,
    TrustHeader,
    checked,
    chosen,
    example,
    pick_runs,
    place,
    read_config,
    refuse_document,
    say,
    show,
)  # fmt: skip
from benchmarks.common.errors import ConfigError
from benchmarks.common.workspace import ROOT

if TYPE_CHECKING:
    from benchmarks.plan.cost import MethodCost

_LISTED = ("id", "title", "year")
_COUNTED = ("id", "year", "networks", "decoders", "parameters", "cost", "dimensions")

app = typer.Typer(rich_markup_mode=None)


@app.command(epilog=example("diagnose phantom_acdc egcl_net"))
def diagnose(
    dataset: Dataset,
    method: MethodId,
    params: Params = PARAMS,
    labels: OneLabels = None,
    seed: OneSeed = None,
    sweep: Sweep = None,
    device: Device = "auto",
) -> None:
    """Entropy, calibration and embeddings of one finished run, on validation patients."""
    from benchmarks.report.diagnosis import write_diagnosis
    from benchmarks.scoring.diagnose import diagnose as look

    config = read_config(params, sweep=sweep)
    run = pick_runs(config, dataset, method, labels=labels, seed=seed)[0]
    for path in write_diagnosis(look(run, place(config, device)), run.key, ROOT):
        say(path)


@app.command(epilog=example("overlay phantom_acdc supervised egcl_net --worst 3"))
def overlay(
    dataset: Dataset,
    methods: Annotated[list[str], typer.Argument(help="Methods, side by side.")],
    params: Params = PARAMS,
    case: Annotated[str | None, typer.Option(help="A test case; default: the worst.")] = None,
    slice_: Annotated[
        int | None, typer.Option("--slice", help="Default: the fullest in the reference.")
    ] = None,
    worst: Annotated[
        int | None,
        typer.Option(
            min=1, help="Cases with the lowest Dice, mean of classes and methods; default: 3."
        ),
    ] = None,
    labels: OneLabels = None,
    fold: OneFold = None,
    seed: OneSeed = None,
    device: Device = "auto",
) -> None:
    """Pictures of test cases: image, reference, every method's prediction, errors and entropy."""
    from benchmarks.plan.grid import base_of
    from benchmarks.report.chosen import Choice, write_overlays
    from methods import load_method

    if case is not None and worst is not None:
        raise ConfigError(f"--case '{case}' and --worst {worst} both choose cases: give one")
    config, runs = read_config(params, dataset), []
    for method in methods:
        # A method with all labels stands beside any number of them.
        own = None if load_method(base_of(method)).all_labels else labels
        runs += pick_runs(config, dataset, method, labels=own, fold=fold, seed=seed)[:1]
    choice = Choice(case, slice_, worst or 3)
    for path in write_overlays(config, runs, choice, place(config, device)):
        say(f"open {path}")


@app.command(epilog=example("predict acdc egcl_net --images scan.nii.gz --out masks"))
def predict(
    dataset: Dataset,
    method: MethodId,
    out: Annotated[Path, typer.Option(help="Folder of the masks.")],
    images: Annotated[
        Path | None,
        typer.Option(help="NIfTI of any orientation and voxel size: file or folder (but CASE_gt)."),
    ] = None,
    raw: Annotated[
        Path | None, typer.Option(help="Or images in the raw layout of the data set.")
    ] = None,
    params: Params = PARAMS,
    labels: OneLabels = None,
    fold: OneFold = None,
    seed: OneSeed = None,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Mean of all fitting runs, such as all folds.")
    ] = False,
    entropy: Annotated[
        bool, typer.Option("--entropy", help="Maps of the normalised entropy too, OUT/entropy.")
    ] = False,
    png: Annotated[
        bool,
        typer.Option(
            "--png",
            help="Pictures too, OUT/pictures: of a volume the slice where most is predicted and,"
            " with --entropy, the least certain one; the patient's left is on the right.",
        ),
    ] = False,
    checkpoint: Checkpoint = "last",
    orientation: Annotated[
        str, typer.Option(help="Axes of the training images, such as RAS; default: looked up.")
    ] = "",
    trust_header: TrustHeader = False,
    device: Device = "auto",
) -> None:
    """Write the masks that finished runs give images, in the geometry of the images."""
    from benchmarks.report.predicted import painter
    from benchmarks.scoring.predict import PICTURES, Request
    from benchmarks.scoring.predict import predict as segment

    source = images or raw
    if source is None or (images and raw):
        raise ConfigError("name what to segment, by one of --images (NIfTI) and --raw (a layout)")
    config = read_config(params, dataset)
    runs = pick_runs(config, dataset, method, labels=labels, fold=fold, seed=seed)
    # Those of one number of labelled patients.
    same = [run for run in runs if run.key.labels == runs[0].key.labels]
    runs = same if ensemble else runs[:1]
    request = Request(
        source,
        out,
        plain=images is not None,
        checkpoint=checked(checkpoint),
        entropy=entropy,
        paint=painter(config, runs) if png else None,
        orientation=orientation,
        trust_header=trust_header,
    )
    files = segment(config, runs, place(config, device), request)
    say(f"{len(files)} masks: {out}" + f", pictures: {out / PICTURES}" * png)


@app.command(epilog=example("export acdc egcl_net --out egcl_net.onnx --params acdc_cpu"))
def export(
    dataset: Dataset,
    method: MethodId,
    out: Annotated[
        Path | None, typer.Option(help="File: .onnx, .pt (TorchScript), .safetensors (weights).")
    ] = None,
    nnunet: Annotated[
        Path | None,
        typer.Option(help="Or a raw data set of nnU-Net with pseudo-labels: DIR/Dataset501_Name."),
    ] = None,
    cases: Annotated[
        str | None, typer.Option(help="With --nnunet: only these get pseudo-labels.")
    ] = None,
    raw: Annotated[Path | None, typer.Option(help="With --nnunet: the raw data.")] = None,
    params: Params = PARAMS,
    labels: OneLabels = None,
    fold: OneFold = None,
    seed: OneSeed = None,
    checkpoint: Checkpoint = "last",
) -> None:
    """Write the network of a finished run, or what it predicts, for other programs."""
    from benchmarks.scoring.bridge import Bridge, refuse_folder, write_bridge
    from benchmarks.scoring.export import export as write
    from benchmarks.scoring.export import refuse_target
    from benchmarks.scoring.trained import open_trained

    if (out is None) == (nnunet is None):
        raise ConfigError("give one of --out FILE and --nnunet DIR/Dataset501_Name")
    if nnunet is None and (cases is not None or raw is not None):
        raise ConfigError("--cases and --raw are of --nnunet DIR/Dataset501_Name, not of --out")
    if out is not None:
        refuse_target(out)
    if nnunet is not None:
        refuse_folder(nnunet)
    config = read_config(params, dataset)
    run = pick_runs(config, dataset, method, labels=labels, fold=fold, seed=seed)[0]
    trained = open_trained(run, place(config, "cpu"), checkpoint=checked(checkpoint))
    if nnunet is not None:
        made = write_bridge(config, trained, Bridge(nnunet, ROOT, raw, chosen("cases", cases)))
        say(f"{made.folder}: {made.labeled} cases with references, {made.pseudo} pseudo-labelled")
    elif out is not None:
        facts = write(trained, out)
        classes = ", ".join(facts["classes"])
        say(f"{out}: {facts['dimension']}D, {classes}; predicts as the run does")


@app.command(epilog=example("tune acdc egcl_net mean_teacher --labels 3 --params acdc_cpu"))
def tune(
    dataset: Dataset,
    methods: Annotated[list[str], typer.Argument(help="Methods; each gets the same budget.")],
    labels: Annotated[int, typer.Option(min=1, help="Labelled patients.")],
    params: Params = PARAMS,
    fold: OneFold = None,
    trials: Annotated[int, typer.Option(min=1, help="Trials per method.")] = 30,
    seeds: Annotated[str, typer.Option(help="Runs of every trial.")] = "0,1",
    iterations: Annotated[int | None, typer.Option(min=1, help="Of every run.")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option(help="NAME=LOW:HIGH[:log], in place of the declared.")
    ] = None,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds per method.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs at once; 1 allows pruning.")] = None,
    storage: Annotated[str | None, typer.Option(help="Database URL, for several machines.")] = None,
    apply: Annotated[Path | None, typer.Option(help="Params file that takes the values.")] = None,
    device: Device = "auto",
) -> None:
    """Search parameters on validation patients alone; call again to continue."""
    from benchmarks.tune.search import TuneOptions
    from benchmarks.tune.search import tune as search

    try:
        numbers = tuple(int(seed) for seed in seeds.split(","))
    except ValueError:
        raise ConfigError(f"--seeds '{seeds}': give whole numbers such as 0,1") from None
    options = TuneOptions(
        labels=labels,
        trials=trials,
        seeds=numbers,
        iterations=iterations,
        parameters=tuple(parameter or ()),
        timeout=timeout,
        jobs=jobs,
        storage=storage,
        apply=apply,
        device=device,
        fold=fold,
    )
    files = search(read_config(params, dataset), dataset, tuple(methods), options, ROOT)
    for path in files:
        say(path)
    say(f"open {files[-1].parent}: budget, and trials, best values and figures of every method")


@app.command(epilog=example("methods --cost"))
def methods(
    cost: Annotated[
        bool, typer.Option("--cost", help="With size and cost, counted on a small step of each.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    into: Annotated[
        Path | None, typer.Option(help="Only renew the tables inside this Markdown file.")
    ] = None,
) -> None:
    """List the methods; what each does, where it departs from its paper: methods/README.md."""
    from dataclasses import asdict

    from benchmarks.plan.cost import markdown, method_entry
    from benchmarks.report.documents import embed_text
    from benchmarks.report.published_code import published_code_table, read_facts
    from methods import method_ids

    names = method_ids()
    if into is not None:
        refuse_document(into, "methods", "published code")
        embed_text(into, markdown(_count(names)), name="methods")
        embed_text(into, published_code_table(read_facts(ROOT)), name="published code")
        return
    rows = [asdict(row) for row in (_count(names) if cost else map(method_entry, names))]
    if not as_json:
        rows = [{key: row[key] for key in (_COUNTED if cost else _LISTED)} for row in rows]
    show(rows, as_json=as_json)


def _count(names: Sequence[str]) -> list[MethodCost]:
    """Size and cost of methods."""
    from benchmarks.common.console import Board
    from benchmarks.plan.cost import method_cost

    rows = []
    with Board() as board:
        for number, name in enumerate(names, 1):
            rows.append(method_cost(name))
            board.update("count operations", number, len(names), name)
    return rows
