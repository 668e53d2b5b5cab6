"use strict";
// What is shown of the page's numbers: the state of the filters, and rows that fit them.
const Numbers = (() => {
  const { D } = Page;
  const state = { dataset: "all", labels: "all", metric: D.metrics[0], methods: new Set(D.methods.keys()) };
  const WORDS = ["better", "worse", "equivalent"];
  const number = (value, digits = 1) =>
    value === null || value === undefined ? "n/a" : value.toFixed(digits);
  const title = (m) => D.methods[m].title;
  const unit = (d, metric = state.metric) => (metric.less ? D.datasets[d].unit : "%");
  const place = (c) => `${D.datasets[D.cells[c].d].short}, ${D.cells[c].labels} labelled`;
  const axis = (d) => `${state.metric.title}, ${unit(d)}`;
  const cellsShown = () =>
    [...D.cells.keys()].filter(
      (c) =>
        (state.dataset === "all" || D.cells[c].d === +state.dataset) &&
        (state.labels === "all" || D.cells[c].labels === +state.labels),
    );
  const chosen = (row) => state.methods.has(row.m);
  const count = (m, c) => (D.methods[m].allLabels ? "all" : D.cells[c].labels);
  const scoresOf = (m, c) => D.scores.find((s) => s.m === m && s.d === D.cells[c].d && s.n === count(m, c));
  const meansOf = (c) =>
    D.means
      .filter((row) => row.c === c && chosen(row))
      .map((row) => {
        const [value, low, high] = row[state.metric.id];
        const method = D.methods[row.m];
        return {
          m: row.m,
          method: method.title,
          value,
          low,
          high,
          labels: row.n,
          runs: row.runs,
          baseline: method.baseline,
          cost: method.cost,
        };
      })
      .filter((row) => row.value !== null);
  const sorted = (rows) => [...rows].sort((a, b) => (state.metric.less ? 1 : -1) * (a.value - b.value));

  /** Rows of comparisons with their names; the axis ends where intervals of few runs would leave no room. */
  function compared(differences, name) {
    const rows = differences
      .filter((d) => d.mean !== null)
      .map((d) => ({
        ...d,
        method: title(d.m),
        pair: name(d),
        comparison: `${title(d.m)} − ${title(d.than)}`,
        word: WORDS.includes(d.word) ? d.word : "no verdict",
      }));
    const most = Math.max(...rows.map((d) => Math.abs(d.mean)));
    const ends = rows
      .flatMap((d) => [d.low, d.high])
      .filter((v) => v !== null)
      .map(Math.abs)
      .sort((a, b) => a - b);
    const reach =
      1.1 * Math.max(2 * D.margin, 1.3 * most, Math.min(ends[Math.floor(0.75 * ends.length)] ?? 0, 4 * most));
    return { rows, reach: [-reach, reach], none: "Nothing is compared here." };
  }

  const curvesOf = (c) =>
    D.curves.filter((curve) => curve.d === D.cells[c].d && curve.n === count(curve.m, c));

  /** Validation Dice over the steps; where runs were validated once alone, their supervised loss. */
  function converging(curves) {
    const validated = curves.filter((curve) => curve.series === "val/dice");
    const often = validated.some((curve) => curve.step.length > 1);
    const own = often ? validated : curves.filter((curve) => curve.series === "loss/supervised");
    const scale = often ? 100 : 1;
    const rows = own.flatMap((curve) =>
      curve.step.map((step, i) => ({
        m: curve.m,
        method: title(curve.m),
        step,
        value: scale * curve.mean[i],
        low: scale * curve.low[i],
        high: scale * curve.high[i],
      })),
    );
    return {
      rows,
      axis: often ? "validation Dice, %" : "supervised loss (one validation alone)",
      none: "The logs of these runs were not kept.",
    };
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

  return {
    state,
    number,
    title,
    unit,
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
  };
})();
