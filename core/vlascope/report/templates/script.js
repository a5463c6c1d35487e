(function () {
  const root = document.documentElement;
  const dark = () => {
    const chosen = root.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const colours = () => {
    const style = getComputedStyle(root);
    const read = (name) => style.getPropertyValue(name).trim();
    return { ink: read("--ink"), soft: read("--soft"), line: read("--line"),
      faint: read("--faint"), hue: read("--share-hue"), family: getComputedStyle(document.body).fontFamily };
  };
  const themed = (value, c) => {
    if (value === "text") return c.ink;
    if (value === "theme") return [[0, `rgba(${c.hue}, 0.05)`], [1, `rgba(${c.hue}, 0.85)`]];
    if (Array.isArray(value)) return value.map((v) => themed(v, c));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) =>
        [k, k === "text" || k === "mode" || k === "name" ? v : themed(v, c)]));
    }
    return value;
  };
  const hidden = new Set();
  const drawn = new Set();
  const draw = (holder) => {
    const figure = JSON.parse(holder.dataset.figure);
    const c = colours();
    const axis = { gridcolor: c.line, linecolor: c.line, zerolinecolor: c.faint,
      tickfont: { color: c.soft, size: 11.5 }, fixedrange: true };
    const layout = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: c.family, size: 12, color: c.ink }, ...figure.layout };
    const axes = Object.keys(layout).filter((name) => /^[xy]axis\d*$/.test(name));
    for (const name of new Set(["xaxis", "yaxis", ...axes])) {
      layout[name] = { ...axis, ...layout[name] };
      if (layout[name].title) layout[name].title = { ...layout[name].title, font: { size: 12, color: c.soft } };
    }
    layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: c.soft, activecolor: c.ink };
    layout.legend = { font: { size: 11, color: c.soft }, bgcolor: "rgba(0,0,0,0)", ...layout.legend };
    const data = themed(figure.data, c).map((trace) =>
      hidden.has(trace.legendgroup) ? { ...trace, visible: false } : trace);
    drawn.add(holder);
    Plotly.react(holder, data, layout,
      { modeBarButtons: [["toImage"]], displaylogo: false, responsive: true, showSendToCloud: false,
        toImageButtonOptions: { format: "svg", filename: holder.dataset.file || "figure" } });
  };
  const holders = [...document.querySelectorAll(".figure")];
  for (const holder of holders) {
    holder.dataset.figure = holder.querySelector("script").textContent;
    holder.textContent = "";
  }
  const seen = () => holders.filter((h) => h.offsetParent !== null);
  const all = () => { drawn.clear(); seen().forEach(draw); };
  all();
  for (const details of document.querySelectorAll("details")) {
    details.addEventListener("toggle", () => seen().filter((h) => !drawn.has(h)).forEach(draw));
  }
  for (const button of document.querySelectorAll("[data-toggle][aria-pressed]")) {
    button.addEventListener("click", () => {
      const name = button.dataset.toggle;
      const shown = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(shown));
      if (shown) hidden.delete(name); else hidden.add(name);
      for (const panel of document.querySelectorAll("[data-entry]")) {
        if (panel.dataset.entry === name) panel.hidden = !shown;
      }
      all();
    });
  }
  addEventListener("beforeprint", () => seen().forEach((h) => Plotly.Plots.resize(h)));
  document.getElementById("theme").addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    all();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
})();
