"use strict";
// Glue between the page's numbers, Vega-Lite's charts and DataTables. Nothing here draws or counts.
{
  const D = JSON.parse(document.getElementById("data").textContent);
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const state = { dataset: "all", labels: "all", metric: D.metrics[0], methods: new Set(D.methods.keys()) };
  const LEGEND = 12; // more names than this do not fit below a chart
  const WORDS = ["better", "worse", "equivalent"];

  /** An element with attributes and children; text is never read as HTML. */
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  }

  const number = (value, digits = 1) => (value === null || value === undefined ? "n/a" : value.toFixed(digits));
  const dark = () => document.documentElement.classList.contains("dark");
  const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const title = (m) => D.methods[m].title;
  const unit = (d, metric = state.metric) => (metric.less ? D.datasets[d].unit : "%");
  const place = (c) => `${D.datasets[D.cells[c].d].short}, ${D.cells[c].labels} labelled`;
  const axis = (d) => `${state.metric.title}, ${unit(d)}`;
  const cellsShown = () => [...D.cells.keys()].filter((c) =>
    (state.dataset === "all" || D.cells[c].d === +state.dataset) &&
    (state.labels === "all" || D.cells[c].labels === +state.labels));
  const chosen = (row) => state.methods.has(row.m);
  const count = (m, c) => (D.methods[m].allLabels ? "all" : D.cells[c].labels);
  const scoresOf = (m, c) => D.scores.find((s) => s.m === m && s.d === D.cells[c].d && s.n === count(m, c));
  const meansOf = (c) => D.means.filter((row) => row.c === c && chosen(row)).map((row) => {
    const [value, low, high] = row[state.metric.id];
    const method = D.methods[row.m];
    return { m: row.m, method: method.title, value, low, high, labels: row.n, runs: row.runs, baseline: method.baseline, cost: method.cost };
  }).filter((row) => row.value !== null);
  const sorted = (rows) => [...rows].sort((a, b) => (state.metric.less ? 1 : -1) * (a.value - b.value));

  // Rows of every chart in one panel (a cell, or a data set for label efficiency), and what its
  // specification takes besides: `rows` empty leaves `none` in its place.
  const PANELS = {
    means: (c) => {
      const rows = sorted(meansOf(c));
      return { rows, order: rows.map((row) => row.method) };
    },
    differences: (c) => {
      const base = D.methods.find((m) => m.baseline);
      return { ...compared(D.differences.filter((d) => d.c === c && !d.name && chosen(d)), (d) => title(d.m)), axis: `minus ${base?.title}, Dice points` };
    },
    contrasts: (c) => ({ ...compared(D.differences.filter((d) => d.c === c && d.name), (d) => d.name), axis: "difference, Dice points" }),
    paired: (c) => {
      const m = +one("#p-method").value, than = +one("#p-against").value;
      const [a, b] = [scoresOf(m, c), scoresOf(than, c)];
      const against = title(than), method = title(m);
      if (!a || !b) return { rows: [], none: `${a ? against : method}: missing here.` };
      const rows = byPatient(D.cells[c].d, a, b).map((p) => ({ ...p, m }));
      const values = rows.flatMap((p) => [p.x, p.y]);
      const pad = 0.03 * (Math.max(...values) - Math.min(...values) || 1);
      const reach = [Math.min(...values) - pad, Math.max(...values) + pad];
      return { rows, reach, diagonal: reach.map((end) => ({ end })), method, against };
    },
    labels: (d) => (new Set(D.cells.filter((cell) => cell.d === d).map((cell) => cell.labels)).size < 2 ? { rows: [], none: "One labelled count alone: no curve." } : {
      rows: D.means.filter((row) => D.cells[row.c].d === d && chosen(row) && !D.methods[row.m].allLabels).map((row) => {
        const [value, low, high] = row[state.metric.id];
        return { m: row.m, method: title(row.m), value, low, high, labels: row.n };
      }).filter((row) => row.value !== null),
    }),
    convergence: (c) => converging(curvesOf(c).filter(chosen)),
    ledger: (c) => ({
      rows: D.terms.filter((t) => t.kind === "term" && t.d === D.cells[c].d && t.n === count(t.m, c) && chosen(t)).map((t) => ({
        ...t, method: title(t.m), state: t.state || "at work",
        words: t.state === "inert" ? "inert" : t.relative === null ? "" : `${Number(t.relative.toPrecision(2))}${t.state === "faint" ? "°" : ""}`,
      })),
      none: "No ledger was kept with these scores.",
    }),
    ranks: (c) => {
      const rows = D.ranks.filter((r) => r.c === c && chosen(r)).map((r) => ({ ...r, method: title(r.m), separable: r.separable ? "yes" : "no" }));
      const count = D.ranks.filter((r) => r.c === c).length;
      return { rows, reach: [0.5, count + 0.5], none: "Fewer than two rows can be ranked." };
    },
    pairs: (c) => {
      const ranked = D.ranks.filter((r) => r.c === c && chosen(r));
      const rows = ranked.flatMap((a) => ranked.filter((b) => b !== a).map((b) => {
        const word = a.beats.includes(b.m) ? "better" : b.beats.includes(a.m) ? "worse" : "not separable";
        return { m: a.m, method: title(a.m), other: title(b.m), word, sign: { better: "+", worse: "−" }[word] ?? "" };
      }));
      return { rows, order: ranked.map((r) => title(r.m)), none: "Fewer than two rows can be ranked." };
    },
    cost: (c) => ({ rows: meansOf(c).filter((row) => row.cost !== undefined) }),
  };

  /** Rows of comparisons with their names; the axis ends where intervals of few runs would leave no room. */
  function compared(differences, name) {
    const rows = differences.filter((d) => d.mean !== null).map((d) => ({ ...d, method: title(d.m), pair: name(d), comparison: `${title(d.m)} − ${title(d.than)}`, word: WORDS.includes(d.word) ? d.word : "no verdict" }));
    const most = Math.max(...rows.map((d) => Math.abs(d.mean)));
    const ends = rows.flatMap((d) => [d.low, d.high]).filter((v) => v !== null).map(Math.abs).sort((a, b) => a - b);
    const reach = 1.1 * Math.max(2 * D.margin, 1.3 * most, Math.min(ends[Math.floor(0.75 * ends.length)] ?? 0, 4 * most));
    return { rows, reach: [-reach, reach], none: "Nothing is compared here." };
  }

  const curvesOf = (c) => D.curves.filter((curve) => curve.d === D.cells[c].d && curve.n === count(curve.m, c));

  /** Validation Dice over the steps; where runs were validated once alone, their supervised loss. */
  function converging(curves) {
    const validated = curves.filter((curve) => curve.series === "val/dice");
    const often = validated.some((curve) => curve.step.length > 1);
    const own = often ? validated : curves.filter((curve) => curve.series === "loss/supervised");
    const scale = often ? 100 : 1;
    const rows = own.flatMap((curve) => curve.step.map((step, i) => ({ m: curve.m, method: title(curve.m), step, value: scale * curve.mean[i], low: scale * curve.low[i], high: scale * curve.high[i] })));
    return { rows, axis: often ? "validation Dice, %" : "supervised loss (one validation alone)", none: "The logs of these runs were not kept." };
  }

  /** Means over the cases of each patient, of two rows; patients that both have. */
  function byPatient(d, a, b) {
    const found = new Map();
    D.datasets[d].patients.forEach((patient, i) => {
      const [y, x] = [a[state.metric.id][i], b[state.metric.id][i]];
      if (x === null || y === null) return;
      const known = found.get(patient) ?? { patient, i, d, x: 0, y: 0, size: 0 };
      found.set(patient, { ...known, x: known.x + x, y: known.y + y, size: known.size + 1 });
    });
    return [...found.values()].map((p) => {
      const [x, y] = [p.x / p.size, p.y / p.size];
      return { ...p, x, y, gain: state.metric.less ? x - y : y - x };
    });
  }

  /** A specification with the strings that begin with @ replaced. */
  function filled(spec, values) {
    if (typeof spec === "string") return spec.startsWith("@") ? values[spec.slice(1)] : spec;
    if (Array.isArray(spec)) return spec.map((part) => filled(part, values));
    if (spec === null || typeof spec !== "object") return spec;
    return Object.fromEntries(Object.entries(spec).map(([key, part]) => [key, filled(part, values)]));
  }

  const look = () => ({
    background: "transparent", font: getComputedStyle(document.body).fontFamily,
    view: { stroke: null },
    axis: { labelColor: ink("--ink"), titleColor: ink("--quiet"), gridColor: ink("--line"), domainColor: ink("--quiet"), tickColor: ink("--quiet"), labelFontSize: 11, titleFontSize: 11, titleFontWeight: 400 },
    legend: { labelColor: ink("--ink"), titleColor: ink("--quiet"), labelFontSize: 11, titleFontSize: 11, titleFontWeight: 400, symbolLimit: 0, symbolOpacity: 1 },
  });

  /** Draws a chart; resolves when it stands. */
  async function draw(target, name, given, words) {
    const shown = new Set(given.rows.map((row) => row.m));
    const methods = D.methods.filter((_, m) => shown.has(m));
    const values = {
      names: methods.map((m) => m.title), colors: methods.map((m) => (dark() ? m.dark : m.color)), symbols: methods.map((m) => m.symbol),
      legend: methods.length > LEGEND ? null : { orient: "bottom", columns: target.clientWidth > 480 ? 3 : 2, labelLimit: 170, symbolType: "circle" },
      best: state.metric.less ? "min" : "max", ...Object.fromEntries(Object.entries(D.outcomes).map(([name, shades]) => [name, shades[+dark()]])), faint: ink("--faint"), paper: ink("--paper"), order: null, height: 22 * new Set(given.rows.map((row) => row.pair ?? row.method)).size, ...given,
    };
    const spec = { width: "container", description: words, data: { values: given.rows }, ...filled(D.charts[name], values) };
    const made = await vegaEmbed(target, spec, {
      mode: "vega-lite", renderer: given.rows.length > 1500 ? "canvas" : "svg", config: look(), tooltip: { theme: dark() ? "dark" : "light" },
      actions: { export: true, source: false, compiled: false, editor: false }, downloadFileName: `${D.name}-${name}`,
    });
    made.view.addEventListener("click", (_, item) => {
      const datum = item?.datum?.datum ?? item?.datum;
      if (datum?.patient !== undefined) openCase(datum.d, datum.i);
      else if (datum?.m !== undefined) openMethod(datum.m);
    });
  }

  /** Rows of a chart as a table, made when it is asked for. */
  function numbersOf(rows) {
    const names = Object.keys(rows[0]).filter((key) => !["m", "c", "d", "i", "n", "than", "cost", "baseline", "beats", "sign", "words", "size", "kind"].includes(key));
    const head = make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name)));
    const text = (value) => (typeof value === "number" ? String(Number(value.toPrecision(5))) : value ?? "");
    const body = rows.map((row) => make("tr", {}, ...names.map((name) => make("td", {}, text(row[name])))));
    return make("div", { class: "scroll", tabindex: 0 }, make("table", { class: "plain" }, make("thead", {}, head), make("tbody", {}, ...body)));
  }

  /** A figure with head, chart and the numbers behind it; its chart is drawn by the queue. */
  function panel(name, heading, given) {
    const figure = make("figure", {}, make("h4", {}, heading));
    if (!given.rows.length) {
      figure.append(make("p", { class: "none" }, given.none ?? "Nothing to show."));
      return figure;
    }
    const target = make("div", { class: "chart" });
    const details = make("details", { ontoggle: () => { if (details.open && !details.children[1]) details.append(numbersOf(given.rows)); } }, make("summary", {}, "The numbers"));
    figure.append(target, details);
    queue.push(() => (target.isConnected ? draw(target, name, given, `${heading}: ${name}`) : null));
    return figure;
  }

  let queue = [];
  let working = false;
  async function work() {
    if (working) return;
    working = true;
    while (queue.length) {
      await queue.shift()();
      await new Promise((resolve) => setTimeout(resolve));
    }
    working = false;
    document.documentElement.dataset.drawn = "yes";
  }

  function show(...names) {
    document.documentElement.dataset.drawn = "";
    const cells = cellsShown();
    for (const name of names.length ? names : Object.keys(PANELS)) {
      const target = one(`.panels[data-chart="${name}"]`);
      if (!target) continue;
      const whole = name === "labels";
      const places = whole ? [...new Set(cells.map((c) => D.cells[c].d))] : cells;
      const figures = places.map((p) => panel(name, whole ? D.datasets[p].short : place(p), { axis: axis(whole ? p : D.cells[p].d), ...PANELS[name](p) }));
      target.replaceChildren(...figures);
    }
    work();
  }

  // Tables.
  const table = new DataTable("#table", { paging: false, order: [], autoWidth: false, info: false, language: { search: "Find", zeroRecords: "No row fits these filters." } });
  table.search.fixed("page", (_, data, index) => {
    const row = table.row(index).node();
    return cellsShown().includes(+row.dataset.c) && state.methods.has(+row.dataset.m);
  });
  let cases = null;
  const caseCell = one("#case-cell");

  function casesShown() {
    const c = +caseCell.value, d = D.cells[c].d, metric = state.metric;
    const rows = [...state.methods].map((m) => ({ m, scores: scoresOf(m, c) })).filter((row) => row.scores);
    const lines = D.datasets[d].cases.map((id, i) => {
      const found = rows.map((row) => ({ m: row.m, value: row.scores[metric.id][i] })).filter((v) => v.value !== null).sort((a, b) => a.value - b.value);
      if (!found.length) return null;
      if (metric.less) found.reverse();
      const [worst, best] = [found[0], found.at(-1)];
      const words = (v) => `${number(v.value)}, ${title(v.m)}`;
      return { i, id, patient: D.datasets[d].patients[i], mean: found.reduce((sum, v) => sum + v.value, 0) / found.length, worst, best, words };
    }).filter((line) => line !== null);
    cases?.destroy();
    const sort = (order, text) => ({ display: text, sort: order });
    cases = new DataTable("#cases", {
      data: lines.map((l) => [l.id, l.patient, sort(l.mean, number(l.mean)), sort(l.worst.value, l.words(l.worst)), sort(l.best.value, l.words(l.best)), l.i]),
      columns: [
        { title: "Case", render: (id, type, row) => { if (type !== "display") return id; return make("button", { type: "button", class: "case", "data-d": d, "data-i": row[5] }, id); } },
        { title: "Patient" },
        ...[`Mean of the rows, ${unit(d)}`, "Lowest", "Highest"].map((t) => ({ title: t, render: { _: "display", sort: "sort" } })),
      ],
      order: [[2, metric.less ? "desc" : "asc"]], autoWidth: false, pageLength: 10, lengthMenu: [10, 50, 500], info: false, language: { search: "Find", lengthMenu: "_MENU_ at once" },
    });
  }

  function filter() {
    const cells = cellsShown();
    table.draw();
    all("#table tbody td").forEach((td) => td.classList.remove("chosen"));
    const head = all("#table thead th").findIndex((th) => th.textContent.trim().startsWith(state.metric.title));
    if (head > 0) all(`#table tbody tr > :nth-child(${head + 1})`).forEach((td) => td.classList.add("chosen"));
    one("#f-methods .count").textContent = state.methods.size === D.methods.length ? "(all)" : `(${state.methods.size} of ${D.methods.length})`;
    const rows = table.rows({ search: "applied" }).count();
    one("#said").textContent = rows === D.cells.length * D.methods.length ? "" : `${rows} of ${D.cells.length * D.methods.length} rows shown.`;
    table.column(1).visible(new Set(cells.map((c) => D.cells[c].d)).size > 1);
    if (cells.length && !cells.includes(+caseCell.value)) caseCell.value = cells[0];
    casesShown();
    show();
  }

  // Dialogs.
  function open(dialog, heading, hash, ...children) {
    const close = make("button", { type: "button", onclick: () => dialog.close(), "aria-label": "Close" }, "✕");
    dialog.replaceChildren(make("div", { class: "top" }, make("h2", { id: `${dialog.id}-title` }, heading), close), ...children.filter((c) => c !== null));
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    history.replaceState(null, "", hash);
    work();
  }

  const plain = (caption, head, rows) => make("div", { class: "scroll", tabindex: 0 }, make("table", { class: "plain" },
    make("caption", { class: "unseen" }, caption), make("thead", {}, make("tr", {}, ...head.map((h) => make("th", { scope: "col" }, h)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell, i) => make(i ? "td" : "th", i ? {} : { scope: "row" }, cell)))))));

  function openMethod(m, c = D.means.find((row) => row.m === m)?.c) {
    const method = D.methods[m];
    const tags = [method.external && "external", method.allLabels && "all labels", method.baseline && "baseline"].filter(Boolean);
    const intro = [method.paper ? make("p", { class: "quiet" }, method.paper) : null, method.footnote ? make("p", {}, method.footnote) : null, tags.length ? make("p", {}, ...tags.map((t) => make("span", { class: "tag" }, t))) : null];
    if (c === undefined) return open(one("#method"), method.title, `#method=${method.key}`, ...intro, make("p", { class: "none" }, "No scores of this row are here."));
    const own = D.means.filter((row) => row.m === m);
    const ends = ([v, low, high]) => (low === null ? number(v) : `${number(v)} [${number(low)}, ${number(high)}]`);
    const scores = plain("Scores", ["", ...D.metrics.map((x) => x.title), "Runs"], own.map((row) => [place(row.c), ...D.metrics.map((x) => ends(row[x.id])), String(row.runs)]));
    const select = make("select", { onchange: () => openMethod(m, +select.value) }, ...own.map((row) => make("option", row.c === c ? { value: row.c, selected: "" } : { value: row.c }, place(row.c))));
    const d = D.cells[c].d, here = scoresOf(m, c);
    const classes = plain("Dice by class", ["Class", "Dice, %"], Object.entries(here.classes).map(([part, value]) => [part, number(value)]));
    const curves = curvesOf(c).filter((curve) => curve.m === m);
    const lossRows = curves.filter((curve) => curve.series.startsWith("loss/")).flatMap((curve) => curve.step.map((step, i) => ({ series: curve.series.slice(5), step, mean: curve.mean[i], low: curve.low[i], high: curve.high[i] })));
    const panels = make("div", { class: "panels" },
      panel("loss", "Loss terms: mean and range over runs", { rows: lossRows, none: "The logs of these runs were not kept." }),
      panel("convergence", "Convergence", converging(curves)));
    const terms = D.terms.filter((t) => t.m === m && t.d === d && t.n === count(m, c));
    const ledger = terms.length ? plain("Terms", ["Term", "Kind", "Starts at, %", "Without effect", "Gradient / supervised", "Cosine", "Value", "State"],
      terms.map((t) => [t.name, t.kind, number(100 * t.start, 0), t.kind === "term" ? `${t.silent} of ${t.probes}` : "", t.relative === null ? "" : String(Number(t.relative.toPrecision(2))), t.cosine === null ? "" : t.cosine.toFixed(2), t.value === null ? "" : String(Number(t.value.toPrecision(3))), t.kind === "term" ? t.state || "at work" : ""])) : make("p", { class: "none" }, "No ledger was kept with these scores.");
    const base = D.methods.findIndex((x) => x.baseline);
    const than = base >= 0 && base !== m ? scoresOf(base, c) : null;
    const worst = D.datasets[d].cases.map((id, i) => ({ id, i, dice: here.dice[i], hd: here.hd95_mm[i] })).filter((x) => x.dice !== null).sort((a, b) => a.dice - b.dice).slice(0, 10);
    const fails = plain("Worst cases", ["Case", "Dice, %", `HD95, ${D.datasets[d].unit}`, ...(than ? [`minus ${title(base)}, points`] : [])],
      worst.map((x) => [make("button", { type: "button", class: "case", "data-d": d, "data-i": x.i }, x.id), number(x.dice), number(x.hd), ...(than ? [than.dice[x.i] === null ? "n/a" : number(x.dice - than.dice[x.i])] : [])]));
    const code = D.made.code[method.key];
    const params = method.params ? [make("h3", {}, "Parameters"), make("pre", { tabindex: 0 }, JSON.stringify(method.params, null, 1)), make("p", { class: "quiet" }, code ? `Code that trained it: ${code.join(", ")}${code.length > 1 ? " (of different versions)" : ""}. ` : "", `Cost of a run: ${method.cost} of supervised training.`)] : [];
    open(one("#method"), method.title, `#method=${method.key}`, ...intro, scores, make("p", { class: "choice" }, make("label", {}, "Details on ", select)),
      panels, make("h3", {}, "Terms"), ledger, make("h3", {}, "Worst cases"), fails, make("h3", {}, "Classes"), classes, ...params);
  }

  function openCase(d, i, c = cellsShown().find((x) => D.cells[x].d === d) ?? D.cells.findIndex((x) => x.d === d)) {
    const id = D.datasets[d].cases[i];
    const rows = [...D.methods.keys()].map((m) => ({ m, s: scoresOf(m, c) })).filter((row) => row.s && row.s.dice[i] !== null).sort((a, b) => b.s.dice[i] - a.s.dice[i]);
    const scores = plain("Scores of this case", ["Method", ...D.metrics.map((x) => `${x.title}, ${unit(d, x)}`)],
      rows.map((row) => [make("button", { type: "button", class: "method", "data-m": row.m, style: `--c:${D.methods[row.m].color};--k:${D.methods[row.m].dark}` }, title(row.m)), ...D.metrics.map((x) => number(row.s[x.id][i]))]));
    open(one("#case"), `${id}, ${place(c)}`, `#case=${D.datasets[d].id}/${id}`, ...pictures(d, id, rows, i), make("h3", {}, "Scores, mean over runs"), scores);
  }

  /** Tiles of one slice: image with reference, and every method's layers over the image. */
  function pictures(d, id, rows, i) {
    const own = D.pictures?.[d]?.cases[id];
    if (!own) return [make("p", { class: "none" }, D.datasets[d].synthetic ? "No pictures of this case were kept with these scores." : "Pictures of patients stay on the machine that made them: local/index.html beside this page.")];
    const stack = (layers) => make("div", { class: "stack", "data-shown": "prediction" }, make("img", { src: own.image, alt: "" }), ...Object.entries(layers).map(([name, src]) => make("img", { src, alt: name, "data-layer": name })));
    const tile = (words, layers, ...more) => make("figure", { class: "tile" }, stack(layers), make("figcaption", {}, words, ...more));
    const tiles = [tile("Reference", { prediction: own.truth, errors: own.truth, entropy: own.truth })];
    for (const row of rows) {
      const layers = own.methods[D.methods[row.m].key];
      if (layers) tiles.push(tile(title(row.m), layers, make("br"), `Dice ${number(row.s.dice[i])} %`));
    }
    const select = make("select", { onchange: () => all("#case .stack").forEach((s) => { s.dataset.shown = select.value; }) },
      ...[["prediction", "prediction"], ["errors", "errors"], ["entropy", "entropy"], ["", "image alone"]].map(([value, text]) => make("option", { value }, text)));
    const keys = Object.entries(D.pictures[d].keys).map(([name, color]) => make("span", {}, make("i", { style: `--c:${color}` }), name));
    return [make("p", { class: "choice" }, make("label", {}, "Show ", select)), make("p", { class: "keys" }, ...keys), make("div", { class: "tiles" }, ...tiles),
      make("p", { class: "quiet" }, `Slice ${own.slice}, the fullest in the reference. Predictions of the first run; Dice is of the whole case, mean over runs.`)];
  }

  // Controls.
  const pairable = [...D.methods.keys()].filter((m) => D.scores.some((s) => s.m === m));
  const base = pairable.find((m) => D.methods[m].baseline) ?? pairable[0];
  const first = pairable.find((m) => m !== base && !D.methods[m].allLabels) ?? base;
  for (const [id, value] of [["#p-method", first], ["#p-against", base]]) {
    one(id).append(...pairable.map((m) => make("option", { value: m }, title(m))));
    one(id).value = value;
    one(id).addEventListener("change", () => show("paired"));
  }
  caseCell.append(...D.cells.map((_, c) => make("option", { value: c }, place(c))));
  caseCell.addEventListener("change", casesShown);
  for (const key of ["dataset", "labels", "metric"]) {
    one(`#f-${key}`).addEventListener("change", (event) => {
      state[key] = key === "metric" ? D.metrics.find((m) => m.id === event.target.value) : event.target.value;
      filter();
    });
  }
  const boxes = all("#f-methods input");
  const pick = () => { state.methods = new Set(boxes.filter((b) => b.checked).map((b) => +b.value)); filter(); };
  boxes.forEach((box) => box.addEventListener("change", pick));
  all("[data-pick]").forEach((button) => button.addEventListener("click", () => { boxes.forEach((b) => { b.checked = button.dataset.pick === "all"; }); pick(); }));
  document.addEventListener("click", (event) => {
    const method = event.target.closest("button.method"), entry = event.target.closest("button.case");
    if (method) { one("#case").close(); openMethod(+method.dataset.m); }
    if (entry) { one("#method").close(); openCase(+entry.dataset.d, +entry.dataset.i); }
    const menu = one("#f-methods");
    if (menu.open && !menu.contains(event.target)) menu.open = false;
  });
  all("dialog").forEach((dialog) => {
    dialog.addEventListener("close", () => history.replaceState(null, "", location.pathname + location.search));
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  });
  one("#theme").addEventListener("click", () => {
    document.documentElement.classList.toggle("dark");
    try { localStorage.setItem("theme", dark() ? "dark" : "light"); } catch { /* a private window keeps nothing */ }
    show();
  });
  filter();
  const [kind, value] = decodeURIComponent(location.hash.slice(1)).split(/=(.*)/s);
  if (kind === "method") { const m = D.methods.findIndex((x) => x.key === value); if (m >= 0) openMethod(m); }
  if (kind === "case") {
    const [dataset, id] = value.split(/\/(.*)/s), d = D.datasets.findIndex((x) => x.id === dataset);
    const i = d < 0 ? -1 : D.datasets[d].cases.indexOf(id);
    if (i >= 0) openCase(d, i);
  }
}
