// journal.js - a durable function: what it has asked for, in order, and how that ended; what it waits for now, or what
// holds it; what can be done about it: a signal, or letting it go on.
import { useState } from "../vendor/hooks.js";
import { forkRun } from "./run.js";
import { Ago, At, Empty, Foreign, Loading, Long, Shape, Took, attempt, confirm, href, html, isFinal, jsonOf, jsonProblem } from "../parts.js";
import { now, post, useAnswer } from "../server.js";
import { number, plural, value as written, withLocalTimes } from "../format.js";

const LIMIT = 100;

// ---- acts ------------------------------------------------------------------------------------------------------------

// The first signal that it is said to wait for: that of a form which is just opened.
const awaited = stage => /\bsignal (.+?)(?= until \d{4}-|, (?:and \d|attempt|child|output|signal|timer)|$)/.exec(stage.suspended ?? "")?.[1] ?? "";

export async function sendSignal(stage) {
  const given = await confirm({
    title: `Send ${stage.class} a signal?`, does: "Send",
    text: "It is kept until a wait of that name takes it, also if the function waits for it only later.",
    fields: [{ name: "signal", label: "Name of the signal", value: awaited(stage), required: true },
      { name: "payload", label: "Payload, as JSON (empty: nil)", long: true }],
    check: given => !given.signal.trim() ? "A signal has a name." : jsonProblem(given.payload),
  });
  if (given) await attempt(() => post("signal", { id: stage.id, signal: given.signal, payload: jsonOf(given.payload) }), `The signal ${given.signal} is sent`);
}

export async function resumeRun(stage) {
  const given = await confirm({
    title: `Let ${stage.class} go on?`, does: "Go on",
    text: "Its function is called again with the code of now and its journal, and goes on from where that ends. If the two still differ it is held again, and nothing is executed.",
    fields: divergence(stage.held) ? [] : [{ name: "retry", label: "Try the step whose failure has left run again, with all its attempts", check: true }],
  });
  if (given) await attempt(async () => {
    const { done } = await post("resume-run", { id: stage.id, retry: Boolean(given.retry) });
    if (!done) throw new Error("it is not held any more");
  }, "It goes on");
}

// ---- what it waits for, or what holds it -------------------------------------------------------------------------------

// A divergence as the engine words it: the entry, what was recorded, what is asked for instead, and what to do.
export function divergence(reason) {
  const found = /^NondeterminismError: (?:\S+ \S+: )?entry (\d+) of the journal is (.+?), but the function now (.+)\. Nothing was executed\. (.*)$/s.exec(reason ?? "");
  if (!found) return null;
  const [, position, recorded, does, remedy] = found;
  return { position, recorded, asked: does.startsWith("asks for ") ? does.slice(9) : null, does, remedy };
}

function Held({ stage, may }) {
  const parted = divergence(stage.held);
  return html`<section class="heldrun" aria-label="Held"><h3><${Shape} state="aborting" />Held: it goes no further until somebody lets it go on</h3>
    ${parted ? html`<dl class="plain parted"><dt>Recorded</dt><dd><bdi>${parted.recorded}</bdi> <span class="said">entry ${number(Number(parted.position))}</span></dd>
      <dt>Asked for now</dt><dd><bdi>${parted.asked ?? `nothing of the kind: it ${parted.does}`}</bdi></dd></dl>
      <p class="said reason"><bdi>${stage.held}</bdi></p>`
    : html`<${Long} text=${withLocalTimes(stage.held, now())} what="the reason" />`}
    ${may && html`<div class="row"><button type="button" class="primary" data-act="resume-run" onClick=${() => resumeRun(stage)}>Let it go on</button></div>`}
    <code class="command"><bdi>pipeline resume-run ${stage.id}</bdi></code></section>`;
}

// The state of a run; null where the words of the stage say all.
export const RunState = ({ stage, may }) => typeof stage.held === "string" ? html`<${Held} stage=${stage} may=${may} />` : null;

export const takesSignals = stage => Boolean(stage.durable) && !isFinal(stage.state) && stage.state !== "aborting";

// ---- the entries -------------------------------------------------------------------------------------------------------

const STATES = { ok: "done", failed: "aborted", open: "open", again: "delayed", cancelled: "aborting" };
const WORDS = { ok: "done", again: "tried again" };
const KINDS = { event: "signal", tx: "transaction" };

const EntryState = ({ entry }) => html`<span class=${"state s-" + (STATES[entry.state] ?? "waiting")}><${Shape} state=${STATES[entry.state] ?? "waiting"} /><span>${WORDS[entry.state] ?? entry.state}</span></span>`;

const SHORT = 60;

// How far a step that has not ended has said that it got.
const Beat = ({ entry }) => html`<span class="beat"><bdi class="result">${entry.details.slice(0, SHORT)}</bdi>${typeof entry.beat === "number" && html` <span class="said">heartbeat <${Ago} time=${entry.beat} /></span>`}</span>`;

function Result({ entry }) {
  if (entry.details && !entry.error) return html`<${Beat} entry=${entry} />`;
  const given = entry.error ?? entry.value;
  if (given === undefined || given === "") return null;
  const text = typeof given === "string" ? given : written(given);
  const look = entry.error ? "error" : "result";
  if (text.length <= SHORT && !text.includes("\n")) return html`<bdi class=${look}>${text}</bdi>`;
  return html`<details class="entryvalue"><summary><bdi class=${look}>${text.slice(0, SHORT).replace(/\s+/g, " ")}…</bdi></summary><${Long} text=${text} what=${"result of " + entry.name} /></details>`;
}

function When({ entry }) {
  if (entry.state === "open" || entry.state === "again") return typeof entry.due === "number" ? html`due <${Ago} time=${entry.due} />` : html`for <${Took} from=${entry.opened} live=${true} />`;
  return html`<${Took} from=${entry.opened} to=${entry.closed} />`;
}

// "/papers#1/mail#2": the branch mail, the second of its name, of the branch papers.
const branchOf = path => String(path).slice(1).replace(/#1(?=\/|$)/g, "").replaceAll("/", " › ");

function Row({ entry, root, parted, tried, fork }) {
  const name = entry.nth === 0 ? `${entry.name}@${entry.key}` : entry.name + (entry.nth > 1 ? `#${entry.nth}` : "");
  const line = String(entry.line ?? "");
  const is = parted && line && parted.recorded.includes(line) && parted.recorded.includes(`"${entry.name}"`);
  return html`<tr class=${is ? "partedhere" : ""} data-seq=${entry.seq}><td class="num c-seq" title=${"asked for " + (entry.opened ? new Date(entry.opened * 1000).toISOString() : "")}>${number(entry.seq)}</td>
    <td class="c-state"><${EntryState} entry=${entry} /></td>
    <td class="c-class"><span class="tag">${KINDS[entry.kind] ?? entry.kind}</span><span class="entryname">${entry.stage ? html`<a href=${href("pipeline", { id: root, stage: entry.stage })}><bdi class="class">${name}</bdi></a>` : html`<bdi class="class">${name}</bdi>`}</span>
      ${entry.path && html`<bdi class="id" title="its branch">in ${branchOf(entry.path)}</bdi>`}</td>
    <td class="c-result"><${Result} entry=${entry} /></td>
    ${tried && html`<td class="num" data-label="attempts">${entry.attempt > 1 ? number(entry.attempt) : ""}</td>`}
    <td class="num c-when"><${When} entry=${entry} /></td>
    <td class="num c-opened"><${At} time=${entry.opened} /></td>
    <td class="c-line"><bdi class="id" title=${line}>${line.replace(/^.*\//, "")}</bdi></td>
    ${fork && html`<td class="doing"><button type="button" class="quiet" data-act="fork" aria-label=${"fork from " + name} onClick=${fork}>Fork…</button></td>`}</tr>`;
}

function Pager({ cursors, set, data }) {
  const { items, run } = data;
  const last = items.at(-1)?.seq ?? 0, base = cursors.length ? cursors.at(-1).base : 0;
  const behind = items.length >= LIMIT && last < run.last;
  if (!cursors.length && !behind) return null;
  return html`<div class="row pager">${cursors.length > 0 && html`<button type="button" onClick=${() => set([])}>First</button><button type="button" onClick=${() => set(cursors.slice(0, -1))}>Before</button>`}
    ${behind && html`<button type="button" onClick=${() => set([...cursors, { after: last, base: base === null ? null : base + items.length }])}>After</button><button type="button" onClick=${() => set([...cursors, { after: Math.max(last, run.last - LIMIT), base: null }])}>Latest</button>`}</div>`;
}

// What is known of the run as a whole.
function Facts({ run }) {
  const list = [
    run.era > 0 && `continued as new ${plural(run.era, "time")}`,
    run.signals > 0 && `${plural(run.signals, "signal")} not taken yet`,
    run.bytes > 0 && `a journal of ${number(run.bytes)} bytes`,
  ].filter(Boolean);
  return html`<p class="facts">${list.map(text => html`<span>${text}</span>`)}</p>`;
}

// What a fork calls an entry: its place in the journal, where that is known, else its name.
const calledOf = (entry, place) => place ?? (entry.nth === 0 ? `${entry.name}@${entry.key}` : `${entry.name}#${entry.nth}`);

export function Journal({ id, root, may }) {
  const [cursors, set] = useState([]);
  const answer = useAnswer("journal", { id, after: cursors.at(-1)?.after, limit: LIMIT });
  const data = answer.data;
  if (!data) return html`<${Loading} answer=${answer} />`;
  const { items, run } = data;
  if (!run) return html`<${Empty}>Its journal is not kept any more.</${Empty}>`;
  const tried = items.some(entry => entry.attempt > 1);
  const waits = run.mode === "suspended" && run.reason;
  const base = cursors.length ? cursors.at(-1).base : 0;
  const forkAt = (entry, i) => () => forkRun({ id }, String(calledOf(entry, base === null ? null : base + i + 1)), entry);
  return html`<div class="journal">
    ${waits && html`<p class="waitsfor"><${Shape} state="delayed" /><${Foreign} title=${run.reason}>It ${withLocalTimes(run.reason, data.now)}</${Foreign}></p>`}
    <${Facts} run=${run} />
    ${items.length === 0 ? html`<${Empty}>It has asked for nothing yet.</${Empty}>` : html`<table class="list entries"><thead><tr><th class="num">#</th><th>State</th><th>Asked for</th><th>Result</th>
      ${tried && html`<th class="num">Attempts</th>`}<th class="num">Took</th><th class="num">Asked at</th><th>Line</th>${may && html`<th><span class="offscreen">Acts</span></th>`}</tr></thead>
      <tbody>${items.map((entry, i) => html`<${Row} key=${entry.seq} entry=${entry} root=${root} tried=${tried} fork=${may && forkAt(entry, i)} parted=${run.mode === "held" ? divergence(run.reason) : null} />`)}</tbody></table>`}
    <${Pager} cursors=${cursors} set=${set} data=${data} /></div>`;
}
