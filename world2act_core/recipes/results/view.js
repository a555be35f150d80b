// The document: filters, table, comparison, charts. Every text goes in as text, so no name can become markup.

const content = JSON.parse(document.getElementById("content").textContent);
const rows = unfold(content);
const metrics = [...new Set(rows.flatMap((row) => Object.keys(row.metrics)))].sort();
const COLUMNS = [
  ["date", "date"],
  ["suite", "suite"],
  ["task", "task"],
  ["policy", "policy"],
  ["rate", "success"],
  ["steps", "steps"],
  ["seconds", "s a trial"],
  ["kind", "kind"],
  ["part", "starts"],
  ["embodiment", "embodiment"],
  ["assets", "assets"],
  ["commit", "commit"],
  ...metrics.map((name) => [`metric ${name}`, name]),
];
const PAGE = 100,
  CHARTS = 8,
  FEW_METRICS = 6;
const PLURAL = {
  kind: "kinds",
  suite: "suites",
  task: "tasks",
  policy: "policies",
  commit: "commits",
  embodiment: "embodiments",
  assets: "assets",
};
const usual = (column) =>
  !column.startsWith("metric ")
    ? rows.some((row) => ![null, "", undefined].includes(cell(row, column)))
    : metrics.length <= FEW_METRICS || /^metric (safety|latency)\b/.test(column);
const state = {
  wanted: {},
  sort: "date",
  descending: true,
  pooled: false,
  order: false,
  shown: PAGE,
  charts: CHARTS,
  a: null,
  b: null,
  columns: new Set(COLUMNS.map(([name]) => name).filter(usual)),
  open: new Set(),
};

const at = (id) => document.getElementById(id);

/** An element with attributes (properties for `on…`) and children; null children are left out. */
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "circle", "text", "title"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element[name] = value;
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null));
  return element;
}

/** Lists of what there is to choose from; each offers what the other filters leave, with how many rows. */
function fillFilters() {
  for (const name of FILTERS) {
    const others = {...state.wanted};
    delete others[name];
    const counts = new Map();
    for (const row of rows) if (passes(row, others)) counts.set(row[name], (counts.get(row[name]) || 0) + 1);
    if (name in state.wanted && !counts.has(state.wanted[name])) counts.set(state.wanted[name], 0);
    const values = [...counts.keys()].sort(new Intl.Collator("en", {numeric: true}).compare);
    const select = at(`by-${name}`);
    select.replaceChildren(
      make("option", {value: ""}, `all ${PLURAL[name]}`),
      ...values.map((value, index) =>
        make(
          "option",
          {value: String(index + 1), selected: state.wanted[name] === value},
          `${short(name, value)} (${counts.get(value)})`,
        ),
      ),
    );
    select.onchange = () => {
      if (select.value === "") delete state.wanted[name];
      else state.wanted[name] = values[Number(select.value) - 1];
      refresh();
    };
    select.closest("label").hidden = values.length < 2 && !(name in state.wanted);
  }
}

const short = (name, value) => (value === "" ? "not stated" : name === "commit" ? value.slice(0, 10) : value);

function current() {
  const kept = rows.filter((row) => passes(row, state.wanted));
  return sorted(state.pooled ? pooled(kept) : kept, state.sort, state.descending);
}

function refresh({keep = false} = {}) {
  if (!keep) Object.assign(state, {shown: PAGE, charts: CHARTS});
  const kept = current();
  fillFilters();
  drawCount(kept);
  drawTable(kept);
  drawCharts(kept);
  drawComparison();
  remember();
}

function drawCount(kept) {
  const n = sum(kept, (row) => row.n),
    successes = sum(kept, (row) => row.successes);
  const policies = new Set(kept.map((row) => row.policy)).size;
  const all =
    policies === 1
      ? `, all together ${successes} of ${n} = ${percent(successes / n)} (95 % interval ${percentInterval(wilson(successes, n))})`
      : "";
  at("count").textContent = kept.length
    ? `${kept.length} results, ${policies} ${policies === 1 ? "policy" : "policies"}, ${n} trials${all}`
    : "No result passes these filters.";
}

function drawTable(kept) {
  const columns = COLUMNS.filter(([name]) => state.columns.has(name));
  const arrow = (name) => (state.sort !== name ? "" : state.descending ? " ↓" : " ↑");
  at("head").replaceChildren(
    make(
      "tr",
      {},
      make("th", {scope: "col"}, "A"),
      make("th", {scope: "col"}, "B"),
      make("th", {scope: "col"}, "more"),
      columns.map(([name, label]) =>
        make(
          "th",
          {
            scope: "col",
            class: isNumeric(name) ? "number" : null,
            "aria-sort": state.sort !== name ? "none" : state.descending ? "descending" : "ascending",
          },
          make(
            "button",
            {type: "button", class: "sort", "data-sort": name, onclick: () => sortBy(name)},
            label + arrow(name),
          ),
        ),
      ),
    ),
  );
  at("body").replaceChildren(...kept.slice(0, state.shown).flatMap((row) => tableRow(row, columns)));
  at("more").hidden = kept.length <= state.shown;
  at("more").textContent = `Show more (${kept.length - state.shown} left)`;
}

const isNumeric = (column) => ["steps", "seconds"].includes(column) || column.startsWith("metric ");

function sortBy(name) {
  state.descending = state.sort === name ? !state.descending : name === "date" || name === "rate";
  state.sort = name;
  refresh({keep: true});
  document.querySelector(`[data-sort="${CSS.escape(name)}"]`).focus();
}

function tableRow(row, columns) {
  const name = [row.policy, row.suite, row.task, row.date].join(", ");
  const pick = (side) =>
    make(
      "td",
      {},
      make("input", {
        type: "radio",
        name: side,
        checked: state[side]?.id === row.id,
        "aria-label": `${side.toUpperCase()}: ${name}`,
        onchange: () => {
          state[side] = row;
          drawComparison();
          remember();
        },
      }),
    );
  const opened = state.open.has(row.id);
  const label = row.videos.length ? `${row.videos.length} videos` : "details";
  const toggle = make(
    "button",
    {
      type: "button",
      class: "quiet",
      "aria-expanded": String(opened),
      "aria-label": `${label}: ${name}`,
      "data-details": row.id,
      onclick: () => {
        if (!state.open.delete(row.id)) state.open.add(row.id);
        drawTable(current());
        document.querySelector(`[data-details="${CSS.escape(row.id)}"]`).focus();
      },
    },
    `${opened ? "▾" : "▸"} ${label}`,
  );
  const line = make(
    "tr",
    {},
    pick("a"),
    pick("b"),
    make("td", {}, toggle),
    columns.map(([column]) => tableCell(row, column)),
  );
  return opened
    ? [line, make("tr", {class: "opened"}, make("td", {colspan: columns.length + 3}, details(row)))]
    : [line];
}

function tableCell(row, column) {
  if (column === "rate") return make("td", {class: "rate"}, rateBar(row));
  if (column === "date")
    return make(
      "td",
      {class: "date", title: dating(row)},
      row.date.slice(0, 16).replace("T", " ") + (row.datedBy === "finished" ? "" : " *"),
    );
  if (column === "commit") return make("td", {title: row.commit}, make("code", {}, row.commit.slice(0, 10)));
  if (column === "task") return make("td", {class: "task"}, row.task, row.words ? make("small", {}, row.words) : null);
  if (isNumeric(column)) return make("td", {class: "number"}, number(cell(row, column)));
  return make(
    "td",
    {class: column === "assets" && row.assets ? "label" : column === "policy" ? "policy" : null},
    row[column] ?? "",
  );
}

/** The view in the address, so that a link or a reload shows the same. */
function remember() {
  const kept = new URLSearchParams(state.wanted);
  for (const name of ["sort"]) kept.set(`.${name}`, (state.descending ? "-" : "") + state.sort);
  if (state.pooled) kept.set(".pooled", "1");
  try {
    history.replaceState(null, "", `#${kept}`);
  } catch {
    /* a browser that forbids it for files */
  }
}

function recall() {
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    if (FILTERS.includes(name) || name === "words") state.wanted[name] = value;
    if (name === ".pooled") state.pooled = true;
    const sort = value.replace(/^-/, "");
    if (name === ".sort" && COLUMNS.some(([column]) => column === sort))
      Object.assign(state, {sort, descending: value.startsWith("-")});
  }
  at("words").value = state.wanted.words || "";
  at("pooled").checked = state.pooled;
}

function start() {
  recall();
  at("words").oninput = () => {
    state.wanted.words = at("words").value;
    if (!state.wanted.words) delete state.wanted.words;
    refresh();
  };
  at("pooled").onchange = () => {
    Object.assign(state, {pooled: at("pooled").checked, a: null, b: null});
    refresh();
  };
  at("order").onchange = () => {
    state.order = at("order").checked;
    drawCharts(current());
  };
  at("reset").onclick = () => {
    state.wanted = {};
    at("words").value = "";
    refresh();
  };
  at("more").onclick = () => {
    state.shown += PAGE;
    drawTable(current());
  };
  at("more-charts").onclick = () => {
    state.charts += CHARTS;
    drawCharts(current());
  };
  at("swap").onclick = () => {
    Object.assign(state, {a: state.b, b: state.a});
    refresh({keep: true});
  };
  at("none").onclick = () => {
    Object.assign(state, {a: null, b: null});
    refresh({keep: true});
  };
  at("columns").replaceChildren(
    ...COLUMNS.map(([name, label]) =>
      make(
        "label",
        {},
        make("input", {
          type: "checkbox",
          checked: state.columns.has(name),
          onchange: (event) => {
            if (!state.columns.delete(name)) state.columns.add(name);
            event.target.checked = state.columns.has(name);
            drawTable(current());
          },
        }),
        label,
      ),
    ),
  );
  at("needs-script").remove();
  at("application").hidden = false;
  refresh();
}

start();
