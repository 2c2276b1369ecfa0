// format.js - times, spans, numbers and values as texts. Nothing here makes markup.

const grouped = new Intl.NumberFormat(undefined);
export const number = n => (typeof n === "number" ? grouped.format(n) : "");

export const plural = (n, noun, more) => `${number(n)} ${n === 1 ? noun : more ?? noun + "s"}`;

// Tasks of a queue in a state: they are counted so far.
export const COUNTED = 100000;
export const counted = (queue, n) => number(n ?? 0) + (queue.more && n >= COUNTED ? "+" : "");

// What went wrong, without the words that stand before each: a line of a list has room for the rest only.
export const cause = text => (text ?? "").replace(/^Aborting after \d+ attempts?\. /, "").replace(/^Error: /, "");

export function span(seconds) {
  if (typeof seconds !== "number" || !isFinite(seconds)) return "";
  const s = Math.max(0, seconds);
  if (s < 0.0005) return "0 ms";
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 10) return `${s.toFixed(1)} s`;
  const whole = Math.round(s);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}

// "now", "12 s ago", "in 5 min": one unit, for what ticks.
export function relative(time, now) {
  const d = time - now, s = Math.abs(d);
  if (s < 1.5) return "now";
  const [n, unit] = s < 60 ? [s, "s"] : s < 3600 ? [s / 60, "min"] : s < 86400 ? [s / 3600, "h"] : [s / 86400, "d"];
  const text = `${Math.floor(n)} ${unit}`;
  return d < 0 ? text + " ago" : "in " + text;
}

export const utc = time => {
  const date = new Date(time * 1000);
  return isNaN(date) ? "" : date.toISOString().replace("T", " ").replace("Z", " UTC");
};

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });
export function local(time, today) {
  const date = new Date(time * 1000);
  if (isNaN(date)) return "";
  const same = day.format(date) === day.format(new Date((today ?? time) * 1000));
  return today !== undefined && same ? clock.format(date) : `${day.format(date)} ${clock.format(date)}`;
}

// What comes last in "shop.orders.Charge" tells classes apart.
export function divideClass(name) {
  const text = String(name ?? "");
  const at = text.lastIndexOf(".");
  return at < 0 ? ["", text] : [text.slice(0, at + 1), text.slice(at + 1)];
}

// Ids begin with the time they were made at: those made together differ from about the twelfth digit on.
export const shortId = id => (/^[0-9a-f]{32,40}$/.test(id) ? id.slice(0, 16) : id);

// A sentence of the engine, whose times are UTC, with those of the viewer.
export const withLocalTimes = (text, now) => String(text ?? "").replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g,
  time => local(Date.parse(time) / 1000, now));

// A value as it is read by people: JSON with what JSON cannot say in words; strings of bytes as hex.
function hexOf(base64) {
  try {
    const bytes = atob(base64);
    let out = "";
    for (let i = 0; i < Math.min(bytes.length, 4096); i++)
      out += bytes.charCodeAt(i).toString(16).padStart(2, "0") + (i % 32 === 31 ? "\n" : i % 4 === 3 ? " " : "");
    return `${bytes.length} bytes\n${out.trim()}${bytes.length > 4096 ? "\n…" : ""}`;
  } catch {
    return base64;
  }
}

// Bytes within a value: as { "hex": "ff 00" }, which is how people read them.
const inHex = (_, item) => (onlyKey(item, "base64") ? { hex: hexOf(item.base64).replace(/^.*\n/, "").replace(/\s+/g, " ") } : item);

const onlyKey = (value, key) =>
  value !== null && typeof value === "object" && Object.keys(value).length === 1 && typeof value[key] === "string";

export function value(given) {
  if (given === undefined || given === null) return "nil";
  if (typeof given === "string") return JSON.stringify(given);
  if (onlyKey(given, "base64")) return hexOf(given.base64);
  if (onlyKey(given, "float")) return given.float;
  const text = JSON.stringify(given, inHex, 2);
  return text.length <= 80 ? JSON.stringify(given, inHex).replace(/([,:])(?=\S)/g, (all, c, at, whole) =>
    inString(whole, at) ? all : c + " ") : text;
}

function inString(text, at) {
  let inside = false;
  for (let i = 0; i < at; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === '"') inside = !inside;
  }
  return inside;
}

export const kind = given =>
  given === undefined || given === null ? "nil" : typeof given === "string" ? "string" : Array.isArray(given) ? "list"
    : onlyKey(given, "base64") ? "bytes" : onlyKey(given, "float") ? "number" : typeof given === "object" ? "table"
    : typeof given;
