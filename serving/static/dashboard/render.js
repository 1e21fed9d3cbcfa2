// One renderer for each kind of part; new figures, series and tables need no new code.

import { chart } from "./chart.js";
import { csvButton, h } from "./dom.js";
import { envelope } from "./envelope.js";
import { UNKNOWN, formatChange, formatValue, title, unitLabel } from "./format.js";

const ROWS_AT_FIRST = 12;
const LONG_TEXT = 40;
const DAGSTER = "attune.dagster";

/** Where Dagster answers: what was set in this browser, else port 3000 of this host. */
export function dagsterAddress() {
  return (localStorage.getItem(DAGSTER) || `${location.protocol}//${location.hostname}:3000`).replace(/\/+$/, "");
}

export function setDagsterAddress(address) {
  if (/^https?:\/\//.test(address)) localStorage.setItem(DAGSTER, address);
  else localStorage.removeItem(DAGSTER);
}

/** All parts of an answer, then what its numbers mean. */
export function renderAnswer(given, name) {
  const answer = envelope(given);
  const meanings = new Map();
  const parts = [...renderParts(answer, name, meanings)];
  if (answer.live) {
    const { definitions, ...live } = answer.live;
    const inner = envelope({ ...live, definitions, source_asset: null, currency: answer.currency });
    parts.push(h("h2", {}, "Since then"), ...renderParts(inner, `${name}-live`, meanings));
  }
  if (!parts.length) parts.push(h("p", { class: "empty" }, "The service has nothing to show here yet."));
  return [...parts, definitions(meanings)];
}

/** Figures, series and tables of an envelope; `meanings` collects what each number means. */
export function renderParts(answer, name, meanings = new Map()) {
  const parts = [];
  const figures = Object.entries(answer.figures);
  if (figures.length) {
    const rows = () => figures.map(([key, each]) => [key, each.value, each.unit, each.comparison?.value, each.comparison?.change, each.unavailable, each.definition, each.source_asset]);
    parts.push(
      h("section", { class: "block", "aria-label": "Figures" },
        h("div", { class: "head" }, h("h2", {}, "Figures"),
          csvButton(`${name}-figures`, ["figure", "value", "unit", "compared_with", "change", "unavailable", "definition", "source_asset"], rows)),
        h("ul", { class: "cards" }, figures.map(([key, each]) => card(key, each, meanings)))),
    );
  }
  const series = Object.entries(answer.series);
  if (series.length) parts.push(h("div", { class: "charts" }, series.map(([key, each]) => seriesFigure(key, each, name, meanings))));
  const notes = typeof answer.unavailable === "object" && answer.unavailable ? answer.unavailable : {};
  for (const [key, each] of Object.entries(answer.tables)) parts.push(tableSection(key, each, name, meanings, notes[key]));
  return parts;
}

/** Columns of a table from name -> [unit, definition]. */
export function described(columns) {
  return Object.entries(columns).map(([name, [unit, definition]]) => ({ name, unit, definition }));
}

function remember(meanings, key, each) {
  const isOther = (id) => meanings.has(id) && meanings.get(id).definition !== each.definition;
  let id = `means-${key}`;
  for (let count = 2; isOther(id); count += 1) id = `means-${key}-${count}`;
  if (!meanings.has(id)) meanings.set(id, { ...each, key });
  return id;
}

function assetLink(key) {
  if (!key) return h("span", {}, "this service");
  return h("a", { href: `${dagsterAddress()}/assets/${key.split("/").map(encodeURIComponent).join("/")}`, class: "asset", rel: "noreferrer" }, breakable(key));
}

/** A long name that may break behind its parts. */
function breakable(text) {
  return text.split(/(?<=[/_])/).flatMap((each) => [each, h("wbr")]);
}

function card(key, each, meanings) {
  const id = remember(meanings, key, each);
  const isKnown = each.value !== null && each.value !== undefined;
  const value = isKnown
    ? [h("span", { class: "number" }, formatValue(each.value, each.unit)), typeof each.value === "number" && unitLabel(each.unit) ? h("span", { class: "unit" }, ` ${unitLabel(each.unit)}`) : null]
    : [h("span", { class: "reason" }, each.unavailable || "the service gives no reason")];
  return h("li", { class: "card", "data-figure": key },
    h("a", { href: `#${id}`, class: "name", title: each.definition }, title(key)),
    h("p", { class: "value" }, value),
    isKnown && each.comparison ? changeText(each) : null,
    h("p", { class: "source" }, assetLink(each.source_asset)));
}

function changeText({ unit, comparison }) {
  const { value, change } = comparison;
  if (change === null || change === undefined) {
    return h("p", { class: "change" }, value === null || value === undefined ? "nothing to compare with" : `before: ${formatValue(value, unit)}`);
  }
  const arrow = change > 0 ? "▲" : change < 0 ? "▼" : "=";
  const before = value === null || value === undefined ? "" : ` from ${formatValue(value, unit)}`;
  return h("p", { class: "change" }, h("span", { "aria-hidden": "true" }, `${arrow} `), formatChange(change), before);
}

/** What a line shows, in words. */
function inWords(key, { x, values, unit }) {
  const known = x.map((day, index) => [day, values[index]]).filter(([, value]) => value !== null);
  if (!known.length) return `${title(key)}: no day has a value.`;
  const least = known.reduce((a, b) => (b[1] < a[1] ? b : a));
  const most = known.reduce((a, b) => (b[1] > a[1] ? b : a));
  const say = ([day, value]) => `${formatValue(value, unit)} on ${day}`;
  return `${title(key)} by day: first ${say(known[0])}, last ${say(known.at(-1))}, lowest ${say(least)}, highest ${say(most)}.`;
}

function seriesFigure(key, each, name, meanings) {
  const id = remember(meanings, key, each);
  const header = ["date", key, ...(each.comparison ? ["compared"] : [])];
  const rows = () => each.x.map((day, index) => [day, each.values[index], ...(each.comparison ? [each.comparison[index]] : [])]);
  const fill = (event) => {
    const details = event.target;
    if (!details.open || details.querySelector("table")) return;
    details.append(grid(`${title(key)} by day`,
      header.map((text, index) => h("th", { scope: "col", class: index ? "num" : null }, title(text))),
      rows().map((row) => h("tr", {}, row.map((value, index) => (index ? h("td", { class: "num" }, formatValue(value, each.unit)) : h("th", { scope: "row" }, value)))))));
  };
  return h("figure", { class: "block", "data-series": key },
    h("div", { class: "head" },
      h("figcaption", {}, h("a", { href: `#${id}`, title: each.definition }, title(key)), unitLabel(each.unit) ? h("span", { class: "unit" }, ` ${unitLabel(each.unit)}`) : null),
      csvButton(`${name}-${key}`, header, rows)),
    each.x.length ? chart(each, inWords(key, each)) : h("p", { class: "empty" }, "No day of this period has data."),
    h("details", { toggle: fill }, h("summary", {}, `Read ${title(key).toLowerCase()} as a table`)),
    h("p", { class: "source" }, assetLink(each.source_asset)));
}

function grid(label, heads, rows) {
  return h("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": label },
    h("table", {}, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows)));
}

function tableSection(key, each, name, meanings, reason) {
  const { columns, rows } = each;
  const isNumber = (column) => !["text", "instant"].includes(column.unit) && rows.some((row) => typeof row[column.name] === "number");
  const numbers = new Set(columns.filter(isNumber).map((column) => column.name));
  const barred = columns.find((column) => column.definition && numbers.has(column.name) && rows.every((row) => (row[column.name] ?? 0) >= 0))?.name;
  const most = barred ? Math.max(...rows.map((row) => row[barred] ?? 0)) : 0;
  const heads = columns.map((column) => {
    if (!column.definition) return h("th", { scope: "col", class: numbers.has(column.name) ? "num" : null }, title(column.name));
    const id = remember(meanings, column.name, { ...column, source_asset: column.source_asset || each.source_asset, as_of: column.as_of || each.as_of });
    return h("th", { scope: "col", class: numbers.has(column.name) ? "num" : null }, h("a", { href: `#${id}`, title: column.definition }, title(column.name)));
  });
  const line = (row, index) => h("tr", {}, columns.map((column, place) => cell(row, column, place, numbers, { barred, most, before: each.comparison?.[index] })));
  const box = rows.length ? grid(title(key), heads, rows.slice(0, ROWS_AT_FIRST).map(line)) : h("p", { class: "empty" }, reason || "No rows: nothing of this kind in the period.");
  const more = rows.length > ROWS_AT_FIRST
    ? h("button", { type: "button", class: "more", click: (event) => {
        box.querySelector("tbody").append(...rows.slice(ROWS_AT_FIRST).map((row, index) => line(row, index + ROWS_AT_FIRST)));
        event.target.remove();
        box.focus();
      } }, `All ${rows.length} rows`)
    : null;
  return h("section", { class: "block", "data-table": key, "aria-label": title(key) },
    h("div", { class: "head" }, h("h2", {}, title(key)),
      csvButton(`${name}-${key}`, columns.map((column) => column.name), () => rows.map((row) => columns.map((column) => row[column.name])))),
    byDay(barred && columns.find((column) => column.name === barred), rows), box, more, h("p", { class: "source" }, assetLink(each.source_asset)));
}

/** A table of days is drawn as well. */
function byDay(column, rows) {
  if (!column || rows.length < 3 || !rows.every((row) => /^\d{4}-\d{2}-\d{2}$/.test(row.date))) return null;
  const series = { x: rows.map((row) => row.date), values: rows.map((row) => row[column.name] ?? null), unit: column.unit };
  return chart(series, inWords(column.name, series));
}

function cell(row, column, place, numbers, { barred, most, before }) {
  const value = row[column.name];
  const isUnknown = value === null || value === undefined;
  const tag = place ? "td" : "th";
  const isLong = typeof value === "string" && value.length > LONG_TEXT;
  const element = h(tag, { scope: place ? null : "row", class: numbers.has(column.name) ? "num" : isLong ? "long" : null });
  if (column.name === "source_asset" && value) element.append(assetLink(value));
  else element.append(isUnknown ? h("span", { class: "reason" }, UNKNOWN) : formatValue(value, column.unit));
  const earlier = before?.[column.name];
  if (!isUnknown && typeof value === "number" && earlier) element.append(h("small", {}, formatChange((value - earlier) / earlier)));
  if (column.name === barred && !isUnknown && most > 0) {
    const bar = h("span", { class: "bar", "aria-hidden": "true" });
    bar.style.width = `${(100 * value) / most}%`;
    element.append(bar);
  }
  return element;
}

/** What every number of the page means, and what made it. */
export function definitions(meanings) {
  if (!meanings.size) return "";
  return h("section", { class: "block", "aria-label": "Definitions" },
    h("h2", {}, "What the numbers mean"),
    h("dl", { class: "meanings" }, [...meanings].flatMap(([id, each]) => [
      h("dt", { id, tabindex: "-1" }, title(each.key), unitLabel(each.unit) ? h("span", { class: "unit" }, ` in ${unitLabel(each.unit)}`) : null),
      h("dd", {}, each.definition || "The service says no more than its name.", h("span", { class: "source" }, " Made by ", assetLink(each.source_asset), each.as_of ? `, as of ${each.as_of}` : "")),
    ])));
}
