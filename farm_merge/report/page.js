const boxes = [...document.querySelectorAll(".legend input[value]")].filter(box => box.id === "");
const singleRuns = document.getElementById("single-runs");
const views = {};

/* On the page colours are those of the style sheet, so that they follow it, on paper too. */
function config(ink, line) {
  return {
    font: "system-ui, sans-serif",
    view: { stroke: null },
    axis: { labelColor: ink, titleColor: ink, gridColor: line, domainColor: line, tickColor: line },
    axisY: { minExtent: 36, labelFlush: true },
    legend: { labelColor: ink, titleColor: ink, orient: "bottom", columns: 2 },
  };
}

function records({ columns, rows }) {
  return rows.map(row => Object.fromEntries(columns.map((name, place) => [name, row[place]])));
}

function settings() {
  return { hidden: boxes.filter(box => !box.checked).map(box => box.value), single_runs: Boolean(singleRuns?.checked) };
}

/* The drawing with the rows of one panel; on the page, checkboxes stand for the legend of sets. */
function panelSpec(chart, panel, { legend }) {
  const spec = structuredClone(chart.spec);
  for (const layer of spec.layer ?? [spec]) {
    layer.transform = [{ filter: { field: "panel", equal: panel } }, ...(layer.transform ?? [])];
    if (!legend && layer.encoding?.color?.field === "set") layer.encoding.color.legend = null;
  }
  return spec;
}

function whole(chart, parts) {
  const datasets = Object.fromEntries(Object.entries(chart.data).map(([name, table]) => [name, records(table)]));
  const params = Object.entries(settings()).map(([name, value]) => ({ name, value }));
  return { $schema: "https://vega.github.io/schema/vega-lite/v6.json", datasets, params, ...parts };
}

async function draw() {
  for (const [name, chart] of Object.entries(charts)) {
    const plots = document.getElementById(name).querySelectorAll(".plot");
    views[name] = [];
    for (const [place, panel] of chart.panels.entries()) {
      const spec = whole(chart, { ...panelSpec(chart, panel, { legend: false }), width: "container", autosize: { type: "fit-x", contains: "padding" }, background: "transparent" });
      const { view } = await vegaEmbed(plots[place], spec,
        { renderer: "svg", actions: false, logLevel: 1, config: config("var(--ink)", "var(--line)") });
      views[name].push(view);
    }
  }
  document.body.dataset.drawn = Object.keys(views).length;
}

async function toggle() {
  const { hidden, single_runs } = settings();
  await Promise.all(Object.values(views).flat().map(
    view => view.signal("hidden", hidden).signal("single_runs", single_runs).runAsync()));
  document.body.dataset.toggled = Number(document.body.dataset.toggled || 0) + 1;
}

/* The picture of a chart has its title, its legend and all its panels, and is white. */
async function picture(chart, form) {
  const columns = Math.min(chart.panels.length, 3);
  const concat = chart.panels.map(panel => (
    { ...panelSpec(chart, panel, { legend: true }), title: panel, width: Math.floor(720 / columns) }));
  const title = { text: chart.title, subtitle: chart.caption, anchor: "start" };
  const spec = whole(chart, { title, background: "white", concat, columns });
  const drawn = await vegaEmbed(document.createElement("div"), spec,
    { actions: false, logLevel: 1, config: config("#1d2329", "#dde2e7") });
  const address = await drawn.view.toImageURL(form, 2);
  drawn.finalize();
  return address;
}

function csv(table) {
  const quoted = value => /[",\n]/.test(value ?? "") ? `"${String(value).replaceAll('"', '""')}"` : value ?? "";
  const lines = table.rows.flatMap(row => {
    const list = row.find(Array.isArray);  // the cells that are lists are rows of their own
    return list ? list.map((_, place) => row.map(cell => Array.isArray(cell) ? cell[place] : cell)) : [row];
  });
  return [table.columns, ...lines].map(line => line.map(quoted).join(",")).join("\r\n") + "\r\n";
}

async function save(name, form, rows) {
  const link = document.createElement("a");
  link.download = form === "csv" ? `${name}.${rows}.csv` : `${name}.${form}`;
  link.href = form === "csv"
    ? URL.createObjectURL(new Blob([csv(charts[name].data[rows])], { type: "text/csv" }))
    : await picture(charts[name], form);
  link.click();
}

function sort(header) {
  const table = header.closest("table"), body = table.tBodies[0];
  const place = header.cellIndex, isDown = header.getAttribute("aria-sort") === "ascending";
  const key = row => {
    const { value } = row.cells[place].dataset;
    return value === undefined ? row.cells[place].textContent : value === "" ? NaN : Number(value);
  };
  const compare = (a, b) => typeof a === "number" && typeof b === "number"
    ? (isNaN(a) - isNaN(b)) || (isDown ? b - a : a - b)  // what is missing is last
    : (isDown ? -1 : 1) * String(a).localeCompare(String(b), "en", { numeric: true });
  body.append(...[...body.rows].sort((one, other) => compare(key(one), key(other))));
  for (const other of header.parentElement.cells) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", isDown ? "descending" : "ascending");
}

/* What scrolls can be reached by keyboard, and what does not is no stop. */
function markScrolling() {
  for (const box of document.querySelectorAll(".table")) {
    if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

for (const box of [...boxes, singleRuns].filter(Boolean)) box.addEventListener("change", toggle);
for (const group of document.querySelectorAll(".save")) {
  group.addEventListener("click", ({ target }) => target.dataset.form && save(group.dataset.chart, target.dataset.form, target.dataset.rows));
}
for (const header of document.querySelectorAll("th")) header.querySelector("button").addEventListener("click", () => sort(header));
for (const each of document.querySelectorAll("details")) each.addEventListener("toggle", markScrolling);
addEventListener("resize", markScrolling);
if (matchMedia("(max-width: 600px)").matches && singleRuns) singleRuns.closest("details").open = false;
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(each => each.open = true));
markScrolling();
draw();
