// One shape for whatever an endpoint says: figures, series over days, tables.
// Answers that have this shape already pass; plain JSON is sorted into it with the definitions it brings.

const META = new Set([
  "definitions", "unavailable", "period", "window", "currency", "comparison_period", "segment", "as_of",
  "source_asset", "live", "change",
]);

const DAY = /^\d{4}-\d{2}-\d{2}$/;
const INSTANT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}/;

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const isRecords = (value) => Array.isArray(value) && value.length > 0 && value.every(isObject);

export function isEnvelope(answer) {
  return isObject(answer) && isObject(answer.figures) && isObject(answer.series) && isObject(answer.tables);
}

/** An answer as an envelope. */
export function envelope(answer) {
  if (isEnvelope(answer)) return answer;
  const parts = { figures: {}, series: {}, tables: {} };
  const reasons = isObject(answer.unavailable) ? answer.unavailable : {};
  const context = {
    definitions: answer.definitions || {},
    currency: answer.currency,
    source: answer.source_asset || null,
    as_of: answer.as_of || answer.period?.data_until,
    change: isObject(answer.change) ? answer.change : {},
    reasons,
    reason: typeof answer.unavailable === "string" ? answer.unavailable : undefined,
  };
  sort(parts, answer, context, "");
  for (const [name, reason] of Object.entries(reasons)) {
    if (!(name in parts.figures) && !(name in parts.tables)) parts.figures[name] = figure(name, null, context, reason);
  }
  return { ...answer, ...parts };
}

function sort(parts, value, context, prefix) {
  for (const [key, each] of Object.entries(value)) {
    if (!prefix && META.has(key)) continue;
    const name = key in parts.figures || key in parts.tables ? `${prefix}${key}` : key;
    if (isRecords(each) && each.every((row) => DAY.test(row.date))) days(parts, each, context);
    else if (isRecords(each)) parts.tables[name] = table(each, context);
    else if (Array.isArray(each)) {
      if (each.length) parts.tables[name] = table(each.map((one) => ({ [key]: one })), context);
    } else if (isObject(each)) {
      const inner = Object.values(each);
      if (inner.length && inner.every(isObject)) {
        parts.tables[name] = table(Object.entries(each).map(([member, row]) => ({ name: member, ...row })), context);
      } else sort(parts, each, context, `${prefix}${key}_`);
    } else parts.figures[name] = figure(key, each, context, context.reasons[key]);
  }
}

function described(name, context) {
  return {
    unit: unitOf(name, context.currency),
    definition: context.definitions[name] || "",
    source_asset: context.source,
    as_of: context.as_of,
  };
}

/** Records by day become one series for each of their numbers. */
function days(parts, rows, context) {
  const names = Object.keys(rows[0]).filter((name) => rows.some((row) => typeof row[name] === "number"));
  for (const name of names) {
    parts.series[name] = { x: rows.map((row) => row.date), values: rows.map((row) => row[name] ?? null), ...described(name, context), comparison: null };
  }
}

function figure(name, value, context, reason) {
  const change = context.change[name];
  return {
    value,
    ...described(name, context),
    ...(INSTANT.test(value) ? { unit: "instant" } : {}),
    unavailable: value === null ? reason || context.reason || "the service gives no value and no reason" : undefined,
    comparison: typeof change === "number" ? { value: null, change } : null,
  };
}

function table(rows, context) {
  const names = [...new Set(rows.flatMap(Object.keys))];
  const columns = names.map((name) => {
    const isNumber = rows.some((row) => typeof row[name] === "number");
    const words = rows.some((row) => INSTANT.test(row[name])) ? "instant" : "text";
    return { name, ...described(name, context), ...(isNumber ? {} : { unit: words }) };
  });
  return { columns, rows, source_asset: context.source, as_of: context.as_of, comparison: null };
}

function unitOf(name, currency) {
  if (/(_rate|_share|share|probability|coverage|propensity|_lift)$/.test(name)) return "share";
  if (currency && /(revenue|spend|margin|value|amount|clv|cost|price)/.test(name)) return currency;
  if (/_seconds$/.test(name)) return "seconds";
  return "number";
}
