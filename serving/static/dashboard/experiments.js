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
  false_positives: ["share", "False positives of this very analysis in simulated A/A tests."],
};
const TEXTS = {
  metric: "What is measured.", role: "Primary, secondary or guardrail.",
  variant: "Variant, against the control.", verdict: "The verdict in words.",
};

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
  return [
    h("h2", {}, `Experiment ${result.experiment_id}`),
    h("p", { class: "notice" }, result.verdict?.text || "No verdict yet."),
    ratio?.is_mismatch ? h("p", { class: "warning" }, "The variants did not get their shares of visitors: no verdict can be trusted.") : "",
    ...renderParts({ figures: {}, series: {}, tables: { [`results_of_${result.experiment_id}`]: table } }, "experiments", meanings),
  ];
}

function resultRow(metric, each) {
  const look = each.latest || each;
  const lift = look.lift?.always_valid || {};
  return {
    metric: title(metric.metric), role: metric.role, variant: each.variant, verdict: each.verdict?.text,
    users: look.users, control_users: look.control_users, value: look.value, control_value: look.control_value,
    lift: lift.estimate, lift_low: lift.low, lift_high: lift.high, p_value: look.fixed?.p_value,
    false_positives: typeof metric.false_positives === "number" ? metric.false_positives : metric.false_positives?.always_valid,
  };
}
