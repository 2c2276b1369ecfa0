// stage.js - everything about one stage: what is so and why, what it was given and gave, its attempts, what can be done.
import {
  Ago, At, ClassName, Copy, Empty, Foreign, Id, Loading, Long, Problem, Shape, State, Value, attempt, confirm, go, href, html,
  isFinal, jsonOf, jsonProblem,
} from "../parts.js";
import { Journal, RunState, sendSignal, takesSignals } from "./journal.js";
import { Queries, Shown, forkRun, runActs } from "./run.js";
import { now, post, useAnswer } from "../server.js";
import { wordsOf } from "../shapes/tree.js";
import { kind, number, span, withLocalTimes } from "../format.js";

// ---- acts ------------------------------------------------------------------------------------------------------------

const TEXTS = {
  retry: ["Run again", "It runs once more, which uses one of its attempts, and waits again."],
  resume: ["Resume", "The tree goes on from where it failed: what failed runs again with fresh attempts, what is done stays done."],
  abort: ["Abort", "Whatever is running in the tree is ended, and the whole tree is aborted."],
  cleanup: ["Delete", "The records of the whole tree are deleted, with arguments, outputs and failures. There is no way back."],
};

const refusal = result => result.refused?.[0] && (result.refused[0].why ?? result.refused[0][2] ?? "refused");

async function act(op, stage) {
  const [does, text] = TEXTS[op];
  const given = await confirm({
    title: `${does} ${stage.class}?`, text, does, danger: op === "abort" || op === "cleanup",
    fields: op === "abort" ? [{ name: "reason", label: "Reason" }] : [],
  });
  if (!given) return;
  await attempt(async () => {
    const result = await post("act", { op, ids: [stage.id], reason: given.reason || undefined });
    if (!result.done) throw new Error(refusal(result) ?? "nothing was done");
    return result;
  }, `${does}: done`);
  if (op === "cleanup") go("pipelines");
}

async function complete(stage) {
  const given = await confirm({
    title: `Complete ${stage.class}?`, text: "Its default output becomes this value, and what waits for it goes on.", does: "Complete",
    fields: [{ name: "value", label: "Value, as JSON (anything else is taken as text; empty: nil)", long: true }],
    check: given => jsonProblem(given.value),
  });
  if (given) await attempt(() => post("complete", { id: stage.id, value: jsonOf(given.value) }), "Completed");
}

async function callBack(stage) {
  const given = await confirm({
    title: `Call ${stage.class} back?`, text: "The same as a visit to its callback address with these parameters.", does: "Send",
    fields: [{ name: "params", label: "Parameters, one name=value per line", long: true, value: "choice=approve" }],
  });
  if (!given) return;
  const params = Object.fromEntries(given.params.split("\n").map(line => line.trim()).filter(Boolean).map(line => {
    const at = line.indexOf("=");
    return at < 0 ? [line, ""] : [line.slice(0, at), line.slice(at + 1)];
  }));
  await attempt(() => post("callback", { id: stage.id, params }), result => `It answered ${result.status ?? ""}`);
}

export function StageActs({ stage, may, isRoot }) {
  if (!may) return null;
  const open = stage.state === "open";
  const list = [
    isRoot && stage.state === "aborted" && ["resume", "primary", () => act("resume", stage)],
    open && stage.async && ["retry", "", () => act("retry", stage)],
    open && stage.async && ["complete", "", () => complete(stage)],
    open && stage.async && ["callback", "", () => callBack(stage)],
    !isRoot && takesSignals(stage) && ["signal", "", () => sendSignal(stage)],
    ...(isRoot ? [] : runActs(stage)),
    !isRoot && stage.durable && stage.state !== "waiting" && ["fork", "", () => forkRun(stage)],
    isRoot && !isFinal(stage.state) && ["abort", "danger", () => act("abort", stage)],
    isRoot && isFinal(stage.state) && ["cleanup", "danger", () => act("cleanup", stage)],
  ].filter(Boolean);
  const names = { complete: "Complete…", callback: "Call back…", signal: "Send a signal…", update: "Update…", hold: "Hold…", fork: "Fork…" };
  return list.length > 0 && html`<div class="row acts" role="toolbar" aria-label="Acts">${list.map(([op, look, fn]) => html`<button type="button" class=${look}
    data-act=${op} onClick=${fn}>${names[op] ?? TEXTS[op][0]}</button>`)}</div>`;
}

// ---- parts -----------------------------------------------------------------------------------------------------------

const stageLink = (root, id) => href("pipeline", { id: root, stage: id });

function Why({ id, root, state }) {
  const answer = useAnswer(isFinal(state) && state !== "aborted" ? null : "why", { id });
  const reasons = answer.data?.reasons ?? [];
  if (!reasons.length) return null;
  const [first] = reasons;
  if (reasons.length === 1 && first.code === "aborted" && (first.stage ?? id) === id) // its words have said so already
    return first.command ? html`<p class="why only"><code class="command"><bdi>${first.command}</bdi></code></p>` : null;
  return html`<ol class="why" aria-label="Why">${reasons.map(reason => html`<li><${Foreign} title=${reason.text}>${withLocalTimes(reason.text, now())}</${Foreign}>${reason.stage && reason.stage !== id && html` <a class="go" href=${stageLink(root, reason.stage)}>show it</a>`}
    ${reason.command && html`<code class="command"><bdi>${reason.command}</bdi></code>`}</li>`)}</ol>`;
}


const OtherRun = ({ id }) => html`<a class="go" href=${href("pipeline", { id })}><${Id} id=${id} /></a>`;

function Given({ arg, at, root }) {
  const slot = arg.type === "slot";
  return html`<dt>${arg.name ?? at + 1}</dt><dd>${slot && html`<span class="from">${arg.filled ? "from" : "waits for"} ${" "}
    <a href=${stageLink(root, arg.filler ?? arg.slot)}><${Id} id=${arg.filler ?? arg.slot} /></a></span>`}
    ${slot && !arg.filled ? null : html`<span class="kind">${kind(arg.value)}</span><${Value} value=${arg.value} what=${"argument " + (at + 1)} />`}</dd>`;
}

const Output = ({ output }) => html`<dt><bdi>${output.name}</bdi></dt><dd>${output.filled
  ? html`<span class="kind">${kind(output.value)}</span><${Value} value=${output.value} what=${"output " + output.name} />`
  : html`<span class="kind">not filled</span>`}</dd>`;

// What an attempt failed with: a long one is folded.
const ERROR_SHORT = 600;
const Failure = ({ text }) => text.length <= ERROR_SHORT ? html`<p class="error"><bdi>${text}</bdi></p>` : html`<div class="error"><${Long} text=${text} what="error" /></div>`;

const Attempt = ({ failed, max }) => html`<li><p class="attempthead"><b>Attempt ${failed.attempt}${max ? ` of ${max}` : ""}</b> <${At} time=${failed.time} />
  ${failed.worker && html`<span class="worker"><bdi>${failed.worker}</bdi></span>`}</p>
  <${Failure} text=${(failed.error_class ? failed.error_class + ": " : "") + (failed.message ?? "")} />
  ${failed.traceback && html`<details><summary>Traceback</summary><${Long} text=${failed.traceback} what="traceback" /></details>`}</li>`;

// What a link of somebody else's may lead to: no script.
const safe = url => /^https?:\/\//i.test(url) && url;

const Links = ({ links }) => html`<span class="links">${Object.entries(links).map(([name, url]) => safe(url)
  ? html`<a href=${url} target="_blank" rel="noreferrer noopener"><bdi>${name}</bdi></a>` : html`<span title=${url}><bdi>${name}</bdi></span>`)}</span>`;

function Timings({ stage }) {
  const { waited, queued, executed } = stage.timings ?? {};
  const list = [["waited", waited], ["queued", queued], ["executed", executed]].filter(([, n]) => typeof n === "number");
  return list.length > 0 && html`<p class="timings">${list.map(([name, n]) => html`<span>${name} <b class="num">${span(n)}</b></span>`)}</p>`;
}

export function Log({ id, search = "" }) {
  const answer = useAnswer("logs", { id });
  const all = answer.data?.items ?? [], words = wordsOf(search);
  const items = words.length === 0 ? all : all.filter(line => { const said = [line.class, line.text, line.stage, line.kind, line.traceback].join("\n").toLowerCase(); return words.every(word => said.includes(word)); });
  return html`<${Loading} answer=${answer}>${items.length === 0 && html`<${Empty}>${all.length ? "No line has that." : "No failures and no messages."}</${Empty}>`}
    <ol class="log">${items.map(line => html`<li class=${line.level === "error" || line.level >= 40 || line.kind === "failure" ? "bad" : ""}><${At} time=${line.time} />
      <a href=${stageLink(id, line.stage)}><${ClassName} name=${line.class} /></a> <bdi>${line.text}</bdi>
      ${line.traceback && html`<details><summary>Traceback</summary><${Long} text=${line.traceback} what="traceback" /></details>`}</li>`)}</ol></${Loading}>`;
}

// ---- the stage -------------------------------------------------------------------------------------------------------

function Said({ stage }) {
  if (!stage.message && !stage.links && !stage.console_url) return null;
  return html`<section><h3>Message</h3>${stage.message && html`<${Long} text=${stage.message} what="message" />`}
    <p class="facts">${stage.message_time && html`<${Ago} time=${stage.message_time} />`}${stage.links && html`<${Links} links=${stage.links} />`}
    ${stage.console_url && html`<${Links} links=${{ console: stage.console_url }} />`}</p></section>`;
}

function Details({ stage, root }) {
  const args = stage.args ?? [], outputs = stage.outputs ?? [], attempts = stage.attempts ?? [];
  return html`${attempts.length > 0 && html`<section><h3>Failed attempts <span class="count">${attempts.length}</span></h3>
      <ol class="attempts">${[...attempts].reverse().map(failed => html`<${Attempt} failed=${failed} max=${stage.max_attempts} />`)}</ol></section>`}
    <${Said} stage=${stage} />
    ${args.length > 0 && html`<section><h3>Arguments</h3><dl class="values">${args.map((arg, i) => html`<${Given} arg=${arg} at=${i} root=${root} />`)}</dl></section>`}
    ${outputs.length > 0 && html`<section><h3>Outputs</h3><dl class="values">${outputs.map(output => html`<${Output} output=${output} />`)}</dl></section>`}
    ${stage.callback_url && html`<section><h3>Callback address</h3><div class="long"><pre><bdi>${stage.callback_url}</bdi></pre><div class="tools"><${Copy} text=${stage.callback_url} what="the callback address" /></div></div></section>`}`;
}

export function Stage({ id, root, may, beside }) {
  const answer = useAnswer(id ? "stage" : null, { id });
  const stage = answer.data?.stage;
  if (!stage) return html`<${Loading} answer=${answer} />`;
  const cause = stage.failed;
  return html`<div class="stage"><h2><${ClassName} name=${stage.class} /></h2>
    <p class="facts"><${State} state=${stage.state} /><span class="idline"><${Id} id=${stage.id} /><${Copy} text=${stage.id} what="the id" /></span></p>
    ${answer.error && html`<${Problem} error=${answer.error} />`}
    ${typeof stage.held !== "string" && html`<p class="words" title=${stage.state_words}><bdi>${withLocalTimes(stage.state_words, answer.data.now)}</bdi></p>`}
    <${RunState} stage=${stage} may=${may} />
    ${cause && cause.id !== stage.id && html`<p class="cause"><${Shape} state="aborted" /><span>It failed in <a href=${stageLink(root, cause.id)}><${ClassName} name=${cause.class} /></a>:
      ${" "}<bdi>${cause.message}</bdi></span></p>`}
    ${typeof (stage.held ?? stage.suspended) !== "string" && html`<${Why} id=${stage.id} root=${root} state=${stage.state} />`}
    <${StageActs} stage=${stage} may=${may} isRoot=${false} />
    <${Timings} stage=${stage} />
    ${stage.durable && beside && html`<p><a class="go" href=${href("pipeline", { id: root, stage: stage.id, view: "journal" })}>Its journal</a></p>`}
    <dl class="plain"><dt>Queue</dt><dd><a href=${href("tasks", { queue: stage.queue })}><bdi>${stage.queue}</bdi></a></dd>
      ${!stage.durable && html`<dt>Attempt</dt><dd>${number(stage.attempt)} of ${number(stage.max_attempts)}</dd>`}
      <dt>Created</dt><dd><${At} time=${stage.created} /></dd>
      ${stage.started && html`<dt>Started</dt><dd><${At} time=${stage.started} /></dd>`}
      ${stage.ended && html`<dt>Ended</dt><dd><${At} time=${stage.ended} /></dd>`}
      ${stage.worker && html`<dt>Worker</dt><dd><bdi>${stage.worker}</bdi></dd>`}
      ${stage.target && html`<dt>Target</dt><dd><bdi>${stage.target}</bdi></dd>`}</dl>
    ${(stage.forked_from || stage.forks) && html`<dl class="plain forks">${stage.forked_from && html`<dt>Fork of</dt><dd><${OtherRun} id=${stage.forked_from} /></dd>`}
      ${stage.forks && html`<dt>Forks</dt><dd>${stage.forks.map(id => html`<${OtherRun} id=${id} /> `)}</dd>`}</dl>`}
    ${stage.durable && html`<${Shown} id=${stage.id} /><${Queries} key=${stage.id} id=${stage.id} />`}
    <${Details} stage=${stage} root=${root} /></div>`;
}

export function StagePage({ params, may }) {
  const answer = useAnswer(params.id ? "stage" : null, { id: params.id });
  const root = answer.data?.stage?.root;
  if (!params.id || (!answer.data && answer.error)) return html`<div class="head"><h1>Stage</h1></div>
    <${Problem} error=${params.id ? answer.error : { message: "Which one? The address has no id." }} /><p><a class="go" href=${href("pipelines")}>All pipelines</a></p>`;
  return html`${root && html`<p class="crumbs"><a href=${href("pipeline", { id: root, stage: params.id })}>its pipeline</a></p>`}
    <${Stage} id=${params.id} root=${root} may=${may} />
    ${answer.data?.stage?.durable && html`<section class="wholejournal"><h2>Journal</h2><${Journal} id=${params.id} root=${root} may=${may} /></section>`}`;
}
