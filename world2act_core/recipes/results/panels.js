// What is drawn of rows: a rate, the details of one, the comparison of two, success over time.

const dating = (row) =>
  ({
    finished: "when its last trial ended",
    commit: "when the commit that made it was made",
    file: "when its file was last written or copied",
  })[row.datedBy];

function rateBar(row) {
  const [low, high] = wilson(row.successes, row.n);
  const x = (value) => (2 + 96 * value).toFixed(1);
  return [
    make("b", {}, percent(rate(row))),
    ` ${row.successes}/${row.n}`,
    make(
      "svg",
      {
        viewBox: "0 0 100 10",
        class: "tiny",
        role: "img",
        "aria-label": `95 % interval ${percentInterval([low, high])}`,
      },
      make("title", {}, `95 % interval ${percentInterval([low, high])}`),
      make("line", {class: "grid", x1: 2, x2: 98, y1: 5, y2: 5}),
      make("line", {class: "whisker", x1: x(low), x2: x(high), y1: 5, y2: 5}),
      make("circle", {class: "point", cx: x(rate(row)), cy: 5, r: 3.2}),
    ),
    make("small", {}, percentInterval([low, high])),
  ];
}

function details(row) {
  const file = content.files[row.file];
  const links = (list) =>
    make(
      "ul",
      {class: "links"},
      list.map((entry) => make("li", {}, make("a", {href: entry.href}, entry.name))),
    );
  const fact = ([name, value]) =>
    make(
      "details",
      {},
      make("summary", {}, name),
      make("pre", {}, typeof value === "string" ? value : JSON.stringify(value, null, 2)),
    );
  const short = Object.entries(row.metrics).map(([name, [value, n]]) =>
    make(
      "div",
      {},
      make("dt", {}, name),
      make("dd", {}, number(value), make("small", {}, n ? `mean over ${n} trials` : "of the whole result")),
    ),
  );
  return make(
    "div",
    {},
    make(
      "p",
      {},
      "File: ",
      make("a", {href: file.href}, file.path),
      row.copies.length ? `; the same result also in ${row.copies.join(", ")}` : "",
    ),
    row.videos.length ? [make("h3", {}, "Videos of its starts"), links(row.videos)] : null,
    file.links.length ? [make("h3", {}, "Other videos and pages beside it"), links(file.links)] : null,
    short.length ? make("dl", {class: "facts"}, short) : null,
    Object.entries(file.facts).map(fact),
  );
}

function drawComparison() {
  const {a, b} = state;
  at("comparison").hidden = !a && !b;
  if (!a && !b) return;
  const name = (row) =>
    row
      ? `${row.policy}, ${[row.suite, row.task, row.part].filter(Boolean).join(", ")}, ${row.date.slice(0, 10)}`
      : "choose one in the table";
  const heads = ["a", "b"].map((side) => make("p", {}, make("b", {}, side.toUpperCase() + ": "), name(state[side])));
  at("verdict").replaceChildren(...heads, ...(a && b ? verdict(a, b) : []));
}

function verdict(a, b) {
  const refused = unpairable(a, b, content.files);
  if (refused)
    return [make("p", {class: "refused"}, `Not compared: ${refused}, so the same start is not the same trial.`)];
  const found = compared(a, b);
  if (!found) return [make("p", {class: "refused"}, "Not compared: they have no start in common.")];
  const line = {
    better: "B is better than A.",
    worse: "B is worse than A.",
    "no difference":
      found.onlyA + found.onlyB
        ? "No difference: these trials cannot tell the two apart."
        : "No difference: both succeeded and failed on the same starts.",
  }[found.verdict];
  const counts = [
    ["both", "both"],
    ["only A", "onlyA"],
    ["only B", "onlyB"],
    ["neither", "neither"],
  ];
  const notes = [
    ...(found.left ? [`${found.left} trials on starts that only one has are left out`] : []),
    ...caveats(a, b, content.files),
  ];
  return [
    make("p", {class: "line"}, line),
    make(
      "dl",
      {class: "facts"},
      [
        [`A on ${found.n} common starts`, `${found.a}/${found.n} = ${percent(found.a / found.n)}`],
        ["B on the same", `${found.b}/${found.n} = ${percent(found.b / found.n)}`],
        ["B − A, 95 % interval", `${points(found.difference)} points (${found.interval.map(points).join(" to ")})`],
        ["exact McNemar test, two-sided", pValue(found.p)],
        ...counts.map(([label, key]) => [`solved by ${label}`, String(found[key])]),
      ].map(([label, value]) => make("div", {}, make("dt", {}, label), make("dd", {}, value))),
    ),
    make("p", {class: "note"}, notes.length ? `Note: ${notes.join("; ")}.` : ""),
  ];
}

function drawCharts(kept) {
  const charts = histories(kept),
    policies = [...new Set(rows.map((row) => row.policy))].filter((policy) =>
      kept.some((row) => row.policy === policy),
    );
  const css = new Map(policies.map((policy, index) => [policy, `s${index % 6}${index % 12 > 5 ? " dashed" : ""}`]));
  at("legend").replaceChildren(
    ...policies.slice(0, 24).map((policy) => make("span", {}, make("i", {class: `key ${css.get(policy)}`}), policy)),
    policies.length > 24 ? `and ${policies.length - 24} more` : "",
  );
  at("charts").replaceChildren(
    ...charts
      .slice(0, state.charts)
      .map(([name, curves]) =>
        make("figure", {}, make("figcaption", {}, name || "no suite"), chart(name, curves, css)),
      ),
  );
  at("more-charts").hidden = charts.length <= state.charts;
  at("more-charts").textContent = `Draw more (${charts.length - state.charts} left)`;
}

function chart(name, curves, css) {
  const W = 520,
    H = 220,
    L = 52,
    R = 16,
    T = 10,
    B = 36,
    all = [...curves.values()].flat();
  const dates = [...new Set(all.map((row) => row.date))].sort(),
    times = dates.map((date) => Date.parse(date));
  const place = (row) => (state.order ? dates.indexOf(row.date) : Date.parse(row.date));
  const low = state.order ? 0 : times[0],
    high = state.order ? dates.length - 1 : times.at(-1);
  const x = (row) => (high === low ? (L + W - R) / 2 : L + 8 + ((W - L - R - 16) * (place(row) - low)) / (high - low));
  const y = (value) => H - B - (H - T - B) * value;
  const ticks = [0, 0.25, 0.5, 0.75, 1].flatMap((value) => [
    make("line", {class: "grid", x1: L, x2: W - R, y1: y(value), y2: y(value)}),
    make("text", {class: "tick", x: L - 8, y: y(value) + 4, "text-anchor": "end"}, `${100 * value} %`),
  ]);
  const oneDay = dates[0].slice(0, 10) === dates.at(-1).slice(0, 10);
  const when = (date) => (oneDay ? date.slice(0, 16).replace("T", " ") : date.slice(0, 10));
  const ends = [
    [L, "start", dates[0]],
    [W - R, "end", dates.at(-1)],
  ]
    .slice(0, dates.length)
    .map(([at, anchor, date]) => make("text", {class: "tick", x: at, y: H - 12, "text-anchor": anchor}, when(date)));
  const lines = [...curves].map(([policy, found]) => [
    make("path", {
      class: `line ${css.get(policy)}`,
      d: found.map((row, i) => `${i ? "L" : "M"}${x(row).toFixed(1)} ${y(rate(row)).toFixed(1)}`).join(""),
    }),
    ...found.flatMap((row) => {
      const [from, to] = wilson(row.successes, row.n);
      const title = `${policy}: ${row.successes}/${row.n} = ${percent(rate(row))} (${percentInterval([from, to])}), ${row.date.slice(0, 16).replace("T", " ")}, commit ${row.commit.slice(0, 10) || "unknown"}`;
      return [
        make("line", {class: `interval ${css.get(policy)}`, x1: x(row), x2: x(row), y1: y(from), y2: y(to)}),
        make("circle", {class: `dot ${css.get(policy)}`, cx: x(row), cy: y(rate(row)), r: 4}, make("title", {}, title)),
      ];
    }),
  ]);
  return make(
    "svg",
    {
      class: "chart",
      viewBox: `0 0 ${W} ${H}`,
      role: "img",
      "aria-label": `success over time in ${name}: ${all.length} results of ${curves.size} policies; the table has the figures`,
    },
    ticks,
    ends,
    lines.flat(),
  );
}
