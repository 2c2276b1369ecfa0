// app.js - the frame around every view: who is signed in, where one can go, whether the page is live.
import { render } from "./vendor/preact.js";
import { useEffect, useState } from "./vendor/hooks.js";
import { Dialogs, Notes, Problem, go, href, html, useRoute } from "./parts.js";
import { loadSession, onSignedOut, post, startLive, useLink } from "./server.js";
import { local } from "./format.js";
import { Home } from "./views/home.js";
import { Pipelines } from "./views/pipelines.js";
import { Pipeline } from "./views/pipeline.js";
import { StagePage } from "./views/stage.js";
import { Queues } from "./views/queues.js";
import { Tasks } from "./views/tasks.js";
import { Workers } from "./views/workers.js";
import { Schedules } from "./views/schedules.js";
import { Events } from "./views/events.js";

const VIEWS = {
  "": ["Home", Home], pipelines: ["Pipelines", Pipelines], queues: ["Queues", Queues], tasks: ["Tasks", Tasks],
  workers: ["Workers", Workers], schedules: ["Schedules", Schedules], events: ["Events", Events],
  pipeline: ["Pipeline", Pipeline], stage: ["Stage", StagePage],
};
const MENU = ["", "pipelines", "queues", "tasks", "workers", "schedules", "events"];
const BELOW = { pipeline: "pipelines", stage: "pipelines" };

const KEYS = [
  ["g then h, p, q, t, w, s, e", "home, pipelines, queues, tasks, workers, schedules, events"],
  ["/", "search in what is shown"], ["↑ ↓", "the row, or stage, before and after"],
  ["← →", "close and open a stage of a tree"], ["Enter", "open what is selected; in a search, go to the first that is found"],
  ["1 2 3 4 5", "tree, timeline, graph, log of a pipeline, journal of a durable function"], ["Esc", "leave a field or a dialog"], ["?", "this list"],
];
const GO = { h: "", p: "pipelines", q: "queues", t: "tasks", w: "workers", s: "schedules", e: "events" };

const isField = target => target instanceof Element && target.closest("input, textarea, select, [contenteditable]");

function useKeys(setHelp) {
  useEffect(() => {
    let before = null;
    const fn = event => {
      if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]:not(.help)")) return;
      if (event.key === "Escape" && isField(event.target)) return event.target.blur();
      if (isField(event.target)) return;
      const was = before;
      before = event.key;
      if (event.key === "?") setHelp(old => !old);
      else if (event.key === "Escape") setHelp(false);
      else if (event.key === "/") {
        const field = document.querySelector("[data-search]");
        if (field) { event.preventDefault(); field.focus(); field.select?.(); }
      } else if (was === "g" && event.key in GO) go(GO[event.key]);
      else return;
      before = null;
    };
    addEventListener("keydown", fn);
    return () => removeEventListener("keydown", fn);
  }, []);
}

function Help({ close }) {
  return html`<div class="overlay" onClick=${close}><section class="help" role="dialog" aria-label="Keys" aria-modal="false">
    <h2>Keys</h2><dl class="keys">${KEYS.map(([keys, what]) => html`<dt><kbd>${keys}</kbd></dt><dd>${what}</dd>`)}</dl>
    <button type="button" onClick=${close}>Close</button></section></div>`;
}

function Link() {
  const link = useLink();
  const since = local(link.since / 1000, Date.now() / 1000);
  const text = link.state === "live" ? "live" : link.state === "away" ? `disconnected since ${since}` : "connecting";
  return html`<span class=${"link " + link.state} role="status" title="Whether this page hears of changes">${text}</span>`;
}

function SignIn({ problem, done }) {
  const [error, set] = useState(problem);
  const [busy, setBusy] = useState(false);
  const submit = async event => {
    event.preventDefault();
    setBusy(true);
    try {
      await post("sign-in", { token: event.target.token.value.trim() });
      await done();
    } catch (failed) {
      set(failed);
    }
    setBusy(false);
  };
  return html`<main class="signin"><form onSubmit=${submit}><h1>pipeline</h1>
    <p>Sign in with the administrator's token, or a viewer's.</p>
    <input name="username" type="text" autocomplete="username" value="pipeline" hidden />
    <label>Token<input name="token" type="password" autocomplete="current-password" required autofocus
      aria-describedby=${error ? "why" : undefined} /></label>
    ${error && html`<div id="why"><${Problem} error=${error} /></div>`}
    <button class="primary" type="submit" disabled=${busy}>Sign in</button></form></main>`;
}

function Frame({ session, reload }) {
  const route = useRoute();
  const [help, setHelp] = useState(false);
  useKeys(setHelp);
  const page = VIEWS[route.page] ? route.page : "";
  const [title, View] = VIEWS[page];
  useEffect(() => { document.title = `${title} · pipeline`; }, [title]);
  const signOut = async () => { await post("sign-out"); await reload(); };
  const menu = BELOW[page] ?? page;
  return html`<a class="skip" href="#main" onClick=${event => { event.preventDefault(); document.getElementById("main").focus(); }}>To
    the content</a>
  <header class="top"><a class="brand" href=${href("")}><svg viewBox="0 0 32 32" width="20" height="20" aria-hidden="true">
    <path d="M9 9h6a4 4 0 0 1 4 4v6a4 4 0 0 0 4 4M9 16h5" fill="none" stroke="currentColor" stroke-width="2.8" stroke-linecap="round" />
    <circle cx="8" cy="9" r="2.8" fill="currentColor" /><circle cx="8" cy="16" r="2.8" fill="currentColor" />
    <circle cx="24" cy="23" r="2.8" fill="currentColor" /></svg><span>pipeline</span></a>
    <nav aria-label="Pages">${MENU.map(name => html`<a href=${href(name)} aria-current=${name === menu ? "page" : undefined}
      >${VIEWS[name][0]}</a>`)}</nav>
    <div class="who"><${Link} /><button type="button" class="quiet keys-button" title="Keys (?)" aria-label="Keys"
      onClick=${() => setHelp(true)}>?</button>
    ${session.role === "viewer" && html`<span class="role" title="You can see everything and change nothing">viewer</span>`}
    ${session.signed_in && html`<button type="button" class="quiet" onClick=${signOut}>Sign out</button>`}</div></header>
  ${!session.has_tokens && html`<p class="banner" role="note">No token is configured: only this machine is served, and whoever
    uses it may do everything. <code>serve{ admin_token = … }</code> lets others in.</p>`}
  <main id="main" tabindex="-1"><${View} key=${page} params=${route.params} session=${session}
    may=${session.role === "admin"} /></main>
  <${Dialogs} /><${Notes} />${help && html`<${Help} close=${() => setHelp(false)} />`}`;
}

function App() {
  const [state, set] = useState(null);
  const load = async () => {
    try {
      const session = await loadSession();
      set({ session });
      if (session.role !== "none") startOnce();
    } catch (problem) {
      set(old => (problem.status || !old?.session ? { problem } : old));
      if (!problem.status) setTimeout(load, 2000);
    }
  };
  useEffect(() => { load(); return onSignedOut(load); }, []);
  if (!state) return null;
  if (state.session && state.session.role !== "none") return html`<${Frame} session=${state.session} reload=${load} />`;
  return state.session || state.problem.status === 429
    ? html`<${SignIn} problem=${state.problem ?? null} done=${load} />`
    : html`<main class="signin"><${Problem} error=${state.problem} /></main>`;
}

let started = false;
function startOnce() {
  if (!started) startLive();
  started = true;
}

render(html`<${App} />`, document.getElementById("app"));
