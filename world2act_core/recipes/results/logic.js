"use strict";
// What the results page computes: no document here, so that the tests run it by itself.
// The figures are those of world2act_core/pages/rates.py and evaluation/statistics.py.

const Z = 1.959963984540054; // normal quantile of a two-sided 95 % interval

/** Wilson's score interval of a success rate; n above 0. */
function wilson(successes, n) {
  const rate = successes / n,
    zz = (Z * Z) / n;
  const centre = (rate + zz / 2) / (1 + zz);
  const half = (Z / (1 + zz)) * Math.sqrt((rate * (1 - rate)) / n + zz / (4 * n));
  return [successes === 0 ? 0 : Math.max(0, centre - half), successes === n ? 1 : Math.min(1, centre + half)];
}

/** Two-sided p-value of the exact McNemar test; whole numbers until the last division. */
function exactPairedP(onlyA, onlyB) {
  const discordant = onlyA + onlyB;
  let term = 1n,
    tail = 1n;
  for (let wins = 1; wins <= Math.min(onlyA, onlyB); wins++) {
    term = (term * BigInt(discordant - wins + 1)) / BigInt(wins);
    tail += term;
  }
  const surplus = Math.max(0, tail.toString(2).length - 64); // keeps the number within what a double holds
  return Math.min(1, Number(tail >> BigInt(surplus)) * 2 ** (surplus + 1 - discordant));
}

/** Newcombe's paired score interval (1998, method 10) of rate(B) - rate(A). */
function pairedInterval(both, onlyA, onlyB, neither) {
  const n = both + onlyA + onlyB + neither,
    a = both + onlyA,
    b = both + onlyB;
  const [aLow, aHigh] = wilson(a, n),
    [bLow, bHigh] = wilson(b, n);
  const margins = a * b * (neither + onlyA) * (neither + onlyB);
  let covariance = both * neither - onlyA * onlyB;
  if (covariance > 0) covariance = Math.max(0, covariance - n / 2);
  const phi = margins === 0 ? 0 : covariance / Math.sqrt(margins);
  const arm = (down, up) => Math.sqrt(Math.max(0, down * down - 2 * phi * down * up + up * up));
  const difference = (onlyB - onlyA) / n;
  return [
    Math.max(-1, difference - arm(b / n - bLow, aHigh - a / n)),
    Math.min(1, difference + arm(bHigh - b / n, a / n - aLow)),
  ];
}

const FILTERS = ["kind", "suite", "task", "policy", "commit", "embodiment", "assets"];

/** Rows with what stands in their file, and a text in which words are searched. */
function unfold(content) {
  return content.rows.map((row, index) => {
    const file = content.files[row.file];
    const full = {
      ...row,
      id: String(index),
      kind: file.kind,
      embodiment: file.embodiment,
      assets: file.assets,
      path: file.path,
    };
    full.text = [...FILTERS.map((name) => full[name]), full.words, full.part, full.path, full.date, ...full.copies]
      .join("\n")
      .toLowerCase();
    return full;
  });
}

/** Whether a row passes; `wanted` names values of FILTERS (a name that it lacks asks for nothing) and `words`. */
function passes(row, wanted) {
  if (FILTERS.some((name) => name in wanted && row[name] !== wanted[name])) return false;
  return (wanted.words || "")
    .toLowerCase()
    .split(/\s+/)
    .every((word) => row.text.includes(word));
}

/** Rows of one policy in one file as one row: all tasks together. */
function pooled(rows) {
  const groups = new Map();
  for (const row of rows) {
    const key = JSON.stringify([row.file, row.policy, row.part]);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(row);
  }
  return [...groups.values()].map((group) => (group.length === 1 ? group[0] : pool(group)));
}

function pool(group) {
  const n = sum(group, (row) => row.n);
  const suites = new Set(group.map((row) => row.suite));
  const mean = (name) => sum(group, (row) => row[name] * row.n) / n;
  return {
    ...group[0],
    id: "all of " + group.map((row) => row.id).join("+"),
    suite: [...suites].join(", "),
    task: `${group.length} tasks`,
    words: "",
    n,
    successes: sum(group, (row) => row.successes),
    steps: mean("steps"),
    seconds: mean("seconds"),
    starts: group.flatMap((row) => row.starts),
    outcomes: group.map((row) => row.outcomes).join(""),
    videos: group.flatMap((row) => row.videos),
    copies: [...new Set(group.flatMap((row) => row.copies))],
    metrics: poolMetrics(group),
  };
}

/** Means weighted by their trials; a figure of the whole result (of 0 trials) stays if the tasks agree on it. */
function poolMetrics(group) {
  const found = {};
  for (const name of new Set(group.flatMap((row) => Object.keys(row.metrics)))) {
    const means = group.filter((row) => name in row.metrics).map((row) => row.metrics[name]);
    const n = sum(means, (mean) => mean[1]);
    if (n) found[name] = [sum(means, (mean) => mean[0] * mean[1]) / n, n];
    else if (means.length === group.length && means.every((mean) => mean[0] === means[0][0])) found[name] = means[0];
  }
  return found;
}

const sum = (list, value) => list.reduce((total, entry) => total + value(entry), 0);

const rate = (row) => row.successes / row.n;

/** What a column shows of a row: a number, a text, or null where there is nothing. */
function cell(row, column) {
  if (column === "rate") return rate(row);
  if (column.startsWith("metric ")) return row.metrics[column.slice(7)]?.[0] ?? null;
  return row[column];
}

/** Rows in the order of a column; rows that lack it come last either way, equals keep their order. */
function sorted(rows, column, descending) {
  const collator = new Intl.Collator("en", {numeric: true});
  const compare = (a, b) => (typeof a === "number" ? a - b : collator.compare(a, b));
  const empty = (value) => value === null || value === "" || value === undefined;
  return [...rows].sort((x, y) => {
    const a = cell(x, column),
      b = cell(y, column);
    if (empty(a) || empty(b)) return Number(empty(a)) - Number(empty(b));
    return descending ? compare(b, a) : compare(a, b);
  });
}

/** Charts of success over time: suite and task → policy → its rows, oldest first; most rows first. */
function histories(rows) {
  const charts = new Map();
  for (const row of sorted(rows, "date", false)) {
    const name = [row.suite, row.task].filter(Boolean).join("/") + (row.part ? `, ${row.part}` : "");
    if (!charts.has(name)) charts.set(name, new Map());
    const curves = charts.get(name);
    if (!curves.has(row.policy)) curves.set(row.policy, []);
    curves.get(row.policy).push(row);
  }
  const size = (curves) => sum([...curves.values()], (curve) => curve.length);
  return [...charts].sort((a, b) => size(b[1]) - size(a[1]));
}

/** Why two rows' trials cannot be paired, as `world2act eval --against` says it; "" if they can. */
function unpairable(a, b, files) {
  const facts = [a, b].map((row) => files[row.file].facts);
  if (a.embodiment && b.embodiment && a.embodiment !== b.embodiment) {
    return `the embodiments differ (${a.embodiment} against ${b.embodiment})`;
  }
  for (const name of ["protocol", "embodiment"]) {
    if (facts.every((fact) => name in fact) && canonical(facts[0][name]) !== canonical(facts[1][name])) {
      return `the results differ in ${name}`;
    }
  }
  return "";
}

/** What may change an outcome although nobody meant it to, and differs between two rows or is not stated of one. */
function caveats(a, b, files) {
  const facts = [a, b].map((row) => ({...files[row.file].facts, commit: row.commit}));
  const found = [];
  for (const name of ["protocol", "rendering", "assets", "versions", "commit"]) {
    const stated = facts.filter((fact) => fact[name] !== undefined && fact[name] !== "");
    if (stated.length === 2 && canonical(stated[0][name]) !== canonical(stated[1][name])) found.push(`${name} differs`);
    if (stated.length === 1 || (name === "protocol" && !stated.length)) found.push(`${name} is not stated by both`);
  }
  return found;
}

/** JSON with sorted keys: equal for equal content. */
const canonical = (value) =>
  JSON.stringify(value, (_, inner) =>
    inner && typeof inner === "object" && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([x], [y]) => (x < y ? -1 : 1)))
      : inner,
  );

/** B against A on the starts that both have; null without any. */
function compared(a, b) {
  const outcomes = new Map(a.starts.map((start, index) => [start, a.outcomes[index]]));
  const counts = {both: 0, onlyA: 0, onlyB: 0, neither: 0};
  let n = 0;
  b.starts.forEach((start, index) => {
    if (!outcomes.has(start)) return;
    n += 1;
    const pair = outcomes.get(start) + b.outcomes[index];
    counts[{11: "both", 10: "onlyA", "01": "onlyB", "00": "neither"}[pair]] += 1;
  });
  if (!n) return null;
  const {both, onlyA, onlyB, neither} = counts,
    p = exactPairedP(onlyA, onlyB);
  return {
    ...counts,
    n,
    left: a.n + b.n - 2 * n,
    p,
    difference: (onlyB - onlyA) / n,
    interval: pairedInterval(both, onlyA, onlyB, neither),
    a: both + onlyA,
    b: both + onlyB,
    verdict: p > 0.05 ? "no difference" : onlyB > onlyA ? "better" : "worse",
  };
}

const number = (value) =>
  value === null ? "" : Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
const percent = (value) => `${(100 * value).toFixed(1)} %`;
const percentInterval = ([low, high]) => `${(100 * low).toFixed(1)} to ${(100 * high).toFixed(1)} %`;
const points = (value) => {
  const rounded = Math.round(1000 * value) / 10;
  return `${rounded > 0 ? "+" : rounded < 0 ? "−" : "±"}${Math.abs(rounded).toFixed(1)}`;
};
const pValue = (p) =>
  p < 0.001 ? `p = ${p.toExponential(1).replace(/e([+-])(\d)$/, "e$10$2")}` : `p = ${p.toFixed(3)}`;
