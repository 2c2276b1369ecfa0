// home.js - what needs a person first; then how the store is getting on.
import { Ago, At, ClassName, Empty, Foreign, Id, Loading, Shape, State, html, href } from "../parts.js";
import { useAnswer } from "../server.js";
import { cause, counted, number, plural, span, withLocalTimes } from "../format.js";
import { Bars, Parts } from "../shapes/chart.js";

const Few = ({ items, note }) => html`<ul class="few">${items.map(entry => html`<li key=${entry.id}><a href=${href("pipeline", { id: entry.root ?? entry.id, stage: entry.parent ? entry.id : "" })}><${Shape} state=${entry.state} label=${true} />
  <${ClassName} name=${entry.class} /><${Id} id=${entry.key ?? entry.id} /></a><${Foreign} class=${entry.state === "aborted" ? "error" : "said"} title=${note(entry)}>${note(entry)}</${Foreign}>
  <span class="num"><${Ago} time=${entry.ended ?? entry.created} /></span></li>`)}</ul>`;

function Need({ title, count, more, to, state, children }) {
  return html`<section class="need"><h2><${Shape} state=${state} /><a href=${to}>${title}</a><span class="count">${number(count)}${more ? "+" : ""}</span></h2>${children}</section>`;
}

// Why a queue does not get on; nil: it does.
function standing(queue, at) {
  const waits = (queue.ready ?? 0) > 0;
  if (queue.paused) return (queue.ready ?? 0) + (queue.delayed ?? 0) > 0 ? "is paused" : null;
  if (waits && queue.served === false && queue.mode !== "pull") return "no worker serves it";
  if (waits && queue.oldest_ready && at - queue.oldest_ready > 60 && queue.mode !== "pull") return `its oldest task has been ready for ${span(at - queue.oldest_ready)}`;
  return null;
}

export const trouble = standing;

function Needs({ data }) {
  const stuck = data.queues.map(queue => [queue, standing(queue, data.now)]).filter(([, why]) => why);
  const dead = data.queues.filter(queue => queue.dead > 0);
  const silent = data.workers.filter(worker => worker.gone || (worker.lease_until && worker.lease_until < data.now));
  const lost = [...silent.map(worker => ({ ...worker, time: worker.lease_until })), ...data.lost.filter(one => !silent.some(worker => worker.number === one.number && worker.pid === one.pid))];
  const none = !data.failed.count && !data.held.count && !data.approvals.items.length && !stuck.length && !dead.length && !lost.length && data.workers.length > 0;
  return html`<div class="needs">
    ${data.failed.count > 0 && html`<${Need} title="Failed in the last day" state="aborted" count=${data.failed.count} more=${data.failed.more}
      to=${href("pipelines", { state: "aborted" })}><${Few} items=${data.failed.items} note=${entry => cause(entry.reason ?? entry.last_error)} /></${Need}>`}
    ${data.held.count > 0 && html`<${Need} title="Durable functions that are held" state="aborting" count=${data.held.count} more=${data.held.more}
      to=${href("pipelines", { state: "delayed" })}><${Few} items=${data.held.items} note=${entry => withLocalTimes(entry.held, data.now)} /></${Need}>`}
    ${data.approvals.items.length > 0 && html`<${Need} title="Waiting to be completed" state="open" count=${data.approvals.items.length} more=${data.approvals.more}
      to=${href("pipelines", { state: "open" })}><${Few} items=${data.approvals.items} note=${entry => entry.message ?? withLocalTimes(entry.state_words, data.now)} /></${Need}>`}
    ${stuck.length > 0 && html`<${Need} title="Queues that stand still" state="paused" count=${stuck.length} to=${href("queues")}><ul class="few">${stuck.map(([queue, why]) =>
      html`<li><a href=${href("tasks", { queue: queue.name })}><bdi>${queue.name}</bdi></a><span class="said">${why}</span><span class="num">${counted(queue, queue.ready)} ready</span></li>`)}</ul></${Need}>`}
    ${dead.length > 0 && html`<${Need} title="Dead tasks" state="dead" count=${dead.reduce((n, queue) => n + queue.dead, 0)} to=${href("tasks", { state: "dead" })}><ul class="few">${dead.map(queue =>
      html`<li><a href=${href("tasks", { queue: queue.name, state: "dead" })}><bdi>${queue.name}</bdi></a><span class="said">have no retries left</span><span class="num">${counted(queue, queue.dead)}</span></li>`)}</ul></${Need}>`}
    ${lost.length > 0 && html`<${Need} title="Workers lost" state="aborting" count=${lost.length} to=${href("workers")}><ul class="few">${lost.map(worker =>
      html`<li><span>process ${worker.pid}</span><span class="said">${worker.host ? html`at <bdi>${worker.host}</bdi>` : "others have what it had"}</span><span class="num"><${Ago} time=${worker.time} /></span></li>`)}</ul></${Need}>`}
    ${data.workers.length === 0 && html`<section class="need"><h2><${Shape} state="aborting" /><span>No worker</span></h2><p class="said">Nothing is executed: no process works on this store.</p></section>`}
    ${none && html`<section class="need fine"><h2><${Shape} state="done" /><span>Nothing needs you</span></h2><p class="said">No failure in the last day, no dead task, no queue that stands still.</p></section>`}</div>`;
}

function Rates({ rates }) {
  if (!rates || !rates.done) return null;
  const total = rates.done.map((n, i) => n + (rates.aborted[i] ?? 0));
  const sum = list => list.reduce((a, b) => a + b, 0);
  return html`<section class="panel rates"><h2>The last hour</h2><p class="said">${rates.more ? "at least " : ""}<b>${number(sum(rates.done))}</b> done, <b>${number(sum(rates.aborted))}</b> aborted${rates.since
    ? html`, counted from <${At} time=${rates.since} /> on` : ""}</p>
    <${Bars} values=${total} bad=${rates.aborted} label=${`${sum(rates.done)} done and ${sum(rates.aborted)} aborted in the last hour`} height=${48}
      title=${i => `${total.length - i} min ago: ${number(total[i])}`} /></section>`;
}

function QueuePanel({ queues }) {
  return html`<section class="panel"><h2><a href=${href("queues")}>Queues</a></h2>${queues.length === 0 ? html`<${Empty}>There are none yet.</${Empty}>` : html`<ul class="few">${queues.slice(0, 10).map(queue =>
    html`<li><a href=${href("tasks", { queue: queue.name })}><bdi>${queue.name}</bdi></a><${Parts} label=${`${queue.ready ?? 0} ready, ${queue.executing ?? 0} executing, ${queue.delayed ?? 0} delayed, ${queue.dead ?? 0} dead`}
      parts=${["executing", "ready", "delayed", "dead"].map(state => ({ state, value: queue[state] ?? 0 }))} />
    <span class="num">${number((queue.ready ?? 0) + (queue.executing ?? 0) + (queue.delayed ?? 0))}</span></li>`)}</ul>`}</section>`;
}

function States({ counts }) {
  if (!counts) return null;
  return html`<section class="panel"><h2><a href=${href("pipelines", { since: -86400 })}>Started in the last day</a></h2><ul class="few counts">${["executing", "ready", "delayed", "waiting", "open", "finalizing", "aborting", "done", "aborted"]
    .filter(state => counts[state]).map(state => html`<li><a href=${href("pipelines", { state, since: -86400 })}><${State} state=${state} /></a><span></span><span class="num">${number(counts[state])}${counts.more ? "+" : ""}</span></li>`)}
    ${!counts.total && html`<li class="said">nothing</li>`}</ul></section>`;
}

function Next({ schedules }) {
  if (!schedules.count) return null;
  return html`<section class="panel"><h2><a href=${href("schedules")}>Schedules</a><span class="count">${number(schedules.count)}</span></h2><ul class="few">${schedules.next.map(one =>
    html`<li><bdi>${one.name}</bdi><span></span><span class="num"><${Ago} time=${one.next_fire_time} /></span></li>`)}</ul>
    ${schedules.paused > 0 && html`<p class="said">${plural(schedules.paused, "schedule")} paused</p>`}</section>`;
}

export function Home() {
  const answer = useAnswer("home");
  const data = answer.data;
  return html`<div class="head"><h1>What needs you</h1></div><${Loading} answer=${answer}>${data && html`<${Needs} data=${data} />
    <div class="panels"><${Rates} rates=${data.rates} /><${States} counts=${data.counts} /><${QueuePanel} queues=${data.queues} /><${Next} schedules=${data.schedules} /></div>`}</${Loading}>`;
}
