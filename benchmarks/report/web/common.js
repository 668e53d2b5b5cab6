"use strict";
// What the pages share between their numbers, Vega-Lite's charts and DataTables. Nothing here draws.
const Page = (() => {
  const D = JSON.parse(document.getElementById("data").textContent);
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const dark = () => document.documentElement.classList.contains("dark");
  const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

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

  /** A specification with the strings that begin with @ replaced. */
  function filled(spec, values) {
    if (typeof spec === "string") return spec.startsWith("@") ? values[spec.slice(1)] : spec;
    if (Array.isArray(spec)) return spec.map((part) => filled(part, values));
    if (spec === null || typeof spec !== "object") return spec;
    return Object.fromEntries(Object.entries(spec).map(([key, part]) => [key, filled(part, values)]));
  }

  const look = () => ({
    background: "transparent",
    font: getComputedStyle(document.body).fontFamily,
    view: { stroke: null },
    axis: {
      labelColor: ink("--ink"),
      titleColor: ink("--quiet"),
      gridColor: ink("--line"),
      domainColor: ink("--quiet"),
      tickColor: ink("--quiet"),
      labelFontSize: 11,
      titleFontSize: 11,
      titleFontWeight: 400,
    },
    legend: {
      labelColor: ink("--ink"),
      titleColor: ink("--quiet"),
      labelFontSize: 11,
      titleFontSize: 11,
      titleFontWeight: 400,
      symbolLimit: 0,
      symbolOpacity: 1,
    },
  });

  /** Draws a chart of `values.rows`, and resolves with what Vega-Embed made. */
  function chart(target, name, values, words) {
    const shades = Object.fromEntries(
      Object.entries(D.outcomes).map(([outcome, pair]) => [outcome, pair[+dark()]]),
    );
    const spec = filled(D.charts[name], {
      ...shades,
      faint: ink("--faint"),
      paper: ink("--paper"),
      ...values,
    });
    return vegaEmbed(
      target,
      { width: "container", description: words, data: { values: values.rows }, ...spec },
      {
        mode: "vega-lite",
        renderer: values.rows.length > 1500 ? "canvas" : "svg",
        config: look(),
        tooltip: { theme: dark() ? "dark" : "light" },
        actions: { export: true, source: false, compiled: false, editor: false },
        downloadFileName: `${D.name}-${name}`,
        i18n: { CLICK_TO_VIEW_ACTIONS: "Save this chart" },
      },
    ).then((made) => {
      // Its button is a picture, which a screen reader does not name by its title.
      target.querySelector("summary")?.setAttribute("aria-label", "Save this chart");
      return made;
    });
  }

  /** Light or dark by the button, kept for the next page; charts are drawn anew by `redraw`. */
  function onTheme(redraw) {
    one("#theme").addEventListener("click", () => {
      document.documentElement.classList.toggle("dark");
      try {
        localStorage.setItem("theme", dark() ? "dark" : "light");
      } catch {
        /* a private window keeps nothing */
      }
      redraw();
    });
  }

  return { D, one, all, make, dark, chart, onTheme };
})();
