// One customer: who they are, what they did, what they would be shown, and why.

import { get } from "./api.js";
import { h } from "./dom.js";
import { envelope } from "./envelope.js";
import { definitions, renderParts } from "./render.js";
import { formatValue } from "./format.js";

const SHOWN = 10;
const EVENTS = 50;

/** The form, and the customer that the address names. */
export async function customerContent(customer, signal, choose) {
  const input = h("input", { name: "customer", required: true, autocomplete: "off", value: customer || null });
  const submit = (event) => {
    event.preventDefault();
    choose(input.value.trim());
  };
  const form = h("form", { class: "ask", submit, "aria-label": "Customer" },
    h("label", {}, "Customer id ", input), h("button", { type: "submit" }, "Show"));
  if (!customer) return [form, h("p", { class: "empty" }, "Give the id of a customer, as the shop writes it.")];
  const id = encodeURIComponent(customer);
  const meanings = new Map();
  const settled = await Promise.all([
    part("Profile", get(`/api/v1/personalization/profile/${id}`, signal), facts),
    part("What they would be shown now", get(`/api/v1/recommendations/${id}?limit=${SHOWN}`, signal), (answer) => shown(answer, customer, meanings)),
    part("History", get(`/api/v1/behavior/${id}/history?limit=${EVENTS}`, signal), (answer) => history(answer, meanings)),
  ]);
  return [form, ...settled, definitions(meanings)];
}

/** A part that the service refuses shows why; the others stand. */
async function part(heading, asked, render) {
  let content;
  try {
    content = render(await asked);
  } catch (error) {
    if (error.name === "AbortError" || [401, 403].includes(error.status)) throw error;
    content = [h("p", { class: "warning" }, error.message)];
  }
  return h("section", { class: "part", "aria-label": heading }, h("h2", {}, heading), ...content);
}

function facts(answer) {
  const groups = ["predictions", "segments", "demographic", "behavioral", "psychographic", "preferences", "live", "features"];
  const note = answer.fallback ? [h("p", { class: "notice" }, `Not all is known: ${answer.fallback_reason || "the service gives no reason"}.`)] : [];
  return [...note, ...groups.filter((group) => answer[group]).map((group, index) =>
    h("details", { class: "block", open: index < 2 }, h("summary", {}, group.charAt(0).toUpperCase() + group.slice(1)), list(answer[group])))];
}

/** Nested facts as lists of terms. */
function list(value, name = "") {
  if (value === null || value === undefined) return h("span", { class: "reason" }, "not known");
  if (Array.isArray(value)) {
    if (!value.length) return h("span", { class: "reason" }, "none");
    return value.every((each) => typeof each !== "object") ? h("span", {}, value.join(", ")) : h("ul", {}, value.map((each) => h("li", {}, list(each))));
  }
  if (typeof value === "object") {
    const isUntold = "reason" in value && value.reason && Object.entries(value).every(([key, each]) => key === "reason" || each === null || each?.length === 0);
    if (isUntold) return h("span", { class: "reason" }, value.reason);
    const terms = Object.entries(value).filter(([key, each]) => !(key === "reason" && each === null));
    if (!terms.length) return h("span", { class: "reason" }, "none");
    return h("dl", { class: "facts" }, terms.flatMap(([key, each]) => [h("dt", {}, key.replaceAll("_", " ")), h("dd", {}, list(each, key))]));
  }
  return h("span", {}, formatValue(value, /(share|probability|rate)$/.test(name) ? "share" : /_seconds$/.test(name) ? "seconds" : /_at$|^at$/.test(name) ? "instant" : "text"));
}

function shown(answer, customer, meanings) {
  const rows = answer.recommendations.map(({ rank, title, item_id, category, price, score, algorithm, reason, propensity }) =>
    ({ rank, item_id, title, category, price, score, algorithm, reason, propensity }));
  const said = answer.personalized
    ? `Personal; it rests on: ${answer.rung}.`
    : `Not personal: ${answer.fallback_reason || answer.reason || `it rests on ${answer.rung}`}.`;
  const receipt = h("div", { class: "receipt" });
  const why = h("button", { type: "button", click: () => explain(answer.decision_id, customer, receipt) }, "Show the receipt");
  return [
    h("p", {}, said),
    ...renderParts(envelope({ shown: rows, definitions: MEANS }), `customer-${customer}`, meanings),
    h("p", {}, why, h("span", { class: "note" }, ` Decision ${answer.decision_id}: what it saw, what each rule left out, and whether it comes out the same again.`)),
    receipt,
  ];
}

const MEANS = {
  score: "0 to 1 on one scale for all algorithms; above 0.1 it rests on what the visitor did.",
  algorithm: "What proposed the item.",
  propensity: "Probability that this item is shown at this place.",
  reason: "Why it is shown.",
};

async function explain(decision, customer, receipt) {
  receipt.replaceChildren(h("p", { role: "status" }, "Asking for the receipt …"));
  try {
    const answer = await get(`/api/v1/decisions/${encodeURIComponent(decision)}?customer_id=${encodeURIComponent(customer)}`);
    const { inputs, output, ...head } = answer;
    receipt.replaceChildren(
      h("details", { class: "block", open: true }, h("summary", {}, "Receipt"), list(head)),
      h("details", { class: "block" }, h("summary", {}, "What it saw"), list(inputs)),
      h("details", { class: "block" }, h("summary", {}, "What it gave, and what rules left out"), list(output)),
    );
  } catch (error) {
    receipt.replaceChildren(h("p", { class: "warning", role: "alert" }, error.message));
  }
}

function history(answer, meanings) {
  if (!answer.events.length) return [h("p", { class: "empty" }, "Nothing is known of what they did.")];
  const rows = answer.events.map(({ timestamp, event_type, item_id, quantity, price, channel, session_id }) =>
    ({ timestamp, event_type, item_id, quantity, price, channel, session_id }));
  const names = Object.keys(rows[0]).filter((name) => rows.some((row) => row[name] !== undefined));
  const known = rows.map((row) => Object.fromEntries(names.map((name) => [name, row[name]])));
  const more = answer.next_cursor ? [h("p", { class: "note" }, `The latest ${EVENTS} events.`)] : [];
  return [...renderParts(envelope({ events: known }), "history", meanings), ...more];
}
