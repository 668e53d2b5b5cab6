"use strict";
// Charts in panels, one per data set and labelled count, drawn one after the other.
const Panels = (() => {
  const { D, one, make, dark, chart } = Page;
  const {
    state,
    title,
    place,
    axis,
    cellsShown,
    chosen,
    count,
    scoresOf,
    meansOf,
    sorted,
    curvesOf,
    compared,
    converging,
    byPatient,
  } = Numbers;
  const LEGEND = 12; // more names than this do not fit below a chart

  // Rows of every chart in one panel (a cell, or a data set for label efficiency), and what its
  // specification takes besides: `rows` empty leaves `none` in its place.
  const PANELS = {
    means: (c) => {
      const rows = sorted(meansOf(c));
      return { rows, order: rows.map((row) => row.method) };
    },
    differences: (c) => {
      const base = D.methods.find((m) => m.baseline);
      return {
        ...compared(
          D.differences.filter((d) => d.c === c && d.family === "baseline" && chosen(d)),
          (d) => title(d.m),
        ),
        axis: `minus ${base?.title}, Dice points`,
      };
    },
    contrasts: (c) => ({
      ...compared(
        D.differences.filter((d) => d.c === c && d.family === "declared"),
        (d) => d.name,
      ),
      axis: "difference, Dice points",
    }),
    controls: (c) => ({
      ...compared(
        D.differences.filter((d) => d.c === c && d.family === "controls" && chosen(d)),
        (d) => `${title(d.m)} − ${title(d.than)}`,
      ),
      axis: "method minus control, Dice points",
    }),
    paired: (c) => {
      const m = +one("#p-method").value,
        than = +one("#p-against").value;
      const [a, b] = [scoresOf(m, c), scoresOf(than, c)];
      const against = title(than),
        method = title(m);
      if (!a || !b) return { rows: [], none: `${a ? against : method}: missing here.` };
      const rows = byPatient(D.cells[c].d, a, b).map((p) => ({ ...p, m }));
      const values = rows.flatMap((p) => [p.x, p.y]);
      const pad = 0.03 * (Math.max(...values) - Math.min(...values) || 1);
      const reach = [Math.min(...values) - pad, Math.max(...values) + pad];
      return { rows, reach, diagonal: reach.map((end) => ({ end })), method, against };
    },
    labels: (d) =>
      new Set(D.cells.filter((cell) => cell.d === d).map((cell) => cell.labels)).size < 2
        ? { rows: [], none: "One labelled count alone: no curve." }
        : {
            rows: D.means
              .filter((row) => D.cells[row.c].d === d && chosen(row) && !D.methods[row.m].allLabels)
              .map((row) => {
                const [value, low, high] = row[state.metric.id];
                return { m: row.m, method: title(row.m), value, low, high, labels: row.n };
              })
              .filter((row) => row.value !== null),
          },
    convergence: (c) => converging(curvesOf(c).filter(chosen)),
    ledger: (c) => ({
      rows: D.terms
        .filter((t) => t.kind === "term" && t.d === D.cells[c].d && t.n === count(t.m, c) && chosen(t))
        .map((t) => ({
          ...t,
          method: title(t.m),
          state: t.state || "at work",
          words:
            t.state === "inert"
              ? "inert"
              : t.relative === null
                ? ""
                : `${Number(t.relative.toPrecision(2))}${t.state === "faint" ? "°" : ""}`,
        })),
      none: "No ledger was kept with these scores.",
    }),
    ranks: (c) => {
      const rows = D.ranks
        .filter((r) => r.c === c && chosen(r))
        .map((r) => ({ ...r, method: title(r.m), separable: r.separable ? "yes" : "no" }));
      const count = D.ranks.filter((r) => r.c === c).length;
      return { rows, reach: [0.5, count + 0.5], none: "Fewer than two rows can be ranked." };
    },
    pairs: (c) => {
      const ranked = D.ranks.filter((r) => r.c === c && chosen(r));
      const rows = ranked.flatMap((a) =>
        ranked
          .filter((b) => b !== a)
          .map((b) => {
            const word = a.beats.includes(b.m) ? "better" : b.beats.includes(a.m) ? "worse" : "not separable";
            return {
              m: a.m,
              method: title(a.m),
              other: title(b.m),
              word,
              sign: { better: "+", worse: "−" }[word] ?? "",
            };
          }),
      );
      return { rows, order: ranked.map((r) => title(r.m)), none: "Fewer than two rows can be ranked." };
    },
    cost: (c) => ({
      rows: meansOf(c)
        .filter((row) => row.cost !== undefined)
        .map((row) => ({ ...row, reference: D.methods[row.m].reference })),
    }),
  };

  /** Draws a chart; resolves when it stands. */
  async function draw(target, name, given, words) {
    const shown = new Set(given.rows.map((row) => row.m));
    const methods = D.methods.filter((_, m) => shown.has(m));
    const values = {
      names: methods.map((m) => m.title),
      colors: methods.map((m) => (dark() ? m.dark : m.color)),
      symbols: methods.map((m) => m.symbol),
      legend:
        methods.length > LEGEND
          ? null
          : {
              orient: "bottom",
              columns: target.clientWidth > 480 ? 3 : 2,
              labelLimit: 170,
              symbolType: "circle",
            },
      best: state.metric.less ? "min" : "max",
      order: null,
      height: 22 * new Set(given.rows.map((row) => row.pair ?? row.method)).size,
      ...given,
    };
    const made = await chart(target, name, values, words);
    made.view.addEventListener("click", (_, item) => {
      const datum = item?.datum?.datum ?? item?.datum;
      if (datum?.patient !== undefined) Dialogs.openCase(datum.d, datum.i);
      else if (datum?.m !== undefined) Dialogs.openMethod(datum.m);
    });
  }

  /** Rows of a chart as a table, made when it is asked for. */
  function numbersOf(rows) {
    const names = Object.keys(rows[0]).filter(
      (key) =>
        ![
          "m",
          "c",
          "d",
          "i",
          "n",
          "than",
          "cost",
          "baseline",
          "beats",
          "sign",
          "words",
          "size",
          "kind",
        ].includes(key),
    );
    const head = make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, name)));
    const text = (value) =>
      typeof value === "number" ? String(Number(value.toPrecision(5))) : (value ?? "");
    const body = rows.map((row) => make("tr", {}, ...names.map((name) => make("td", {}, text(row[name])))));
    return make(
      "div",
      { class: "scroll", tabindex: 0 },
      make("table", { class: "plain" }, make("thead", {}, head), make("tbody", {}, ...body)),
    );
  }

  /** A figure with head, chart and the numbers behind it; its chart is drawn by the queue. */
  function panel(name, heading, given) {
    const figure = make("figure", {}, make("h4", {}, heading));
    if (!given.rows.length) {
      figure.append(make("p", { class: "none" }, given.none ?? "Nothing to show."));
      return figure;
    }
    const target = make("div", { class: "chart" });
    const details = make(
      "details",
      {
        ontoggle: () => {
          if (details.open && !details.children[1]) details.append(numbersOf(given.rows));
        },
      },
      make("summary", {}, "The numbers"),
    );
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
      const given = places.map((p) => ({ axis: axis(whole ? p : D.cells[p].d), ...PANELS[name](p) }));
      const empty = given.length && given.every((g) => !g.rows.length && g.none === given[0].none);
      const heading = (p) => (whole ? D.datasets[p].short : place(p));
      const figures = places.map((p, i) => panel(name, heading(p), given[i]));
      target.replaceChildren(...(empty ? [make("p", { class: "none" }, given[0].none)] : figures));
    }
    work();
  }

  return { panel, show, work };
})();
