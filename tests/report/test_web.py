"""The page of a benchmark: its numbers, and what it does in a browser."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks.report import build_report, web
from benchmarks.report.web.curves import CURVES
from benchmarks.report.web.leaderboard import write_leaderboard
from tests.report.made import (
    leave_figures_undrawn,
    make_config,
    put,
    use_made_datasets,
    write_external,
    write_scores,
    write_showcase,
)


@pytest.fixture(scope="module")
def made() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        use_made_datasets(patch)
        leave_figures_undrawn(patch)
        yield


@pytest.fixture(scope="module")
def site(made: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of four methods and of one that was predicted elsewhere with 2 labels alone."""
    del made
    root, config = tmp_path_factory.mktemp("site"), make_config()
    write_scores(root, config)
    write_external(root, config, [0])
    for name in ("supervised", "mean_teacher"):
        write_showcase(root, config, "heart", name)
    return build_report(config, root=root).files[0]


def numbers(page: Path) -> dict[str, Any]:
    text = page.read_text("utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    value: dict[str, Any] = json.loads(found[1])
    return value


def test_the_page_holds_the_numbers_of_the_tables_and_changes_with_them(site: Path) -> None:
    before = numbers(site)
    folder, root = site.parent, site.parents[2]
    table = pd.read_csv(folder / "table.csv")
    ranks = pd.read_csv(folder / "ranks.csv")
    shown = {(row["c"], row["m"]): row for row in before["means"]}
    assert len(shown) == 2 * 4 + 1
    means = table[(table["checkpoint"] == "last") & (table["method"] == "mean_teacher")]
    for row in means.to_dict("records"):
        own = shown[0 if row["labels"] == 2 else 1, 1]
        wanted = [100 * row[name] for name in ("dice", "dice_low", "dice_high")]
        assert own["dice"] == pytest.approx(wanted, abs=1e-3)
        assert own["hd95_mm"][0] == row["hd95_mm"]
    last = ranks[(ranks["checkpoint"] == "last") & (ranks["labels"] == 2)]
    assert [r["rank"] for r in before["ranks"] if r["c"] == 0] == last["rank"].tolist()
    cases = pd.read_csv(folder / "cases.csv")
    one = cases[
        (cases["method"] == "mean_teacher") & (cases["labels"] == 4)
        & (cases["checkpoint"] == "last") & (cases["case"] == "p1_b")
    ]  # fmt: skip
    scored = next(s for s in before["scores"] if (s["m"], s["n"]) == (1, 4))
    place = before["datasets"][0]["cases"].index("p1_b")
    assert scored["dice"][place] == pytest.approx(100 * one["dice"].mean(), abs=1e-3)

    source = root / "data/scores/tiny/heart/mean_teacher/cases.csv"
    frame = pd.read_csv(source)
    changed = frame.index[(frame["checkpoint"] == "last") & (frame["case"] == "p1_b")][0]
    frame.loc[changed, ["dice", "jaccard"]] = [0.5, 0.5 / 1.5]
    put(frame, source)
    after = numbers(build_report(make_config(), root=root).files[0])
    different = {key for key in before if before[key] != after[key]}
    assert {"means", "scores", "differences", "made"} <= different
    assert different.isdisjoint({"methods", "cells", "charts", "curves", "terms"})


@pytest.mark.usefixtures("made")
def test_a_pair_is_not_separable_unless_one_beats_the_other(tmp_path: Path) -> None:
    config = make_config(seeds=[0, 1, 2, 3, 4, 5])
    write_scores(tmp_path, config, noise=0.01)
    ranks = numbers(build_report(config, root=tmp_path).files[0])["ranks"]
    beats = {r["m"]: set(r["beats"]) for r in ranks if r["c"] == 0}
    # Means of 60, 70 and 75 % with next to no spread.
    assert beats == {0: set(), 1: {0}, 2: {0, 1}}


def test_rows_without_scores_and_external_rows_are_marked(site: Path) -> None:
    rows = re.findall(r"<tr data-c.*?</tr>", site.read_text("utf-8"), re.DOTALL)
    mine = [row for row in rows if "my_net (external)" in row]
    assert len(rows) == 10 and len(mine) == 2
    assert all('<span class="tag">external</span>' in row for row in mine)
    # It was scored with 2 labelled patients alone.
    assert ["missing" in row for row in mine] == [False, True]
    assert [row["c"] for row in numbers(site)["means"] if row["m"] == 4] == [0]


@pytest.mark.usefixtures("made")
def test_no_verdict_where_rows_predict_nothing(tmp_path: Path) -> None:
    config = make_config()
    scores = write_scores(tmp_path, config)
    for name in ("supervised", "mean_teacher", "egcl_net-a5"):
        source = scores / f"heart/{name}/cases.csv"
        frame = pd.read_csv(source)
        frame[["dice", "jaccard", "pred_voxels"]] = 0
        put(frame.assign(empty="prediction"), source)
    page = build_report(config, root=tmp_path).files[0]
    found = numbers(page)
    assert found["news"][0].startswith("3 of 4 rows predict (almost) nothing")
    assert {d["word"] for d in found["differences"]} == {"not tested"}
    assert found["ranks"] == []


@pytest.mark.usefixtures("made")
def test_curves_are_means_over_runs_in_windows_of_steps(tmp_path: Path) -> None:
    config = make_config()
    scores = write_scores(tmp_path, config)
    folder = scores / "heart/mean_teacher"
    runs = pd.DataFrame({"labels": [2, 2, 4, 4], "fold": 0, "seed": [0, 1, 0, 1]})
    steps = runs.merge(pd.DataFrame({"step": range(1, 101)}), how="cross")
    steps["loss/supervised"] = steps["step"] + steps["seed"]
    steps["loss"] = 1.0
    steps["val/dice"] = np.where(steps["step"] == 50, 0.5 + 0.1 * steps["seed"], np.nan)
    put(pd.read_csv(folder / "cases.csv"), folder / "cases.csv")
    put(steps, folder / "steps.csv")
    ledger = pd.read_csv(folder / "mechanisms.csv")
    probed = runs.merge(pd.DataFrame({"step": [1, 100], "value": [0.25, 0.75]}), how="cross")
    names = pd.DataFrame({"name": ["pseudo_label_dice_teacher", "pseudo_label_accuracy_teacher"]})
    probed = probed.merge(names.assign(kind="observed"), how="cross")
    put(pd.concat([ledger, probed])[ledger.columns], folder / "mechanisms.csv")
    build_report(config, root=tmp_path)
    curves = pd.read_csv(tmp_path / "reports/tiny" / CURVES)
    own = curves[(curves["method"] == "mean_teacher") & (curves["labels"] == 2)]
    loss = own[own["series"] == "loss/supervised"]
    assert loss["step"].tolist() == list(range(5, 101, 5))
    # Steps 1 to 5 with seeds 0 and 1: means 3 and 4.
    assert loss.iloc[0][["runs", "mean", "low", "high"]].tolist() == [2, 3.5, 3, 4]
    assert own[own["series"] == "val/dice"][["step", "mean"]].values.tolist() == [[50, 0.55]]
    taught = own[own["series"] == "labels/teacher"]
    assert taught[["step", "runs", "mean"]].values.tolist() == [[1, 2, 0.25], [100, 2, 0.75]]
    assert not curves["series"].str.contains("accuracy").any()


def test_layers_of_a_picture_are_the_masks_and_their_disagreement(site: Path) -> None:
    heart = json.loads((site.parent / "pictures.json").read_text())["heart"]
    layers = heart["cases"]["p0_a"]["methods"]["mean_teacher"] | heart["cases"]["p0_a"]
    pixels = {
        name: np.asarray(Image.open(io.BytesIO(base64.b64decode(layers[name].split(",")[1]))))
        for name in ("prediction", "truth", "errors")
    }
    wanted, found = pixels["truth"], pixels["prediction"]
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    assert np.array_equal(wanted == 1, np.hypot(y, x) < 0.3)
    assert np.array_equal(found, np.roll(wanted, 3, axis=0))
    assert np.array_equal(pixels["errors"] == 1, (wanted > 0) & (found == 0))
    assert np.array_equal(pixels["errors"] == 2, (wanted == 0) & (found > 0))
    assert np.array_equal(pixels["errors"] == 0, wanted == found)
    assert list(heart["keys"]["prediction"]) == ["LV", "RV"]


def test_the_libraries_are_those_that_were_published() -> None:
    folder = Path(web.__file__).parent / "vendor"
    known = dict(line.split()[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    found = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.min.*")}
    assert found == known and len(found) == 5


def leaderboard(site: Path) -> Path:
    """The leaderboard over that page and over a benchmark without a report."""
    told = [("tiny", "tiny/index.html", "Which?", "Heart: 2, 4", "2", "It is a <pilot>.")]
    configs = {"tiny": make_config(), "other": make_config()}
    return write_leaderboard(site.parents[2], configs, told)


def test_the_leaderboard_has_the_rows_of_every_report(site: Path) -> None:
    """One row per row of `table.csv` at the last checkpoint; external ones are marked."""
    page = leaderboard(site)
    found = numbers(page)
    table = pd.read_csv(site.parent / "table.csv")
    last = table[table["checkpoint"] == "last"]
    assert [row["dice"] for row in found["rows"]] == pytest.approx(
        (100 * last["dice"]).tolist(), abs=1e-3
    )
    phantom = "Heart (synthetic phantom)"
    counts = {row["track"] for row in found["rows"]}
    assert counts == set(found["tracks"]) == {
        f"{phantom}, 2 labelled, equal steps", f"{phantom}, 4 labelled, equal steps",
        f"{phantom}, all labelled, equal steps",
    }  # fmt: skip
    assert [row["method"] for row in found["rows"] if row["external"]] == ["my_net (external)"]
    text = page.read_text("utf-8")
    assert 'href="tiny/index.html#method=egcl_net-a5"' in text and "It is a &lt;pilot&gt;." in text


def test_in_a_browser(site: Path, browser: Any) -> None:
    """Sorts, filters, opens a method and a case, by mouse and keys, without network or error."""
    page = browser.new_page(viewport={"width": 390, "height": 800})
    troubles: list[str] = []
    page.on("console", lambda m: troubles.append(m.text) if m.type in {"error", "warning"} else 0)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda r: troubles.append(r.url) if r.url.startswith("http") else 0)

    def drawn() -> None:
        page.wait_for_function("document.documentElement.dataset.drawn === 'yes'")

    def methods() -> list[str]:
        names: list[str] = page.locator("#table tbody tr th button").all_inner_texts()
        return names

    page.goto(site.as_uri())
    drawn()
    # Per cell: means, differences, paired, ledger, ranks, pairs, cost; one curve over the labels.
    assert page.locator(".panels svg.marks").count() == 2 * 7 + 1
    # A pilot has no verdict: three comparisons in each cell, and the external row in one.
    without = "[data-chart=differences] .mark-symbol.role-mark path[fill='#7A7A7A']"
    assert page.locator(without).count() == 5
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390, "the page itself does not scroll sideways on a phone"
    assert len(methods()) == 10

    page.select_option("#f-labels", "4")
    assert len(methods()) == 5
    head = page.locator("#table thead th", has_text="Dice")
    head.locator("[role=button]").first.focus()
    for order in ("ascending", "descending"):
        page.keyboard.press("Enter")
        page.wait_for_selector(f"#table th[aria-sort={order}]")
    assert methods()[0] == "Full supervision"
    page.click("#f-methods summary")
    page.uncheck("#f-methods input[value='3']")
    assert methods()[0].startswith("EGCL-Net")
    page.keyboard.press("Escape")
    page.select_option("#f-metric", "hd95_mm")
    drawn()
    assert page.locator("[data-chart=means]").inner_text().count("HD95, mm") == 1

    page.locator("#table button.method", has_text="Mean Teacher").click()
    dialog = page.locator("#method")
    assert dialog.is_visible() and "Tarvainen" in dialog.inner_text()
    assert page.url.endswith("#method=mean_teacher")
    dialog.locator("button.case", has_text="p0_a").click()
    case = page.locator("#case")
    assert case.locator("h2").inner_text().startswith("p0_a")
    assert case.locator("tbody tr").count() == 4
    # The reference and the two methods with pictures; one layer is seen over each image.
    assert case.locator(".tile").count() == 3
    case.locator("select").select_option("errors")
    assert case.locator("img[data-layer=errors]:visible").count() == 3
    assert case.locator("img[data-layer=prediction]:visible").count() == 0
    page.keyboard.press("Escape")
    assert not page.locator("#case").is_visible()
    page.click("#theme")
    drawn()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
    assert troubles == []


# Success criteria A and AA of the Web Content Accessibility Guidelines.
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
DESK = {"width": 1280, "height": 900}
A4 = {"width": 794, "height": 1123}  # pixels, at 96 in an inch


def opened(browser: Any, file: Path, size: dict[str, int] = DESK) -> Any:
    """A file in a window, once its charts are drawn."""
    page = browser.new_page(viewport=size)
    page.goto(file.as_uri())
    page.wait_for_function("document.documentElement.dataset.drawn === 'yes'")
    return page


def test_screen_readers_are_told_all(site: Path, browser: Any) -> None:
    """The rules of axe-core: names, roles, order of headings, contrast in both themes."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="no axe: pip install '.[dev]'"
    )

    def check(page: Any) -> None:
        found = axe.Axe().run(page, options=WCAG)
        assert len(found.response["passes"]) > 10
        assert found.violations_count == 0, found.generate_report()

    check(opened(browser, leaderboard(site)))
    page = opened(browser, site)
    page.click("#theme")
    check(page)
    page.click("#theme")
    page.locator("#table button.method", has_text="Mean Teacher").first.click()
    page.locator("#method button.case", has_text="p0_a").click()
    check(page)  # with what lies behind the dialog


def test_a_print_is_white_and_shows_all_rows(site: Path, browser: Any) -> None:
    page = opened(browser, site, A4)
    page.click("#theme")
    page.wait_for_function("document.documentElement.dataset.drawn === 'yes'")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for hidden in ("nav", "#theme", "#filters"):
        assert not page.locator(hidden).first.is_visible()
    assert page.locator("#table tbody tr").count() == 10
    wide = """[...document.querySelectorAll("main *")]
        .filter(e => e.offsetParent && e.getBoundingClientRect().right > innerWidth + 1)
        .map(e => e.outerHTML.slice(0, 80))"""
    assert page.evaluate(wide) == []
    over = """[...document.querySelectorAll(".chart svg")].filter(
        e => e.getBoundingClientRect().width > e.closest("figure").clientWidth + 1).length"""
    assert page.locator(".chart svg").count() > 10 and page.evaluate(over) == 0
    assert page.pdf(format="A4").startswith(b"%PDF")
