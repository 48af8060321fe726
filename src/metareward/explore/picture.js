"use strict";
// Draws the charts of the page.
(async () => {
  const soft = { labelColor: "var(--soft)", titleColor: "var(--soft)" };
  const config = {
    background: null,
    font: "inherit",
    view: { stroke: null },
    axis: {
      ...soft, gridColor: "var(--line)", domainColor: "var(--line-strong)", tickColor: "var(--line-strong)",
      labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", labelPadding: 6, titlePadding: 8, labelOverlap: true,
    },
    axisX: { grid: false },
    axisY: { domain: false, ticks: false },
    legend: { labelColor: "var(--ink)", orient: "bottom", direction: "horizontal", labelFontSize: 12, offset: 8, columnPadding: 14 },
    line: { strokeCap: "round" },
  };
  const charts = JSON.parse(document.getElementById("charts").textContent);
  for (const [name, { spec, rows, label }] of Object.entries(charts)) {
    const whole = {
      $schema: "https://vega.github.io/schema/vega-lite/v5.json", description: label, width: "container", height: 240,
      autosize: { type: "fit-x", contains: "padding" }, padding: { left: 10, right: 8, top: 5, bottom: 5 },
      data: { values: rows }, ...spec,
    };
    await vegaEmbed(document.getElementById(`chart-${name}`), whole, {
      ast: true, actions: false, renderer: "svg", config, defaultStyle: false,
      tooltip: { theme: "report", disableDefaultStyle: true },
    });
  }
  document.documentElement.dataset.drawn = "true";
})();
