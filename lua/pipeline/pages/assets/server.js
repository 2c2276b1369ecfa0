// server.js - what the pages ask the engine for, and how they hear that something has changed.
import { useEffect, useRef, useState } from "./vendor/hooks.js";

export const base = document.documentElement.dataset.base;
const api = base + "/api/";

export class Refused extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.kind = error.class;
  }
}

// What was said had been overtaken by a change: there will be something newer after so many seconds.
let newer = null;
function askAgain(seconds) {
  newer ??= setTimeout(() => { newer = null; refresh(); }, Math.max(0.1, seconds) * 1000 + 50);
}

let session = { role: "none", csrf: "" };
const signedOut = new Set(); // called when a session has ended
export const onSignedOut = fn => (signedOut.add(fn), () => signedOut.delete(fn));

// A text that is not UTF-8 comes as its bytes: what can be read of it is shown, but a value stays what it is.
const VALUES = new Set(["value", "results", "args"]);
function readable(given) {
  if (given === null || typeof given !== "object") return given;
  if (Array.isArray(given)) return given.map(readable);
  const names = Object.keys(given);
  if (names.length === 1 && names[0] === "base64" && typeof given.base64 === "string")
    return new TextDecoder().decode(Uint8Array.from(atob(given.base64), c => c.charCodeAt(0)));
  for (const name of names)
    if (name === "args" && Array.isArray(given.args)) given.args = given.args.map(arg => (arg && arg.type ? readable(arg) : arg));
    else if (!VALUES.has(name)) given[name] = readable(given[name]);
  return given;
}

const read = text => (text.includes('"base64"') ? readable(JSON.parse(text)) : JSON.parse(text));

async function ask(method, path, body) {
  const headers = { "X-Requested-With": "XMLHttpRequest" };
  if (method === "POST") {
    headers["Content-Type"] = "application/json";
    headers["X-CSRF-Token"] = session.csrf;
  }
  const reply = await fetch(api + path, {
    method, headers, body: body === undefined ? undefined : JSON.stringify(body), credentials: "same-origin",
  });
  let said = null;
  try { said = read(await reply.text()); } catch { /* no JSON: the status has to do */ }
  if (reply.ok && said) {
    const again = reply.headers.get("x-pipeline-again");
    if (again) askAgain(Number(again));
    return said;
  }
  if (reply.status === 401 && path !== "session") signedOut.forEach(fn => fn());
  throw new Refused(reply.status, said?.error ?? { class: "Error", message: "the engine answered " + reply.status });
}

export const query = params => {
  const out = new URLSearchParams();
  for (const [name, value] of Object.entries(params ?? {}))
    if (value !== undefined && value !== null && value !== "") out.set(name, value);
  const text = out.toString();
  return text ? "?" + text : "";
};

export const get = (path, params) => ask("GET", path + query(params));
export const post = (path, body) => ask("POST", path, body ?? {}).then(said => (refresh(), said));

// Seconds that the clock of the engine is ahead of the browser's.
let ahead = 0;
export const now = () => Date.now() / 1000 + ahead;
const heardTime = said => { if (said && typeof said.now === "number") ahead = said.now - Date.now() / 1000; };

export async function loadSession() {
  session = await get("session");
  heardTime(session);
  return session;
}

// ---- live ---------------------------------------------------------------------------------------------------------
//
// One stream for a page, and none while nobody looks at it: a browser has few connections for each server. It says
// only that something has changed; whoever shows something asks for it anew.

const listeners = new Set();
const stateListeners = new Set();
let source = null, lastId = null;
export const link = { state: "connecting", since: Date.now() };

function setLink(state) {
  if (link.state === state) return;
  link.state = state;
  link.since = Date.now();
  stateListeners.forEach(fn => fn());
}

export const refresh = () => listeners.forEach(fn => fn());

let again = null;
function connect() {
  if (source || document.hidden) return;
  clearTimeout(again);
  source = new EventSource(api + "live");
  const mine = source;
  mine.onopen = () => {
    const was = link.state;
    setLink("live");
    if (was === "away") refresh();
  };
  mine.addEventListener("change", event => { lastId = event.lastEventId; refresh(); });
  mine.onerror = () => {
    setLink("away");
    if (mine.readyState === EventSource.CLOSED && source === mine) { // refused: it does not try again by itself
      source = null;
      again = setTimeout(connect, 2000);
    }
  };
}

function leave() {
  clearTimeout(again);
  source?.close();
  source = null;
}

export function startLive() {
  connect();
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return leave();
    connect();
    refresh();
  });
  addEventListener("pagehide", leave);
  addEventListener("pageshow", event => { if (event.persisted) { connect(); refresh(); } });
}

export function useLink() {
  const [, set] = useState(0);
  useEffect(() => {
    const fn = () => set(n => n + 1);
    stateListeners.add(fn);
    fn(); // it may have changed before
    return () => stateListeners.delete(fn);
  }, []);
  return link;
}

// ---- what a view shows --------------------------------------------------------------------------------------------

const PAUSE_MS = 900; // between two questions of one view, at least
const SHARE = 10;     // so many times as long as the last answer took

// The answer to a question, asked anew when something has changed. `load` (optional) asks in another way.
export function useAnswer(path, params, load) {
  const key = path === null ? null : path + query(params);
  const [state, set] = useState({ key, data: null, error: null });
  const current = useRef(null);
  useEffect(() => {
    if (key === null) return undefined;
    const mine = { key, pause: PAUSE_MS, busy: false, dirty: false, timer: null, gone: false, at: 0 };
    current.current = mine;
    const run = async () => {
      if (mine.gone) return;
      if (mine.busy) { mine.dirty = true; return; }
      const wait = mine.at + mine.pause - performance.now();
      if (mine.at && wait > 0) {
        mine.timer ??= setTimeout(() => { mine.timer = null; run(); }, wait);
        return;
      }
      mine.busy = true;
      mine.dirty = false;
      const began = performance.now();
      try {
        const data = await (load ? load() : get(path, params));
        heardTime(data);
        if (!mine.gone) set({ key, data, error: null });
      } catch (error) {
        if (!mine.gone) set(old => ({ key, data: old.key === key ? old.data : null, error }));
      }
      mine.busy = false;
      mine.at = performance.now();
      mine.pause = Math.max(PAUSE_MS, SHARE * (mine.at - began)); // who answers slowly is asked seldom
      if (mine.dirty) run();
    };
    mine.run = run;
    run();
    listeners.add(run);
    return () => {
      mine.gone = true;
      clearTimeout(mine.timer);
      listeners.delete(run);
    };
  }, [key]);
  return state.key === key ? state : { key, data: null, error: null };
}
