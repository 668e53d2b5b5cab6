"use strict";
// What a click on a method or a case opens.
const Dialogs = (() => {
  const { D, one, all, make } = Page;
  const { number, title, unit, place, cellsShown, count, scoresOf, curvesOf, converging } = Numbers;

  function open(dialog, heading, hash, ...children) {
    const close = make(
      "button",
      { type: "button", onclick: () => dialog.close(), "aria-label": "Close" },
      "✕",
    );
    dialog.replaceChildren(
      make("div", { class: "top" }, make("h2", { id: `${dialog.id}-title` }, heading), close),
      ...children.filter((c) => c !== null),
    );
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    history.replaceState(null, "", hash);
    Panels.work();
  }

  const plain = (caption, head, rows) =>
    make(
      "div",
      { class: "scroll", tabindex: 0 },
      make(
        "table",
        { class: "plain" },
        make("caption", { class: "unseen" }, caption),
        make("thead", {}, make("tr", {}, ...head.map((h) => make("th", { scope: "col" }, h)))),
        make(
          "tbody",
          {},
          ...rows.map((row) =>
            make("tr", {}, ...row.map((cell, i) => make(i ? "td" : "th", i ? {} : { scope: "row" }, cell))),
          ),
        ),
      ),
    );

  /** Everything about one method; curves, terms and cases are those of the cell `c`. */
  function openMethod(m, c = D.means.find((row) => row.m === m)?.c) {
    const method = D.methods[m];
    const told = [...intro(method)];
    if (c === undefined) told.push(make("p", { class: "none" }, "No scores of this row are here."));
    else told.push(...details(m, c));
    open(one("#method"), method.title, `#method=${method.key}`, ...told, ...parameters(method));
  }

  function details(m, c) {
    const own = D.means.filter((row) => row.m === m);
    const option = (row) => make("option", { value: row.c }, place(row.c));
    const select = make("select", { onchange: () => openMethod(m, +select.value) }, ...own.map(option));
    select.value = c;
    const curves = curvesOf(c).filter((curve) => curve.m === m);
    const panels = make(
      "div",
      { class: "panels" },
      Panels.panel("loss", "Loss terms: mean and range over runs", series(curves, "loss/", 1)),
      Panels.panel(
        "taught",
        "Dice on unlabelled training images: tested network, and what teaches it",
        series(curves, "labels/", 100),
      ),
      Panels.panel("convergence", "Convergence", converging(curves)),
    );
    return [
      scoreTable(own),
      make("p", { class: "choice" }, make("label", {}, "Details on ", select)),
      panels,
      make("h3", {}, "Terms"),
      termTable(m, c),
      make("h3", {}, "Worst cases"),
      worstTable(m, c),
      make("h3", {}, "Classes"),
      classTable(scoresOf(m, c)),
    ];
  }

  function intro(method) {
    const kinds = {
      external: method.external,
      "all labels": method.allLabels,
      "true labels": method.oracle,
      baseline: method.baseline,
    };
    const tags = Object.keys(kinds).filter((name) => kinds[name]);
    return [
      method.paper ? make("p", { class: "quiet" }, method.paper) : null,
      method.footnote ? make("p", {}, method.footnote) : null,
      tags.length ? make("p", {}, ...tags.map((tag) => make("span", { class: "tag" }, tag))) : null,
    ];
  }

  function scoreTable(rows) {
    const ends = ([v, low, high]) =>
      low === null ? number(v) : `${number(v)} [${number(low)}, ${number(high)}]`;
    const line = (row) => [place(row.c), ...D.metrics.map((x) => ends(row[x.id])), String(row.runs)];
    return plain("Scores", ["", ...D.metrics.map((x) => x.title), "Runs"], rows.map(line));
  }

  const classTable = (scores) =>
    plain(
      "Dice by class",
      ["Class", "Dice, %"],
      Object.entries(scores.classes).map(([part, value]) => [part, number(value)]),
    );

  /** Curves whose name begins so, without it, times a factor. */
  function series(curves, start, factor) {
    const points = (curve) =>
      curve.step.map((step, i) => ({
        series: curve.series.slice(start.length),
        step,
        mean: factor * curve.mean[i],
        low: factor * curve.low[i],
        high: factor * curve.high[i],
      }));
    return {
      rows: curves.filter((curve) => curve.series.startsWith(start)).flatMap(points),
      none: "The logs of these runs hold none.",
    };
  }

  function termTable(m, c) {
    const terms = D.terms.filter((t) => t.m === m && t.d === D.cells[c].d && t.n === count(m, c));
    if (!terms.length) return make("p", { class: "none" }, "No ledger was kept with these scores.");
    const digits = (value, most) => (value === null ? "" : String(Number(value.toPrecision(most))));
    const judged = (t, words) => (t.kind === "term" ? words : "");
    const head = [
      "Term",
      "Kind",
      "Starts at, %",
      "Without effect",
      "Gradient / supervised",
      "Cosine",
      "Value",
      "State",
    ];
    return plain(
      "Terms",
      head,
      terms.map((t) => [
        t.name,
        t.kind,
        number(100 * t.start, 0),
        judged(t, `${t.silent} of ${t.probes}`),
        digits(t.relative, 2),
        digits(t.cosine, 2),
        digits(t.value, 3),
        judged(t, t.state || "at work"),
      ]),
    );
  }

  function worstTable(m, c) {
    const d = D.cells[c].d,
      here = scoresOf(m, c);
    const base = D.methods.findIndex((x) => x.baseline);
    const than = base >= 0 && base !== m ? scoresOf(base, c) : null;
    const worst = D.datasets[d].cases
      .map((id, i) => ({ id, i, dice: here.dice[i], hd: here.hd95_mm[i] }))
      .filter((x) => x.dice !== null)
      .sort((x, y) => x.dice - y.dice)
      .slice(0, 10);
    const gain = (x) => (than.dice[x.i] === null ? "n/a" : number(x.dice - than.dice[x.i]));
    const line = (x) => [caseButton(d, x.i), number(x.dice), number(x.hd), ...(than ? [gain(x)] : [])];
    return plain(
      "Worst cases",
      ["Case", "Dice, %", `HD95, ${D.datasets[d].unit}`, ...(than ? [`minus ${title(base)}, points`] : [])],
      worst.map(line),
    );
  }

  const caseButton = (d, i) =>
    make("button", { type: "button", class: "case", "data-d": d, "data-i": i }, D.datasets[d].cases[i]);

  function parameters(method) {
    if (!method.params) return [];
    const code = D.made.code[method.key];
    const mixed = code?.length > 1 ? " (of different versions)" : "";
    return [
      make("h3", {}, "Parameters"),
      make("pre", { tabindex: 0 }, JSON.stringify(method.params, null, 1)),
      make(
        "p",
        { class: "quiet" },
        code ? `Code that trained it: ${code.join(", ")}${mixed}. ` : "",
        `Cost of a run: ${method.cost} of supervised training.`,
      ),
    ];
  }

  function openCase(
    d,
    i,
    c = cellsShown().find((x) => D.cells[x].d === d) ?? D.cells.findIndex((x) => x.d === d),
  ) {
    const id = D.datasets[d].cases[i];
    const rows = [...D.methods.keys()]
      .map((m) => ({ m, s: scoresOf(m, c) }))
      .filter((row) => row.s && row.s.dice[i] !== null)
      .sort((a, b) => b.s.dice[i] - a.s.dice[i]);
    const scores = plain(
      "Scores of this case",
      ["Method", ...D.metrics.map((x) => `${x.title}, ${unit(d, x)}`)],
      rows.map((row) => [
        make(
          "button",
          {
            type: "button",
            class: "method",
            "data-m": row.m,
            style: `--c:${D.methods[row.m].color};--k:${D.methods[row.m].dark}`,
          },
          title(row.m),
        ),
        ...D.metrics.map((x) => number(row.s[x.id][i])),
      ]),
    );
    open(
      one("#case"),
      `${id}, ${place(c)}`,
      `#case=${D.datasets[d].id}/${id}`,
      ...pictures(d, id, rows, i),
      make("h3", {}, "Scores, mean over runs"),
      scores,
    );
  }

  /** Tiles of one slice: image with reference, and every method's layers over the image. */
  function pictures(d, id, rows, i) {
    const own = D.pictures?.[d]?.cases[id];
    if (!own)
      return [
        make(
          "p",
          { class: "none" },
          D.datasets[d].synthetic
            ? "No pictures of this case were kept with these scores."
            : "Pictures of patients stay on the machine that made them: local/index.html beside this page.",
        ),
      ];
    const stack = (layers) =>
      make(
        "div",
        { class: "stack", "data-shown": "prediction" },
        make("img", { src: own.image, alt: "" }),
        ...Object.entries(layers).map(([name, src]) => make("img", { src, alt: name, "data-layer": name })),
      );
    const tile = (words, layers, ...more) =>
      make("figure", { class: "tile" }, stack(layers), make("figcaption", {}, words, ...more));
    const tiles = [tile("Reference", { prediction: own.truth, errors: own.truth, entropy: own.truth })];
    for (const row of rows) {
      const layers = own.methods[D.methods[row.m].key];
      if (layers) tiles.push(tile(title(row.m), layers, make("br"), `Dice ${number(row.s.dice[i])} %`));
    }
    const keys = make("p", { class: "keys" });
    const names = { prediction: "prediction", errors: "errors", entropy: "entropy", "": "image alone" };
    const options = Object.entries(names).map(([value, text]) => make("option", { value }, text));
    const select = make("select", { onchange: () => showLayer(select.value) }, ...options);
    const showLayer = (layer) => {
      all("#case .stack").forEach((stack) => {
        stack.dataset.shown = layer;
      });
      const colors = Object.entries(D.pictures[d].keys[layer] ?? {});
      keys.replaceChildren(
        ...colors.map(([name, c]) => make("span", {}, make("i", { style: `--c:${c}` }), name)),
      );
    };
    showLayer("prediction");
    const note = `Slice ${own.slice}, the fullest in the reference; predictions of the first run, ${D.pictures[d].labels} labelled. Dice is of the whole case, mean over runs.`;
    return [
      make("p", { class: "choice" }, make("label", {}, "Show ", select)),
      keys,
      make("div", { class: "tiles" }, ...tiles),
      make("p", { class: "quiet" }, note),
    ];
  }

  return { openMethod, openCase, caseButton };
})();
