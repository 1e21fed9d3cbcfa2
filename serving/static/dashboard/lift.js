// Lift: what personalized visitors bring above those held out, since the holdout began and of late.

import { get } from "./api.js";
import { h } from "./dom.js";
import { liftOf, mismatchWarning, resultTable } from "./experiments.js";
import { definitions, described, renderParts } from "./render.js";
import { title } from "./format.js";

const PERIODS = { all: ["Since the holdout began", ""], "30_days": ["The last 30 days", "_of_the_last_30_days"] };
const COMMON = {
  personalized: ["number", "Mean of the personalized visitors."],
  control: ["number", "Mean of those held out."],
  personalized_users: ["users", "Personalized visitors whose window is closed."],
  control_users: ["users", "Visitors held out whose window is closed."],
  lift: ["share", "Relative difference from those held out."],
  lift_low: ["share", "Lower end of its 95 % interval."],
  lift_high: ["share", "Upper end of it."],
};
const BY_METRIC = described({
  metric: ["text", "What is measured."], ...COMMON, definition: ["text", "How the metric is worked out."],
});
const VERDICT = described({ verdict: ["text", "The verdict in words."] });
const BY_SEGMENT = described({
  segment: ["text", "Dimension and member."], metric: ["text", "What is measured."], ...COMMON,
  differs: ["text", "Whether it differs from those held out after correction for the number of segments."],
});

/** The section: a part for each period, then what its numbers mean. */
export async function liftContent(signal) {
  const names = Object.keys(PERIODS);
  const answers = await Promise.all(names.map((each) => get(`/api/v1/personalization/lift?period=${each}`, signal)));
  const meanings = new Map();
  if (!answers[0].result) return [h("p", { class: "notice" }, answers[0].reason)];
  const parts = answers.flatMap((answer, index) => onePeriod(names[index], answer, meanings));
  return [...parts, definitions(meanings)];
}

function onePeriod(name, { result, reason }, meanings) {
  const [heading, suffix] = PERIODS[name];
  if (!result) return [h("h2", {}, heading), h("p", { class: "notice" }, reason)];
  const span = result.period ? `${result.period.from} to ${result.period.until}` : `Until ${result.data_until}`;
  const groups = `${span}: ${result.personalized_users} personalized visitors, ${result.control_group} held out. Intervals ${result.intervals}.`;
  const metrics = Object.entries(result.lift).map(([metric, row]) => figures(metric, row));
  const segments = Object.entries(result.by).flatMap(([dimension, rows]) =>
    rows.map((row) => ({ ...figures(row.metric, row), segment: `${title(dimension)}: ${row.segment}` })));
  const tables = { [`lift${suffix}`]: resultTable(result.verdict ? [...BY_METRIC, ...VERDICT] : BY_METRIC, metrics, result) };
  if (segments.length) tables[`lift_by_segment${suffix}`] = resultTable(BY_SEGMENT, segments, result);
  return [
    h("h2", {}, heading),
    h("p", { class: "notice" }, groups),
    result.verdict ? h("p", { class: "notice" }, result.verdict) : "",
    mismatchWarning(result),
    ...renderParts({ figures: {}, series: {}, tables }, "lift", meanings),
  ];
}

function figures(metric, row) {
  return { ...row, metric: title(metric), ...liftOf(row.relative) };
}
