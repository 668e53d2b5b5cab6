"""Parameter files: what is accepted, and what the errors say."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from benchmarks.common.errors import ConfigError
from benchmarks.common.schema import check
from benchmarks.common.workspace import RESERVED
from benchmarks.config import BenchmarkConfig, SweepConfig, TrainConfig, load_config
from benchmarks.plan.resolve import method_params, train_config
from benchmarks.plan.restrict import Part, restricted
from benchmarks.plan.sweeps import swept
from benchmarks.report.index import _OTHERS
from methods.base import MethodParams

ROOT = Path(__file__).parents[2]
PAIR = {"name": "gain", "better": "egcl_net", "than": "supervised"}
VALUE: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())


@pytest.mark.parametrize(
    "path", [ROOT / "params.yaml", *ROOT.glob("benchmarks/presets/*/params.yaml")]
)
def test_shipped_files_are_valid(path: Path) -> None:
    config = load_config(path)
    for dataset in config.grid.datasets:
        assert config.train_for(dataset).iterations > 0


def put(path: str, value: object) -> dict[str, Any]:
    changed = deepcopy(VALUE)
    *way, last = path.split(".")
    block: Any = changed
    for key in way:
        block = block[int(key)] if isinstance(block, list) else block[key]
    block[last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("train.iteratons", 5, r"unknown key 'train\.iteratons': did you mean 'iterations'"),
        ("train.optimizer.lrr", 5, r"unknown key 'train\.optimizer\.lrr': did you mean 'lr'"),
        ("train.network.chanels", [8], r"chanels': did you mean 'channels'"),
        ("train.network.kind", "unett", r"'train\.network'.*'unet'"),
        ("train.iterations", "many", r"'train\.iterations': .*integer.* given 'many'"),
        ("train.iterations", 0, r"'train\.iterations': .*greater than or equal to 1, given 0"),
        ("train.optimizer.lr", -1, r"greater than 0, given -1"),
        ("grid.seeds", [0, 0], r"grid\.seeds names a value twice"),
        ("grid.methods", ["supervised", "cps"], r"no block `methods\.cps`.*add such a block"),
        ("grid.methods", ["supervised", "mean_techer"], r"no block .*did you mean 'mean_teacher'"),
        ("grid.datasets", ["nowhere"], r"no block `data\.nowhere`"),
        ("data.phantom_acdc.lables", [2], r"'data\.phantom_acdc\.lables': did you mean 'labels'"),
        ("name", "Quick Run", r"'name'.*given 'Quick Run'"),
        ("name", "statistics", r"'reports/statistics' has another use"),
        ("train.iterations", True, r"'train\.iterations': a number is needed, given True"),
        ("grid.seeds", [False], r"'grid\.seeds\.0': a number is needed, given False"),
        ("train.network.channels", [8, 8, True, 8], r"channels\.2': a number is needed"),
        ("train.optimizer.lr", float("nan"), r"lr': a finite number is needed, given nan"),
        ("runtime", {"checkpoint_seconds": float("inf")}, r"seconds': a finite number"),
        ("train.network.channels", [0, 8, 8, 8], r"channels\.0': .*greater than or equal to 1"),
        ("train.network.channels", [8, 8, -4, 8], r"channels\.2': .*given -4"),
        ("train.network.channels", [8, 8, 8, 10**9], r"channels\.3': .*less than or equal to"),
        ("train.patch", [0, 16], r"'train\.patch\.0': .*greater than or equal to 1"),
        ("train.patch", [16, -16], r"'train\.patch\.1': .*given -16"),
        ("data.phantom_acdc.labels", 7, r"labels': a list is needed, such as \[7\], given 7"),
        ("data.phantom_acdc.labels", [0], r"labels\.0': .*greater than or equal to 1"),
        ("grid.folds", [-1], r"'grid\.folds\.0'"),
        ("steps", {"supervise": 5}, r"steps names 'supervise': did you mean 'supervised'"),
        ("data.phantom_acdc.labels", [3, 3], r"labels names a value twice: \[3, 3\]"),
        ("data.phantom_acdc.labels", ["5%", "5 %"], r"labels names a value twice: \[5\.0, 5\.0\]"),
        ("runtime", {"jobs": 0}, r"'runtime\.jobs.*greater than or equal to 1, given 0"),
        ("contrasts", [{**PAIR, "than": "egcl_net"}], r"'gain' compares 'egcl_net' with itself"),
        ("contrasts", [PAIR, PAIR], r"gives two comparisons one name"),
        ("sweeps", {"s": {"methods": ["a"], "steps": [5, 5]}}, r"steps of a sweep names a value"),
        ("sweeps", {"s": {"methods": ["ua_mt"], "values": {"t": [1, 1]}}}, r"t of a sweep names"),
    ],
)
def test_wrong_values_are_named(path: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(BenchmarkConfig, put(path, value))


@pytest.mark.parametrize(
    ("block", "name"),
    [
        ("methods", "supervised-/../mean_teacher"),
        ("methods", "supervised-/../../.."),
        ("methods", "../supervised"),
        ("methods", "supervised-.."),
        ("methods", "supervised-"),
        ("methods", "supervised-a b"),
        ("methods", "supervised-a\n"),
        ("methods", "supervised-" + "a" * 200),
        ("methods", ""),
        ("data", "../raw"),
        ("data", "acdc/x"),
        ("data", ".hidden"),
        ("sweeps", "../x"),
    ],
)
def test_names_that_would_lead_elsewhere_are_refused(block: str, name: str) -> None:
    value = deepcopy(VALUE)
    old = value[block]["supervised"] if block == "methods" else {"methods": ["supervised"]}
    value.setdefault(block, {})[name] = value["data"]["phantom_acdc"] if block == "data" else old
    with pytest.raises(ConfigError, match=rf"{block}\..*this name is not allowed"):
        check(BenchmarkConfig, value)


def test_reserved_names_are_those_of_other_folders_of_the_reports() -> None:
    folders = {name for name in _OTHERS if "." not in name}
    assert folders | {"local", "partial", "profile"} == RESERVED


def test_a_wrong_value_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    text = (ROOT / "params.yaml").read_text()
    path.write_text(text.replace("iterations: 400", "iterations: true"))
    line = next(n for n, t in enumerate(path.read_text().splitlines(), 1) if "true" in t)
    with pytest.raises(ConfigError, match=rf"'train\.iterations': a number .*\(line {line}\)"):
        load_config(path)
    path.write_text(text.replace("anchors: 32", "anchors: true"))
    with pytest.raises(ConfigError, match=r"methods\.egcl_net\.anchors': a number is needed"):
        method_params(load_config(path), "egcl_net", 2)


def test_missing_key_is_named() -> None:
    value = deepcopy(VALUE)
    del value["train"]["iterations"]
    with pytest.raises(ConfigError, match=r"missing key 'train\.iterations'"):
        check(BenchmarkConfig, value)


def test_overrides_of_a_data_set_win_and_are_checked() -> None:
    config = check(BenchmarkConfig, put("data.phantom_acdc.train", {"optimizer": {"lr": 0.5}}))
    train = config.train_for("phantom_acdc")
    assert train.optimizer.lr == 0.5
    assert train.optimizer.momentum == config.train.optimizer.momentum
    other = check(BenchmarkConfig, put("data.phantom_acdc.train", {"network": {"kind": "monai"}}))
    assert other.train_for("phantom_acdc").network.kind == "monai"
    wrong = check(BenchmarkConfig, put("data.phantom_acdc.train", {"optimiser": {}}))
    with pytest.raises(ConfigError, match=r"data\.phantom_acdc\.train\.optimiser.*'optimizer'"):
        wrong.train_for("phantom_acdc")


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2\n", "\xff"])
def test_unreadable_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"params\.yaml"):
        load_config(path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no parameter file"):
        load_config(tmp_path / "none.yaml")


def test_blocks_are_frozen() -> None:
    train = TrainConfig(iterations=1, labeled_batch=1, unlabeled_batch=1)
    with pytest.raises(ValueError, match="frozen"):
        train.iterations = 2  # type: ignore[misc]


def test_sweep_makes_a_variant_of_every_combination() -> None:
    config = load_config(ROOT / "benchmarks/presets/ablation_folds/params.yaml")
    made = swept(config, "threshold_temperature")
    assert made.name == "ablation_folds_threshold_temperature"
    assert len(made.grid.methods) == 3 * 3
    assert made.methods["egcl_net-a6f_tau=0.25_tau_c=0.2"] == {
        **config.methods["egcl_net-a6f"],
        "tau": 0.25,
        "tau_c": 0.2,
    }
    assert made.train == config.train
    # Five of ten bound runs: folds go with their seeds.
    assert made.grid.pairs == tuple((i, i) for i in range(5))
    assert swept(config, "labels").methods["egcl_net-a12"] == config.methods["egcl_net-a12"]
    with pytest.raises(ConfigError, match="threshold"):
        swept(config, "treshold")


def test_a_sweep_of_lengths_trains_rows_with_their_own_schedules() -> None:
    config = load_config(ROOT / "benchmarks/presets/acdc_cpu/params.yaml")
    made = swept(config, "convergence")
    assert len(made.grid.methods) == 4 * 4
    # Five of the benchmark's bound runs.
    assert made.grid.pairs == tuple((i, i) for i in range(5)) == config.grid.pairs[:5]
    short, own = (f"egcl_net-steps={config.train.iterations // n}" for n in (4, 1))
    assert train_config(made, "acdc", short).iterations == 500
    # Rows of the benchmark's own length are its own runs, which need no second training.
    assert train_config(made, "acdc", own) == train_config(config, "acdc", "egcl_net")
    assert method_params(made, own, 2) == method_params(config, "egcl_net", 2)
    assert swept(config, "equal_compute").data["acdc"].labels == (3,)
    # A row's own length stays its own in a sweep of other values.
    own_length = config.model_copy(
        update={
            "steps": {"cps": 77},
            "sweeps": {"p": SweepConfig(methods=("cps",), values={"weight": (1.0,)})},
        }
    )
    assert swept(own_length, "p").steps == {"cps": 77, "cps-weight=1.0": 77}


def test_a_sweep_of_arithmetics_compares_each_with_the_first() -> None:
    config = load_config(ROOT / "benchmarks/presets/acdc_cpu/params.yaml")
    sweep = {"methods": ["supervised", "cps"], "amp": ["off", "bf16"]}
    made = swept(config.model_copy(update={"sweeps": {"p": SweepConfig(**sweep)}}), "p")
    rows = ["supervised-amp=off", "supervised-amp=bf16", "cps-amp=off", "cps-amp=bf16"]
    assert list(made.grid.methods) == rows
    # A row of the benchmark's own arithmetic is its own run.
    assert train_config(made, "acdc", "cps-amp=off") == train_config(config, "acdc", "cps")
    assert train_config(made, "acdc", "cps-amp=bf16").amp == "bf16"
    assert method_params(made, "cps-amp=bf16", 2) == method_params(config, "cps", 2)
    assert [(c.better, c.than) for c in made.contrasts] == [
        ("supervised-amp=bf16", "supervised-amp=off"), ("cps-amp=bf16", "cps-amp=off"),
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"values\.amp"):
        check(BenchmarkConfig, put("sweeps", {"p": {**sweep, "values": {"amp": ["off"]}}}))
    with pytest.raises(ConfigError, match="amp names 'dps'"):
        check(BenchmarkConfig, put("amp", {"dps": "off"}))


def test_a_sweep_may_compare_with_another_row_than_the_benchmark() -> None:
    config = load_config(ROOT / "benchmarks/presets/ablation_folds/params.yaml")
    assert config.grid.baseline == "egcl_net-a3b"
    assert swept(config, "splits").grid.baseline == "egcl_net-a6"
    sweep = config.sweeps["splits"].model_copy(update={"baseline": "egcl_net-a3b"})
    with pytest.raises(ConfigError, match=r"splits\.baseline is 'egcl_net-a3b': .*egcl_net-border"):
        swept(config.model_copy(update={"sweeps": {"splits": sweep}}), "splits")


def test_seeds_of_a_sweep_stay_with_the_folds_that_they_are_bound_to() -> None:
    config = load_config(ROOT / "benchmarks/presets/acdc_cpu/params.yaml")
    sweep = SweepConfig(methods=("supervised",), seeds=(2, 0))
    own = config.model_copy(update={"sweeps": {"p": sweep}})
    assert swept(own, "p").grid.pairs == ((0, 0), (2, 2))
    assert config.grid.looks > 1 == swept(own, "p").grid.looks  # its table is read for itself
    assert restricted(config, Part(seeds=(2, 0))).grid.pairs == ((0, 0), (2, 2))


def test_a_training_length_is_set_in_one_way() -> None:
    with pytest.raises(ValueError, match="both set its lengths"):
        SweepConfig(methods=("supervised",), steps=(5, 10), equal="operations")
    value = yaml.safe_load((ROOT / "benchmarks/presets/acdc_cpu/params.yaml").read_text())
    value["steps"], value["grid"]["equal"] = {"supervised": 5}, "operations"
    with pytest.raises(ConfigError, match="both set the training length"):
        check(BenchmarkConfig, value)


def test_a_sweep_names_a_seed_that_no_fold_is_bound_to() -> None:
    value = put("grid", VALUE["grid"] | {"bound": True, "seeds": [0, 1], "folds": [0, 1]})
    value["sweeps"] = {"alone": {"methods": ["supervised"], "seeds": [2]}}
    with pytest.raises(ConfigError, match=r"sweeps\.alone\.seeds: .*seed 2; .*0.*1"):
        swept(check(BenchmarkConfig, value), "alone")


def test_every_row_of_the_ablation_is_a_valid_method() -> None:
    for name in ("ablation", "ablation_folds", "quick_ablation"):
        config = load_config(ROOT / f"benchmarks/presets/{name}/params.yaml")
        benchmarks = [config, *(swept(config, sweep) for sweep in config.sweeps)]
        params = [method_params(b, m, 2) for b in benchmarks for m in b.grid.methods]
        rows = [p.model_dump_json() for p in params[: len(config.grid.methods)]]
        assert len(set(rows)) == len(rows), "rows differ"


def test_defaults_of_a_dimension_yield_to_presets_and_given_values() -> None:
    class Params(MethodParams):
        weight: float = 1.0
        ramp: float = 0.5
        presets: ClassVar[Mapping[str, Mapping[str, object]]] = {"published": {"ramp": 0.3}}
        by_dimension: ClassVar[Mapping[int, Mapping[str, object]]] = {
            3: {"weight": 2.0, "ramp": 0.2}
        }

    def made(ndim: int, **given: object) -> tuple[float, float]:
        params = Params.model_validate(Params.block(given, ndim))
        return params.weight, params.ramp

    assert made(2) == (1.0, 0.5)
    assert made(3) == (2.0, 0.2)
    assert made(3, preset="published") == (2.0, 0.3)
    assert made(3, preset="published", ramp=0.9, weight=4.0) == (4.0, 0.9)
