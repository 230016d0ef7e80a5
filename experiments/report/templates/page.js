"use strict";
// Draw every figure from the JSON beside it, in the colours of light or dark; draw again when those change.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
function themed(layout) {
  const axis = { gridcolor: colour("--line"), linecolor: colour("--line"), zerolinecolor: colour("--line") };
  const text = { color: colour("--fg"), family: getComputedStyle(document.body).fontFamily, size: 12 };
  return { ...layout, font: text, xaxis: { ...layout.xaxis, ...axis }, yaxis: { ...layout.yaxis, ...axis },
    hoverlabel: { bgcolor: colour("--card"), font: text } };
}
function draw() {
  for (const script of document.querySelectorAll("script[data-for]")) {
    const figure = JSON.parse(script.textContent);
    Plotly.react(script.dataset.for, figure.data, themed(figure.layout), { responsive: true, displaylogo: false, displayModeBar: false });
  }
}
draw();
dark.addEventListener("change", draw);
window.addEventListener("beforeprint", () => document.querySelectorAll(".plot").forEach((plot) => Plotly.Plots.resize(plot)));
