// run.js - what a durable function shows and answers to: values, streams, queries; and what changes it: an update, a
// hold, a fork.
import { useState } from "../vendor/hooks.js";
import { Ago, Loading, Problem, Value, attempt, confirm, go, html, isFinal, jsonOf, jsonProblem } from "../parts.js";
import { get, post, useAnswer } from "../server.js";
import { plural } from "../format.js";

// The names of its handlers, as far as they can be told here: a process that has not loaded its class knows none.
const handlersOf = id => get("handlers", { id }).catch(problem => ({ problem, queries: [], signals: [], updates: [] }));

// ---- acts ------------------------------------------------------------------------------------------------------------

export async function sendUpdate(stage) {
  const { updates } = await handlersOf(stage.id);
  const given = await confirm({
    title: `Send ${stage.class} an update?`, does: "Send",
    text: "A handler of the function takes it, and its answer is waited for. It may be refused, and then nothing is recorded.",
    fields: [{ name: "update", label: "Name of the update", value: updates[0] ?? "", options: updates, required: true },
      { name: "payload", label: "Payload, as JSON (empty: nil)", long: true }],
    check: given => !given.update.trim() ? "An update has a name." : jsonProblem(given.payload),
  });
  if (given) await attempt(() => post("update", { id: stage.id, update: given.update, payload: jsonOf(given.payload) }),
    ({ value }) => value === undefined || value === null ? `${given.update} is done` : `${given.update} has answered ${JSON.stringify(value)}`.slice(0, 500));
}

export async function holdRun(stage) {
  const given = await confirm({
    title: `Hold ${stage.class}?`, does: "Hold", fields: [{ name: "reason", label: "Reason" }],
    text: "Nothing more of it begins. Steps at work end; timers keep their times, and signals are kept, until somebody lets it go on.",
  });
  if (given) await attempt(async () => {
    const { done } = await post("hold", { id: stage.id, reason: given.reason || undefined });
    if (!done) throw new Error("it is held already, or has returned");
  }, "It is held");
}

// A new run that begins with what this one had done before an entry; `entry`: of the journal, or nil.
export async function forkRun(stage, from, entry) {
  const given = await confirm({
    title: entry ? `Fork before ${entry.name}?` : `Fork ${stage.class}?`, does: "Fork",
    text: ["A new run begins, with what this one had done before that entry of its journal; from there on all is done anew.",
      "This run is left as it is, and effects that it had before that entry are not had again."],
    fields: [{ name: "from", label: "From the entry (its name, as charge or charge#2, or its place)", value: from ?? "", required: true },
      { name: "key", label: "Idempotence key of the new run (empty: none)" },
      { name: "rerun_children", label: "A child that is not final, and all behind it, is done anew", check: true },
      { name: "mail", label: "With a copy of the signals that were not taken", check: true }],
    check: given => given.from.trim() ? null : "An entry has a name, or a place in the journal.",
  });
  if (!given) return;
  const made = await attempt(() => post("fork", {
    id: stage.id, from: given.from.trim(), key: given.key || undefined, rerun_children: Boolean(given.rerun_children), mail: Boolean(given.mail),
  }), ({ id }) => `The new run ${id.slice(0, 16)} has begun`);
  if (made) go("pipeline", { id: made.id, view: "journal" });
}

export const runActs = stage => stage.durable && !isFinal(stage.state) && stage.state !== "aborting" && stage.state !== "waiting" ? [
  ["update", "", () => sendUpdate(stage)],
  typeof stage.held !== "string" && ["hold", "", () => holdRun(stage)],
] : [];

// ---- queries -----------------------------------------------------------------------------------------------------------

function Asking({ id, handlers, close }) {
  const [answer, set] = useState(null);
  const [busy, setBusy] = useState(false);
  const ask = async event => {
    event.preventDefault();
    const { name, args } = event.target;
    setBusy(true);
    try {
      const said = await get("query", { id, name: name.value.trim(), args: args.value.trim() });
      set({ name: name.value.trim(), results: said.results, time: Date.now() / 1000 });
    } catch (error) {
      set({ error });
    }
    setBusy(false);
  };
  return html`<form class="asking" onSubmit=${ask}>
    <label>Query<input name="name" list="queries" required autocomplete="off" spellcheck=${false} value=${handlers.queries[0] ?? ""} />
      <datalist id="queries">${handlers.queries.map(name => html`<option value=${name} />`)}</datalist></label>
    <label>Arguments, a list in JSON<input name="args" autocomplete="off" spellcheck=${false} placeholder="[]" /></label>
    <div class="row"><button type="submit" class="primary" disabled=${busy}>Ask</button><button type="button" onClick=${close}>Close</button></div>
    ${handlers.problem && html`<${Problem} error=${handlers.problem} />`}
    ${!handlers.problem && handlers.queries.length === 0 && html`<p class="said">It has no handler of queries, as far as it has come.</p>`}
    ${answer?.error && html`<${Problem} error=${answer.error} />`}
    ${answer?.results && html`<div class="answer" role="status"><p class="said"><bdi>${answer.name}</bdi>, asked <${Ago} time=${answer.time} /></p>
      ${answer.results.length === 0 ? html`<p class="said">It answered nothing.</p>` : answer.results.map((value, i) => html`<${Value} value=${value} what=${"answer " + (i + 1)} />`)}</div>`}</form>`;
}

export function Queries({ id }) {
  const [handlers, set] = useState(null);
  return html`<section><h3>Queries</h3>${handlers ? html`<${Asking} id=${id} handlers=${handlers} close=${() => set(null)} />`
    : html`<button type="button" data-act="query" onClick=${async () => set(await handlersOf(id))}>Ask it…</button>`}</section>`;
}

// ---- what it shows ---------------------------------------------------------------------------------------------------

const Stream = ({ stream }) => html`<section class="stream" aria-label=${"stream " + stream.name}><h4><bdi>${stream.name}</bdi> <span class="count">${plural(stream.count, "value")}</span>
    <span class="said">${stream.closed ? "closed" : "open"}, ${stream.count || stream.closed ? html`last <${Ago} time=${stream.time} />` : "empty"}</span></h4>
  <ol class="tail">${stream.tail.map(chunk => html`<li key=${chunk.offset}><span class="num">${chunk.offset}</span><bdi>${chunk.text}</bdi></li>`)}</ol></section>`;

export function Shown({ id }) {
  const answer = useAnswer("run", { id });
  const { values = [], streams = [] } = answer.data ?? {};
  if (!answer.data) return answer.error ? html`<${Loading} answer=${answer} />` : null;
  return html`${values.length > 0 && html`<section><h3>Values</h3><dl class="values shown">${values.map(item => html`<dt><bdi>${item.name}</bdi></dt><dd><${Value} value=${item.value} what=${"value " + item.name} /><span class="said">set <${Ago} time=${item.time} /></span></dd>`)}</dl></section>`}
    ${streams.length > 0 && html`<section><h3>Streams</h3>${streams.map(stream => html`<${Stream} key=${stream.name} stream=${stream} />`)}</section>`}`;
}
