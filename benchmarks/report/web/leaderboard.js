"use strict";
// The leaderboard: filters, and one chart per benchmark of a track.
{
  const { D, one, make, dark, chart, onTheme } = Page;
  const kinds = ["track", "benchmark", "source"];
  const chosen = (kind) => one(`#f-${kind}`).value;
  const fits = (row) =>
    (!chosen("track") || row.track === chosen("track")) &&
    (!chosen("benchmark") || row.benchmark === chosen("benchmark")) &&
    (!chosen("source") || row.external === (chosen("source") === "external"));
  const table = new DataTable("#table", {
    paging: true,
    pageLength: 25,
    lengthMenu: [25, 100, 1000],
    order: [],
    autoWidth: false,
    info: false,
    language: { search: "Find", zeroRecords: "No row fits these filters.", lengthMenu: "_MENU_ rows" },
  });
  table.search.fixed("page", (_, data, index) => fits(D.rows[+table.row(index).node().dataset.i]));

  async function show() {
    document.documentElement.dataset.drawn = "";
    const rows = D.rows.filter(fits);
    one("#said").textContent = `${rows.length} of ${D.rows.length} rows.`;
    table.draw();
    const figures = [];
    if (chosen("track")) {
      for (const name of new Set(rows.map((row) => row.benchmark))) {
        const own = rows.filter((row) => row.benchmark === name).sort((a, b) => b.dice - a.dice);
        const target = make("div", { class: "chart" });
        figures.push({
          name,
          own,
          target,
          figure: make("figure", {}, make("h4", {}, `${name}: ${chosen("track")}`), target),
        });
      }
    }
    one(".panels").replaceChildren(...figures.map((f) => f.figure));
    for (const { name, own, target } of figures) {
      const drawn = own.map((row, m) => ({
        m,
        method: row.method,
        value: row.dice,
        low: row.dice_low,
        high: row.dice_high,
        labels: row.labels,
        baseline: row.baseline,
      }));
      const made = await chart(
        target,
        "means",
        {
          rows: drawn,
          axis: "Dice, %",
          order: own.map((row) => row.method),
          names: own.map((row) => row.method),
          colors: own.map((row) => (dark() ? row.dark : row.color)),
          symbols: own.map((row) => row.symbol),
          height: 22 * own.length,
        },
        `Dice of the rows of ${name}`,
      );
      made.view.addEventListener("click", (_, item) => {
        const row = own[item?.datum?.m];
        if (row) location.href = `${row.page}#method=${encodeURIComponent(row.key)}`;
      });
    }
    document.documentElement.dataset.drawn = "yes";
  }

  kinds.forEach((kind) => one(`#f-${kind}`).addEventListener("change", show));
  onTheme(show);
  if (D.tracks.length) one("#f-track").value = D.tracks[0];
  table.order([5, "desc"]);
  show();
}
