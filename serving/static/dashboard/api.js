// The service's own answers. The access key stays in this tab's sessionStorage.

const KEY = "attune.key";
const KEPT = 60;
const KEPT_MILLISECONDS = 20000;
const kept = new Map();

/** What the service refused, with its own words. */
export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export function accessKey() {
  return sessionStorage.getItem(KEY) || "";
}

export function setAccessKey(key) {
  kept.clear();
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

/** The JSON of a path, kept for some seconds; throws Refusal. */
export async function get(path, signal) {
  const found = kept.get(path);
  if (found && performance.now() - found.at < KEPT_MILLISECONDS) return found.answer;
  const answer = await ask(path, signal);
  kept.set(path, { at: performance.now(), answer });
  if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  return answer;
}

async function ask(path, signal) {
  const key = accessKey();
  const headers = { accept: "application/json", ...(key ? { authorization: `Bearer ${key}` } : {}) };
  let response;
  try {
    response = await fetch(path, { headers, signal, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "the service does not answer; is it running?");
  }
  const body = await response.json().catch(() => null);
  if (!response.ok) throw new Refusal(response.status, body?.detail || `the service answered ${response.status}`);
  return body;
}
