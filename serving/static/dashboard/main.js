// The page: which section and filters the address names, and what is shown for them.

import { Refusal, accessKey, get, setAccessKey } from "./api.js";
import { drawCharts, redrawCharts } from "./chart.js";
import { customerContent } from "./customer.js";
import { h } from "./dom.js";
import { experimentsContent } from "./experiments.js";
import { liftContent } from "./lift.js";
import { dagsterAddress, renderAnswer, setDagsterAddress } from "./render.js";

const SECTIONS = [
  { id: "overview", name: "Overview", path: "/dashboard/overview" },
  { id: "lift", name: "Lift", content: (_, signal) => liftContent(signal) },
  { id: "customers", name: "Customers", path: "/dashboard/user-analytics" },
  { id: "segments", name: "Segments", path: "/analytics/user-segments" },
  { id: "recommendations", name: "Recommendations", path: "/dashboard/recommendation-analytics" },
  { id: "experiments", name: "Experiments", content: (_, signal) => experimentsContent(signal) },
  { id: "bundles", name: "Bundles", path: "/analytics/bundle-performance" },
  { id: "profit", name: "Profit", path: "/dashboard/profit-analytics" },
  { id: "opportunities", name: "Opportunities", path: "/analytics/profit-optimization" },
  { id: "campaigns", name: "Campaigns", path: "/dashboard/campaigns" },
  { id: "journeys", name: "Journeys", path: "/dashboard/journeys" },
  { id: "models", name: "Models", path: "/dashboard/models", isNow: true },
  { id: "health", name: "Data health", path: "/dashboard/data-health", isNow: true },
  { id: "customer", name: "One customer", content: (asked, signal) => customerContent(asked.get("customer"), signal, chooseCustomer) },
];
const DEFAULTS = { days: "30", compare: "previous_period" };
const FILTERS = ["days", "from", "to", "compare", "segment"];
const THEME = "attune.theme";

const part = (id) => document.getElementById(id);
const filters = part("filters");
const dialog = part("dialog");
const members = new Map();
let running = new AbortController();

function asked() {
  return new URLSearchParams(location.search);
}

function sectionOf(query) {
  return SECTIONS.find((each) => each.id === query.get("section")) || SECTIONS[0];
}

/** The address of a section with the filters that are set now. */
function addressOf(id, query) {
  const next = new URLSearchParams({ section: id });
  for (const name of FILTERS) if (query.get(name)) next.set(name, query.get(name));
  return `?${next}`;
}

function go(address) {
  history.pushState(null, "", address);
  return show();
}

function chooseCustomer(id) {
  if (!id) return;
  const next = new URLSearchParams(addressOf("customer", asked()));
  next.set("customer", id);
  go(`?${next}`);
}

// filters

function fillFilters(query) {
  const isCustom = query.has("from") || query.has("to");
  const days = query.get("days") || DEFAULTS.days;
  if (!isCustom && ![...filters.days.options].some((option) => option.value === days)) {
    filters.days.add(new Option(`${days} days`, days));
  }
  filters.days.value = isCustom ? "custom" : days;
  filters.classList.toggle("is-custom", isCustom);
  filters.elements.from.value = query.get("from") || "";
  filters.elements.to.value = query.get("to") || "";
  filters.compare.value = query.get("compare") || DEFAULTS.compare;
  fillSegments(query.get("segment") || "");
}

/** Every member of a dimension that an answer has named so far can be chosen. */
function fillSegments(chosen) {
  const [dimension, member] = chosen.split(/:(.*)/);
  if (member && !members.get(dimension)?.has(member)) noteMember(dimension, member);
  const groups = [...members].map(([name, known]) =>
    h("optgroup", { label: name.replaceAll("_", " ") }, [...known].map((each) => h("option", { value: `${name}:${each}` }, each))));
  filters.segment.replaceChildren(h("option", { value: "" }, "Everybody"), ...groups);
  filters.segment.value = chosen;
}

function noteMember(dimension, member) {
  if (!members.has(dimension)) members.set(dimension, new Set());
  members.get(dimension).add(member);
}

function noteMembers(answer) {
  for (const [name, table] of Object.entries(answer.tables || {})) {
    if (!name.startsWith("by_") || !table.columns) continue;
    const dimension = table.columns[0].name;
    for (const row of table.rows) if (typeof row[dimension] === "string") noteMember(dimension, row[dimension]);
  }
}

filters.addEventListener("submit", (event) => event.preventDefault());
filters.addEventListener("change", ({ target }) => {
  const next = asked();
  next.set("section", sectionOf(next).id);
  if (target.name === "days") {
    next.delete("from");
    next.delete("to");
    next.delete("days");
    if (target.value === "custom") {
      filters.classList.add("is-custom");
      filters.elements.from.focus();
      return;
    }
  }
  if (target.type === "date") next.delete("days");
  if (target.value && target.value !== DEFAULTS[target.name]) next.set(target.name, target.value);
  else next.delete(target.name);
  go(`?${next}`);
});

// what is shown

async function show() {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const query = asked();
  const section = sectionOf(query);
  performance.mark("attune-asked");
  part("title").textContent = section.name;
  document.title = `${section.name} – Attune`;
  for (const link of document.querySelectorAll("#sections a")) {
    const { id } = link.dataset;
    link.href = addressOf(id, query);
    if (id === section.id) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  filters.hidden = Boolean(section.content || section.isNow);
  fillFilters(query);
  part("content").setAttribute("aria-busy", "true");
  const slow = setTimeout(() => say("Asking the service …"), 400);
  try {
    const content = section.content ? await section.content(query, signal) : await figures(section, query, signal);
    part("content").replaceChildren(...content.filter(Boolean));
    part("content").dataset.shown = location.search;
    if (section.content) say("");
    drawCharts();
  } catch (error) {
    if (error.name === "AbortError") return;
    refuse(error);
  } finally {
    clearTimeout(slow);
    if (!signal.aborted) part("content").removeAttribute("aria-busy");
  }
  performance.mark("attune-shown");
  performance.measure("attune-show", "attune-asked", "attune-shown");
}

async function figures(section, query, signal) {
  const parameters = new URLSearchParams();
  if (!section.isNow) for (const name of FILTERS) if (query.get(name)) parameters.set(name, query.get(name));
  const text = parameters.toString();
  const answer = await get(text ? `${section.path}?${text}` : section.path, signal);
  noteMembers(answer);
  fillSegments(query.get("segment") || "");
  say(periodText(answer));
  return renderAnswer(answer, section.id);
}

function periodText({ period, window: served, comparison_period: compared, as_of: until, segment }) {
  const days = period || served;
  if (!days) return until ? `As of ${until}.` : "As of now.";
  const of = segment ? ` of ${Object.entries(segment).map((each) => each.join(" ")).join(", ")}` : "";
  const beside = compared ? `, compared with ${compared.from} to ${compared.to}` : "";
  return `${days.from} to ${days.to}${of}${beside}. Data until ${days.data_until || until || days.to}.`;
}

function say(text) {
  part("status").textContent = text;
}

function refuse(error) {
  if (!(error instanceof Refusal)) console.error(error);
  say("");
  part("content").replaceChildren(h("p", { class: "warning", role: "alert" }, error.message));
  part("content").dataset.shown = location.search;
  if ([401, 403].includes(error.status)) openDialog(error.message);
}

// settings

function openDialog(reason = "") {
  const form = part("dialog-form");
  part("dialog-reason").textContent = reason;
  form.elements.key.value = accessKey();
  form.elements.dagster.value = dagsterAddress();
  if (!dialog.open) dialog.showModal();
}

part("settings").addEventListener("click", () => openDialog());
part("dialog-close").addEventListener("click", () => dialog.close());
part("dialog-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const { key, dagster } = event.target.elements;
  setAccessKey(key.value.trim());
  setDagsterAddress(dagster.value.trim());
  dialog.close();
  show();
});

// theme

const systemDark = matchMedia("(prefers-color-scheme: dark)");

function applyTheme() {
  const chosen = localStorage.getItem(THEME) || (systemDark.matches ? "dark" : "light");
  document.documentElement.dataset.theme = chosen;
  part("theme").textContent = chosen === "dark" ? "Light" : "Dark";
  part("theme").setAttribute("aria-label", `Change to ${chosen === "dark" ? "light" : "dark"} colours`);
  redrawCharts();
}

part("theme").addEventListener("click", () => {
  localStorage.setItem(THEME, document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  applyTheme();
});
systemDark.addEventListener("change", applyTheme);

// start

part("sections").append(...SECTIONS.map(({ id, name }) => h("li", {}, h("a", { "data-id": id, href: `?section=${id}` }, name))));
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='?']");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go(link.getAttribute("href")).then(() => part("main").focus({ preventScroll: true }));
  scrollTo(0, 0);
});
addEventListener("popstate", show);
applyTheme();
show();
