"use strict";
// Tables and controls of the page of a benchmark.
{
  const { D, one, all, make, onTheme } = Page;
  const { state, number, title, unit, place, cellsShown, scoresOf } = Numbers;
  const { openMethod, openCase, caseButton } = Dialogs;
  const { show } = Panels;

  // Tables.
  const table = new DataTable("#table", {
    paging: false,
    order: [],
    autoWidth: false,
    info: false,
    language: { search: "Find", zeroRecords: "No row fits these filters." },
  });
  table.search.fixed("page", (_, data, index) => {
    const row = table.row(index).node();
    return cellsShown().includes(+row.dataset.c) && state.methods.has(+row.dataset.m);
  });
  let cases = null;
  const caseCell = one("#case-cell");

  function casesShown() {
    const c = +caseCell.value,
      d = D.cells[c].d,
      metric = state.metric;
    const rows = [...state.methods].map((m) => ({ m, scores: scoresOf(m, c) })).filter((row) => row.scores);
    const lines = D.datasets[d].cases
      .map((id, i) => {
        const found = rows
          .map((row) => ({ m: row.m, value: row.scores[metric.id][i] }))
          .filter((v) => v.value !== null)
          .sort((a, b) => a.value - b.value);
        if (!found.length) return null;
        if (metric.less) found.reverse();
        const [worst, best] = [found[0], found.at(-1)];
        const words = (v) => `${number(v.value)}, ${title(v.m)}`;
        return {
          i,
          id,
          patient: D.datasets[d].patients[i],
          mean: found.reduce((sum, v) => sum + v.value, 0) / found.length,
          worst,
          best,
          words,
        };
      })
      .filter((line) => line !== null);
    cases?.destroy();
    const sort = (order, text) => ({ display: text, sort: order });
    cases = new DataTable("#cases", {
      data: lines.map((l) => [
        l.id,
        l.patient,
        sort(l.mean, number(l.mean)),
        sort(l.worst.value, l.words(l.worst)),
        sort(l.best.value, l.words(l.best)),
        l.i,
      ]),
      columns: [
        {
          title: "Case",
          render: (id, type, row) => {
            if (type !== "display") return id;
            return caseButton(d, row[5]);
          },
        },
        { title: "Patient" },
        ...[`Mean of the rows, ${unit(d)}`, "Lowest", "Highest"].map((t) => ({
          title: t,
          render: { _: "display", sort: "sort" },
        })),
      ],
      order: [[2, metric.less ? "desc" : "asc"]],
      autoWidth: false,
      pageLength: 10,
      lengthMenu: [10, 50, 500],
      info: false,
      language: { search: "Find", lengthMenu: "_MENU_ at once" },
    });
  }

  function filter() {
    const cells = cellsShown();
    table.draw();
    all("#table tbody td").forEach((td) => td.classList.remove("chosen"));
    const head = all("#table thead th").findIndex((th) =>
      th.textContent.trim().startsWith(state.metric.title),
    );
    if (head > 0)
      all(`#table tbody tr > :nth-child(${head + 1})`).forEach((td) => td.classList.add("chosen"));
    one("#f-methods .count").textContent =
      state.methods.size === D.methods.length ? "(all)" : `(${state.methods.size} of ${D.methods.length})`;
    const rows = table.rows({ search: "applied" }).count();
    one("#said").textContent =
      rows === D.cells.length * D.methods.length
        ? ""
        : `${rows} of ${D.cells.length * D.methods.length} rows shown.`;
    table.column(1).visible(new Set(cells.map((c) => D.cells[c].d)).size > 1);
    if (cells.length && !cells.includes(+caseCell.value)) caseCell.value = cells[0];
    casesShown();
    show();
  }

  // Controls.
  const pairable = [...D.methods.keys()].filter((m) => D.scores.some((s) => s.m === m));
  const base = pairable.find((m) => D.methods[m].baseline) ?? pairable[0];
  const first = pairable.find((m) => m !== base && !D.methods[m].reference) ?? base;
  for (const [id, value] of [
    ["#p-method", first],
    ["#p-against", base],
  ]) {
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
  const pick = () => {
    state.methods = new Set(boxes.filter((b) => b.checked).map((b) => +b.value));
    filter();
  };
  boxes.forEach((box) => box.addEventListener("change", pick));
  all("[data-pick]").forEach((button) =>
    button.addEventListener("click", () => {
      boxes.forEach((b) => {
        b.checked = button.dataset.pick === "all";
      });
      pick();
    }),
  );
  document.addEventListener("click", (event) => {
    const method = event.target.closest("button.method"),
      entry = event.target.closest("button.case");
    if (method) {
      one("#case").close();
      openMethod(+method.dataset.m);
    }
    if (entry) {
      one("#method").close();
      openCase(+entry.dataset.d, +entry.dataset.i);
    }
    const menu = one("#f-methods");
    if (menu.open && !menu.contains(event.target)) menu.open = false;
  });
  all("dialog").forEach((dialog) => {
    dialog.addEventListener("close", () =>
      history.replaceState(null, "", location.pathname + location.search),
    );
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
  });
  onTheme(() => show());
  filter();
  const [kind, value] = decodeURIComponent(location.hash.slice(1)).split(/=(.*)/s);
  if (kind === "method") {
    const m = D.methods.findIndex((x) => x.key === value);
    if (m >= 0) openMethod(m);
  }
  if (kind === "case") {
    const [dataset, id] = value.split(/\/(.*)/s),
      d = D.datasets.findIndex((x) => x.id === dataset);
    const i = d < 0 ? -1 : D.datasets[d].cases.indexOf(id);
    if (i >= 0) openCase(d, i);
  }
}
