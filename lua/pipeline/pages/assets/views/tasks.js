// tasks.js - tasks of queues: what they are, in words; dead ones can be revived or forgotten.
import { useState } from "../vendor/hooks.js";
import { Ago, ClassName, Empty, Foreign, Loading, Shape, State, attempt, confirm, go, html, href } from "../parts.js";
import { post, useAnswer } from "../server.js";
import { number, plural, shortId } from "../format.js";

const STATES = ["executing", "ready", "delayed", "dead"];

async function act(op, tasks) {
  const byQueue = Map.groupBy ? Map.groupBy(tasks, task => task.queue) : group(tasks);
  const texts = { revive: "Their attempts are counted from zero again, and they are ready at once.", forget: "They are deleted. There is no way back." };
  const given = await confirm({ title: `${op === "revive" ? "Revive" : "Forget"} ${plural(tasks.length, "dead task")}?`, text: texts[op], does: op === "revive" ? "Revive" : "Forget", danger: op === "forget" });
  if (!given) return false;
  for (const [queue, list] of byQueue)
    await attempt(() => post("tasks/act", { op, queue, names: list.map(task => task.name ?? task.id) }), result => `${queue}: ${number(result.done ?? list.length)} ${op === "revive" ? "revived" : "forgotten"}`);
  return true;
}

function group(tasks) {
  const map = new Map();
  for (const task of tasks) map.set(task.queue, [...(map.get(task.queue) ?? []), task]);
  return map;
}

function Row({ task, selected, toggle, may }) {
  const dead = task.state === "dead";
  const what = task.what ?? task.name ?? task.id, problem = task.last_error ?? task.message;
  const address = task.address ?? `${task.queue}/${task.name ?? task.id}`;
  const name = task.class ? html`<span title=${what}><${ClassName} name=${task.class} /></span>` : html`<${Foreign} class="what" title=${what}>${what}</${Foreign}>`;
  return html`<tr>${may && html`<td class="check">${dead && html`<input type="checkbox" checked=${selected} onChange=${toggle} aria-label=${"select " + address} />`}</td>`}
    <td class="c-state"><${State} state=${task.state} /></td>
    <td class="c-class">${task.stage ? html`<a class="rowlink" href=${href("stage", { id: task.stage })}>${name}</a>` : name}${task.kind && html` <span class="tag">${task.kind}</span>`}<bdi class="id" title=${address}>${task.queue}/${shortId(task.name ?? task.id ?? "")}</bdi></td>
    <td class="c-note"><${Foreign} class="error" title=${problem}>${problem ?? ""}</${Foreign}></td>
    <td class="num">${task.attempt > 0 && html`<span class="only-narrow">attempt </span>${number(task.attempt)}`}</td>
    <td class="num">${!dead && (task.since ?? task.eta) && html`<span class="only-narrow">${task.since ? "since " : "due "}</span><${Ago} time=${task.since ?? task.eta} />`}</td>
    <td class="num"><span class="only-narrow">${dead ? "died " : "added "}</span><${Ago} time=${task.died ?? task.created} /></td></tr>`;
}

export function Tasks({ params, may }) {
  const filters = { queue: params.queue, state: params.state, text: params.text };
  const cursors = (params.cursor ?? "").split(" ").filter(Boolean);
  const answer = useAnswer("tasks", { ...filters, cursor: cursors.at(-1) });
  const [selected, setSelected] = useState(new Set());
  const items = answer.data?.items ?? [];
  const key = task => task.address ?? task.queue + "/" + (task.name ?? task.id);
  const chosen = items.filter(task => selected.has(key(task)));
  const toggle = task => { const next = new Set(selected); if (!next.delete(key(task))) next.add(key(task)); setSelected(next); };
  const dead = items.filter(task => task.state === "dead");
  const run = async op => { if (await act(op, chosen)) setSelected(new Set()); };
  return html`<div class="head"><h1>${params.queue ? html`Tasks of <bdi>${params.queue}</bdi>` : "Tasks"}</h1></div>
    <div class="filters"><div class="chips" role="group" aria-label="States">${["", ...STATES].map(state => html`<button type="button" class=${"chip s-" + state} aria-pressed=${(params.state ?? "") === state ? "true" : "false"}
      onClick=${() => go("tasks", { ...filters, state })}>${state && html`<${Shape} state=${state} />`}${state || "all"}</button>`)}</div>
      <div class="fields"><label class="field"><span>Search</span><input type="search" data-search value=${params.text ?? ""} onChange=${event => go("tasks", { ...filters, text: event.target.value })} /></label>
      ${params.queue && html`<a href=${href("tasks", { state: params.state })}>all queues</a>`}</div></div>
    ${may && dead.length > 0 && html`<div class="acts" role="toolbar" aria-label="Acts on dead tasks"><button type="button" class="quiet" onClick=${() => setSelected(new Set(dead.map(key)))}>Select all ${number(dead.length)} dead</button>
      ${chosen.length > 0 && html`<b>${number(chosen.length)} selected</b><button type="button" class="primary" onClick=${() => run("revive")}>Revive</button><button type="button" class="danger" onClick=${() => run("forget")}>Forget</button>`}</div>`}
    <${Loading} answer=${answer}>${items.length === 0 ? html`<${Empty}>No such task.</${Empty}>` : html`<table class="list tasks"><thead><tr>${may && html`<th class="check"></th>`}<th>State</th><th>Task</th><th>Last error</th><th class="num">Attempt</th><th class="num">Due, since</th><th class="num">Added, died</th></tr></thead>
      <tbody>${items.map(task => html`<${Row} key=${key(task)} task=${task} may=${may} selected=${selected.has(key(task))} toggle=${() => toggle(task)} />`)}</tbody></table>`}
    <div class="row pager">${cursors.length > 0 && html`<button type="button" onClick=${() => go("tasks", { ...filters, cursor: cursors.slice(0, -1).join(" ") })}>Back</button>`}
      ${answer.data?.cursor && html`<button type="button" onClick=${() => go("tasks", { ...filters, cursor: [...cursors, answer.data.cursor].join(" ") })}>More</button>`}</div></${Loading}>`;
}
