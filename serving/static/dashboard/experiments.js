// Experiments: what runs, and what the published analysis says of each.

import { get } from "./api.js";
import { h } from "./dom.js";
import { envelope } from "./envelope.js";
import { definitions, described, renderParts } from "./render.js";
import { title } from "./format.js";

const LIFT = {
  lift: ["share", "Relative difference from the control."],
  lift_low: ["share", "Lower end of the always-valid interval: it holds however often one looks."],
  lift_high: ["share", "Upper end of it."],
};
const NAMES = { metric: ["text", "What is measured."], variant: ["text", "Variant, against the control."] };
const USERS = ["users", "Visitors of the variant whose window is closed."];
const RESULT_COLUMNS = described({
  ...NAMES, role: ["text", "Primary, secondary or guardrail."], users: USERS, control_users: ["users", "Those of the control."],
  value: ["number", "Mean of the variant."], control_value: ["number", "Mean of the control."], ...LIFT,
  p_value: ["number", "Of the fixed horizon: valid once, at the planned end."],
  variance_reduction: ["share", "What customers' behaviour before the experiment takes off the variance (CUPED)."],
  false_positives_fixed: ["share", "False positives of the fixed horizon in simulated A/A tests of this very analysis."],
  false_positives_always_valid: ["share", "False positives of the always-valid interval in the same tests, looked at every day."],
  verdict: ["text", "The verdict in words."],
});
const SEGMENT_COLUMNS = described({
  ...NAMES, segment: ["text", "Dimension and member."], users: USERS, ...LIFT,
  differs: ["text", "Whether it differs from the control after correction for the number of segments."],
});
const GUARDRAIL_COLUMNS = described({
  ...NAMES, margin: ["share", "The change for the worse that is still accepted."],
  status: ["text", "Held: a worse change is excluded. Broken: a harm is shown."],
});
const SHARE_COLUMNS = described({
  variant: ["text", "Variant of the bandit."], share: ["share", "Its share of the visitors to come."],
});

/** The section: each published result, then the list. */
export async function experimentsContent(signal) {
  const [list, published] = await Promise.all([get("/api/v1/experiments", signal), get("/dashboard/experiments", signal)]);
  const meanings = new Map();
  const parts = published.experiments.flatMap((each) => oneResult(each, meanings));
  if (!parts.length) parts.push(h("p", { class: "notice" }, published.unavailable.experiments));
  const listed = envelope({ experiments: list.experiments.map(plainRow) });
  parts.push(h("h2", {}, "What is defined"), ...renderParts(listed, "experiments", meanings));
  return [...parts, definitions(meanings)];
}

function plainRow(each) {
  return Object.fromEntries(Object.entries(each).filter(([, value]) => value === null || typeof value !== "object"));
}

function oneResult(result, meanings) {
  const id = result.experiment_id;
  const compared = result.metrics.flatMap((metric) => metric.variants.map((each) => [metric, each]));
  const parts = {
    results: [RESULT_COLUMNS, compared.map(([metric, each]) => resultRow(metric, each))],
    segments: [SEGMENT_COLUMNS, compared.flatMap(([metric, each]) => each.segments.map((one) => segmentRow(metric, each, one)))],
    guardrails: [GUARDRAIL_COLUMNS, result.guardrails.map((each) => ({ ...each, metric: title(each.metric) }))],
    next_shares: [SHARE_COLUMNS, Object.entries(result.next_shares || {}).map(([variant, share]) => ({ variant, share }))],
  };
  const tables = Object.fromEntries(Object.entries(parts).filter(([, [, rows]]) => rows.length).map(([name, [columns, rows]]) =>
    [`${name}_of_${id}`, resultTable(columns, rows, result)]));
  return [
    h("h2", {}, `Experiment ${id}`),
    h("p", { class: "notice" }, result.verdict.text),
    mismatchWarning(result),
    ...renderParts({ figures: {}, series: {}, tables }, "experiments", meanings),
  ];
}

function resultRow(metric, each) {
  return {
    metric: title(metric.metric), role: metric.role, variant: each.variant, verdict: each.verdict.text,
    users: each.users, control_users: each.control_users, value: each.value, control_value: each.control_value,
    ...liftOf(each.lift?.always_valid), p_value: each.fixed?.p_value, variance_reduction: each.cuped?.variance_reduction,
    false_positives_fixed: metric.false_positives?.fixed_at_end, false_positives_always_valid: metric.false_positives?.always_valid_daily,
  };
}

function segmentRow(metric, variant, each) {
  return {
    metric: title(metric.metric), variant: variant.variant, segment: `${title(each.dimension)}: ${each.segment}`,
    users: each.users, ...liftOf(each.lift?.always_valid), differs: each.differs,
  };
}

/** The columns of a relative difference with its interval; undefined where it is not known. */
export function liftOf(interval) {
  const { estimate, low, high } = interval || {};
  return { lift: estimate, lift_low: low, lift_high: high };
}

/** A table of a published result. */
export function resultTable(columns, rows, result) {
  return { columns, rows, source_asset: "analysis/experiments", as_of: result.data_until, comparison: null };
}

/** That a result cannot be trusted, where its groups are not of the planned sizes. */
export function mismatchWarning(result) {
  return result.sample_ratio?.is_mismatch
    ? h("p", { class: "warning" }, "The groups did not get their shares of visitors: no verdict can be trusted.")
    : "";
}
