"""Commands beside the flow: look into runs, compare, tune, list."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import (
    PARAMS,
    Dataset,
    Device,
    MethodId,
    OneLabels,
    OneSeed,
    Params,
    Sweep,
    example,
    pick_runs,
    place,
    read_config,
    say,
    show,
)  # fmt: skip
from benchmarks.common.errors import ConfigError
from benchmarks.common.workspace import CHECKPOINTS, ROOT, raw_folder

_SHOWN = ("id", "year", "networks", "decoders", "parameters", "cost", "dimensions")

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


@app.command(epilog=example("predict acdc egcl_net --raw DIR --out masks"))
def predict(
    dataset: Dataset,
    method: MethodId,
    raw: Annotated[Path, typer.Option(help="Images in the raw layout of the data set.")],
    out: Annotated[Path, typer.Option(help="Folder of the masks.")],
    params: Params = PARAMS,
    labels: OneLabels = None,
    seed: OneSeed = None,
    checkpoint: Annotated[str, typer.Option(help="last or best.")] = "last",
    device: Device = "auto",
) -> None:
    """Write the masks that a finished run gives a folder of images."""
    from benchmarks.scoring.predict import predict as segment

    if checkpoint not in CHECKPOINTS:
        raise ConfigError(f"--checkpoint '{checkpoint}'; allowed: {', '.join(CHECKPOINTS)}")
    config = read_config(params)
    run = pick_runs(config, dataset, method, labels=labels, seed=seed)[0]
    files = segment(config, run, place(config, device), raw, out, checkpoint=checkpoint)
    say(f"{len(files)} masks: {out}")


@app.command(epilog=example("tune acdc egcl_net ua_mt --labels 7 --trials 30 --params acdc_cpu"))
def tune(
    dataset: Dataset,
    methods: Annotated[list[str], typer.Argument(help="Methods; each gets the same budget.")],
    labels: Annotated[int, typer.Option(min=1, help="Labelled patients.")],
    params: Params = PARAMS,
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
        chosen = tuple(int(seed) for seed in seeds.split(","))
    except ValueError:
        raise ConfigError(f"--seeds '{seeds}': give whole numbers such as 0,1") from None
    options = TuneOptions(
        labels=labels,
        trials=trials,
        seeds=chosen,
        iterations=iterations,
        parameters=tuple(parameter or ()),
        timeout=timeout,
        jobs=jobs,
        storage=storage,
        apply=apply,
        device=device,
    )
    for path in search(read_config(params, dataset), dataset, tuple(methods), options, ROOT):
        say(path)


@app.command(epilog=example("methods --json"))
def methods(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
    into: Annotated[
        Path | None, typer.Option(help="Only renew the tables inside this Markdown file.")
    ] = None,
) -> None:
    """List the methods with size and cost, counted on a small step."""
    from dataclasses import asdict

    from benchmarks.common.console import Board
    from benchmarks.plan.cost import markdown, method_cost
    from benchmarks.report.documents import embed_text
    from benchmarks.report.published_code import published_code_table, read_facts
    from methods import method_ids

    rows, names = [], method_ids()
    with Board() as board:
        for number, name in enumerate(names, 1):
            rows.append(method_cost(name))
            board.update("count operations", number, len(names), name)
    if into is not None:
        embed_text(into, markdown(rows), name="methods")
        embed_text(into, published_code_table(read_facts(ROOT)), name="published code")
        return
    counted = [asdict(row) for row in rows]
    if not as_json:
        counted = [{key: row[key] for key in _SHOWN} for row in counted]
    show(counted, as_json=as_json)


@app.command(epilog=example("doctor"))
def doctor(
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what killed commands left; asks before.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Print versions, devices, free disk and which raw data are here; or mend the checkout."""
    if repair:
        _repair(yes=yes)
        return
    import shutil

    from benchmarks.common.device import environment, pick_device
    from datasets import dataset_ids

    facts = environment(str(pick_device("auto")))
    facts["free_disk_gb"] = shutil.disk_usage(ROOT).free // 10**9
    here = [name for name in dataset_ids() if raw_folder(ROOT, name).exists()]
    facts["raw_data"] = ", ".join(here) or "none; `python -m benchmarks fetch <dataset>`"
    show([{"what": key, "value": value} for key, value in facts.items()])


def _repair(*, yes: bool) -> None:
    """List what can be mended, ask, and do it."""
    from benchmarks.repair import find_repairs

    found = find_repairs(ROOT)
    for repair in found:
        say(f"{repair.path.relative_to(ROOT)}: {repair.what}")
    if not found:
        say("nothing to mend")
    elif yes or typer.confirm(f"mend these {len(found)}?"):
        for repair in found:
            repair.mend()
        say(f"{len(found)} mended")
