// queues.js - queues: how much is in them, how fast they go, whether somebody serves them.
import { Ago, Empty, Loading, Shape, attempt, confirm, html, href } from "../parts.js";
import { post, useAnswer } from "../server.js";
import { counted, number } from "../format.js";
import { trouble } from "./home.js";

async function purge(queue) {
  const given = await confirm({
    title: `Purge the queue ${queue.name}?`, does: "Purge", danger: true,
    text: "Its tasks are deleted, but for those of pipelines: these end when the pipelines are aborted. There is no way back.",
  });
  if (given) attempt(() => post("queues/purge", { queue: queue.name }), `${queue.name}: purged`);
}

const switchTo = (queue, on) => attempt(() => post(on ? "queues/resume" : "queues/pause", { queue: queue.name }), `${queue.name}: ${on ? "goes on" : "paused"}`);


function Count({ queue, state }) {
  const n = queue[state] ?? 0;
  return html`<td class="num" data-label=${state}>${n > 0 ? html`<a href=${href("tasks", { queue: queue.name, state })}>${counted(queue, n)}</a>` : html`<span class="zero">0</span>`}</td>`;
}

function Row({ queue, at, may }) {
  const why = trouble(queue, at);
  return html`<tr><td class="c-class"><a class="rowlink" href=${href("tasks", { queue: queue.name })}><bdi>${queue.name}</bdi></a>${queue.mode === "pull" && html`<span class="tag">pull</span>`}</td>
    <td class="c-note">${queue.paused && html`<span class="state s-paused"><${Shape} state="paused" />paused</span>`}${why && !queue.paused && html`<span class="state s-delayed"><${Shape} state="aborting" />${why}</span>`}</td>
    <${Count} queue=${queue} state="executing" /><${Count} queue=${queue} state="ready" /><${Count} queue=${queue} state="delayed" /><${Count} queue=${queue} state="dead" />
    <td class="num" data-label="oldest">${queue.oldest_ready && html`<${Ago} time=${queue.oldest_ready} />`}</td>
    <td class="num limits">${queue.rate ? html`<span title="rate">${typeof queue.rate === "number" ? number(queue.rate) + "/s" : queue.rate}</span>` : ""}${queue.max_concurrent ? html`<span title="at once">≤${number(queue.max_concurrent)}</span>` : ""}</td>
    ${may && html`<td class="doing"><button type="button" onClick=${() => switchTo(queue, queue.paused)}>${queue.paused ? "Resume" : "Pause"}</button>
      <button type="button" class="danger" onClick=${() => purge(queue)}>Purge</button></td>`}</tr>`;
}

export function Queues({ may }) {
  const answer = useAnswer("queues");
  const items = answer.data?.items ?? [];
  return html`<div class="head"><h1>Queues</h1></div><${Loading} answer=${answer}>${items.length === 0 ? html`<${Empty}>There are none yet.</${Empty}>` : html`<table class="list queues">
    <thead><tr><th>Queue</th><th></th><th class="num">Executing</th><th class="num">Ready</th><th class="num">Delayed</th><th class="num">Dead</th><th class="num">Oldest ready</th><th class="num">Limits</th>${may && html`<th></th>`}</tr></thead>
    <tbody>${items.map(queue => html`<${Row} key=${queue.name} queue=${queue} at=${answer.data.now} may=${may} />`)}</tbody></table>`}</${Loading}>`;
}
