"use strict";
(() => {
  // The table under the slider "What if demand grows?", from the shares that the sweep found.
  const data = JSON.parse(document.getElementById("what-if-data").textContent);
  const slider = document.getElementById("growth");
  const percent = (share) => share < 0.00005 ? "< 0.01 %" : `${(100 * share).toFixed(2)} %`;

  function lostAt(shares, growth) {
    const grid = data.growth, next = grid.findIndex((one) => one >= growth);
    if (next < 0) return shares[shares.length - 1];
    if (next === 0 || shares[next] === null || shares[next - 1] === null) return shares[next];
    const part = (growth - grid[next - 1]) / (grid[next] - grid[next - 1]);
    return shares[next - 1] + part * (shares[next] - shares[next - 1]);
  }

  function mark(cell, share) {
    cell.textContent = share === null ? "n/a" : percent(share);
    cell.className = share === null || data.bound === null ? "n" : share > data.bound ? "n fails" : "n holds";
  }

  function verdict(demand, keeping) {
    if (data.bound === null) return `${demand}.`;
    const bound = `customers lost to at most ${data.bound_words}`;
    if (keeping === undefined) return `${demand}: no candidate keeps ${bound} under every interpretation.`;
    return `${demand}: ${keeping.toLocaleString("en")} a minute and more keep ${bound} under every interpretation.`;
  }

  function show() {
    const growth = Number(slider.value);
    const lost = data.candidates.map((_, row) => data.lost.map((interpretation) => lostAt(interpretation[row], growth)));
    for (const cell of document.querySelectorAll("#what-if td[data-row]")) {
      mark(cell, lost[cell.dataset.row][cell.dataset.interpretation]);
    }
    const keeps = lost.map((row) => row.every((share) => share !== null && share <= data.bound));
    const keeping = data.candidates.find((_, row) => keeps.slice(row).every(Boolean));
    const demand = `Demand ${growth.toFixed(2)} times the history's, ${(growth * data.per_minute).toFixed(0)} fresh calls a minute`;
    document.getElementById("growth-says").textContent = verdict(demand, keeping);
    slider.setAttribute("aria-valuetext", `${growth.toFixed(2)} times`);
    document.getElementById("growth-now").textContent = `× ${growth.toFixed(2)}`;
  }

  if (data !== null) {
    slider.closest("p").hidden = false;
    slider.addEventListener("input", show);
    show();
  }
})();
(() => {
  // For paper, draw the figures again at the width of the sheet, in light colours.
  const root = document.documentElement;
  function drawFor(paper) {
    root.classList.toggle("printing", paper);
    if (typeof Plotly === "undefined") return;
    for (const script of document.querySelectorAll("script[data-for]")) {
      const plot = document.getElementById(script.dataset.for), figure = JSON.parse(script.textContent);
      const sheet = paper ? { width: plot.clientWidth, height: Math.round(0.8 * figure.layout.height) } : {};
      const layout = { ...themed(figure.layout), ...sheet };
      Plotly.react(plot, figure.data, layout, { responsive: true, displaylogo: false, displayModeBar: false });
    }
  }
  window.addEventListener("beforeprint", () => drawFor(true));
  window.addEventListener("afterprint", () => drawFor(false));
})();
