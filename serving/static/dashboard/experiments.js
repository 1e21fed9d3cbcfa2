// Experiments: what runs, and what the published analysis says of each.

import { get } from "./api.js";
import { h } from "./dom.js";
import { envelope } from "./envelope.js";
import { definitions, renderParts } from "./render.js";
import { title } from "./format.js";

const ASSET = "analysis/experiments";
const NUMBERS = {
  users: ["users", "Visitors of the variant whose window is closed."],
  control_users: ["users", "Those of the control."],
  value: ["number", "Mean of the variant."],
  control_value: ["number", "Mean of the control."],
  lift: ["share", "Relative difference from the control."],
  lift_low: ["share", "Lower end of the always-valid interval: it holds however often one looks."],
  lift_high: ["share", "Upper end of it."],
  p_value: ["number", "Of the fixed horizon: valid once, at the planned end."],
  false_positives_fixed: ["share", "False positives of the fixed horizon in simulated A/A tests of this very analysis."],
  false_positives_always_valid: ["share", "False positives of the always-valid interval in the same tests, looked at every day."],
};
const TEXTS = {
  metric: "What is measured.", role: "Primary, secondary or guardrail.",
  variant: "Variant, against the control.", verdict: "The verdict in words.",
};

const SEGMENT_COLUMNS = [
  { name: "metric", unit: "text", definition: TEXTS.metric },
  { name: "variant", unit: "text", definition: TEXTS.variant },
  { name: "segment", unit: "text", definition: "Dimension and member." },
  { name: "users", unit: "users", definition: NUMBERS.users[1] },
  { name: "lift", unit: "share", definition: NUMBERS.lift[1] },
  { name: "lift_low", unit: "share", definition: NUMBERS.lift_low[1] },
  { name: "lift_high", unit: "share", definition: NUMBERS.lift_high[1] },
  { name: "differs", unit: "text", definition: "Whether it differs from the control after correction for the number of segments." },
];

/** The section: the list, then each published result. */
export async function experimentsContent(signal) {
  const [list, published] = await Promise.all([
    get("/api/v1/experiments", signal),
    get("/dashboard/experiments", signal).catch((error) => {
      if (error.status === 404) return null;
      throw error;
    }),
  ]);
  const meanings = new Map();
  const running = list.experiments || [];
  const results = published ? published.experiments : await resultsOf(running, signal);
  const found = results.map((each) => each.result || each).filter((each) => Array.isArray(each.metrics));
  const parts = [];
  if (!found.length) {
    const why = published?.unavailable?.experiments || results.find((each) => each.reason)?.reason;
    parts.push(h("p", { class: "notice" }, why || "No result of an experiment is published yet."));
  }
  for (const result of found) parts.push(...oneResult(result, meanings));
  parts.push(h("h2", {}, "What is defined"), ...renderParts(envelope({ experiments: running.map(plainRow) }), "experiments", meanings));
  return [...parts, definitions(meanings)];
}

function resultsOf(running, signal) {
  const one = (each) => get(`/api/v1/experiments/${encodeURIComponent(each.experiment_id)}/results`, signal)
    .catch((error) => {
      if (error.name === "AbortError") throw error;
      return { reason: error.status === 404 ? null : error.message };
    });
  return Promise.all(running.map(one));
}

function plainRow(each) {
  return Object.fromEntries(Object.entries(each).filter(([, value]) => value === null || typeof value !== "object"));
}

function oneResult(result, meanings) {
  const rows = result.metrics.flatMap((metric) => metric.variants.map((each) => resultRow(metric, each)));
  const columns = [
    ...Object.entries(TEXTS).map(([name, definition]) => ({ name, unit: "text", definition })),
    ...Object.entries(NUMBERS).map(([name, [unit, definition]]) => ({ name, unit, definition })),
  ];
  const ratio = result.sample_ratio;
  const table = { columns, rows, source_asset: ASSET, as_of: result.data_until, comparison: null };
  const segments = result.metrics.flatMap((metric) => metric.variants.flatMap((each) => (each.segments || []).map((one) => segmentRow(metric, each, one))));
  const tables = { [`results_of_${result.experiment_id}`]: table };
  if (segments.length) tables[`segments_of_${result.experiment_id}`] = { ...table, columns: SEGMENT_COLUMNS, rows: segments };
  return [
    h("h2", {}, `Experiment ${result.experiment_id}`),
    h("p", { class: "notice" }, result.verdict?.text || "No verdict yet."),
    ratio?.is_mismatch ? h("p", { class: "warning" }, "The variants did not get their shares of visitors: no verdict can be trusted.") : "",
    ...renderParts({ figures: {}, series: {}, tables }, "experiments", meanings),
  ];
}

function resultRow(metric, each) {
  const lift = each.lift?.always_valid || {};
  return {
    metric: title(metric.metric), role: metric.role, variant: each.variant, verdict: each.verdict?.text,
    users: each.users, control_users: each.control_users, value: each.value, control_value: each.control_value,
    lift: lift.estimate, lift_low: lift.low, lift_high: lift.high, p_value: each.fixed?.p_value,
    false_positives_fixed: metric.false_positives?.fixed_at_end, false_positives_always_valid: metric.false_positives?.always_valid_daily,
  };
}

function segmentRow(metric, variant, each) {
  const lift = each.lift?.always_valid || {};
  return {
    metric: title(metric.metric), variant: variant.variant, segment: `${each.dimension}: ${each.value}`, users: each.users,
    lift: lift.estimate, lift_low: lift.low, lift_high: lift.high, differs: each.differs,
  };
}
