// parts.js - what all views are made of: states, times, values, tables, dialogs, and the address of the page.
import { h } from "./vendor/preact.js";
import { useEffect, useRef, useState } from "./vendor/hooks.js";
import htm from "./vendor/htm.js";
import * as format from "./format.js";
import { base, now, query } from "./server.js";

export const html = htm.bind(h);

// ---- the address --------------------------------------------------------------------------------------------------

const moved = new Set();

export const readRoute = () => ({
  page: location.pathname.slice(base.length + 1), params: Object.fromEntries(new URLSearchParams(location.search)),
});

export const href = (page, params) => `${base}/${page}${query(params)}`;

export function go(page, params, { replace = false } = {}) {
  const to = href(page, params);
  if (to === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", to);
  moved.forEach(fn => fn());
}

addEventListener("popstate", () => moved.forEach(fn => fn()));

// Links within the pages need no new document.
addEventListener("click", event => {
  const anchor = event.target.closest?.("a[href]");
  if (!anchor || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey ||
    event.altKey || anchor.target || anchor.origin !== location.origin ||
    !anchor.pathname.startsWith(base + "/") || anchor.pathname.startsWith(base + "/api")) return;
  event.preventDefault();
  const before = location.pathname;
  history.pushState(null, "", anchor.href);
  moved.forEach(fn => fn());
  if (before !== location.pathname) scrollTo(0, 0);
});

export function useRoute() {
  const [route, set] = useState(readRoute);
  useEffect(() => {
    const fn = () => set(readRoute());
    moved.add(fn);
    return () => moved.delete(fn);
  }, []);
  return route;
}

// ---- states: by shape as well as by colour -------------------------------------------------------------------------

const SHAPES = {
  waiting: html`<circle cx="8" cy="8" r="5.2" fill="none" stroke="currentColor" stroke-width="1.6" stroke-dasharray="2.2 2.2" />`,
  delayed: html`<circle cx="8" cy="8" r="5.6" fill="none" stroke="currentColor" stroke-width="1.6" /><path d="M8 4.9V8.2L10.2 9.6" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" />`,
  ready: html`<path d="M5 3.4v9.2L12.6 8z" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linejoin="round" />`,
  executing: html`<path d="M4.6 2.9v10.2L13 8z" fill="currentColor" stroke="currentColor" stroke-width="1" stroke-linejoin="round" />`,
  open: html`<circle cx="8" cy="8" r="5.4" fill="none" stroke="currentColor" stroke-width="1.8" /><circle cx="8" cy="8" r="2.1" fill="currentColor" />`,
  finalizing: html`<path d="M3.4 3.6 7.6 8l-4.2 4.4M8.4 3.6 12.6 8l-4.2 4.4" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" />`,
  aborting: html`<rect x="3.2" y="3.2" width="9.6" height="9.6" rx="1.5" fill="none" stroke="currentColor" stroke-width="1.8" /><path d="M6 8h4" stroke="currentColor" stroke-width="1.8" />`,
  done: html`<circle cx="8" cy="8" r="6.4" fill="currentColor" /><path d="M5 8.2 7.2 10.4 11.2 6" fill="none" class="hole" stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round" />`,
  aborted: html`<path d="M5.2 1.8h5.6l3.4 3.4v5.6l-3.4 3.4H5.2L1.8 10.8V5.2z" fill="currentColor" /><path d="M5.8 5.8l4.4 4.4M10.2 5.8l-4.4 4.4" class="hole" stroke-width="1.7" stroke-linecap="round" />`,
  paused: html`<path d="M5.4 3.4v9.2M10.6 3.4v9.2" stroke="currentColor" stroke-width="2.4" stroke-linecap="round" />`,
};
SHAPES.dead = SHAPES.aborted;
SHAPES.finished = SHAPES.done;
SHAPES.active = SHAPES.ready;
SHAPES.damaged = SHAPES.aborting;

export const STATES = ["waiting", "delayed", "ready", "executing", "open", "finalizing", "aborting", "done", "aborted"];
export const isFinal = state => state === "done" || state === "aborted";

export const Shape = ({ state, label }) => html`<svg class=${"shape s-" + state} viewBox="0 0 16 16" width="14" height="14"
  role=${label ? "img" : undefined} aria-label=${label ? state : undefined} aria-hidden=${label ? undefined : "true"}
  >${SHAPES[state] ?? SHAPES.waiting}</svg>`;

export const State = ({ state, title }) =>
  html`<span class=${"state s-" + state} title=${title}><${Shape} state=${state} /><span>${state}</span></span>`;

// ---- texts ---------------------------------------------------------------------------------------------------------

// A text of others: it cannot turn the direction of what stands around it.
export const Foreign = ({ children, class: name, title }) => html`<bdi class=${name} title=${title}>${children}</bdi>`;

export function ClassName({ name }) {
  const [before, last] = format.divideClass(name);
  return html`<bdi class="class" title=${name}><span class="before">${before}</span>${last}</bdi>`;
}

export const Id = ({ id }) => html`<bdi class="id" title=${id}>${format.shortId(String(id ?? ""))}</bdi>`;

// One clock for all that ticks; stands still while nobody looks.
const ticking = new Set();
setInterval(() => { if (!document.hidden) ticking.forEach(fn => fn()); }, 1000);

export function useTick(on = true) {
  const [, set] = useState(0);
  useEffect(() => {
    if (!on) return undefined;
    const fn = () => set(n => n + 1);
    ticking.add(fn);
    return () => ticking.delete(fn);
  }, [on]);
  return now();
}

export function Ago({ time }) {
  const at = useTick(typeof time === "number");
  if (typeof time !== "number") return null;
  return html`<time datetime=${new Date(time * 1000).toISOString()} title=${format.local(time) + "\n" + format.utc(time)}
    >${format.relative(time, at)}</time>`;
}

export const At = ({ time }) => typeof time === "number" && html`<time datetime=${new Date(time * 1000).toISOString()}
  title=${format.utc(time)}>${format.local(time, now())}</time>`;

// How long it has taken; ticks until it has ended.
export function Took({ from, to, live }) {
  const at = useTick(Boolean(live));
  if (typeof from !== "number") return null;
  const end = typeof to === "number" ? to : live ? at : undefined;
  return end === undefined ? null : html`<span class="num">${format.span(end - from)}</span>`;
}

const FOLD = 400, FOLD_LINES = 12;

export function Copy({ text, what = "value" }) {
  const [done, set] = useState(false);
  const copy = async () => {
    try { await navigator.clipboard.writeText(text); } catch { byHand(text); }
    set(true);
    setTimeout(() => set(false), 1500);
  };
  return html`<button type="button" class="quiet copy" onClick=${copy} aria-label=${"copy " + what}
    >${done ? "copied" : "copy"}</button>`;
}

// Where there is no clipboard, as on plain HTTP from elsewhere.
function byHand(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "offscreen";
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

// A long text: its beginning, and all of it when asked.
export function Long({ text, what }) {
  const [open, set] = useState(false);
  const lines = text.split("\n");
  const long = text.length > FOLD || lines.length > FOLD_LINES;
  let shown = text;
  if (long && !open) shown = lines.slice(0, FOLD_LINES).join("\n").slice(0, FOLD) + "…";
  return html`<div class="long"><pre tabindex=${long ? 0 : undefined} aria-label=${long ? what : undefined}><bdi>${shown}</bdi></pre>
    <div class="tools">${long && html`<button type="button" class="quiet" aria-expanded=${open ? "true" : "false"}
      onClick=${() => set(!open)}>${open ? "less" : `all ${format.number(text.length)} characters`}</button>`}
    <${Copy} text=${text} what=${what} /></div></div>`;
}

export const Value = ({ value, what }) => {
  const text = format.value(value);
  return html`<${Long} text=${text} what=${what ?? "value"} />`;
};

export const Problem = ({ error }) => error && html`<p class="problem" role="alert"><${Shape} state="aborted" />
  <span>${error instanceof TypeError === false ? error.message : "The engine cannot be reached: " + error.message}</span></p>`;

export const Empty = ({ children }) => html`<p class="empty">${children}</p>`;

export const Loading = ({ answer, children }) =>
  answer.data ? children : answer.error ? html`<${Problem} error=${answer.error} />`
    : html`<p class="empty loading" role="status">Loading…</p>`;

export function Progress({ children }) {
  if (!children || !children.total) return null;
  const { done, total, more } = children;
  return html`<span class="progress" title=${`${done} of ${total} done`}><progress max=${total} value=${done}
    aria-label=${`${done} of ${total} done`}></progress><span class="num">${format.number(done)}/${format.number(total)}${more
    ? "+" : ""}</span></span>`;
}

// ---- dialogs -------------------------------------------------------------------------------------------------------

let showDialog = null;

// A value as people write it: JSON; what does not look like JSON is a text, nothing is nil.
const LOOKS_LIKE_JSON = /^\s*["[{\d-]|^\s*(true|false|null)\s*$/;
export function jsonOf(text) {
  if (text.trim() === "") return null;
  try { return JSON.parse(text); } catch { return text; }
}

// Why it cannot be taken for a value; null: it can.
export function jsonProblem(text) {
  if (text.trim() === "" || !LOOKS_LIKE_JSON.test(text)) return null;
  try { JSON.parse(text); return null; } catch (error) { return `This looks like JSON, and is none (${error.message}). A text stands in quotes.`; }
}

// Asks whether something shall be done: { title, text, does, danger, fields, check }. `check` says of what was entered
// why it will not do. Resolves to null, or to what was entered.
export const confirm = asked => new Promise(resolve => showDialog({ ...asked, resolve }));

export function Dialogs() {
  const [asked, set] = useState(null);
  const [problem, setProblem] = useState(null);
  const ref = useRef();
  showDialog = next => { setProblem(null); set(next); };
  useEffect(() => { if (asked && !ref.current.open) ref.current.showModal(); }, [asked]);
  if (!asked) return null;
  const end = said => { set(null); asked.resolve(said); };
  const submit = event => {
    event.preventDefault();
    const given = Object.fromEntries([...event.target.elements].filter(e => e.name).map(e => [e.name, e.type === "checkbox" ? e.checked : e.value]));
    const why = asked.check?.(given);
    if (why) setProblem(why); else end(given);
  };
  return html`<dialog ref=${ref} onClose=${() => end(null)} aria-labelledby="dialog-title">
    <form onSubmit=${submit}><h2 id="dialog-title">${asked.title}</h2>
    ${[].concat(asked.text ?? []).map(text => html`<p>${text}</p>`)}
    ${(asked.fields ?? []).map(field => field.check ? html`<label class="tick"><input type="checkbox" name=${field.name} />${field.label}</label>` : html`<label>${field.label}${field.long
      ? html`<textarea name=${field.name} rows="4" spellcheck=${false}>${field.value ?? ""}</textarea>`
      : html`<input name=${field.name} value=${field.value ?? ""} required=${Boolean(field.required)} autocomplete="off" spellcheck=${false} list=${field.options ? "of-" + field.name : undefined} />`}
      ${field.options && html`<datalist id=${"of-" + field.name}>${field.options.map(name => html`<option value=${name} />`)}</datalist>`}</label>`)}
    ${problem && html`<${Problem} error=${{ message: problem }} />`}
    <div class="row end"><button type="button" onClick=${() => end(null)}>Cancel</button>
    <button class=${asked.danger ? "danger" : "primary"} type="submit">${asked.does}</button></div></form></dialog>`;
}

// ---- notes: what came of an act --------------------------------------------------------------------------------------

let addNote = null;
export const note = (text, is = "done") => addNote?.(text, is);

export function Notes() {
  const [list, set] = useState([]);
  addNote = (text, is) => {
    const one = { text, is };
    set(old => [...old.slice(-2), one]);
    setTimeout(() => set(old => old.filter(other => other !== one)), is === "done" ? 5000 : 12000);
  };
  return html`<div class="notes" role="status" aria-live="polite">${list.map(one =>
    html`<p class=${"note " + one.is}><${Shape} state=${one.is === "done" ? "done" : "aborted"} /><span>${one.text}</span></p>`)}</div>`;
}

// Does something and says what came of it.
export async function attempt(does, said) {
  try {
    const result = await does();
    note(typeof said === "function" ? said(result) : said);
    return result;
  } catch (error) {
    note(error.message, "failed");
    return null;
  }
}
