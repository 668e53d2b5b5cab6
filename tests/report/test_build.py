"""The whole report from fabricated scores."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.report import build_report
from benchmarks.report.studied import Studied
from benchmarks.scoring.cases import COLUMNS
from tests.report.made import (
    SKILL,
    leave_figures_undrawn,
    make_config,
    put,
    use_made_datasets,
    write_scores,
    write_showcase,
)

# Section 4 of the decisions: on these columns other tools rely.
TABLE = (
    "dataset,method,variant,labels,checkpoint,runs,patients,dice,dice_low,dice_high,jaccard,"
    "hd95_mm,assd_mm,nsd,difference,difference_low,difference_high,p_holm,p_false,outcome,failed"
)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    use_made_datasets(monkeypatch)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_figures_undrawn(monkeypatch)


def page_of(root: Path) -> str:
    return (root / "reports/tiny/README.md").read_text()


def test_files_columns_and_metrics(tmp_path: Path) -> None:
    config = make_config()
    source = write_scores(tmp_path, config)
    for name in ("supervised", "egcl_net-a5"):
        write_showcase(tmp_path, config, "heart", name)
    written = build_report(config, root=tmp_path).files
    folder = tmp_path / "reports/tiny"
    assert {p.name for p in written} == {p.name for p in folder.iterdir()} == {
        "index.html", "pictures.json", "README.md", "cases.csv", "curves.csv", "table.csv",
        "table.tex", "differences.csv", "ranks.csv",
        "classes.csv", "components.csv", "runs.csv", "traces.csv", "groups.csv", "metrics.json",
        "overlay-heart.png", "mechanisms.csv", "pseudo_labels.csv",
        *(
            f"{n}.{kind}"
            for n in ("dice", "forest", "ranks", "mechanisms", "groups")
            for kind in ("pdf", "png")
        ),
    }  # fmt: skip
    assert "| 25 / 0 / 50 |" in page_of(tmp_path)
    lines = (folder / "table.csv").read_text().splitlines()
    assert lines[0] == TABLE
    assert [line.split(",")[1:6] for line in lines[1:4]] == [
        ["supervised", "", "2", "last", "2"],
        ["supervised", "", "2", "best", "2"],
        ["supervised", "", "4", "last", "2"],
    ]
    assert len(lines) == 1 + 2 * (3 * 2 + 1)
    tree = json.loads((folder / "metrics.json").read_text())
    assert set(tree["heart"]) == set(SKILL)
    assert set(tree["heart"]["full_supervised"]) == {"8"}
    merged = pd.read_csv(folder / "cases.csv", dtype=str)
    assert list(merged.columns) == list(COLUMNS)
    assert len(merged) == 14 * 2 * 16
    original = pd.read_csv(source / "heart/supervised/cases.csv", dtype=str)
    assert set(merged["dice"]) >= set(original["dice"])


@pytest.mark.usefixtures("undrawn")
def test_means_and_differences_are_those_of_the_scores(tmp_path: Path) -> None:
    config = make_config()
    source = write_scores(tmp_path, config)
    build_report(config, root=tmp_path)
    table = pd.read_csv(tmp_path / "reports/tiny/table.csv")
    row = table[(table["method"] == "mean_teacher") & (table["labels"] == 2)].iloc[0]
    means = []
    for name in ("mean_teacher", "supervised"):
        frame = pd.read_csv(source / f"heart/{name}/cases.csv")
        own = frame[(frame["labels"] == 2) & (frame["checkpoint"] == "last")]
        means.append(own["dice"].mean())
    assert row["checkpoint"] == "last" and row["patients"] == 4
    assert row["dice"] == pytest.approx(means[0], abs=1e-6)
    assert row["difference"] == pytest.approx(means[0] - means[1], abs=1e-6)
    assert row["hd95_mm"] == 4.5  # median of 3, 4, 5, 6
    assert (row["nsd"], row["assd_mm"], row["outcome"]) == (0.8, 1.5, "pilot")
    classes = pd.read_csv(tmp_path / "reports/tiny/classes.csv")
    assert set(classes["asd_mm"]) == {1.0}


def test_same_scores_give_same_bytes_in_any_order_and_from_the_kept_tables(tmp_path: Path) -> None:
    config = make_config()
    folder = write_scores(tmp_path, config)
    write_showcase(tmp_path, config, "heart", "supervised")
    first = {path: path.read_bytes() for path in build_report(config, root=tmp_path).files}
    source = folder / "heart/supervised/cases.csv"
    frame = pd.read_csv(source).sort_values(["seed", "case"], ascending=False, kind="stable")
    put(frame, source)
    assert {p: p.read_bytes() for p in build_report(config, root=tmp_path).files} == first
    folder.rename(tmp_path / "elsewhere")
    kept = {p: p.read_bytes() for p in build_report(config, root=tmp_path, kept=True).files}
    assert {p.name for p in first} - {p.name for p in kept} == {
        "cases.csv", "pictures.json", "overlay-heart.png",
    }  # fmt: skip
    assert [p.name for p in kept if kept[p] != first[p]] == []


@pytest.mark.usefixtures("undrawn")
def test_figures_and_tables_that_a_report_no_longer_has_go(tmp_path: Path) -> None:
    write_scores(tmp_path, make_config())
    build_report(make_config(), root=tmp_path)
    folder = tmp_path / "reports/tiny"
    (folder / "notes.txt").touch()
    fewer = make_config(methods=["supervised", "mean_teacher"])
    gone = {"ranks.png", "ranks.pdf", "groups.csv", "groups.png", "groups.pdf"}
    assert gone <= {path.name for path in folder.iterdir()}
    shutil.rmtree(tmp_path / "data")
    write_scores(tmp_path, fewer)
    build_report(fewer, root=tmp_path)
    left = {path.name for path in folder.iterdir()}
    assert not gone & left and {"notes.txt", "cases.csv", "table.csv", "dice.png"} <= left
    page = (folder / "README.md").read_text()
    assert not [name for name in gone if name in page]
    build_report(fewer, root=tmp_path, kept=True)
    assert left == {path.name for path in folder.iterdir()}


def test_page_of_a_pilot(tmp_path: Path) -> None:
    more = {"question": "Which is best?", "titles": {"egcl_net-a5": "high entropy too"}}
    config = make_config(more)
    folder = write_scores(tmp_path, config)
    source = folder / "heart/mean_teacher/cases.csv"
    frame = pd.read_csv(source)
    chosen = frame.index[(frame["checkpoint"] == "last") & (frame["labels"] == 2)][0]
    frame.loc[chosen, ["dice", "jaccard"]] = 0.0
    frame.loc[chosen, "pred_voxels"] = 0
    frame.loc[chosen, "empty"] = "prediction"
    put(frame, source)
    build_report(config, root=tmp_path)
    page = page_of(tmp_path)
    assert page.startswith("# Benchmark `tiny`\n\nWhich is best?\n\n**Synthetic phantoms")
    assert "A pilot of 2 runs: a verdict needs at least 5." in page
    rows = [line for line in page.splitlines() if line.startswith("| Mean Teacher")][:2]
    assert [row.split("|")[-3].strip() for row in rows] == ["1 / 32", "0 / 32"]
    assert all(row.endswith("| pilot, 2 runs |") for row in rows)
    for text in (
        "4 test patients; 2 runs per method", "Full supervision (8 labelled)", "HD95, mm",
        "| high entropy too † |", "within 2 mm of each other", "](dice.png)", "](forest.png)",
        "EGCL-Net: reconstructed from the abstract", "2 runs, a verdict needs 5",
        "not both have a row here that tells how much: nothing is credited to a term",
    ):  # fmt: skip
        assert text in page
    assert "a5" not in page
    assert page.count("Last checkpoint of every run") == 1


@pytest.mark.usefixtures("undrawn")
def test_slices_known_to_be_of_one_patient_are_counted_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_made_datasets(monkeypatch, word="slice")
    config = make_config({"data": {"heart": {"labels": [2, 4], "split": {"scheme": "cv"}}}})
    source = write_scores(tmp_path, config) / "heart/mean_teacher/cases.csv"
    build_report(config, root=tmp_path)
    # Two of each of the four that are told apart.
    assert "8 test slices that count as 4, each tested in one fold; 2 runs" in page_of(tmp_path)
    for path in source.parent.parent.glob("*/cases.csv"):
        frame = pd.read_csv(path)
        put(frame.assign(patient=frame["case"]), path)
    build_report(config, root=tmp_path)
    assert "8 test slices, each tested in one fold; 2 runs" in page_of(tmp_path)


@pytest.mark.usefixtures("undrawn")
def test_five_runs_give_verdicts_and_a_claim_its_ruling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deciding = {"name": "gain", "better": "mean_teacher", "than": "supervised"}
    claim = {"text": "teachers help", "contrasts": ["gain"]}
    blocks: dict[str, dict[str, object]] = {name: {} for name in SKILL}
    blocks["supervised"] = {"strong": True, "unlabeled_bn": True}
    more = {"contrasts": [deciding], "claim": claim, "methods": blocks}
    config = make_config(more, seeds=[0, 1, 2, 3, 4])
    write_scores(tmp_path, config, noise=0.02)
    build_report(config, root=tmp_path)
    unknown = page_of(tmp_path)
    assert '"teachers help" is undecided' in unknown
    assert "allows no verdict (gain: better (convergence not studied))" in unknown
    monkeypatch.setattr("benchmarks.report.judged.studied_rows", lambda *_: Studied({}, ()))
    build_report(config, root=tmp_path)
    page = page_of(tmp_path)
    assert '"teachers help" is supported' in page and "pilot of" not in page
    assert "the rows that do so without another loss term tell how much: nothing is cred" in page
    differences = pd.read_csv(tmp_path / "reports/tiny/differences.csv")
    # The runs of each labelled count by themselves; their mean is the difference that is tested.
    runs = [
        [float(value) for value in line.removeprefix("- gain: ").split(", ")]
        for line in page.split("## Declared contrasts")[1].splitlines()
        if line.startswith("- gain: ")
    ]
    declared = differences[(differences["family"] == "declared")]
    means = 100 * declared.loc[declared["checkpoint"] == "last", "mean"]
    assert [len(each) for each in runs] == [5, 5] and runs[0] != runs[1]
    assert [sum(each) / 5 for each in runs] == pytest.approx(means.to_list(), abs=0.06)
    families = differences.groupby("family")["better"].unique().map(set).to_dict()
    assert families == {"baseline": {"mean_teacher", "egcl_net-a5"}, "declared": {"mean_teacher"}}
    table = pd.read_csv(tmp_path / "reports/tiny/table.csv").set_index("method")
    assert set(table["outcome"][["mean_teacher"]]) == {"better"}
    assert table["outcome"][["supervised", "full_supervised"]].isna().all()
    marked = [line for line in page.splitlines() if re.match(r"\| [^|]* † \|", line)]
    assert marked and all("EGCL-Net" in line for line in marked)


@pytest.mark.usefixtures("undrawn")
def test_methods_are_compared_with_the_controls_and_looks_are_corrected_for(
    tmp_path: Path,
) -> None:
    blocks: dict[str, dict[str, object]] = {
        **{key: {} for key in SKILL},
        "supervised-strong": {"strong": True},
        "supervised-strong=True": {"strong": True},  # of a sweep, so no control
    }
    grid: Any = {"methods": list(blocks), "looks": 3, "controls": "exploratory"}
    config = make_config({"methods": blocks}, seeds=[0, 1, 2, 3, 4], **grid)
    write_scores(tmp_path, config, noise=0.02)
    build_report(config, root=tmp_path)
    page = page_of(tmp_path)
    section = page.split("## Against the controls")[1].split("## ")[1]
    (row,) = (line for line in section.splitlines() if line.startswith("| Mean Teacher"))
    frame = pd.read_csv(tmp_path / "reports/tiny/differences.csv")
    own = frame[(frame["family"] == "controls") & (frame["checkpoint"] == "last")]
    assert set(own["better"]) == {"mean_teacher", "egcl_net-a5"}
    assert set(own["than"]) == {"supervised-strong"}
    assert "Exploratory: that methods are compared with the controls was decided after" in page
    assert "| better (exploratory; convergence not studied) |" in section
    first = own[(own["better"] == "mean_teacher") & (own["labels"] == 2)].iloc[0]
    assert f"{100 * first['mean']:+.1f} [" in row
    assert ": methods 2 better" in page and "; controls 2 " in page
    assert "3 tables with such comparisons of growing runs were read, this one included" in page
    smallest = frame.groupby(["family", "labels", "checkpoint"])["p"].transform("min")
    count = frame.groupby(["family", "labels", "checkpoint"])["p"].transform("size")
    least = frame["p"] == smallest
    expected = (12 * count * frame["p"])[least].clip(upper=1)
    rounded = 1e-6 + 12 * count[least].max() * 5e-7  # six decimals of p
    assert frame["p_holm"][least].to_numpy() == pytest.approx(expected.to_numpy(), abs=rounded)


@pytest.mark.usefixtures("undrawn")
def test_without_a_baseline_the_declared_contrasts_are_what_came_out(tmp_path: Path) -> None:
    gain = {"name": "gain", "better": "mean_teacher", "than": "supervised"}
    config = make_config({"contrasts": [gain]}, seeds=[0, 1, 2, 3, 4], baseline=None)
    write_scores(tmp_path, config, noise=0.02)
    build_report(config, root=tmp_path)
    (told,) = (line for line in page_of(tmp_path).splitlines() if line.startswith("**What came"))
    frame = pd.read_csv(tmp_path / "reports/tiny/differences.csv")
    last = frame[(frame["family"] == "declared") & (frame["checkpoint"] == "last")]
    assert "Declared contrasts" in told
    assert told.count(" better (Mean Teacher)") == (last["outcome"] == "better").sum() > 0


@pytest.mark.usefixtures("undrawn")
def test_a_declared_row_that_is_not_trained_yet_leaves_its_claim_open(tmp_path: Path) -> None:
    gain = {"name": "gain", "better": "mean_teacher", "than": "supervised"}
    later = {"name": "more", "better": "egcl_net-a6", "than": "mean_teacher"}
    claim = {"text": "teachers help", "contrasts": ["gain", "more"]}
    blocks: dict[str, dict[str, object]] = {name: {} for name in (*SKILL, "egcl_net-a6")}
    more = {"contrasts": [gain, later], "claim": claim, "methods": blocks}
    config = make_config(more, seeds=[0, 1, 2, 3, 4])
    write_scores(tmp_path, config, noise=0.02)
    build_report(config, root=tmp_path)
    page = page_of(tmp_path)
    assert page.count('"teachers help" is undecided.** 2 of 2 deciding contrasts allow no') == 2
    name = "EGCL-Net (reconstructed), a6"
    assert page.count(f"| more ({name} minus Mean Teacher) |") == 2
    assert page.count(f"| not tested: no runs of '{name}' |") == 2
    assert f"| {name} |" not in page


@pytest.mark.usefixtures("undrawn")
def test_what_predicts_nothing_is_told_first_and_not_tested(tmp_path: Path) -> None:
    config = make_config(seeds=[0, 1, 2, 3, 4])
    source = write_scores(tmp_path, config) / "heart/mean_teacher/cases.csv"
    frame = pd.read_csv(source)
    put(frame.assign(dice=0.0, jaccard=0.0, pred_voxels=0, empty="prediction"), source)
    build_report(config, root=tmp_path)
    page = page_of(tmp_path)
    top, _, rest = page.partition("**What came out.**")
    assert top.index("1 of 4 rows predicts (almost) nothing on Heart (synthetic phantom), 2") < (
        top.index("Synthetic phantoms are")
    )
    assert rest.count("| not tested: Mean Teacher predicts nothing |") == 2


@pytest.mark.usefixtures("undrawn")
def test_folds_of_a_cross_validation_test_other_patients(tmp_path: Path) -> None:
    data = {"heart": {"labels": [2], "split": {"scheme": "cv", "folds": 5}}}
    grid = {"seeds": [7, 8, 9, 10, 11], "folds": [0, 1, 2, 3, 4], "bound": True}
    config = make_config({"data": data}, **grid)
    write_scores(tmp_path, config, noise=0.02)
    build_report(config, root=tmp_path)
    table = pd.read_csv(tmp_path / "reports/tiny/table.csv")
    assert set(table["runs"]) == {5} and set(table["patients"]) == {20}
    assert set(pd.read_csv(tmp_path / "reports/tiny/differences.csv")["design"]) == {
        "cross-validation"
    }
    assert "(folds 0 to 4; seeds 7 to 11, one seed per fold)" in page_of(tmp_path)


@pytest.mark.usefixtures("undrawn")
def test_a_reference_with_all_labels_is_not_compared_even_at_the_same_count(
    tmp_path: Path,
) -> None:
    config = make_config({"data": {"heart": {"labels": [8], "split": {}}}})
    write_scores(tmp_path, config)
    build_report(config, root=tmp_path)
    for name, column in (("differences.csv", "better"), ("ranks.csv", "method")):
        shown = pd.read_csv(tmp_path / "reports/tiny" / name)[column]
        assert len(shown) and "full_supervised" not in set(shown)
    assert "| reference |" in page_of(tmp_path)


@pytest.mark.usefixtures("undrawn")
def test_an_oracle_is_shown_but_neither_ranked_nor_compared(tmp_path: Path) -> None:
    methods = ["supervised", "mean_teacher", "dycon", "dycon_oracle"]
    config = make_config(methods=methods)
    write_scores(tmp_path, config)
    build_report(config, root=tmp_path)
    for name, column in (("differences.csv", "better"), ("ranks.csv", "method")):
        shown = pd.read_csv(tmp_path / "reports/tiny" / name)[column]
        assert "dycon" in set(shown) and "dycon_oracle" not in set(shown)
    lines = [line for line in page_of(tmp_path).splitlines() if "| DyCON, true labels" in line]
    assert lines and "| reference |" in lines[0]
    assert "reads the labels of images that it calls unlabelled" in page_of(tmp_path)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("methods", [["mean_teacher"], ["full_supervised"]])
def test_one_method_one_patient_no_distance(tmp_path: Path, methods: list[str]) -> None:
    config = make_config(methods=methods, baseline=None)
    source = write_scores(tmp_path, config, patients=1) / f"heart/{methods[0]}/cases.csv"
    frame = pd.read_csv(source, keep_default_na=False)
    gone = dict.fromkeys(("hd95_mm", "asd_mm", "assd_mm", "nsd"), "")
    none: dict[str, Any] = {"ref_voxels": 0, "pred_voxels": 0, "empty": "both"}
    put(frame.assign(**gone, dice=1.0, jaccard=1.0, **none), source)
    build_report(config, root=tmp_path)
    page = page_of(tmp_path)
    assert "| 100.0 |" in page and "n/a" in page and "Outcome" not in page
    assert (tmp_path / "reports/tiny/differences.csv").read_text().count("\n") == 1


@pytest.mark.usefixtures("undrawn")
def test_latex_is_balanced_escaped_and_as_wide_as_the_text(tmp_path: Path) -> None:
    config = make_config()
    write_scores(tmp_path, config)
    build_report(config, root=tmp_path)
    text = (tmp_path / "reports/tiny/table.tex").read_text().partition("\n")[2]
    assert text.count("{") == text.count("}")
    for name in ("table", "tabularx", "minipage"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") > 0
    assert text.count(r"\begin{tabularx}{\textwidth}") == 2
    assert not re.search(r"(?<!\\)[%_#$†]", text)
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {6}
    cells = [re.split(r"(?<!\\)&", row) for row in rows[1:5]]
    # Room for names: 7-point digits are 4 points wide, 345 points are the width of an article.
    widest = [max(len(c.strip(" \\")) for c in column) for column in zip(*cells, strict=True)]
    assert 4 * sum(widest[1:]) + 12 * 2.5 < 345 - 50


@pytest.mark.usefixtures("undrawn")
def test_pictures_of_patients_stay_local(tmp_path: Path) -> None:
    config = make_config(datasets=["patients"])
    write_scores(tmp_path, config)
    write_showcase(tmp_path, config, "patients", "mean_teacher")
    written = [p for p in build_report(config, root=tmp_path).files if p.name.startswith("overlay")]
    assert written == [tmp_path / "reports/tiny/local/overlay-patients.png"]
    public, private = (tmp_path / "reports/tiny" / p for p in ("index.html", "local/index.html"))
    picture = '"image":"data:image/png'
    assert picture not in public.read_text() and picture in private.read_text()
    assert not (tmp_path / "reports/tiny/pictures.json").exists()
    page = page_of(tmp_path)
    assert "overlay" not in page and "HD95, voxels" in page and "phantom" not in page


def test_figures_show_every_patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Points of the figure are the patients' means, at most one per patient and method."""
    from matplotlib.axes import Axes

    seen: list[float] = []
    scatter = Axes.scatter

    def noted(ax: Axes, x: np.ndarray, *args: object, **more: object) -> object:
        seen.extend(x)
        return scatter(ax, x, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Axes, "scatter", noted)
    config = make_config(methods=["supervised", "mean_teacher"])
    source = write_scores(tmp_path, config)
    build_report(config, root=tmp_path)
    frames = [pd.read_csv(source / f"heart/{m}/cases.csv") for m in config.grid.methods]
    cases = pd.concat(frames)
    last = cases[cases["checkpoint"] == "last"]
    means = 100 * last.groupby(["method", "labels", "patient"])["dice"].mean()
    assert sorted(seen) == pytest.approx(sorted(means))
