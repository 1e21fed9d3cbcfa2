// Numbers and names as people read them; never a blank, never NaN.

const LANGUAGE = navigator.language || "en";
const CURRENCY = /^[A-Z]{3}$/;
export const UNKNOWN = "not known";

const formats = new Map();

function numberFormat(options) {
  const key = JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(LANGUAGE, options));
  return formats.get(key);
}

/** A value with its unit; `isShort` is for axes. */
export function formatValue(value, unit, isShort = false) {
  if (value === null || value === undefined || Number.isNaN(value)) return UNKNOWN;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "object") return JSON.stringify(value);
  if (unit === "instant") return formatInstant(value);
  if (typeof value !== "number") return String(value);
  if (unit === "share") return numberFormat({ style: "percent", maximumFractionDigits: value < 0.1 ? 2 : 1 }).format(value);
  if (CURRENCY.test(unit)) {
    const isLarge = Math.abs(value) >= 1000;
    const short = isShort || isLarge ? { maximumFractionDigits: 0 } : {};
    return numberFormat({ style: "currency", currency: unit, ...(isShort ? { notation: "compact" } : {}), ...short }).format(value);
  }
  if (unit === "seconds") return formatSeconds(value);
  if (isShort) return numberFormat({ notation: "compact", maximumFractionDigits: 1 }).format(value);
  if (value !== 0 && Math.abs(value) < 0.0001) return numberFormat({ notation: "scientific", maximumFractionDigits: 1 }).format(value);
  const digits = Math.abs(value) >= 100 ? 1 : 4;
  return numberFormat({ maximumFractionDigits: Number.isInteger(value) ? 0 : digits }).format(value);
}

function formatSeconds(value) {
  if (value < 1) return `${numberFormat({ maximumFractionDigits: 1 }).format(value * 1000)} ms`;
  if (value < 120) return `${numberFormat({ maximumFractionDigits: 1 }).format(value)} s`;
  if (value < 7200) return `${numberFormat({ maximumFractionDigits: 1 }).format(value / 60)} min`;
  if (value < 172800) return `${numberFormat({ maximumFractionDigits: 1 }).format(value / 3600)} h`;
  return `${numberFormat({ maximumFractionDigits: 1 }).format(value / 86400)} days`;
}

function formatInstant(value) {
  const at = new Date(value);
  return Number.isNaN(at.getTime()) ? String(value) : `${at.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

/** A share by which something differs, with its sign. */
export function formatChange(change) {
  if (change === null || change === undefined || !Number.isFinite(change)) return UNKNOWN;
  return numberFormat({ style: "percent", maximumFractionDigits: 1, signDisplay: "exceptZero" }).format(change);
}

/** `revenue_per_user` as "Revenue per user". */
export function title(name) {
  const text = String(name).replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** The unit as it stands behind a number that does not show it itself. */
export function unitLabel(unit) {
  return !unit || CURRENCY.test(unit) || ["share", "seconds", "text", "instant", "number"].includes(unit) ? "" : unit;
}
